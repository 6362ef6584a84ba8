//! Where a tenant's policy store is kept: in a record of its own, or as a slice of a shared store.
//!
//! It guarantees that the two look the same to whoever reads or changes a tenant's policies. Which it is says the row of the
//! map from tenants to stores, and never that row alone: the record it leads to says whose it is, and a slice says, too,
//! upon which shared store it lies. Where they differ nothing is read.

use ringfence_context::{TenantId, id::StoreId};
use ringfence_store::{Draft, Expect, Kind, Revision, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};

use super::{POLICY_SLICE, SharedId, SharedStore, TenantSlice, moving::STORE_MOVE, store::SHARED_STORE};
use crate::{
    StoreDocument,
    gate::Publishable,
    stores::{Stores, StoresError},
};

pub(crate) const STORE_MAP: Kind = Kind::new("store_map");
pub(crate) const STORE_OWNER: Kind = Kind::new("store_owner");
pub(crate) const POLICY_STORE: Kind = Kind::new("policy_store");

/// How often a store is looked for again that is moved while it is looked for.
const TRIES: usize = 8;

/// How a tenant's policy store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In a record of its own.
    #[default]
    Own,
    /// As a slice of a shared store.
    Shared,
}

impl Mode {
    /// In words.
    pub const fn place(self) -> &'static str {
        match self {
            Self::Own => "a store of their own",
            Self::Shared => "a shared store",
        }
    }
}

/// Where a tenant's policy store is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// In a record of its own.
    #[default]
    Own,
    /// As a slice of this shared store.
    Shared(SharedId),
}

impl Held {
    /// Without saying upon which shared store.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Own => Mode::Own,
            Self::Shared(_) => Mode::Shared,
        }
    }

    /// The kind of record it is kept in.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Own => POLICY_STORE,
            Self::Shared(_) => POLICY_SLICE,
        }
    }
}

/// A row of the map that leads from a tenant to its store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreMapRow {
    /// The tenant.
    pub tenant: TenantId,
    /// Its store.
    pub store: StoreId,
    /// Where that is kept.
    #[serde(default)]
    pub held: Held,
    /// Where it is being moved to. Until it is there, what `held` says is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Held>,
}

impl StoreMapRow {
    /// To a store in a record of its own.
    pub fn own(tenant: TenantId, store: StoreId) -> Self {
        Self { tenant, store, held: Held::Own, moving: None }
    }
}

/// What is kept of a tenant's store.
#[derive(Debug, Clone)]
pub(crate) enum KeptBody {
    Own(StoreDocument),
    Slice(TenantSlice),
}

/// A tenant's store as it is kept, and the row that led there.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) row: Stored<StoreMapRow>,
    pub(crate) owner: TenantId,
    pub(crate) body: Stored<KeptBody>,
}

impl Stores {
    /// The tenant's store as a document, wherever it is kept, with the revision of its last change.
    ///
    /// # Errors
    /// [`StoresError::Missing`], or what the state refuses.
    pub async fn document(&self, tenant: &TenantId) -> Result<(StoreDocument, Revision), StoresError> {
        let Stored { value, revision } = self.kept(tenant).await?.body;
        Ok((self.whole(value).await?, revision))
    }

    /// Where the tenant's store is kept, and whereto it is being moved.
    ///
    /// # Errors
    /// [`StoresError::Missing`], or what the state refuses.
    pub async fn held(&self, tenant: &TenantId) -> Result<(Mode, Option<Mode>), StoresError> {
        let row = self.map_row(tenant).await?.ok_or(StoresError::Missing)?.value;
        Ok((row.held.mode(), row.moving.as_ref().map(Held::mode)))
    }

