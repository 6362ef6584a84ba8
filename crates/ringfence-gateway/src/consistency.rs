//! At which revision a node answers, and how it catches up with one that somebody has seen elsewhere (SYSTEMS X-14).
//!
//! An answer carries a consistency token ([`ringfence_store::consistency`]); a request that brings one back is answered by
//! what is at least as new, or not at all. It guarantees that nobody makes a node work by asking: a token opens for whom
//! it was told to, a revision this node has reached costs nothing, at most one catching-up runs at a time and all who
//! wait share it, nobody waits longer than [`WAIT`], and a revision the state does not have is refused after one look.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use ringfence_context::{Layer, Reason, Refusal};
use ringfence_store::{Follows, Records, Revision, Scope, StoreError};
use tokio::sync::Mutex;

/// On an answer: the revision it was made at, or that the change it is about has made.
pub const REVISION: HeaderName = HeaderName::from_static("ringfence-revision");

/// On a request: what it is to be answered by, at least.
pub const AT_LEAST: HeaderName = HeaderName::from_static("ringfence-at-least-revision");

/// How long a request waits for its node to catch up.
pub const WAIT: Duration = Duration::from_secs(1);

/// The consistency of one node's answers.
pub struct Consistency {
    records: Records,
    followers: Vec<Arc<dyn Follows>>,
    one_at_a_time: Mutex<()>,
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Consistency {
    /// Of a node that decides by all of these.
    pub fn new(records: Records, followers: Vec<Arc<dyn Follows>>) -> Self {
        Self {
            records,
            followers,
            one_at_a_time: <_>::default(),
            begun: <_>::default(),
            ended: <_>::default(),
        }
    }

    /// The revision that answers of this node are at least of.
    pub fn reached(&self) -> Revision {
        self.followers.iter().map(|follower| follower.reached()).min().unwrap_or_default()
    }

    /// A revision as a header's value for `holder`, who alone can bring it back.
    pub fn token(&self, holder: &Scope, revision: Revision) -> Option<HeaderValue> {
        let token = self.records.revision_seal(holder, revision)?;
        HeaderValue::from_str(&token).ok()
    }

    /// Does what a request of `holder` asks for. Says whether it asked.
    ///
    /// # Errors
    /// [`Reason::RevisionUnreadable`] where it is not one token that was told to this holder;
    /// [`Reason::RevisionNotReached`].
    pub async fn at_least(&self, holder: &Scope, headers: &HeaderMap) -> Result<bool, Refusal> {
        let mut values = headers.get_all(AT_LEAST).iter();
        let Some(value) = values.next() else { return Ok(false) };
        let token = value.to_str().ok().filter(|_| values.next().is_none());
        let wanted = token.and_then(|token| self.records.revision_open(holder, token));
        let unreadable =
            Refusal::new(Layer::Routing, Reason::RevisionUnreadable, "not a token of this holder");
        self.reach(wanted.ok_or(unreadable)?).await.map(|()| true)
    }

    /// Returns when answers are of `wanted` or later.
    ///
    /// # Errors
    /// [`Reason::RevisionNotReached`].
    pub async fn reach(&self, wanted: Revision) -> Result<(), Refusal> {
        if self.reached() >= wanted {
            return Ok(());
        }
        let behind = |detail| Refusal::new(Layer::Routing, Reason::RevisionNotReached, detail);
        match tokio::time::timeout(WAIT, self.catch_up()).await {
            Ok(_) if self.reached() >= wanted => Ok(()),
            Ok(Ok(())) => Err(behind("the state has no such revision: an older copy of it was put back")),
            Ok(Err(_)) => Err(behind("the state can't be read")),
            Err(_) => Err(behind("catching up takes too long")),
        }
    }

    /// Catches up, or shares in a catching-up that began after this was asked for.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let asked = self.begun.load(Ordering::SeqCst);
        let _one_at_a_time = self.one_at_a_time.lock().await;
        if self.ended.load(Ordering::SeqCst) > asked {
            return Ok(());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        for follower in &self.followers {
            follower.catch_up().await?;
        }
        self.ended.store(number, Ordering::SeqCst);
        Ok(())
    }
}

impl std::fmt::Debug for Consistency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Consistency(reached {})", self.reached())
    }
}

#[cfg(test)]
mod tests {
    use ringfence_context::TenantId;
    use ringfence_store::{Answer, Draft, Kind, MasterKey, SqliteStore};
    use tokio::sync::Semaphore;

    use super::*;

    const NOTE: Kind = Kind::new("note");

    /// Follows when it is let, and counts how often it was made to.
    struct Follower {
        records: Records,
        reached: AtomicU64,
        asked: AtomicU64,
        let_through: Semaphore,
    }

    impl Follows for Follower {
        fn reached(&self) -> Revision {
            self.reached.load(Ordering::SeqCst)
        }

