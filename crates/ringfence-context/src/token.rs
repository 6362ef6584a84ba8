//! Tokens as received: bytes nobody has checked yet, and their one way of being taken apart.
//!
//! A JWS in compact form (RFC 7515 section 3.1) whose header says exactly what we sign with. `jwk`, `jku`, `x5u`, `x5c`
//! and `crit` never choose a key: a header that carries one is refused (RFC 8725 sections 3.1 and 3.10).

use std::fmt;

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    key::{base64url_decode, sha256},
    limits,
    refusal::{Layer, Reason, Refusal},
    strict_json,
};

/// A token nobody has verified. It can be measured and hashed; what it says can't be read except by a verifier.
#[derive(Clone)]
pub struct RawToken(String);

impl RawToken {
    /// Takes a token as received.
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`] where it is longer than [`limits::TOKEN_BYTES`] or has a byte no JWS has.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > limits::TOKEN_BYTES {
            return Err(malformed("length or bytes of a token"));
        }
        // Every byte is looked at, so that the compiler can look at many at once: this is done for every request.
        if !text.bytes().fold(true, |all, byte| all & legal(byte)) {
            return Err(malformed("length or bytes of a token"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The token from the value of an `Authorization` header (RFC 6750 section 2.1).
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`] where the scheme is not `Bearer` followed by one space and a token.
    pub fn from_authorization(value: &str) -> Result<Self, Refusal> {
        let (scheme, token) = value.split_once(' ').ok_or(malformed("no scheme in Authorization"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(malformed("scheme is not Bearer"));
        }
        Self::new(token)
    }

    /// SHA-256 of the token: its name in caches and in `ath` (RFC 9449 section 4.2).
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }

    /// The token, to be sent on to another verifier.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, typ: &str) -> Result<Parsed<T>, Refusal> {
        let mut segments = self.0.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(malformed("not three segments"));
        };
        let header: Header = strict_json::object(&decode(header)?).map_err(|_| malformed("header"))?;
        if !header.typ.eq_ignore_ascii_case(typ) {
            return Err(malformed("typ is another kind of token"));
        }
        if header.alg != "EdDSA" {
            return Err(malformed("alg is not the key's"));
        }
        let claims_json = decode(claims)?;
        Ok(Parsed {
            kid: header.kid,
            claims: strict_json::object(&claims_json).map_err(|_| malformed("claims"))?,
            message_len: self.0.len() - signature.len() - 1,
        })
    }

    pub(crate) fn message_and_signature(&self, message_len: usize) -> (&str, &str) {
        let (message, rest) = self.0.split_at_checked(message_len).unwrap_or((&self.0, ""));
        (message, rest.strip_prefix('.').unwrap_or_default())
    }
}

impl fmt::Debug for RawToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawToken(redacted)")
    }
}

pub(crate) struct Parsed<T> {
    pub(crate) kid: String,
    pub(crate) claims: T,
    pub(crate) message_len: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    kid: String,
}

fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    base64url_decode(segment).map_err(|_| malformed("not base64url"))
}

pub(crate) const fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Token, Reason::TokenMalformed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::base64url;

    fn check(header: &str, accepted: bool) {
        let token = format!("{}.{}.AAAA", base64url(header.as_bytes()), base64url(b"{}"));
        let parsed = RawToken::new(&token).and_then(|raw| raw.parse::<serde_json::Value>("at+jwt"));
        assert_eq!(parsed.is_ok(), accepted, "{header}");
    }

    #[test]
    fn cv06_header_members_that_choose_a_key_are_refused() {
        check(r#"{"typ":"at+jwt","alg":"EdDSA","kid":"k"}"#, true);
        check(r#"{"typ":"AT+JWT","alg":"EdDSA","kid":"k"}"#, true);
        for member in ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"] {
            check(&format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"k","{member}":"v"}}"#), false);
        }
        for alg in ["none", "HS256", "ES256", "RS256", "eddsa", ""] {
            check(&format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"k"}}"#), false);
        }
        check(r#"{"typ":"JWT","alg":"EdDSA","kid":"k"}"#, false);
        check(r#"{"typ":"at+jwt","alg":"EdDSA","alg":"EdDSA","kid":"k"}"#, false);
        check(r#"{"alg":"EdDSA","kid":"k"}"#, false);
    }

    #[test]
    fn reject_token_bytes() {
        assert!(RawToken::new(&"a".repeat(limits::TOKEN_BYTES)).is_ok());
        assert!(RawToken::new(&"a".repeat(limits::TOKEN_BYTES + 1)).is_err());
        for bad in ["", "a b", "a=b", "a+b", "a/b", "a\n", "é"] {
            assert!(RawToken::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_bearer_is_a_scheme() {
        for good in ["Bearer a.b.c", "bearer a.b.c"] {
            assert!(RawToken::from_authorization(good).is_ok(), "{good}");
        }
        for bad in
            ["a.b.c", "Basic a.b.c", "Bearer  a.b.c", "Bearer", "Bearer a b", "Bearer a.b.c, Bearer d.e.f"]
        {
            assert!(RawToken::from_authorization(bad).is_err(), "{bad}");
        }
    }
}
