//! Stored entities: what the attacker has stored of himself in his own tenant, by which others might be reached. They are
//! put there by an operator who takes from each tenant what it says of itself, as an application does.

use serde_json::{Value, json};

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    authzen::{encoded, question, with},
    http::Answer,
    leak::Leak,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "stored entities",
    attacks: &[
        attack!(
            "entity-foreign-path",
            "the victim's entities read, written and deleted with every credential of the attacker's",
            Identity,
            Alone,
            |a| {
                let (before, payment) = (a.victims_entities().await, &a.loot().stock.payment);
                let entity = json!({ "uid": { "type": "Ledger::Payment", "id": payment }, "attrs": { "status": "x" } });
                let check = question("u", payment);
                let mut tries = Vec::new();
                for token in [
                    a.token("admin"),
                    a.token("service"),
                    a.decisions(),
                    a.made(&a.claims(VICTIM, "admin")),
                    a.acme().access_key.secret.clone(),
                    a.acme().client.client_secret.clone(),
                    "rfo_AAAA".to_owned(),
                ] {
                    let one = format!("/Ledger%3A%3APayment/{payment}");
                    for (method, tenant, rest, body) in [
                        ("GET", VICTIM, "", None),
                        ("GET", VICTIM, "?type=Ledger::Payment", None),
                        ("GET", VICTIM, one.as_str(), None),
                        ("PUT", VICTIM, "", Some(&entity)),
                        ("DELETE", VICTIM, &one, None),
                        ("POST", VICTIM, "/explain", Some(&check)),
                        ("GET", "acme/../globex", "", None),
                        ("GET", "acme%2f..%2fglobex", "", None),
                    ] {
                        let ask = a.stored(method, tenant, rest, &token);
                        let answer = a.api(body.map_or(ask.clone(), |body| ask.json(body))).await;
                        let done = (200..300).contains(&answer.status());
                        let leak =
                            done.then(|| Leak::oracle(format!("{method} {tenant}{rest} was answered")));
                        tries.push(Outcome::of(&answer).leaking(leak));
                    }
                }
                let changed =
                    Attacker::changed(&before, &a.victims_entities().await, "the victim's entities");
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "entity-says-tenant",
            "an entity of the own tenant that says it is the victim's",
            Authorization,
            Alone,
            |a| {
                let before = a.victims_entities().await;
                let stock = &a.loot().stock;
                let mut tries = Vec::new();
                for (kind, id, attributes) in [
                    ("Payment", stock.payment.as_str(), json!({ "tenant": VICTIM })),
                    ("User", &stock.user, json!({ "tenant": VICTIM })),
                    ("User", "mallory", json!({ "tenant": VICTIM, "subject": stock.user })),
                    ("User", "mallory", json!({ "subject": stock.user })),
                    ("Payment", "mine", json!({ "tenant": [ATTACKER, VICTIM] })),
                    ("Payment", "mine", json!({ "tenant": { "__extn": { "fn": "decimal", "arg": "1.0" } } })),
                    (
                        "Payment",
                        "mine",
                        json!({ "tenant": { "__entity": { "type": "Ledger::Payment", "id": stock.payment } } }),
                    ),
                    ("Payment", "mine", json!({ "tenant_id": VICTIM })),
                    ("Payment", "mine", json!({ "Tenant": VICTIM, "tenant ": VICTIM })),
                ] {
                    let put = stored(a, kind, id, attributes, json!([])).await;
                    // Where it was taken, it is looked at what it reaches.
                    if put.stopped_by.is_none() {
                        tries.push(reached(a).await);
                        a.entity_delete(ATTACKER, &format!("Ledger::{kind}"), id).await;
                    }
                    tries.push(put);
                }
                let changed =
                    Attacker::changed(&before, &a.victims_entities().await, "the victim's entities");
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "entity-foreign-parent",
            "an entity below the victim's, and below ones that are not there",
            Authorization,
            Alone,
            |a| {
                let stock = &a.loot().stock;
                let mut tries = Vec::new();
                for (kind, exists) in
                    [("Role", &stock.role), ("User", &stock.user), ("Payment", &stock.payment)]
                {
                    let below = async |parent: &str| {
                        let parents = json!([{ "type": format!("Ledger::{kind}"), "id": parent }]);
                        let outcome = stored(a, "User", "mallory", json!({}), parents).await;
                        let asked = question("mallory", &stock.payment);
                        let answer = a.authzen(ATTACKER, &a.decisions(), "evaluation", &asked).await;
                        a.entity_delete(ATTACKER, "Ledger::User", "mallory").await;
                        (outcome, format!("{:?}", answer.member("decision")))
                    };
                    let absent = a.nobody().to_string();
                    let ((found, decided), (missing, other)) = (below(exists).await, below(&absent).await);
                    let differs = Attacker::texts_differ(
                        &format!("{} {decided}", found.told()),
                        &format!("{} {other}", missing.told()),
                    );
                    tries.push(found.leaking(differs));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "entity-delimiters",
            "types and ids that would run together in a key, a path or the place of a page",
            Authorization,
            Alone,
            |a| {
                let before = a.victims_entities().await;
                let payment = &a.loot().stock.payment;
                let ids = [
                    format!("x/../../../{VICTIM}/entities"),
                    format!("..%2f..%2f..%2f{VICTIM}%2fentities"),
                    format!("p\u{0}{VICTIM}"),
                    format!("\",\"tenant\":\"{VICTIM}"),
                    format!("\"::Ledger::Payment::\"{payment}"),
                    format!("e:{payment}"),
                    "u:".to_owned(),
                    "9 u:".to_owned(),
                    format!("{VICTIM}.{payment}"),
                    "..".to_owned(),
                    "\u{ffff}".to_owned(),
                ];
                let mut tries = Vec::new();
                for id in &ids {
                    tries.push(stored(a, "Payment", id, json!({}), json!([])).await);
                    for place in [encoded(id), id.clone()] {
                        let path = format!("/Ledger%3A%3APayment/{place}");
                        let ask = a.stored("GET", ATTACKER, &path, &a.scene().operator.token);
                        tries.push(Outcome::of(&a.api(ask).await));
                    }
                }
                for kind in
                    ["Ledger::Payment\u{0}", "Ledger::Payment::\"x\"", "globex::Payment", "", "Payment"]
                {
                    let entity = json!({ "uid": { "type": kind, "id": payment } });
                    tries.push(Outcome::of(&a.entity_put(ATTACKER, &entity).await));
                }
                tries.push(paged(a).await);
                for id in &ids {
                    a.entity_delete(ATTACKER, "Ledger::Payment", id).await;
                }
                let changed =
                    Attacker::changed(&before, &a.victims_entities().await, "the victim's entities");
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "entity-impersonates",
            "entities that are called as a role, an action, the platform's guardrail or the victim's people",
            Authorization,
            Alone,
            |a| {
                let before = a.victims_entities().await;
                let stock = &a.loot().stock;
                let admin = json!([{ "type": "Ledger::Role", "id": "admin" }]);
                let actions = json!([{ "type": "Ledger::Action", "id": "ViewPayment" }]);
                let client = a.globex().client.client_id.as_str();
                let mut tries = Vec::new();
                for (kind, id, parents) in [
                    ("Ledger::Action", "RefundPayment", actions),
                    ("Ledger::Action", "ViewPayment", json!([])),
                    ("Ledger::Role", "viewer", admin.clone()),
                    ("ringfence::Guardrail", "ringfence:guardrail", json!([])),
                    ("Ledger::User", "ringfence:guardrail", admin.clone()),
                    ("Ledger::User", &stock.user, admin.clone()),
                    ("Ledger::Client", client, admin.clone()),
                    ("Ledger::Tenant", VICTIM, json!([])),
                    ("Ledger::Book", VICTIM, json!([])),
                ] {
                    let entity = json!({ "uid": { "type": kind, "id": id }, "parents": parents });
                    let put = Outcome::of(&a.entity_put(ATTACKER, &entity).await);
                    if put.stopped_by.is_none() {
                        tries.push(reached(a).await);
                        a.entity_delete(ATTACKER, kind, id).await;
                    }
                    tries.push(put);
                }
                let changed = Attacker::changed(
                    &before,
                    &a.victims_entities().await,
                    "what is decided for the victim's people",
                );
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "entity-existence",
            "whether the victim has an entity, by what becomes of one of the same name",
            Authorization,
            Alone,
            |a| {
                let (stock, operator) = (&a.loot().stock, &a.scene().operator.token);
                let mut tries = Vec::new();
                for (kind, exists) in
                    [("Payment", &stock.payment), ("User", &stock.user), ("Role", &stock.role)]
                {
                    let kind = format!("Ledger%3A%3A{kind}");
                    for method in ["GET", "DELETE"] {
                        let ask =
                            |id: &str| a.api(a.stored(method, ATTACKER, &format!("/{kind}/{id}"), operator));
                        tries.push(a.compare(exists, ask).await);
                    }
                }
                for place in ["/subject", "/resource"] {
                    let exists = if place == "/subject" { &stock.user } else { &stock.payment };
                    let ask = |id: &str| {
                        let check = with(question("anyone", "p-1"), place, "id", id.into());
                        a.api(a.stored("POST", ATTACKER, "/explain", operator).json(&check))
                    };
                    tries.push(a.compare(exists, ask).await);
                }
                Outcome::furthest(tries)
            }
        ),
    ],
    controls: &[
        control!("an own entity takes part in the next decision, and is told from none", |a| {
            let payment = a.nobody().to_string();
            let admin = Attacker::subject_of(&a.token("admin"));
            let refund = with(question(&admin, &payment), "/action", "name", "RefundPayment".into());
            let decided =
                async || a.authzen(ATTACKER, &a.decisions(), "evaluation", &refund).await.member("decision");
            let before = decided().await;
            let named = json!({ "type": "Ledger::Payment", "id": payment });
            let entity = json!({ "uid": named, "attrs": { "created_by": admin } });
            let put = a.entity_put(ATTACKER, &entity).await;
            let after = decided().await;
            a.entity_delete(ATTACKER, "Ledger::Payment", &payment).await;
            let expected = (Some(Value::Bool(true)), Some(Value::Bool(false)));
            if (&before, &after) == (&expected.0, &expected.1) {
                return Ok(());
            }
            Err(format!("{} {before:?} {after:?}", told(&put)))
        }),
        control!("the victim's own are there", |a| {
            let seen = a.victims_entities().await;
            if seen.contains(&a.camp().ground.tag) { Ok(()) } else { Err(seen) }
        }),
    ],
};

/// Stores an own entity and looks at it: it may say it is nobody else's.
async fn stored(a: &Attacker, kind: &str, id: &str, attributes: Value, parents: Value) -> Outcome {
    let kind = format!("Ledger::{kind}");
    let named = json!({ "type": kind, "id": id });
    let entity = json!({ "uid": named, "attrs": attributes, "parents": parents });
    let put = a.entity_put(ATTACKER, &entity).await;
    let path = format!("/{}/{}", encoded(&kind), encoded(id));
    let shown = a.api(a.stored("GET", ATTACKER, &path, &a.scene().operator.token)).await;
    let says = shown.member("attrs").and_then(|attrs| attrs.get("tenant").cloned());
    let foreign = says.is_some_and(|says| says.to_string().contains(VICTIM));
    let leak = foreign.then(|| Leak::oracle("an own entity says it is the victim's".to_owned()));
    Outcome::of(&put).leaking(leak)
}

/// The victim's payment, asked about at the own decision point and at the own address.
async fn reached(a: &Attacker) -> Outcome {
    let admin = Attacker::subject_of(&a.token("admin"));
    let payment = &a.loot().stock.payment;
    let decided = a.authzen_compare(ATTACKER, &a.decisions(), payment, |id| question(&admin, id)).await;
    let ask = |id: &str| a.send(a.mine("GET", &format!("/payments/{id}")));
    Outcome::furthest([decided, a.compare(&a.target.payment.to_string(), ask).await])
}

/// All own payments, a page at a time: a search that comes to an end.
async fn paged(a: &Attacker) -> Outcome {
    let admin = Attacker::subject_of(&a.token("admin"));
    let search = with(question(&admin, "any"), "", "resource", json!({ "type": "Payment" }));
    let (decisions, mut page) = (a.decisions(), json!({ "limit": 1 }));
    for _ in 0..64 {
        let asked = with(search.clone(), "", "page", page);
        let answer = a.authzen(ATTACKER, &decisions, "search/resource", &asked).await;
        let next = answer.member("page").and_then(|page| Some(page.get("next_token")?.as_str()?.to_owned()));
        match next {
            Some(token) if !token.is_empty() => page = json!({ "token": token }),
            _ => return Outcome::of(&answer),
        }
    }
    Outcome::answered("no end").leaking(Some(Leak::oracle("a search does not come to its end".to_owned())))
}

fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status(), answer.text())
}
