//! What a backend must know to verify for itself: written by `ringfence up`, readable by the backend alone.

use std::{net::SocketAddr, path::Path};

use ringfence_context::{
    Secret,
    key::{Jwks, MacKey, PublicKey, base64url_decode},
    txn::{RequestBinding, TxnVerifier},
};
use serde::{Deserialize, Serialize};

use crate::database::Database;

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It can't be read.
    #[error("can't read {path}: {error}; `ringfence up` writes it, name it with --trust")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is not what `ringfence up` writes.
    #[error("{path} is not a trust file: {what}")]
    Form {
        /// Its path.
        path: String,
        /// What is wrong.
        what: String,
    },
}

/// How a backend knows the guard in TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardTls {
    /// The name in its certificate.
    pub name: String,
    /// Who may vouch for it, in PEM, and nobody else; without, those browsers believe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

/// Whom a backend believes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The base URL: a tenant's issuer is `{base_url}/t/{tenant}`.
    pub base_url: String,
    /// The audience of access tokens.
    pub audience: String,
    /// The gateway's issuer URL.
    pub gateway: String,
    /// The trust domain of `Txn-Token`s.
    pub trust_domain: String,
    /// The gateway's public keys.
    pub gateway_keys: Jwks,
    /// The decision API, `host:port`.
    pub api: SocketAddr,
    /// The guard, `host:port`.
    pub guard: SocketAddr,
    /// How the guard is known in TLS; without, sessions are in the clear, and the guard must be on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard_tls: Option<GuardTls>,
    /// The database behind the guard.
    pub database: String,
    /// The MAC key shared with the gateway, base64url.
    binding_key: String,
}

impl Trust {
    /// What the plane tells a backend.
    #[expect(clippy::too_many_arguments, reason = "each is one line of the file")]
    pub fn new(
        base_url: String,
        audience: String,
        gateway: String,
        trust_domain: String,
        gateway_keys: Jwks,
        api: SocketAddr,
        guard: SocketAddr,
        guard_tls: Option<GuardTls>,
        database: String,
        binding: &MacKey,
    ) -> Self {
        let binding_key = ringfence_context::key::base64url(binding.bytes().reveal());
        Self {
            base_url,
            audience,
            gateway,
            trust_domain,
            gateway_keys,
            api,
            guard,
            guard_tls,
            database,
            binding_key,
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| TrustError::Read { path: shown.clone(), error })?;
        serde_json::from_str(&text).map_err(|error| TrustError::Form { path: shown, what: error.to_string() })
    }

    /// The verifier of `Txn-Token`s.
    ///
    /// # Errors
    /// [`TrustError::Form`] where a key is not one.
    pub fn txn_verifier(&self) -> Result<TxnVerifier, TrustError> {
        let keys = self.gateway_keys.keys.iter().map(PublicKey::from_jwk).collect::<Result<_, _>>();
        Ok(TxnVerifier {
            keys: keys.map_err(|_| form("gateway_keys"))?,
            issuer: self.gateway.clone(),
            audience: self.trust_domain.clone(),
        })
    }

    /// The database behind the guard.
    ///
    /// # Errors
    /// [`TrustError::Form`] where an authority is not one.
    pub fn database(&self) -> Result<Database, TrustError> {
        let database = Database::new(self.guard, self.database.clone());
        let Some(tls) = &self.guard_tls else { return Ok(database) };
        database.in_tls(tls).map_err(|error| TrustError::Form {
            path: "the trust file".to_owned(),
            what: format!("guard_tls: {error}"),
        })
    }

    /// The check of the per-request MAC.
    ///
    /// # Errors
    /// [`TrustError::Form`] where the key is not one.
    pub fn binding(&self) -> Result<RequestBinding, TrustError> {
        let bytes = base64url_decode(&self.binding_key).map_err(|_| form("binding_key"))?;
        if bytes.len() == 32 {
            Ok(RequestBinding::new(MacKey::from_bytes(&Secret::new(bytes))))
        } else {
            Err(form("binding_key"))
        }
    }
}

fn form(what: &str) -> TrustError {
    TrustError::Form { path: "the trust file".to_owned(), what: format!("{what} is not a key") }
}
