//! A store that fails on purpose: by a seed, so that a failing run is repeated by its number; or all of it, as if down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{
    error::StoreError,
    record::{Change, Record, RecordKey, Revision, Scope},
    store::{Answer, Listen, Store},
};

/// Fails some of the operations of the store inside it.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    seed: u64,
    drawn: AtomicU64,
    per_mille: u64,
    down: AtomicBool,
}

enum Fault {
    None,
    Before,
    After,
}

impl<S: Store> FaultyStore<S> {
    /// Fails `per_mille` of a thousand operations, drawn from `seed`: half of them before they happen, and half after,
    /// as when the answer gets lost. Prints the seed.
    pub fn new(inner: S, seed: u64, per_mille: u64) -> Self {
        tracing::info!(seed, per_mille, "faulty store");
        Self { inner, seed, drawn: AtomicU64::new(0), per_mille, down: AtomicBool::new(false) }
    }

    /// The seed that repeats this run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Takes the whole store down, or brings it back.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn draw(&self) -> Fault {
        if self.down.load(Ordering::SeqCst) {
            return Fault::Before;
        }
        let number = splitmix(self.seed.wrapping_add(self.drawn.fetch_add(1, Ordering::SeqCst)));
        if number % 1000 >= self.per_mille {
            Fault::None
        } else if number & (1 << 40) == 0 {
            Fault::Before
        } else {
            Fault::After
        }
    }

    async fn run<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.draw();
        let unavailable = || Err(StoreError::Unavailable { cause: format!("fault of seed {}", self.seed) });
        if matches!(fault, Fault::Before) {
            return unavailable();
        }
        let outcome = operation.await;
        if matches!(fault, Fault::After) { unavailable() } else { outcome }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn get<'a>(&'a self, key: &'a RecordKey) -> Answer<'a, Option<Record>> {
        Box::pin(self.run(self.inner.get(key)))
    }

    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        kind: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Vec<Record>> {
        Box::pin(self.run(self.inner.list(scope, kind, after, limit)))
    }

    fn commit(&self, changes: Vec<Change>) -> Answer<'_, Revision> {
        Box::pin(self.run(self.inner.commit(changes)))
    }

    fn changes(&self, after: Revision, limit: u32) -> Answer<'_, Vec<(Revision, RecordKey)>> {
        Box::pin(self.run(self.inner.changes(after, limit)))
    }

    fn revision(&self) -> Answer<'_, Revision> {
        Box::pin(self.run(self.inner.revision()))
    }

    fn listen(&self) -> Answer<'_, Option<Box<dyn Listen>>> {
        self.inner.listen()
    }
}

/// The SplitMix64 generator (Steele, Lea, Flood 2014): each state gives one well-mixed number.
pub(crate) fn splitmix(state: u64) -> u64 {
    let mut mixed = state.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
