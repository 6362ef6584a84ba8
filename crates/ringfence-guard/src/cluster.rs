//! A Postgres of our own: the installed programs, on a private socket, under the folder Ringfence keeps its state in.
//!
//! It guarantees that the data folder is whole or absent, that only the operating system user that runs Ringfence (and
//! the one that runs Postgres) connects, that Postgres never runs as root, comes back when it dies, and does not outlive
//! Ringfence.

mod binaries;
mod error;
mod os_user;
mod process;
mod settings;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ringfence_context::key;

pub use self::{binaries::Binaries, error::ClusterError};
use self::{
    os_user::OsUsers,
    process::{Postmaster, Supervisor},
};
use crate::role::RoleName;

/// The cluster's superuser.
pub const SUPERUSER: &str = "postgres";

/// Names the socket file; nothing listens on a network port.
const PORT: u16 = 6431;

/// Most connections that it takes.
pub const MAX_CONNECTIONS: usize = 100;

/// Longest path of a Unix socket: `sun_path` has 108 bytes on Linux and 104 on macOS, one of them the final zero.
const SOCKET_PATH_BYTES: usize = 103;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// Whether data must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Yes.
    #[default]
    Full,
    /// No, only the death of a process: for tests and the range, whose data lives for minutes.
    Test,
}

/// How a cluster is set up.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Where it lives; made if missing. Holds `data` and `postgres.log`.
    pub folder: PathBuf,
    /// The programs.
    pub binaries: Binaries,
    /// The roles Ringfence connects as, beside the superuser.
    pub roles: Vec<RoleName>,
    /// Whether data must survive a power failure.
    pub durability: Durability,
}

/// A running cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Cluster {
    supervisor: Supervisor,
    socket: SocketFolder,
    log: PathBuf,
}

/// Where the socket is; a folder of its own under the system's temporary folder is removed at the end.
#[derive(Debug)]
struct SocketFolder {
    path: PathBuf,
    temporary: bool,
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        if self.temporary {
            // Best effort: an empty private folder left behind harms nobody.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Cluster {
    /// Makes the cluster if it does not exist, starts it and waits until it answers.
    ///
    /// # Errors
    /// [`ClusterError`], each saying what to do.
    pub async fn start(settings: ClusterSettings) -> Result<Self, ClusterError> {
        let prepare = move || Self::prepare(&settings);
        let cluster = tokio::task::spawn_blocking(prepare)
            .await
            .map_err(|error| ClusterError::io("postgres", std::io::Error::other(error)))??;
        cluster.ready().await?;
        Ok(cluster)
    }

    fn prepare(settings: &ClusterSettings) -> Result<Self, ClusterError> {
        let ClusterSettings { folder, binaries, roles, durability } = settings;
        fs::create_dir_all(folder).map_err(|error| ClusterError::io(folder, error))?;
        let folder = folder.canonicalize().map_err(|error| ClusterError::io(folder, error))?;
        let users = OsUsers::resolve(&probe(&folder)?)?;
        users.check_reachable(&folder)?;
        users.give(&folder)?;
        set_mode(&folder, 0o700)?;
        let data = folder.join("data");
        let log = folder.join("postgres.log");
        let postmaster = Postmaster { binaries: binaries.clone(), users, data, log: log.clone() };
        if postmaster.data.exists() {
            check_version(&postmaster)?;
            postmaster.stop_orphan()?;
        } else {
            initialise(&postmaster, *durability)?;
        }
        let socket = socket_folder(&folder, &postmaster.users)?;
        let write = |name: &str, text: &str| replace_file(&postmaster, name, text);
        write("postgresql.conf", &settings::postgresql_conf(&socket.path, *durability))?;
        write("pg_hba.conf", &settings::pg_hba_conf(roles))?;
        write("pg_ident.conf", &settings::pg_ident_conf(&postmaster.users, roles))?;
        Ok(Self { supervisor: Supervisor::start(postmaster)?, socket, log })
    }

    /// Waits until Postgres answers.
    ///
    /// # Errors
    /// [`ClusterError::NotReady`] after 30 seconds, with the end of its log.
    pub async fn ready(&self) -> Result<(), ClusterError> {
        let answers = async {
            while self.supervisor.is_running() {
                if self.admin(SUPERUSER).connect(tokio_postgres::NoTls).await.is_ok() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            false
        };
        match tokio::time::timeout(READY_WITHIN, answers).await {
            Ok(true) => Ok(()),
            _ => Err(ClusterError::NotReady { log: self.log.clone(), tail: tail(&self.log) }),
        }
    }

    /// How to connect as its superuser.
    pub fn admin(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket.path).port(PORT).user(SUPERUSER).dbname(database);
        config
    }

    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.socket.path.join(format!(".s.PGSQL.{PORT}"))
    }

