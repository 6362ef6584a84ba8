//! The databases of the application: started where they are ours to start, prepared, and told which tenants there are.

mod migration;
mod placement;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_context::{Secret, key::MacKey};
use ringfence_guard::{
    Binaries, Cluster, RoleName,
    cluster::{ClusterError, ClusterSettings, Durability, SUPERUSER},
    connect,
    install::{Install, InstallError, guard_key_put, table_protect, tenant_key_put, tenant_key_remove},
    migrate::MigrateError,
    proxy::{Endpoint, ServerSettings as GuardedServer},
    role::RoleNameError,
    tls::Authorities,
};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config};

use self::migration::Migrations;
use self::placement::{PLACE_BYTES, own_database};
pub use self::{
    migration::{Pace, Progress, Standing},
    placement::{Shape, TenantPlaces, place_new},
};
use crate::{
    settings::{PostgresSettings, ServerSettings, Settings, SettingsError, read},
    tenant::Tenant,
};

/// The role that owns what the guard installs.
const OWNER: &str = "ringfence_owner";

/// Most bytes of the database's name that leave room for a tenant's place and what is between.
const OWN_DATABASE_PREFIX: usize = 63 - PLACE_BYTES - 1;

/// Names the lock under which one node at a time prepares the database: `prepare` in ASCII.
const PREPARE_LOCK: i64 = 0x0070_7265_7061_7265;

/// What stands between a tenant and its rows.
#[derive(Debug)]
pub struct Data {
    admin: Config,
    tls: Option<Authorities>,
    server: GuardedServer,
    tables: Vec<String>,
    /// The SQL that makes the tables.
    schema: String,
    guard_key: MacKey,
    shapes: BTreeMap<String, Shape>,
    places: Arc<TenantPlaces>,
    migrations_folder: Option<PathBuf>,
    migrations: Migrations,
    cluster: Mutex<Option<Cluster>>,
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
    /// A migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
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
        let Reached { admin, tls, endpoint, password, cluster } = match &postgres.server {
            Some(server) => Reached::external(settings, server, &database)?,
            None => Reached::managed(settings, dir, durability, &role, &database).await?,
        };
        let server = GuardedServer { endpoint, database, role, password, search_path: "public".to_owned() };
        let data = Self {
            admin,
            tls,
            places: Arc::new(TenantPlaces::new(server.clone())),
            server,
            tables: postgres.tables.clone(),
            schema: settings.schema_sql()?,
            guard_key: guard_key.clone(),
            shapes: settings.tiers.iter().map(|(name, tier)| (name.clone(), tier.data)).collect(),
            migrations_folder: postgres.migrations.as_ref().map(|folder| settings.folder.join(folder)),
            migrations: Migrations::default(),
            cluster: Mutex::new(cluster),
        };
        data.prepare(&mut data.connect().await?).await?;
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
    async fn prepare(&self, client: &mut Client) -> Result<(), DataError> {
        // Nodes that start at once prepare it one after the other. Given back with the connection.
        client.execute("SELECT pg_advisory_lock($1)", &[&PREPARE_LOCK]).await?;
        let owner = RoleName::new(OWNER).map_err(|error| DataError::Name {
            key: "owner",
            value: OWNER.to_owned(),
            error,
        })?;
        Install::new(self.server.role.clone(), owner).run(client).await?;
        self.make_tables(client).await?;
        for table in &self.tables {
            table_protect(client, table)
                .await
                .map_err(|error| DataError::Protect { table: table.clone(), error })?;
        }
        guard_key_put(client, &self.guard_key).await?;
        Ok(())
    }

    /// Runs the schema's SQL in one transaction, once: where the first table is not there yet.
    async fn make_tables(&self, client: &mut Client) -> Result<(), DataError> {
        let Some(first) = self.tables.first() else { return Ok(()) };
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[first]).await?;
        if there.get(0) || self.schema.is_empty() {
            return Ok(());
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute(&self.schema).await?;
        Ok(transaction.commit().await?)
    }

    /// How a new tenant of a tier has its rows kept.
    pub fn shape(&self, tier: &str) -> Shape {
        self.shapes.get(tier).copied().unwrap_or_default()
    }

    /// Where tenants' rows are.
    pub fn places(&self) -> &Arc<TenantPlaces> {
        &self.places
    }

