//! `ringfence data`: the schema you already have.

mod adopt;
mod lint;
mod migrate;
mod prove;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use miette::{Context, IntoDiagnostic, Result, miette};
use ringfence_context::{Secret, key};
use ringfence_guard::{Binaries, connect, structure::Structure, tls::Authorities};
use tokio_postgres::{Client, Config, config::SslMode};

use crate::output::printable;

/// What is done with a database that is not Ringfence's own.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Find out which tables of a database belong to tenants, and write the migration that protects them
    Adopt(adopt::Adopt),
    /// Look a database over for everything known to let one tenant's rows out to another
    Lint(lint::Lint),
    /// Bring every database that tenants' rows are in to the last migration
    Migrate(migrate::Migrate),
    /// Plant rows of two made-up tenants in a database, try to reach one's as the other, and roll all of it back
    Prove(prove::Prove),
}

impl DataCommand {
    /// Runs it, or ends it: what it holds, a transaction or a Postgres of its own, is gone either way.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        tokio::select! {
            done = self.work() => done,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.into_diagnostic()?;
                Err(miette!("interrupted: nothing stays of it"))
            }
        }
    }

    async fn work(self) -> Result<ExitCode> {
        match self {
            Self::Adopt(command) => command.run().await,
            Self::Lint(command) => command.run().await,
            Self::Migrate(command) => command.run().await,
            Self::Prove(command) => command.run().await,
        }
    }
}

/// Where a database is.
#[derive(Debug, Args)]
struct Address {
    /// Where it is, as libpq's URLs or keywords say it. Others on this machine may read what is written here: a password
    /// belongs into the variable
    #[arg(value_name = "DSN", env = "DATABASE_URL", hide_env_values = true)]
    dsn: Option<String>,
    /// With sslmode=require: who may vouch for the server, in PEM, and nobody else. Else those browsers believe
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Which database.
#[derive(Debug, Args)]
struct Database {
    #[command(flatten)]
    address: Address,
    /// A schema in a file instead, as `pg_dump --schema-only` writes it: it is read by a Postgres of its own, which is gone
    /// afterwards
    #[arg(long, value_name = "FILE")]
    structure: Option<PathBuf>,
}

/// A database that is looked at.
struct Looked {
    client: Client,
    /// The Postgres it is in, where that is its own.
    _own: Option<Own>,
}

/// A Postgres of its own, and then its folder, which is gone with it.
struct Own {
    structure: Option<Structure>,
    folder: PathBuf,
}

impl Database {
    async fn connect(self) -> Result<Looked> {
        if let Some(file) = &self.structure {
            return structure(file).await;
        }
        let named = self.address.named();
        let client = named.ok_or_else(|| miette!("{NAME_IT}, or --structure with a file"))?.connect().await?;
        Ok(Looked { client, _own: None })
    }
}

/// What to do where no database is named.
const NAME_IT: &str = "name the database: postgres://user@host/name, or set DATABASE_URL";

/// The name of a database, which may hold a password, and who vouches for its server.
struct Named {
    dsn: Secret<String>,
    ca_file: Option<PathBuf>,
}

impl Address {
    fn named(self) -> Option<Named> {
        let dsn = Secret::new(self.dsn.filter(|dsn| !dsn.is_empty())?);
        Some(Named { dsn, ca_file: self.ca_file })
    }

    async fn connect(self) -> Result<Client> {
        self.named().ok_or_else(|| miette!("{NAME_IT}"))?.connect().await
    }
}

impl Named {
    async fn connect(self) -> Result<Client> {
        // What is wrong with it is said without it.
        let mut config: Config =
            self.dsn.reveal().parse().into_diagnostic().wrap_err("the name of the database")?;
        config.application_name("ringfence");
        let pem =
            self.ca_file.as_ref().map(std::fs::read).transpose().into_diagnostic().wrap_err("--ca-file")?;
        let tls = match config.get_ssl_mode() {
            SslMode::Require => {
                Some(Authorities::new(pem.as_deref()).into_diagnostic().wrap_err("--ca-file")?)
            }
            _ if pem.is_some() => {
                return Err(miette!("--ca-file is of use with sslmode=require, which verifies it all"));
            }
            _ => None,
        };
        connect(&config, tls.as_ref()).await.into_diagnostic().wrap_err("connecting to the database")
    }
}

async fn structure(file: &Path) -> Result<Looked> {
    let named = || file.display().to_string();
    let text = std::fs::read_to_string(file).into_diagnostic().wrap_err_with(named)?;
    let binaries = Binaries::find(None).into_diagnostic()?;
    let id = key::random::<8>().into_diagnostic()?;
    let folder = std::env::temp_dir().join(format!("ringfence-structure-{:016x}", u64::from_be_bytes(id)));
    let mut own = Own { structure: None, folder };
    let loaded = Structure::load(&text, own.folder.clone(), binaries).await;
    let structure = own.structure.insert(loaded.into_diagnostic().wrap_err_with(named)?);
    for what in structure.left_out() {
        eprintln!("ringfence: not installed here, so left out: {}", printable(what));
    }
    let client = structure.connect().await.into_diagnostic()?;
    Ok(Looked { client, _own: Some(own) })
}

impl Drop for Own {
    fn drop(&mut self) {
        // Its Postgres stops with it, or has not begun.
        self.structure = None;
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("ringfence: {} stays: {error}", self.folder.display());
        }
    }
}