        fn catch_up(&self) -> Answer<'_, ()> {
            Box::pin(async {
                self.asked.fetch_add(1, Ordering::SeqCst);
                self.let_through.acquire().await.unwrap().forget();
                self.reached.store(self.records.revision().await?, Ordering::SeqCst);
                Ok(())
            })
        }
    }

    struct World {
        records: Records,
        follower: Arc<Follower>,
        consistency: Arc<Consistency>,
        acme: Scope,
        _dir: tempfile::TempDir,
    }

    async fn world(permits: usize) -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("state")).await.unwrap();
        let master = MasterKey::from_bytes(ringfence_context::Secret::new(vec![1; 32])).unwrap();
        let records = Records::new(Arc::new(store), master);
        let follower = Arc::new(Follower {
            records: records.clone(),
            reached: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            let_through: Semaphore::new(permits),
        });
        let consistency = Arc::new(Consistency::new(records.clone(), vec![Arc::clone(&follower) as _]));
        let acme = Scope::Tenant(TenantId::new("acme").unwrap());
        World { records, follower, consistency, acme, _dir: dir }
    }

    impl World {
        async fn commit(&self) -> Revision {
            let draft = Draft::put(&Scope::Plane, NOTE, "a", &"x").unwrap();
            self.records.commit(vec![draft]).await.unwrap()
        }

        async fn ask(&self, tokens: &[HeaderValue]) -> Result<bool, Reason> {
            let headers = tokens.iter().map(|token| (AT_LEAST, token.clone())).collect();
            self.consistency.at_least(&self.acme, &headers).await.map_err(|refusal| refusal.reason)
        }

        fn asked(&self) -> u64 {
            self.follower.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn x14_a_node_that_is_behind_catches_up_before_it_answers() {
        let world = world(100).await;
        assert_eq!(world.ask(&[]).await, Ok(false));
        let token = world.consistency.token(&world.acme, world.commit().await).unwrap();
        assert_eq!(world.consistency.reached(), 0);
        assert_eq!(world.ask(std::slice::from_ref(&token)).await, Ok(true));
        assert_eq!((world.consistency.reached(), world.asked()), (1, 1));
        assert_eq!(world.ask(&[token]).await, Ok(true));
        assert_eq!(world.asked(), 1, "what is reached costs nothing");
    }

    #[tokio::test]
    async fn a_token_that_is_not_ones_own_makes_nobody_work() {
        let world = world(100).await;
        let revision = world.commit().await;
        let globex = Scope::Tenant(TenantId::new("globex").unwrap());
        let of = |holder: &Scope| world.consistency.token(holder, revision).unwrap();
        let own = of(&world.acme);
        for tokens in [
            vec![of(&globex)],
            vec![of(&Scope::Plane)],
            vec![HeaderValue::from_static("1")],
            vec![HeaderValue::from_static("")],
            vec![HeaderValue::from_bytes(b"\xff").unwrap()],
            vec![own.clone(), own.clone()],
        ] {
            assert_eq!(world.ask(&tokens).await, Err(Reason::RevisionUnreadable), "{tokens:?}");
        }
        assert_eq!(world.asked(), 0);
    }

    #[tokio::test]
    async fn reject_a_revision_the_state_does_not_have_after_one_look() {
        let world = world(100).await;
        world.commit().await;
        let token = world.consistency.token(&world.acme, u64::MAX).unwrap();
        assert_eq!(world.ask(&[token]).await, Err(Reason::RevisionNotReached));
        assert_eq!(world.asked(), 1);
    }

    #[tokio::test]
    async fn reject_what_takes_longer_than_the_wait() {
        let world = world(0).await;
        assert_eq!(world.consistency.reach(1).await.unwrap_err().reason, Reason::RevisionNotReached);
    }

    #[tokio::test]
    async fn all_who_wait_share_one_catching_up_and_at_most_the_next() {
        let world = world(0).await;
        let revision = world.commit().await;
        let waiting: Vec<_> = (0..200)
            .map(|_| {
                let consistency = Arc::clone(&world.consistency);
                tokio::spawn(async move { consistency.reach(revision).await })
            })
            .collect();
        // Nobody is let through before all have asked.
        while world.asked() == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.asked(), 1, "one at a time");
        world.follower.let_through.add_permits(1000);
        for waiter in waiting {
            waiter.await.unwrap().unwrap();
        }
        assert!(world.asked() <= 2, "{}", world.asked());
    }

    #[tokio::test]
    async fn who_goes_away_while_it_catches_up_leaves_it_to_the_next() {
        let world = world(0).await;
        let revision = world.commit().await;
        let consistency = Arc::clone(&world.consistency);
        let gone = tokio::spawn(async move { consistency.reach(revision).await });
        while world.asked() == 0 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        world.follower.let_through.add_permits(1);
        world.consistency.reach(revision).await.unwrap();
        assert_eq!(world.asked(), 2);
    }
}
