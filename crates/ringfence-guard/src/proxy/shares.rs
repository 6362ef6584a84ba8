//! Who gets the next place among the server connections: tenants share them.
//!
//! It guarantees that no tenant holds more than its own cap, whatever it opens, and that of those who wait the tenant with
//! the fewest places is next: a tenant with a thousand clients waiting delays another's first by one transaction.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_context::TenantId;
use tokio::sync::oneshot;

/// Who holds a place. `None` is nobody's tenant: the guard itself, or a client that a broken composition let in.
pub(super) type Holder = Option<TenantId>;

/// Who asks for a place, and how many it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) holder: Holder,
    pub(super) most: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All are taken.
    Full,
    /// The tenant has all that one may have.
    Share,
}

/// All places, and who waits for one.
#[derive(Debug)]
pub(super) struct Shares {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// How many wait.
    waiting: usize,
    /// Who holds or waits; without either, an entry goes.
    tenants: HashMap<Holder, Share>,
    /// Numbers waiters in order of asking.
    asked: u64,
}

#[derive(Debug, Default)]
struct Share {
    /// How many it may hold, as it last said.
    most: usize,
    held: usize,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Shares>,
    holder: Holder,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shares.state().release(&self.holder);
    }
}

/// A place asked for. Dropped before it was taken up, it gives back what was granted, or stops asking.
struct Waiter {
    shares: Arc<Shares>,
    holder: Holder,
    asked: u64,
    granted: oneshot::Receiver<()>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.shares.state();
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            state.release(&self.holder);
        } else {
            state.forget(&self.holder, self.asked);
        }
    }
}

impl Shares {
    /// `places` in all.
    pub(super) fn new(places: usize) -> Arc<Self> {
        let state = State { free: places, waiting: 0, tenants: HashMap::new(), asked: 0 };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Waits for a place until `waited` completes.
    pub(super) async fn take(
        self: &Arc<Self>,
        claim: Claim,
        waited: impl Future<Output = ()>,
    ) -> Result<Place, NoPlace> {
        if self.state().take_at_once(&claim) {
            return Ok(Place { shares: Arc::clone(self), holder: claim.holder });
        }
        let (grant, granted) = oneshot::channel();
        let asked = self.state().ask(&claim, grant);
        let holder = claim.holder;
        let mut waiter = Waiter { shares: Arc::clone(self), holder: holder.clone(), asked, granted };
        let granted = tokio::select! {
            biased;
            granted = &mut waiter.granted => granted.is_ok(),
            () = waited => false,
        };
        if granted { Ok(Place { shares: Arc::clone(self), holder }) } else { Err(self.why(&holder)) }
    }

    /// A place for the guard's own use, if one is free that nobody waits for.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state();
        state.free = state.free.checked_sub(1)?;
        state.tenants.entry(None).or_default().held += 1;
        Some(Place { shares: Arc::clone(self), holder: None })
    }

