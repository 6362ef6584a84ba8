//! The tenants' stores: read from the plane's state when they are first asked, kept current with it from then on.
//!
//! Tenant to store is looked up in an authenticated map, and a store is read from its owner's own records: so a wrong
//! row of the map leads to a store that says it is another tenant's, and its answers are refused (SYSTEMS X-17).
//! Where the state can't be read for [`STALE`], questions are refused rather than answered from what once was true.
//!
//! A tenant nobody asks about takes no memory. One that is asked about takes an entry (`residents.rs`), and what its
//! store says is kept once for all tenants whose stores say the same (`content.rs`); both within a budget.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use cedar_policy::{Entities, Request};
use ringfence_context::{Clock, Layer, Reason, Refusal, StoreAnswer, TenantId, UnixTime, tally::Hits};
use ringfence_store::{Answer, Draft, Follows, Records, Revision, Scope, StoreError, TENANT_KEY};
use serde::Serialize;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};

pub(crate) use crate::shared::STORE_OWNER;
pub use crate::shared::{
    StoreMapRow, shared_create_unchecked, store_create, store_create_unchecked, store_delete, store_map_put,
};
use crate::{
    bulkhead::{Bulkhead, LONG, NotDone},
    bundle::PolicyBundle,
    compile::{CompiledStore, PolicyFault},
    content::{Content, Contents, Digest},
    cores::anywhere,
    entities::{EntityCache, HEAD, HEAD_ID, Head, ROUNDS},
    lag::{Currency, Lag},
    proof::{Counterexample, Unproved},
    question::Question,
    residents::{Found, Known, Resident, Residents},
    shared::{
        Beside, ConfinementFault, Kept, KeptBody, Mode, POLICY_SLICE, POLICY_STORE, STORE_MAP, Watches,
    },
};

/// How long answers are given without having confirmed that they are current.
pub const STALE: Duration = Duration::from_secs(5);

/// How often currency is confirmed where nothing wakes it.
const CONFIRM: Duration = Duration::from_secs(1);

const PAGE: u32 = 500;

/// How many askers may wait for stores to be read, each on a thread of its own; those beyond are refused.
const WAITING: usize = 128;

/// How many tenants' long answers are worked out at once.
const LONG_AT_ONCE: usize = 8;

/// A store being read.
pub type Warming<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// The seam at which decisions stand in the chain.
pub trait Decide: Send + Sync {
    /// Asks the store of the question's tenant. Where it has to be read first, this thread waits: await
    /// [`Decide::warm`] beforehand.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`], [`Reason::PolicyError`] or [`Reason::DependencyUnavailable`].
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal>;

    /// The revision of the tenant's store, part of any cache key; and whether an answer about a bare resource holds
    /// for every bare resource of its type (see [`CompiledStore::names_resources`]). `None` where the store has to be
    /// read first.
    ///
    /// # Errors
    /// As [`Decide::decide`].
    fn revision(&self, tenant: &TenantId) -> Result<Option<(Revision, bool)>, Refusal>;

