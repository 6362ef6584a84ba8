//! Operators: people who run the plane. They have no tenant, and so no way into one (SYSTEMS X-01).

use crate::{
    id::Subject,
    key::{base64url, random, sha256},
    refusal::{Layer, Reason, Refusal},
    secret::Secret,
};

/// A proved operator. It holds no tenant and can't become a `TenantContext`.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    operator: Subject,
}

/// What is kept of an operator's token: its hash.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct OperatorRecord {
    /// Who.
    pub operator: Subject,
    /// SHA-256 of the token, base64url.
    pub token_hash: String,
}

impl OperatorRecord {
    /// Makes a token of 256 random bits for `operator`; only its hash is kept.
    ///
    /// # Errors
    /// A refusal with [`Reason::Internal`] where the system gives no randomness.
    pub fn issue(operator: Subject) -> Result<(Self, Secret<String>), Refusal> {
        let bytes =
            random::<32>().map_err(|_| Refusal::new(Layer::Identity, Reason::Internal, "no randomness"))?;
        let token = format!("rfo_{}", base64url(&bytes));
        let record = Self { operator, token_hash: base64url(&sha256(token.as_bytes())) };
        Ok((record, Secret::new(token)))
    }
}

impl OperatorContext {
    /// Recognises an operator by the token presented.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`] where no record matches.
    pub fn authenticate(token: &str, records: &[OperatorRecord]) -> Result<Self, Refusal> {
        // Hashes are compared, so the time taken says nothing about a valid token.
        let hash = base64url(&sha256(token.as_bytes()));
        records
            .iter()
            .find(|record| record.token_hash == hash)
            .map(|record| Self { operator: record.operator.clone() })
            .ok_or(Refusal::new(Layer::Identity, Reason::TokenInvalid, "no such operator token"))
    }

    /// Who.
    pub fn operator(&self) -> &Subject {
        &self.operator
    }
}
