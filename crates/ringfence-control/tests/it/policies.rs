//! Policies of tenants that differ, and change under load.

use http::StatusCode;
use ringfence_authorization::{
    Gate, SolverSettings, Standing, StoreDocument, WhenUnproved,
    stores::{STALE, StoreMapRow, store_map_put},
};
use ringfence_context::id::StoreId;

use crate::{
    bench::{id, with_bench},
    counting::Call,
};

const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";

#[test]
fn cv09_tenants_hold_different_schemas_at_the_same_time() {
    with_bench(async |bench| {
        for tenant in ["cv09-wide", "cv09-plain"] {
            bench.tenant(tenant).await;
        }
        let wider = |document: &mut StoreDocument| {
            document.schema =
                document.schema.replace("action ListAccounts,", "action Archive, ListAccounts,");
        };
        bench.policies_change("cv09-wide", wider).await.unwrap();
        let archive = "permit (principal, action == Ledger::Action::\"Archive\", resource);";
        bench.policy_put("cv09-wide", "archive", archive).await.unwrap();
        let refused = bench.policy_put("cv09-plain", "archive", archive).await.unwrap_err();
        assert!(refused.contains("Archive"), "{refused}");
        for tenant in ["cv09-wide", "cv09-plain"] {
            let token = bench.token(tenant, "viewer").await;
            assert_eq!(bench.get(tenant, &token, "/payments").await.status, StatusCode::OK);
        }
    });
}

