//! The policy service on the wire: what is read of a request before anyone looks at what it wants.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ringfence_context::{
    Clock, Reference, Secret,
    id::Subject,
    key::{MacKey, sha256},
    limits,
};
use ringfence_control::{SystemClock, access_key::KeyOwner, api::pause::PAUSE};
use ringfence_gateway::consistency::{AT_LEAST, REVISION};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, by, id, with_bench};

/// An access key.
pub(crate) struct Key {
    id: String,
    secret: Secret<String>,
}

impl Key {
    /// Of a new tenant.
    async fn of(bench: &Bench, tenant: &str) -> Self {
        bench.tenant(tenant).await;
        Self::new(bench, KeyOwner::Tenant(id(tenant))).await
    }

    pub(crate) async fn new(bench: &Bench, owner: KeyOwner) -> Self {
        let (shown, secret) = bench.workflow.access_keys.key_create(owner, &by()).await.unwrap();
        assert!(!format!("{secret:?}").contains(secret.reveal()), "never printed");
        Self { id: shown.id, secret }
    }

    pub(crate) fn secret(&self) -> &Secret<String> {
        &self.secret
    }

    /// Headers of a request signed with this key, as the IAM user guide describes it.
    fn sign(&self, bench: &Bench, operation: &str, content_type: &str, body: &str) -> HeaderMap {
        self.sign_with(bench, operation, content_type, body, None)
    }

