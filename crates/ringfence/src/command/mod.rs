//! Commands, one file each.

mod access_key;
mod client;
mod entity;
mod explain;
mod init;
pub(crate) use init::write_new;
mod policy;
mod prove;
mod tenant;
mod token;
mod up;
mod user;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use miette::Result;

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
    /// Manage access keys of the policy service
    #[command(subcommand)]
    AccessKey(access_key::AccessKeyCommand),
    /// Sign in as a user and print an access or database token
    Token(token::Token),
    /// Show every layer's verdict on one request
    Explain(explain::Explain),
    /// Attack a private copy of the chain: whole, with each layer broken, with each pair broken
    Prove(prove::Prove),
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
            Self::AccessKey(command) => command.run().await,
            Self::Token(command) => command.run().await,
            Self::Explain(command) => command.run().await,
            Self::Prove(command) => command.run().await,
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
}