    /// Where tenants' stores are kept: of those after `after`, by ascending id, at most `limit`.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn held_list(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(TenantId, Mode)>, StoreError> {
        let rows = self.records.list::<StoreMapRow>(&Scope::Plane, STORE_MAP, after, limit).await?;
        Ok(rows.into_iter().map(|(_, row)| (row.value.tenant, row.value.held.mode())).collect())
    }

    pub(crate) async fn kept(&self, tenant: &TenantId) -> Result<Kept, StoresError> {
        for _ in 0..TRIES {
            let row = self.map_row(tenant).await?.ok_or(StoresError::Missing)?;
            let owner = self.owner(&row.value.store).await?.ok_or(StoresError::Missing)?;
            if let Some(body) = self.body(&owner, &row.value.store, &row.value.held).await? {
                return Ok(Kept { row, owner, body });
            }
            // It may have been moved between the two readings.
            if self.map_row(tenant).await?.is_none_or(|again| again.revision == row.revision) {
                return Err(StoresError::Missing);
            }
        }
        Err(StoreError::Conflict { kind: STORE_MAP.as_str().to_owned() }.into())
    }

    /// What is kept of one store in one of the two ways.
    pub(crate) async fn body(
        &self,
        owner: &TenantId,
        store: &StoreId,
        held: &Held,
    ) -> Result<Option<Stored<KeptBody>>, StoresError> {
        let scope = Scope::from(owner);
        match held {
            Held::Own => {
                let found = self.records.get::<StoreDocument>(&scope, POLICY_STORE, store.as_str()).await?;
                Ok(found.map(|Stored { value, revision }| Stored { value: KeptBody::Own(value), revision }))
            }
            Held::Shared(base) => {
                let found = self.records.get::<TenantSlice>(&scope, POLICY_SLICE, store.as_str()).await?;
                let Some(Stored { value: slice, revision }) = found else { return Ok(None) };
                if slice.tenant != *owner || slice.id != *store || slice.base != *base {
                    return Err(StoreError::Tampered { kind: POLICY_SLICE.as_str().to_owned() }.into());
                }
                Ok(Some(Stored { value: KeptBody::Slice(slice), revision }))
            }
        }
    }

    /// What is kept, as a document.
    pub(super) async fn whole(&self, body: KeptBody) -> Result<StoreDocument, StoresError> {
        match body {
            KeptBody::Own(document) => Ok(document),
            KeptBody::Slice(slice) => {
                let base = self.shared_store(&slice.base).await?;
                Ok(slice.document(&base))
            }
        }
    }

    /// The shared store of this name, which says what its name says.
    pub(crate) async fn shared_store(&self, id: &SharedId) -> Result<SharedStore, StoreError> {
        let found = self.records.get::<SharedStore>(&Scope::Plane, SHARED_STORE, id.as_str()).await?;
        let found = found.map(|stored| stored.value).filter(|store| store.id() == *id);
        found.ok_or_else(|| StoreError::Tampered { kind: SHARED_STORE.as_str().to_owned() })
    }

    /// Whether a document could be the tenant's store, as that is kept.
    ///
    /// # Errors
    /// [`StoresError::Confined`] where it is kept in a shared store, and this does not fit in.
    pub(crate) async fn check_confined(&self, document: &StoreDocument) -> Result<(), StoresError> {
        let row = self.map_row(&document.tenant).await?.ok_or(StoresError::Missing)?.value;
        self.body_of(document, &row.held).await.map(drop)
    }

    /// A document as it would be kept.
    pub(super) async fn body_of(
        &self,
        document: &StoreDocument,
        held: &Held,
    ) -> Result<KeptBody, StoresError> {
        match held {
            Held::Own => Ok(KeptBody::Own(document.clone())),
            Held::Shared(base) => {
                let base = self.shared_store(base).await?;
                self.cut(document, &base).await
            }
        }
    }

    /// A document as a slice of a shared store, cut where a long text costs its tenant alone.
    pub(super) async fn cut(
        &self,
        document: &StoreDocument,
        base: &SharedStore,
    ) -> Result<KeptBody, StoresError> {
        let (own, base) = (document.clone(), base.clone());
        let cut = self.long().run(Some(&document.tenant), move || TenantSlice::of(&own, &base)).await?;
        Ok(KeptBody::Slice(cut?))
    }

    /// Writes a store with its history: what `govern/publish.rs` has made of them, and nobody else.
    pub(crate) async fn document_write(
        &self,
        publishable: &Publishable,
        revision: Revision,
        also: Vec<Draft>,
    ) -> Result<Revision, StoresError> {
        let document = publishable.document();
        let row = self.map_row(&document.tenant).await?.ok_or(StoresError::Missing)?.value;
        if row.moving.is_some() {
            return Err(StoresError::Moving);
        }
        let body = self.body_of(document, &row.held).await?;
        self.content(&body).await?;
        let draft = body.put(&document.tenant)?;
        let mut drafts = vec![draft.expect(Expect::Revision(revision))];
        drafts.extend(also);
        self.commit_and_enforce(drafts).await
    }

    /// The records of a new store in a shared one: those of [`store_create`], and the shared store if this is its first.
    ///
    /// # Errors
    /// [`StoresError::Confined`]; what the state refuses.
    pub async fn shared_create(&self, publishable: &Publishable) -> Result<Vec<Draft>, StoresError> {
        let base = SharedStore::of(publishable.document())?;
        let mut drafts = shared_create_unchecked(publishable.document(), &base)?;
        drafts.extend(self.shared_put(&base).await?);
        Ok(drafts)
    }

    /// The shared store's record, where it is not there yet.
    pub(super) async fn shared_put(&self, base: &SharedStore) -> Result<Option<Draft>, StoreError> {
        let id = base.id();
        match self.records.get::<SharedStore>(&Scope::Plane, SHARED_STORE, id.as_str()).await? {
            Some(found) if found.value == *base => Ok(None),
            // What is there is not what its name says: what its name says is put right.
            Some(_) | None => base.put().map(Some),
        }
    }

    pub(super) async fn map_row(&self, tenant: &TenantId) -> Result<Option<Stored<StoreMapRow>>, StoreError> {
        let found = self.records.get::<StoreMapRow>(&Scope::Plane, STORE_MAP, tenant.as_str()).await?;
        Ok(found.filter(|row| row.value.tenant == *tenant))
    }

    async fn owner(&self, store: &StoreId) -> Result<Option<TenantId>, StoreError> {
        let found = self.records.get::<TenantId>(&Scope::Plane, STORE_OWNER, store.as_str()).await?;
        Ok(found.map(|stored| stored.value))
    }
}