    /// What the tenant's store would answer if these were its policies, about whatever else the tenant has stored.
    ///
    /// # Errors
    /// As [`Decide::decide`].
    fn decide_by(&self, policies: &CompiledStore, question: &Question<'_>) -> Result<StoreAnswer, Refusal>;

    /// The revision of the tenant's policies, whatever else of the tenant has changed since.
    ///
    /// # Errors
    /// As [`Decide::decide`].
    fn policies_revision(&self, tenant: &TenantId) -> Result<Revision, Refusal>;

    /// Reads the tenant's store into memory if it is not there, so that the next question need not wait for it.
    fn warm<'a>(&'a self, tenant: &'a TenantId) -> Warming<'a>;
}

/// What can go wrong with a change to a store.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// The text is not a valid store.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    /// It is not safe: here is a request.
    #[error("refused, because {0}")]
    Refuted(Arc<Counterexample>),
    /// Whether it is safe is not known.
    #[error("refused, because it is not proved to be safe: {0}")]
    Unproved(Unproved),
    /// It is larger than the tenant's tier allows: what, and where that is set.
    #[error("{0}")]
    Quota(String),
    /// It was not looked at.
    #[error("not changed: {0}")]
    Busy(#[from] NotDone),
    /// Nobody but its author has looked at it.
    #[error(
        "changes of this tenant's policies are published when another operator has approved them: `ringfence policy propose`"
    )]
    Unreviewed,
    /// The state refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tenant has no store.
    #[error("the tenant has no policy store")]
    Missing,
    /// It does not fit into a shared store.
    #[error(transparent)]
    Confined(#[from] ConfinementFault),
    /// The store is being moved, and its policies stay as they are meanwhile.
    #[error(
        "the tenant's policy store is being moved, and can't be changed meanwhile: wait for the end of it, or stop it with `ringfence tenant move-store TENANT --stop`"
    )]
    Moving,
    /// It is not being moved.
    #[error("the tenant's policy store is not being moved")]
    NoMove,
    /// It is there already.
    #[error("the tenant's policies are in {place} already", place = .0.place())]
    HeldSo(Mode),
    /// What serves is not what was copied.
    #[error("the tenant's policies were changed meanwhile")]
    Changed,
}

/// How much of what was read is kept, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// For tenants: which store each has.
    pub tenants: u64,
    /// For what stores say, in Cedar's parsed form.
    pub contents: u64,
    /// For tenants' entities.
    pub entities: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { tenants: 512 * 1024 * 1024, contents: 512 * 1024 * 1024, entities: 256 * 1024 * 1024 }
    }
}

/// The stores of all tenants.
pub struct Stores {
    pub(crate) records: Records,
    pub(crate) clock: Arc<dyn Clock>,
    current: ArcSwap<Current>,
    refreshing: tokio::sync::Mutex<()>,
    pub(crate) residents: Residents,
    contents: Arc<Contents>,
    /// What stays in memory though nobody asks.
    of_tiers: Mutex<Vec<Arc<Content>>>,
    pub(crate) entities: EntityCache,
    pub(crate) watches: Watches,
    lag: Lag,
    runtime: Handle,
    waiting: Semaphore,
    long: Bulkhead,
}

/// How often what a decision needs was in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StoresHits {
    /// Which store a tenant has.
    pub stores: Hits,
    /// What a store says.
    pub policies: Hits,
    /// Stored entities, where a question reaches any.
    pub entities: Hits,
}

/// How far what is remembered is known to be true.
struct Current {
    revision: Revision,
    confirmed: UnixTime,
}

