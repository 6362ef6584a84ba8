//! The service over a real state: what an operation does, what it refuses, and what nobody else sees of it.

use std::{sync::Mutex as Lock, time::Duration};

use ringfence_context::{
    Clock, RawToken, Reason, Refusal, TenantId, UnixTime, foreign::TokenKind, id::Subject, limits,
};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{Gate, SolverSettings, WhenUnproved, stores::store_create};

#[path = "cedar_tests.rs"]
mod cedar_tests;
#[path = "serve_tests.rs"]
mod serve_tests;

const SCHEMA: &str = r#"{"P": {"entityTypes": {"User": {"memberOfTypes": ["Group"]}, "Group": {}, "Photo": {}},
    "actions": {"view": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Photo"]}}}}}"#;

const PERMIT: &str = "permit (principal, action == P::Action::\"view\", resource);";

struct Settable(Lock<u64>);

impl Clock for Settable {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(*self.0.lock().unwrap())
    }
}

struct Documented;

impl Tiers for Documented {
    fn quotas<'a>(&'a self, _: &'a TenantId) -> Later<'a, Quotas> {
        Box::pin(async { Quotas { policies_per_store: 30, policy_stores: 10, ..Quotas::default() } })
    }

    fn terms<'a>(&'a self, _: &'a TenantId) -> Later<'a, crate::Terms> {
        Box::pin(async { WhenUnproved::Refuse.into() })
    }
}

/// Tokens are verified in `ringfence-control`, and tested there: here none is.
struct NoTokens;

impl VerifyToken for NoTokens {
    fn own_issuer(&self, tenant: &TenantId) -> String {
        format!("http://127.0.0.1/t/{tenant}")
    }

    fn access<'a>(&'a self, _: &'a TenantId, _: &'a RawToken) -> Later<'a, Result<Claims, Refusal>> {
        Box::pin(async {
            Err(Refusal::new(ringfence_context::Layer::Token, Reason::TokenInvalid, "none is"))
        })
    }

    fn identity<'a>(
        &'a self,
        tenant: &'a TenantId,
        token: &'a RawToken,
    ) -> Later<'a, Result<Claims, Refusal>> {
        self.access(tenant, token)
    }

    fn foreign<'a>(
        &'a self,
        _: &'a Account,
        _: &'a str,
        _: &'a str,
        _: TokenKind,
    ) -> Later<'a, Result<Claims, ForeignFault>> {
        Box::pin(async { Err(ForeignFault::Unavailable) })
    }
}

struct Bench {
    avp: Avp,
    stores: Arc<Stores>,
    clock: Arc<Settable>,
    _dir: TempDir,
}

fn tenant(id: &str) -> Caller {
    Caller::Tenant(TenantId::new(id).unwrap())
}

fn operator() -> Caller {
    Caller::Operator(Subject::new("operator").unwrap())
}

impl Bench {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let records = Records::open_sqlite(dir.path()).await.unwrap();
        let clock = Arc::new(Settable(Lock::new(1_800_000_000)));
        let gate =
            Arc::new(Gate::new(SolverSettings { time: Duration::from_secs(120), ..<_>::default() }).await);
        for id in ["acme", "globex"] {
            records.tenant_add(&TenantId::new(id).unwrap()).await.unwrap();
            let mut document = crate::tests::document(id);
            document.id = StoreId::new(&format!("ps-{id}")).unwrap();
            let publishable = gate.check(document, WhenUnproved::Refuse).await.unwrap();
            records.commit(store_create(&publishable).unwrap()).await.unwrap();
        }
        let stores = Stores::load(records.clone(), Arc::clone(&clock) as _).await.unwrap();
        let parts = AvpParts {
            records,
            stores: Arc::clone(&stores),
            gate: Arc::clone(&gate),
            clock: Arc::clone(&clock) as _,
            tiers: Arc::new(Documented),
            tokens: Arc::new(NoTokens),
        };
        Self { avp: Avp::open(parts).await.unwrap(), stores, clock, _dir: dir }
    }

    /// Calls an operation: its answer has the model's shape, and so has its error.
    async fn call(&self, caller: &Caller, operation: &str, input: Value) -> Outcome<Value> {
        let outcome = self.avp.call(caller, operation, &input).await;
        match &outcome {
            Ok(answer) => {
                assert_eq!(self.avp.model().output_check(operation, answer), [], "{operation} {answer}")
            }
            Err(error) => {
                assert_ne!(error.name(), "InternalServerException", "{operation} {input}: {error:?}")
            }
        }
        outcome
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(&tenant("acme"), operation, input)
            .await
            .unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    async fn refused(&self, operation: &str, input: Value) -> Value {
        self.call(&tenant("acme"), operation, input).await.unwrap_err().body()
    }

    /// A store of acme's with the schema.
    async fn store(&self, mode: &str) -> String {
        let made = self.ok("CreatePolicyStore", json!({ "validationSettings": { "mode": mode } })).await;
        let store = made["policyStoreId"].as_str().unwrap().to_owned();
        self.ok("PutSchema", json!({ "policyStoreId": store, "definition": { "cedarJson": SCHEMA } })).await;
        store
    }

    async fn policy(&self, store: &str, statement: &str) -> String {
        let made = self.ok("CreatePolicy", policy(store, statement)).await;
        made["policyId"].as_str().unwrap().to_owned()
    }
}

