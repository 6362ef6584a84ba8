//! From another store to what serves: what is known of a store, and what of it takes effect.

use super::*;
use crate::{
    Review, StoresError, Terms,
    govern::{Author, ChangeReason, GovernError},
};

/// What lets anybody read anybody's payments.
const OPEN: &str = "permit (principal, action == Ledger::Action::\"ListPayments\", resource);";

/// What takes something away.
const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn alice() -> Author {
    Author::Operator(Subject::new("alice").unwrap())
}

fn why() -> ChangeReason {
    ChangeReason::new("month end").unwrap()
}

fn terms() -> Terms {
    WhenUnproved::Refuse.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_avp_writes_waiting() {
    let bench = Arc::new(Bench::new().await);
    let store = bench.store("OFF").await;
    let arn = format!("arn:aws:verifiedpermissions::acme:policy-store/{store}");
    let first = bench.avp.turn(&Account::Tenant(acme())).await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..limits::AVP_WRITES_WAITING {
        let bench = Arc::clone(&bench);
        let input = json!({ "resourceArn": arn, "tags": { "number": number.to_string() } });
        asking.spawn(async move { bench.call(&tenant("acme"), "TagResource", input).await });
    }
    // As many as may are under way or wait, the first among them: one is told so at once, and nothing of another account's waits.
    let crowded = asking.join_next().await.unwrap().unwrap();
    assert_eq!(crowded.unwrap_err().name(), "ThrottlingException");
    assert_eq!(bench.avp.crowded(), 1);
    bench
        .call(&tenant("globex"), "CreatePolicyStore", json!({ "validationSettings": { "mode": "OFF" } }))
        .await
        .unwrap();
    drop(first);
    while let Some(made) = asking.join_next().await {
        made.unwrap().unwrap();
    }
}

impl Bench {
    /// Another store of acme's that says what serves.
    async fn copy(&self) -> String {
        let made = self.ok("CreatePolicyStore", json!({ "validationSettings": { "mode": "STRICT" } })).await;
        let store = made["policyStoreId"].as_str().unwrap().to_owned();
        let schema = self.ok("GetSchema", json!({ "policyStoreId": "ps-acme" })).await;
        let put = json!({ "policyStoreId": store, "definition": { "cedarJson": schema["schema"] } });
        self.ok("PutSchema", put).await;
        let (document, _) = self.stores.document(&acme()).await.unwrap();
        for statement in document.policies.values() {
            self.policy(&store, statement).await;
        }
        store
    }

    async fn standing(&self, store: &str) -> Option<StoreStanding> {
        let input = json!({ "policyStoreId": store });
        self.avp.answered(&tenant("acme"), "GetPolicyStore", &input).await.unwrap().standing
    }

    async fn candidate(&self, store: &str) -> Candidate {
        self.avp.candidate(&acme(), store, None).await.unwrap()
    }

    async fn prove(&self, store: &str) -> Result<StoreOverview, ServeError> {
        self.avp.prove(self.candidate(store).await, terms()).await
    }

    async fn delete(&self, store: &str, policy: &str) {
        self.ok("DeletePolicy", json!({ "policyStoreId": store, "policyId": policy })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_proved_as_what_it_says_and_no_input_says_so() {
    let bench = Bench::new().await;
    let (proved, unproved) = (Some(StoreStanding::Proved), Some(StoreStanding::Unproved));
    let create = json!({
        "validationSettings": { "mode": "OFF" }, "description": "proved",
        "tags": { "Ringfence-Standing": "proved", "proved": "true" },
    });
    let made = bench.avp.answered(&tenant("acme"), "CreatePolicyStore", &create).await.unwrap();
    let said = made.output["policyStoreId"].as_str().unwrap();
    assert_eq!((made.standing, bench.standing(said).await), (unproved, unproved));
    let mut input = json!({ "policyStoreId": said, "validationSettings": { "mode": "OFF" } });
    input["proved"] = json!({ "content": "", "solver": "mine" });
    assert_eq!(bench.refused("UpdatePolicyStore", input).await["__type"], "ValidationException");

    let store = bench.copy().await;
    assert_eq!(bench.standing(&store).await, unproved, "that it is equal to what is proved says nothing");
    bench.prove(&store).await.unwrap();
    assert_eq!(bench.standing(&store).await, proved);
    let asked = question(&store, "u", json!([]));
    let decided = bench.avp.answered(&tenant("acme"), "IsAuthorized", &asked).await.unwrap();
    assert_eq!(decided.standing, proved);
    // From the very change on, also where it takes something away; and as before once it says the same.
    let written = bench.avp.answered(&tenant("acme"), "CreatePolicy", &policy(&store, FREEZE)).await.unwrap();
    assert_eq!((written.standing, bench.standing(&store).await), (unproved, unproved));
    bench.delete(&store, written.output["policyId"].as_str().unwrap()).await;
    assert_eq!(bench.standing(&store).await, proved);
    // What is not a part of the proof takes nothing from it.
    let tags = json!({ "resourceArn": format!("arn:aws:verifiedpermissions::acme:policy-store/{store}"), "tags": { "a": "b" } });
    bench.ok("TagResource", tags).await;
    assert_eq!(bench.standing(&store).await, proved);
    let schema = json!({ "policyStoreId": said, "definition": { "cedarJson": SCHEMA } });
    bench.ok("PutSchema", schema).await;
    assert_eq!(bench.standing(said).await, unproved);
    assert_eq!(bench.standing("ps-acme").await, unproved, "the test's stores have no history");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_another_store_or_of_what_it_said_before_is_worth_nothing() {
    let bench = Bench::new().await;
    let store = bench.copy().await;
    bench.prove(&store).await.unwrap();
    let scope = Account::Tenant(acme()).scope();
    let marked = bench.avp.records.get::<record::Head>(&scope, record::STORE, &store).await.unwrap().unwrap();
    let other = bench.store("STRICT").await;
    bench.policy(&other, PERMIT).await;
    let found = bench.avp.records.get::<record::Head>(&scope, record::STORE, &other).await.unwrap().unwrap();
    let forged = record::Head { proved: marked.value.proved.clone(), ..found.value };
    bench.avp.records.commit(vec![edit::head_put(&scope, &forged).unwrap()]).await.unwrap();
    assert_eq!(bench.standing(&other).await, Some(StoreStanding::Unproved));
    bench.policy(&store, OPEN).await;
    bench.avp.records.commit(vec![edit::head_put(&scope, &marked.value).unwrap()]).await.unwrap();
    assert_eq!(bench.standing(&store).await, Some(StoreStanding::Unproved));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_safe_is_neither_marked_nor_published_and_says_which_request() {
    let bench = Bench::new().await;
    let before = bench.stores.document(&acme()).await.unwrap();
    let store = bench.copy().await;
    bench.prove(&store).await.unwrap();
    let (document, _) = bench.stores.document(&acme()).await.unwrap();
    let boundary = &document.policies["own-tenant-only"];
    let listed = bench.ok("ListPolicies", json!({ "policyStoreId": store })).await;
    for item in listed["policies"].as_array().unwrap() {
        let id = item["policyId"].as_str().unwrap();
        let shown = bench.ok("GetPolicy", json!({ "policyStoreId": store, "policyId": id })).await;
        if shown["definition"]["static"]["statement"] == boundary.as_str() {
            bench.delete(&store, id).await;
        }
    }
    bench.policy(&store, OPEN).await;
    assert_eq!(bench.standing(&store).await, Some(StoreStanding::Unproved));
    let refuted = |error: ServeError| {
        assert!(
            matches!(error, ServeError::Govern(GovernError::Stores(StoresError::Refuted(_)))),
            "{error:?}"
        );
        let told = error.to_string();
        for part in ["allowed a resource of another", "principal  Ledger::", "action     Ledger::Action::"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    };
    refuted(bench.prove(&store).await.unwrap_err());
    let candidate = bench.candidate(&store).await;
    refuted(bench.avp.publish(candidate, terms(), alice(), &why()).await.unwrap_err());
    assert_eq!(bench.standing(&store).await, Some(StoreStanding::Unproved));
    assert_eq!(bench.stores.document(&acme()).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_changed_since_it_was_looked_at_is_not_published() {
    let bench = Bench::new().await;
    let store = bench.copy().await;
    bench.policy(&store, FREEZE).await;
    let looked_at = bench.prove(&store).await.unwrap();
    let content = serde_json::to_value(&looked_at).unwrap()["content"].as_str().unwrap().to_owned();
    let before = bench.stores.document(&acme()).await.unwrap();
    // Changed between two steps, and between the reading and the commit of one.
    let (read, read_too) = (bench.candidate(&store).await, bench.candidate(&store).await);
    bench.policy(&store, OPEN).await;
    let pinned = bench.avp.candidate(&acme(), &store, Some(&content)).await.unwrap_err();
    assert!(matches!(pinned, ServeError::Changed), "{pinned:?}");
    let late = bench.avp.publish(read, terms(), alice(), &why()).await.unwrap_err();
    assert!(matches!(late, ServeError::Changed), "{late:?}");
    assert!(matches!(bench.avp.prove(read_too, terms()).await.unwrap_err(), ServeError::Changed));
    assert_eq!(bench.standing(&store).await, Some(StoreStanding::Unproved));
    assert_eq!(bench.stores.document(&acme()).await.unwrap(), before);
    // And where what serves has changed meanwhile.
    let store = bench.copy().await;
    bench.policy(&store, FREEZE).await;
    let read = bench.candidate(&store).await;
    bench.policy("ps-acme", FREEZE).await;
    let late = bench.avp.publish(read, terms(), alice(), &why()).await.unwrap_err();
    assert!(matches!(late, ServeError::Changed), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_says_serves_as_a_version_with_an_author_and_a_reason() {
    let bench = Bench::new().await;
    let store = bench.copy().await;
    let freeze = bench.policy(&store, FREEZE).await;
    let read = bench.candidate(&store).await;
    let Took::Effect(published) = bench.avp.publish(read, terms(), alice(), &why()).await.unwrap() else {
        panic!("a proposal");
    };
    let (document, _) = bench.stores.document(&acme()).await.unwrap();
    assert_eq!((document.id.as_str(), &*document.policies[&freeze]), ("ps-acme", FREEZE));
    assert!(!document.policies.contains_key("own-tenant-only"), "what served before does not any more");
    let governance = crate::Governance::new(Arc::clone(&bench.stores), Arc::clone(&bench.avp.gate));
    let version = governance.version_get(&acme(), published.version).await.unwrap();
    assert_eq!(version.author, alice());
    assert_eq!(version.reason.to_string(), format!("month end (policy store {store})"));
    assert_eq!(bench.standing(&store).await, Some(StoreStanding::Proved));
    assert_eq!(bench.standing("ps-acme").await, Some(StoreStanding::Proved));
    let again = bench.avp.publish(bench.candidate(&store).await, terms(), alice(), &why()).await.unwrap_err();
    assert!(matches!(again, ServeError::Govern(GovernError::Same)), "{again:?}");
    // The store it came from is a store as before: what is written to it decides no request.
    bench.delete(&store, &freeze).await;
    assert!(bench.stores.document(&acme()).await.unwrap().0.policies.contains_key(&freeze));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_review_is_required_a_store_is_proposed() {
    let bench = Bench::new().await;
    let store = bench.copy().await;
    bench.policy(&store, FREEZE).await;
    let before = bench.stores.document(&acme()).await.unwrap();
    let reviewed = Terms { review: Review::Required, ..terms() };
    let took = bench.avp.publish(bench.candidate(&store).await, reviewed, alice(), &why()).await.unwrap();
    let Took::Proposed(proposal) = took else { panic!("published") };
    assert_eq!((proposal.number, &proposal.author), (1, &alice()));
    assert_eq!(bench.stores.document(&acme()).await.unwrap(), before);
    let governance = crate::Governance::new(Arc::clone(&bench.stores), Arc::clone(&bench.avp.gate));
    let own = governance.approve(&acme(), 1, alice(), None).await.unwrap_err();
    assert!(matches!(own, GovernError::OwnProposal), "{own:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_another_tenants_store_is_proved_and_published_as_one_that_never_was() {
    let bench = Bench::new().await;
    let store = bench.copy().await;
    let globex = TenantId::new("globex").unwrap();
    let nobody = TenantId::new("nobody").unwrap();
    let never = "PS00000000000000000000000000000000";
    for (of, id) in [(&globex, store.as_str()), (&globex, "ps-acme"), (&acme(), never), (&nobody, &store)] {
        let absent = bench.avp.candidate(of, id, None).await.unwrap_err();
        assert!(matches!(absent, ServeError::Missing), "{of} {id}: {absent:?}");
    }
    for bad in ["", "policy-store-alias/a", "../ps-acme", "a b"] {
        assert!(matches!(bench.avp.candidate(&acme(), bad, None).await.unwrap_err(), ServeError::Missing));
    }
    let serves = bench.avp.candidate(&acme(), "ps-acme", None).await.unwrap_err();
    assert!(matches!(serves, ServeError::Serves));
    let listed = serde_json::to_string(&bench.avp.overviews(&globex, None).await.unwrap()).unwrap();
    assert!(listed.contains("ps-globex") && !listed.contains(&store), "{listed}");
    let all = serde_json::to_value(bench.avp.overviews(&acme(), None).await.unwrap()).unwrap();
    let serving = |item: &Value| (item["policy_store_id"] == "ps-acme") == (item["serving"] == json!(true));
    assert!(all.as_array().unwrap().len() == 2 && all.as_array().unwrap().iter().all(serving), "{all}");
}
