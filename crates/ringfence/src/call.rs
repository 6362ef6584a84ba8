//! Calls to a running plane.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use miette::{Context, IntoDiagnostic, Result, bail, miette};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::Common;

const TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Where a running plane answers: written below its state folder by `ringfence up`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The base URL.
    pub(crate) base_url: String,
    /// `host:port` that the base URL's connections go to.
    pub(crate) gateway: String,
    /// `host:port` of the API.
    pub(crate) api: String,
    /// `host:port` of the guard.
    pub(crate) guard: String,
    /// The database behind it.
    pub(crate) database: String,
}

/// File name of [`Running`].
pub(crate) const RUNNING: &str = "running.json";

impl Running {
    /// Reads where the plane of `dir` answers.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(RUNNING);
        let text = std::fs::read_to_string(&path).map_err(|_| {
            miette!(
                help = "start it with `ringfence up`, or name its state folder with --dir",
                "no plane runs in {}",
                dir.display()
            )
        })?;
        serde_json::from_str(&text).into_diagnostic().wrap_err("running.json")
    }
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Its body as JSON, if it is a success; otherwise what it says is wrong.
    pub(crate) fn json(&self) -> Result<Value> {
        if !self.status.is_success() {
            return Err(self.problem());
        }
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).into_diagnostic().wrap_err("the answer is not JSON")
    }

    fn problem(&self) -> miette::Report {
        let told: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| told.get(name).and_then(Value::as_str);
        let title = text("title").or(text("error_description")).or(text("error"));
        let title = title.map_or_else(|| format!("answered {}", self.status), str::to_owned);
        match (text("advice"), text("layer"), text("reference")) {
            (Some(advice), Some(layer), Some(reference)) => {
                miette!(help = format!("{advice} (layer {layer}, reference {reference})"), "{title}")
            }
            _ => miette!("{title}"),
        }
    }
}

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Client<HttpConnector, Full<Bytes>>);

impl Caller {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build(HttpConnector::new()))
    }

    /// Sends a request to `authority`, whatever its `Host` says.
    pub(crate) async fn send(
        &self,
        authority: &str,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{authority}{path}"))
            .body(Full::new(body.into()))
            .into_diagnostic()?;
        *request.headers_mut() = headers;
        let answering = async {
            let response = self.0.request(request).await.map_err(|_| {
                miette!(
                    help = "is it running? start it with `ringfence up`",
                    "nothing answers at {authority}"
                )
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.map_err(|_| miette!("the answer broke off"))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        match tokio::time::timeout(TIMEOUT, answering).await {
            Ok(answer) => answer,
            Err(_) => bail!("no answer from {authority} within a minute"),
        }
    }

    /// Calls the API of the plane of a state folder, as its first operator or as the one whose token is named.
    pub(crate) async fn api(
        &self,
        common: &Common,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.api_text(common, method, path, "application/json", body).await
    }

    /// The same, with a body of another type.
    pub(crate) async fn api_text(
        &self,
        common: &Common,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: String,
    ) -> Result<Value> {
        let running = Running::load(&common.dir)?;
        let token = common.operator_token()?;
        let mut headers = bearer(token.reveal())?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.send(&running.api, method, path, headers, body).await?.json()
    }
}

/// An `Authorization` header.
pub(crate) fn bearer(token: &str) -> Result<HeaderMap> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).into_diagnostic()?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
}
