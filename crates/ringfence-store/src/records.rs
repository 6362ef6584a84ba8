//! Records as the rest of the plane knows them: typed values, each sealed under the key of whose it is.
//!
//! Every tenant has a random record key of its own, kept as a plane record and wrapped under the master key with the
//! tenant's id authenticated. Shredding that key makes all of the tenant's records unreadable at once, in every backup
//! made later. Keys are not cached: a shredded key is gone with the next read, on every node.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use ringfence_context::{Secret, TenantId, key::MacKey};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    consistency,
    error::StoreError,
    master::MasterKey,
    postgres::PostgresStore,
    record::{Change, Expect, Kind, Record, RecordKey, Revision, Scope},
    seal::{RecordCipher, record_key},
    sqlite::SqliteStore,
    store::Store,
};

/// The wrapped record keys of tenants: plane records whose id is the tenant. A change of one is a tenant that came or was
/// shredded.
pub const TENANT_KEY: Kind = Kind::new("tenant_record_key");

/// What stands in a shredded key's place, so that the id is not used again.
const SHREDDED: &[u8] = b"shredded";

/// How often other processes' commits are looked for, whether or not anyone tells of them.
const POLL: Duration = Duration::from_millis(100);

/// Pause before listening again where that failed.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// File of the state under the state directory.
pub const SQLITE_FILE: &str = "state.sqlite";

/// The plane's state. Clones share it.
#[derive(Clone)]
pub struct Records(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    master: MasterKey,
    /// What consistency tokens are sealed with.
    tokens: MacKey,
    seen: watch::Sender<Revision>,
    poller: OnceLock<()>,
}

/// A record's value with the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// The revision of its last change: give it to [`Expect::Revision`] to change exactly this.
    pub revision: Revision,
}

/// A change that is not sealed yet.
#[derive(Debug, Clone)]
pub struct Draft {
    key: RecordKey,
    expect: Expect,
    value: Option<Secret<Vec<u8>>>,
}

impl Draft {
    /// Writes a record, whatever was there.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where the value has no JSON form.
    pub fn put<T: Serialize>(scope: &Scope, kind: Kind, id: &str, value: &T) -> Result<Self, StoreError> {
        let value =
            serde_json::to_vec(value).map_err(|_| StoreError::Invalid("the value has no JSON form"))?;
        let key = RecordKey::new(scope.clone(), kind, id);
        Ok(Self { key, expect: Expect::Any, value: Some(Secret::new(value)) })
    }

    /// Deletes a record, whatever was there.
    pub fn delete(scope: &Scope, kind: Kind, id: &str) -> Self {
        Self { key: RecordKey::new(scope.clone(), kind, id), expect: Expect::Any, value: None }
    }

    /// Refuses the whole commit unless this is what is there.
    #[must_use]
    pub fn expect(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }
}

impl Records {
    /// Opens the state under `dir`, in SQLite, making what is missing.
    ///
    /// # Errors
    /// What [`MasterKey::open`] and [`SqliteStore::open`] refuse.
    pub async fn open_sqlite(dir: &Path) -> Result<Self, StoreError> {
        let master = MasterKey::open(dir)?;
        Ok(Self::new(Arc::new(SqliteStore::open(&dir.join(SQLITE_FILE)).await?), master))
    }

    /// Opens the state in Postgres; the same master key lies under `dir` on every node. Made where the state is empty;
    /// to a state that is in use a node brings it along.
    ///
    /// # Errors
    /// What [`MasterKey::open`], [`MasterKey::open_existing`] and [`PostgresStore::open`] refuse.
    pub async fn open_postgres(url: &Secret<String>, dir: &Path) -> Result<Self, StoreError> {
        let store = PostgresStore::open(url).await?;
        let master = match store.revision().await? {
            0 => MasterKey::open(dir)?,
            _ => MasterKey::open_existing(dir)?,
        };
        Ok(Self::new(Arc::new(store), master))
    }

