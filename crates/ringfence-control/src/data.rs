//! The databases of the application: started where they are ours to start, prepared, and told which tenants there are.

mod credential;
mod migration;
mod moving;
mod place;
mod placement;
mod server;
mod site;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ringfence_context::{TenantId, key::MacKey};
use ringfence_guard::{
    Binaries, RoleName, SchemaName,
    bar::tenant_bar,
    cluster::{ClusterError, Durability},
    credential::CredentialError,
    install::{Install, InstallError, guard_key_put, table_protect, tenant_admit},
    migrate::MigrateError,
    role::RoleNameError,
    tenant_move::MoveError,
};
use tokio_postgres::{Client, error::SqlState};

pub(crate) use self::{credential::Sweep, moving::Ways};
use self::{
    migration::Migrations,
    moving::Moves,
    place::DRAWN_BYTES,
    server::Servers,
    site::{Site, Sites},
};
pub use self::{
    migration::{Pace, Progress, Standing},
    moving::MoveProgress,
    place::{Drawn, Place, Shape},
    placement::TenantPlaces,
};
use crate::{
    guard,
    settings::{PostgresSettings, Settings, SettingsError},
    tenant::Tenant,
};

/// The role that owns what the guard installs.
const OWNER: &str = "ringfence_owner";

/// Most bytes of the database's name that leave room for what is drawn for a tenant's and what is between.
const OWN_DATABASE_PREFIX: usize = 63 - DRAWN_BYTES - 1;

/// Names the lock under which one node at a time prepares the database: `prepare` in ASCII.
const PREPARE_LOCK: i64 = 0x0070_7265_7061_7265;

/// What stands between a tenant and its rows.
#[derive(Debug)]
pub struct Data {
    sites: Arc<Sites>,
    tables: Vec<String>,
    /// The SQL that makes the tables.
    schema: String,
    shapes: BTreeMap<String, Shape>,
    places: Arc<TenantPlaces>,
    migrations_folder: Option<PathBuf>,
    migrations: Migrations,
    moves: Moves,
}

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The managed cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The installation.
    #[error("preparing the database: {0}")]
    Install(#[from] InstallError),
    /// One table can't be protected.
    #[error("table {table}: {error}")]
    Protect {
        /// The table.
        table: String,
        /// Why.
        error: InstallError,
    },
    /// Postgres.
    #[error("the database: {}", said(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// A name in the settings.
    #[error("[postgres] {key} = \"{value}\": {error}")]
    Name {
        /// Which key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What is wrong.
        error: RoleNameError,
    },
    /// A name that leaves no room.
    #[error(
        "[postgres] database = \"{0}\": tenants with databases of their own need a name of at most {OWN_DATABASE_PREFIX} bytes"
    )]
    LongName(String),
    /// A table's name that says where it is.
    #[error("[postgres] tables: \"{0}\" names a schema: tenants with schemas of their own need names alone")]
    Qualified(String),
    /// The SQL of the tables made them somewhere else.
    #[error(
        "[postgres] schema makes no table \"{0}\" in a tenant's own schema: its files must name no schema, for tenants with schemas of their own"
    )]
    Elsewhere(String),
    /// A tenant's own server.
    #[error("{}", match .0 {
        Some(name) => format!("there is no [postgres.servers.{name}], which is some tenant's: put it back"),
        None => "the tenant's own server does not run: restart the plane, and see its log".to_owned(),
    })]
    Server(Option<String>),
    /// No server is left.
    #[error("every server in [postgres.servers] is or was a tenant's: add one for this tenant")]
    Servers,
    /// There are no servers to give away.
    #[error("a tier has data = \"server\": add a [postgres.servers.NAME] for each of its tenants")]
    NoServers,
    /// A folder that can't be removed.
    #[error("{}: {error}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Sessions that do not end.
    #[error(
        "{0} of the tenant's sessions were told to end and are still there: see what Postgres is waiting for"
    )]
    StillOpen(usize),
    /// A step of a move.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// A migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A login to a tenant's own database.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] ringfence_context::key::KeyError),
    /// A file the settings name.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |told| told.message().to_owned())
}

