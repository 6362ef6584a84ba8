//! From what a caller names to a store's content, current with the state; and from a change to the next content.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ringfence_context::{TenantId, UnixTime, id::StoreId};
use ringfence_store::{Expect, Scope, StoreError, Stored};

use crate::{
    avp::{
        Avp, Call,
        account::{Account, Caller},
        content::{Content, Schema, Serving},
        decide::Deciding,
        edit::{Edit, EditParts, head_put},
        error::{AvpError, Outcome, ResourceType},
        fit,
        record::{Head, Mode, Protection, STORE},
        time::Moment,
    },
    govern::{Author, Change, ChangeReason},
    stores::{STORE_OWNER, StoresError},
    turns::Turn,
};

/// What an alias begins with, wherever a store may be named by one.
pub(crate) const ALIAS_PREFIX: &str = "policy-store-alias/";

/// How long a store in memory is used without asking the state, where the state is not known to have changed.
const CONFIRM: Duration = Duration::from_secs(1);

/// A store in memory, and when it was last known to be the state's.
pub(crate) struct Known {
    pub(crate) deciding: Arc<Deciding>,
    /// The state's revision then.
    seen: AtomicU64,
    /// The time then, in microseconds since the epoch.
    at: AtomicU64,
}

impl Avp {
    /// The store a caller names by its id or alias.
    ///
    /// # Errors
    /// [`AvpError::ResourceNotFound`]: of another account and of nobody alike.
    pub(crate) async fn store(&self, call: &Call<'_>, named: &str) -> Outcome<Arc<Deciding>> {
        if named.starts_with(ALIAS_PREFIX) {
            let missing = || AvpError::missing(ResourceType::PolicyStoreAlias, named);
            let alias = self.alias(&call.caller.account(), named).await?;
            let alias = alias.filter(|alias| !alias.value.pending_deletion).ok_or_else(missing)?;
            return self.store_by_id(call, &alias.value.store).await?.ok_or_else(missing);
        }
        let missing = || AvpError::missing(ResourceType::PolicyStore, named);
        let id = StoreId::new(named).map_err(|_| missing())?;
        self.store_by_id(call, &id).await?.ok_or_else(missing)
    }

    /// As [`Avp::store`], where an alias may not be used.
    pub(crate) async fn store_without_alias(
        &self,
        call: &Call<'_>,
        named: &str,
    ) -> Outcome<Option<Arc<Deciding>>> {
        if named.starts_with(ALIAS_PREFIX) {
            return Err(AvpError::invalid("policyStoreId", "must be the store's id here, not an alias"));
        }
        let Ok(id) = StoreId::new(named) else { return Ok(None) };
        self.store_by_id(call, &id).await
    }

    /// The store of this id, if the caller reaches it.
    pub(crate) async fn store_by_id(&self, call: &Call<'_>, id: &StoreId) -> Outcome<Option<Arc<Deciding>>> {
        let own = self.store_in(&call.caller.account(), id, call.now).await?;
        let found = match call.caller {
            Caller::Operator(_) if own.is_none() => {
                let owner = self.records.get::<TenantId>(&Scope::Plane, STORE_OWNER, id.as_str()).await?;
                match owner {
                    Some(owner) => self.store_in(&Account::Tenant(owner.value), id, call.now).await?,
                    None => None,
                }
            }
            Caller::Operator(_) | Caller::Tenant(_) => own,
        };
        if let Some(deciding) = &found {
            call.is_about(deciding);
        }
        Ok(found)
    }

    /// The store of this id in one account.
    pub(crate) async fn store_in(
        &self,
        account: &Account,
        id: &StoreId,
        now: UnixTime,
    ) -> Outcome<Option<Arc<Deciding>>> {
        let key = (account.clone(), id.clone());
        let seen = *self.seen.borrow();
        let known = self.known.get(&key);
        if let Some(known) = &known
            && known.seen.load(Ordering::Acquire) == seen
            && now.since(UnixTime::from_micros(known.at.load(Ordering::Acquire))) < CONFIRM
        {
            return Ok(Some(Arc::clone(&known.deciding)));
        }
        let serving = self.serving(account, id).await?;
        let Some(head) = self.head(account, id, serving.is_some(), now).await? else {
            self.known.remove(&key);
            return Ok(None);
        };
        let document = serving.as_ref().map(|serving| serving.revision);
        if let Some(known) = known
            && known.deciding.content.revision == head.revision
            && known.deciding.content.serving.as_ref().map(|serving| serving.revision) == document
        {
            known.seen.store(seen, Ordering::Release);
            known.at.store(now.micros(), Ordering::Release);
            return Ok(Some(Arc::clone(&known.deciding)));
        }
        let content = Content::load(&self.records, account, head.value, head.revision, serving).await?;
        Ok(Some(self.know(content, seen, now)))
    }

