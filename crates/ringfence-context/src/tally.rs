//! How often what was asked for was in memory already.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts what is found and what is not, since it was made.
#[derive(Debug, Default)]
pub struct Tally {
    found: AtomicU64,
    missed: AtomicU64,
}

/// Lookups in memory since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Hits {
    /// Those that found something that still counts.
    pub found: u64,
    /// Those that did not: it was worked out or read.
    pub missed: u64,
}

impl Tally {
    /// One lookup more, and whether it found something.
    pub fn count(&self, found: bool) {
        let counter = if found { &self.found } else { &self.missed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// So far.
    pub fn hits(&self) -> Hits {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Hits { found: read(&self.found), missed: read(&self.missed) }
    }
}
