//! Commands, one file each.

mod access_key;
mod audit;
mod client;
mod data;
mod entity;
mod explain;
mod init;
mod move_data;
mod move_store;
mod operator;
pub(crate) use init::write_new;
mod policy;
mod prove;
mod shard;
mod status;
mod tenant;
mod token;
mod up;
mod user;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use miette::{Context, IntoDiagnostic, Result};
use ringfence_context::Secret;
use ringfence_control::{Plane, prover};

/// What `ringfence` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented ringfence.toml, to put in front of your own application
    Init(init::Init),
    /// Run the plane: gateway, issuers, API, guard
    Up(up::Up),
    /// Manage tenants
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Manage a tenant's users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Manage a tenant's clients
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Manage a tenant's policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Manage a tenant's stored entities
    #[command(subcommand)]
    Entity(entity::EntityCommand),
    /// Manage operators: who may run the plane, write policies, approve them
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Manage access keys of the policy service
    #[command(subcommand)]
    AccessKey(access_key::AccessKeyCommand),
    /// Show who changed a tenant's users, clients, access keys and the place of its policies
    Audit(audit::Audit),
    /// Sign in as a user and print an access or database token
    Token(token::Token),
    /// Show every layer's verdict on one request
    Explain(explain::Explain),
    /// Show how current the policies are and how long changes take to be enforced
    Status(status::Status),
    /// Look over the database you already have
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Look at what shuffle sharding gives: how far a tenant that breaks its workers reaches
    #[command(subcommand)]
    Shard(shard::ShardCommand),
    /// Attack a private copy of the chain: whole, with each layer broken, with each pair broken
    Prove(prove::Prove),
    /// Prove one store that is told on standard input: what the plane starts for each proof
    #[command(hide = true)]
    Prover,
}

impl Command {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Init(command) => command.run(),
            Self::Up(command) => command.run().await,
            Self::Tenant(command) => command.run().await,
            Self::User(command) => command.run().await,
            Self::Client(command) => command.run().await,
            Self::Policy(command) => command.run().await,
            Self::Entity(command) => command.run().await,
            Self::Operator(command) => command.run().await,
            Self::AccessKey(command) => command.run().await,
            Self::Audit(command) => command.run().await,
            Self::Token(command) => command.run().await,
            Self::Explain(command) => command.run().await,
            Self::Status(command) => command.run().await,
            Self::Data(command) => command.run().await,
            Self::Shard(command) => command.run(),
            Self::Prove(command) => command.run().await,
            Self::Prover => tokio::task::spawn_blocking(prover::answer).await.into_diagnostic(),
        }
    }
}

/// What most commands take.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// State folder of the plane
    #[arg(long, default_value = "ringfence-data", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// A file with the token of the operator to act as, instead of the plane's first one
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Common {
    /// The token of the operator to act as.
    pub(crate) fn operator_token(&self) -> Result<Secret<String>> {
        let Some(path) = &self.token_file else { return Plane::operator_token(&self.dir).into_diagnostic() };
        let text = std::fs::read_to_string(path).into_diagnostic();
        let text = text.wrap_err_with(|| path.display().to_string())?;
        Ok(Secret::new(text.trim().to_owned()))
    }
}
