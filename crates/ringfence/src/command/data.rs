//! `ringfence data`: the schema you already have.

mod adopt;
mod lint;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use miette::{Context, IntoDiagnostic, Result, miette};
use ringfence_context::Secret;
use tokio_postgres::{Client, Config, NoTls, config::SslMode};

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
}

impl Database {
    async fn connect(self) -> Result<Client> {
        let dsn = self.dsn.filter(|dsn| !dsn.is_empty()).map(Secret::new);
        let dsn =
            dsn.ok_or_else(|| miette!("name the database: postgres://user@host/name, or set DATABASE_URL"))?;
        // What is wrong with it is said without it: it may hold a password.
        let mut config: Config =
            dsn.reveal().parse().into_diagnostic().wrap_err("the name of the database")?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(miette!(
                "connections over TLS are not made yet: ask on the server, or through a tunnel, with sslmode=prefer"
            ));
        }
        config.application_name("ringfence");
        let (client, connection) =
            config.connect(NoTls).await.into_diagnostic().wrap_err("connecting to the database")?;
        tokio::spawn(async move {
            // Whoever asks sees the same error.
            let _ = connection.await;
        });
        Ok(client)
    }
}
