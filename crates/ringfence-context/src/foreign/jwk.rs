//! The public keys of one issuer, as it publishes them (RFC 7517, RFC 7518 section 6, RFC 8037).
//!
//! It guarantees that each key has one algorithm, which is what its type says: RS256 with at least 2048 bits, ES256, or
//! EdDSA with Ed25519. What is none of these, or for another use, is no key here; a set that is ambiguous is none at all.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value};

use crate::{key::base64url_decode, limits, strict_json};

/// Bits of the smallest and of the largest RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The public exponent: 65,537.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// What is wrong with a set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksFault {
    /// It is not a set of keys.
    #[error("not a JWK set, each member once")]
    Form,
    /// It has too many.
    #[error("more than {most} keys", most = limits::ISSUER_KEYS)]
    TooMany,
    /// Two keys have one name.
    #[error("two keys have one kid")]
    Ambiguous,
    /// It says what nobody but the issuer may know.
    #[error("a private key is published")]
    Private,
}

/// The keys of one issuer.
#[derive(Debug, Clone, Default)]
pub struct ForeignKeys(Vec<ForeignKey>);

/// One key.
#[derive(Debug, Clone)]
pub(super) struct ForeignKey {
    kid: String,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    /// The modulus, without leading zeros.
    Rsa(Vec<u8>),
    /// An uncompressed point of P-256.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl ForeignKeys {
    /// Reads a JWK set.
    ///
    /// # Errors
    /// [`JwksFault`]: then none of it is believed.
    pub fn read(bytes: &[u8]) -> Result<Self, JwksFault> {
        let set = strict_json::value(bytes, limits::ISSUER_JSON_DEPTH).map_err(|_| JwksFault::Form)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(JwksFault::Form)?;
        if listed.len() > limits::ISSUER_KEYS {
            return Err(JwksFault::TooMany);
        }
        let mut keys: Vec<ForeignKey> = Vec::new();
        for jwk in listed {
            let jwk = jwk.as_object().ok_or(JwksFault::Form)?;
            if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.contains_key(*name)) {
                return Err(JwksFault::Private);
            }
            let Some(key) = ForeignKey::read(jwk) else { continue };
            if keys.iter().any(|other| other.kid == key.kid) {
                return Err(JwksFault::Ambiguous);
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// Whether there is a key of this name.
    pub fn has(&self, kid: &str) -> bool {
        self.key(kid).is_some()
    }

    pub(super) fn key(&self, kid: &str) -> Option<&ForeignKey> {
        self.0.iter().find(|key| key.kid == kid)
    }
}

impl ForeignKey {
    /// A key that signs, of a kind that is believed here.
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| base64url_decode(text(name)?).ok();
        if jwk.contains_key("use") && text("use") != Some("sig") {
            return None;
        }
        let verifies = |operations: &Value| {
            operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"))
        };
        if jwk.get("key_ops").is_some_and(|operations| !verifies(operations)) {
            return None;
        }
        let material = match (text("kty")?, text("crv")) {
            ("RSA", None) => rsa(bytes("n")?, &bytes("e")?)?,
            ("EC", Some("P-256")) => p256(&bytes("x")?, &bytes("y")?)?,
            ("OKP", Some("Ed25519")) => {
                Material::Ed25519(bytes("x").filter(|point| point.len() == ED25519_BYTES)?)
            }
            _ => return None,
        };
        let key = Self { kid: text("kid").filter(|kid| !kid.is_empty())?.to_owned(), material };
        // A key that says it is for another algorithm is for that, and not for what its type would allow.
        let meant = !jwk.contains_key("alg") || text("alg") == Some(key.algorithm());
        meant.then_some(key)
    }

    /// The one algorithm it is for.
    pub(super) const fn algorithm(&self) -> &'static str {
        match self.material {
            Material::Rsa(_) => "RS256",
            Material::P256(_) => "ES256",
            Material::Ed25519(_) => "EdDSA",
        }
    }

    /// Whether it has signed this.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa(modulus) => RsaPublicKeyComponents { n: modulus.as_slice(), e: RSA_EXPONENT }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok()
            }
        }
    }
}

/// Length of a public key of Ed25519, in bytes.
const ED25519_BYTES: usize = 32;

/// Length of a coordinate of P-256, in bytes (RFC 7518 section 6.2.1.2).
const P256_BYTES: usize = 32;

fn rsa(modulus: Vec<u8>, exponent: &[u8]) -> Option<Material> {
    let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
    let unused = modulus.first()?.leading_zeros();
    let bits = modulus.len().checked_mul(8)?.checked_sub(usize::try_from(unused).ok()?)?;
    (RSA_BITS.contains(&bits) && exponent == RSA_EXPONENT).then_some(Material::Rsa(modulus))
}

fn p256(x: &[u8], y: &[u8]) -> Option<Material> {
    // SEC 1 section 2.3.3: uncompressed. That the point is on the curve is checked where it is used.
    (x.len() == P256_BYTES && y.len() == P256_BYTES).then(|| Material::P256([&[4], x, y].concat()))
}
