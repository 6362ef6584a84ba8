//! Postgres servers: the one that tenants share, and those that are one tenant's alone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use ringfence_context::Secret;
use ringfence_guard::{
    Binaries, Cluster, RoleName,
    cluster::{ClusterSettings, Durability, SUPERUSER},
    connect,
    proxy::Endpoint,
    tls::Authorities,
};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config};

use super::{DataError, place::Drawn};
use crate::settings::{ServerSettings, Settings, SettingsError, read};

/// How the administrator and the guard reach a server.
#[derive(Debug)]
pub(super) struct Server {
    admin: Config,
    pub(super) tls: Option<Authorities>,
    pub(super) endpoint: Endpoint,
    /// The application role's password, where Postgres asks for one.
    pub(super) password: Option<Secret<String>>,
    cluster: Mutex<Option<Cluster>>,
}

impl Server {
    /// Starts a managed one.
    async fn managed(settings: ClusterSettings) -> Result<Self, DataError> {
        let cluster = Cluster::start(settings).await?;
        Ok(Self {
            admin: cluster.admin(SUPERUSER),
            tls: None,
            endpoint: Endpoint::Unix(cluster.socket()),
            password: None,
            cluster: Mutex::new(Some(cluster)),
        })
    }

    /// One that is there.
    fn external(folder: &Path, server: &ServerSettings) -> Result<Self, SettingsError> {
        let secret = |path: &PathBuf| -> Result<Secret<String>, SettingsError> {
            Ok(Secret::new(read(&folder.join(path))?.trim_end().to_owned()))
        };
        let mut admin = Config::new();
        admin
            .host(&server.host)
            .port(server.port)
            .user(&server.admin_role)
            .password(secret(&server.admin_password_file)?.reveal())
            .dbname("postgres");
        let tls = server.authorities(folder)?;
        let endpoint = if server.host.starts_with('/') {
            Endpoint::Unix(Path::new(&server.host).join(format!(".s.PGSQL.{}", server.port)))
        } else {
            Endpoint::Tcp { host: server.host.clone(), port: server.port, tls: tls.clone() }
        };
        let password = Some(secret(&server.app_password_file)?);
        Ok(Self { admin, tls, endpoint, password, cluster: Mutex::new(None) })
    }

    /// A connection of the administrator.
    pub(super) async fn connect(&self, database: &RoleName) -> Result<Client, tokio_postgres::Error> {
        connect(&self.config(database), self.tls.as_ref()).await
    }

    /// How the administrator connects.
    pub(super) fn config(&self, database: &RoleName) -> Config {
        let mut config = self.admin.clone();
        config.dbname(database.as_str());
        config
    }

    /// A connection of the administrator, to no tenant's database.
    pub(super) async fn root(&self) -> Result<Client, tokio_postgres::Error> {
        connect(&self.admin, self.tls.as_ref()).await
    }

    /// Whether it has a database of this name that can be connected to. One whose removal was cut off can't, and is to be removed
    /// again (`DATCONNLIMIT_INVALID_DB` in `pg_database.h`).
    pub(super) async fn database_exists(&self, database: &RoleName) -> Result<bool, tokio_postgres::Error> {
        let there = "SELECT FROM pg_database WHERE datname = $1 AND datconnlimit <> -2";
        Ok(self.root().await?.query_opt(there, &[&database.as_str()]).await?.is_some())
    }

    /// Makes a database, if it is not there. Whoever has a login to the server may connect to a new one, so nobody may connect to
    /// this one before that right is taken away.
    pub(super) async fn database_make(&self, database: &RoleName) -> Result<(), tokio_postgres::Error> {
        let root = self.root().await?;
        let open = "SELECT datallowconn FROM pg_database WHERE datname = $1";
        let found = root.query_opt(open, &[&database.as_str()]).await?;
        if found.is_none() {
            root.batch_execute(&format!("CREATE DATABASE {database} ALLOW_CONNECTIONS false")).await?;
        }
        if !found.map(|row| row.try_get::<_, bool>(0)).transpose()?.unwrap_or(false) {
            let close = format!(
                "REVOKE ALL ON DATABASE {database} FROM PUBLIC; ALTER DATABASE {database} ALLOW_CONNECTIONS true"
            );
            root.batch_execute(&close).await?;
        }
        Ok(())
    }

    /// Removes a database, whoever is connected.
    pub(super) async fn database_drop(&self, database: &RoleName) -> Result<(), tokio_postgres::Error> {
        self.root().await?.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await
    }

    /// Folder and port number of a managed one's socket.
    pub(super) fn socket(&self) -> Option<(&Path, u16)> {
        match (&self.endpoint, self.admin.get_ports().first()) {
            (Endpoint::Unix(socket), Some(port)) => Some((socket.parent()?, *port)),
            _ => None,
        }
    }

