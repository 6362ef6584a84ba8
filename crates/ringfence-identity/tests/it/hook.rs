//! The pre-token hook: no authentic membership of this very tenant, no token.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use ringfence_context::{
    Layer, Reason, Refusal, TenantId,
    id::{Role, Subject},
};
use ringfence_identity::{
    HookClaims, Membership, MembershipHook, Pools, PreTokenHook, hook::HookAnswer, membership::MEMBERSHIP,
};
use ringfence_store::{Change, Draft, Expect, RecordKey, Scope, Store};

use crate::bench::{BASE, Bench, bench, bench_with, by, tenant};

fn scope(name: &str) -> Scope {
    Scope::from(&tenant(name))
}

impl Bench {
    async fn raw_membership(&self, at: &str, subject: &str) -> Option<Vec<u8>> {
        let key = RecordKey::new(scope(at), MEMBERSHIP, subject);
        self.store.get(&key).await.unwrap().map(|record| record.value)
    }

    async fn plant(&self, at: &str, subject: &str, value: Vec<u8>) {
        let key = RecordKey::new(scope(at), MEMBERSHIP, subject);
        self.store.commit(vec![Change { key, expect: Expect::Any, value: Some(value) }]).await.unwrap();
    }

    async fn assert_no_token(&self, why: &str) {
        let answer = self.redeem("acme", &self.code().await, &[]).await;
        assert_eq!(answer.json()["error"], "access_denied", "{why}: {}", answer.body);
        assert!(!answer.body.contains("token\""), "{why}: {}", answer.body);
    }
}

#[tokio::test]
async fn cv02_a_membership_row_edited_in_the_database_gives_no_token() {
    let bench = bench().await;
    let alice = bench.alice.as_str();
    let good = bench.raw_membership("acme", alice).await.unwrap();
    for at in [0, 5, 20, good.len() - 1] {
        let mut edited = good.clone();
        edited[at] ^= 1;
        bench.plant("acme", alice, edited).await;
        bench.assert_no_token("edited").await;
        bench.pass(30).await;
    }
    let clear = Membership { user: bench.alice.clone(), tenant: tenant("acme"), roles: vec![] };
    bench.plant("acme", alice, serde_json::to_vec(&clear).unwrap()).await;
    bench.assert_no_token("in the clear").await;
    bench.plant("acme", alice, good).await;
    assert!(bench.redeem("acme", &bench.code().await, &[]).await.status.is_success(), "as it was");
}

#[tokio::test]
async fn x17_a_membership_row_moved_from_another_tenant_or_user_gives_no_token() {
    let bench = bench().await;
    // Written by globex itself about acme's user, and then copied to acme's place in the database.
    let roles = vec![Role::new("admin").unwrap()];
    let foreign = Membership { user: bench.alice.clone(), tenant: tenant("globex"), roles: roles.clone() };
    bench.pools.membership_put(&foreign, &by()).await.unwrap();
    let row = bench.raw_membership("globex", bench.alice.as_str()).await.unwrap();
    bench.plant("acme", bench.alice.as_str(), row).await;
    bench.assert_no_token("moved from another tenant").await;
    let other = Membership { user: Subject::new("u-other").unwrap(), tenant: tenant("acme"), roles };
    bench.pools.membership_put(&other, &by()).await.unwrap();
    let row = bench.raw_membership("acme", "u-other").await.unwrap();
    bench.plant("acme", bench.alice.as_str(), row).await;
    bench.assert_no_token("moved from another user").await;
}

#[tokio::test]
async fn x17_an_authentic_membership_that_says_another_tenant_or_user_gives_no_token() {
    let bench = bench().await;
    let put = |membership: Membership| {
        Draft::put(&scope("acme"), MEMBERSHIP, bench.alice.as_str(), &membership).unwrap()
    };
    let own = Membership { user: bench.alice.clone(), tenant: tenant("acme"), roles: vec![] };
    for wrong in [
        Membership { tenant: tenant("globex"), ..own.clone() },
        Membership { user: Subject::new("u-other").unwrap(), ..own },
    ] {
        bench.records.commit(vec![put(wrong)]).await.unwrap();
        bench.assert_no_token("authentic but wrong").await;
    }
    bench.pools.membership_delete(&tenant("acme"), &bench.alice, &by()).await.unwrap();
    bench.assert_no_token("no membership").await;
}

struct Counting {
    hook: MembershipHook,
    asked: Arc<AtomicU32>,
}

impl PreTokenHook for Counting {
    fn claims<'a>(&'a self, pool: &'a TenantId, subject: &'a Subject) -> HookAnswer<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.hook.claims(pool, subject)
    }
}

#[tokio::test]
async fn pc06_a_change_of_roles_is_in_the_next_token_and_in_none_before() {
    let bench = bench().await;
    let had: Vec<Role> = bench.prove(&bench.access_token().await, "acme").unwrap().roles().to_vec();
    let before = bench.access_token().await;
    let roles = vec![Role::new("auditor").unwrap()];
    let membership = Membership { user: bench.alice.clone(), tenant: tenant("acme"), roles: roles.clone() };
    bench.pools.membership_put(&membership, &by()).await.unwrap();
    bench.settle().await;
    let said = |token: &str| bench.prove(token, "acme").unwrap().roles().to_vec();
    assert_ne!(had, roles);
    assert_eq!(said(&before), had, "for as long as the token lives");
    assert_eq!(said(&bench.access_token().await), roles);
}

#[tokio::test]
async fn cv03_the_hook_is_asked_once_per_login_and_never_per_request() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let bench = bench_with(BASE, |pools: Pools| {
        Arc::new(Counting { hook: MembershipHook::new(pools), asked: counter })
    })
    .await;
    let token = bench.access_token().await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for _ in 0..20 {
        bench.prove(&token, "acme").unwrap();
    }
    bench.sign_in("acme", "alice", "wrong").await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

struct Failing;

impl PreTokenHook for Failing {
    fn claims<'a>(&'a self, _: &'a TenantId, _: &'a Subject) -> HookAnswer<'a> {
        let refusal = Refusal::new(Layer::Identity, Reason::DependencyUnavailable, "the hook failed");
        Box::pin(async move { Err(refusal) })
    }
}

#[tokio::test]
async fn cv04_a_hook_that_fails_means_no_token() {
    let bench = bench_with(BASE, |_| Arc::new(Failing)).await;
    let code = bench.code().await;
    let answer = bench.redeem("acme", &code, &[]).await;
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert!(!answer.body.contains("access_token"));
    let again = bench.redeem("acme", &code, &[]).await;
    assert_eq!(again.json()["error"], "invalid_grant", "a failure costs the code, never a second use");
}

struct Lying;

impl PreTokenHook for Lying {
    fn claims<'a>(&'a self, _: &'a TenantId, _: &'a Subject) -> HookAnswer<'a> {
        Box::pin(async { Ok(HookClaims { tenant_id: tenant("globex"), roles: vec![] }) })
    }
}

#[tokio::test]
async fn x16_a_broken_hook_alone_does_not_carry_through() {
    let bench = bench_with(BASE, |_| Arc::new(Lying)).await;
    let token = bench.access_token().await;
    for at in ["acme", "globex"] {
        assert_eq!(bench.prove(&token, at).unwrap_err(), Reason::TenantMismatch, "{at}");
    }
}
