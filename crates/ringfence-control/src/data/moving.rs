//! Moves of tenants' rows, as far as databases go: what is made for one, brought to the target, compared, and removed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringfence_context::{TenantId, key::MacKey};
use ringfence_guard::{
    RoleName,
    bar::tenant_bar,
    install::tenant_admit,
    tenant_move::{MoveError, Phase, Side, Site as Copy, Start, TableRows, TenantMove},
};
use tokio_postgres::Client;

use super::{
    Data, DataError,
    place::{Drawn, Place},
    site::Site,
};

/// Bytes of WAL that are brought in the moment in which the tenant's transactions wait.
const NEAR: u64 = 1024 * 1024;

/// How often it is gone after the source, at most, before that moment.
const ROUNDS: usize = 200;

/// How long a transaction that is open when that moment comes may still take.
const GRACE: Duration = Duration::from_millis(300);

/// How far a move is, as this node drives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MoveProgress {
    /// What is being done.
    pub doing: String,
    /// Rows that were copied.
    pub rows: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// Bytes of WAL that the source is ahead.
    pub behind: u64,
}

/// Moves that this node drives.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    of: Mutex<HashMap<TenantId, Driven>>,
}

/// One of them.
#[derive(Debug, Default)]
struct Driven {
    progress: MoveProgress,
    turn: Arc<Turn>,
}

/// Held by who drives it.
pub(crate) type Turn = tokio::sync::Mutex<()>;

impl Moves {
    fn with<T>(&self, id: &TenantId, change: impl FnOnce(&mut Driven) -> T) -> T {
        change(self.of.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default())
    }

    /// Whoever holds it drives the tenant's move.
    pub(crate) fn turn(&self, id: &TenantId) -> Arc<Turn> {
        self.with(id, |driven| Arc::clone(&driven.turn))
    }

    /// Says how far it is.
    pub(crate) fn tell(&self, id: &TenantId, progress: MoveProgress) {
        self.with(id, |driven| driven.progress = progress);
    }

    /// How far it is.
    pub(crate) fn progress(&self, id: &TenantId) -> Option<MoveProgress> {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.get(id).map(|driven| driven.progress.clone()).filter(|progress| !progress.doing.is_empty())
    }
}

/// What brings a tenant's rows from one place to another, and back.
pub(crate) struct Ways {
    there: TenantMove,
    back: TenantMove,
}

impl Data {
    fn copy_at(site: &Site) -> Copy {
        Copy {
            config: site.server.config(&site.database),
            tls: site.server.tls.clone(),
            schema: site.schema().to_string(),
        }
    }

    /// The ways between two places; none where the rows stay in the same tables, and only the role is another.
    pub(crate) fn ways(
        &self,
        tenant: &TenantId,
        name: &Drawn,
        from: &Place,
        to: &Place,
    ) -> Result<Option<Ways>, DataError> {
        let (from, to) = (self.sites.site(from)?, self.sites.site(to)?);
        let same = Arc::ptr_eq(&from.server, &to.server)
            && from.database == to.database
            && from.schema() == to.schema();
        if same {
            return Ok(None);
        }
        Ok(Some(Ways::between(tenant, name, &Self::copy_at(&from), &Self::copy_at(&to))?))
    }

    /// Lets go of what was made for a move at a place, where the other is gone.
    pub(crate) async fn place_forget(
        &self,
        tenant: &TenantId,
        name: &Drawn,
        place: &Place,
    ) -> Result<(), DataError> {
        let here = Self::copy_at(&self.sites.site(place)?);
        let mut ways = Ways::between(tenant, name, &here, &here)?;
        ways.forget_at(Side::Source).await?;
        Ok(ways.forget_at(Side::Target).await?)
    }

    /// The right to drive a tenant's move, as long as this connection lives; none where another node has it.
    pub(crate) async fn move_lock(&self, tenant: &TenantId) -> Result<Option<Client>, DataError> {
        let client = self.connect().await?;
        let lock = "SELECT pg_try_advisory_lock(hashtextextended('ringfence move of ' || $1, 0))";
        let held: bool = client.query_one(lock, &[&tenant.as_str()]).await?.try_get(0)?;
        Ok(held.then_some(client))
    }

    /// Starts the server of a place, where it is a managed one of the tenant's own and there.
    pub(crate) async fn place_start(&self, place: &Place) -> Result<(), DataError> {
        match place {
            Place::Server { drawn, server: None } => self.sites.servers.start_made(drawn).await,
            _ => Ok(()),
        }
    }

    /// Whether a place is there.
    pub(crate) async fn place_exists(&self, place: &Place) -> Result<bool, DataError> {
        match (place, self.sites.site(place)) {
            (Place::Server { server: None, .. }, Err(DataError::Server(None))) => Ok(false),
            (Place::Database { .. } | Place::Server { .. }, site) => {
                let site = site?;
                Ok(site.server.database_exists(&site.database).await?)
            }
            (Place::Rows | Place::Role { .. } | Place::Schema { .. }, site) => site.map(|_| true),
        }
    }

    /// Makes a place, with its tables and what the guard asks, and admits nobody to it.
    pub(crate) async fn place_make(&self, tenant: &TenantId, place: &Place) -> Result<(), DataError> {
        self.make(tenant, place).await.map(drop)
    }

