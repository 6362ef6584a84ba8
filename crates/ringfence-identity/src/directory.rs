//! Which issuers are believed, in memory: the public half of every pool, and what was revoked.
//!
//! Answers without I/O, from a snapshot that follows the state's change feed and knows its revision. Where the state
//! can't be read, the last snapshot serves for [`STALE`] more and then everything is refused, until it can be again. A
//! tenant whose records do not authenticate is refused alone.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use ringfence_context::{
    Clock, IssuerKeys, Issuers, Job, JobClaim, Layer, Reason, Refusal, TenantContext, TenantId, TokenId,
    UnixTime,
    id::{ClientId, Subject},
    key::MacKey,
};
use ringfence_store::{Answer, Follows, Kind, RecordKey, Records, Revision, Scope, StoreError, TENANT_KEY};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::{
    error::IdentityError,
    pool::{POOL, POOL_INDEX, Pools},
    revocation::{REVOKED_SUBJECT, REVOKED_TOKEN, RevokedSubject, RevokedToken},
};

/// How long the last snapshot serves while the state can't be read.
pub const STALE: Duration = Duration::from_secs(5);

/// How often the state is asked whether it is still there.
const BEAT: Duration = Duration::from_millis(500);

/// Records read at once.
const PAGE: u32 = 500;

/// Where things are found: configured, never taken from a request.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The plane's own address without a slash at its end: `https://gateway.example`.
    pub base_url: String,
    /// The audience of access tokens.
    pub audience: String,
    /// A tenant's host is `{tenant}.{host_suffix}`.
    pub host_suffix: String,
}

impl Addresses {
    /// The URL of a tenant's issuer.
    pub fn issuer(&self, tenant: &TenantId) -> String {
        format!("{}/t/{tenant}", self.base_url)
    }
}

/// The issuers believed now.
pub struct Directory {
    pools: Pools,
    addresses: Addresses,
    clock: Arc<dyn Clock>,
    snapshot: ArcSwap<Snapshot>,
    /// When the snapshot was last known to be the state's, in microseconds since the epoch.
    fresh: AtomicU64,
    revision: watch::Sender<Revision>,
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Default, Clone)]
struct Snapshot {
    /// How many times any pool was read anew.
    readings: u64,
    tenants: HashMap<TenantId, Known>,
    by_url: HashMap<String, TenantId>,
}

/// A tenant's pool, and which reading it is of: also the end of a key is a new one, with which nothing in the state
/// changes.
#[derive(Clone)]
struct Known {
    reading: u64,
    entry: Arc<Entry>,
}

enum Entry {
    Pool(Box<PublicPool>),
    /// Its records do not authenticate: refused, and nobody else with it.
    Refused(Refusal),
}

/// What everyone may know of a pool, and what was revoked in it.
#[derive(Debug)]
pub struct PublicPool {
    /// Shown on the sign-in page.
    pub display_name: String,
    /// Its issuer.
    pub issuer: Arc<IssuerKeys>,
    active: bool,
    database_key: MacKey,
    /// With when they would have expired, in seconds since the epoch.
    revoked_tokens: HashMap<TokenId, u64>,
    revoked_subjects: HashSet<Subject>,
    /// When a replaced key stops being believed, in seconds since the epoch: then the pool is read again.
    until: Option<u64>,
}