    /// Records over any store.
    pub fn new(store: Arc<dyn Store>, master: MasterKey) -> Self {
        let (seen, _) = watch::channel(0);
        let tokens = consistency::base(&master);
        Self(Arc::new(Inner { store, master, tokens, seen, poller: OnceLock::new() }))
    }

    /// Gives a tenant its record key.
    ///
    /// # Errors
    /// [`StoreError::TenantExists`] where the id is or ever was in use.
    pub async fn tenant_add(&self, tenant: &TenantId) -> Result<Revision, StoreError> {
        self.tenants_add([tenant]).await
    }

    /// Gives each of some tenants a record key of its own, in one commit: all of them or none.
    ///
    /// # Errors
    /// As [`Records::tenant_add`], where one of them is or ever was in use.
    pub async fn tenants_add(
        &self,
        tenants: impl IntoIterator<Item = &TenantId>,
    ) -> Result<Revision, StoreError> {
        let add = |tenant| {
            let key = tenant_key(tenant);
            let value = self.wrapping()?.seal(&key, record_key()?.reveal())?;
            Ok(Change { key, expect: Expect::Absent, value: Some(value) })
        };
        let changes = tenants.into_iter().map(add).collect::<Result<_, StoreError>>()?;
        match self.apply(changes).await {
            Err(StoreError::Conflict { .. }) => Err(StoreError::TenantExists),
            outcome => outcome,
        }
    }

    /// Destroys a tenant's record key, and with it every record of the tenant. Can't be undone; shredding twice is once.
    ///
    /// # Errors
    /// [`StoreError::TenantUnknown`] where there never was one.
    pub async fn tenant_shred(&self, tenant: &TenantId) -> Result<Revision, StoreError> {
        let key = tenant_key(tenant);
        let found = self.0.store.get(&key).await?.ok_or(StoreError::TenantUnknown)?;
        let value = self.wrapping()?.seal(&key, SHREDDED)?;
        self.apply(vec![Change { key, expect: Expect::Revision(found.revision), value: Some(value) }]).await
    }

    /// The record, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] where it does not authenticate; [`StoreError::TenantUnknown`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Stored<T>>, StoreError> {
        let cipher = self.cipher(scope).await?;
        let key = RecordKey::new(scope.clone(), kind, id);
        let Some(record) = self.0.store.get(&key).await? else { return Ok(None) };
        // Opened at the key that was asked for, not at the one the row says it has.
        open(&cipher, &key, &record).map(Some)
    }

    /// Records of one scope and kind with their ids, by ascending id, those after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`Records::get`]; one record that does not authenticate refuses the list.
    pub async fn list<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        kind: Kind,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Stored<T>)>, StoreError> {
        let cipher = self.cipher(scope).await?;
        let records = self.0.store.list(scope, kind.as_str(), after, limit).await?;
        records
            .into_iter()
            .map(|record| {
                let key = RecordKey::new(scope.clone(), kind, &record.key.id);
                let stored = open(&cipher, &key, &record)?;
                Ok((record.key.id, stored))
            })
            .collect()
    }

    /// Makes all changes or none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::TenantUnknown`]; after [`StoreError::Unavailable`] it may have happened.
    pub async fn commit(&self, drafts: Vec<Draft>) -> Result<Revision, StoreError> {
        let mut ciphers = HashMap::new();
        let mut changes = Vec::with_capacity(drafts.len());
        for Draft { key, expect, value } in drafts {
            if !ciphers.contains_key(&key.scope) {
                ciphers.insert(key.scope.clone(), self.cipher(&key.scope).await?);
            }
            let cipher = ciphers.get(&key.scope).ok_or(StoreError::TenantUnknown)?;
            let value = value.map(|plain| cipher.seal(&key, plain.reveal())).transpose()?;
            changes.push(Change { key, expect, value });
        }
        self.apply(changes).await
    }

    /// The latest revision.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        let revision = self.0.store.revision().await?;
        self.0.saw(revision);
        Ok(revision)
    }

    /// A revision, told to a tenant or to an operator of the plane: see [`consistency`]. Nothing where the system's
    /// random source fails.
    pub fn revision_seal(&self, holder: &Scope, revision: Revision) -> Option<String> {
        consistency::seal(&self.0.tokens, holder, revision)
    }

    /// The revision of a token that was told to this holder; of no other.
    pub fn revision_open(&self, holder: &Scope, token: &str) -> Option<Revision> {
        consistency::open(&self.0.tokens, holder, token)
    }

    /// The latest revision anyone here has seen: of a commit made here, or found by asking. Reads nothing.
    pub fn seen(&self) -> Revision {
        *self.0.seen.borrow()
    }

    /// Which records changed after `after`: see [`Store::changes`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn changes(
        &self,
        after: Revision,
        limit: u32,
    ) -> Result<Vec<(Revision, RecordKey)>, StoreError> {
        self.0.store.changes(after, limit).await
    }

    /// The latest revision seen, and a wake-up for each later one: at once for commits made here, as soon as Postgres has
    /// delivered the notification for other processes', and within about 100 ms where it does not. Call it inside a
    /// Tokio runtime; the first call starts the look-out.
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.0.poller.get_or_init(|| {
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(poll(Arc::downgrade(&self.0)));
            }
        });
        self.0.seen.subscribe()
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Revision, StoreError> {
        let revision = self.0.store.commit(changes).await?;
        self.0.saw(revision);
        Ok(revision)
    }

    async fn cipher(&self, scope: &Scope) -> Result<RecordCipher, StoreError> {
        let Scope::Tenant(tenant) = scope else { return RecordCipher::of_plane(&self.0.master) };
        let key = tenant_key(tenant);
        let found = self.0.store.get(&key).await?.ok_or(StoreError::TenantUnknown)?;
        let bytes = self.wrapping()?.open(&key, &found.value)?;
        if bytes.reveal() == SHREDDED {
            return Err(StoreError::TenantUnknown);
        }
        RecordCipher::new(bytes.reveal())
    }

    fn wrapping(&self) -> Result<RecordCipher, StoreError> {
        RecordCipher::of_wrapping(&self.0.master)
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Records(seen revision {})", *self.0.seen.borrow())
    }
}