    /// A connection of the administrator to a place.
    pub(crate) async fn place_connect(&self, place: &Place) -> Result<Client, DataError> {
        Ok(self.sites.site(place)?.connect().await?)
    }

    /// Takes the tenant's key away at a place and ends what it has open there.
    ///
    /// # Errors
    /// [`DataError::StillOpen`] where something does not end: what it writes would be lost.
    pub(crate) async fn place_bar(&self, tenant: &TenantId, at: &Client) -> Result<(), DataError> {
        let ended = tenant_bar(at, tenant, GRACE).await?;
        if ended.left > 0 {
            return Err(DataError::StillOpen(ended.left));
        }
        if ended.transactions > 0 {
            tracing::warn!(%tenant, ended.transactions, "transactions that took too long were rolled back: their tenant is being moved");
        }
        Ok(())
    }

    /// Admits a tenant to a place that is made.
    pub(crate) async fn place_admit(
        &self,
        tenant: &TenantId,
        place: &Place,
        key: &MacKey,
    ) -> Result<(), DataError> {
        let site = self.sites.site(place)?;
        Ok(tenant_admit(&site.connect().await?, tenant, key, site.login()).await?)
    }

    /// Removes what a tenant has at a place where it is not served any more. `rows`: whether there are rows, or they are at the place
    /// it is served at, in the same tables.
    pub(crate) async fn place_remove(
        &self,
        tenant: &TenantId,
        place: &Place,
        rows: bool,
    ) -> Result<u64, DataError> {
        let deleted = if rows { self.rows_delete(tenant, place).await? } else { 0 };
        self.own_remove(tenant, place).await?;
        Ok(deleted)
    }
}

impl Ways {
    fn between(tenant: &TenantId, name: &Drawn, from: &Copy, to: &Copy) -> Result<Self, DataError> {
        let way = |way: &str, from: &Copy, to: &Copy| {
            let name = RoleName::new(&format!("ringfence_{way}_{}", name.as_str()));
            let name =
                name.map_err(|error| DataError::Name { key: "database", value: way.to_owned(), error })?;
            Ok::<_, DataError>(TenantMove::new(name, tenant.clone(), from.clone(), to.clone()))
        };
        Ok(Self { there: way("there", from, to)?, back: way("back", to, from)? })
    }

    /// Brings and compares all rows while the tenant writes, until little is left; and makes the way back.
    pub(crate) async fn bring(&mut self, mut tell: impl FnMut(MoveProgress) + Send) -> Result<(), MoveError> {
        let mut progress =
            MoveProgress { doing: "waits for open transactions".to_owned(), ..MoveProgress::default() };
        tell(progress.clone());
        self.there.prepare(Start::Copy).await?;
        // A run before this one may have come so far.
        if self.there.phase().await? != Some(Phase::Following) {
            let copied = self.there.copy(|copied| {
                progress.doing = format!("copies {}", copied.table);
                (progress.rows, progress.bytes) = (copied.total.rows, copied.total.bytes);
                tell(progress.clone());
            });
            copied.await?;
        }
        let mut behind = |bytes| {
            progress.doing = "goes after what is written, and compares".to_owned();
            progress.behind = bytes;
            tell(progress.clone());
        };
        near(&mut self.there, &mut behind).await?;
        self.there.verify().await?;
        self.back.prepare(Start::Equal).await?;
        self.back.start_soon().await?;
        near(&mut self.there, &mut behind).await
    }

    /// Brings and compares the rest, when nobody writes; from here on the way back is followed from.
    pub(crate) async fn settle(&mut self) -> Result<BTreeMap<String, i64>, MoveError> {
        let tables = self.there.settle().await?;
        self.back.start_here().await?;
        Ok(counts(tables))
    }

    /// Brings and compares what was written since, while the tenant writes: the way back.
    pub(crate) async fn return_bring(&mut self) -> Result<(), MoveError> {
        self.back.prepare(Start::Equal).await?;
        near(&mut self.back, &mut |_| ()).await?;
        self.back.verify().await?;
        near(&mut self.back, &mut |_| ()).await
    }

    /// Brings and compares the rest of it, when nobody writes.
    pub(crate) async fn return_settle(&mut self) -> Result<BTreeMap<String, i64>, MoveError> {
        Ok(counts(self.back.settle().await?))
    }

    /// Lets go of what was made for it where the tenant was (`Side::Source`) or was to be.
    pub(crate) async fn forget_at(&mut self, side: Side) -> Result<(), MoveError> {
        let other = match side {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        };
        let (there, back) = (self.there.forget_at(side).await, self.back.forget_at(other).await);
        there.and(back)
    }
}

/// Goes after the source until little is left; says how many bytes of WAL that is.
async fn near(way: &mut TenantMove, tell: &mut (impl FnMut(u64) + Send)) -> Result<(), MoveError> {
    for _ in 0..ROUNDS {
        let behind = way.follow().await?.behind;
        tell(behind);
        if behind < NEAR {
            return Ok(());
        }
    }
    Err(MoveError::Outpaced)
}

fn counts(tables: Vec<TableRows>) -> BTreeMap<String, i64> {
    tables.into_iter().map(|table| (table.table, table.rows)).collect()
}
