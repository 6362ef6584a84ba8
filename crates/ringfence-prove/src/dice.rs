//! Random values that the same seed repeats: SHA-256 over seed, label and counter.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

/// A source of values that nobody else would choose.
#[derive(Debug)]
pub(crate) struct Dice {
    seed: u64,
    label: String,
    thrown: AtomicU64,
}

impl Dice {
    /// Dice of a seed, for one purpose.
    pub(crate) fn new(seed: u64, label: &str) -> Self {
        Self { seed, label: label.to_owned(), thrown: AtomicU64::new(0) }
    }

    /// 32 bytes.
    pub(crate) fn bytes(&self) -> [u8; 32] {
        let turn = self.thrown.fetch_add(1, Ordering::Relaxed);
        let text = format!("{}|{}|{turn}", self.seed, self.label);
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        out
    }

    /// A number.
    pub(crate) fn number(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// 16 hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        format!("{:016x}", self.number())
    }

    /// An id that looks like any other.
    pub(crate) fn uuid(&self) -> Uuid {
        let bytes = self.bytes();
        let mut half = [0; 16];
        half.copy_from_slice(bytes.split_at(16).0);
        uuid::Builder::from_random_bytes(half).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_labels_differ() {
        let (one, same, other) = (Dice::new(1, "a"), Dice::new(1, "a"), Dice::new(1, "b"));
        let first = one.uuid();
        assert_eq!(first, same.uuid());
        assert_ne!(first, other.uuid());
        assert_ne!(first, one.uuid());
        assert_eq!(first.get_version_num(), 4);
    }
}
