//! A small HTTP client for the plane: JSON over kept-alive connections, with a bound on time and size.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client as Hyper, connect::HttpConnector},
    rt::TokioExecutor,
};

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES: usize = 256 * 1024;

/// The plane did not answer as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the plane does not answer")]
pub struct NoAnswer;

/// The client.
#[derive(Debug, Clone)]
pub struct Client(Hyper<HttpConnector, Full<Bytes>>);

impl Default for Client {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(TIMEOUT));
        Self(Hyper::builder(TokioExecutor::new()).build(connector))
    }
}

impl Client {
    /// Gets a document.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn get(&self, uri: Uri) -> Result<(StatusCode, Bytes), NoAnswer> {
        self.send(Request::get(uri).body(Full::default()).map_err(|_| NoAnswer)?).await
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn post(
        &self,
        uri: Uri,
        headers: HeaderMap,
        json: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let mut request = Request::post(uri).body(Full::new(Bytes::from(json))).map_err(|_| NoAnswer)?;
        *request.headers_mut() = headers;
        request
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        self.send(request).await
    }

    /// Posts a form to whoever answers at `authority`, under the name `host`.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn post_form(
        &self,
        authority: &str,
        host: &str,
        path: &str,
        form: String,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let request = Request::post(format!("http://{authority}{path}"))
            .header(http::header::HOST, host)
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)));
        self.send(request.map_err(|_| NoAnswer)?).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), NoAnswer> {
        let answering = async {
            let response = self.0.request(request).await.map_err(|_| NoAnswer)?;
            let status = response.status();
            let body =
                Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|_| NoAnswer)?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(TIMEOUT, answering).await.map_err(|_| NoAnswer)?
    }
}
