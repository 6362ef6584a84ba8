//! `ringfence token`: signs in as a user, over the same pages and endpoints as everyone.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use miette::{Result, miette};
use serde_json::json;

use super::user::read_password;
use crate::{
    call::{Caller, Running},
    demo,
    output::print,
    sign_in::Issuer,
};

/// Sign in as a user and print a token.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The user's tenant
    #[arg(long)]
    tenant: String,
    /// The user's name
    #[arg(long)]
    user: String,
    /// What the token is for
    #[arg(long = "for", value_enum, default_value = "api")]
    purpose: Purpose,
    /// Read the password from standard input (in a demo it is known)
    #[arg(long)]
    password_stdin: bool,
    /// State folder of the plane
    #[arg(long, default_value = "ringfence-data", value_name = "DIR")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    /// An access token, for the gateway
    Api,
    /// A database token, for the guard: user = tenant, password = this token
    Database,
}

impl Token {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let Self { tenant, user, purpose, password_stdin, dir, json } = self;
        let running = Running::load(&dir)?;
        let password = match demo::password(&dir, &tenant, &user) {
            Some(password) if !password_stdin => password,
            _ if password_stdin => read_password()?,
            _ => {
                return Err(miette!(
                    help = "pass it with --password-stdin",
                    "the password of {user} is not known"
                ));
            }
        };
        let caller = Caller::new();
        let issuer = Issuer { caller: &caller, running: &running, tenant: &tenant };
        let access = issuer.sign_in(&user, &password).await?;
        let token = match purpose {
            Purpose::Api => access,
            Purpose::Database => issuer.database_token(&access).await?,
        };
        print(json, &json!({ "token": token }), |_| token.clone());
        Ok(ExitCode::SUCCESS)
    }
}