impl Data {
    /// Starts the managed cluster, or reaches the server the settings name, and prepares the database tenants share.
    ///
    /// # Errors
    /// [`DataError`], each saying what to do.
    pub async fn open(
        settings: &Settings,
        dir: &Path,
        guard_key: &MacKey,
        durability: Durability,
    ) -> Result<Self, DataError> {
        let postgres = &settings.postgres;
        let (role, database) = names(settings)?;
        let servers = Servers::open(settings, dir, durability, &role).await?;
        if servers.is_managed() {
            servers.shared.database_make(&database).await?;
        }
        let sites = Arc::new(Sites { servers, database, role, guard_key: guard_key.clone() });
        let data = Self {
            places: Arc::new(TenantPlaces::new(Arc::clone(&sites), guard::caps(settings))),
            sites,
            tables: postgres.tables.clone(),
            schema: settings.schema_sql()?,
            shapes: settings.tiers.iter().map(|(name, tier)| (name.clone(), tier.data)).collect(),
            migrations_folder: postgres.migrations.as_ref().map(|folder| settings.folder.join(folder)),
            migrations: Migrations::default(),
            moves: Moves::default(),
        };
        let shared = data.sites.shared();
        data.prepare(&shared, &mut shared.connect().await?).await?;
        Ok(data)
    }

    /// The names in the settings are names, found before anything is made.
    ///
    /// # Errors
    /// [`DataError::Name`].
    pub fn names_check(settings: &Settings) -> Result<(), DataError> {
        names(settings).map(drop)
    }

    /// Looks for the programs of a managed cluster, before anything is made.
    ///
    /// # Errors
    /// [`ClusterError`] says what to install.
    pub fn programs_check(settings: &PostgresSettings) -> Result<(), DataError> {
        if settings.server.is_none() {
            Binaries::find(settings.binaries.as_deref())?;
        }
        Ok(())
    }

    /// Makes a database ready for tenants: what the guard asks, the tables, and the guard's key.
    async fn prepare(&self, site: &Site, client: &mut Client) -> Result<(), DataError> {
        // Nodes that start at once prepare it one after the other. Given back with the connection.
        client.execute("SELECT pg_advisory_lock($1)", &[&PREPARE_LOCK]).await?;
        let owner = RoleName::new(OWNER).map_err(|error| DataError::Name {
            key: "owner",
            value: OWNER.to_owned(),
            error,
        })?;
        Install::new(self.sites.role.clone(), owner).run(client).await?;
        self.make_tables(site, client).await?;
        guard_key_put(client, &self.sites.guard_key).await?;
        Ok(())
    }

    /// Runs the SQL of the tables in one transaction, once: where the first of them is not there yet; and puts all of them under
    /// row security.
    async fn make_tables(&self, site: &Site, client: &mut Client) -> Result<(), DataError> {
        let own = site.own.as_ref().and_then(|own| own.schema.as_ref());
        let named = |table: &str| own.map_or(table.to_owned(), |schema| format!("{schema}.{table}"));
        let there = "SELECT to_regclass($1) IS NOT NULL";
        let Some(first) = self.tables.first() else { return Ok(()) };
        let made: bool = client.query_one(there, &[&named(first)]).await?.get(0);
        if !made && !self.schema.is_empty() {
            let transaction = client.transaction().await?;
            transaction.batch_execute(&self.schema).await?;
            if own.is_some() {
                for table in &self.tables {
                    if !transaction.query_one(there, &[&named(table)]).await?.get::<_, bool>(0) {
                        return Err(DataError::Elsewhere(table.clone()));
                    }
                }
            }
            transaction.commit().await?;
        }
        for table in &self.tables {
            let table = named(table);
            table_protect(client, &table).await.map_err(|error| DataError::Protect { table, error })?;
        }
        Ok(())
    }

    /// How a new tenant of a tier has its rows kept.
    pub fn shape(&self, tier: &str) -> Shape {
        self.shapes.get(tier).copied().unwrap_or_default()
    }

    /// The moves that this node drives.
    pub(crate) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Where tenants' rows are.
    pub fn places(&self) -> &Arc<TenantPlaces> {
        &self.places
    }