impl Inner {
    fn saw(&self, revision: Revision) {
        self.seen.send_if_modified(|seen| {
            let later = revision > *seen;
            *seen = revision.max(*seen);
            later
        });
    }
}

/// Looks for other processes' commits until the records are dropped: when it is told of one, and at every beat.
async fn poll(records: Weak<Inner>) {
    let (mut beat, told) = (tokio::time::interval(POLL), Arc::new(Notify::new()));
    // Ends with this function.
    let mut listener = JoinSet::new();
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = told.notified() => {}
        }
        let Some(inner) = records.upgrade() else { return };
        if listener.is_empty() {
            listener.spawn(listen(Arc::clone(&inner.store), Arc::clone(&told)));
        }
        match inner.store.revision().await {
            Ok(revision) => inner.saw(revision),
            Err(error) => tracing::debug!(%error, "the state's revision is not known"),
        }
    }
}

/// Passes on what the store tells, for as long as it has a way to.
async fn listen(store: Arc<dyn Store>, told: Arc<Notify>) {
    loop {
        match store.listen().await {
            Ok(None) => return std::future::pending().await,
            Ok(Some(mut listener)) => {
                while listener.told().await.is_ok() {
                    told.notify_one();
                }
            }
            Err(error) => tracing::debug!(%error, "nobody tells of commits; they are looked for"),
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

/// Named by the tenant in its id, and wrapped with that id authenticated.
fn tenant_key(tenant: &TenantId) -> RecordKey {
    RecordKey::new(Scope::Plane, TENANT_KEY, tenant.as_str())
}

fn open<T: DeserializeOwned>(
    cipher: &RecordCipher,
    key: &RecordKey,
    record: &Record,
) -> Result<Stored<T>, StoreError> {
    let plain = cipher.open(key, &record.value)?;
    let value = serde_json::from_slice(plain.reveal())
        .map_err(|_| StoreError::Unreadable { kind: key.kind.clone() })?;
    Ok(Stored { value, revision: record.revision })
}
