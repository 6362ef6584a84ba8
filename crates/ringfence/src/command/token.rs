//! `ringfence token`: signs in as a user, over the same pages and endpoints as everyone.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use miette::{Result, miette};
use serde_json::json;

use super::user::read_password;
use crate::{
    call::{Caller, Running},
    demo,
    output::print,
    sign_in::{Credential, Issuer},
};

/// Sign in as a user and print a token.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(flatten)]
    person: Person,
    /// What the token is for
    #[arg(long = "for", value_enum, default_value = "api")]
    purpose: Purpose,
    /// State folder of the plane
    #[arg(long, default_value = "ringfence-data", value_name = "DIR")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Who signs in.
#[derive(Debug, Args)]
pub(crate) struct Person {
    /// The user's tenant
    #[arg(long)]
    pub(crate) tenant: String,
    /// The user's name
    #[arg(long)]
    user: String,
    /// Read the password from standard input (in a demo it is known)
    #[arg(long)]
    password_stdin: bool,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    /// An access token, for the gateway
    Api,
    /// A database token, for the guard: user = tenant, password = this token
    Database,
    /// A login to the tenant's own database, without the guard, as libpq's variables
    Credential,
}

impl Token {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let Self { person, purpose, dir, json } = self;
        let running = Running::load(&dir)?;
        let token = match purpose {
            Purpose::Api => person.access_token(&running, &dir).await?,
            Purpose::Database => person.database_token(&running, &dir).await?,
            Purpose::Credential => {
                let credential = person.credential(&running, &dir).await?;
                print(json, &credential.json(), |_| credential.variables());
                return Ok(ExitCode::SUCCESS);
            }
        };
        print(json, &json!({ "token": token }), |_| token.clone());
        Ok(ExitCode::SUCCESS)
    }
}

impl Person {
    /// Signs in, for the gateway.
    async fn access_token(&self, running: &Running, dir: &Path) -> Result<String> {
        let password = match demo::password(dir, &self.tenant, &self.user) {
            Some(password) if !self.password_stdin => password,
            _ if self.password_stdin => read_password()?,
            _ => {
                return Err(miette!(
                    help = "pass it with --password-stdin",
                    "the password of {} is not known",
                    self.user
                ));
            }
        };
        let caller = Caller::new();
        Issuer { caller: &caller, running, tenant: &self.tenant }.sign_in(&self.user, &password).await
    }

    /// Signs in, for the guard.
    pub(crate) async fn database_token(&self, running: &Running, dir: &Path) -> Result<String> {
        let access = self.access_token(running, dir).await?;
        let caller = Caller::new();
        Issuer { caller: &caller, running, tenant: &self.tenant }.database_token(&access).await
    }

    /// Signs in, for the tenant's own database.
    async fn credential(&self, running: &Running, dir: &Path) -> Result<Credential> {
        let access = self.access_token(running, dir).await?;
        let caller = Caller::new();
        Issuer { caller: &caller, running, tenant: &self.tenant }.credential(&access).await
    }
}