    /// Makes the database know a tenant: its key, and so its rows. Where that is one of its own, it is made first.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_admit(&self, tenant: &Tenant, key: &MacKey) -> Result<(), DataError> {
        let client = match tenant.data {
            Shape::Rows => self.connect().await?,
            Shape::Database => self.own_make(tenant).await?,
        };
        tenant_key_put(&client, &tenant.id, key).await?;
        self.places.put(tenant);
        Ok(())
    }

    /// Takes the tenant's key away: nothing reaches its rows.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_bar(&self, tenant: &Tenant) -> Result<(), DataError> {
        if let Some(client) = self.reach(tenant).await? {
            tenant_key_remove(&client, &tenant.id).await?;
        }
        Ok(())
    }

    /// Deletes the tenant's rows in every protected table, all or none, and its own database with them; says how many.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_rows_delete(&self, tenant: &Tenant) -> Result<u64, DataError> {
        let Some(mut client) = self.reach(tenant).await? else { return Ok(0) };
        let transaction = client.transaction().await?;
        let mut deleted: u64 = 0;
        // Those that migrations have made point at older ones, so they come first.
        let all = "SELECT p.relation::regclass::text, quote_ident(p.tenant_column) FROM ringfence.protected p JOIN pg_class c ON c.oid = p.relation
             ORDER BY coalesce(array_position(ARRAY(SELECT t::regclass::oid FROM unnest($1::text[]) t), p.relation),
                1000000 + p.relation::bigint) DESC";
        for table in transaction.query(all, &[&self.tables]).await? {
            let (name, column): (String, String) = (table.get(0), table.get(1));
            let sql = format!("DELETE FROM {name} WHERE {column} = $1");
            deleted = deleted.saturating_add(transaction.execute(&sql, &[&tenant.id.as_str()]).await?);
        }
        transaction.commit().await?;
        drop(client);
        if tenant.data == Shape::Database {
            let database = self.own_name(tenant)?;
            // Whoever is still connected was refused already.
            self.connect().await?.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await?;
        }
        Ok(deleted)
    }

    fn own_name(&self, tenant: &Tenant) -> Result<RoleName, DataError> {
        let named = own_database(&self.server.database, tenant);
        named.map_err(|error| DataError::Name {
            key: "database",
            value: self.server.database.to_string(),
            error,
        })
    }

    /// Makes a tenant's own database, if it is not there, and prepares it.
    async fn own_make(&self, tenant: &Tenant) -> Result<Client, DataError> {
        let database = self.own_name(tenant)?;
        let root = self.connect().await?;
        if !exists(&root, &database).await? {
            root.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        }
        let mut client = self.connect_to(&database).await?;
        self.prepare(&mut client).await?;
        self.catch_up(&mut client).await?;
        Ok(client)
    }

    /// The administrator's connection to where a tenant's rows are, if there is such a place yet.
    async fn reach(&self, tenant: &Tenant) -> Result<Option<Client>, DataError> {
        let root = self.connect().await?;
        if tenant.data == Shape::Rows {
            return Ok(Some(root));
        }
        let database = self.own_name(tenant)?;
        if !exists(&root, &database).await? {
            return Ok(None);
        }
        Ok(Some(self.connect_to(&database).await?))
    }

    async fn connect_to(&self, database: &RoleName) -> Result<Client, tokio_postgres::Error> {
        connect(self.admin.clone().dbname(database.as_str()), self.tls.as_ref()).await
    }

    /// A connection of the administrator, to the database that tenants share.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        connect(&self.admin, self.tls.as_ref()).await
    }

    /// The database's name.
    pub fn database(&self) -> &RoleName {
        &self.server.database
    }

    /// The protected tables, parents first.
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// Folder and port number of the managed cluster's socket, if it is one.
    pub fn socket(&self) -> Option<(&Path, u16)> {
        match (&self.server.endpoint, self.admin.get_ports().first()) {
            (Endpoint::Unix(socket), Some(port)) => Some((socket.parent()?, *port)),
            _ => None,
        }
    }

    /// Stops the managed cluster, if it is one, leaving no process of it.
    ///
    /// # Errors
    /// Where it will not stop.
    pub async fn stop(&self) -> Result<(), DataError> {
        match self.cluster.lock().await.take() {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

/// The application's role, and its database.
fn names(settings: &Settings) -> Result<(RoleName, RoleName), DataError> {
    let postgres = &settings.postgres;
    let name = |key, value: &str| {
        RoleName::new(value).map_err(|error| DataError::Name { key, value: value.to_owned(), error })
    };
    let names = (name("app_role", &postgres.app_role)?, name("database", &postgres.database)?);
    let owned = settings.tiers.values().any(|tier| tier.data == Shape::Database);
    if owned && names.1.as_str().len() > OWN_DATABASE_PREFIX {
        return Err(DataError::LongName(postgres.database.clone()));
    }
    Ok(names)
}

async fn exists(client: &Client, database: &RoleName) -> Result<bool, DataError> {
    let there = "SELECT FROM pg_database WHERE datname = $1";
    Ok(client.query_opt(there, &[&database.as_str()]).await?.is_some())
}

/// A server that is reached, and how.
struct Reached {
    admin: Config,
    tls: Option<Authorities>,
    endpoint: Endpoint,
    password: Option<Secret<String>>,
    cluster: Option<Cluster>,
}

impl Reached {
    async fn managed(
        settings: &Settings,
        dir: &Path,
        durability: Durability,
        app_role: &RoleName,
        database: &RoleName,
    ) -> Result<Self, DataError> {
        let folder = dir.join("postgres");
        let binaries = Binaries::find(settings.postgres.binaries.as_deref())?;
        let roles = vec![app_role.clone()];
        let cluster = Cluster::start(ClusterSettings { folder, binaries, roles, durability }).await?;
        let client = connect(&cluster.admin(SUPERUSER), None).await?;
        if !exists(&client, database).await? {
            client.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        }
        Ok(Self {
            admin: cluster.admin(database.as_str()),
            tls: None,
            endpoint: Endpoint::Unix(cluster.socket()),
            password: None,
            cluster: Some(cluster),
        })
    }

    fn external(
        settings: &Settings,
        server: &ServerSettings,
        database: &RoleName,
    ) -> Result<Self, DataError> {
        let secret = |path: &PathBuf| -> Result<Secret<String>, SettingsError> {
            Ok(Secret::new(read(&settings.folder.join(path))?.trim_end().to_owned()))
        };
        let mut admin = Config::new();
        admin
            .host(&server.host)
            .port(server.port)
            .user(&server.admin_role)
            .password(secret(&server.admin_password_file)?.reveal())
            .dbname(database.as_str());
        let tls = server.authorities(&settings.folder)?;
        let endpoint = if server.host.starts_with('/') {
            Endpoint::Unix(Path::new(&server.host).join(format!(".s.PGSQL.{}", server.port)))
        } else {
            Endpoint::Tcp { host: server.host.clone(), port: server.port, tls: tls.clone() }
        };
        let password = Some(secret(&server.app_password_file)?);
        Ok(Self { admin, tls, endpoint, password, cluster: None })
    }
}
