//! Jobs: what a handler puts into its queue, and what a worker works with, each bound to one tenant.
//!
//! A queue carries the tenant's id and the job token; the id only says at whose endpoint the token is exchanged, and where
//! the two do not agree there is nothing to work with. It needs no trust: whoever reads it is not the worker, and whoever
//! writes to it has no issuer's key.

use ringfence_context::{
    DatabaseToken, Secret, TenantId,
    id::{ClientId, JobName},
};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use crate::{client::Client, session::TenantSession};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const DATABASE_TOKEN: &str = "urn:ringfence:params:oauth:token-type:database-token";
const JOB_TOKEN: &str = "urn:ringfence:params:oauth:token-type:job-token";

/// The tenants' token endpoints.
#[derive(Debug, Clone)]
pub struct Jobs {
    client: Client,
    gateway: String,
    host: String,
}

/// A worker: the client it is at one tenant. It has another at each.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its id.
    pub client: ClientId,
    /// Its secret.
    pub secret: Secret<String>,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The issuer does not answer, or not now: later it may.
    #[error("the tenant's issuer does not answer")]
    Unavailable,
    /// It refuses: the error code of RFC 6749 section 5.2 or RFC 8693 section 2.2.2. This job will not run.
    #[error("the tenant's issuer refuses: {0}")]
    Refused(String),
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Jobs {
    /// The endpoints of issuers under `base_url` ([`crate::trust::Trust::base_url`]), reached at `gateway` (`host:port`).
    pub fn new(client: Client, base_url: &str, gateway: &str) -> Self {
        let host = base_url.split_once("://").map_or(base_url, |(_, host)| host);
        Self { client, gateway: gateway.to_owned(), host: host.to_owned() }
    }

    /// A job token for whoever makes this request: to be put into the queue beside the tenant's id. `worker` is the client
    /// that may run it.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn enqueue(
        &self,
        session: &TenantSession,
        name: &JobName,
        worker: &ClientId,
    ) -> Result<Secret<String>, JobError> {
        let fields = [
            ("subject_token", session.tokens().access.reveal()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", JOB_TOKEN),
            ("scope", &format!("job:{name}")),
            ("audience", worker.as_str()),
        ];
        self.exchange(session.tenant(), &fields).await
    }

    /// An access token of whoever enqueued the job, as they are now: for the gateway and for the next job.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn access_token(
        &self,
        tenant: &TenantId,
        job: &Secret<String>,
        worker: &Worker,
    ) -> Result<Secret<String>, JobError> {
        self.run(tenant, job, worker, ACCESS_TOKEN).await
    }

    /// A database token of theirs: at the guard the password of the user `tenant`.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn database_token(
        &self,
        tenant: &TenantId,
        job: &Secret<String>,
        worker: &Worker,
    ) -> Result<DatabaseToken, JobError> {
        let token = self.run(tenant, job, worker, DATABASE_TOKEN).await?;
        DatabaseToken::new(token.reveal()).map_err(|_| JobError::Unavailable)
    }

    async fn run(
        &self,
        tenant: &TenantId,
        job: &Secret<String>,
        worker: &Worker,
        wanted: &str,
    ) -> Result<Secret<String>, JobError> {
        let fields = [
            ("subject_token", job.reveal().as_str()),
            ("subject_token_type", JOB_TOKEN),
            ("requested_token_type", wanted),
            ("client_id", worker.client.as_str()),
            ("client_secret", worker.secret.reveal()),
        ];
        self.exchange(tenant, &fields).await
    }

    async fn exchange(&self, tenant: &TenantId, fields: &[(&str, &str)]) -> Result<Secret<String>, JobError> {
        let mut form = Serializer::new(String::new());
        let form = form.append_pair("grant_type", GRANT).extend_pairs(fields).finish();
        let path = format!("/t/{tenant}/token");
        let answer = self.client.post_form(&self.gateway, &self.host, &path, form).await;
        let (status, body) = answer.map_err(|_| JobError::Unavailable)?;
        if status.is_success() {
            let granted = serde_json::from_slice::<Granted>(&body).map_err(|_| JobError::Unavailable)?;
            return Ok(Secret::new(granted.access_token));
        }
        if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
            return Err(JobError::Unavailable);
        }
        // Without OAuth's words: nothing is served there, for the tenant is suspended or gone.
        let refused = serde_json::from_slice::<Refused>(&body);
        Err(JobError::Refused(refused.map_or_else(|_| "not_served".to_owned(), |refused| refused.error)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// What one exchange comes to where the endpoint answers so, and what the endpoint was sent.
    async fn exchanged(status: &str, body: &str) -> (Result<String, JobError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap().to_string();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = String::new();
            while !sent.ends_with("s%26cret") {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                sent.push_str(std::str::from_utf8(&part[..read]).unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            sent
        });
        let jobs = Jobs::new(Client::default(), "https://gateway.example", &gateway);
        let worker =
            Worker { client: ClientId::new("worker").unwrap(), secret: Secret::new("s&cret".to_owned()) };
        let job = Secret::new("a.b.c".to_owned());
        let given = jobs.database_token(&TenantId::new("acme").unwrap(), &job, &worker).await;
        (given.map(|token| token.reveal()), served.await.unwrap())
    }

    #[tokio::test]
    async fn a_job_is_exchanged_at_its_tenants_endpoint_and_nothing_of_it_is_in_the_url() {
        let (given, sent) = exchanged("200 OK", r#"{"access_token":"a.b.c~d.e.f"}"#).await;
        assert_eq!(given, Ok("a.b.c~d.e.f".to_owned()));
        assert!(sent.starts_with("POST /t/acme/token HTTP/1.1\r\n"), "{sent}");
        assert!(sent.to_lowercase().contains("\r\nhost: gateway.example\r\n"), "{sent}");
        let (_, form) = sent.split_once("\r\n\r\n").unwrap();
        assert!(form.contains("subject_token=a.b.c&") && form.contains("job-token&"), "{form}");
    }

    #[tokio::test]
    async fn what_may_work_later_is_told_from_what_will_not() {
        let refused = |code: &str| Err(JobError::Refused(code.to_owned()));
        for (status, body, expected) in [
            (
                "400 Bad Request",
                r#"{"error":"access_denied","error_description":"no"}"#,
                refused("access_denied"),
            ),
            ("401 Unauthorized", r#"{"error":"invalid_client"}"#, refused("invalid_client")),
            ("404 Not Found", r#"{"type":"not_served"}"#, refused("not_served")),
            ("503 Service Unavailable", r#"{"error":"temporarily_unavailable"}"#, Err(JobError::Unavailable)),
            ("429 Too Many Requests", r#"{"error":"slow_down"}"#, Err(JobError::Unavailable)),
            ("200 OK", r#"{"access_token":"no database token"}"#, Err(JobError::Unavailable)),
            ("200 OK", "{}", Err(JobError::Unavailable)),
        ] {
            assert_eq!(exchanged(status, body).await.0, expected, "{status} {body}");
        }
    }
}
