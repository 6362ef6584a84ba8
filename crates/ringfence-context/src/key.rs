//! Keys: Ed25519 for signatures (RFC 8037), HMAC-SHA-256 for authentication inside the plane (RFC 2104).
//!
//! The algorithm is a property of the key, never of the token: there is one signature algorithm, and a token that names
//! another is refused before any key is looked at.

use aws_lc_rs::{digest, hmac, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Length of an HMAC-SHA-256 tag and of a MAC key, in bytes.
pub const MAC_LEN: usize = 32;

/// The system could not give random bytes, or key material is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The operating system's random source failed.
    #[error("the system's random source failed")]
    Random,
    /// The bytes are not a key of this kind.
    #[error("not a key of this kind")]
    Malformed,
    /// Signing failed.
    #[error("signing failed")]
    Sign,
}

/// `len` random bytes from the operating system's generator.
///
/// # Errors
/// [`KeyError::Random`] where it fails.
pub fn random<const LEN: usize>() -> Result<[u8; LEN], KeyError> {
    let mut bytes = [0_u8; LEN];
    rand::fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0_u8; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Whether two tags are the same, in time that tells nothing of where they differ.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// SHA-256 of what comes in pieces.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Of all pieces, in their order.
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0_u8; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

/// Base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

/// Reads base64url without padding; refuses any other form, so that one value has one spelling.
///
/// # Errors
/// [`KeyError::Malformed`].
pub fn base64url_decode(text: &str) -> Result<Vec<u8>, KeyError> {
    BASE64URL.decode(text).map_err(|_| KeyError::Malformed)
}

/// A private Ed25519 key with its key id (`kid`, the RFC 7638 thumbprint of its public half).
pub struct SigningKey {
    kid: String,
    public: PublicKey,
    encoding: EncodingKey,
}

impl SigningKey {
    /// Makes a new key; returns it with its PKCS#8 form, to be stored sealed.
    ///
    /// # Errors
    /// [`KeyError::Random`] where the system gives no randomness.
    pub fn generate() -> Result<(Self, Secret<Vec<u8>>), KeyError> {
        let document = aws_lc_rs::signature::Ed25519KeyPair::generate()
            .and_then(|pair| pair.to_pkcs8v1())
            .map_err(|_| KeyError::Random)?;
        let pkcs8 = Secret::new(document.as_ref().to_vec());
        Ok((Self::from_pkcs8(&pkcs8)?, pkcs8))
    }

    /// Reads a key from its PKCS#8 form (RFC 8410).
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pkcs8(pkcs8: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        use aws_lc_rs::signature::KeyPair;
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8.reveal())
            .map_err(|_| KeyError::Malformed)?;
        let public = PublicKey::from_bytes(pair.public_key().as_ref())?;
        Ok(Self { kid: public.kid.clone(), public, encoding: EncodingKey::from_ed_der(pkcs8.reveal()) })
    }

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `claims` as a JWS in compact form (RFC 7515) whose header is exactly `typ`, `alg` and `kid`.
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<String, KeyError> {
        let header = serde_json::json!({ "typ": typ, "alg": "EdDSA", "kid": self.kid });
        let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Sign)?;
        let message = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(&claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, Algorithm::EdDSA)
            .map_err(|_| KeyError::Sign)?;
        Ok(format!("{message}.{signature}"))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// A public Ed25519 key.
#[derive(Clone)]
pub struct PublicKey {
    kid: String,
    x: String,
    decoding: DecodingKey,
}

impl PublicKey {
    /// Reads the 32 bytes of a public key.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] where there are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != 32 {
            return Err(KeyError::Malformed);
        }
        let x = base64url(bytes);
        // RFC 7638 section 3.2 with the members RFC 8037 section 2 requires.
        let thumbprint = sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes());
        let decoding = DecodingKey::from_ed_components(&x).map_err(|_| KeyError::Malformed)?;
        Ok(Self { kid: base64url(&thumbprint), x, decoding })
    }

    /// Reads a JWK; its `kid` must be its thumbprint.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] where it is no such key.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        if jwk.kty != "OKP" || jwk.crv != "Ed25519" || jwk.alg != "EdDSA" {
            return Err(KeyError::Malformed);
        }
        let key = Self::from_bytes(&base64url_decode(&jwk.x)?)?;
        if key.kid == jwk.kid { Ok(key) } else { Err(KeyError::Malformed) }
    }

    /// Its key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its JWK form (RFC 7517, RFC 8037).
    pub fn jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: self.x.clone(),
            kid: self.kid.clone(),
            alg: "EdDSA".to_owned(),
            usage: "sig".to_owned(),
        }
    }

    /// Whether `signature` (base64url) over `message` was made by this key.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, Algorithm::EdDSA).unwrap_or(false)
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.kid)
    }
}

/// A public key as JSON (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are those of RFC 7517 and RFC 8037")]
pub struct Jwk {
    pub kty: String,
    pub crv: String,
    pub x: String,
    pub kid: String,
    pub alg: String,
    #[serde(rename = "use")]
    pub usage: String,
}

