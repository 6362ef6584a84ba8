//! Tenants that are not there, or not served.

use http::StatusCode;

use crate::{
    bench::{by, id, with_bench},
    counting::Call,
};

#[test]
fn cv07_an_unknown_and_a_suspended_tenant_are_refused_before_any_policy_is_asked() {
    with_bench(async |bench| {
        bench.tenant("cv07").await;
        let token = bench.token("cv07", "viewer").await;
        assert_eq!(bench.get("cv07", &token, "/payments").await.status, StatusCode::OK);
        let made = || {
            [Call::Application, Call::GatewayDecision, Call::BackendDecision]
                .map(|call| bench.counts.of("cv07", call))
        };
        let before = made();
        let unknown = bench.get("cv07-nobody", &token, "/payments").await;
        assert_eq!(unknown.refusal(), ("token".to_owned(), "tenant_mismatch".to_owned()));
        bench.workflow.suspend(&id("cv07")).await.unwrap();
        let suspended = bench.get("cv07", &token, "/payments").await;
        assert_eq!(suspended.refusal().0, "token", "{suspended:?}");
        assert_eq!(bench.grant("cv07", "viewer-job", "any").await.status, StatusCode::NOT_FOUND);
        assert_eq!(made(), before);
        bench.workflow.resume(&id("cv07")).await.unwrap();
        assert_eq!(bench.get("cv07", &token, "/accounts").await.status, StatusCode::OK);
    });
}

#[test]
fn cv30_an_off_boarded_tenants_id_is_never_used_again() {
    with_bench(async |bench| {
        bench.tenant("cv30").await;
        let token = bench.token("cv30", "viewer").await;
        bench.workflow.offboard(&id("cv30")).await.unwrap();
        assert!(bench.get("cv30", &token, "/payments").await.status.is_client_error());
        let again = bench.workflow.onboard(id("cv30"), "cv30", "standard", &by()).await.unwrap_err();
        assert!(again.to_string().contains("never used again"), "{again}");
    });
}
