//! A database context without a permit.
use ringfence_context::{DatabaseContext, Seal, TenantId, TokenId, UnixTime};

fn forge(tenant: TenantId, token: TokenId, seal: Seal) {
    let (valid_until, minted) = (UnixTime::from_seconds(u64::MAX), UnixTime::from_seconds(0));
    let _ = DatabaseContext { tenant, token, token_exp: 0, valid_until, tag: [0; 32], seal, minted };
}
fn main() {}
