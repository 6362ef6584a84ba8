//! The one admission point for HTTP: from a request's head to a proved tenant.
//!
//! Verified tokens are remembered under a key that carries the tenant presented at, the token's hash and the revision
//! of that tenant's keys it was verified with. What can change without a new revision is asked again on every request: expiry,
//! suspension, revocation.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, header};
use quick_cache::sync::Cache;
use ringfence_context::{
    Clock, Issuers, Layer, Permit, RawToken, Reason, Reference, Refusal, TenantContext, TenantId, UnixTime,
    VerifyAccess, access, tally::Tally,
};

use crate::txn::Signed;

/// Most verified tokens remembered at once.
const REMEMBERED: usize = 100_000;

/// Admits requests.
pub struct Admission {
    issuers: Arc<dyn Issuers>,
    access: Arc<dyn VerifyAccess>,
    clock: Arc<dyn Clock>,
    verified: Cache<TokenKey, Arc<Admitted>>,
    hits: Arc<GatewayHits>,
}

/// How often what a request needs was in memory.
#[derive(Debug, Default)]
pub struct GatewayHits {
    /// Verified tokens.
    pub tokens: Tally,
    /// Permits: what is not found is asked of the tenant's store.
    pub permits: Tally,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    tenant: TenantId,
    token: [u8; 32],
    revision: u64,
}

/// A proved tenant, and what was decided and signed for this token lately.
#[derive(Debug)]
pub struct Admitted {
    /// The proof.
    pub context: TenantContext,
    routes: Mutex<Vec<Remembered>>,
}

/// What is remembered of one route.
#[derive(Debug, Clone, Default)]
struct Remembered {
    granted: Option<Arc<Granted>>,
    txn: Arc<TxnOfSecond>,
}

/// The place of a token's and route's latest `Txn-Token`.
pub type TxnOfSecond = Mutex<Option<Signed>>;

/// A permit for one route, good for one revision of the tenant's store.
#[derive(Debug)]
pub struct Granted {
    /// The revision of the store that permitted.
    pub store_revision: u64,
    /// The permit.
    pub permit: Permit,
    /// The policies that determined it.
    pub policies: Arc<[String]>,
    /// The revision of the answer, as the tenant is told it: a token that only this plane reads.
    pub revision: Option<HeaderValue>,
    /// The `Txn-Token` of this access token and route.
    pub txn: Arc<TxnOfSecond>,
}

impl Admission {
    /// An admission point with its sources.
    pub fn new(
        issuers: Arc<dyn Issuers>,
        access: Arc<dyn VerifyAccess>,
        clock: Arc<dyn Clock>,
        hits: Arc<GatewayHits>,
    ) -> Self {
        Self { issuers, access, clock, verified: Cache::new(REMEMBERED), hits }
    }

    /// Proves the tenant of a request presented at `tenant`'s address.
    ///
    /// # Errors
    /// A refusal of the token layer.
    pub fn admit(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Arc<Admitted>, Refusal> {
        let raw = bearer(headers)?;
        let key =
            TokenKey { tenant: tenant.clone(), token: raw.hash(), revision: self.issuers.revision(tenant) };
        let known = self.verified.get(&key).filter(|admitted| admitted.context.expires() > now);
        self.hits.tokens.count(known.is_some());
        let admitted = match known {
            Some(admitted) => admitted,
            None => {
                let admitted =
                    Arc::new(Admitted { context: self.verify(tenant, &raw, now)?, routes: <_>::default() });
                self.verified.insert(key, Arc::clone(&admitted));
                admitted
            }
        };
        self.issuers.check_live(&admitted.context)?;
        Ok(admitted)
    }

    fn verify(&self, tenant: &TenantId, raw: &RawToken, now: UnixTime) -> Result<TenantContext, Refusal> {
        let issuer = self.issuers.issuer(&access::claimed_issuer(raw)?)?;
        self.access.bind(self.access.verify(raw, &issuer, now)?, tenant)
    }

    /// Names a request that is only now beginning.
    pub fn reference(&self) -> (UnixTime, Reference) {
        let now = self.clock.now();
        (now, crate::reference::reference(now))
    }
}

impl Admitted {
    /// The permit remembered for a route, if it is of this revision of the store.
    pub fn granted(&self, route: usize, store_revision: u64) -> Option<Arc<Granted>> {
        let routes = self.routes.lock().ok()?;
        let found = routes.get(route)?.granted.as_ref()?;
        (found.store_revision == store_revision).then(|| Arc::clone(found))
    }

    /// The place of the route's `Txn-Token`.
    pub fn txn(&self, route: usize) -> Arc<TxnOfSecond> {
        self.with(route, |remembered| Arc::clone(&remembered.txn))
    }

    /// Remembers a permit for a route.
    pub fn remember(&self, route: usize, permit: Arc<Granted>) {
        self.with(route, |remembered| remembered.granted = Some(permit));
    }

    fn with<T: Default>(&self, route: usize, act: impl FnOnce(&mut Remembered) -> T) -> T {
        let Ok(mut routes) = self.routes.lock() else { return T::default() };
        if routes.len() <= route {
            routes.resize_with(route.saturating_add(1), Remembered::default);
        }
        routes.get_mut(route).map(act).unwrap_or_default()
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admission({} tokens remembered)", self.verified.len())
    }
}

/// The bearer token of a request: one `Authorization` header, and no token anywhere else (RFC 6750 section 2).
fn bearer(headers: &HeaderMap) -> Result<RawToken, Refusal> {
    let refuse = |reason, detail| Refusal::new(Layer::Token, reason, detail);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(refuse(Reason::TokenMissing, "no Authorization header"))?;
    if values.next().is_some() {
        return Err(refuse(Reason::TokenMalformed, "more than one Authorization header"));
    }
    let value = value.to_str().map_err(|_| refuse(Reason::TokenMalformed, "Authorization is not text"))?;
    RawToken::from_authorization(value)
}
