//! `ringfence data`: the schema you already have.

mod adopt;
mod lint;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use miette::{Context, IntoDiagnostic, Result, miette};
use ringfence_context::{Secret, key};
use ringfence_guard::{Binaries, structure::Structure};
use tokio_postgres::{Client, Config, NoTls, config::SslMode};

use crate::output::printable;

/// What is done with a database that is not Ringfence's own.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Find out which tables of a database belong to tenants, and by what evidence
    Adopt(adopt::Adopt),
    /// Look a database over for everything known to let one tenant's rows out to another
    Lint(lint::Lint),
}

impl DataCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Adopt(command) => command.run().await,
            Self::Lint(command) => command.run().await,
        }
    }
}

/// Which database.
#[derive(Debug, Args)]
struct Database {
    /// Where it is, as libpq's URLs or keywords say it. Others on this machine may read what is written here: a password
    /// belongs into the variable
    #[arg(value_name = "DSN", env = "DATABASE_URL", hide_env_values = true)]
    dsn: Option<String>,
    /// A schema in a file instead, as `pg_dump --schema-only` writes it: it is read by a Postgres of its own, which is gone
    /// afterwards
    #[arg(long, value_name = "FILE")]
    structure: Option<PathBuf>,
}

/// A database that is looked at.
struct Looked {
    client: Client,
    /// The Postgres it is in, where that is its own, and its folder.
    own: Option<(Structure, PathBuf)>,
}

impl Database {
    async fn connect(self) -> Result<Looked> {
        if let Some(file) = &self.structure {
            return structure(file).await;
        }
        let dsn = self.dsn.filter(|dsn| !dsn.is_empty()).map(Secret::new);
        let dsn = dsn.ok_or_else(|| {
            miette!("name the database: postgres://user@host/name, or set DATABASE_URL, or --structure with a file")
        })?;
        // What is wrong with it is said without it: it may hold a password.
        let mut config: Config =
            dsn.reveal().parse().into_diagnostic().wrap_err("the name of the database")?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(miette!(
                "connections over TLS are not made yet: ask on the server, or through a tunnel, with sslmode=prefer"
            ));
        }
        config.application_name("ringfence");
        let connected = config.connect(NoTls).await;
        let (client, connection) = connected.into_diagnostic().wrap_err("connecting to the database")?;
        tokio::spawn(async move {
            // Whoever asks sees the same error.
            let _ = connection.await;
        });
        Ok(Looked { client, own: None })
    }
}

async fn structure(file: &Path) -> Result<Looked> {
    let named = || file.display().to_string();
    let text = std::fs::read_to_string(file).into_diagnostic().wrap_err_with(named)?;
    let binaries = Binaries::find(None).into_diagnostic()?;
    let id = key::random::<8>().into_diagnostic()?;
    let folder = std::env::temp_dir().join(format!("ringfence-structure-{:016x}", u64::from_be_bytes(id)));
    let loaded = Structure::load(&text, folder.clone(), binaries).await;
    let structure = match loaded {
        Ok(structure) => structure,
        Err(error) => {
            remove(&folder);
            return Err(error).into_diagnostic().wrap_err_with(named);
        }
    };
    for what in structure.left_out() {
        eprintln!("ringfence: not installed here, so left out: {}", printable(what));
    }
    let client = structure.connect().await.into_diagnostic()?;
    Ok(Looked { client, own: Some((structure, folder)) })
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        eprintln!("ringfence: {} stays: {error}", folder.display());
    }
}

impl Drop for Looked {
    fn drop(&mut self) {
        if let Some((structure, folder)) = self.own.take() {
            // Its Postgres stops with it.
            drop(structure);
            remove(&folder);
        }
    }
}