impl Stores {
    /// The stores in this state, none of them read yet. Call it inside a Tokio runtime of several threads.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn load(records: Records, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        Self::load_within(records, clock, Memory::default()).await
    }

    /// The same, within a budget.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn load_within(
        records: Records,
        clock: Arc<dyn Clock>,
        memory: Memory,
    ) -> Result<Arc<Self>, StoreError> {
        let confirmed = clock.now();
        let revision = records.revision().await?;
        Ok(Arc::new(Self {
            records,
            clock,
            current: ArcSwap::from_pointee(Current { revision, confirmed }),
            refreshing: <_>::default(),
            residents: Residents::new(memory.tenants),
            contents: Arc::new(Contents::new(memory.contents)),
            of_tiers: <_>::default(),
            entities: EntityCache::new(memory.entities),
            watches: Watches::default(),
            lag: Lag::default(),
            runtime: Handle::current(),
            waiting: Semaphore::new(WAITING),
            long: Bulkhead::new(LONG_AT_ONCE),
        }))
    }

    /// Parses what a tier's stores begin with and keeps it in memory, so that no tenant's first question waits for it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn keep(&self, tier: &PolicyBundle) -> Result<(), PolicyFault> {
        let (_, content) = self.contents.compile(tier.of_any_tenant()?.text())?;
        self.of_tiers.lock().unwrap_or_else(PoisonError::into_inner).push(content);
        Ok(())
    }

    /// Follows the state until the records are dropped.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = self.records.subscribe();
        loop {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "policy stores can't be refreshed");
            }
            self.move_stop_different().await;
            if let Ok(Err(_)) = tokio::time::timeout(CONFIRM, seen.changed()).await {
                return;
            }
        }
    }

    /// Brings the stores up to the state's latest revision: after it, the next question sees every earlier change.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let before = self.current.load().revision;
        let confirmed = self.clock.now();
        let revision = self.records.revision().await?;
        if revision > before {
            let changed = self.changed_since(before).await?;
            for tenant in &changed {
                self.residents.forget(tenant);
            }
            if !changed.is_empty() {
                self.lag.found(self.clock.now().since(self.current.load().confirmed));
            }
        } else if revision < before {
            // A restored backup: what changed since is not written anywhere.
            self.residents.forget_all();
        }
        self.current.store(Arc::new(Current { revision, confirmed }));
        Ok(())
    }

    /// The tenant's store, ready to answer.
    pub(crate) async fn compiled(&self, tenant: &TenantId) -> Found {
        match self.resident(tenant) {
            Some(found) => found,
            None => self.read(tenant).await,
        }
    }

    /// Commits a change of a store; enforced from the next question on.
    pub(crate) async fn commit_and_enforce(&self, drafts: Vec<Draft>) -> Result<Revision, StoresError> {
        let revision = self.records.commit(drafts).await?;
        let committed = self.clock.now();
        self.refresh().await?;
        self.lag.made_here(self.clock.now().since(committed));
        Ok(revision)
    }

    /// How current what is remembered is, and how long changes have taken to be enforced.
    pub fn currency(&self) -> Currency {
        let current = self.current.load();
        self.lag.currency(current.revision, self.clock.now().since(current.confirmed))
    }

    /// How often what a decision needs was in memory.
    pub fn hits(&self) -> StoresHits {
        let (stores, policies, entities) =
            (self.residents.hits(), self.contents.hits(), self.entities.hits());
        StoresHits { stores, policies, entities }
    }

    /// How often a tenant was turned away because as much of its own was waiting as may.
    pub fn crowded(&self) -> u64 {
        self.long.crowded()
    }

    async fn changed_since(&self, mut after: Revision) -> Result<HashSet<TenantId>, StoreError> {
        let mut tenants = HashSet::new();
        loop {
            let page = self.records.changes(after, PAGE).await?;
            for (_, key) in &page {
                match &key.scope {
                    Scope::Tenant(tenant)
                        if [POLICY_STORE, POLICY_SLICE, HEAD].iter().any(|kind| key.kind == *kind) =>
                    {
                        tenants.insert(tenant.clone());
                    }
                    Scope::Plane if [STORE_MAP, TENANT_KEY].iter().any(|kind| key.kind == kind.as_str()) => {
                        tenants.extend(TenantId::new(&key.id).ok());
                    }
                    _ => {}
                }
            }
            match page.last() {
                Some((revision, _)) => after = *revision,
                None => return Ok(tenants),
            }
        }
    }

    /// Reads a tenant's store, or waits for whoever is reading it.
    async fn read(&self, tenant: &TenantId) -> Found {
        let flight = self.residents.flight(tenant);
        let lead = async || loop {
            // Whoever read it last may have landed just before this flight began.
            let (found, resident) = match self.resident(tenant) {
                Some(found) => (found, None),
                None => self.read_once(tenant).await,
            };
            if self.residents.land(tenant, resident) {
                return found;
            }
        };
        flight.get_or_init(lead).await.clone()
    }

    /// What there is now, and what of it may be remembered.
    async fn read_once(&self, tenant: &TenantId) -> (Found, Option<Resident>) {
        let read = async {
            let kept = self.kept(tenant).await?;
            let (digest, content) = self.content(&kept.body.value).await?;
            let beside = self.beside(tenant, &kept).await;
            let revision = kept.body.revision;
            let (id, owner) = match kept.body.value {
                KeptBody::Own(document) => (document.id, document.tenant),
                KeptBody::Slice(slice) => (slice.id, slice.tenant),
            };
            // Entities are the asking tenant's own, whatever store the map leads to.
            let head = self.records.get::<Head>(&Scope::from(tenant), HEAD, HEAD_ID).await?;
            let entities = head.map(|head| head.revision);
            if entities.is_some() {
                // It takes the processor for long where policies are many: once, off the threads that serve.
                let content = Arc::clone(&content);
                let found = tokio::task::spawn_blocking(move || content.within_reach(ROUNDS)).await;
                found.map_err(|_| PolicyFault::panicked())?;
            }
            let (policies, revision) = (revision, revision.max(entities.unwrap_or(0)));
            let store = CompiledStore { id, tenant: owner, revision, policies, entities, content, beside };
            Ok::<_, StoresError>((store, digest))
        };
        match read.await {
            Ok((store, digest)) => {
                let known = Known {
                    id: store.id.clone(),
                    owner: store.tenant.clone(),
                    revision: store.revision,
                    policies: store.policies,
                    entities: store.entities,
                    digest,
                    names_resources: store.names_resources(),
                    beside: store.beside.clone(),
                };
                (Ok(store), Some(Resident::Store(Arc::new(known))))
            }
            Err(StoresError::Missing | StoresError::Store(StoreError::TenantUnknown)) => {
                (Err(nothing()), Some(Resident::Nothing))
            }
            Err(error @ StoresError::Policy(_)) => {
                tracing::error!(%tenant, %error, "a policy store is not valid; its tenant is refused");
                (Err(nothing()), Some(Resident::Nothing))
            }
            Err(StoresError::Store(StoreError::Unavailable { .. })) => {
                (Err(unavailable("the tenant's policy store can't be read")), None)
            }
            Err(error) => {
                tracing::error!(%tenant, %error, "a policy store can't be read; its tenant is refused");
                (Err(nothing()), None)
            }
        }
    }

    /// What is kept says, parsed and validated, off the threads that serve.
    pub(crate) async fn content(&self, body: &KeptBody) -> Result<(Digest, Arc<Content>), StoresError> {
        let digest = match body {
            KeptBody::Own(document) => document.digest(),
            KeptBody::Slice(slice) => slice.digest(),
        };
        if let Some(content) = self.contents.held(&digest) {
            return Ok((digest, content));
        }
        let (contents, body) = (Arc::clone(&self.contents), body.clone());
        let compiled = match body {
            KeptBody::Own(document) => {
                tokio::task::spawn_blocking(move || contents.compile(document.text())).await
            }
            KeptBody::Slice(slice) => {
                let base = self.shared_store(&slice.base).await?;
                tokio::task::spawn_blocking(move || contents.compile_slice(&base, &slice)).await
            }
        };
        Ok(compiled.map_err(|_| PolicyFault::panicked())??)
    }

    /// The copy of a store that is being moved. Where it can't be read, the move ends and the tenant is served all the same.
    async fn beside(&self, tenant: &TenantId, kept: &Kept) -> Option<Arc<Beside>> {
        let row = &kept.row;
        let Some(to) = &row.value.moving else {
            self.watches.end(tenant, row.revision);
            return None;
        };
        let watch = self.watches.of(tenant, row.revision);
        let read = async {
            let copy = self.body(&kept.owner, &row.value.store, to).await?.ok_or(StoresError::Missing)?;
            self.content(&copy.value).await
        };
        match read.await {
            Ok((_, content)) => Some(Arc::new(Beside::new(content, watch))),
            Err(error) => {
                watch.differs(|| format!("the copy can't be read: {error}"));
                None
            }
        }
    }
}

