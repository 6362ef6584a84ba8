//! Doors of the range: results without their checks. Compiled with the `range` feature only, which the serving binary
//! is built without.

use crate::{
    access::{AccessVerifier, IssuerKeys, TenantContext, VerifiedToken, VerifyAccess},
    id::TenantId,
    refusal::Refusal,
    time::UnixTime,
    token::RawToken,
    txn::{VerifiedTxn, VerifyTxn},
};

/// Believes any signature, of an access token or a `Txn-Token`.
#[derive(Debug, Clone, Copy)]
pub struct SignatureOff;

impl VerifyAccess for SignatureOff {
    fn verify(&self, raw: &RawToken, issuer: &IssuerKeys, _: UnixTime) -> Result<VerifiedToken, Refusal> {
        VerifiedToken::assume_unchecked(raw, issuer.tenant.clone())
    }

    fn bind(&self, token: VerifiedToken, presented_at: &TenantId) -> Result<TenantContext, Refusal> {
        AccessVerifier.bind(token, presented_at)
    }
}

impl VerifyTxn for SignatureOff {
    fn verify_txn(&self, raw: &RawToken, _: UnixTime) -> Result<VerifiedTxn, Refusal> {
        VerifiedTxn::assume_unchecked(raw)
    }
}

/// Lets any issuer speak for any tenant at any address: the claim alone decides.
#[derive(Debug, Clone, Copy)]
pub struct IssuerBindingOff;

impl VerifyAccess for IssuerBindingOff {
    fn verify(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedToken, Refusal> {
        AccessVerifier.verify(raw, issuer, now)
    }

    fn bind(&self, token: VerifiedToken, _: &TenantId) -> Result<TenantContext, Refusal> {
        Ok(token.bind_unchecked())
    }
}