impl KeptBody {
    /// Its record among the tenant's.
    pub(super) fn put(&self, tenant: &TenantId) -> Result<Draft, StoreError> {
        let scope = Scope::from(tenant);
        match self {
            Self::Own(document) => Draft::put(&scope, POLICY_STORE, document.id.as_str(), document),
            Self::Slice(slice) => Draft::put(&scope, POLICY_SLICE, slice.id.as_str(), slice),
        }
    }
}

/// The records of a new store of its own: its document, its owner, and the map's row that leads to it.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn store_create(publishable: &Publishable) -> Result<Vec<Draft>, StoreError> {
    store_create_unchecked(publishable.document())
}

/// As [`store_create`], of a document the gate has not seen: for a benchmark that fills a state with a million of them.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn store_create_unchecked(document: &StoreDocument) -> Result<Vec<Draft>, StoreError> {
    created(&document.tenant, &document.id, Held::Own, &KeptBody::Own(document.clone()))
}

/// As [`Stores::shared_create`], without the shared store's own record, of a document the gate has not seen.
///
/// # Errors
/// [`StoresError::Confined`], [`StoreError::Invalid`].
pub fn shared_create_unchecked(
    document: &StoreDocument,
    base: &SharedStore,
) -> Result<Vec<Draft>, StoresError> {
    let slice = TenantSlice::of(document, base)?;
    let held = Held::Shared(slice.base.clone());
    Ok(created(&document.tenant, &document.id, held, &KeptBody::Slice(slice))?)
}

fn created(
    tenant: &TenantId,
    store: &StoreId,
    held: Held,
    body: &KeptBody,
) -> Result<Vec<Draft>, StoreError> {
    let row = StoreMapRow { tenant: tenant.clone(), store: store.clone(), held, moving: None };
    Ok(vec![
        body.put(tenant)?.expect(Expect::Absent),
        Draft::put(&Scope::Plane, STORE_OWNER, store.as_str(), tenant)?.expect(Expect::Absent),
        store_map_put(&row)?,
    ])
}

/// The record that leads a tenant to a store. Whoever writes it decides nothing alone: the store itself says whose it
/// is.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn store_map_put(row: &StoreMapRow) -> Result<Draft, StoreError> {
    Draft::put(&Scope::Plane, STORE_MAP, row.tenant.as_str(), row)
}

/// The records to remove with a tenant's store, wherever it is kept and whereto it was being moved. A shared store stays.
pub fn store_delete(document: &StoreDocument) -> Vec<Draft> {
    let (scope, store) = (Scope::from(&document.tenant), document.id.as_str());
    vec![
        Draft::delete(&Scope::Plane, STORE_MAP, document.tenant.as_str()),
        Draft::delete(&Scope::Plane, STORE_OWNER, store),
        Draft::delete(&Scope::Plane, STORE_MOVE, document.tenant.as_str()),
        Draft::delete(&scope, POLICY_STORE, store),
        Draft::delete(&scope, POLICY_SLICE, store),
    ]
}
