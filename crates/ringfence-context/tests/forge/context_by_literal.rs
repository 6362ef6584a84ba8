//! A context, written down.
fn forge(claims: ringfence_context::AccessClaims) -> ringfence_context::TenantContext {
    ringfence_context::TenantContext { claims, hash: [0; 32] }
}
fn main() {}