#[test]
fn a_change_that_opens_a_way_across_tenants_changes_nothing() {
    with_bench(async |bench| {
        bench.tenant("gate").await;
        let before = bench.workflow.stores.document(&id("gate")).await.unwrap();
        let boundary = |document: &mut StoreDocument| drop(document.policies.remove("own-tenant-only"));
        let weaker = |document: &mut StoreDocument| {
            let policy = "forbid (principal, action, resource)
                unless { principal.tenant == resource.tenant || principal in Ledger::Role::\"service\" };";
            document.policies.insert("own-tenant-only".to_owned(), policy.to_owned());
        };
        let schema = |document: &mut StoreDocument| {
            let schema = &document.schema;
            document.schema =
                schema.replace("entity Book = { tenant: String }", "entity Book = { tenant?: String }");
        };
        let errs = |document: &mut StoreDocument| {
            let policy = "forbid (principal, action == Ledger::Action::\"CreatePayment\", resource)
                when { context has amount && context.amount * 2 > 10 };";
            document.policies.insert("overflows".to_owned(), policy.to_owned());
        };
        for (what, told, outcome) in [
            (
                "boundary",
                "of one tenant is allowed a resource of another",
                bench.policies_change("gate", boundary).await,
            ),
            ("weaker", "Ledger::Role::\"service\"", bench.policies_change("gate", weaker).await),
            ("schema", "tenant", bench.policies_change("gate", schema).await),
            ("errs", "overflow", bench.policies_change("gate", errs).await),
        ] {
            let error = outcome.unwrap_err();
            assert!(error.contains(told), "{what}: {error}");
        }
        assert_eq!(bench.workflow.stores.document(&id("gate")).await.unwrap(), before);
    });
}

#[test]
fn without_a_solver_nothing_is_published_unless_the_tier_says_so() {
    with_bench(async |bench| {
        bench.tenant("unproved").await;
        let settings = SolverSettings { program: "no-such-solver".into(), ..SolverSettings::default() };
        let gate = Gate::new(settings).await;
        let (document, _) = bench.workflow.stores.document(&id("unproved")).await.unwrap();
        let refused = gate.check(document.clone(), WhenUnproved::Refuse).await.unwrap_err().to_string();
        assert!(refused.contains("not proved to be safe") && refused.contains("install cvc5"), "{refused}");
        let accepted = gate.check(document.clone(), WhenUnproved::Accept).await.unwrap();
        assert!(matches!(accepted.standing(), Standing::Unproved(why) if why.contains("no-such-solver")));
        // What is known to be wrong is refused all the same.
        let mut invalid = document;
        invalid.policies.insert("bad".to_owned(), "permit (".to_owned());
        assert!(gate.check(invalid, WhenUnproved::Accept).await.is_err());
    });
}

/// There is no time to live to configure: what is remembered is remembered under the store's revision. The delay
/// between a change and its enforcement is what the write itself takes.
#[test]
fn cv17_a_change_is_enforced_by_the_first_request_after_it_and_the_delay_is_printed() {
    with_bench(async |bench| {
        bench.tenant("cv17").await;
        let token = bench.token("cv17", "viewer").await;
        let mut slowest = std::time::Duration::ZERO;
        for number in 0..20 {
            assert_eq!(bench.get("cv17", &token, "/payments").await.status, StatusCode::OK);
            let (policy, began) = (format!("freeze-{number}"), now());
            bench.policy_put("cv17", &policy, FREEZE).await.unwrap();
            let refused = bench.get("cv17", &token, "/payments").await;
            slowest = slowest.max(began.elapsed());
            assert_eq!(refused.refusal().1, "denied", "change {number}");
            let thaw = |document: &mut StoreDocument| drop(document.policies.remove(&policy));
            bench.policies_change("cv17", thaw).await.unwrap();
        }
        println!("policy change to refusal, slowest of 20: {slowest:?}");
        let currency = bench.workflow.stores.currency();
        let told = std::time::Duration::from_micros(currency.made_here.longest_us);
        assert!(currency.made_here.changes >= 40 && currency.at_most.changes >= 40, "{currency:?}");
        assert!(!told.is_zero() && told < STALE, "{currency:?}");
    });
}

#[test]
fn hj07_what_is_found_in_memory_and_who_is_turned_away_is_counted() {
    with_bench(async |bench| {
        bench.tenant("hj07").await;
        let token = bench.token("hj07", "viewer").await;
        let hits = &bench.gateway_hits;
        let ask = async || assert_eq!(bench.get("hj07", &token, "/payments").await.status, StatusCode::OK);
        let before = (hits.tokens.hits(), hits.permits.hits(), bench.workflow.stores.hits());
        ask().await;
        let first = (hits.tokens.hits(), hits.permits.hits());
        assert!(first.0.missed > before.0.missed && first.1.missed > before.1.missed, "{first:?}");
        for _ in 0..10 {
            ask().await;
        }
        let (tokens, permits) = (hits.tokens.hits(), hits.permits.hits());
        assert!(tokens.found >= first.0.found + 10 && permits.found >= first.1.found + 10, "{permits:?}");
        assert!(bench.workflow.stores.hits().stores.found > before.2.stores.found);
        // A change makes every permit be asked for again.
        bench
            .policy_put("hj07", "other", "forbid (principal == Ledger::User::\"nobody\", action, resource);")
            .await
            .unwrap();
        let changed = hits.permits.hits().missed;
        ask().await;
        assert!(hits.permits.hits().missed > changed);
        let refused = bench.workflow.limits.refused();
        while bench.workflow.limits.take(&id("hj07")).is_ok() {}
        assert_eq!(bench.workflow.limits.refused(), refused + 1);
    });
}

#[expect(clippy::disallowed_methods, reason = "the tests are a program: here time comes in")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn x17_a_store_map_row_that_points_at_anothers_store_refuses_and_leaks_nothing() {
    with_bench(async |bench| {
        for tenant in ["x17", "x17-other"] {
            bench.tenant(tenant).await;
        }
        let (token, others) = (bench.token("x17", "viewer").await, bench.token("x17-other", "viewer").await);
        assert_eq!(bench.get("x17", &token, "/payments").await.status, StatusCode::OK);
        let arrived = bench.counts.of("x17", Call::Application);
        let store = StoreId::new("ps-x17-other").unwrap();
        let row = store_map_put(&StoreMapRow::own(id("x17"), store)).unwrap();
        bench.workflow.records.commit(vec![row]).await.unwrap();
        bench.workflow.stores.refresh().await.unwrap();
        let refused = bench.get("x17", &token, "/payments").await;
        assert_eq!(refused.refusal().0, "authorization", "{refused:?}");
        assert_eq!(bench.counts.of("x17", Call::Application), arrived);
        assert!(bench.log.find(&refused.reference()).unwrap()[0].refused.is_some(), "on record");
        assert_eq!(bench.get("x17-other", &others, "/payments").await.status, StatusCode::OK);
    });
}
