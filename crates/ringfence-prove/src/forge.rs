//! The forger: tokens that say anything, under any header, signed with anything. JWS (RFC 7515) by hand, so that it can
//! be wrong in every way a verifier must notice.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Map, Value, json};

use crate::{error::ProveError, scene::Stolen};

/// Base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// An Ed25519 key (RFC 8037).
pub(crate) struct Key {
    pair: Ed25519KeyPair,
}

impl Key {
    /// Reads PKCS#8 in base64url.
    ///
    /// # Errors
    /// [`ProveError::Scene`] where it is none.
    pub(crate) fn read(pkcs8: &str) -> Result<Self, ProveError> {
        let bytes = BASE64URL.decode(pkcs8).map_err(|_| ProveError::Scene("signing_key is not base64url"))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes);
        Ok(Self { pair: pair.map_err(|_| ProveError::Scene("signing_key is not an Ed25519 key"))? })
    }

    /// A key of the attacker's own, which nobody knows.
    ///
    /// # Errors
    /// [`ProveError::Scene`] where 32 bytes are no seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, ProveError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        Ok(Self { pair: pair.map_err(|_| ProveError::Scene("a seed is not a key"))? })
    }

    /// Its public half, raw.
    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public half's coordinate.
    pub(crate) fn x(&self) -> String {
        base64url(self.public())
    }

    /// Its key id: the RFC 7638 thumbprint.
    pub(crate) fn kid(&self) -> String {
        base64url(&sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x()).as_bytes()))
    }

    /// As a JWK.
    pub(crate) fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": self.x(), "kid": self.kid(), "alg": "EdDSA", "use": "sig" })
    }
}

/// What a token is signed with.
pub(crate) enum Signer<'a> {
    /// An Ed25519 key.
    Key(&'a Key),
    /// HMAC-SHA-256 with these bytes.
    Hmac(&'a [u8]),
    /// Nothing: the third segment is empty.
    Nothing,
    /// 64 bytes that are no signature.
    Garbage,
}

/// The header of an access token (RFC 9068).
pub(crate) fn header(kid: &str) -> Value {
    json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": kid })
}

/// A token of this header and these claims.
pub(crate) fn token(header: &Value, claims: &Value, signer: &Signer<'_>) -> String {
    token_of(&header.to_string(), &claims.to_string(), signer)
}

/// A token of these texts, which need not be JSON.
pub(crate) fn token_of(header: &str, claims: &str, signer: &Signer<'_>) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let signature = match signer {
        Signer::Key(key) => base64url(key.pair.sign(message.as_bytes()).as_ref()),
        Signer::Hmac(bytes) => {
            base64url(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), message.as_bytes()).as_ref())
        }
        Signer::Nothing => String::new(),
        Signer::Garbage => base64url(&[7; 64]),
    };
    format!("{message}.{signature}")
}

/// What a token says, without asking who signed it.
pub(crate) fn claims(token: &str) -> Option<Map<String, Value>> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
}

/// A token with some claims changed and its signature kept.
pub(crate) fn altered(token: &str, changes: &[(&str, Value)]) -> Option<String> {
    let mut segments = token.split('.');
    let (header, _, signature) = (segments.next()?, segments.next()?, segments.next()?);
    let mut said = claims(token)?;
    for (name, value) in changes {
        said.insert((*name).to_owned(), value.clone());
    }
    Some(format!("{header}.{}.{signature}", base64url(Value::Object(said).to_string().as_bytes())))
}

/// The keys of the attacker's own tenant.
pub(crate) struct StolenKeys {
    /// Its issuer's key.
    pub(crate) signing: Key,
    database: Vec<u8>,
    inner: Vec<u8>,
}

impl StolenKeys {
    /// Reads them.
    ///
    /// # Errors
    /// [`ProveError::Scene`].
    pub(crate) fn read(stolen: &Stolen) -> Result<Self, ProveError> {
        let database = BASE64URL.decode(&stolen.database_key);
        let database = database.map_err(|_| ProveError::Scene("database_key is not base64url"))?;
        let inner = BASE64URL.decode(&stolen.inner_key);
        let inner = inner.map_err(|_| ProveError::Scene("inner_key is not base64url"))?;
        Ok(Self { signing: Key::read(&stolen.signing_key)?, database, inner })
    }

    /// The seal an issuer puts into a job token, made with this tenant's key.
    pub(crate) fn job_seal(&self, message: &str) -> String {
        let mut deriving = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.inner));
        for part in ["ringfence-derive-v1", "job"] {
            deriving.update(&u64::try_from(part.len()).unwrap_or_default().to_be_bytes());
            deriving.update(part.as_bytes());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, deriving.sign().as_ref());
        base64url(hmac::sign(&key, message.as_bytes()).as_ref())
    }

    /// The seal an issuer puts into an access token, for any tenant, made with this tenant's key.
    pub(crate) fn seal(&self, tenant: &str, jti: &str, exp: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.database);
        let message = format!("ringfence-seal-v1|{tenant}|{jti}|{exp}");
        base64url(hmac::sign(&key, message.as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn key() -> Key {
        Key::from_seed(&[9; 32]).unwrap()
    }

    #[test]
    fn what_is_signed_verifies_and_what_is_altered_does_not() {
        let verifies = |token: &str| {
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = BASE64URL.decode(signature).unwrap();
            UnparsedPublicKey::new(&ED25519, key().public()).verify(message.as_bytes(), &signature).is_ok()
        };
        let good = token(&header("k"), &json!({ "tenant_id": "acme" }), &Signer::Key(&key()));
        assert!(verifies(&good));
        let altered = altered(&good, &[("tenant_id", "globex".into())]).unwrap();
        assert!(!verifies(&altered));
        assert_eq!(claims(&altered).unwrap()["tenant_id"], "globex");
        assert!(!verifies(&token(&header("k"), &json!({}), &Signer::Garbage)));
        assert!(token(&header("k"), &json!({}), &Signer::Nothing).ends_with('.'));
    }

    /// The example of RFC 8037 appendix A.3.
    #[test]
    fn key_ids_are_thumbprints() {
        let seed = BASE64URL.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = Key::from_seed(&seed.try_into().unwrap()).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn seals_are_the_kernels() {
        use ringfence_context::{JobClaims, Secret, TenantId, TokenId, database::Seal, key::MacKey};
        let stolen = StolenKeys { signing: key(), database: vec![3; 32], inner: vec![4; 32] };
        let theirs = Seal::issue(
            &MacKey::from_bytes(&Secret::new(vec![3; 32])),
            &TenantId::new("acme").unwrap(),
            &TokenId::new("t-1").unwrap(),
            77,
        );
        assert_eq!(serde_json::to_value(&theirs).unwrap(), stolen.seal("acme", "t-1", 77));
        let claims = serde_json::from_value::<JobClaims>(json!({
            "iss": "i", "sub": "s", "aud": "a", "exp": 9, "iat": 8, "jti": "j", "client_id": "c", "tenant_id": "acme",
            "may_act": { "sub": "w" }, "job": "n",
        }));
        let inner = MacKey::from_bytes(&Secret::new(vec![4; 32]));
        let theirs = claims.unwrap().sealed(&inner.derive("job")).seal.unwrap();
        let own = stolen.job_seal("ringfence-job-v1|acme|j|8|9|s|c|w|n");
        assert_eq!(serde_json::to_value(&theirs).unwrap(), own);
    }
}
