//! Governing policies over the API: who may take which step, and what becomes of requests.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use ringfence_context::{
    Clock,
    id::{ClientId, Role, Subject},
    limits,
};
use ringfence_control::{SystemClock, access_key::KeyOwner};
use serde_json::{Value, json};

use crate::{
    avp::Key,
    bench::{Answer, Bench, bearer, by, id, with_bench},
};

const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";

pub(crate) async fn call(bench: &Bench, token: &str, method: Method, path: &str, body: &Value) -> Answer {
    let mut headers = if token.is_empty() { HeaderMap::new() } else { bearer(token) };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    bench.api(method, path, headers, &body.to_string()).await
}

async fn post(bench: &Bench, token: &str, path: &str, body: Value) -> Answer {
    call(bench, token, Method::POST, path, &body).await
}

async fn get(bench: &Bench, token: &str, path: &str) -> Answer {
    call(bench, token, Method::GET, path, &json!({})).await
}

/// A new operator's token.
pub(crate) async fn operator(bench: &Bench, name: &str, roles: &[&str]) -> String {
    let made = post(bench, &bench.operator, "/v1/operators", json!({ "name": name, "roles": roles })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.json()["token"].as_str().unwrap().to_owned()
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["title"].as_str().unwrap_or_default().to_owned())
}

fn freeze() -> Value {
    json!({ "reason": "month end", "edit": { "put": { "freeze": FREEZE } } })
}

#[test]
fn x12_what_is_reviewed_is_approved_by_another_operator_whatever_credential_is_shown() {
    with_bench(async |bench| {
        bench.tenant_reviewed("reviewed").await;
        let viewer = bench.token("reviewed", "viewer").await;
        let payments = async || bench.get("reviewed", &viewer, "/payments").await.status;
        let before = bench.workflow.stores.document(&id("reviewed")).await.unwrap();
        // Not at once, by anybody: neither here nor at the policy service.
        let put =
            call(bench, &bench.operator, Method::PUT, "/v1/tenants/reviewed/policies/x", &json!(FREEZE))
                .await;
        let (status, title) = told(&put);
        assert!(status == 422 || status == 409, "{put:?}");
        let headers = bearer(&bench.operator);
        let put = bench.api(Method::PUT, "/v1/tenants/reviewed/policies/x", headers, FREEZE).await;
        assert_eq!(put.status, StatusCode::CONFLICT, "{title}");
        assert!(told(&put).1.contains("policy propose"), "{put:?}");
        let create =
            json!({ "policyStoreId": "ps-reviewed", "definition": { "static": { "statement": FREEZE } } });
        for owner in [KeyOwner::Tenant(id("reviewed")), KeyOwner::Operator(Subject::new("operator").unwrap())]
        {
            let refused = Key::new(bench, owner).await.ask(bench, "CreatePolicy", &create.to_string()).await;
            assert_eq!(refused.json()["__type"], "AccessDeniedException", "{refused:?}");
        }
        assert_eq!(bench.workflow.stores.document(&id("reviewed")).await.unwrap(), before);

        let proposals = "/v1/tenants/reviewed/proposals";
        let one = operator(bench, "reviewed-admin", &["admin"]).await;
        let two = post(bench, &one, "/v1/operators/reviewed-admin/tokens", json!({})).await.json();
        let two = two["token"].as_str().unwrap().to_owned();
        assert_ne!(one, two);
        let made = post(bench, &one, proposals, freeze()).await;
        assert_eq!((made.status, &made.json()["proposal"]), (StatusCode::CREATED, &json!(1)));
        for token in [&one, &two] {
            let own = post(bench, token, &format!("{proposals}/1/approve"), json!({})).await;
            assert_eq!(own.status, StatusCode::FORBIDDEN, "{own:?}");
        }
        let early = post(bench, &one, &format!("{proposals}/1/publish"), json!({})).await;
        assert_eq!(early.status, StatusCode::CONFLICT);
        assert_eq!(payments().await, StatusCode::OK);

        let bob = operator(bench, "reviewed-bob", &["policy-reviewer"]).await;
        let approved =
            post(bench, &bob, &format!("{proposals}/1/approve"), json!({ "reason": "agreed" })).await;
        assert_eq!(approved.json()["state"], "approved");
        let published = post(bench, &one, &format!("{proposals}/1/publish"), json!({})).await;
        assert_eq!(published.json()["version"], 2, "{published:?}");
        assert_eq!(payments().await, StatusCode::FORBIDDEN, "by the very next request");
        let versions = get(bench, &bob, "/v1/tenants/reviewed/versions").await.json();
        assert_eq!(
            (&versions[1]["author"], &versions[1]["reviewer"], &versions[1]["cause"]),
            (&json!("operator reviewed-admin"), &json!("operator reviewed-bob"), &json!("proposal 1"))
        );
        let audit = get(bench, &bob, "/v1/tenants/reviewed/audit").await.json();
        let steps: Vec<&str> = audit.as_array().unwrap().iter().map(|e| e["did"].as_str().unwrap()).collect();
        assert_eq!(steps.len(), 4, "{steps:?}");
        assert_eq!(audit[2]["reason"], "agreed");
    });
}