    async fn stop(&self) -> Result<(), DataError> {
        match self.cluster.lock().await.take() {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

/// How managed servers are started.
#[derive(Debug)]
struct Managed {
    dir: PathBuf,
    settings: ClusterSettings,
}

/// All servers.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) shared: Arc<Server>,
    /// Those of `[postgres.servers]`, each for one tenant.
    named: BTreeMap<String, Arc<Server>>,
    managed: Option<Managed>,
    /// Tenants' managed ones that run.
    own: RwLock<BTreeMap<String, Arc<Server>>>,
}

impl Servers {
    /// Starts or reaches the one that tenants share.
    pub(super) async fn open(
        settings: &Settings,
        dir: &Path,
        durability: Durability,
        role: &RoleName,
    ) -> Result<Self, DataError> {
        let postgres = &settings.postgres;
        let external = |server: &ServerSettings| Server::external(&settings.folder, server);
        let named =
            |(name, server): (&String, &ServerSettings)| Ok((name.clone(), Arc::new(external(server)?)));
        let named = postgres.servers.iter().map(named).collect::<Result<_, SettingsError>>()?;
        let (shared, managed) = match &postgres.server {
            Some(server) => (external(server)?, None),
            None => {
                let binaries = Binaries::find(postgres.binaries.as_deref())?;
                let (folder, roles) = (dir.join("postgres"), vec![role.clone()]);
                let settings = ClusterSettings { folder, binaries, roles, durability };
                let managed = Managed { dir: dir.to_owned(), settings: settings.clone() };
                (Server::managed(settings).await?, Some(managed))
            }
        };
        Ok(Self { shared: Arc::new(shared), named, managed, own: RwLock::default() })
    }

    /// Whether the one that tenants share was started here.
    pub(super) fn is_managed(&self) -> bool {
        self.managed.is_some()
    }

    /// The names of those that are for one tenant each.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Those that are not ours to start, by what to call them.
    pub(super) fn listed(&self) -> Vec<(String, Arc<Server>)> {
        let shared =
            self.managed.is_none().then(|| ("[postgres.server]".to_owned(), Arc::clone(&self.shared)));
        let named = self.named.iter().map(|(name, server)| (name.clone(), Arc::clone(server)));
        shared.into_iter().chain(named).collect()
    }

    /// A tenant's own, if it is listed or runs.
    pub(super) fn own(&self, drawn: &Drawn, named: Option<&str>) -> Result<Arc<Server>, DataError> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        match named {
            Some(name) => self.named.get(name),
            None => own.get(drawn.as_str()),
        }
        .cloned()
        .ok_or_else(|| DataError::Server(named.map(str::to_owned)))
    }

    /// Starts a tenant's managed server, if it does not run.
    pub(super) async fn start(&self, drawn: &Drawn) -> Result<(), DataError> {
        if self.own(drawn, None).is_ok() {
            return Ok(());
        }
        let Some(Managed { settings, .. }) = &self.managed else { return Err(DataError::Server(None)) };
        let folder = self.folder(drawn).ok_or(DataError::Server(None))?;
        let server = Server::managed(ClusterSettings { folder, ..settings.clone() }).await?;
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.insert(drawn.as_str().to_owned(), Arc::new(server));
        Ok(())
    }

    /// Starts it where it was made before.
    pub(super) async fn start_made(&self, drawn: &Drawn) -> Result<(), DataError> {
        match self.folder(drawn) {
            Some(folder) if folder.join("data").exists() => self.start(drawn).await,
            _ => Ok(()),
        }
    }

    fn folder(&self, drawn: &Drawn) -> Option<PathBuf> {
        let name = format!("postgres-{}", drawn.as_str());
        self.managed.as_ref().map(|managed| managed.dir.join(name))
    }

    /// Stops a tenant's managed server and removes its folder.
    pub(super) async fn remove(&self, drawn: &Drawn) -> Result<(), DataError> {
        let running = self.own.write().unwrap_or_else(PoisonError::into_inner).remove(drawn.as_str());
        if let Some(server) = running {
            server.stop().await?;
        }
        let Some(folder) = self.folder(drawn) else { return Ok(()) };
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DataError::Folder { path: folder, error })
            }
            _ => Ok(()),
        }
    }

    /// Stops what was started here, leaving no process of it; says the first that would not.
    pub(super) async fn stop(&self) -> Result<(), DataError> {
        let own = std::mem::take(&mut *self.own.write().unwrap_or_else(PoisonError::into_inner));
        let mut outcome = Ok(());
        for server in own.values().chain([&self.shared]) {
            outcome = outcome.and(server.stop().await);
        }
        outcome
    }
}