impl Decide for Stores {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let tenant = question.context.tenant();
        self.confirmed()?;
        let store = self.resident(tenant).unwrap_or_else(|| self.wait(tenant))?;
        if store.entities.is_none() && question.principal.is_none() {
            return self.answer_apart(&store, tenant, store.in_cedar(question)?);
        }
        self.answer_with_entities(store, None, question)
    }

    fn decide_by(&self, policies: &CompiledStore, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let tenant = question.context.tenant();
        self.confirmed()?;
        let store = self.resident(tenant).unwrap_or_else(|| self.wait(tenant))?;
        if store.entities.is_none() && question.principal.is_none() {
            return self.answer_apart(policies, tenant, policies.in_cedar(question)?);
        }
        self.answer_with_entities(store, Some(policies), question)
    }

    fn policies_revision(&self, tenant: &TenantId) -> Result<Revision, Refusal> {
        self.confirmed()?;
        Ok(self.resident(tenant).unwrap_or_else(|| self.wait(tenant))?.policies)
    }

    fn revision(&self, tenant: &TenantId) -> Result<Option<(Revision, bool)>, Refusal> {
        self.confirmed()?;
        match self.residents.get(tenant) {
            Some(Resident::Store(known)) => Ok(Some((known.revision, known.names_resources))),
            Some(Resident::Nothing) => Err(nothing()),
            None => Ok(None),
        }
    }

    fn warm<'a>(&'a self, tenant: &'a TenantId) -> Warming<'a> {
        Box::pin(async move { self.compiled(tenant).await.map(drop) })
    }
}

