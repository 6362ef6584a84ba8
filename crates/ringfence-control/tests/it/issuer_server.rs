//! An OpenID Connect provider on loopback, over real TLS, with an authority of its own: it serves what it was told, and
//! counts who asks for what.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ringfence_context::key::SigningKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Hosts it has a certificate for.
const HOSTS: &[&str] = &[
    "login.example.com",
    "keys.example.com",
    "other.example.com",
    "cognito-idp.eu-central-1.amazonaws.com",
    "127.0.0.1",
    "127.0.0.2",
];

/// What it answers.
#[allow(dead_code, reason = "two test programs read this file, and not each serves every page")]
#[derive(Clone)]
pub(crate) enum Page {
    /// This.
    Body(Bytes),
    /// That it is elsewhere.
    Elsewhere(String),
    /// Nothing, ever.
    Never,
}

/// The provider.
#[derive(Clone)]
pub(crate) struct IssuerServer {
    pub(crate) address: SocketAddr,
    /// Its authority's certificate, in PEM.
    pub(crate) authority: String,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl IssuerServer {
    /// Serves on 127.0.0.1 and, at the same port, on 127.0.0.2.
    pub(crate) async fn start() -> Self {
        let (authority, acceptor) = certified();
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = one.local_addr().unwrap();
        let two = TcpListener::bind(("127.0.0.2", address.port())).await.unwrap();
        let server = Self { address, authority, pages: Arc::default(), asked: Arc::default() };
        for listener in [one, two] {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    server.note(format!("connection to {}", stream.local_addr().unwrap().ip()));
                    let (server, acceptor) = (server.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        // Who does not believe the certificate goes away here.
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let service = service_fn(|request| server.answer(request));
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        }
        server
    }

    /// Serves a page at `host/path`.
    pub(crate) fn page(&self, at: &str, page: Page) {
        self.pages.lock().unwrap().insert(at.to_owned(), page);
    }

    /// Serves what an issuer says of itself, and its keys beside it.
    pub(crate) fn issuer(&self, issuer: &str, keys: &[Value]) {
        let at = issuer.strip_prefix("https://").unwrap().trim_end_matches('/');
        let metadata = json!({ "issuer": issuer, "jwks_uri": format!("https://{at}/keys"), "authorization_endpoint": "x" });
        self.page(&format!("{at}/.well-known/openid-configuration"), body(&metadata));
        self.page(&format!("{at}/keys"), body(&json!({ "keys": keys })));
    }

    /// How often this was asked for.
    pub(crate) fn asked(&self, at: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == at).count()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
        let at = format!("{host}{}", request.uri().path());
        self.note(at.clone());
        let page = self.pages.lock().unwrap().get(&at).cloned();
        let answer = Response::builder();
        Ok(match page {
            Some(Page::Body(body)) => answer.body(Full::new(body)),
            Some(Page::Elsewhere(location)) => {
                answer.status(StatusCode::FOUND).header(header::LOCATION, location).body(Full::default())
            }
            Some(Page::Never) => std::future::pending().await,
            None => answer.status(StatusCode::NOT_FOUND).body(Full::default()),
        }
        .unwrap())
    }
}

/// A page that says this.
pub(crate) fn body(value: &Value) -> Page {
    Page::Body(value.to_string().into())
}

/// A key of Ed25519, with what an issuer publishes of it.
pub(crate) fn key() -> (SigningKey, Value) {
    let (key, _) = SigningKey::generate().unwrap();
    let published = serde_json::to_value(key.public().jwk()).unwrap();
    (key, published)
}

fn certified() -> (String, TlsAcceptor) {
    let provider = || Arc::new(aws_lc_rs::default_provider());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let text = STANDARD.encode(authority.self_signed(&key).unwrap().der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let issuer = Issuer::new(authority, key);
    let hosts: Vec<String> = HOSTS.iter().map(|host| (*host).to_owned()).collect();
    let own = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(hosts).unwrap().signed_by(&own, &issuer).unwrap();
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .unwrap();
    (pem, TlsAcceptor::from(Arc::new(config)))
}
