//! Policies of tenants that differ, and change under load.

use http::StatusCode;
use ringfence_authorization::stores::{StoreMapRow, store_map_put};
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
        let stores = &bench.workflow.stores;
        let (mut document, revision) = stores.document(&id("cv09-wide")).await.unwrap();
        document.schema = document.schema.replace("action ListAccounts,", "action Archive, ListAccounts,");
        stores.document_put(&document, revision).await.unwrap();
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
            let (mut document, revision) = bench.workflow.stores.document(&id("cv17")).await.unwrap();
            document.policies.remove(&policy);
            bench.workflow.stores.document_put(&document, revision).await.unwrap();
        }
        println!("policy change to refusal, slowest of 20: {slowest:?}");
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
        let row = store_map_put(&StoreMapRow { tenant: id("x17"), store }).unwrap();
        bench.workflow.records.commit(vec![row]).await.unwrap();
        bench.workflow.stores.refresh().await.unwrap();
        let refused = bench.get("x17", &token, "/payments").await;
        assert_eq!(refused.refusal().0, "authorization", "{refused:?}");
        assert_eq!(bench.counts.of("x17", Call::Application), arrived);
        assert!(bench.log.find(&refused.reference()).unwrap()[0].refused.is_some(), "on record");
        assert_eq!(bench.get("x17-other", &others, "/payments").await.status, StatusCode::OK);
    });
}
