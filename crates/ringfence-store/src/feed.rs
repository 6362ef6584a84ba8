//! Following: what a node keeps in memory is brought up to date by the state's change feed (SYSTEMS CV-25).
//!
//! Every change is told at least once and in the order of revisions; of a record that changed more than once, the latest
//! change. It guarantees that a revision counts as reached only once everything up to it has been applied: where applying
//! fails, the same is told again. What the feed can't tell, because an older state was put back, is told as everything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Mutex;

use crate::{
    error::StoreError,
    record::{RecordKey, Revision},
    records::Records,
    store::Answer,
};

/// How often a follower looks where nothing wakes it.
const CONFIRM: Duration = Duration::from_secs(1);

/// Changes read at once.
const PAGE: u32 = 500;

/// What a node keeps in memory of the state.
pub trait Follows: Send + Sync {
    /// The revision of the state that it is of, at least.
    fn reached(&self) -> Revision;

    /// Brings it up to the latest revision.
    fn catch_up(&self) -> Answer<'_, ()>;
}

/// What may differ from what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These records; none, where nothing changed.
    Changed(Vec<RecordKey>),
    /// Anything: at the beginning, and where an older state was put back.
    Everything,
}

/// Keeps something, and applies what is told.
pub trait Apply: Send + Sync {
    /// Applies it. What can't be applied for one tenant is that tenant's matter and no reason to fail.
    ///
    /// # Errors
    /// Where the state can't be read: then it is told again.
    fn apply<'a>(&'a self, news: &'a News) -> Answer<'a, ()>;
}

/// Tells what is kept of what changes.
pub struct Follower<A> {
    records: Records,
    kept: A,
    at: Mutex<Option<Revision>>,
    reached: AtomicU64,
}

impl<A: Apply> Follower<A> {
    /// Follows from now on; everything has been told once when it returns.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn begin(records: Records, kept: A) -> Result<Arc<Self>, StoreError> {
        let follower = Arc::new(Self { records, kept, at: Mutex::default(), reached: AtomicU64::default() });
        follower.refresh().await?;
        Ok(follower)
    }

    /// What is kept.
    pub fn kept(&self) -> &A {
        &self.kept
    }

    /// Follows until the records are dropped.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = self.records.subscribe();
        loop {
            if let Ok(Err(_)) = tokio::time::timeout(CONFIRM, seen.changed()).await {
                return;
            }
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the state's changes can't be followed");
            }
        }
    }

    /// Tells all there is to tell.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let mut at = self.at.lock().await;
        let latest = self.records.revision().await?;
        let (news, until) = match *at {
            Some(before) if before <= latest => self.since(before).await?,
            _ => (News::Everything, latest),
        };
        self.kept.apply(&news).await?;
        *at = Some(until);
        self.reached.store(until, Ordering::Release);
        Ok(())
    }

    async fn since(&self, before: Revision) -> Result<(News, Revision), StoreError> {
        let (mut changed, mut until) = (Vec::new(), before);
        loop {
            let page = self.records.changes(until, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok((News::Changed(changed), until)) };
            until = *last;
            changed.extend(page.into_iter().map(|(_, key)| key));
        }
    }
}

impl<A: Apply> Follows for Follower<A> {
    fn reached(&self) -> Revision {
        self.reached.load(Ordering::Acquire)
    }

    fn catch_up(&self) -> Answer<'_, ()> {
        Box::pin(self.refresh())
    }
}

impl<A: std::fmt::Debug> std::fmt::Debug for Follower<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Follower({:?})", self.kept)
    }
}