#[test]
fn an_operator_that_ended_is_nobody_and_its_name_is_not_used_again() {
    with_bench(async |bench| {
        let gone = operator(bench, "gone", &["policy-author"]).await;
        bench.tenant("gone").await;
        let key = Key::new(bench, KeyOwner::Operator(Subject::new("gone").unwrap())).await;
        assert_eq!(get(bench, &gone, "/v1/tenants/gone/versions").await.status, StatusCode::OK);
        let listed = key.ask(bench, "ListPolicyStores", "{}").await;
        assert_eq!(listed.status, StatusCode::OK);
        let ended = call(bench, &bench.operator, Method::DELETE, "/v1/operators/gone", &json!({})).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        assert_eq!(get(bench, &gone, "/v1/tenants/gone/versions").await.status, StatusCode::UNAUTHORIZED);
        assert_ne!(key.ask(bench, "ListPolicyStores", "{}").await.status, StatusCode::OK);
        let again =
            post(bench, &bench.operator, "/v1/operators", json!({ "name": "gone", "roles": ["admin"] }))
                .await;
        assert_eq!(again.status, StatusCode::CONFLICT);
    });
}

#[test]
fn cv24_an_applications_key_asks_for_decisions_and_nothing_else() {
    with_bench(async |bench| {
        bench.tenant("apps").await;
        operator(bench, "apps-app", &["decisions-only"]).await;
        let made = post(bench, &bench.operator, "/v1/access-keys", json!({ "operator": "apps-app" })).await;
        assert_eq!(made.json()["owner"], "operator apps-app", "{made:?}");
        operator(bench, "apps-bob", &["policy-reviewer"]).await;
        let posing = post(bench, &bench.operator, "/v1/access-keys", json!({ "operator": "apps-bob" })).await;
        assert_eq!(posing.status, StatusCode::FORBIDDEN, "nobody acts as another person");
        let key = Key::new(bench, KeyOwner::Operator(Subject::new("apps-app").unwrap())).await;
        let question = json!({
            "policyStoreId": "ps-apps",
            "principal": { "entityType": "Ledger::User", "entityId": "u" },
            "action": { "actionType": "Ledger::Action", "actionId": "ListPayments" },
            "resource": { "entityType": "Ledger::Book", "entityId": "b" },
        });
        let decided = key.ask(bench, "IsAuthorized", &question.to_string()).await;
        assert_eq!(decided.json()["decision"], "DENY", "{decided:?}");
        let store = json!({ "policyStoreId": "ps-apps" });
        let create =
            json!({ "policyStoreId": "ps-apps", "definition": { "static": { "statement": FREEZE } } });
        for (operation, body) in [
            ("CreatePolicy", &create),
            ("GetPolicyStore", &store),
            ("ListPolicies", &store),
            ("DeletePolicyStore", &store),
            ("NoSuchOperation", &store),
        ] {
            let refused = key.ask(bench, operation, &body.to_string()).await;
            assert_eq!(refused.json()["__type"], "AccessDeniedException", "{operation}: {refused:?}");
        }
    });
}

