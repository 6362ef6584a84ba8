//! Who has asked too much waits for being told so.
//!
//! Turning a request away costs nearly what a small question costs: reading it, verifying its signature. Who sends the next
//! as soon as it is answered would take as much of the threads that serve as if nobody counted. A request that waits costs no
//! more than a connection that is idle: it has been let go of, but for its answer. How often a tenant is told does not depend
//! on how many connections and streams it has, and no tenant waits for another's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{extract::State, http::StatusCode, response::Response};
use ringfence_context::TenantId;
use tokio::time::Instant;

/// How long, at least. An SDK that is told to slow down waits for longer before it tries again.
pub const PAUSE: Duration = Duration::from_millis(100);

/// How long after the one before it a tenant's next such answer comes.
const APART: Duration = Duration::from_millis(10);

/// How long, at most: SDKs wait for a minute.
const LONGEST: Duration = Duration::from_secs(20);

/// Marks an answer that says so, and to which tenant; none where the caller is an operator.
#[derive(Debug, Clone)]
pub(crate) struct TooMuch(Option<TenantId>);

/// When each tenant is told next; who waits for nothing is not in it.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<HashMap<TenantId, Instant>>);

impl Pauses {
    /// When an answer may be given that is ready now.
    fn until(&self, whose: Option<&TenantId>, now: Instant) -> Instant {
        let soonest = now + PAUSE;
        let Some(tenant) = whose else { return soonest };
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains_key(tenant) {
            told.retain(|_, last| *last > now);
        }
        let next = told.get(tenant).map_or(soonest, |last| soonest.max(*last + APART));
        let next = next.min(now + LONGEST);
        told.insert(tenant.clone(), next);
        next
    }
}

impl TooMuch {
    /// Marks an answer to a caller who is proved to be of this tenant, or an operator.
    pub(crate) fn mark(answer: &mut Response, whose: Option<TenantId>) {
        answer.extensions_mut().insert(Self(whose));
    }
}

/// Holds such an answer back.
pub(crate) async fn before_too_much(State(pauses): State<Arc<Pauses>>, mut answer: Response) -> Response {
    let marked = answer.extensions_mut().remove::<TooMuch>();
    if marked.is_some() || answer.status() == StatusCode::TOO_MANY_REQUESTS {
        let whose = marked.and_then(|TooMuch(tenant)| tenant);
        tokio::time::sleep_until(pauses.until(whose.as_ref(), Instant::now())).await;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_told_so_a_hundred_times_a_second_however_often_it_asks_and_no_other_waits_for_it() {
        let (pauses, start) = (Pauses::default(), Instant::now());
        let [acme, globex] = ["acme", "globex"].map(|id| TenantId::new(id).unwrap());
        let told = |whose: Option<&TenantId>, now| pauses.until(whose, now) - start;
        let millis = Duration::from_millis;
        assert_eq!(told(Some(&acme), start), PAUSE);
        // All its streams at once.
        for stream in 1..=500 {
            assert_eq!(told(Some(&acme), start), PAUSE + millis(10 * stream));
        }
        assert_eq!(told(Some(&globex), start), PAUSE, "another tenant's is its own");
        assert_eq!(told(None, start), PAUSE);
        assert_eq!(told(None, start), PAUSE, "operators wait for nobody");
        for _ in 0..2_000 {
            told(Some(&acme), start);
        }
        assert_eq!(told(Some(&acme), start), LONGEST, "sooner than anybody gives up");
        // Who stops asking is as any other again.
        let later = start + LONGEST + millis(1);
        assert_eq!(told(Some(&acme), later), LONGEST + millis(1) + PAUSE);
    }

    #[test]
    fn who_waits_for_nothing_takes_no_memory() {
        let (pauses, start) = (Pauses::default(), Instant::now());
        for number in 0..10 {
            pauses.until(Some(&TenantId::new(&format!("tenant-{number}")).unwrap()), start);
        }
        pauses.until(Some(&TenantId::new("acme").unwrap()), start + LONGEST);
        assert_eq!(pauses.0.lock().unwrap().len(), 1);
    }
}