    /// Its folder and port number, as libpq wants them.
    pub fn host_and_port(&self) -> (&Path, u16) {
        (&self.socket.path, PORT)
    }

    /// Shuts Postgres down and waits until no process of it is left.
    ///
    /// # Errors
    /// [`ClusterError::WillNotStop`].
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        let stop = move || self.supervisor.stop();
        tokio::task::spawn_blocking(stop)
            .await
            .map_err(|error| ClusterError::io("postgres", std::io::Error::other(error)))?
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.supervisor.stop() {
            tracing::error!(%error, "Postgres was left running");
        }
    }
}

/// A fresh file of ours in `folder`: tells who we are.
fn probe(folder: &Path) -> Result<PathBuf, ClusterError> {
    let path = folder.join(".owner");
    // An old one may be someone else's; that there is none is fine.
    let _ = fs::remove_file(&path);
    fs::write(&path, b"").map_err(|error| ClusterError::io(&path, error))?;
    Ok(path)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), ClusterError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| ClusterError::io(path, error))
}

/// Runs initdb into another folder and renames it: a crash half way leaves nothing that looks like a cluster.
fn initialise(postmaster: &Postmaster, durability: Durability) -> Result<(), ClusterError> {
    let half = postmaster.data.with_extension("new");
    if half.exists() {
        fs::remove_dir_all(&half).map_err(|error| ClusterError::io(&half, error))?;
    }
    let mut initdb = postmaster.users.command(&postmaster.binaries.program("initdb"));
    initdb.arg("-D").arg(&half).args(["-U", SUPERUSER, "--auth=peer", "--encoding=UTF8", "--locale=C"]);
    initdb.arg("--data-checksums");
    if durability == Durability::Test {
        initdb.arg("--no-sync");
    }
    let output = initdb.stdin(Stdio::null()).output().map_err(|error| ClusterError::io(&half, error))?;
    if !output.status.success() {
        return Err(ClusterError::Initdb {
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    fs::rename(&half, &postmaster.data).map_err(|error| ClusterError::io(&postmaster.data, error))
}

fn check_version(postmaster: &Postmaster) -> Result<(), ClusterError> {
    let path = postmaster.data.join("PG_VERSION");
    let found = fs::read_to_string(&path).map_err(|error| ClusterError::io(&path, error))?.trim().to_owned();
    let installed = postmaster.binaries.major();
    if found == installed.to_string() {
        Ok(())
    } else {
        Err(ClusterError::OtherVersion { data: postmaster.data.clone(), found, installed })
    }
}

/// The cluster's own folder, or, where its path is too long for a socket, a private one under the temporary folder.
fn socket_folder(folder: &Path, users: &OsUsers) -> Result<SocketFolder, ClusterError> {
    let name_bytes = format!("/.s.PGSQL.{PORT}").len();
    if folder.as_os_str().len() + name_bytes <= SOCKET_PATH_BYTES {
        return Ok(SocketFolder { path: folder.to_owned(), temporary: false });
    }
    let bytes = key::random::<8>().map_err(|error| ClusterError::io(folder, std::io::Error::other(error)))?;
    let path = std::env::temp_dir().join(format!("ringfence-{:016x}", u64::from_be_bytes(bytes)));
    // Fails if anything is there already, so that nobody else's folder or link is taken.
    fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| ClusterError::io(&path, error))?;
    let socket = SocketFolder { path, temporary: true };
    users.check_reachable(&socket.path)?;
    users.give(&socket.path)?;
    Ok(socket)
}

fn replace_file(postmaster: &Postmaster, name: &str, text: &str) -> Result<(), ClusterError> {
    let path = postmaster.data.join(name);
    let new = postmaster.data.join(format!("{name}.new"));
    fs::write(&new, text).map_err(|error| ClusterError::io(&new, error))?;
    set_mode(&new, 0o600)?;
    postmaster.users.give(&new)?;
    fs::rename(&new, &path).map_err(|error| ClusterError::io(&path, error))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}
