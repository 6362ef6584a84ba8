//! TLS on both of the guard's sides: towards clients, whose password is a token, and towards Postgres.

use std::{fmt, io, sync::Arc};

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// The protocol's name in ALPN, without which a client may not begin with TLS at once (IANA's registry; Postgres 17).
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Why certificates are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing in it.
    #[error("there is no {0} in PEM in it")]
    Missing(&'static str),
    /// They don't fit each other, or are not understood.
    #[error(transparent)]
    Rustls(#[from] tokio_rustls::rustls::Error),
}

/// Who the guard is to its clients: a certificate and its key.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

/// By whose word Postgres is who it says.
#[derive(Clone)]
pub struct Authorities(Arc<ClientConfig>);

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Identity")
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authorities")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Identity {
    /// From a chain of certificates, the guard's own first, and its private key, both in PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Missing("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Missing("private key"))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

impl Authorities {
    /// Those in `pem` and nobody else; without it, those browsers believe.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(pem: Option<&[u8]>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match pem {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.map_err(|_| TlsError::Missing("certificate"))?)?;
                }
                if roots.is_empty() {
                    return Err(TlsError::Missing("certificate"));
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// What `tokio_postgres` connects by.
    pub(crate) fn connector(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new((*self.0).clone())
    }

    /// Begins TLS with who must be `host`.
    pub(crate) async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let host = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.0)).connect(host, stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_said() {
        assert!(matches!(Identity::new(b"", b""), Err(TlsError::Missing("certificate"))));
        assert!(matches!(Authorities::new(Some(b"hello")), Err(TlsError::Missing("certificate"))));
        let own = rcgen::generate_simple_self_signed(["guard.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["guard.example".to_owned()]).unwrap();
        let chain = own.cert.pem();
        assert!(Identity::new(chain.as_bytes(), own.signing_key.serialize_pem().as_bytes()).is_ok());
        assert!(matches!(Identity::new(chain.as_bytes(), b"hello"), Err(TlsError::Missing("private key"))));
        let mixed = Identity::new(chain.as_bytes(), other.signing_key.serialize_pem().as_bytes());
        assert!(matches!(mixed, Err(TlsError::Rustls(_))));
    }
}
