//! One verification, bound twice.
use ringfence_context::{AccessVerifier, TenantId, VerifiedToken, VerifyAccess};
fn forge(token: VerifiedToken, a: &TenantId, b: &TenantId) {
    let _ = AccessVerifier.bind(token, a);
    let _ = AccessVerifier.bind(token, b);
}
fn main() {}
