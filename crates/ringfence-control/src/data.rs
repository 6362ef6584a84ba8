//! The database of the application: started where it is ours to start, prepared, and told which tenants there are.

use std::path::{Path, PathBuf};

use ringfence_context::{Secret, TenantId, key::MacKey};
use ringfence_guard::{
    Binaries, Cluster, RoleName,
    cluster::{ClusterError, ClusterSettings, Durability, SUPERUSER},
    connect,
    install::{Install, InstallError, guard_key_put, table_protect, tenant_key_put, tenant_key_remove},
    proxy::Endpoint,
    role::RoleNameError,
    tls::Authorities,
};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config};

use crate::settings::{PostgresSettings, ServerSettings, Settings, SettingsError, read};

/// Names the lock under which one node at a time prepares the database: `prepare` in ASCII.
const PREPARE_LOCK: i64 = 0x0070_7265_7061_7265;

/// What stands between a tenant and its rows.
#[derive(Debug)]
pub struct Data {
    admin: Config,
    tls: Option<Authorities>,
    endpoint: Endpoint,
    app_password: Option<Secret<String>>,
    app_role: RoleName,
    database: RoleName,
    tables: Vec<String>,
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
    /// A file the settings name.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |told| told.message().to_owned())
}

impl Data {
    /// Starts the managed cluster, or reaches the server the settings name, and prepares the database.
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
        let (app_role, database) = names(postgres)?;
        let tables = postgres.tables.clone();
        let data = match &postgres.server {
            Some(server) => Self::external(settings, server, app_role, database, tables)?,
            None => Self::managed(settings, dir, durability, app_role, database, tables).await?,
        };
        data.prepare(settings, guard_key).await?;
        Ok(data)
    }

    /// The names in the settings are names, found before anything is made.
    ///
    /// # Errors
    /// [`DataError::Name`].
    pub fn names_check(postgres: &PostgresSettings) -> Result<(), DataError> {
        names(postgres).map(drop)
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

    async fn managed(
        settings: &Settings,
        dir: &Path,
        durability: Durability,
        app_role: RoleName,
        database: RoleName,
        tables: Vec<String>,
    ) -> Result<Self, DataError> {
        let folder = dir.join("postgres");
        let binaries = Binaries::find(settings.postgres.binaries.as_deref())?;
        let roles = vec![app_role.clone()];
        let cluster = Cluster::start(ClusterSettings { folder, binaries, roles, durability }).await?;
        let client = connect(&cluster.admin(SUPERUSER), None).await?;
        let exists = "SELECT FROM pg_database WHERE datname = $1";
        if client.query_opt(exists, &[&database.as_str()]).await?.is_none() {
            client.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        }
        Ok(Self {
            admin: cluster.admin(database.as_str()),
            tls: None,
            endpoint: Endpoint::Unix(cluster.socket()),
            app_password: None,
            app_role,
            database,
            tables,
            cluster: Mutex::new(Some(cluster)),
        })
    }

    fn external(
        settings: &Settings,
        server: &ServerSettings,
        app_role: RoleName,
        database: RoleName,
        tables: Vec<String>,
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
        Ok(Self {
            admin,
            tls,
            endpoint,
            app_password: Some(secret(&server.app_password_file)?),
            app_role,
            database,
            tables,
            cluster: Mutex::default(),
        })
    }

    async fn prepare(&self, settings: &Settings, guard_key: &MacKey) -> Result<(), DataError> {
        let mut client = self.connect().await?;
        // Nodes that start at once prepare it one after the other. Given back with the connection.
        client.execute("SELECT pg_advisory_lock($1)", &[&PREPARE_LOCK]).await?;
        let owner = RoleName::new("ringfence_owner").map_err(|error| DataError::Name {
            key: "owner",
            value: "ringfence_owner".to_owned(),
            error,
        })?;
        Install::new(self.app_role.clone(), owner).run(&mut client).await?;
        self.make_tables(&mut client, &settings.postgres, &settings.schema_sql()?).await?;
        for table in &self.tables {
            table_protect(&client, table)
                .await
                .map_err(|error| DataError::Protect { table: table.clone(), error })?;
        }
        guard_key_put(&client, guard_key).await?;
        Ok(())
    }

    /// Runs the schema's SQL in one transaction, once: where the first table is not there yet.
    async fn make_tables(
        &self,
        client: &mut Client,
        settings: &PostgresSettings,
        sql: &str,
    ) -> Result<(), DataError> {
        let Some(first) = settings.tables.first() else { return Ok(()) };
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[first]).await?;
        if there.get(0) || sql.is_empty() {
            return Ok(());
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute(sql).await?;
        Ok(transaction.commit().await?)
    }

    /// Makes the database know a tenant: its key, and so its rows.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_admit(&self, tenant: &TenantId, key: &MacKey) -> Result<(), DataError> {
        Ok(tenant_key_put(&self.connect().await?, tenant, key).await?)
    }

    /// Takes the tenant's key away: nothing reaches its rows.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_bar(&self, tenant: &TenantId) -> Result<(), DataError> {
        Ok(tenant_key_remove(&self.connect().await?, tenant).await?)
    }

    /// Deletes the tenant's rows in every protected table, all or none; says how many.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn tenant_rows_delete(&self, tenant: &TenantId) -> Result<u64, DataError> {
        let mut client = self.connect().await?;
        let transaction = client.transaction().await?;
        let mut deleted: u64 = 0;
        for table in self.tables.iter().rev() {
            let quoted = transaction.query_one("SELECT $1::text::regclass::text", &[table]).await?;
            let sql = format!("DELETE FROM {} WHERE tenant_id = $1", quoted.get::<_, String>(0));
            deleted = deleted.saturating_add(transaction.execute(&sql, &[&tenant.as_str()]).await?);
        }
        transaction.commit().await?;
        Ok(deleted)
    }

    /// A connection of the administrator.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        connect(&self.admin, self.tls.as_ref()).await
    }

    /// Where Postgres is, for the guard.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The role all tenants' statements run as, with its password where it needs one.
    pub fn app_role(&self) -> (&RoleName, Option<&Secret<String>>) {
        (&self.app_role, self.app_password.as_ref())
    }

    /// The database's name.
    pub fn database(&self) -> &RoleName {
        &self.database
    }

    /// The protected tables, parents first.
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// Folder and port number of the managed cluster's socket, if it is one.
    pub fn socket(&self) -> Option<(&Path, u16)> {
        match (&self.endpoint, self.admin.get_ports().first()) {
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
fn names(postgres: &PostgresSettings) -> Result<(RoleName, RoleName), DataError> {
    let name = |key, value: &str| {
        RoleName::new(value).map_err(|error| DataError::Name { key, value: value.to_owned(), error })
    };
    Ok((name("app_role", &postgres.app_role)?, name("database", &postgres.database)?))
}
