//! A database context without a permit.
fn forge(tenant: ringfence_context::TenantId, token: ringfence_context::TokenId) {
    let valid_until = ringfence_context::UnixTime::from_seconds(u64::MAX);
    let _ = ringfence_context::DatabaseContext { tenant, token, token_exp: 0, valid_until, tag: [0; 32] };
}
fn main() {}