fn policy(store: &str, statement: &str) -> Value {
    json!({ "policyStoreId": store, "definition": { "static": { "statement": statement } } })
}

fn question(store: &str, user: &str, entities: Value) -> Value {
    json!({
        "policyStoreId": store,
        "principal": { "entityType": "P::User", "entityId": user },
        "action": { "actionType": "P::Action", "actionId": "view" },
        "resource": { "entityType": "P::Photo", "entityId": "p" },
        "entities": { "entityList": entities },
    })
}

/// An input of each operation that takes a store, by its id or alias.
fn inputs(store: &str) -> Vec<(&'static str, Value)> {
    let about = |operation, members: Value| {
        let mut input = json!({ "policyStoreId": store });
        input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        (operation, input)
    };
    let arn = format!("arn:aws:verifiedpermissions::acme:policy-store/{store}");
    let oidc = json!({ "openIdConnectConfiguration": { "issuer": "https://idp", "tokenSelection": { "accessTokenOnly": {} } } });
    let mut inputs = vec![
        about("GetPolicyStore", json!({})),
        about("GetSchema", json!({})),
        about("ListPolicies", json!({})),
        about("ListPolicyTemplates", json!({})),
        about("ListIdentitySources", json!({})),
        about("GetPolicy", json!({ "policyId": "SP1" })),
        about("DeletePolicy", json!({ "policyId": "SP1" })),
        about("UpdatePolicy", json!({ "policyId": "SP1" })),
        about("GetPolicyTemplate", json!({ "policyTemplateId": "PT1" })),
        about("DeletePolicyTemplate", json!({ "policyTemplateId": "PT1" })),
        about("UpdatePolicyTemplate", json!({ "policyTemplateId": "PT1", "statement": PERMIT })),
        about("CreatePolicyTemplate", json!({ "statement": PERMIT })),
        ("CreatePolicy", policy(store, PERMIT)),
        about("PutSchema", json!({ "definition": { "cedarJson": SCHEMA } })),
        about("UpdatePolicyStore", json!({ "validationSettings": { "mode": "OFF" } })),
        about("GetIdentitySource", json!({ "identitySourceId": "IS1" })),
        about("DeleteIdentitySource", json!({ "identitySourceId": "IS1" })),
        about("CreateIdentitySource", json!({ "configuration": oidc })),
        about("UpdateIdentitySource", json!({ "identitySourceId": "IS1", "updateConfiguration": oidc })),
        ("TagResource", json!({ "resourceArn": arn, "tags": { "a": "b" } })),
        ("UntagResource", json!({ "resourceArn": arn, "tagKeys": ["a"] })),
        ("ListTagsForResource", json!({ "resourceArn": arn })),
    ];
    if store.starts_with("policy-store-alias/") {
        inputs.push(("GetPolicyStoreAlias", json!({ "aliasName": store })));
        inputs.push(("DeletePolicyStoreAlias", json!({ "aliasName": store, "deletionMode": "HardDelete" })));
    } else {
        inputs.push(about("DeletePolicyStore", json!({})));
        inputs.push(about("CreatePolicyStoreAlias", json!({ "aliasName": "policy-store-alias/x" })));
    }
    inputs.extend(questions(store));
    inputs
}