    fn sign_with(
        &self,
        bench: &Bench,
        operation: &str,
        content_type: &str,
        body: &str,
        at_least: Option<&HeaderValue>,
    ) -> HeaderMap {
        let day = 86_400;
        let now = SystemClock.now().seconds();
        let (date, seconds) = (civil(now / day), now % day);
        let time = format!("{date}T{:02}{:02}{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let mut headers = vec![
            ("content-type", content_type.to_owned()),
            ("host", bench.api_address()),
            ("x-amz-date", time.clone()),
            ("x-amz-target", format!("VerifiedPermissions.{operation}")),
        ];
        if let Some(token) = at_least {
            headers.insert(2, ("ringfence-at-least-revision", token.to_str().unwrap().to_owned()));
        }
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("POST\n/\n\n{lines}\n{names}\n{}", hex(&sha256(body.as_bytes())));
        let scope = format!("{date}/local/verifiedpermissions/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&sha256(request.as_bytes())));
        let mut key = format!("AWS4{}", self.secret.reveal()).into_bytes();
        for part in scope.split('/') {
            key = MacKey::from_bytes(&Secret::new(key)).tag_plain(part.as_bytes()).to_vec();
        }
        let signature = hex(&MacKey::from_bytes(&Secret::new(key)).tag_plain(text.as_bytes()));
        let credential = format!("{}/{scope}", self.id);
        let value =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        let mut all: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        all.insert("authorization", value.parse().unwrap());
        all
    }

    pub(crate) async fn ask(&self, bench: &Bench, operation: &str, body: &str) -> Answer {
        let headers = self.sign(bench, operation, "application/x-amz-json-1.0", body);
        bench.api(Method::POST, "/", headers, body).await
    }

    /// The same, to be answered by this revision at least.
    async fn ask_at_least(&self, bench: &Bench, operation: &str, body: &str, token: &HeaderValue) -> Answer {
        let headers = self.sign_with(bench, operation, "application/x-amz-json-1.0", body, Some(token));
        bench.api(Method::POST, "/", headers, body).await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The date of a day since the epoch, as `YYYYMMDD`.
fn civil(days: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut rest) = (1970, days);
    while rest >= if leap(year) { 366 } else { 365 } {
        rest -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    format!("{year:04}{month:02}{:02}", rest + 1)
}

fn kind(answer: &Answer) -> (u16, String) {
    let name = answer.json()["__type"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), name)
}

fn serialization() -> (u16, String) {
    (400, "SerializationException".to_owned())
}

#[test]
fn reject_avp_request_bytes() {
    with_bench(async |bench| {
        let key = Key::of(bench, "avp-bytes").await;
        let body = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
        let whole = key.ask(bench, "ListPolicyStores", &body(limits::AVP_REQUEST_BYTES)).await;
        assert_eq!(whole.status, StatusCode::OK, "{whole:?}");
        let more = key.ask(bench, "ListPolicyStores", &body(limits::AVP_REQUEST_BYTES + 1)).await;
        assert_eq!(more.status, StatusCode::PAYLOAD_TOO_LARGE);
    });
}

#[test]
fn a_tenants_changes_have_a_rate_of_their_own_and_are_nobody_elses() {
    with_bench(async |bench| {
        let key_of = async |tenant: &str| {
            bench.workflow.onboard(id(tenant), tenant, "still", &by()).await.unwrap();
            Key::new(bench, KeyOwner::Tenant(id(tenant))).await
        };
        let (key, other) = (key_of("avp-still").await, key_of("avp-as-still").await);
        // One a second: of several asked one after the other some are too many, whether they would be done or refused.
        let mut changes = Vec::new();
        for _ in 0..5 {
            let asked = SystemClock.now();
            let answer = key.ask(bench, "CreatePolicy", "{}").await;
            changes.push((answer, SystemClock.now().since(asked)));
        }
        let throttled = |answer: &Answer| answer.json()["__type"] == "ThrottlingException";
        assert!(!throttled(&changes[0].0), "{}", changes[0].0.json());
        let turned_away = changes.iter().filter(|(answer, _)| throttled(answer));
        assert!(turned_away.clone().count() > 0);
        let waited = |took: &Duration| *took >= PAUSE;
        assert!(
            turned_away.map(|(_, took)| took).all(waited),
            "who asks too much waits for the answer: {changes:?}"
        );
        assert_eq!(key.ask(bench, "ListPolicyStores", "{}").await.status, StatusCode::OK);
        assert!(!throttled(&other.ask(bench, "CreatePolicy", "{}").await), "another tenant's are its own");
    });
}

#[test]
fn a_large_request_waits_for_its_tenants_own_and_holds_up_no_thread_that_serves() {
    with_bench(async |bench| {
        let (key, other) = (Key::of(bench, "avp-large").await, Key::of(bench, "avp-small").await);
        // Large by what is ignored: whatever it says, it is read apart.
        let large = format!("{{}}{}", " ".repeat(200_000));
        let release = bench.hold_large("avp-large").await;
        let mut waiting = Box::pin(key.ask(bench, "ListPolicyStores", &large));
        tokio::select! {
            biased;
            answer = &mut waiting => panic!("its own is not done yet: {answer:?}"),
            small = key.ask(bench, "ListPolicyStores", "{}") => assert_eq!(small.status, StatusCode::OK),
        }
        let others = other.ask(bench, "ListPolicyStores", &large).await;
        assert_eq!(others.status, StatusCode::OK, "another tenant's turn is its own");
        release().await;
        let answer = waiting.await;
        assert_eq!((answer.status, answer.json()), {
            let small = key.ask(bench, "ListPolicyStores", "{}").await;
            (small.status, small.json())
        });
        assert!(answer.headers.contains_key(REVISION));
        let unread = key.ask(bench, "ListPolicyStores", &format!("{large}{large}{{")).await;
        assert_eq!(kind(&unread), serialization());
    });
}

#[test]
fn reject_avp_json_depth() {
    with_bench(async |bench| {
        let key = Key::of(bench, "avp-depth").await;
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let refused = |depth: usize| key.ask(bench, "ListPolicyStores", nested(depth).leak());
        assert_eq!(kind(&refused(limits::AVP_JSON_DEPTH).await), (400, "ValidationException".to_owned()));
        for depth in [limits::AVP_JSON_DEPTH + 1, 100, 100_000] {
            assert_eq!(kind(&refused(depth).await), serialization(), "{depth}");
        }
    });
}

#[test]
fn a_body_is_one_object_with_each_key_once_for_one_known_operation() {
    with_bench(async |bench| {
        let key = Key::of(bench, "avp-body").await;
        for body in ["", "[]", "1", "{} {}", "{\"maxResults\":1,\"maxResults\":2}", "{\"maxResults\":1"] {
            assert_eq!(kind(&key.ask(bench, "ListPolicyStores", body).await), serialization(), "{body}");
        }
        for operation in ["", "Nothing", "listpolicystores", "ListPolicyStores.x"] {
            let refused = key.ask(bench, operation, "{}").await;
            assert_eq!(kind(&refused), (400, "UnknownOperationException".to_owned()), "{operation}");
        }
        for content_type in ["application/json", "application/x-amz-json-1.1", "text/plain"] {
            let headers = key.sign(bench, "ListPolicyStores", content_type, "{}");
            assert_eq!(kind(&bench.api(Method::POST, "/", headers, "{}").await), serialization());
        }
    });
}

#[test]
fn cv24_every_request_is_on_record_under_the_id_it_is_answered_with() {
    with_bench(async |bench| {
        let key = Key::of(bench, "avp-record").await;
        let recorded = |answer: &Answer| {
            let reference = Reference::new(answer.headers["x-amzn-requestid"].to_str().unwrap()).unwrap();
            bench.log.find(&reference).unwrap().pop().unwrap()
        };
        let statement = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";
        let new = json!({ "policyStoreId": "ps-avp-record", "definition": { "static": { "statement": statement } } });
        let made = key.ask(bench, "CreatePolicy", &new.to_string()).await;
        let verdict = recorded(&made);
        assert_eq!(verdict.tenant, Some(id("avp-record")));
        assert_eq!(verdict.action.as_deref(), Some("avp:CreatePolicy"));
        assert_eq!(verdict.policies[..], [made.json()["policyId"].as_str().unwrap()]);
        let asked = json!({
            "policyStoreId": "ps-avp-record",
            "principal": { "entityType": "Ledger::User", "entityId": "u" },
            "action": { "actionType": "Ledger::Action", "actionId": "ListPayments" },
            "resource": { "entityType": "Ledger::Book", "entityId": "b" },
        });
        let decided = key.ask(bench, "IsAuthorized", &asked.to_string()).await;
        assert_eq!(decided.json()["decision"], Value::from("DENY"));
        assert_eq!(recorded(&decided).detail, "decided: deny");
        assert_eq!(recorded(&decided).policies, verdict.policies);
        let foreign = json!({ "policyStoreId": "ps-avp-other" });
        let refused = key.ask(bench, "GetPolicyStore", &foreign.to_string()).await;
        assert_eq!(kind(&refused), (400, "ResourceNotFoundException".to_owned()));
        assert!(recorded(&refused).refused.is_some());
        let mut unsigned = key.sign(bench, "ListPolicyStores", "application/x-amz-json-1.0", "{}");
        unsigned.remove("authorization");
        let refused = bench.api(Method::POST, "/", unsigned, "{}").await;
        assert_eq!(kind(&refused), (400, "MissingAuthenticationTokenException".to_owned()));
        assert!(recorded(&refused).refused.is_some());
    });
}

#[test]
fn x14_a_change_tells_its_revision_and_only_its_own_account_can_ask_for_it() {
    with_bench(async |bench| {
        let (own, other) = (Key::of(bench, "revised").await, Key::of(bench, "unrevised").await);
        let operator = Key::new(bench, KeyOwner::Operator(Subject::new("operator").unwrap())).await;
        let statement = "forbid (principal, action, resource);";
        let create =
            json!({ "policyStoreId": "ps-revised", "definition": { "static": { "statement": statement } } });
        let told = |answer: &Answer| answer.headers[REVISION].clone();
        let made = own.ask(bench, "CreatePolicy", &create.to_string()).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        let question = json!({
            "policyStoreId": "ps-revised",
            "principal": { "entityType": "Ledger::User", "entityId": "u" },
            "action": { "actionType": "Ledger::Action", "actionId": "ListPayments" },
            "resource": { "entityType": "Ledger::Book", "entityId": "b" },
        })
        .to_string();
        let decided = own.ask_at_least(bench, "IsAuthorized", &question, &told(&made)).await;
        assert_eq!(decided.json()["decision"], "DENY", "{decided:?}");
        assert_ne!(told(&decided), told(&made), "sealed anew");
        let listed = other.ask(bench, "ListPolicyStores", "{}").await;
        let of_operator = operator.ask(bench, "IsAuthorized", &question).await;
        for foreign in [told(&listed), told(&of_operator), HeaderValue::from_static("1")] {
            let refused = own.ask_at_least(bench, "IsAuthorized", &question, &foreign).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
            assert_eq!(refused.json()["__type"], "ValidationException", "{refused:?}");
        }
        let mut added = own.sign(bench, "IsAuthorized", "application/x-amz-json-1.0", &question);
        added.insert(AT_LEAST, told(&made));
        let refused = bench.api(Method::POST, "/", added, &question).await;
        assert_eq!(refused.json()["__type"], "IncompleteSignatureException", "signed by nobody: {refused:?}");
        let again = operator.ask_at_least(bench, "IsAuthorized", &question, &told(&of_operator)).await;
        assert_eq!(again.status, StatusCode::OK);
    });
}
