//! Sealing: AES-256-GCM (NIST SP 800-38D, random 96-bit nonce) under a record key, bound to where the record stands.
//!
//! What is authenticated with the value: format, scope, kind and id, each preceded by its length. So a value opens only
//! at the key it was sealed for; anywhere else, and with any bit changed, it does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use ringfence_context::{Secret, key};

use crate::{
    error::StoreError,
    master::{KEY_BYTES, MasterKey},
    record::RecordKey,
};

/// First byte of a sealed value: the format's number.
const FORMAT: u8 = 1;

/// A key records are sealed under: a tenant's, or the plane's.
pub(crate) struct RecordCipher(RandomizedNonceKey);

impl RecordCipher {
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes)
            .map(Self)
            .map_err(|_| StoreError::corrupt("a record key is not 32 bytes"))
    }

    /// The key of the plane's own records.
    pub(crate) fn of_plane(master: &MasterKey) -> Result<Self, StoreError> {
        Self::derived(master, "plane-records")
    }

    /// The key tenants' record keys are wrapped under.
    pub(crate) fn of_wrapping(master: &MasterKey) -> Result<Self, StoreError> {
        Self::derived(master, "wrapped-record-keys")
    }

    fn derived(master: &MasterKey, purpose: &str) -> Result<Self, StoreError> {
        let master = key::MacKey::from_bytes(&Secret::new(master.reveal().to_vec()));
        Self::new(master.derive(purpose).bytes().reveal())
    }

    /// Seals `plain` for the place `at`.
    pub(crate) fn seal(&self, at: &RecordKey, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut text = plain.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(place(at)), &mut text)
            .map_err(|_| StoreError::Invalid("sealing failed"))?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Opens what was sealed for the place `at`.
    pub(crate) fn open(&self, at: &RecordKey, sealed: &[u8]) -> Result<Secret<Vec<u8>>, StoreError> {
        let tampered = || StoreError::Tampered { kind: at.kind.clone() };
        let (&[FORMAT, ref nonce @ ..], text) =
            sealed.split_first_chunk::<{ 1 + NONCE_LEN }>().ok_or_else(tampered)?
        else {
            return Err(tampered());
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| tampered())?;
        let mut text = text.to_vec();
        let plain =
            self.0.open_in_place(nonce, Aad::from(place(at)), &mut text).map_err(|_| tampered())?.len();
        text.truncate(plain);
        Ok(Secret::new(text))
    }
}

/// A new random record key.
pub(crate) fn record_key() -> Result<Secret<Vec<u8>>, StoreError> {
    key::random::<KEY_BYTES>()
        .map(|bytes| Secret::new(bytes.to_vec()))
        .map_err(|_| StoreError::Invalid("the system's random source failed"))
}

fn place(at: &RecordKey) -> Vec<u8> {
    let mut place = vec![FORMAT];
    for part in ["ringfence-record", at.scope.as_str(), &at.kind, &at.id] {
        place.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        place.extend_from_slice(part.as_bytes());
    }
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringfence_context::TenantId;

    use super::*;
    use crate::record::Scope;

    fn cipher() -> RecordCipher {
        RecordCipher::new(&[7; KEY_BYTES]).unwrap()
    }

    fn place_at(tenant: &str, kind: &str, id: &str) -> RecordKey {
        let scope = Scope::Tenant(TenantId::new(tenant).unwrap());
        RecordKey { scope, kind: kind.to_owned(), id: id.to_owned() }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_where_it_was_sealed(plain in proptest::collection::vec(any::<u8>(), 0..300)) {
            let at = place_at("acme", "user", "u-1");
            let sealed = cipher().seal(&at, &plain).unwrap();
            let opened = cipher().open(&at, &sealed).unwrap();
            prop_assert_eq!(opened.reveal(), &plain);
        }

        #[test]
        fn x16_any_flipped_bit_is_refused(
            plain in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let key = place_at("acme", "user", "u-1");
            let mut sealed = cipher().seal(&key, &plain).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let refused = matches!(cipher().open(&key, &sealed), Err(StoreError::Tampered { .. }));
            prop_assert!(refused);
        }

        #[test]
        fn x16_any_other_place_is_refused(tenant in "[a-z]{2,8}", kind in "[a-z_]{1,8}", id in "[a-z0-9]{1,8}") {
            let sealed = cipher().seal(&place_at("acme", "user", "u1"), b"value").unwrap();
            let at = place_at(&tenant, &kind, &id);
            prop_assume!(at != place_at("acme", "user", "u1"));
            prop_assert!(cipher().open(&at, &sealed).is_err());
        }
    }

    #[test]
    fn x16_places_that_concatenate_alike_are_different() {
        let sealed = cipher().seal(&place_at("acme", "us", "er1"), b"value").unwrap();
        assert!(cipher().open(&place_at("acme", "use", "r1"), &sealed).is_err());
        assert!(cipher().open(&place_at("acme", "us", "er1"), &sealed).is_ok());
    }

    #[test]
    fn a_cut_value_and_another_key_are_refused() {
        let at = place_at("acme", "user", "u1");
        let sealed = cipher().seal(&at, b"value").unwrap();
        for len in 0..sealed.len() {
            assert!(cipher().open(&at, &sealed[..len]).is_err(), "{len}");
        }
        let other = RecordCipher::new(&[8; KEY_BYTES]).unwrap();
        assert!(matches!(other.open(&at, &sealed), Err(StoreError::Tampered { .. })));
    }
}