/// The same for those that decide, and the batches.
fn questions(store: &str) -> Vec<(&'static str, Value)> {
    let asked = question(store, "u", json!([]));
    let mut request = asked.clone();
    request
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !["policyStoreId", "entities"].contains(&name.as_str()));
    let token = json!({ "policyStoreId": store, "accessToken": "a.b.c" });
    let mut tokens = token.clone();
    tokens["requests"] = json!([{}]);
    vec![
        ("IsAuthorized", asked),
        ("IsAuthorizedWithToken", token),
        ("BatchIsAuthorized", json!({ "policyStoreId": store, "requests": [request] })),
        ("BatchIsAuthorizedWithToken", tokens),
        ("BatchGetPolicy", json!({ "requests": [{ "policyStoreId": store, "policyId": "SP1" }] })),
    ]
}

#[tokio::test]
async fn another_tenants_store_and_one_that_never_was_answer_the_same_bytes() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    bench
        .ok("CreatePolicyStoreAlias", json!({ "aliasName": "policy-store-alias/a", "policyStoreId": store }))
        .await;
    bench.call(&operator(), "GetPolicyStore", json!({ "policyStoreId": store })).await.unwrap();
    let absent = "PS00000000000000000000000000000000";
    let pairs =
        [(store.as_str(), absent), ("ps-acme", "ps-none"), ("policy-store-alias/a", "policy-store-alias/b")];
    let mut compared = 0;
    for (there, nowhere) in pairs {
        for ((operation, foreign), (_, never)) in inputs(there).into_iter().zip(inputs(nowhere)) {
            let mut seen = Vec::new();
            for (name, input) in [(there, foreign), (nowhere, never)] {
                let outcome = bench.call(&tenant("globex"), operation, input).await;
                let bytes = outcome.unwrap_or_else(|error| error.body()).to_string();
                seen.push(bytes.replace(name, "NAME"));
            }
            assert_eq!(seen[0], seen[1], "{operation} {there}");
            compared += 1;
        }
    }
    println!("{compared} pairs of answers");
    assert_eq!(
        bench.ok("GetPolicyStore", json!({ "policyStoreId": "policy-store-alias/a" })).await["policyStoreId"],
        store.as_str()
    );
}

#[tokio::test]
async fn a_client_token_does_once_for_eight_hours() {
    let bench = Bench::new().await;
    let make = |mode: &str| json!({ "validationSettings": { "mode": mode }, "clientToken": "t" });
    let first = bench.ok("CreatePolicyStore", make("OFF")).await;
    assert_eq!(bench.ok("CreatePolicyStore", make("OFF")).await, first);
    assert_eq!(bench.refused("CreatePolicyStore", make("STRICT")).await["__type"], "ConflictException");
    let other = bench.call(&tenant("globex"), "CreatePolicyStore", make("STRICT")).await.unwrap();
    assert_ne!(other["policyStoreId"], first["policyStoreId"], "a token is of one account");
    *bench.clock.0.lock().unwrap() += 8 * 3600 - 1;
    assert_eq!(bench.ok("CreatePolicyStore", make("OFF")).await, first);
    *bench.clock.0.lock().unwrap() += 1;
    assert_ne!(bench.ok("CreatePolicyStore", make("OFF")).await["policyStoreId"], first["policyStoreId"]);
}