    /// The account's serving store, if this is it.
    async fn serving(&self, account: &Account, id: &StoreId) -> Outcome<Option<Serving>> {
        let Some(tenant) = account.tenant() else { return Ok(None) };
        match self.stores.document(tenant).await {
            Ok((document, revision)) if document.id == *id && document.tenant == *tenant => {
                Ok(Some(Serving { document: Arc::new(document), revision }))
            }
            Ok(_) | Err(StoresError::Missing | StoresError::Store(StoreError::TenantUnknown)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The store's head. A serving store gets its head the first time it is named.
    async fn head(
        &self,
        account: &Account,
        id: &StoreId,
        serving: bool,
        now: UnixTime,
    ) -> Outcome<Option<Stored<Head>>> {
        let scope = account.scope();
        let found = match self.records.get::<Head>(&scope, STORE, id.as_str()).await {
            Err(StoreError::TenantUnknown) => return Ok(None),
            found => found?,
        };
        if found.is_some() || !serving {
            return Ok(found);
        }
        let head = Head {
            id: id.clone(),
            tenant: account.tenant().cloned(),
            mode: Mode::Strict,
            description: Some("Decides the tenant's requests".to_owned()),
            protection: Protection::Enabled,
            tags: <_>::default(),
            created: Moment(now),
            updated: Moment(now),
            proved: None,
        };
        match self.records.commit(vec![head_put(&scope, &head)?.expect(Expect::Absent)]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => {
                Ok(self.records.get(&scope, STORE, id.as_str()).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the tenant's serving store known, so that it is listed among its stores.
    pub(crate) async fn serving_store(&self, account: &Account, now: UnixTime) -> Outcome<Option<StoreId>> {
        let Some(tenant) = account.tenant() else { return Ok(None) };
        match self.stores.document(tenant).await {
            Ok((document, _)) => {
                self.head(account, &document.id, true, now).await?;
                Ok(Some(document.id))
            }
            Err(StoresError::Missing | StoresError::Store(StoreError::TenantUnknown)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the account's turn to write: changes of one account come one after the other on a node. Between nodes the
    /// revisions decide.
    pub(crate) async fn turn(&self, account: &Account) -> Outcome<Turn> {
        let crowded =
            |_| AvpError::Throttling("Too many changes of this account are waiting; try again.".to_owned());
        self.writing.take(account).await.map_err(crowded)
    }

    /// Whether everything of a store would fit a schema: on a thread for long work, for a store may hold thousands of policies.
    ///
    /// # Errors
    /// [`AvpError::Validation`] with what does not fit.
    pub(crate) async fn fits(
        &self,
        deciding: &Arc<Deciding>,
        mode: Mode,
        schema: Option<Schema>,
    ) -> Outcome<()> {
        let of = Arc::clone(deciding);
        let check = move || fit::check(mode, schema.as_ref(), &fit::all(&of.content)?);
        self.gate.bulkhead().run(deciding.content.account.tenant(), check).await?
    }

    /// Makes a change: all of it, if the store is still as it was when the change was begun.
    ///
    /// # Errors
    /// [`AvpError::Conflict`]; where the serving store changes, what does not fit its schema or is not proved safe, and
    /// [`AvpError::AccessDenied`] where the tenant's tier demands a review, for which this API has no operations.
    pub(crate) async fn commit(&self, edit: Edit, call: &Call<'_>) -> Outcome<Arc<Deciding>> {
        let EditParts { mut next, drafts, document } = edit.parts()?;
        let revision = match document {
            Some((document, before)) => {
                let terms = self.tiers.terms(&document.tenant).await;
                let publishable = self.gate.check(document, terms).await?;
                let reason = ChangeReason::of_plane(format!("{} at the policy service", call.operation));
                let change = Change::now(Author::from(call.caller), reason);
                let published = self.stores.document_put_with(&publishable, before, change, drafts).await?;
                let revision = published.revision;
                if let Some(serving) = &mut next.serving {
                    serving.revision = revision;
                }
                revision
            }
            None => self.records.commit(drafts).await?,
        };
        next.revision = revision;
        let deciding = self.know(next, revision, call.now);
        call.is_about(&deciding);
        Ok(deciding)
    }

    /// Forgets a store that was deleted.
    pub(crate) fn forget(&self, account: &Account, id: &StoreId) {
        self.known.remove(&(account.clone(), id.clone()));
    }

    fn know(&self, content: Content, seen: u64, now: UnixTime) -> Arc<Deciding> {
        let key = (content.account.clone(), content.head.id.clone());
        let deciding = Arc::new(Deciding::new(Arc::new(content)));
        let known = Known {
            deciding: Arc::clone(&deciding),
            seen: AtomicU64::new(seen),
            at: AtomicU64::new(now.micros()),
        };
        self.known.insert(key, Arc::new(known));
        deciding
    }
}
