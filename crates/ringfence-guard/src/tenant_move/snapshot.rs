//! Which transactions a snapshot saw, as `pg_current_snapshot()` writes it: `xmin:xmax:running,running`.
//!
//! Exact for a transaction's id of 32 bits, as the WAL has it: ids are compared within two thousand million of the snapshot's
//! own, further than which Postgres lets none live (`src/backend/access/transam/README`). A subtransaction is its transaction.

use std::fmt;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    oldest: u64,
    next: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Reads what Postgres wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (oldest, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let running = running.map(|xid| xid.parse().ok()).collect::<Option<_>>()?;
        parts.next().is_none().then_some(Self { oldest, next, running })
    }

    /// Whether it saw the transaction, had that been committed then.
    pub(super) fn saw(&self, xid: u32) -> bool {
        let full = self.full(xid);
        full < self.oldest || full < self.next && !self.running.contains(&full)
    }

    /// The transactions that were running.
    pub(super) fn running(&self) -> &[u64] {
        &self.running
    }

    /// The id of 64 bits, of those with this lower half, that is nearest to the snapshot.
    fn full(&self, xid: u32) -> u64 {
        const EPOCH: u64 = 1 << 32;
        let same = (self.next & !(EPOCH - 1)) | u64::from(xid);
        let candidates = [same.checked_sub(EPOCH), Some(same), same.checked_add(EPOCH)];
        let nearest = candidates.into_iter().flatten().min_by_key(|full| full.abs_diff(self.next));
        nearest.unwrap_or(same)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        write!(formatter, "{}:{}:{}", self.oldest, self.next, running.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(snapshot: &str, seen: &[u32], unseen: &[u32]) {
        let read = Snapshot::read(snapshot).unwrap();
        assert_eq!(read.to_string(), snapshot);
        for xid in seen {
            assert!(read.saw(*xid), "{xid} in {snapshot}");
        }
        for xid in unseen {
            assert!(!read.saw(*xid), "{xid} in {snapshot}");
        }
    }

    #[test]
    fn what_a_snapshot_saw() {
        check("10:20:10,14", &[3, 9, 11, 13, 19], &[10, 14, 20, 21, 2_000_000_000]);
        check("20:20:", &[19], &[20]);
    }

    #[test]
    fn ids_of_32_bits_are_those_nearby() {
        let epoch = 1_u64 << 32;
        // Just after the lower half began anew: large ids are old, and just before: small ids are new.
        check(
            &format!("{0}:{0}:", epoch + 5),
            &[4, u32::MAX, u32::MAX - 1_000_000_000],
            &[5, 6, 1_000_000_000],
        );
        check(
            &format!("{0}:{0}:", epoch - 5),
            &[u32::MAX - 5, 2_500_000_000],
            &[u32::MAX - 4, 3, 1_000_000_000],
        );
        check(&format!("{0}:{1}:{0}", epoch - 2, epoch + 4), &[u32::MAX, 3], &[u32::MAX - 1, 4]);
    }

    #[test]
    fn reject_what_is_no_snapshot() {
        for text in ["", "1:2", "1:2:3:4", "a:2:", "1:2:x", "1:-2:"] {
            assert_eq!(Snapshot::read(text), None, "{text}");
        }
    }
}
