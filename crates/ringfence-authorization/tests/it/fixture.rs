//! Tenants with real tokens and real stores, for the tests and the bench.

use ringfence_authorization::{Facts, Gate, PolicyBundle, Resource, SolverSettings, StoreDocument};
use ringfence_context::{
    AccessClaims, AccessVerifier, Clock, IssuerKeys, JobClaim, RawToken, Seal, TenantContext, TenantId,
    TokenId, UnixTime, VerifyAccess, access,
    id::{ClientId, JobName, Role, StoreId, Subject},
    key::{MacKey, SigningKey},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
pub(crate) struct StandingClock(AtomicU64);

impl StandingClock {
    pub(crate) fn advance(&self, span: Duration) {
        self.0.fetch_add(u64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> UnixTime {
        NOW.after(Duration::from_micros(self.0.load(Ordering::SeqCst)))
    }
}

/// A gate with the real solver. The tests that run beside this one may leave it little of the processor: how long a proof may
/// take is what `proof/tests.rs` tests, and no other.
pub(crate) async fn gate() -> Gate {
    Gate::new(SolverSettings { time: Duration::from_secs(120), ..<_>::default() }).await
}

/// Lets the rest of the machine work, between two questions of who asks all the time. Proofs of a tenant that has had its share
/// are done when nobody else wants the processor: who never stops asking would keep them from ever being done.
pub(crate) async fn breath() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// Makes contexts as the kernel does: from a real token, really verified.
pub(crate) struct Contexts {
    key: SigningKey,
    seal: MacKey,
}

impl Contexts {
    pub(crate) fn new() -> Self {
        Self { key: SigningKey::generate().unwrap().0, seal: MacKey::generate().unwrap() }
    }

    pub(crate) fn context(&self, tenant: &TenantId, subject: &str, role: &str) -> TenantContext {
        self.context_of(tenant, subject, role, None)
    }

    /// The same, of somebody for whom a job of this name acts.
    pub(crate) fn context_of(
        &self,
        tenant: &TenantId,
        subject: &str,
        role: &str,
        job: Option<&str>,
    ) -> TenantContext {
        let jti = TokenId::new("t-1").unwrap();
        let exp = NOW.seconds() + 300;
        let claims = AccessClaims {
            iss: "https://gw/t/x".to_owned(),
            sub: Subject::new(subject).unwrap(),
            aud: "https://gw".to_owned(),
            exp,
            iat: NOW.seconds(),
            seal: Seal::issue(&self.seal, tenant, &jti, exp),
            jti,
            client_id: ClientId::new("web").unwrap(),
            tenant_id: tenant.clone(),
            roles: [Role::new(role).unwrap()].into(),
            job: job.map(job_claim),
        };
        let issuer = IssuerKeys {
            tenant: tenant.clone(),
            issuer: claims.iss.clone(),
            audience: claims.aud.clone(),
            keys: vec![self.key.public().clone()],
        };
        let raw = RawToken::new(&self.key.sign(access::TYP, &claims).unwrap()).unwrap();
        AccessVerifier.bind(AccessVerifier.verify(&raw, &issuer, NOW).unwrap(), tenant).unwrap()
    }
}

fn job_claim(name: &str) -> Arc<JobClaim> {
    Arc::new(JobClaim {
        name: JobName::new(name).unwrap(),
        jti: TokenId::new("j-1").unwrap(),
        exp: NOW.seconds() + 300,
        client_id: ClientId::new("web").unwrap(),
    })
}

/// The sample app's tier.
pub(crate) fn bundle() -> PolicyBundle {
    PolicyBundle {
        namespace: "Ledger".to_owned(),
        schema: include_str!("../../../../examples/ledger/policies/ledger.cedarschema").to_owned(),
        policies: include_str!("../../../../examples/ledger/policies/ledger.cedar").to_owned(),
    }
}

/// A store of the sample app's tier.
pub(crate) fn document(tenant: &TenantId) -> StoreDocument {
    bundle().seed(StoreId::new(&format!("ps-{tenant}")).unwrap(), tenant.clone()).unwrap()
}

pub(crate) fn resource(tenant: &TenantId, kind: &str, id: &str) -> Resource {
    Resource { kind: kind.to_owned(), id: id.to_owned(), tenant: tenant.clone(), attributes: Facts::new() }
}