impl Directory {
    /// Reads all pools, and follows their changes from then on, in a task that ends with the directory.
    ///
    /// # Errors
    /// What the store answers; later failures make it stale instead.
    pub async fn open(
        records: Records,
        addresses: Addresses,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, IdentityError> {
        let directory = Arc::new(Self {
            pools: Pools::new(records.clone()),
            addresses,
            clock,
            snapshot: ArcSwap::default(),
            fresh: AtomicU64::new(0),
            revision: watch::Sender::new(0),
            refreshing: <_>::default(),
        });
        directory.refresh().await?;
        let (mut commits, follower) = (records.subscribe(), Arc::downgrade(&directory));
        tokio::spawn(async move {
            loop {
                // Whichever comes first: a commit, or the time to ask whether the state is still there.
                let _ = tokio::time::timeout(BEAT, commits.changed()).await;
                let Some(directory) = follower.upgrade() else { return };
                if let Err(error) = directory.refresh().await {
                    tracing::warn!(%error, "the directory can't be refreshed");
                }
            }
        });
        Ok(directory)
    }

    /// Where things are found.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The revision of the state it answers from.
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Waits until it answers from `revision` or later.
    pub async fn reach(&self, revision: Revision) {
        // Never an error: the sender lives as long as `self`.
        let _ = self.revision.subscribe().wait_for(|reached| *reached >= revision).await;
    }

    /// The pool of a tenant that is active.
    ///
    /// # Errors
    /// [`Reason::NotServed`] where there is none or it is suspended: they look the same.
    pub fn pool(&self, tenant: &TenantId) -> Result<Arc<IssuerKeys>, Refusal> {
        self.with_active(tenant, |pool| pool.issuer.clone())
    }

    /// Checks the seal of a proved token under the key of the tenant it names: see [`TenantContext::check_seal`].
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`], or as [`Directory::pool`].
    pub fn check_seal(&self, context: &TenantContext) -> Result<(), Refusal> {
        self.with_active(context.tenant(), |pool| context.check_seal(&pool.database_key))?
    }

    /// Whether a job's tenant is still active, the job token not revoked, and who enqueued it not disabled.
    ///
    /// # Errors
    /// As [`Issuers::check_live`].
    pub fn check_job_live(&self, job: &Job) -> Result<(), Refusal> {
        self.live(job.tenant(), |pool| pool.revocation(job.token_id(), job.subject()))
    }

    /// The display name of an active tenant.
    ///
    /// # Errors
    /// As [`Directory::pool`].
    pub fn display_name(&self, tenant: &TenantId) -> Result<String, Refusal> {
        self.with_active(tenant, |pool| pool.display_name.clone())
    }

    /// The active tenant whose host this is: `{tenant}.{host_suffix}`, with or without a port.
    ///
    /// # Errors
    /// [`Reason::NotServed`].
    pub fn tenant_of_host(&self, host: &str) -> Result<TenantId, Refusal> {
        let (name, port) = host.split_once(':').unwrap_or((host, "0"));
        let name = name.to_ascii_lowercase();
        let label = name.strip_suffix(&self.addresses.host_suffix).and_then(|rest| rest.strip_suffix('.'));
        let tenant =
            label.and_then(|label| TenantId::new(label).ok()).ok_or(not_served("no tenant's host"))?;
        if port.is_empty() || port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(not_served("no tenant's host"));
        }
        self.with_active(&tenant, |_| ())?;
        Ok(tenant)
    }

    fn with_active<T>(&self, tenant: &TenantId, answer: impl FnOnce(&PublicPool) -> T) -> Result<T, Refusal> {
        let snapshot = self.fresh_snapshot()?;
        match snapshot.entry(tenant) {
            Some(Entry::Pool(pool)) if pool.active => Ok(answer(pool)),
            Some(Entry::Refused(refusal)) => Err(refusal.clone()),
            Some(Entry::Pool(_)) | None => Err(not_served("no such tenant, or suspended")),
        }
    }

    /// How many revoked tokens of an active tenant there are to remember still.
    pub(crate) fn revoked_tokens(&self, tenant: &TenantId) -> Result<usize, Refusal> {
        let now = self.clock.now().seconds();
        self.with_active(tenant, |pool| pool.revoked_tokens.values().filter(|exp| **exp > now).count())
    }

    /// Whether the tenant is active, and nothing it has revoked is in the way.
    fn live(
        &self,
        tenant: &TenantId,
        revocation: impl FnOnce(&PublicPool) -> Option<&'static str>,
    ) -> Result<(), Refusal> {
        let snapshot = self.fresh_snapshot()?;
        let refuse = |reason, detail| Err(Refusal::new(Layer::Token, reason, detail));
        match snapshot.entry(tenant) {
            Some(Entry::Refused(refusal)) => Err(refusal.clone()),
            None => refuse(Reason::TenantInactive, "the tenant is gone"),
            Some(Entry::Pool(pool)) if !pool.active => {
                refuse(Reason::TenantInactive, "the tenant is suspended")
            }
            Some(Entry::Pool(pool)) => match revocation(pool) {
                Some(detail) => refuse(Reason::TokenRevoked, detail),
                None => Ok(()),
            },
        }
    }

    fn fresh_snapshot(&self) -> Result<Guard<Arc<Snapshot>>, Refusal> {
        let fresh = UnixTime::from_micros(self.fresh.load(Ordering::Acquire));
        if self.clock.now().since(fresh) > STALE {
            return Err(Refusal::new(
                Layer::Token,
                Reason::DependencyUnavailable,
                "the directory is older than its bound",
            ));
        }
        Ok(self.snapshot.load())
    }

    /// Brings it up to the state's latest revision.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let asked = self.clock.now();
        let records = &self.pools.records;
        let (before, mut revision) = (self.snapshot.load_full(), self.revision());
        let mut affected = BTreeSet::new();
        if revision == 0 {
            revision = records.revision().await?;
            affected = self.all_tenants().await?;
        }
        affected.extend(before.over(asked));
        loop {
            let page = records.changes(revision, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            revision = *last;
            affected.extend(page.iter().filter_map(|(_, key)| concerns(key)));
        }
        if !affected.is_empty() {
            self.snapshot.store(Arc::new(self.reread(&before, affected, asked).await?));
        }
        self.fresh.store(asked.micros(), Ordering::Release);
        self.revision.send_if_modified(|reached| std::mem::replace(reached, revision) != revision);
        Ok(())
    }

    /// What is known, with these tenants' pools read anew.
    async fn reread(
        &self,
        before: &Snapshot,
        affected: BTreeSet<TenantId>,
        now: UnixTime,
    ) -> Result<Snapshot, StoreError> {
        let mut next = before.clone();
        for tenant in affected {
            let entry = self.read(&tenant, now).await?;
            next.readings = next.readings.saturating_add(1);
            next.by_url.retain(|_, of| *of != tenant);
            next.tenants.remove(&tenant);
            if let Some(entry) = entry {
                next.by_url.insert(self.addresses.issuer(&tenant), tenant.clone());
                let known = Known { reading: next.readings, entry: Arc::new(entry) };
                next.tenants.insert(tenant, known);
            }
        }
        Ok(next)
    }

    async fn all_tenants(&self) -> Result<BTreeSet<TenantId>, StoreError> {
        let mut all = BTreeSet::new();
        loop {
            let page = self.pools.pool_list(all.last(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// What is known of a tenant now; nothing where it has no pool.
    async fn read(&self, tenant: &TenantId, now: UnixTime) -> Result<Option<Entry>, StoreError> {
        match self.read_pool(tenant, now).await {
            Ok(pool) => Ok(Some(Entry::Pool(Box::new(pool)))),
            Err(IdentityError::Missing(_) | IdentityError::Store(StoreError::TenantUnknown)) => Ok(None),
            // What says nothing of this tenant alone.
            Err(IdentityError::Store(
                error @ (StoreError::Unavailable { .. } | StoreError::Full | StoreError::Newer { .. }),
            )) => Err(error),
            Err(error) => {
                tracing::error!(%tenant, %error, "the tenant's pool is refused");
                Ok(Some(Entry::Refused(Refusal::new(
                    Layer::Token,
                    Reason::DependencyUnavailable,
                    "the pool's records do not authenticate",
                ))))
            }
        }
    }

    async fn read_pool(&self, tenant: &TenantId, now: UnixTime) -> Result<PublicPool, IdentityError> {
        let pool = self.pools.pool_get(tenant).await?;
        let tokens = self.all::<RevokedToken>(tenant, REVOKED_TOKEN).await?;
        let subjects = self.all::<RevokedSubject>(tenant, REVOKED_SUBJECT).await?;
        let live = tokens.iter().filter(|(_, revoked)| revoked.exp > now.seconds());
        Ok(PublicPool {
            issuer: Arc::new(IssuerKeys {
                tenant: tenant.clone(),
                issuer: self.addresses.issuer(tenant),
                audience: self.addresses.audience.clone(),
                keys: pool.public_keys(now)?,
            }),
            active: pool.active,
            database_key: pool.database_key(),
            until: pool.first_key_end(now),
            display_name: pool.display_name,
            revoked_tokens: live
                .filter_map(|(id, revoked)| Some((TokenId::new(id).ok()?, revoked.exp)))
                .collect(),
            revoked_subjects: subjects.iter().filter_map(|(id, _)| Subject::new(id).ok()).collect(),
        })
    }

    async fn all<T: DeserializeOwned>(
        &self,
        tenant: &TenantId,
        kind: Kind,
    ) -> Result<Vec<(String, T)>, IdentityError> {
        let mut all: Vec<(String, T)> = Vec::new();
        loop {
            let after = all.last().map(|(id, _)| id.clone());
            let page = self.pools.records.list::<T>(&tenant.into(), kind, after.as_deref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().map(|(id, stored)| (id, stored.value)));
        }
    }
}

impl PublicPool {
    /// What was revoked of a token with this id and subject, in words.
    fn revocation(&self, token: &TokenId, subject: &Subject) -> Option<&'static str> {
        if self.revoked_tokens.contains_key(token) {
            return Some("the token was revoked");
        }
        self.revoked_subjects.contains(subject).then_some("the user or client was disabled")
    }

    /// What was revoked of the job a token came of: its job token, or the worker that runs it.
    fn revocation_of_job(&self, job: &JobClaim, worker: &ClientId) -> Option<&'static str> {
        if self.revoked_tokens.contains_key(&job.jti) {
            return Some("the job was revoked");
        }
        let disabled =
            Subject::new(worker.as_str()).map_or(true, |worker| self.revoked_subjects.contains(&worker));
        disabled.then_some("the job's worker was disabled")
    }
}

impl Snapshot {
    fn entry(&self, tenant: &TenantId) -> Option<&Entry> {
        self.tenants.get(tenant).map(|known| &*known.entry)
    }

    /// The tenants one of whose keys has come to its end.
    fn over(&self, now: UnixTime) -> Vec<TenantId> {
        let over = |entry: &Entry| match entry {
            Entry::Pool(pool) => pool.until.is_some_and(|until| until <= now.seconds()),
            Entry::Refused(_) => false,
        };
        self.tenants
            .iter()
            .filter(|(_, known)| over(&known.entry))
            .map(|(tenant, _)| tenant.clone())
            .collect()
    }
}

impl Follows for Directory {
    fn reached(&self) -> Revision {
        self.revision()
    }

    fn catch_up(&self) -> Answer<'_, ()> {
        Box::pin(self.refresh())
    }
}

impl Issuers for Directory {
    fn revision(&self, tenant: &TenantId) -> u64 {
        // A tenant that is not known has no keys that anything could have been verified with.
        self.snapshot.load().tenants.get(tenant).map_or(0, |known| known.reading)
    }

    fn issuer(&self, url: &str) -> Result<Arc<IssuerKeys>, Refusal> {
        let snapshot = self.fresh_snapshot()?;
        let unknown = Refusal::new(Layer::Token, Reason::TokenInvalid, "no such issuer");
        let tenant = snapshot.by_url.get(url).ok_or(unknown.clone())?;
        match snapshot.entry(tenant) {
            Some(Entry::Pool(pool)) => Ok(pool.issuer.clone()),
            Some(Entry::Refused(refusal)) => Err(refusal.clone()),
            None => Err(unknown),
        }
    }

    fn check_live(&self, context: &TenantContext) -> Result<(), Refusal> {
        self.live(context.tenant(), |pool| {
            pool.revocation(context.token_id(), context.subject())
                .or_else(|| pool.revocation_of_job(context.job()?, context.client()))
        })
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Directory(revision {})", self.revision())
    }
}

/// The tenant whose public half a change may have changed.
fn concerns(key: &RecordKey) -> Option<TenantId> {
    match &key.scope {
        Scope::Tenant(tenant) => [POOL, REVOKED_TOKEN, REVOKED_SUBJECT]
            .iter()
            .any(|kind| key.kind == *kind)
            .then(|| tenant.clone()),
        Scope::Plane => {
            let names_one = key.kind == POOL_INDEX || key.kind == TENANT_KEY;
            names_one.then(|| TenantId::new(&key.id).ok()).flatten()
        }
    }
}

const fn not_served(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Routing, Reason::NotServed, detail)
}
