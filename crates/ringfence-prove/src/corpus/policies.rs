//! The policy service: another tenant's stores, by every operation, and decisions for principals one is not.

use serde_json::{Value, json};

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    aws::{Call, outcome_of},
    http::Answer,
    leak::{Leak, LeakKind},
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "policy service",
    attacks: &[
        attack!(
            "avp-foreign-store",
            "everything there is to ask about the victim's store",
            Authorization,
            Together,
            |a| {
                let shelf = &a.loot().shelf;
                let mut tries = Vec::new();
                for (at, (operation, _)) in shelf.questions(&shelf.store).into_iter().enumerate() {
                    let input = |id: &str| {
                        shelf.questions(id).into_iter().nth(at).map(|(_, input)| input).unwrap_or_default()
                    };
                    tries.push(a.avp_compare(operation, &shelf.store, input).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-foreign-alias",
            "the same by the name the victim gave it",
            Authorization,
            Together,
            |a| {
                let shelf = &a.loot().shelf;
                let name = shelf.alias.trim_start_matches(ALIAS);
                let mut tries = Vec::new();
                for (at, (operation, _)) in shelf.questions("").into_iter().enumerate() {
                    let input = |id: &str| {
                        let named = format!("{ALIAS}{id}");
                        shelf
                            .questions(&named)
                            .into_iter()
                            .nth(at)
                            .map(|(_, input)| input)
                            .unwrap_or_default()
                    };
                    tries.push(a.avp_compare(operation, name, input).await);
                }
                let get = |id: &str| json!({ "aliasName": format!("{ALIAS}{id}") });
                tries.push(a.avp_compare("GetPolicyStoreAlias", name, get).await);
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-foreign-write",
            "changing the victim's store, its policies and its alias",
            Authorization,
            Alone,
            |a| {
                let before = victims_view(a).await;
                let shelf = &a.loot().shelf;
                let definition = json!({ "static": { "statement": ANYONE, "description": "d" } });
                let new = json!({ "cedarJson": "{}" });
                let writes: [(&str, About<'_>); 9] = [
                    (
                        "UpdatePolicyStore",
                        Box::new(
                            |id| json!({ "policyStoreId": id, "validationSettings": { "mode": "OFF" } }),
                        ),
                    ),
                    ("DeletePolicyStore", Box::new(|id| json!({ "policyStoreId": id }))),
                    ("PutSchema", Box::new(|id| json!({ "policyStoreId": id, "definition": new }))),
                    ("CreatePolicy", Box::new(|id| json!({ "policyStoreId": id, "definition": definition }))),
                    ("DeletePolicy", Box::new(|id| json!({ "policyStoreId": id, "policyId": shelf.policy }))),
                    (
                        "CreatePolicyTemplate",
                        Box::new(|id| json!({ "policyStoreId": id, "statement": LINKED })),
                    ),
                    (
                        "DeletePolicyTemplate",
                        Box::new(|id| json!({ "policyStoreId": id, "policyTemplateId": shelf.template })),
                    ),
                    (
                        "CreatePolicyStoreAlias",
                        Box::new(|id| json!({ "aliasName": format!("{ALIAS}mine"), "policyStoreId": id })),
                    ),
                    (
                        "TagResource",
                        Box::new(|id| {
                            json!({
                                "resourceArn": format!("arn:aws:verifiedpermissions::{VICTIM}:policy-store/{id}"), "tags": { "k": "v" }
                            })
                        }),
                    ),
                ];
                let mut tries = Vec::new();
                for (operation, input) in &writes {
                    tries.push(a.avp_compare(operation, &shelf.store, input).await);
                }
                let alias = shelf.alias.trim_start_matches(ALIAS);
                let take = |id: &str| json!({ "aliasName": format!("{ALIAS}{id}") });
                tries.push(a.avp_compare("DeletePolicyStoreAlias", alias, take).await);
                let after = victims_view(a).await;
                let changed = (before != after).then(|| Leak {
                    kind: LeakKind::Write,
                    evidence: "the victim's store, policies or alias changed".to_owned(),
                });
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "avp-serving-store",
            "the store by which the victim's requests are decided",
            Authorization,
            Alone,
            |a| {
                let theirs = &a.globex().policy_store_id;
                let shelf = &a.loot().shelf;
                let mut tries = Vec::new();
                for (at, (operation, _)) in shelf.questions(theirs).into_iter().enumerate() {
                    let input = |id: &str| {
                        shelf.questions(id).into_iter().nth(at).map(|(_, input)| input).unwrap_or_default()
                    };
                    tries.push(a.avp_compare(operation, theirs, input).await);
                }
                let permit = |id: &str| json!({ "policyStoreId": id, "definition": { "static": { "statement": ANYONE } } });
                tries.push(a.avp_compare("CreatePolicy", theirs, permit).await);
                let remove = |id: &str| json!({ "policyStoreId": id, "policyId": "own-tenant-only" });
                tries.push(a.avp_compare("DeletePolicy", theirs, remove).await);
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-mixed-batch",
            "one batch about own policies and the victim's",
            Authorization,
            Together,
            |a| {
                let shelf = &a.loot().shelf;
                let own = json!({ "policyStoreId": a.acme().policy_store_id, "policyId": "everyone-reads" });
                let batch = |id: &str| json!({ "requests": [own, { "policyStoreId": id, "policyId": shelf.policy }, own] });
                a.avp_compare("BatchGetPolicy", &shelf.store, batch).await
            }
        ),
        attack!(
            "avp-page-token",
            "the victim's page tokens, and own ones bent to other stores and questions",
            Authorization,
            Together,
            |a| {
                let (key, shelf) = (&a.acme().access_key, &a.loot().shelf);
                let (own, other) = (a.acme().policy_store_id.as_str(), store(a).await);
                let list = |store: &str, token: &str| json!({ "policyStoreId": store, "maxResults": 1, "nextToken": token });
                let first =
                    a.avp(key, "ListPolicies", json!({ "policyStoreId": own, "maxResults": 1 })).await;
                let mine = first.text_member("nextToken").unwrap_or_default();
                let mut bent = mine.clone().into_bytes();
                if let Some(byte) = bent.get_mut(mine.len() / 2) {
                    *byte = if *byte == b'A' { b'B' } else { b'A' };
                }
                let bent = String::from_utf8(bent).unwrap_or_default();
                let mut tries = Vec::new();
                for (operation, store, token) in [
                    ("ListPolicies", own, shelf.page.as_str()),
                    ("ListPolicies", &shelf.store, &mine),
                    ("ListPolicies", &other, &mine),
                    ("ListPolicyTemplates", own, &mine),
                    ("ListPolicies", own, &bent),
                ] {
                    let answer = a.avp(key, operation, list(store, token)).await;
                    let taken = (answer.status() == 200)
                        .then(|| Leak::oracle(format!("{operation} took a page token that is not its own")));
                    tries.push(outcome_of(&answer).leaking(taken));
                }
                drop_store(a, &other).await;
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-signature",
            "the victim's key id with other secrets, and a signed request bent after signing",
            Identity,
            Together,
            |a| {
                let (mine, theirs) = (&a.acme().access_key, &a.globex().access_key);
                let mut stolen = mine.clone();
                stolen.id.clone_from(&theirs.id);
                let mut unknown = mine.clone();
                unknown.id = format!("{}X", unknown.id);
                let input = json!({ "policyStoreId": a.loot().shelf.store });
                let own = json!({ "policyStoreId": a.acme().policy_store_id });
                let call = |input: &Value, sent: Option<&Value>, at: u64| Call {
                    operation: "GetPolicyStore",
                    input: input.clone(),
                    sent: sent.cloned(),
                    at,
                };
                let now = a.now();
                let mut tries = Vec::new();
                for (key, call) in [
                    (&stolen, call(&input, None, now)),
                    (&unknown, call(&input, None, now)),
                    (mine, call(&own, Some(&input), now)),
                    (mine, call(&own, None, now.saturating_sub(3600))),
                    (mine, call(&own, None, now.saturating_add(3600))),
                ] {
                    let answer = a.avp_as(key, &call).await;
                    let believed = (answer.status() == 200)
                        .then(|| Leak::oracle("a signature that does not fit was believed".to_owned()));
                    tries.push(outcome_of(&answer).leaking(believed));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-foreign-token",
            "tokens that name the victim, decided for by an own store, also one that trusts the victim's issuer",
            Authorization,
            Together,
            |a| {
                let mut tries = Vec::new();
                let theirs = a.loot().victims.clone().unwrap_or_default();
                for issuer in [&a.acme().issuer, &a.globex().issuer] {
                    for token in [&a.made(&a.claims(VICTIM, "admin")), &theirs] {
                        tries.push(with_token(a, issuer, token, Vec::new()).await.1);
                    }
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-injected-principal",
            "a token call that brings its own principal and groups",
            Authorization,
            Together,
            |a| {
                let token = a.token("viewer");
                let subject = crate::forge::claims(&token)
                    .and_then(|claims| claims.get("sub")?.as_str().map(str::to_owned));
                let subject = subject.unwrap_or_default();
                let named = |kind: &str, id: &str| json!({ "entityType": kind, "entityId": id });
                let attributes = json!({ "tenant": { "string": VICTIM }, "subject": { "string": subject } });
                let mut tries = Vec::new();
                for entity in [
                    json!({ "identifier": named("Ledger::User", &subject), "attributes": attributes }),
                    json!({ "identifier": named("Ledger::User", &subject), "attributes": attributes, "parents": [named("Ledger::Role", "admin")] }),
                    json!({ "identifier": named("Ledger::Role", "viewer"), "parents": [named("Ledger::Role", "admin")] }),
                ] {
                    tries.push(with_token(a, &a.acme().issuer, &token, vec![entity]).await.1);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-delimiters",
            "names that would run together in the key of a cache",
            Authorization,
            Together,
            |a| {
                let key = &a.acme().access_key;
                let store = store(a).await;
                let statement =
                    "permit (principal == User::\"a\", action == Action::\"b\", resource == Safe::\"c\");";
                let definition = json!({ "static": { "statement": statement } });
                a.avp(key, "CreatePolicy", json!({ "policyStoreId": store, "definition": definition })).await;
                let ask = async |principal: (&str, &str), action: &str, resource: (&str, &str)| {
                    let asked = json!({
                        "policyStoreId": store,
                        "principal": { "entityType": principal.0, "entityId": principal.1 },
                        "action": { "actionType": "Action", "actionId": action },
                        "resource": { "entityType": resource.0, "entityId": resource.1 },
                    });
                    a.avp(key, "IsAuthorized", asked).await
                };
                // First the one that is permitted, so that it is what a cache would hold.
                let mut tries = vec![outcome_of(&ask(("User", "a"), "b", ("Safe", "c")).await)];
                for (principal, action, resource) in [
                    (("User", "a\""), "b", ("Safe", "c")),
                    (("User", "a\",Action::\"b"), "b", ("Safe", "c")),
                    (("User", "a|b"), "", ("Safe", "c")),
                    (("User", "a:b"), "b", ("Safe", "c")),
                    (("User", "a\u{0}"), "b", ("Safe", "c")),
                    (("User", "a\u{1f}b"), "c", ("Safe", "c")),
                    (("User", "a/b"), "b", ("Safe", "c")),
                    (("User", "a "), "b", ("Safe", "c")),
                    (("User", "A"), "b", ("Safe", "c")),
                    (("User", "a"), "b\u{0}", ("Safe", "c")),
                    (("User", "a"), "b", ("Safe", "c\u{0}globex")),
                    (("User", "a"), "b", ("Safe", "c::c")),
                    (("User::User", "a"), "b", ("Safe", "c")),
                ] {
                    let answer = ask(principal, action, resource).await;
                    let run = answer.text_member("decision").is_some_and(|decision| decision == "ALLOW");
                    let leak = run.then(|| {
                        Leak::oracle(format!(
                            "{principal:?} {action:?} {resource:?} was answered for another"
                        ))
                    });
                    tries.push(
                        Outcome::stopped(ringfence_context::Layer::Authorization, "DENY").leaking(leak),
                    );
                }
                drop_store(a, &store).await;
                Outcome {
                    stopped_by: Some(ringfence_context::Layer::Authorization),
                    ..Outcome::furthest(tries)
                }
            }
        ),
    ],
    controls: &[
        control!("the own key lists the own stores", |a| {
            let answer = a.avp(&a.acme().access_key, "ListPolicyStores", json!({})).await;
            let own = &a.acme().policy_store_id;
            if answer.text().contains(own) { Ok(()) } else { Err(answer.text()) }
        }),
        control!("the victim's own key reads what only the victim may", |a| {
            let victim = a.victim();
            let view = victims_view(&victim).await;
            if view.contains(&a.camp().ground.tag) { Ok(()) } else { Err(view) }
        }),
        control!("the own token is decided for by an own store", |a| {
            let (answer, _) = with_token(a, &a.acme().issuer, &a.token("viewer"), Vec::new()).await;
            if answer.status() == 200 { Ok(()) } else { Err(answer.text()) }
        }),
    ],
};

/// The input of an operation on something of this name.
type About<'a> = Box<dyn Fn(&str) -> Value + Send + Sync + 'a>;

const ALIAS: &str = "policy-store-alias/";
const ANYONE: &str = "permit (principal, action, resource);";
const LINKED: &str = "permit (principal == ?principal, action, resource);";

/// What the victim sees of its own: through the victim's own hands.
async fn victims_view(a: &Attacker) -> String {
    let victim = a.victim();
    let (key, shelf) = (&a.globex().access_key, &a.loot().shelf);
    let mut seen = String::new();
    for (operation, input) in [
        ("GetPolicyStore", json!({ "policyStoreId": shelf.store })),
        ("ListPolicies", json!({ "policyStoreId": shelf.store })),
        ("ListPolicyTemplates", json!({ "policyStoreId": shelf.store })),
        ("GetPolicyStoreAlias", json!({ "aliasName": shelf.alias })),
    ] {
        seen.push_str(&victim.avp(key, operation, input).await.text());
    }
    seen
}

/// A decision for the bearer of a token by a store of the attacker's own that permits everything and trusts `issuer`. It
/// may be had for the own tenant's people as their token names them, and for nobody else.
async fn with_token(a: &Attacker, issuer: &str, token: &str, entities: Vec<Value>) -> (Answer, Outcome) {
    let tenant = crate::forge::claims(token).and_then(|claims| claims.get("tenant_id").cloned());
    let foreign = !entities.is_empty() || tenant != Some(ATTACKER.into());
    let (key, store) = (&a.acme().access_key, store(a).await);
    let source = json!({ "openIdConnectConfiguration": {
        "issuer": issuer,
        "groupConfiguration": { "groupClaim": "roles", "groupEntityType": "Ledger::Role" },
        "tokenSelection": { "accessTokenOnly": { "principalIdClaim": "sub" } },
    } });
    let create =
        json!({ "policyStoreId": store, "configuration": source, "principalEntityType": "Ledger::User" });
    a.avp(key, "CreateIdentitySource", create).await;
    let permit = json!({ "policyStoreId": store, "definition": { "static": { "statement": ANYONE } } });
    a.avp(key, "CreatePolicy", permit).await;
    let mut asked = json!({
        "policyStoreId": store,
        "accessToken": token,
        "action": { "actionType": "Ledger::Action", "actionId": "ViewPayment" },
        "resource": { "entityType": "Ledger::Payment", "entityId": "p-1" },
    });
    if let (Some(members), false) = (asked.as_object_mut(), entities.is_empty()) {
        members.insert("entities".to_owned(), json!({ "entityList": entities }));
    }
    let answer = a.avp(key, "IsAuthorizedWithToken", asked).await;
    drop_store(a, &store).await;
    let believed = foreign && answer.status() == 200;
    let leak = believed.then(|| Leak::oracle("a principal was believed that is not the token's".to_owned()));
    let outcome = outcome_of(&answer).leaking(leak);
    (answer, outcome)
}

/// A new store of the attacker's own.
async fn store(a: &Attacker) -> String {
    let create = json!({ "validationSettings": { "mode": "OFF" } });
    let answer = a.avp(&a.acme().access_key, "CreatePolicyStore", create).await;
    answer.text_member("policyStoreId").unwrap_or_default()
}

async fn drop_store(a: &Attacker, store: &str) {
    a.avp(&a.acme().access_key, "DeletePolicyStore", json!({ "policyStoreId": store })).await;
}
