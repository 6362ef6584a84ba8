//! One document of an issuer, fetched over HTTPS.
//!
//! Who the issuer is a tenant has said, so what is fetched is what a tenant wants the plane to ask for. It guarantees that
//! the plane connects to the very address that was looked at, and to none inside where the operator has not said so for
//! that issuer; that the certificate is the host's, by authorities the operator believes; that no redirect is followed
//! and no proxy asked; and that little is read, for a short time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::body::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ringfence_context::limits;
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::foreign::{address::is_public, allowed::Entry, url::IssuerUrl};

/// Most addresses of one name that are looked at.
const ADDRESSES: usize = 16;

/// Largest head of an answer, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// Why a document was not fetched: for the operator's log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchFault {
    /// Its name leads nowhere.
    #[error("{0} has no address: {1}")]
    Name(String, String),
    /// It is inside, and the operator has not said that it may be.
    #[error(
        "{0} leads to {1}, which is not public: if it is to be asked there, set private_addresses or address for it, in issuers of [avp]"
    )]
    Inside(String, IpAddr),
    /// No connection.
    #[error("{0} does not answer: {1}")]
    Connection(String, String),
    /// It answered something else.
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    /// What it answered is too much, or broke off.
    #[error("the answer of {0} broke off, or has more than {most} bytes", most = limits::ISSUER_DOCUMENT_BYTES)]
    Body(String),
    /// What it answered is not what was asked for.
    #[error("{0} {1}")]
    Form(String, String),
    /// It took too long.
    #[error("{0} took more than {most} seconds", most = limits::ISSUER_ANSWER_SECONDS)]
    TooSlow(String),
}

/// Fetches.
#[derive(Clone)]
pub(crate) struct Fetch(TlsConnector);

impl Fetch {
    /// With the authorities browsers believe, and those of `more`, certificates in PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(more: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = more {
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("not certificates in PEM: {error}"))?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
            if roots.len() == before {
                return Err("there is no certificate in it".to_owned());
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Fetches what is at `url`, which `entry` allows.
    pub(crate) async fn get(&self, url: &IssuerUrl, entry: &Entry) -> Result<Bytes, FetchFault> {
        let name = url.authority();
        let unanswered = |error: String| FetchFault::Connection(name.clone(), error);
        let stream = connect(url, entry).await?;
        let host = ServerName::try_from(url.host.clone()).map_err(|error| unanswered(error.to_string()))?;
        let stream = self.0.connect(host, stream).await.map_err(|error| unanswered(error.to_string()))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unanswered(error.to_string()))?;
        // It ends with this call, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::get(if url.path.is_empty() { "/" } else { &url.path })
            .header(header::HOST, &name)
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| unanswered(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|error| unanswered(error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchFault::Status(name, answer.status()));
        }
        let body = Limited::new(answer.into_body(), limits::ISSUER_DOCUMENT_BYTES).collect().await;
        Ok(body.map_err(|_| FetchFault::Body(name))?.to_bytes())
    }
}

/// Connects to where a name leads: to an address that was looked at, and not by the name again.
async fn connect(url: &IssuerUrl, entry: &Entry) -> Result<TcpStream, FetchFault> {
    let mut last = String::new();
    for address in addresses(url, entry).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(FetchFault::Connection(url.authority(), last))
}

async fn addresses(url: &IssuerUrl, entry: &Entry) -> Result<Vec<SocketAddr>, FetchFault> {
    if let Some(address) = entry.address {
        return Ok(vec![address]);
    }
    let nowhere = |error: String| FetchFault::Name(url.host.clone(), error);
    let found =
        lookup_host((url.host.as_str(), url.port)).await.map_err(|error| nowhere(error.to_string()))?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES).collect();
    // One that is inside makes all of them suspect: whoever answers for the name mixes them.
    let inside = found.iter().map(SocketAddr::ip).find(|address| !is_public(*address));
    match inside {
        Some(address) if !entry.private => Err(FetchFault::Inside(url.host.clone(), address)),
        _ if found.is_empty() => Err(nowhere("nothing was found".to_owned())),
        _ => Ok(found),
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fetch")
    }
}