#[test]
fn what_a_tenants_key_changes_is_a_version_of_that_tenant() {
    with_bench(async |bench| {
        bench.tenant("keyed").await;
        let key = Key::new(bench, KeyOwner::Tenant(id("keyed"))).await;
        let create =
            json!({ "policyStoreId": "ps-keyed", "definition": { "static": { "statement": FREEZE } } });
        assert_eq!(key.ask(bench, "CreatePolicy", &create.to_string()).await.status, StatusCode::OK);
        let versions = get(bench, &bench.operator, "/v1/tenants/keyed/versions").await.json();
        assert_eq!(versions.as_array().unwrap().len(), 2);
        assert_eq!(versions[1]["author"], "tenant keyed");
        assert_eq!(versions[1]["reason"], "CreatePolicy at the policy service");
        let back =
            post(bench, &bench.operator, "/v1/tenants/keyed/versions/1/rollback", json!({ "reason": "no" }))
                .await;
        assert_eq!(back.json()["version"], 3, "{back:?}");
        // The policy service sees what the roll-back left.
        let listed = key.ask(bench, "ListPolicies", r#"{"policyStoreId":"ps-keyed"}"#).await.json();
        assert!(!listed.to_string().contains("SP"), "{listed}");
    });
}

#[test]
fn a_difference_is_proved_and_replayed_on_what_was_really_asked() {
    with_bench(async |bench| {
        bench.tenant("differs").await;
        let viewer = bench.token("differs", "viewer").await;
        for path in ["/payments", "/payments", "/accounts"] {
            assert_eq!(bench.get("differs", &viewer, path).await.status, StatusCode::OK);
        }
        let account = json!({ "name": "x", "currency": "USD" }).to_string();
        let denied = bench.ask("differs", &viewer, Method::POST, "/accounts", &account).await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN);
        let edit = json!({ "put": { "freeze": FREEZE } });
        let sides = json!({ "from": "serving", "to": { "edit": edit } });
        let found = post(bench, &bench.operator, "/v1/tenants/differs/difference", sides).await.json();
        assert_eq!(found["verdict"], "different", "{found}");
        for kind in found["differing"].as_array().unwrap() {
            assert!(kind["action"].as_str().unwrap().contains("ListPayments"), "{kind}");
            assert_eq!(kind["gains"], "nothing");
            assert!(
                kind["loses"]["example"]["wrong"]["differs"]["denied"].to_string().contains("freeze"),
                "{kind}"
            );
        }
        let recorded = &found["recorded"];
        assert!(recorded["differing"].as_u64().unwrap() >= 2, "{recorded}");
        assert!(recorded["replayable"].as_u64() > recorded["differing"].as_u64(), "{recorded}");
        assert_eq!(recorded["examples"][0]["roles"], json!(["viewer"]));
        let same = json!({ "from": { "version": 1 }, "to": "serving" });
        let found = post(bench, &bench.operator, "/v1/tenants/differs/difference", same).await.json();
        assert_eq!((&found["verdict"], &found["recorded"]["differing"]), (&json!("equivalent"), &json!(0)));
    });
}