#[tokio::test]
async fn a_schema_that_does_not_fit_names_the_policies_and_changes_nothing() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    let id = bench.policy(&store, PERMIT).await;
    let other = SCHEMA.replace("view", "look");
    let put = |json: &str| json!({ "policyStoreId": store, "definition": { "cedarJson": json } });
    let refused = bench.refused("PutSchema", put(&other)).await;
    assert_eq!(
        (&refused["__type"], &refused["fieldList"][0]["path"]),
        (&json!("ValidationException"), &json!(id))
    );
    assert_eq!(bench.ok("GetSchema", json!({ "policyStoreId": store })).await["schema"], SCHEMA);
    assert_eq!(bench.refused("PutSchema", put("{}")).await["__type"], "ValidationException");
    let twice = SCHEMA.replacen("\"Photo\": {}", "\"Photo\": {}, \"Photo\": {}", 1);
    assert_ne!(twice, SCHEMA);
    assert_eq!(bench.refused("PutSchema", put(&twice)).await["__type"], "ValidationException");
    let off = json!({ "policyStoreId": store, "validationSettings": { "mode": "OFF" } });
    bench.ok("UpdatePolicyStore", off).await;
    bench.ok("PutSchema", put(&other)).await;
    let strict = json!({ "policyStoreId": store, "validationSettings": { "mode": "STRICT" } });
    assert_eq!(bench.refused("UpdatePolicyStore", strict).await["fieldList"][0]["path"], id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn cv16_the_serving_store_is_edited_for_the_very_next_question() {
    let bench = Bench::new().await;
    let acme = TenantId::new("acme").unwrap();
    let (_, before) = bench.stores.document(&acme).await.unwrap();
    let freeze = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";
    let id = bench.policy("ps-acme", freeze).await;
    let (document, revision) = bench.stores.document(&acme).await.unwrap();
    assert_eq!(document.policies[&id], freeze);
    assert!(revision > before);
    let context = crate::tests::context("acme", "admin");
    let resource = crate::Resource {
        kind: "Book".to_owned(),
        id: "b".to_owned(),
        tenant: acme.clone(),
        attributes: <_>::default(),
    };
    let facts = <_>::default();
    let question = crate::Question {
        context: &context,
        principal: None,
        action: "ListPayments",
        resource: &resource,
        facts: &facts,
    };
    let answer = crate::Decide::decide(&*bench.stores, &question).unwrap();
    assert_eq!((answer.allow, answer.determining), (false, vec![id.clone()]));
    bench.ok("DeletePolicy", json!({ "policyStoreId": "ps-acme", "policyId": id })).await;
    assert!(crate::Decide::decide(&*bench.stores, &question).unwrap().allow);
    // And the other way: what is written elsewhere is what the service shows.
    let (mut document, revision) = bench.stores.document(&acme).await.unwrap();
    document.policies.insert("elsewhere".to_owned(), freeze.to_owned());
    let publishable = bench.avp.gate.check(document, WhenUnproved::Refuse).await.unwrap();
    let change = crate::govern::Change::now(
        crate::govern::Author::Plane,
        crate::govern::ChangeReason::new("a test").unwrap(),
    );
    bench.stores.document_put(&publishable, revision, change).await.unwrap();
    let shown = bench.ok("GetPolicy", json!({ "policyStoreId": "ps-acme", "policyId": "elsewhere" })).await;
    assert_eq!(shown["definition"]["static"]["statement"], freeze);
    for (operation, input) in [
        ("DeletePolicyStore", json!({ "policyStoreId": "ps-acme" })),
        ("PutSchema", json!({ "policyStoreId": "ps-acme", "definition": { "cedarJson": "{}" } })),
        ("PutSchema", json!({ "policyStoreId": "ps-acme", "definition": { "cedarJson": SCHEMA } })),
        ("CreatePolicy", policy("ps-acme", PERMIT)),
    ] {
        bench.refused(operation, input).await;
    }
}

#[tokio::test]
async fn cv08_the_guardrail_stands_beside_a_serving_store_unlisted() {
    let bench = Bench::new().await;
    let all = bench.policy("ps-acme", "permit (principal, action, resource);").await;
    let ask = |tenant: &str| {
        json!({
            "policyStoreId": "ps-acme",
            "principal": { "entityType": "Ledger::User", "entityId": "u" },
            "action": { "actionType": "Ledger::Action", "actionId": "ViewPayment" },
            "resource": { "entityType": "Ledger::Payment", "entityId": "p" },
            "entities": { "entityList": [{
                "identifier": { "entityType": "Ledger::Payment", "entityId": "p" },
                "attributes": { "tenant": { "string": tenant } },
            }] },
        })
    };
    let own = bench.ok("IsAuthorized", ask("acme")).await;
    assert_eq!(
        own,
        json!({ "decision": "ALLOW", "determiningPolicies": [{ "policyId": all }], "errors": [] })
    );
    let foreign = bench.ok("IsAuthorized", ask("globex")).await;
    let boundary = json!([{ "policyId": "own-tenant-only" }]);
    assert_eq!(foreign, json!({ "decision": "DENY", "determiningPolicies": boundary, "errors": [] }));
    let listed = bench.ok("ListPolicies", json!({ "policyStoreId": "ps-acme", "maxResults": 50 })).await;
    assert!(!listed.to_string().contains("ringfence:"), "{listed}");
}

#[tokio::test]
async fn decisions_and_errors_are_cedars() {
    let bench = Bench::new().await;
    let store = bench.store("OFF").await;
    let texts = [
        "permit (principal, action, resource) when { context.limit + 9223372036854775807 > 0 };",
        "permit (principal == P::User::\"u\", action, resource);",
        "forbid (principal, action, resource) when { principal.missing == 1 };",
    ];
    let mut set = cedar_policy::PolicySet::new();
    for text in texts {
        let id = bench.policy(&store, text).await;
        set.add(crate::text::policy(&id, text).unwrap()).unwrap();
    }
    let mut asked = question(&store, "u", json!([]));
    asked["context"] = json!({ "contextMap": { "limit": { "long": 1 } } });
    let answer = bench.ok("IsAuthorized", asked).await;
    let uid = |text: &str| text.parse().unwrap();
    let context = cedar_policy::Context::from_json_value(json!({ "limit": 1 }), None).unwrap();
    let request = cedar_policy::Request::new(
        uid("P::User::\"u\""),
        uid("P::Action::\"view\""),
        uid("P::Photo::\"p\""),
        context,
        None,
    );
    let cedar = cedar_policy::Authorizer::new().is_authorized(
        &request.unwrap(),
        &set,
        &cedar_policy::Entities::empty(),
    );
    let reasons: Vec<Value> =
        cedar.diagnostics().reason().map(|id| json!({ "policyId": id.to_string() })).collect();
    let mut errors: Vec<String> = cedar.diagnostics().errors().map(ToString::to_string).collect();
    errors.sort();
    let errors: Vec<Value> = errors.into_iter().map(|error| json!({ "errorDescription": error })).collect();
    assert_eq!(errors.len(), 2);
    assert_eq!(answer, json!({ "decision": "ALLOW", "determiningPolicies": reasons, "errors": errors }));
}

#[tokio::test]
async fn an_operator_reaches_a_tenants_store_by_its_id_and_has_an_account_of_its_own() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    let shown = bench.call(&operator(), "GetPolicyStore", json!({ "policyStoreId": store })).await.unwrap();
    assert!(shown["arn"].as_str().unwrap().contains("::acme:"));
    let own = bench
        .call(&operator(), "CreatePolicyStore", json!({ "validationSettings": { "mode": "OFF" } }))
        .await;
    let own = own.unwrap()["policyStoreId"].clone();
    let listed = bench.call(&operator(), "ListPolicyStores", json!({})).await.unwrap();
    assert_eq!(listed["policyStores"].as_array().unwrap().len(), 1);
    let alias = json!({ "aliasName": "policy-store-alias/a", "policyStoreId": store });
    assert!(
        bench.call(&operator(), "CreatePolicyStoreAlias", alias).await.is_err(),
        "aliases are of one account"
    );
    assert_eq!(
        bench.refused("GetPolicyStore", json!({ "policyStoreId": own })).await["__type"],
        "ResourceNotFoundException"
    );
    let rows = owner_rows(&bench.avp.records, &TenantId::new("acme").unwrap()).await.unwrap();
    assert!(!rows.is_empty(), "what leads to a tenant's stores goes with it");
}