/// A set of public keys as JSON (RFC 7517 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// A key for HMAC-SHA-256.
#[derive(Clone)]
pub struct MacKey {
    bytes: Secret<Vec<u8>>,
    key: hmac::Key,
}

impl MacKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self::from_bytes(&Secret::new(random::<MAC_LEN>()?.to_vec())))
    }

    /// A key from its bytes.
    pub fn from_bytes(bytes: &Secret<Vec<u8>>) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes.reveal()), bytes: bytes.clone() }
    }

    /// The key's bytes, to be stored sealed or installed in the database.
    pub fn bytes(&self) -> &Secret<Vec<u8>> {
        &self.bytes
    }

    /// A key for one purpose, derived from this one: `HMAC(key, purpose)`.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self::from_bytes(&Secret::new(self.tag(&[b"ringfence-derive-v1", purpose.as_bytes()]).to_vec()))
    }

    /// The tag over `parts`, each preceded by its length, so that no two lists of parts are one message.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        self.begin(parts).end()
    }

    /// A tag over `parts` and others that follow, with the work for these done once.
    pub fn begin(&self, parts: &[&[u8]]) -> BegunTag {
        BegunTag(hmac::Context::with_key(&self.key)).with(parts)
    }

    /// Whether `tag` is the tag over `parts`, compared in constant time.
    pub fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(parts), tag).is_ok()
    }

    /// The tag over `message` as it is, for a verifier that has only plain HMAC (the SQL inside Postgres).
    pub fn tag_plain(&self, message: &[u8]) -> [u8; MAC_LEN] {
        let mut out = [0_u8; MAC_LEN];
        out.copy_from_slice(hmac::sign(&self.key, message).as_ref());
        out
    }

    /// Whether `tag` is the plain tag over `message`, compared in constant time.
    pub fn verifies_plain(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.key, message, tag).is_ok()
    }

    /// The key XORed with HMAC's inner and outer pads (RFC 2104 section 2), 64 bytes each: with them, SQL that knows
    /// only SHA-256 computes `HMAC(key, m)` as `sha256(outer || sha256(inner || m))`.
    pub fn pads(&self) -> (Secret<Vec<u8>>, Secret<Vec<u8>>) {
        let pad = |with: u8| {
            let mut block = [with; 64];
            for (byte, key) in block.iter_mut().zip(self.bytes.reveal()) {
                *byte ^= key;
            }
            Secret::new(block.to_vec())
        };
        (pad(0x36), pad(0x5c))
    }
}

/// A tag over parts of which the first are known: see [`MacKey::begin`].
#[derive(Clone)]
pub struct BegunTag(hmac::Context);

impl BegunTag {
    /// The tag over the parts it was begun with and these.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        self.clone().with(parts).end()
    }

    /// Whether `tag` is that tag, compared in constant time.
    pub fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(parts), tag).is_ok()
    }

    fn end(self) -> [u8; MAC_LEN] {
        let mut out = [0_u8; MAC_LEN];
        out.copy_from_slice(self.0.sign().as_ref());
        out
    }

    fn with(mut self, parts: &[&[u8]]) -> Self {
        for part in parts {
            self.0.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            self.0.update(part);
        }
        self
    }
}

impl std::fmt::Debug for BegunTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BegunTag(redacted)")
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hash_as_the_whole_does() {
        let text: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for size in [1, 63, 64, 65, 1_000] {
            let mut pieces = Sha256::default();
            text.chunks(size).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish(), sha256(&text), "{size}");
        }
        assert_eq!(Sha256::default().finish(), sha256(b""));
    }

    #[test]
    fn pads_compute_the_same_hmac_from_sha256_alone() {
        let key = MacKey::generate().unwrap();
        let (inner, outer) = key.pads();
        let message = b"what is authenticated";
        let hashed = sha256(&[inner.reveal().as_slice(), message].concat());
        assert_eq!(sha256(&[outer.reveal().as_slice(), &hashed].concat()), key.tag_plain(message));
    }

    #[test]
    fn parts_are_separated() {
        let key = MacKey::generate().unwrap();
        assert_ne!(key.tag(&[b"ab", b"c"]), key.tag(&[b"a", b"bc"]));
        assert_eq!(key.begin(&[b"ab"]).tag(&[b"c"]), key.tag(&[b"ab", b"c"]));
        assert!(key.verifies(&[b"ab"], &key.tag(&[b"ab"])));
        assert!(!key.verifies(&[b"ab"], &key.tag(&[b"ab"])[..31]));
    }

    #[test]
    fn a_jwk_reads_back_and_its_kid_is_its_thumbprint() {
        let (key, _) = SigningKey::generate().unwrap();
        let mut jwk = key.public().jwk();
        assert_eq!(PublicKey::from_jwk(&jwk).unwrap().kid(), key.kid());
        jwk.kid = "other".to_owned();
        assert!(PublicKey::from_jwk(&jwk).is_err());
    }
}