#[test]
fn a_truth_table_says_which_rows_fail_and_reads_no_key_it_does_not_know() {
    with_bench(async |bench| {
        bench.tenant("truth").await;
        let row = |role: &str, expect: &str| {
            json!({ "name": role, "principal": { "id": "u", "roles": [role] }, "action": "CreatePayment",
                    "resource": { "type": "Book" }, "context": { "amount": 5 }, "expect": expect })
        };
        let check = async |rows: Value, of: Value| {
            post(bench, &bench.operator, "/v1/tenants/truth/truth-table", json!({ "of": of, "rows": rows }))
                .await
        };
        let rows = json!([row("clerk", "allow"), row("viewer", "deny"), row("viewer", "allow")]);
        let report = check(rows.clone(), json!("serving")).await.json();
        assert_eq!((&report["passed"], &report["failed"]), (&json!(2), &json!(1)), "{report}");
        assert_eq!(
            (&report["rows"][2]["passed"], &report["rows"][2]["got"]),
            (&json!(false), &json!("deny"))
        );
        let deny = "forbid (principal, action == Ledger::Action::\"CreatePayment\", resource);";
        let edit = json!({ "edit": { "put": { "stop": deny } } });
        let report = check(rows, edit).await.json();
        assert_eq!(report["failed"], 2, "{report}");
        let mut by = row("clerk", "allow");
        by["by"] = json!(["another-policy"]);
        assert_eq!(check(json!([by]), json!("serving")).await.json()["failed"], 1);
        let mut misspelt = row("clerk", "allow");
        misspelt["contxt"] = json!({});
        assert_eq!(check(json!([misspelt]), json!("serving")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn reject_policy_test_rows() {
    with_bench(async |bench| {
        bench.tenant("rows").await;
        let row = json!({ "principal": { "id": "u" }, "action": "ListPayments", "resource": { "type": "Book" }, "expect": "deny" });
        let check = async |count: usize| {
            let table = json!({ "rows": vec![row.clone(); count] });
            post(bench, &bench.operator, "/v1/tenants/rows/truth-table", table).await
        };
        assert_eq!(check(limits::POLICY_TEST_ROWS).await.json()["failed"], 0);
        assert_eq!(check(limits::POLICY_TEST_ROWS + 1).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn a_shadowed_proposal_is_counted_on_real_requests_and_affects_none() {
    with_bench(async |bench| {
        bench.tenant("shadow").await;
        let at = |path: &str| format!("/v1/tenants/shadow/{path}");
        let made = post(bench, &bench.operator, &at("proposals"), freeze()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let token = bench.token("shadow", "viewer").await;
        let started = post(bench, &bench.operator, &at("proposals/1/shadow"), json!({})).await;
        assert_eq!(started.json()["asked"], 0, "{started:?}");
        for path in ["/payments", "/accounts"] {
            assert_eq!(bench.get("shadow", &token, path).await.status, StatusCode::OK);
        }
        let report = get(bench, &bench.operator, &at("shadow")).await.json();
        assert!(report["asked"].as_u64().unwrap() >= 2 && report["lost"].as_u64().unwrap() >= 1, "{report}");
        assert_eq!(report["gained"], 0);
        assert_eq!(report["samples"][0]["action"], "ListPayments");
        let rejected =
            post(bench, &bench.operator, &at("proposals/1/reject"), json!({ "reason": "too harsh" })).await;
        assert_eq!(rejected.status, StatusCode::OK, "{rejected:?}");
        assert_eq!(get(bench, &bench.operator, &at("shadow")).await.status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_reason_that_would_break_a_line_is_refused() {
    with_bench(async |bench| {
        bench.tenant("reasons").await;
        for reason in ["", "a\nb", "\u{1b}[31mred", "\u{202e}abc"] {
            let body = json!({ "reason": reason, "edit": { "put": { "freeze": FREEZE } } });
            let refused = post(bench, &bench.operator, "/v1/tenants/reasons/proposals", body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{reason:?}");
        }
        let path = "/v1/tenants/reasons/policies/x?reason=a%0Ab";
        let refused = bench.api(Method::PUT, path, bearer(&bench.operator), FREEZE).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        for name in ["a b", "a\nb", "", "a|b"] {
            let body = json!({ "name": name, "roles": ["auditor"] });
            let refused = post(bench, &bench.operator, "/v1/operators", body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{name:?}");
        }
    });
}

/// A machine client of this name and role; its subject is its name.
async fn machine(bench: &Bench, tenant: &str, name: &str) -> String {
    let client = ClientId::new(name).unwrap();
    let roles = vec![Role::new("viewer").unwrap()];
    let made =
        bench.workflow.pools.client_create_machine(&id(tenant), &client, name, roles, &by()).await.unwrap();
    bench.grant(tenant, name, made.reveal()).await.json()["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn x13_a_share_is_decided_for_by_an_approved_proposal_and_a_rise_in_refusals_ends_it() {
    with_bench(async |bench| {
        bench.tenant_reviewed("canary").await;
        let at = |path: &str| format!("/v1/tenants/canary/{path}");
        let bob = operator(bench, "canary-bob", &["policy-reviewer"]).await;
        let mut tokens = Vec::new();
        for number in 0..20 {
            tokens.push(machine(bench, "canary", &format!("job-{number}")).await);
        }
        let served = async || {
            let mut statuses = Vec::new();
            for token in &tokens {
                statuses.push(bench.get("canary", token, "/payments").await.status);
            }
            statuses
        };
        let everybody = vec![StatusCode::OK; tokens.len()];
        assert_eq!(served().await, everybody, "remembered from here on");
        assert_eq!(
            post(bench, &bench.operator, &at("proposals"), freeze()).await.status,
            StatusCode::CREATED
        );
        let begin = async |percent: u8, most_rise: u8| {
            let body = json!({ "percent": percent, "most_rise": most_rise });
            post(bench, &bob, &at("proposals/1/canary"), body).await
        };
        assert_eq!(begin(50, 100).await.status, StatusCode::CONFLICT, "nobody has approved it");
        assert_eq!(served().await, everybody);
        post(bench, &bob, &at("proposals/1/approve"), json!({})).await;
        for percent in [0, 100] {
            assert_eq!(begin(percent, 2).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        let begun = begin(50, 100).await;
        assert_eq!((begun.status, &begun.json()["ended"]), (StatusCode::OK, &Value::Null), "{begun:?}");
        let share = served().await;
        let refused = share.iter().filter(|status| **status == StatusCode::FORBIDDEN).count();
        assert!((1..tokens.len()).contains(&refused), "{share:?}");
        for _ in 0..3 {
            assert_eq!(served().await, share, "nobody flips, whatever was remembered");
        }
        let stopped = call(bench, &bob, Method::DELETE, &at("canary"), &json!({})).await.json();
        assert!(stopped["lost"].as_u64().unwrap() >= 4, "{stopped}");
        assert_eq!(served().await, everybody, "from the next request on");
        // It refuses far more than it may: it ends by itself, and is over for everybody.
        begin(50, 5).await;
        for _ in 0..10 {
            served().await;
        }
        let report = get(bench, &bob, &at("canary")).await.json();
        assert!(report["ended"]["rise"]["lost"].as_u64().unwrap() >= 2, "{report}");
        assert_eq!(served().await, everybody);
        let audit = async || get(bench, &bob, &at("audit")).await.json().to_string();
        tokio::time::timeout(std::time::Duration::from_secs(20), async {
            while !audit().await.contains("rolled back: of ") {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await
        .expect("on record");
        let whole = audit().await;
        for step in ["let proposal 1 decide for 50%", "it was stopped", "operator canary-bob"] {
            assert!(whole.contains(step), "{step}: {whole}");
        }
        // And for all.
        let published = post(bench, &bob, &at("proposals/1/publish"), json!({})).await;
        assert_eq!(published.json()["version"], 2, "{published:?}");
        assert_eq!(served().await, vec![StatusCode::FORBIDDEN; tokens.len()]);
    });
}

#[test]
fn x13_an_approved_proposal_takes_effect_at_its_time_by_itself() {
    with_bench(async |bench| {
        bench.tenant_reviewed("timed").await;
        let at = |path: &str| format!("/v1/tenants/timed/{path}");
        let viewer = bench.token("timed", "viewer").await;
        let payments = async || bench.get("timed", &viewer, "/payments").await.status;
        let bob = operator(bench, "timed-bob", &["policy-reviewer"]).await;
        let eve = operator(bench, "timed-eve", &["policy-reviewer"]).await;
        let soon = |seconds: u64| moment(SystemClock.now().seconds() + seconds);
        let shown = async |number: u64| get(bench, &bob, &at(&format!("proposals/{number}"))).await.json();
        for (number, reason) in [(1, "not by who is gone"), (2, "month end")] {
            let edit = json!({ "put": { format!("freeze-{number}"): FREEZE } });
            post(bench, &bench.operator, &at("proposals"), json!({ "reason": reason, "edit": edit })).await;
            post(bench, &bob, &at(&format!("proposals/{number}/approve")), json!({})).await;
        }
        for (when, says) in [
            (soon(0), "has passed"),
            ("2001-01-01T00:00:00Z".to_owned(), "has passed"),
            ("1901-01-01T00:00:00Z".to_owned(), "RFC 3339"),
            (soon(400 * 24 * 3600), "more than a year"),
            ("tomorrow".to_owned(), "RFC 3339"),
        ] {
            let refused = post(bench, &bob, &at("proposals/1/publish"), json!({ "at": when })).await;
            assert!(told(&refused).0 == 422 && told(&refused).1.contains(says), "{when}: {refused:?}");
        }
        // Who has set the time must be one who may publish when it comes.
        let set = post(bench, &eve, &at("proposals/1/publish"), json!({ "at": soon(2) })).await;
        assert_eq!(set.status, StatusCode::ACCEPTED, "{set:?}");
        assert!(set.json()["scheduled"].as_str().unwrap().contains("operator timed-eve"));
        call(bench, &bench.operator, Method::DELETE, "/v1/operators/timed-eve", &json!({})).await;
        let until = async |number: u64, what: &str| {
            tokio::time::timeout(std::time::Duration::from_secs(30), async {
                while !shown(number).await.to_string().contains(what) {
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            })
            .await
            .unwrap_or_else(|_| panic!("{what}"));
        };
        until(1, "who set the time may no longer publish").await;
        assert_eq!((payments().await, shown(1).await["state"].clone()), (StatusCode::OK, json!("approved")));
        // Cancelled, and set again.
        let publish = at("proposals/2/publish");
        post(bench, &bob, &publish, json!({ "at": soon(3000) })).await;
        let cancel =
            async || call(bench, &bob, Method::DELETE, &at("proposals/2/schedule"), &json!({})).await;
        assert!(cancel().await.json()["scheduled"].as_str().unwrap().contains("it was cancelled"));
        assert_eq!(cancel().await.status, StatusCode::CONFLICT);
        post(bench, &bob, &publish, json!({ "at": soon(2) })).await;
        until(2, "\"state\":\"published\"").await;
        assert_eq!(payments().await, StatusCode::FORBIDDEN);
        let versions = get(bench, &bob, &at("versions")).await.json();
        assert_eq!(
            (versions.as_array().unwrap().len(), &versions[1]["publisher"]),
            (2, &json!("operator timed-bob"))
        );
        let audit = get(bench, &bob, &at("audit")).await.json().to_string();
        for step in
            ["is to be published at", "it was cancelled", "may no longer publish", "published version 2"]
        {
            assert!(audit.contains(step), "{step}: {audit}");
        }
    });
}

/// Seconds since the epoch, as RFC 3339 writes them.
fn moment(seconds: u64) -> String {
    let moment = chrono::DateTime::from_timestamp(seconds.try_into().unwrap(), 0).unwrap();
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