#[tokio::test]
async fn quotas_are_counted() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    for _ in 0..30 {
        bench.policy(&store, PERMIT).await;
    }
    let refused = bench.refused("CreatePolicy", policy(&store, PERMIT)).await;
    assert_eq!(refused["__type"], "ServiceQuotaExceededException");
    assert_eq!(refused["quotaCode"], "policies-per-store");
    let long = format!("permit (principal, action, resource); //{}", "a".repeat(10_000));
    assert_eq!(bench.refused("CreatePolicy", policy(&store, &long)).await["__type"], "ValidationException");
    let mut last = Value::Null;
    for _ in 0..11 {
        let asked = json!({ "validationSettings": { "mode": "OFF" } });
        last = bench
            .call(&tenant("acme"), "CreatePolicyStore", asked)
            .await
            .unwrap_or_else(|error| error.body());
    }
    assert_eq!(
        (&last["__type"], &last["resourceType"]),
        (&json!("ServiceQuotaExceededException"), &json!("POLICY_STORE"))
    );
}

#[tokio::test]
async fn reject_avp_batch_requests() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    let batch = |count: usize| {
        let mut request = question(&store, "u", json!([]));
        request
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !["policyStoreId", "entities"].contains(&name.as_str()));
        json!({ "policyStoreId": store, "requests": vec![request; count] })
    };
    bench.ok("BatchIsAuthorized", batch(limits::AVP_BATCH_REQUESTS)).await;
    let refused = bench.refused("BatchIsAuthorized", batch(limits::AVP_BATCH_REQUESTS + 1)).await;
    assert_eq!(refused["fieldList"][0]["path"], "requests");
}

