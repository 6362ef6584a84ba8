//! The keys of other issuers, kept for minutes.
//!
//! It guarantees that an issuer is asked once at a time, and not again within seconds, whatever tokens come; that keys
//! which are too old are not used, whatever has become of their issuer; that a set is kept under the issuer it was
//! fetched of; and that one account's issuers, however slow, hold up no other's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use quick_cache::sync::Cache;
use ringfence_authorization::avp::{Account, ForeignFault};
use ringfence_context::{Clock, UnixTime, foreign::ForeignKeys, limits, strict_json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::foreign::{
    allowed::{Allowed, Entry, PlaneNames},
    fetch::{Fetch, FetchFault},
    url::IssuerUrl,
};

/// Keys of issuers.
pub(crate) struct IssuerKeys {
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    kept: Cache<String, Arc<Issuer>>,
    asked: Semaphore,
    asked_for: Mutex<HashMap<Account, usize>>,
}

/// One issuer.
struct Issuer {
    known: RwLock<Known>,
    /// Who asks it, one at a time.
    turn: tokio::sync::Mutex<()>,
    waiting: Semaphore,
}

/// A place among those who ask, till it is dropped.
struct Place<'a> {
    of: &'a IssuerKeys,
    account: Account,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.of.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.account) {
            *count = count.saturating_sub(1);
        }
        all.retain(|_, count| *count > 0);
    }
}

/// What is known of it.
#[derive(Clone, Default)]
struct Known {
    keys: Option<(Arc<ForeignKeys>, UnixTime)>,
    /// When it was asked last.
    asked: Option<UnixTime>,
}

impl IssuerKeys {
    pub(crate) fn new(fetch: Fetch, clock: Arc<dyn Clock>) -> Self {
        Self {
            fetch,
            clock,
            kept: Cache::new(limits::ISSUERS_KEPT),
            asked: Semaphore::new(limits::ISSUERS_ASKED),
            asked_for: Mutex::default(),
        }
    }

    /// The keys of an issuer, with `kid` among them if that is one.
    pub(crate) async fn keys(
        &self,
        account: &Account,
        (issuer, url): (&str, &IssuerUrl),
        kid: &str,
        (allowed, planes): (&Allowed, &PlaneNames),
    ) -> Result<Arc<ForeignKeys>, ForeignFault> {
        let made = || {
            let (turn, waiting) = (tokio::sync::Mutex::new(()), Semaphore::new(limits::ISSUER_WAITING));
            Ok::<_, ForeignFault>(Arc::new(Issuer { known: RwLock::default(), turn, waiting }))
        };
        let kept = self.kept.get_or_insert_with(issuer, made)?;
        if let Some(keys) = kept.fresh(self.clock.now()).filter(|keys| keys.has(kid)) {
            return Ok(keys);
        }
        let _waiting = kept.waiting.try_acquire().map_err(|_| ForeignFault::Busy)?;
        let _turn = kept.turn.lock().await;
        let now = self.clock.now();
        let fresh = kept.fresh(now);
        if fresh.as_ref().is_some_and(|keys| keys.has(kid)) || kept.asked_lately(now) {
            // What is fresh and lacks the key was fetched just now: the key is none of this issuer's.
            return fresh.ok_or(ForeignFault::Unavailable);
        }
        let _place = self.place(account)?;
        kept.is_asked(now);
        let time = Duration::from_secs(limits::ISSUER_ANSWER_SECONDS);
        let fetched = tokio::time::timeout(time, self.ask(issuer, url, allowed, planes)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(FetchFault::TooSlow(url.authority())));
        match fetched {
            Ok(keys) => Ok(kept.has(keys, self.clock.now())),
            Err(fault) => {
                tracing::warn!(account = account.name(), issuer, %fault, "an issuer's keys can't be had");
                fresh.ok_or(ForeignFault::Unavailable)
            }
        }
    }

