//! Consistency tokens: a revision of the state, told outside so that nobody but this plane can read it.
//!
//! Revisions count the commits of all tenants. Told as a number, two of them would say how much everybody else has
//! written between them. So a revision is sealed (AES-256-GCM-SIV, RFC 8452, random nonce) under a key derived from the
//! master key for whom it is told to, with whose it is authenticated: tokens of one revision differ, are of one length,
//! open on every node, and another tenant's opens like one that was made up. The zookies of Zanzibar (Pang et al., USENIX
//! ATC 2019, section 2.4) are where the idea is from.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use ringfence_context::{
    Secret,
    key::{MacKey, base64url, base64url_decode},
};

use crate::{
    master::MasterKey,
    record::{Revision, Scope},
};

/// First byte of a token: the format's number.
const FORMAT: u8 = 1;

/// Bytes of a token: format, nonce, revision, tag.
const BYTES: usize = 1 + NONCE_LEN + 8 + 16;

/// Length of a token as text.
pub const CHARACTERS: usize = (BYTES * 4).div_ceil(3);

/// What all holders' keys are derived from.
pub(crate) fn base(master: &MasterKey) -> MacKey {
    MacKey::from_bytes(&Secret::new(master.reveal().to_vec())).derive("consistency-tokens")
}

/// Seals a revision for `holder`; nothing where the system's random source fails.
pub(crate) fn seal(base: &MacKey, holder: &Scope, revision: Revision) -> Option<String> {
    let mut text = revision.to_be_bytes().to_vec();
    let nonce = key(base, holder)?.seal_in_place_append_tag(Aad::from(bound(holder)), &mut text).ok()?;
    Some(base64url(&[[FORMAT].as_slice(), nonce.as_ref(), &text].concat()))
}

/// The revision of a token that was sealed for `holder`.
pub(crate) fn open(base: &MacKey, holder: &Scope, token: &str) -> Option<Revision> {
    if token.len() != CHARACTERS {
        return None;
    }
    let bytes = base64url_decode(token).ok()?;
    let (&[FORMAT, ref nonce @ ..], text) = bytes.split_first_chunk::<{ 1 + NONCE_LEN }>()? else {
        return None;
    };
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let revision = key(base, holder)?.open_in_place(nonce, Aad::from(bound(holder)), &mut text).ok()?;
    Some(Revision::from_be_bytes((&*revision).try_into().ok()?))
}

fn key(base: &MacKey, holder: &Scope) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM_SIV, base.derive(holder.as_str()).bytes().reveal()).ok()
}

fn bound(holder: &Scope) -> Vec<u8> {
    [b"ringfence-consistency-v1\0", holder.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringfence_context::TenantId;

    use super::*;

    fn master(byte: u8) -> MacKey {
        base(&MasterKey::from_bytes(Secret::new(vec![byte; 32])).unwrap())
    }

    fn holder(tenant: &str) -> Scope {
        Scope::Tenant(TenantId::new(tenant).unwrap())
    }

    proptest! {
        #[test]
        fn a_token_is_read_by_its_plane_for_its_holder(revision: u64) {
            let token = seal(&master(1), &holder("acme"), revision).unwrap();
            prop_assert_eq!(token.len(), CHARACTERS);
            prop_assert_eq!(open(&master(1), &holder("acme"), &token), Some(revision));
        }

        #[test]
        fn any_changed_byte_is_refused(revision: u64, at in 0..CHARACTERS, to in "[A-Za-z0-9_-]") {
            let token = seal(&master(1), &holder("acme"), revision).unwrap();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != token);
            prop_assert_eq!(open(&master(1), &holder("acme"), &changed), None);
        }
    }

    #[test]
    fn a_token_of_another_holder_or_plane_is_refused_as_one_that_was_made_up() {
        let token = seal(&master(1), &holder("acme"), 7).unwrap();
        for (key, to) in [(1, holder("globex")), (1, Scope::Plane), (2, holder("acme"))] {
            assert_eq!(open(&master(key), &to, &token), None);
        }
        for made_up in [
            "",
            "7",
            &"A".repeat(CHARACTERS),
            token.trim_end_matches(char::is_alphanumeric),
            &format!("{token}A"),
        ] {
            assert_eq!(open(&master(1), &holder("acme"), made_up), None);
        }
    }

    #[test]
    fn tokens_of_one_revision_tell_nothing_by_being_equal() {
        let token = || seal(&master(1), &holder("acme"), 7).unwrap();
        assert_ne!(token(), token());
    }
}