#[tokio::test]
async fn reject_avp_entities() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    let users = |count: usize| -> Value {
        let user = |at| json!({ "identifier": { "entityType": "P::User", "entityId": format!("u{at}") } });
        (0..count).map(user).collect()
    };
    bench.ok("IsAuthorized", question(&store, "u0", users(limits::AVP_ENTITIES))).await;
    bench.refused("IsAuthorized", question(&store, "u0", users(limits::AVP_ENTITIES + 1))).await;
}

#[tokio::test]
async fn reject_avp_entities_total() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    let groups = |count: usize| -> Value {
        let group = |at| json!({ "identifier": { "entityType": "P::Group", "entityId": format!("g{at}") } });
        (0..count).map(group).collect()
    };
    let as_json = |count: usize| {
        let group =
            |at| json!({ "uid": { "type": "P::Group", "id": format!("g{at}") }, "attrs": {}, "parents": [] });
        let mut asked = question(&store, "u", json!([]));
        asked["entities"] = json!({ "cedarJson": (0..count).map(group).collect::<Value>().to_string() });
        asked
    };
    bench.ok("IsAuthorized", question(&store, "u", groups(limits::AVP_ENTITIES_TOTAL))).await;
    bench.ok("IsAuthorized", as_json(limits::AVP_ENTITIES_TOTAL)).await;
    bench.refused("IsAuthorized", question(&store, "u", groups(limits::AVP_ENTITIES_TOTAL + 1))).await;
    bench.refused("IsAuthorized", as_json(limits::AVP_ENTITIES_TOTAL + 1)).await;
}

#[tokio::test]
async fn reject_avp_ancestors() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    // A chain: each group is in the next.
    let chain = |count: usize| -> Value {
        let group = |at: usize| json!({ "entityType": "P::Group", "entityId": format!("g{at}") });
        let link = |at: usize| json!({ "identifier": group(at), "parents": [group(at + 1)] });
        let user =
            json!({ "identifier": { "entityType": "P::User", "entityId": "u" }, "parents": [group(1)] });
        std::iter::once(user).chain((1..count).map(link)).collect()
    };
    bench.ok("IsAuthorized", question(&store, "u", chain(limits::AVP_ANCESTORS))).await;
    bench.refused("IsAuthorized", question(&store, "u", chain(limits::AVP_ANCESTORS + 1))).await;
}

#[tokio::test]
async fn two_changes_at_once_are_both_made() {
    let bench = Bench::new().await;
    let store = bench.store("STRICT").await;
    let (acme, new) = (tenant("acme"), policy(&store, PERMIT));
    let create = || bench.avp.call(&acme, "CreatePolicy", &new);
    let (one, other) = tokio::join!(create(), create());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    let listed = bench.ok("ListPolicies", json!({ "policyStoreId": store })).await;
    assert_eq!(listed["policies"].as_array().unwrap().len(), 2);
}
