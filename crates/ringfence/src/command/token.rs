//! `ringfence token`: signs in as a user, over the same pages and endpoints as everyone; or exchanges a job token, as its
//! worker.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use miette::{Context, IntoDiagnostic, Result, miette};
use ringfence_context::Secret;
use serde_json::json;

use super::user::read_password;
use crate::{
    call::{Caller, Running},
    demo,
    output::print,
    sign_in::{ACCESS_TOKEN, Credential, DATABASE_TOKEN, Issuer, Worker},
};

/// Sign in as a user and print a token, or exchange a job token for one as the worker of its job.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// The user's name
    #[arg(long, required_unless_present = "job_token_file")]
    user: Option<String>,
    /// Read the password from standard input (in a demo it is known)
    #[arg(long)]
    password_stdin: bool,
    /// What the token is for
    #[arg(long = "for", value_enum, default_value = "api")]
    purpose: Purpose,
    /// With --for job: what the job is called
    #[arg(long, value_name = "NAME", required_if_eq("purpose", "job"))]
    job: Option<String>,
    /// The machine client that runs the job: with --for job the one that may, with --job-token-file the one that does
    #[arg(long, value_name = "CLIENT", required_if_eq("purpose", "job"))]
    worker: Option<String>,
    /// Instead of signing in: a file with a job token, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "password_stdin", "job"], requires_all = ["worker", "worker_secret_file"])]
    job_token_file: Option<PathBuf>,
    /// With --job-token-file: a file with the worker's secret
    #[arg(long, value_name = "FILE", requires = "job_token_file")]
    worker_secret_file: Option<PathBuf>,
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
    /// A job token, for a queue: its worker exchanges it for one of the others when the job runs
    Job,
}

impl Token {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let running = Running::load(&self.dir)?;
        let given = match &self.job_token_file {
            Some(file) => self.exchange(&running, file).await?,
            None => self.sign_in(&running).await?,
        };
        match given {
            Given::Token(token) => print(self.json, &json!({ "token": token }), |_| token.clone()),
            Given::Login(login) => print(self.json, &login.json(), |_| login.variables()),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Signs in.
    async fn sign_in(&self, running: &Running) -> Result<Given> {
        let Self { tenant, user, password_stdin, dir, .. } = self;
        let user = user.clone().unwrap_or_default();
        let person = Person { tenant: tenant.clone(), user, password_stdin: *password_stdin };
        Ok(Given::Token(match self.purpose {
            Purpose::Api => person.access_token(running, dir).await?,
            Purpose::Database => person.database_token(running, dir).await?,
            Purpose::Credential => return Ok(Given::Login(person.credential(running, dir).await?)),
            Purpose::Job => {
                let access = person.access_token(running, dir).await?;
                let (job, worker) = (self.job.as_deref(), self.worker.as_deref());
                let caller = Caller::new();
                let issuer = Issuer { caller: &caller, running, tenant };
                issuer.job_token(&access, job.unwrap_or_default(), worker.unwrap_or_default()).await?
            }
        }))
    }

    /// Exchanges a job token, as its worker.
    async fn exchange(&self, running: &Running, job: &Path) -> Result<Given> {
        let secret = self.worker_secret_file.as_deref().map(secret_line).transpose()?;
        let (job, secret) = (secret_line(job)?, secret.unwrap_or(Secret::new(String::new())));
        let worker = Worker { id: self.worker.as_deref().unwrap_or_default(), secret: &secret };
        let caller = Caller::new();
        let issuer = Issuer { caller: &caller, running, tenant: &self.tenant };
        Ok(Given::Token(match self.purpose {
            Purpose::Api => issuer.run(job.reveal(), &worker, ACCESS_TOKEN).await?,
            Purpose::Database => issuer.run(job.reveal(), &worker, DATABASE_TOKEN).await?,
            Purpose::Credential => {
                return Ok(Given::Login(issuer.run_credential(job.reveal(), &worker).await?));
            }
            Purpose::Job => {
                return Err(miette!(
                    help = "exchange it with --for api, and that token for the next job's",
                    "a job token is not exchanged for another"
                ));
            }
        }))
    }
}

/// What is printed.
enum Given {
    Token(String),
    Login(Credential),
}

/// The one line of a file, or of standard input.
fn secret_line(file: &Path) -> Result<Secret<String>> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.into_diagnostic().wrap_err_with(|| file.display().to_string())?;
    let line = text.trim();
    if line.is_empty() {
        Err(miette!("nothing in {}", file.display()))
    } else {
        Ok(Secret::new(line.to_owned()))
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
