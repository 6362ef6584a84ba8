//! Signing in as a person does, without a browser: authorization code with PKCE (RFC 6749, RFC 7636) against the
//! tenant's own issuer.

use http::{HeaderMap, HeaderValue, Method, header};
use miette::{IntoDiagnostic, Result, miette};
use ringfence_context::{
    Secret,
    key::{base64url, random, sha256},
};
use ringfence_control::workflow::CLI_CLIENT;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::call::{Answer, Caller, Running};

const CALLBACK: &str = "http://127.0.0.1/callback";

/// Types of tokens (RFC 8693 section 3, and the plane's own).
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const DATABASE_TOKEN: &str = "urn:ringfence:params:oauth:token-type:database-token";
const DATABASE_CREDENTIAL: &str = "urn:ringfence:params:oauth:token-type:database-credential";
const JOB_TOKEN: &str = "urn:ringfence:params:oauth:token-type:job-token";

/// What is exchanged.
enum Subject<'a> {
    Access(&'a str),
    Job(&'a str),
}

/// A worker's client, with its secret.
pub(crate) struct Worker<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a Secret<String>,
}

impl Worker<'_> {
    fn shown(&self) -> [(&str, &str); 2] {
        [("client_id", self.id), ("client_secret", self.secret.reveal())]
    }
}

/// A login to a tenant's own database, as its issuer gives it.
#[derive(Deserialize)]
pub(crate) struct Credential {
    access_token: String,
    expires_in: u64,
    database: Database,
}

/// Where and as whom it logs in.
#[derive(Deserialize)]
struct Database {
    host: String,
    port: u16,
    dbname: String,
    user: String,
    sslmode: String,
}

impl Credential {
    /// The variables that libpq and what is made of it read, a line each (Postgres' documentation, libpq, environment variables).
    pub(crate) fn variables(&self) -> String {
        let Self { access_token, database: Database { host, port, dbname, user, sslmode }, .. } = self;
        format!(
            "PGHOST={host}\nPGPORT={port}\nPGDATABASE={dbname}\nPGUSER={user}\nPGPASSWORD={access_token}\nPGSSLMODE={sslmode}"
        )
    }

    /// The same by libpq's names, with the seconds it is good for.
    pub(crate) fn json(&self) -> Value {
        let Self { access_token, expires_in, database: Database { host, port, dbname, user, sslmode } } =
            self;
        json!({
            "host": host, "port": port, "dbname": dbname, "user": user, "password": access_token, "sslmode": sslmode,
            "expires_in": expires_in,
        })
    }
}

/// A tenant's issuer, as the command line talks to it.
pub(crate) struct Issuer<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) running: &'a Running,
    pub(crate) tenant: &'a str,
}

impl Issuer<'_> {
    /// An access token for a user.
    pub(crate) async fn sign_in(&self, username: &str, password: &str) -> Result<String> {
        let verifier = base64url(&random::<32>().into_diagnostic()?);
        let state = base64url(&random::<16>().into_diagnostic()?);
        let challenge = base64url(&sha256(verifier.as_bytes()));
        let query = form(&[
            ("response_type", "code"),
            ("client_id", CLI_CLIENT),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let page = self.send(Method::GET, &format!("/authorize?{query}"), String::new()).await?;
        let ticket = ticket(&page).ok_or_else(|| page.json().err().unwrap_or(miette!("no sign-in page")))?;
        let signed = form(&[("ticket", &ticket), ("username", username), ("password", password)]);
        let redirect = self.send(Method::POST, "/sign-in", signed).await?;
        let code = code(&redirect, &state)
            .ok_or_else(|| miette!(help = "check the user name and the password", "sign-in failed"))?;
        let spend = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", CLI_CLIENT),
            ("redirect_uri", CALLBACK),
            ("code", &code),
            ("code_verifier", &verifier),
        ]);
        self.token(spend).await
    }

    /// An access token for a machine client.
    pub(crate) async fn machine(&self, client_id: &str, client_secret: &str) -> Result<String> {
        let grant = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", client_secret),
        ];
        self.token(form(&grant)).await
    }

    /// A database token for an access token (RFC 8693).
    pub(crate) async fn database_token(&self, access: &str) -> Result<String> {
        self.token(exchange(Subject::Access(access), DATABASE_TOKEN, &[])).await
    }

    /// A job token for an access token, of the job of this name, for the worker that is to run it.
    pub(crate) async fn job_token(&self, access: &str, job: &str, worker: &str) -> Result<String> {
        let scope = format!("job:{job}");
        let more = [("scope", scope.as_str()), ("audience", worker)];
        self.token(exchange(Subject::Access(access), JOB_TOKEN, &more)).await
    }

    /// What a worker is given for a job token: an access token or a database token.
    pub(crate) async fn run(&self, job: &str, worker: &Worker<'_>, wanted: &str) -> Result<String> {
        self.token(exchange(Subject::Job(job), wanted, &worker.shown())).await
    }

    /// A login to the tenant's own database for an access token (RFC 8693).
    pub(crate) async fn credential(&self, access: &str) -> Result<Credential> {
        self.login(exchange(Subject::Access(access), DATABASE_CREDENTIAL, &[])).await
    }

    /// The same for a job token.
    pub(crate) async fn run_credential(&self, job: &str, worker: &Worker<'_>) -> Result<Credential> {
        self.login(exchange(Subject::Job(job), DATABASE_CREDENTIAL, &worker.shown())).await
    }

    async fn login(&self, form: String) -> Result<Credential> {
        let answer = self.send(Method::POST, "/token", form).await?;
        serde_json::from_value(answer.json()?).map_err(|_| miette!("the issuer gave no login"))
    }

    async fn token(&self, form: String) -> Result<String> {
        let answer = self.send(Method::POST, "/token", form).await?.json()?;
        let token = answer.get("access_token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| miette!("the issuer gave no token"))
    }

    async fn send(&self, method: Method, path: &str, form: String) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        let host = self.running.base_url.split_once("://").map_or("", |(_, host)| host);
        headers.insert(header::HOST, HeaderValue::from_str(host).into_diagnostic()?);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
        let path = format!("/t/{}{path}", self.tenant);
        self.caller.send(&self.running.gateway, method, &path, headers, form).await
    }
}

/// A token exchange (RFC 8693 section 2.1).
fn exchange(subject: Subject<'_>, wanted: &str, more: &[(&str, &str)]) -> String {
    let (token, kind) = match subject {
        Subject::Access(token) => (token, ACCESS_TOKEN),
        Subject::Job(token) => (token, JOB_TOKEN),
    };
    let exchange = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", kind),
        ("requested_token_type", wanted),
    ];
    form(&[&exchange, more].concat())
}

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The hidden ticket of the sign-in form.
fn ticket(page: &Answer) -> Option<String> {
    let text = std::str::from_utf8(&page.body).ok()?;
    let (_, rest) = text.split_once("name=\"ticket\" value=\"")?;
    rest.split_once('"').map(|(ticket, _)| ticket.to_owned())
}

/// The code of the redirect, if it is ours.
fn code(redirect: &Answer, state: &str) -> Option<String> {
    let location = redirect.headers.get(header::LOCATION)?.to_str().ok()?;
    let url = url::Url::parse(location).ok()?;
    let get = |wanted: &str| {
        url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    (get("state").as_deref() == Some(state)).then(|| get("code")).flatten()
}