impl Follows for Stores {
    fn reached(&self) -> Revision {
        self.current.load().revision
    }

    fn catch_up(&self) -> Answer<'_, ()> {
        Box::pin(self.refresh())
    }
}

impl Stores {
    fn confirmed(&self) -> Result<(), Refusal> {
        if self.clock.now().since(self.current.load().confirmed) > STALE {
            return Err(unavailable("policy stores can't be confirmed to be current"));
        }
        Ok(())
    }

    /// The tenant's store, if all of it is in memory.
    fn resident(&self, tenant: &TenantId) -> Option<Found> {
        match self.residents.get(tenant)? {
            Resident::Store(known) => {
                let content = self.contents.held(&known.digest)?;
                let (id, tenant, beside) = (known.id.clone(), known.owner.clone(), known.beside.clone());
                let Known { revision, policies, entities, .. } = *known.as_ref();
                Some(Ok(CompiledStore { id, tenant, revision, policies, entities, content, beside }))
            }
            Resident::Nothing => Some(Err(nothing())),
        }
    }

    /// Waits on this thread until the tenant's store has been read.
    pub(crate) fn wait(&self, tenant: &TenantId) -> Found {
        self.block_on(self.read(tenant))?
    }

    /// Answers here, or where that takes long, on one of the threads for what takes long, while this one waits.
    pub(crate) fn answer_apart(
        &self,
        store: &CompiledStore,
        tenant: &TenantId,
        (request, entities): (Request, Entities),
    ) -> Result<StoreAnswer, Refusal> {
        let slices = store.slices(&request, &entities);
        if slices.steps() <= LONG {
            return Ok(store.answer_by(&slices, &request, &entities));
        }
        let store = store.clone();
        let work = move || store.answer_by(&slices, &request, &entities);
        self.block_on(self.long.run(Some(tenant), work))?.map_err(|why| match why {
            NotDone::Busy => {
                let detail = "the tenant's policies take long, and too many of its questions wait already";
                Refusal::new(Layer::Authorization, Reason::RateLimited, detail)
            }
            NotDone::EndedEarly => unavailable("the tenant's policies could not be asked"),
        })
    }

    /// The threads on which long answers are worked out.
    pub(crate) fn long(&self) -> &Bulkhead {
        &self.long
    }

    /// Waits on this thread for something to be read. The runtime's other tasks go on meanwhile.
    pub(crate) fn block_on<T>(&self, reading: impl Future<Output = T>) -> Result<T, Refusal> {
        let _place =
            self.waiting.try_acquire().map_err(|_| unavailable("too many policy stores are being read"))?;
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => {
                Ok(tokio::task::block_in_place(|| {
                    // Another thread may serve in this one's place from now on.
                    anywhere();
                    self.runtime.block_on(reading)
                }))
            }
            // On the only thread there is, nobody would read while it waits.
            Ok(_) => Err(unavailable("policy stores can't be waited for on a runtime of one thread")),
            Err(_) => Ok(self.runtime.block_on(reading)),
        }
    }
}

pub(crate) fn unavailable(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Authorization, Reason::DependencyUnavailable, detail)
}

fn nothing() -> Refusal {
    Refusal::new(Layer::Authorization, Reason::StoreUnavailable, "the tenant has no policy store")
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stores(revision {})", self.current.load().revision)
    }
}
