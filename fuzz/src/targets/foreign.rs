//! A key set and a token of an issuer that is not ours: a line of the one, then the other.
//!
//! What is believed is what anybody else reads in the token, of a time that has come and not passed, and signed by a key
//! of the set, whatever either says.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_context::{
    UnixTime,
    foreign::{ForeignKeys, ForeignToken, TokenKind},
};
use serde_json::Value;

use crate::World;

/// The seeds' tokens live around then.
const NOW: u64 = 1_790_000_000;

/// Feeds one.
///
/// # Panics
/// Where something is believed that should not be.
pub fn run(_: &World, input: &[u8]) {
    believed(input);
}

/// Whether the token was believed.
///
/// # Panics
/// As [`run`].
pub fn believed(input: &[u8]) -> bool {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (set, token) = input.split_at(end);
    let keys = ForeignKeys::read(set);
    let Ok(text) = std::str::from_utf8(token) else { return false };
    let (text, mut any) = (text.trim(), false);
    for kind in [TokenKind::Access, TokenKind::Identity] {
        let Ok(token) = ForeignToken::read(text) else { return false };
        let (issuer, kid) = (token.claimed_issuer().unwrap_or_default().to_owned(), token.kid().to_owned());
        let Ok(keys) = &keys else {
            let none = token.verify(&issuer, &ForeignKeys::default(), kind, UnixTime::from_seconds(NOW));
            assert!(none.is_err(), "believed without a key");
            continue;
        };
        let Ok(claims) = token.verify(&issuer, keys, kind, UnixTime::from_seconds(NOW)) else { continue };
        let claims = Value::Object(claims.into_map());
        let segment = text.split('.').nth(1).expect("a segment of claims");
        let bytes = URL_SAFE_NO_PAD.decode(segment).expect("base64url");
        let read: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(claims, read, "what is believed is what is written");
        assert!(keys.has(&kid) && claims["iss"] == issuer.as_str(), "{claims}");
        assert!(claims["exp"].as_u64().is_some_and(|exp| exp > NOW), "{claims}");
        any = true;
    }
    any
}
