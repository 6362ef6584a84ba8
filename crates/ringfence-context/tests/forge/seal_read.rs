//! What only the tenant's issuer can make, taken from a context by whoever holds one.
fn forge(context: &ringfence_context::TenantContext) {
    let _ = context.seal();
}
fn main() {}
