//! Migrations of every database and schema that tenants' rows are in: once for all of them, and an exact list of who is where.
//!
//! The first, which tenants share, is migrated alone: what is wrong with a migration itself is found there, and nowhere else. The others
//! follow several at a time. Where more fail than are tolerated, none is begun any more; what failed is as it was before, and
//! the same call goes on from there.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringfence_context::TenantId;
use ringfence_guard::{
    SchemaName,
    migrate::{MigrateError, Migration, applied, migrate, pending},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_postgres::Client;

use super::{Data, DataError, Place, Site};
use crate::tenant::Tenant;

/// How long after a failure that may pass it is tried again; twice as long each time.
const PAUSE: Duration = Duration::from_millis(200);

/// Of how many databases it is told why they have failed; the log has all.
const FAULTS: usize = 20;

/// How a run goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// How many databases at a time.
    pub concurrency: usize,
    /// How many may fail before none is begun any more.
    pub tolerate: usize,
    /// How often each is tried again where somebody holds a lock, or the connection breaks.
    pub retry: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { concurrency: 4, tolerate: 0, retry: 5 }
    }
}

/// One database, or a schema of it, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its name, with the schema and the server where those are a tenant's own.
    pub database: String,
    /// Whose it is, if it is one's alone.
    pub tenant: Option<TenantId>,
    /// The last migration it has had.
    pub version: Option<i64>,
    /// How many files it has not had.
    pub pending: usize,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// What a run has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Whether it goes on.
    pub running: bool,
    /// How many databases there are.
    pub databases: usize,
    /// How many are done.
    pub done: usize,
    /// How many have failed.
    pub failed: usize,
    /// How many were not begun, because too many had failed.
    pub left: usize,
    /// What is being done.
    pub doing: String,
    /// Why databases have failed, by name; the first of them.
    pub faults: BTreeMap<String, String>,
}

/// The runs of this node.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    progress: Mutex<Progress>,
}

impl Migrations {
    /// What the last run has come to.
    fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Begins a run over `databases`, unless one goes on.
    fn begin(&self, databases: usize) -> bool {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !progress.running;
        if free {
            *progress = Progress { running: true, databases, ..Progress::default() };
        }
        free
    }
}

/// What is to be migrated.
#[derive(Debug)]
struct Subject {
    label: String,
    /// Or why it is not known.
    site: Result<Site, DataError>,
    tenant: Option<TenantId>,
}

impl Subject {
    async fn connect(&self) -> Result<Client, Fault> {
        match &self.site {
            Ok(site) => Ok(site.connect().await.map_err(MigrateError::from)?),
            Err(error) => Err(Fault::Site(error.to_string())),
        }
    }

    fn schema(&self) -> SchemaName {
        self.site.as_ref().map_or_else(|_| SchemaName::public(), Site::schema)
    }
}

