//! AuthZEN: another tenant's decision point, and the own one asked about what is another tenant's.

use serde_json::{Value, json};

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    authzen::{question, with},
    http::{Answer, Ask},
    leak::{Leak, differing},
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "AuthZEN",
    attacks: &[
        attack!(
            "authzen-there",
            "the victim's decision point, asked with own and with forged credentials",
            Token,
            Together,
            |a| {
                let subject = a.loot().stock.user.clone();
                let mut tries = Vec::new();
                for token in [a.decisions(), posing(a), a.token("admin"), String::new()] {
                    let ask = |id: &str| question(&subject, id);
                    tries.push(a.authzen_compare(VICTIM, &token, &a.loot().stock.payment, ask).await);
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-client-there",
            "the own decision client at the victim's issuer, and the victim's with what the attacker knows",
            Identity,
            Together,
            |a| {
                let (own, theirs) = (&a.acme().decision_client, &a.globex().decision_client);
                let machine = &a.acme().client;
                let mut tries = Vec::new();
                for (id, secret) in [
                    (&own.client_id, &own.client_secret),
                    (&theirs.client_id, &own.client_secret),
                    (&theirs.client_id, &machine.client_secret),
                    (&theirs.client_id, &theirs.client_id),
                    (&machine.client_id, &machine.client_secret),
                ] {
                    let answer = a.machine(VICTIM, id, secret).await;
                    tries.push(Outcome::of(&answer));
                    if let Some(token) = answer.text_member("access_token") {
                        let search = &a.loot().stock.search;
                        let found = a.authzen(VICTIM, &token, "search/subject", search).await;
                        tries.push(Outcome::of(&found));
                    }
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-named-tenant",
            "subject, resource, action and context that say they are the victim's",
            Authorization,
            Together,
            |a| {
                let (own, theirs) = (Attacker::subject_of(&a.token("admin")), &a.loot().stock.user);
                let decisions = a.decisions();
                let mut tries = Vec::new();
                for (place, name, value) in NAMED {
                    let value = |id: &str| named(value, id);
                    // By turns somebody of the own and somebody of the victim's.
                    let subject = if tries.len().is_multiple_of(2) { &own } else { theirs };
                    let ask = |id: &str| with(question(subject, id), place, name, value(id));
                    let asked = a.authzen_compare(ATTACKER, &decisions, &a.loot().stock.payment, ask);
                    tries.push(asked.await);
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-search",
            "searches that would find the victim's, by type, by name and by where they are sent",
            Authorization,
            Together,
            |a| {
                let stock = &a.loot().stock;
                let decisions = a.decisions();
                let mut tries = Vec::new();
                for kind in ["User", "user", "Payment", "Ledger::User", "globex::User", "User::globex"] {
                    for tenant in [json!({}), json!({ "tenant": VICTIM })] {
                        let sought = json!({ "type": kind, "properties": tenant });
                        for (part, endpoint) in
                            [("subject", "search/subject"), ("resource", "search/resource")]
                        {
                            let ask = |id: &str| {
                                with(question(&stock.user, id), "", part, sought.clone()).to_string()
                            };
                            let sent = |id: &str| {
                                let ask = a.asking(ATTACKER, endpoint, &decisions).body(JSON, ask(id));
                                a.api(
                                    ask.header("X-Tenant-Id", VICTIM)
                                        .header("X-Forwarded-Prefix", "/t/globex"),
                                )
                            };
                            tries.push(a.compare(&stock.payment, sent).await);
                        }
                    }
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-page-token",
            "the victim's page tokens, and own ones bent to other searches and tenants",
            Authorization,
            Together,
            |a| {
                let (stock, decisions) = (&a.loot().stock, a.decisions());
                let mine = first_page(a, &decisions).await.unwrap_or_default();
                let paged = |search: &Value, page: Value| with(search.clone(), "", "page", page);
                let (own, other) =
                    (own_search(), with(own_search(), "/action", "name", "RefundPayment".into()));
                let mut tries = Vec::new();
                for (at, endpoint, asked) in [
                    (ATTACKER, "search/subject", paged(&own, json!({ "token": stock.page, "limit": 1 }))),
                    (
                        ATTACKER,
                        "search/subject",
                        paged(&stock.search, json!({ "token": stock.page, "limit": 1 })),
                    ),
                    (VICTIM, "search/subject", paged(&stock.search, json!({ "token": stock.page }))),
                    (VICTIM, "search/subject", paged(&own, json!({ "token": mine }))),
                    (ATTACKER, "search/subject", paged(&other, json!({ "token": mine }))),
                    (ATTACKER, "search/subject", paged(&own, json!({ "token": mine, "limit": 2 }))),
                    (ATTACKER, "search/resource", paged(&own, json!({ "token": mine }))),
                    (ATTACKER, "search/subject", paged(&own, json!({ "token": bent(&mine) }))),
                    (ATTACKER, "search/subject", paged(&own, json!({ "token": "1 e:globex" }))),
                    (ATTACKER, "search/subject", paged(&own, json!({ "token": "MSBlOmdsb2JleA" }))),
                ] {
                    let token = asked.pointer("/page/token").and_then(Value::as_str).unwrap_or_default();
                    if token.is_empty() {
                        // What is broken has given none: without one a search begins at its beginning.
                        continue;
                    }
                    let answer = a.authzen(at, &decisions, endpoint, &asked).await;
                    // At the victim's address what counts is what is found: canaries tell.
                    let taken = (answer.status() == 200 && at == ATTACKER)
                        .then(|| Leak::oracle(format!("{endpoint} took a page token that is not its own")));
                    tries.push(Outcome::of(&answer).leaking(taken));
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-mixed-batch",
            "one batch about own things and the victim's",
            Authorization,
            Together,
            |a| {
                let (own, decisions) = (Attacker::subject_of(&a.token("admin")), a.decisions());
                let mine = || question(&own, "p-1");
                let tenant = || json!({ "tenant": VICTIM });
                let batches: [fn(Value, Value) -> Value; 5] = [
                    |mine, theirs| json!({ "evaluations": [mine.clone(), theirs, mine] }),
                    |mine, theirs| with(theirs, "", "evaluations", json!([mine, {}, mine])),
                    |mine, theirs| {
                        with(theirs, "", "evaluations", json!([{}, { "action": mine.get("action") }]))
                    },
                    |mine, theirs| {
                        let options = json!({ "evaluations_semantic": "deny_on_first_deny" });
                        json!({ "options": options, "evaluations": [theirs, mine] })
                    },
                    |mine, theirs| {
                        let options = json!({ "evaluations_semantic": "permit_on_first_permit" });
                        json!({ "options": options, "evaluations": [theirs, mine] })
                    },
                ];
                let mut tries = Vec::new();
                for batch in batches {
                    for properties in [json!({}), tenant()] {
                        let ask = |id: &str| {
                            let theirs =
                                with(question(&own, id), "/resource", "properties", properties.clone());
                            let batch = batch(mine(), theirs);
                            let decisions = decisions.clone();
                            async move { a.authzen(ATTACKER, &decisions, "evaluations", &batch).await }
                        };
                        tries.push(a.compare(&a.loot().stock.payment, ask).await);
                    }
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-revision",
            "consistency tokens of the victim's, and own ones bent, bare and given twice",
            Routing,
            Together,
            |a| {
                let decisions = a.decisions();
                let theirs = a.loot().stock.revision.clone();
                let asked = question("anyone", "p-1");
                let own = a.authzen(ATTACKER, &decisions, "evaluation", &asked).await;
                let own = own.header("ringfence-revision").unwrap_or("none").to_owned();
                let made_up: String = a.nonce().chars().cycle().take(theirs.len()).collect();
                let sent = async |tokens: &[&str]| {
                    let ask = a.asking(ATTACKER, "evaluation", &decisions).json(&asked);
                    let each = |ask: Ask, token: &&str| ask.header("Ringfence-At-Least-Revision", token);
                    a.api(tokens.iter().fold(ask, each)).await
                };
                let (known, unknown) = (sent(&[&theirs]).await, sent(&[&made_up]).await);
                let mut tries =
                    vec![Outcome::of(&known).leaking(differing(&known, &unknown, (&[&theirs], &[&made_up])))];
                let (mine, bent_theirs) = (bent(&own), bent(&theirs));
                let joined = format!("{own}, {theirs}");
                let forged: [&[&str]; 9] = [
                    &[&theirs],
                    &[&bent_theirs],
                    &[&mine],
                    &["0"],
                    &["1"],
                    &["18446744073709551615"],
                    &[&own, &theirs],
                    &[&joined],
                    &[""],
                ];
                for tokens in forged {
                    let answer = sent(tokens).await;
                    let believed = (answer.status() == 200).then(|| {
                        Leak::oracle("a consistency token was believed that is not the asker's".to_owned())
                    });
                    tries.push(Outcome::of(&answer).leaking(believed));
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-two-readings",
            "questions that say one thing to one reader and another to the next",
            Routing,
            Together,
            |a| {
                let mut tries = Vec::new();
                for (kind, body) in two_readings(&a.loot().stock.payment) {
                    for endpoint in ["evaluation", "evaluations", "search/subject"] {
                        let ask = a.asking(ATTACKER, endpoint, &a.decisions()).body(kind, body.clone());
                        let answer = a.api(ask).await;
                        let read = (answer.status() == 200)
                            .then(|| Leak::oracle("a question with two readings was answered".to_owned()));
                        tries.push(Outcome::of(&answer).leaking(read));
                    }
                }
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-existence",
            "whether the victim has an entity, by every question at either address",
            Authorization,
            Together,
            |a| {
                let (stock, own) = (&a.loot().stock, Attacker::subject_of(&a.token("admin")));
                let mut tries = Vec::new();
                for (at, token) in [
                    (ATTACKER, a.decisions()),
                    (VICTIM, a.decisions()),
                    (VICTIM, String::new()),
                    (VICTIM, "e30.e30.e30".to_owned()),
                ] {
                    let payment = |id: &str| question(&own, id);
                    tries.push(a.authzen_compare(at, &token, &stock.payment, payment).await);
                    let user = |id: &str| question(id, &stock.payment);
                    tries.push(a.authzen_compare(at, &token, &stock.user, user).await);
                }
                let metadata = |tenant: &str| {
                    let path = format!("/.well-known/authzen-configuration/t/{tenant}");
                    a.api(Ask::get(&path, a.scene().api_host()))
                };
                let absent: String = format!("t{}", a.nonce()).chars().take(VICTIM.len()).collect();
                let (found, missing) = (metadata(VICTIM).await, metadata(&absent).await);
                tries.push(Outcome::of(&found).leaking(differing(&found, &missing, (&[VICTIM], &[&absent]))));
                Attacker::furthest_at_api(tries)
            }
        ),
        attack!(
            "authzen-borrowed-signature",
            "a backend's question with the gateway's signature about somebody else's request",
            Token,
            Together,
            |a| {
                let theirs = a.loot().victims_database.clone().unwrap_or_default();
                let txn = theirs.split('~').nth(1).unwrap_or_default();
                let mut tries = Vec::new();
                for (at, access) in
                    [(ATTACKER, a.token("admin")), (ATTACKER, a.decisions()), (VICTIM, a.token("admin"))]
                {
                    let subject = Attacker::subject_of(&access);
                    for endpoint in ["evaluation", "evaluations", "search/resource"] {
                        let ask = |id: &str| {
                            let tenant = json!({ "tenant": VICTIM });
                            let asked = with(question(&subject, id), "/resource", "properties", tenant);
                            let ask = a.asking(at, endpoint, &access).header("Txn-Token", txn);
                            a.api(ask.header("Ringfence-Reference", "r-1").json(&asked))
                        };
                        tries.push(a.compare(&a.loot().stock.payment, ask).await);
                    }
                }
                Attacker::furthest_at_api(tries)
            }
        ),
    ],
    controls: &[
        control!("the own decision client is answered about the own people, as the own policies say", |a| {
            let asked = question(&Attacker::subject_of(&a.token("viewer")), "p-1");
            let answer = a.authzen(ATTACKER, &a.decisions(), "evaluation", &asked).await;
            if answer.member("decision") == Some(true.into()) { Ok(()) } else { Err(told(&answer)) }
        }),
        control!("it finds the own people page by page", |a| {
            let decisions = a.decisions();
            let token = first_page(a, &decisions).await.ok_or("no page token")?;
            let next = with(own_search(), "", "page", json!({ "token": token }));
            let answer = a.authzen(ATTACKER, &decisions, "search/subject", &next).await;
            let found = answer.member("results").and_then(|results| Some(results.as_array()?.len()));
            if found == Some(1) { Ok(()) } else { Err(told(&answer)) }
        }),
        control!("the victim's decision client finds what only the victim may see", |a| {
            let (victim, stock) = (a.victim(), &a.loot().stock);
            let decisions = a.loot().victims_decisions.clone().unwrap_or_default();
            let answer = victim.authzen(VICTIM, &decisions, "search/subject", &stock.search).await;
            let seen = answer.text().contains(&a.camp().ground.tag);
            if seen && !stock.page.is_empty() { Ok(()) } else { Err(told(&answer)) }
        }),
        control!("a consistency token is taken from whom it was told to", |a| {
            let decisions = a.decisions();
            let asked = question("anyone", "p-1");
            let own = a.authzen(ATTACKER, &decisions, "evaluation", &asked).await;
            let own = own.header("ringfence-revision").unwrap_or_default().to_owned();
            let ask =
                a.asking(ATTACKER, "evaluation", &decisions).header("Ringfence-At-Least-Revision", &own);
            super::tokens::expect(&a.api(ask.json(&asked)).await, 200)
        }),
    ],
};

const JSON: &str = "application/json";

/// What says whose something is, or might be taken to.
const NAMED: &[(&str, &str, Said)] = &[
    ("/resource", "properties", Said::Properties),
    ("/subject", "properties", Said::Properties),
    ("/action", "properties", Said::Properties),
    ("", "context", Said::Properties),
    ("", "tenant", Said::Name),
    ("/resource", "tenant", Said::Name),
    ("/subject", "tenant", Said::Name),
    ("/resource", "type", Said::Type),
    ("/resource", "properties", Said::List),
    ("/resource", "properties", Said::Entity),
    ("/resource", "properties", Said::Padded),
];

/// How it says so.
#[derive(Clone, Copy)]
enum Said {
    Properties,
    Name,
    Type,
    List,
    Entity,
    Padded,
}

fn named(said: &Said, id: &str) -> Value {
    match said {
        Said::Properties => json!({ "tenant": VICTIM, "tenant_id": VICTIM, "id": id }),
        Said::Name => VICTIM.into(),
        Said::Type => format!("{VICTIM}::Payment").into(),
        Said::List => json!({ "tenant": [ATTACKER, VICTIM] }),
        Said::Entity => json!({ "tenant": { "__entity": { "type": "Ledger::Payment", "id": id } } }),
        Said::Padded => json!({ "tenant": format!("{ATTACKER}\u{0}{VICTIM}") }),
    }
}

/// A token that says it is the victim's decision client's.
fn posing(a: &Attacker) -> String {
    let client = &a.globex().decision_client.client_id;
    let claims = with(a.claims(VICTIM, "decisions"), "", "sub", client.as_str().into());
    a.made(&with(claims, "", "client_id", client.as_str().into()))
}

/// Who of the own may see a payment.
fn own_search() -> Value {
    with(question("anyone", "p-1"), "", "subject", json!({ "type": "user" }))
}

/// The token of the own search's second page.
async fn first_page(a: &Attacker, decisions: &str) -> Option<String> {
    let first = with(own_search(), "", "page", json!({ "limit": 1 }));
    let answer = a.authzen(ATTACKER, decisions, "search/subject", &first).await;
    Some(answer.member("page")?.get("next_token")?.as_str()?.to_owned())
}

/// The same with another letter in the middle.
fn bent(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    if let Some(byte) = bytes.get_mut(token.len() / 2) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Bodies in which something is said twice, or that are not what they are called.
fn two_readings(payment: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (subject, action) = (r#""subject":{"type":"user","id":"u"}"#, r#""action":{"name":"ViewPayment"}"#);
    let own = r#"{"type":"Payment","id":"p-1"}"#;
    let theirs = format!(r#"{{"type":"Payment","id":"{payment}","properties":{{"tenant":"{VICTIM}"}}}}"#);
    let whole = format!(r#"{{{subject},{action},"resource":{own}}}"#);
    let twice = [
        format!(r#"{{{subject},{action},"resource":{own},"resource":{theirs}}}"#),
        format!(r#"{{{subject},{action},"resource":{theirs},"resource":{own}}}"#),
        format!(r#"{{{subject},{action},"resource":{own},"\u0072esource":{theirs}}}"#),
        format!(r#"{{{subject},{action},"resource":{{"type":"Payment","id":"p-1","id":"{payment}"}}}}"#),
        format!(
            r#"{{{subject},{action},"resource":{{"type":"Payment","id":"p-1","properties":{{"tenant":"{ATTACKER}","tenant":"{VICTIM}"}}}}}}"#
        ),
        format!(r#"{{{subject},{action},"resource":{own},"page":{{"limit":1,"limit":2}}}}"#),
        format!("{whole}{whole}"),
        format!("\u{feff}{whole}"),
        format!("[{whole}]"),
    ];
    let utf16 = whole.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut bodies: Vec<(&str, Vec<u8>)> = twice.map(|text| (JSON, text.into_bytes())).into();
    bodies.extend([
        ("text/plain", whole.clone().into_bytes()),
        ("application/x-www-form-urlencoded", whole.into_bytes()),
        ("application/json; charset=utf-16", utf16),
    ]);
    bodies
}

fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status(), answer.text())
}
