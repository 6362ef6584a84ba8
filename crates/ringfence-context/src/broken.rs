//! Doors of the range: results without their checks. Compiled with the `range` feature only, which the serving binary
//! is built without.

use crate::{
    access::{AccessClaims, AccessVerifier, IssuerKeys, TenantContext, VerifiedToken, VerifyAccess},
    id::TenantId,
    job::{Job, VerifiedJob, VerifyJob},
    permit::Permit,
    refusal::Refusal,
    time::UnixTime,
    token::RawToken,
    txn::{VerifiedTxn, VerifyTxn},
};

/// A verifier that leaves checks out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenAccess {
    /// Believes any signature, of any key, on any claims.
    pub signature: bool,
    /// Lets any issuer speak for any tenant at any address: the claim alone decides.
    pub binding: bool,
}

impl VerifyAccess for BrokenAccess {
    fn verify(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedToken, Refusal> {
        if self.signature {
            VerifiedToken::assume_unchecked(raw, issuer.tenant.clone())
        } else {
            AccessVerifier.verify(raw, issuer, now)
        }
    }

    fn bind(&self, token: VerifiedToken, presented_at: &TenantId) -> Result<TenantContext, Refusal> {
        if self.binding { Ok(token.bind_unchecked()) } else { AccessVerifier.bind(token, presented_at) }
    }
}

impl VerifyJob for BrokenAccess {
    fn verify_job(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedJob, Refusal> {
        if self.signature {
            VerifiedJob::assume_unchecked(raw, issuer.tenant.clone())
        } else {
            AccessVerifier.verify_job(raw, issuer, now)
        }
    }

    fn bind_job(&self, job: VerifiedJob, presented_at: &TenantId) -> Result<Job, Refusal> {
        if self.binding { Ok(job.bind_unchecked()) } else { AccessVerifier.bind_job(job, presented_at) }
    }
}

/// Believes any `Txn-Token`.
#[derive(Debug, Clone, Copy)]
pub struct AnyTxn;

impl VerifyTxn for AnyTxn {
    fn verify_txn(&self, raw: &RawToken, _: UnixTime) -> Result<VerifiedTxn, Refusal> {
        VerifiedTxn::assume_unchecked(raw)
    }
}

/// The context of whatever a token claims, nothing checked.
///
/// # Errors
/// Where it is not even of a token's form.
pub fn context_unchecked(raw: &RawToken, issuer_tenant: TenantId) -> Result<TenantContext, Refusal> {
    Ok(VerifiedToken::assume_unchecked(raw, issuer_tenant)?.bind_unchecked())
}

/// A context of any claims.
pub fn context_of(claims: AccessClaims) -> TenantContext {
    TenantContext::assume_unchecked(claims)
}

/// A permit nobody gave.
pub fn permit_unchecked(context: &TenantContext, action: &str) -> Permit {
    Permit::assume_unchecked(context, action)
}