    fn why(&self, holder: &Holder) -> NoPlace {
        let state = self.state();
        let share = state.tenants.get(holder);
        if share.is_some_and(|share| share.held >= share.most) { NoPlace::Share } else { NoPlace::Full }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a place where nobody waits for one: by far the most usual.
    fn take_at_once(&mut self, claim: &Claim) -> bool {
        if self.waiting > 0 || self.free == 0 {
            return false;
        }
        let Claim { holder, most } = claim;
        match self.tenants.get_mut(holder) {
            Some(share) if share.held >= *most => return false,
            Some(share) => (share.held, share.most) = (share.held + 1, *most),
            None if *most == 0 => return false,
            None => {
                let share = Share { held: 1, most: *most, ..Share::default() };
                self.tenants.insert(holder.clone(), share);
            }
        }
        self.free -= 1;
        true
    }

    /// Queues for a place; the number it is remembered by.
    fn ask(&mut self, claim: &Claim, grant: oneshot::Sender<()>) -> u64 {
        let asked = self.asked;
        self.asked = asked.wrapping_add(1);
        let share = self.tenants.entry(claim.holder.clone()).or_default();
        share.most = claim.most;
        share.waiting.push_back((asked, grant));
        self.waiting += 1;
        self.grant();
        asked
    }

    /// Gives free places to those who wait and may have one: the tenant with the fewest first, then who asked first.
    fn grant(&mut self) {
        while self.free > 0 {
            let may = self.tenants.values_mut().filter(|share| share.held < share.most);
            let next = may
                .filter_map(|share| Some((share.held, share.waiting.front()?.0, share)))
                .min_by_key(|(held, asked, _)| (*held, *asked));
            let Some((_, waiter)) = next.and_then(|(_, _, share)| {
                share.held += 1;
                share.waiting.pop_front()
            }) else {
                return;
            };
            self.free -= 1;
            self.waiting -= 1;
            // It is listening: a waiter that goes is forgotten before anything is granted again.
            let _ = waiter.send(());
        }
    }

    fn release(&mut self, holder: &Holder) {
        self.free += 1;
        if let Some(share) = self.tenants.get_mut(holder) {
            share.held = share.held.saturating_sub(1);
        }
        self.grant();
        self.tidy(holder);
    }

    fn forget(&mut self, holder: &Holder, asked: u64) {
        if let Some(share) = self.tenants.get_mut(holder) {
            let before = share.waiting.len();
            share.waiting.retain(|(number, _)| *number != asked);
            self.waiting -= before - share.waiting.len();
        }
        self.tidy(holder);
    }

    fn tidy(&mut self, holder: &Holder) {
        let idle = |share: &Share| share.held == 0 && share.waiting.is_empty();
        if self.tenants.get(holder).is_some_and(idle) {
            self.tenants.remove(holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Poll, time::Duration};

    use futures_util::{FutureExt, poll};
    use proptest::prelude::*;

    use super::*;

    fn soon() -> tokio::time::Sleep {
        tokio::time::sleep(Duration::from_secs(5))
    }

    fn tenant(name: &str, most: usize) -> Claim {
        Claim { holder: Some(TenantId::new(name).unwrap()), most }
    }

    #[tokio::test]
    async fn a_tenant_has_no_more_than_its_cap() {
        let shares = Shares::new(4);
        let mut held = vec![];
        for _ in 0..3 {
            held.push(shares.take(tenant("acme", 3), soon()).await.unwrap());
        }
        let short = || tokio::time::sleep(Duration::from_millis(1));
        assert_eq!(shares.take(tenant("acme", 3), short()).await.unwrap_err(), NoPlace::Share);
        let last = shares.take(tenant("globex", 3), soon()).await.unwrap();
        assert_eq!(shares.take(tenant("initech", 3), short()).await.unwrap_err(), NoPlace::Full);
        drop(last);
        assert!(shares.take(tenant("initech", 3), soon()).await.is_ok());
        held.pop();
        assert!(shares.take(tenant("acme", 3), soon()).await.is_ok());
    }

    #[tokio::test]
    async fn each_has_its_own_cap_and_a_new_one_is_the_next_ones() {
        let shares = Shares::new(6);
        let short = || tokio::time::sleep(Duration::from_millis(1));
        let mut held = vec![shares.take(tenant("acme", 1), soon()).await.unwrap()];
        assert_eq!(shares.take(tenant("acme", 1), short()).await.unwrap_err(), NoPlace::Share);
        held.push(shares.take(tenant("globex", 2), soon()).await.unwrap());
        held.push(shares.take(tenant("globex", 2), soon()).await.unwrap());
        // Another tier from here on; what is held stays.
        held.push(shares.take(tenant("acme", 2), soon()).await.unwrap());
        assert_eq!(shares.take(tenant("globex", 1), short()).await.unwrap_err(), NoPlace::Share);
        let mut waits = Box::pin(shares.take(tenant("globex", 1), soon()));
        assert!(poll!(&mut waits).is_pending());
        held.remove(1);
        assert!(poll!(&mut waits).is_pending(), "one is held still");
        held.remove(1);
        assert!(poll!(&mut waits).is_ready());
    }

    #[tokio::test]
    async fn who_has_fewest_is_next() {
        let shares = Shares::new(2);
        let first = shares.take(tenant("acme", 2), soon()).await.unwrap();
        let second = shares.take(tenant("acme", 2), soon()).await.unwrap();
        let mut more = Box::pin(shares.take(tenant("acme", 2), soon()));
        assert!(poll!(&mut more).is_pending());
        let mut other = Box::pin(shares.take(tenant("globex", 2), soon()));
        assert!(poll!(&mut other).is_pending());
        drop(first);
        assert!(poll!(&mut more).is_pending(), "asked first, and has one still");
        let Poll::Ready(Ok(_others)) = poll!(&mut other) else { panic!("has none") };
        drop(second);
        assert!(poll!(&mut more).is_ready());
    }

    #[tokio::test]
    async fn a_place_granted_to_who_has_gone_is_not_lost() {
        let shares = Shares::new(1);
        let held = shares.take(tenant("acme", 2), soon()).await.unwrap();
        let mut gone = Box::pin(shares.take(tenant("globex", 2), soon()));
        assert!(poll!(&mut gone).is_pending());
        drop(held);
        drop(gone);
        assert!(shares.take(tenant("acme", 2), soon()).now_or_never().unwrap().is_ok());
        assert!(shares.state().tenants.is_empty());
    }

    proptest! {
        #[test]
        fn places_are_neither_lost_nor_made(acts in proptest::collection::vec((0_usize..3, any::<bool>()), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let shares = Shares::new(3);
                let names = ["acme", "globex", "initech"];
                let mut held: Vec<(usize, Place)> = vec![];
                let mut waiting = vec![];
                for (who, take) in acts {
                    if take {
                        let mut asked = Box::pin(shares.take(tenant(names[who], 2), soon()));
                        match poll!(&mut asked) {
                            Poll::Ready(place) => held.push((who, place.unwrap())),
                            Poll::Pending => waiting.push((who, asked)),
                        }
                    } else if let Some(at) = held.iter().position(|(holder, _)| *holder == who) {
                        held.remove(at);
                    } else if let Some(at) = waiting.iter().position(|(holder, _)| *holder == who) {
                        drop(waiting.remove(at));
                    }
                    let mut still = vec![];
                    for (who, mut asked) in waiting {
                        match poll!(&mut asked) {
                            Poll::Ready(place) => held.push((who, place.unwrap())),
                            Poll::Pending => still.push((who, asked)),
                        }
                    }
                    waiting = still;
                    let of = |who| held.iter().filter(|(holder, _)| *holder == who).count();
                    assert!((0..3).all(|who| of(who) <= 2));
                    assert_eq!(shares.state().free, 3 - held.len());
                    // Nobody waits who could be served.
                    assert!(held.len() == 3 || waiting.iter().all(|(who, _)| of(*who) == 2));
                }
                drop((held, waiting));
                assert_eq!(shares.state().free, 3);
                assert!(shares.state().tenants.values().all(|share| share.held == 0));
            });
        }
    }
}