    /// A place for a new tenant of a tier. `taken`: the names of servers that are or were somebody's.
    ///
    /// # Errors
    /// [`DataError::Servers`] where none is left.
    pub fn draw(&self, shape: Shape, taken: &[String]) -> Result<Place, DataError> {
        let mut names = self.sites.servers.names().peekable();
        let server = match (shape, names.peek()) {
            (Shape::Server, Some(_)) => {
                let free = names.find(|name| !taken.iter().any(|taken| taken == name));
                Some(free.ok_or(DataError::Servers)?.to_owned())
            }
            _ => None,
        };
        Ok(Place::draw(shape, server)?)
    }

    /// Makes the database know a tenant: its key, and so its rows. What is to be its own is made first.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_admit(&self, tenant: &Tenant, key: &MacKey) -> Result<(), DataError> {
        let (site, client) = self.make(&tenant.id, &tenant.place).await?;
        tenant_admit(&client, &tenant.id, key, site.login()).await?;
        self.places.put(tenant);
        Ok(())
    }

    /// Leads a tenant to its place, as an earlier run has left it. A server of its own is started where it is ours to start.
    pub async fn tenant_take_up(&self, tenant: &Tenant) {
        if let (Place::Server { drawn, server: None }, true) = (&tenant.place, tenant.has_rows())
            && let Err(error) = self.sites.servers.start(drawn).await
        {
            tracing::error!(tenant = %tenant.id, %error, "its server could not be started: it is refused until it is");
        }
        self.places.put(tenant);
    }

    /// Takes the tenant's key away and ends what it has open: nothing reaches its rows.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_bar(&self, tenant: &Tenant) -> Result<(), DataError> {
        let Some((_, client)) = self.reach(tenant).await? else { return Ok(()) };
        match tenant_bar(&client, &tenant.id, Duration::ZERO).await {
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                // The key is gone, and with it everything but a statement under way.
                tracing::warn!(tenant = %tenant.id, "what it has open runs out by itself: GRANT pg_signal_backend to the administrator");
                Ok(())
            }
            outcome => match outcome?.left {
                0 => Ok(()),
                left => Err(DataError::StillOpen(left)),
            },
        }
    }

    /// Deletes the tenant's rows in every protected table, all or none, and with them what is its own: role, schema, database or
    /// server. Says how many rows.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_rows_delete(&self, tenant: &Tenant) -> Result<u64, DataError> {
        let deleted = match self.reach(tenant).await? {
            Some(_) => self.rows_delete(&tenant.id, &tenant.place).await?,
            // Its removal may have been cut off.
            None => 0,
        };
        self.own_remove(&tenant.id, &tenant.place).await?;
        Ok(deleted)
    }

    /// Deletes the tenant's rows at a place, all or none; says how many.
    async fn rows_delete(&self, tenant: &TenantId, place: &Place) -> Result<u64, DataError> {
        let site = self.sites.site(place)?;
        let mut client = site.connect().await?;
        let transaction = client.transaction().await?;
        let mut deleted: u64 = 0;
        // Those that migrations have made point at older ones, so they come first.
        let all = "SELECT p.relation::regclass::text, quote_ident(p.tenant_column) FROM ringfence.protected p JOIN pg_class c ON c.oid = p.relation
             WHERE c.relnamespace = to_regnamespace($2)
             ORDER BY coalesce(array_position(ARRAY(SELECT to_regclass(t)::oid FROM unnest($1::text[]) t), p.relation),
                1000000 + p.relation::bigint) DESC";
        let schema = site.schema();
        for table in transaction.query(all, &[&self.tables, &schema.as_str()]).await? {
            let (name, column): (String, String) = (table.get(0), table.get(1));
            let sql = format!("DELETE FROM {name} WHERE {column} = $1");
            deleted = deleted.saturating_add(transaction.execute(&sql, &[&tenant.as_str()]).await?);
        }
        transaction.commit().await?;
        Ok(deleted)
    }

    /// Removes what is a tenant's own at a place: role, schema, database or server. It need not be there.
    async fn own_remove(&self, tenant: &TenantId, place: &Place) -> Result<(), DataError> {
        if let Place::Server { drawn, server: None } = place {
            return self.sites.servers.remove(drawn).await;
        }
        let site = self.sites.site(place)?;
        match place {
            // Whoever is still connected was refused already.
            Place::Database { .. } | Place::Server { .. } => {
                Ok(site.server.database_drop(&site.database).await?)
            }
            Place::Rows | Place::Role { .. } | Place::Schema { .. } => match &site.own {
                Some(own) => Ok(own.remove(&site.connect().await?, tenant).await?),
                None => Ok(()),
            },
        }
    }

    /// Makes what a place says, if it is not there, and prepares it. The administrator's connection to it.
    async fn make(&self, tenant: &TenantId, place: &Place) -> Result<(Site, Client), DataError> {
        if let Place::Server { drawn, server: None } = place {
            self.sites.servers.start(drawn).await?;
        }
        let site = self.sites.site(place)?;
        match place {
            Place::Rows => {}
            Place::Role { .. } | Place::Schema { .. } => {
                if let Some(own) = &site.own {
                    self.sites.own_put(own, &site.connect().await?, tenant).await?;
                }
            }
            Place::Database { .. } | Place::Server { .. } => {
                site.server.database_make(&site.database).await?;
            }
        }
        let mut client = site.connect().await?;
        match place {
            Place::Rows | Place::Role { .. } => return Ok((site, client)),
            Place::Schema { .. } => self.make_tables(&site, &mut client).await?,
            Place::Database { .. } | Place::Server { .. } => self.prepare(&site, &mut client).await?,
        }
        self.catch_up(&site, &mut client).await?;
        Ok((site, client))
    }

    /// Where a tenant's rows are, and the administrator's connection to it, if there is such a place yet.
    async fn reach(&self, tenant: &Tenant) -> Result<Option<(Site, Client)>, DataError> {
        let site = match self.sites.site(&tenant.place) {
            // It was not made, or is removed already.
            Err(DataError::Server(None)) if !tenant.has_rows() => return Ok(None),
            site => site?,
        };
        match &tenant.place {
            Place::Database { .. } | Place::Server { .. }
                if !site.server.database_exists(&site.database).await? =>
            {
                Ok(None)
            }
            _ => {
                let client = site.connect().await?;
                Ok(Some((site, client)))
            }
        }
    }

    /// A connection of the administrator, to the database that tenants share.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        self.sites.shared().connect().await
    }

    /// The database's name.
    pub fn database(&self) -> &RoleName {
        &self.sites.database
    }

    /// The schema a tenant's tables are in.
    ///
    /// # Errors
    /// [`DataError::Server`] where its server is not known.
    pub fn schema(&self, tenant: &Tenant) -> Result<SchemaName, DataError> {
        Ok(self.sites.site(&tenant.place)?.schema())
    }

    /// The protected tables, parents first.
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// Folder and port number of the managed cluster's socket, if it is one.
    pub fn socket(&self) -> Option<(&Path, u16)> {
        self.sites.servers.shared.socket()
    }

    /// Stops the managed servers, leaving no process of them.
    ///
    /// # Errors
    /// Where one will not stop.
    pub async fn stop(&self) -> Result<(), DataError> {
        self.sites.servers.stop().await
    }
}

/// The application's role, and its database.
fn names(settings: &Settings) -> Result<(RoleName, RoleName), DataError> {
    let postgres = &settings.postgres;
    let name = |key, value: &str| {
        RoleName::new(value).map_err(|error| DataError::Name { key, value: value.to_owned(), error })
    };
    let names = (name("app_role", &postgres.app_role)?, name("database", &postgres.database)?);
    let has = |shape| settings.tiers.values().any(|tier| tier.data == shape);
    if has(Shape::Database) && names.1.as_str().len() > OWN_DATABASE_PREFIX {
        return Err(DataError::LongName(postgres.database.clone()));
    }
    if let (true, Some(table)) =
        (has(Shape::Schema), postgres.tables.iter().find(|table| table.contains('.')))
    {
        return Err(DataError::Qualified(table.clone()));
    }
    if has(Shape::Server) && postgres.server.is_some() && postgres.servers.is_empty() {
        return Err(DataError::NoServers);
    }
    Ok(names)
}
