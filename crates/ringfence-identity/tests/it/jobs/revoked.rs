//! Jobs that their worker revokes.

use http::StatusCode;
use ringfence_context::{Clock, Reason, limits};
use ringfence_identity::revocation::{REVOKED_TOKEN, RevokedToken};
use ringfence_store::Draft;

use super::{DAY, given, jobs};
use crate::bench::tenant;

/// One tenant's worker has no node remember jobs without end; what ends sooner is revoked all the same, and another tenant's job.
#[tokio::test]
async fn reject_revoked_tokens() {
    let jobs = jobs().await;
    let exp = jobs.bench.clock.now().seconds() + DAY;
    let put = async |numbers: std::ops::Range<usize>| {
        let one = |n| {
            Draft::put(&(&tenant("acme")).into(), REVOKED_TOKEN, &format!("j-{n}"), &RevokedToken { exp })
        };
        let drafts: Vec<_> = numbers.map(|n| one(n).unwrap()).collect();
        jobs.bench.records.commit(drafts).await.unwrap();
    };
    for first in (0..limits::REVOKED_TOKENS - 1).step_by(500) {
        put(first..(first + 500).min(limits::REVOKED_TOKENS - 1)).await;
    }
    jobs.bench.settle().await;
    let (last, more) = (jobs.job().await, jobs.job().await);
    let secret = jobs.acme.reveal();
    assert_eq!(jobs.revoke(&last, "worker", secret).await, StatusCode::OK);
    jobs.bench.settle().await;
    assert_eq!(jobs.refusal(&last).await, "invalid_grant");
    assert_eq!(jobs.revoke(&more, "worker", secret).await, StatusCode::TOO_MANY_REQUESTS);
    let access = given(&jobs.run("acme", &more, &[]).await);
    assert_eq!(jobs.revoke(&access, "worker", secret).await, StatusCode::OK);
    jobs.bench.settle().await;
    assert_eq!(jobs.bench.prove(&access, "acme").unwrap_err(), Reason::TokenRevoked);
    // When those would have expired there is room again.
    jobs.bench.pass(DAY).await;
    let next = jobs.job().await;
    assert_eq!(jobs.revoke(&next, "worker", secret).await, StatusCode::OK);
}

#[tokio::test]
async fn a_job_may_come_twice_until_its_worker_revokes_it() {
    let jobs = jobs().await;
    let (job, next) = (jobs.job().await, jobs.job().await);
    let (once, twice) =
        (given(&jobs.run("acme", &job, &[]).await), given(&jobs.run("acme", &job, &[]).await));
    assert_ne!(
        jobs.bench.prove(&once, "acme").unwrap().token_id(),
        jobs.bench.prove(&twice, "acme").unwrap().token_id()
    );
    let other = jobs.bench.machine_secret.reveal().as_str();
    assert_eq!(jobs.revoke(&job, "acme-job", other).await, StatusCode::BAD_REQUEST);
    assert_eq!(jobs.revoke(&job, "web", "").await, StatusCode::BAD_REQUEST);
    assert_eq!(jobs.revoke(&job, "worker", "wrong").await, StatusCode::UNAUTHORIZED);
    assert!(jobs.bench.prove(&given(&jobs.run("acme", &job, &[]).await), "acme").is_ok());

    assert_eq!(jobs.revoke(&once, "worker", jobs.acme.reveal()).await, StatusCode::OK);
    jobs.bench.settle().await;
    assert_eq!(jobs.bench.prove(&once, "acme").unwrap_err(), Reason::TokenRevoked);
    assert!(jobs.bench.prove(&twice, "acme").is_ok());

    assert_eq!(jobs.revoke(&job, "worker", jobs.acme.reveal()).await, StatusCode::OK);
    jobs.bench.settle().await;
    assert_eq!(jobs.refusal(&job).await, "invalid_grant");
    assert_eq!(jobs.bench.prove(&twice, "acme").unwrap_err(), Reason::TokenRevoked);
    assert_eq!(jobs.context(&next).await.subject(), &jobs.bench.alice);
    // Remembered for as long as it would have lived.
    jobs.bench.pass(DAY - 60).await;
    assert_eq!(jobs.refusal(&job).await, "invalid_grant");
}