    /// Asks an issuer: who it says it is, and then for its keys.
    async fn ask(
        &self,
        issuer: &str,
        url: &IssuerUrl,
        allowed: &Allowed,
        planes: &PlaneNames,
    ) -> Result<ForeignKeys, FetchFault> {
        let form = |what: &str| FetchFault::Form(url.authority(), what.to_owned());
        let entry = allowed.find(url).ok_or_else(|| form("is not in issuers of [avp]"))?;
        let metadata = self.fetch.get(&url.metadata(), entry).await?;
        let metadata = strict_json::value(&metadata, limits::ISSUER_JSON_DEPTH)
            .map_err(|_| form("has metadata that is not one JSON object, each member once"))?;
        let said = |name: &str| metadata.get(name).and_then(serde_json::Value::as_str);
        if said("issuer") != Some(issuer) {
            return Err(form("says that it is another issuer"));
        }
        let at = said("jwks_uri").and_then(IssuerUrl::read);
        let at = at.ok_or_else(|| form("has no jwks_uri of the form that is read here"))?;
        let entry = beside(url, &at, entry, allowed).filter(|_| !planes.has(&at));
        let entry = entry.ok_or_else(|| form("has its keys elsewhere, which is not in issuers of [avp]"))?;
        let keys = self.fetch.get(&at, entry).await?;
        ForeignKeys::read(&keys).map_err(|fault| FetchFault::Form(at.authority(), fault.to_string()))
    }

    /// A place among those who ask, on this node and for this account.
    fn place(&self, account: &Account) -> Result<Place<'_>, ForeignFault> {
        let permit = self.asked.try_acquire().map_err(|_| ForeignFault::Busy)?;
        let mut all = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(account.clone()).or_default();
        if *count >= limits::ISSUERS_ASKED_FOR_ONE {
            return Err(ForeignFault::Busy);
        }
        *count = count.saturating_add(1);
        drop(all);
        Ok(Place { of: self, account: account.clone(), _permit: permit })
    }
}

/// The entry by which an issuer's keys may be fetched: its own where they are beside it, or another of the list.
fn beside<'a>(issuer: &IssuerUrl, at: &IssuerUrl, own: &'a Entry, allowed: &'a Allowed) -> Option<&'a Entry> {
    if issuer.is_beside(at) { Some(own) } else { allowed.find(at) }
}

impl Issuer {
    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its keys, if they are not too old.
    fn fresh(&self, now: UnixTime) -> Option<Arc<ForeignKeys>> {
        let age = Duration::from_secs(limits::ISSUER_KEYS_SECONDS);
        self.known().keys.filter(|(_, fetched)| now.since(*fetched) < age).map(|(keys, _)| keys)
    }

    fn asked_lately(&self, now: UnixTime) -> bool {
        let soon = Duration::from_secs(limits::ISSUER_AGAIN_SECONDS);
        self.known().asked.is_some_and(|asked| now.since(asked) < soon)
    }

    fn is_asked(&self, now: UnixTime) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).asked = Some(now);
    }

    fn has(&self, keys: ForeignKeys, now: UnixTime) -> Arc<ForeignKeys> {
        let keys = Arc::new(keys);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.keys = Some((Arc::clone(&keys), now));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[tokio::test]
    async fn reject_issuers_kept() {
        let keys = IssuerKeys::new(Fetch::new(None).unwrap(), Arc::new(SystemClock));
        for number in 0..limits::ISSUERS_KEPT + limits::ISSUERS_KEPT / 10 {
            let issuer = format!("https://i{number}.example.com");
            let url = IssuerUrl::read(&issuer).unwrap();
            let nobody = (&Allowed::default(), &PlaneNames::default());
            let asked = keys.keys(&Account::Plane, (&issuer, &url), "k", nobody).await;
            assert!(matches!(asked, Err(ForeignFault::Unavailable)), "not listed: {issuer}");
        }
        assert!(keys.kept.len() <= limits::ISSUERS_KEPT, "{}", keys.kept.len());
    }
}