/// Why a subject was not migrated.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Site(String),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl Data {
    /// What the last run on this node has come to.
    pub fn migrations(&self) -> Progress {
        self.migrations.progress()
    }

    /// The files, by version.
    fn files(&self) -> Result<Vec<Migration>, DataError> {
        self.migrations_folder.as_deref().map_or(Ok(Vec::new()), |folder: &Path| Ok(Migration::read(folder)?))
    }

    /// What tenants share, and then what is a tenant's own, by name.
    fn subjects(&self, tenants: &[Tenant]) -> Vec<Subject> {
        let shared = self.sites.shared();
        let mut subjects =
            vec![Subject { label: shared.label(&Place::Rows), site: Ok(shared), tenant: None }];
        for tenant in tenants.iter().filter(|tenant| tenant.has_rows() && tenant.place.has_tables()) {
            let site = self.sites.site(&tenant.place);
            let label = site.as_ref().map_or_else(|_| "?".to_owned(), |site| site.label(&tenant.place));
            subjects.push(Subject { label, site, tenant: Some(tenant.id.clone()) });
        }
        subjects
    }

    /// Who is where.
    ///
    /// # Errors
    /// Where the files can't be read. What is wrong with one database is in its standing.
    pub async fn standings(&self, tenants: &[Tenant]) -> Result<Vec<Standing>, DataError> {
        let files = self.files()?;
        let mut standings = Vec::new();
        for subject in self.subjects(tenants) {
            let found = async {
                let had = applied(&subject.connect().await?, &subject.schema()).await?;
                let version = had.last().map(|had| had.version);
                let (pending, fault) = match pending(&files, &had) {
                    Ok(pending) => (pending.len(), None),
                    Err(error) => (0, Some(error.to_string())),
                };
                Ok::<_, Fault>((version, pending, fault))
            };
            let (version, pending, fault) =
                found.await.unwrap_or_else(|error| (None, 0, Some(error.to_string())));
            let Subject { label: database, tenant, .. } = subject;
            standings.push(Standing { database, tenant, version, pending, fault });
        }
        Ok(standings)
    }

    /// Brings what was just made to where what tenants share is.
    pub(super) async fn catch_up(&self, site: &Site, client: &mut Client) -> Result<(), DataError> {
        let files = self.files()?;
        let had = applied(&self.connect().await?, &SchemaName::public()).await?;
        let pending = pending(&files, &had)?.len();
        let shared = files.get(..files.len().saturating_sub(pending)).unwrap_or_default();
        migrate(client, &site.schema(), shared, |_| ()).await?;
        Ok(())
    }

    /// Begins to bring every database to the last of the files; says whether it did, for a run goes on already otherwise.
    /// [`Data::migrations`] tells what comes of it.
    ///
    /// # Errors
    /// Where the files can't be read.
    pub fn migrate(self: &Arc<Self>, tenants: &[Tenant], pace: Pace) -> Result<bool, DataError> {
        let (files, subjects) = (Arc::new(self.files()?), self.subjects(tenants));
        if !self.migrations.begin(subjects.len()) {
            return Ok(false);
        }
        let data = Arc::clone(self);
        tokio::spawn(async move {
            data.migrate_all(&files, subjects, pace).await;
            data.migrations.note(|progress| {
                progress.running = false;
                progress.left = progress.databases.saturating_sub(progress.done + progress.failed);
                progress.doing.clear();
            });
        });
        Ok(true)
    }

    async fn migrate_all(self: &Arc<Self>, files: &Arc<Vec<Migration>>, subjects: Vec<Subject>, pace: Pace) {
        let mut subjects = subjects.into_iter();
        if let Some(first) = subjects.next() {
            self.migrate_one(files, first, pace).await;
            if self.migrations.progress().failed > 0 {
                return;
            }
        }
        let places = Arc::new(Semaphore::new(pace.concurrency.max(1)));
        let mut under_way = JoinSet::new();
        for subject in subjects {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            if self.migrations.progress().failed > pace.tolerate {
                break;
            }
            let (data, files) = (Arc::clone(self), Arc::clone(files));
            under_way.spawn(async move {
                data.migrate_one(&files, subject, pace).await;
                drop(place);
            });
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn migrate_one(&self, files: &[Migration], subject: Subject, pace: Pace) {
        let (database, tenant) = (&subject.label, &subject.tenant);
        let mut tried = 0;
        loop {
            let attempt = async {
                let mut client = subject.connect().await?;
                let tell = |migration: &Migration| {
                    self.migrations
                        .note(|progress| progress.doing = format!("{database}: {}", migration.name));
                };
                Ok(migrate(&mut client, &subject.schema(), files, tell).await?)
            };
            match attempt.await {
                Ok(count) => {
                    tracing::info!(%database, count, "migrated");
                    return self.migrations.note(|progress| progress.done += 1);
                }
                Err(Fault::Migrate(error)) if error.is_passing() && tried < pace.retry => {
                    tracing::warn!(%database, %error, tried, "a migration is tried again");
                    tokio::time::sleep(PAUSE.saturating_mul(1 << tried.min(8))).await;
                    tried += 1;
                }
                Err(error) => {
                    tracing::error!(%database, ?tenant, %error, "not migrated");
                    return self.migrations.note(|progress| {
                        progress.failed += 1;
                        if progress.faults.len() < FAULTS {
                            progress.faults.insert(database.clone(), error.to_string());
                        }
                    });
                }
            }
        }
    }
}
