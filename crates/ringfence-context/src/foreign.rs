//! Tokens of issuers that are none of the plane's: by their form, their issuer's keys, and their times.
//!
//! They prove no tenant. What comes out here are claims of somebody else's users, for policies to read; nothing that is
//! made in this file becomes a tenant context. It guarantees that the key decides the algorithm, that `kid` is looked up
//! among that issuer's keys and nowhere else, and that nothing is read of a token that names a key twice, or a member that
//! would choose a key (RFC 8725 sections 3.1 and 3.10). Follows OpenID Connect Core section 3.1.3.7 and RFC 9068 section
//! 4. Who fetched the keys has seen to it that they are the issuer's.

mod jwk;

use std::fmt;

use serde_json::{Map, Value};

pub use self::jwk::{ForeignKeys, JwksFault};
use crate::{
    access::invalid,
    key::base64url_decode,
    limits,
    refusal::{Layer, Reason, Refusal},
    strict_json,
    time::UnixTime,
    token::malformed,
};

/// Header members that could choose a key, or say that the token is another kind of thing than a signed one.
const CHOOSERS: &[&str] = &[
    "jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c",
];

/// What a token is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// For an API.
    Access,
    /// Of who has signed in.
    Identity,
}

/// A token of another issuer that nobody has verified. It can say which issuer it claims to be of, and no more.
pub struct ForeignToken {
    message: String,
    signature: Vec<u8>,
    algorithm: String,
    kid: String,
    typ: Option<String>,
    claims: Map<String, Value>,
}

/// What a verified token of another issuer says.
#[derive(Debug, Clone)]
pub struct ForeignClaims(Map<String, Value>);

impl ForeignClaims {
    /// Every claim.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

impl ForeignToken {
    /// Takes a token apart (RFC 7515 section 3.1).
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`].
    pub fn read(text: &str) -> Result<Self, Refusal> {
        if text.len() > limits::FOREIGN_TOKEN_BYTES {
            return Err(malformed("length of a token"));
        }
        let mut segments = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(malformed("not three segments"));
        };
        let mut members: Map<String, Value> =
            strict_json::object(&decode(header)?).map_err(|_| malformed("header"))?;
        if CHOOSERS.iter().any(|name| members.contains_key(*name)) {
            return Err(malformed("a header member that chooses a key"));
        }
        let mut text_of = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(malformed("a header member is not text")),
        };
        let (algorithm, kid, typ) = (text_of("alg")?, text_of("kid")?, text_of("typ")?);
        Ok(Self {
            algorithm: algorithm.ok_or(malformed("no alg"))?,
            kid: kid.ok_or(malformed("no kid"))?,
            typ,
            claims: strict_json::object(&decode(claims)?).map_err(|_| malformed("claims"))?,
            signature: decode(signature)?,
            message: format!("{header}.{claims}"),
        })
    }

    /// The issuer it claims to be of, to look its keys up by. It decides nothing.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// The key it claims to be signed with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Verifies it as a token of this kind of this issuer, whose keys these are. Whom it is meant for is the caller's to
    /// check, who knows whom.
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`], [`Reason::TokenInvalid`], [`Reason::TokenExpired`].
    pub fn verify(
        self,
        issuer: &str,
        keys: &ForeignKeys,
        kind: TokenKind,
        now: UnixTime,
    ) -> Result<ForeignClaims, Refusal> {
        if self.claimed_issuer() != Some(issuer) {
            return Err(invalid("iss is not the issuer whose keys were looked up"));
        }
        if !is_of_kind(self.typ.as_deref(), kind) {
            return Err(malformed("typ is another kind of token"));
        }
        let key = keys.key(&self.kid).ok_or(invalid("kid is not a key of this issuer"))?;
        if key.algorithm() != self.algorithm {
            return Err(invalid("alg is not the key's"));
        }
        if !key.verifies(self.message.as_bytes(), &self.signature) {
            return Err(invalid("signature"));
        }
        check_times(&self.claims, now)?;
        // Amazon Cognito's, and whoever else says it: an ID token is no access token.
        let said = self.claims.get("token_use");
        let expected = if kind == TokenKind::Access { "access" } else { "id" };
        if said.is_some_and(|said| said.as_str() != Some(expected)) {
            return Err(malformed("token_use is another kind of token"));
        }
        Ok(ForeignClaims(self.claims))
    }
}

impl fmt::Debug for ForeignToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignToken(redacted)")
    }
}

/// Which `typ` a token of this kind may have (RFC 7519 section 5.1, RFC 9068 section 2.1). Logout tokens, security events,
/// proofs of possession and others are JWTs of the same issuers, and none of either kind.
fn is_of_kind(typ: Option<&str>, kind: TokenKind) -> bool {
    let Some(typ) = typ else { return true };
    let typ = typ.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    typ == "jwt" || (typ == "at+jwt" && kind == TokenKind::Access)
}

fn check_times(claims: &Map<String, Value>, now: UnixTime) -> Result<(), Refusal> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(malformed("a time is not a whole number")),
    };
    let exp = time("exp")?.ok_or(malformed("no exp"))?;
    let iat = time("iat")?.ok_or(malformed("no iat"))?;
    let latest = now.seconds().saturating_add(limits::FOREIGN_CLOCK_SKEW_SECONDS);
    let expired = |detail| Err(Refusal::new(Layer::Token, Reason::TokenExpired, detail));
    if exp <= now.seconds() {
        return expired("exp has passed");
    }
    if iat > latest || time("nbf")?.is_some_and(|nbf| nbf > latest) {
        return expired("iat or nbf is in the future");
    }
    if exp <= iat || exp.saturating_sub(iat) > limits::FOREIGN_TOKEN_LIFE_SECONDS {
        return Err(malformed("longer life than is believed"));
    }
    Ok(())
}

fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    base64url_decode(segment).map_err(|_| malformed("not base64url"))
}

#[cfg(test)]
mod tests;
