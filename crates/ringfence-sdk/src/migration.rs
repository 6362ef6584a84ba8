//! From a check the backend has of its own to the tenant's policies, in stages: first watched, then both, then the policies
//! alone (SYSTEMS HJ-10).
//!
//! It guarantees that what decides is what the stage's name says: by itself a migration is at [`Stage::Enforce`]; with
//! [`Stage::Compare`] nothing passes that either refuses; and only with [`Stage::ShadowOwnCheckDecides`], which nothing
//! chooses but its name in the code, is something let through that the policies refuse. Then there is no permit, and the
//! guard opens no session for it.

use std::{
    fmt,
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ringfence_context::{Layer, Permit, Reason, Refusal, TenantId};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::session::{Subject, TenantSession};

/// How long a request waits for an answer that decides nothing.
const SHADOW_WAIT: Duration = Duration::from_millis(250);

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// The backend's own check, alone. The policies are asked beside it, and differences are told: **they refuse nothing**.
    ShadowOwnCheckDecides,
    /// Both, and either refuses. Differences are told.
    Compare,
    /// The policies, alone. The own check is not asked.
    #[default]
    Enforce,
}

/// What was answered differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Of which tenant.
    pub tenant: &'a TenantId,
    /// What was to be done.
    pub action: &'a str,
    /// To what type of thing.
    pub kind: &'a str,
    /// To which.
    pub id: &'a str,
    /// What the own check says; the policies say the other.
    pub own_allows: bool,
}

/// How often what was answered, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Both answered, and the same.
    pub agreed: u64,
    /// The own check allowed what the policies refuse.
    pub only_own_allowed: u64,
    /// The policies permitted what the own check refuses.
    pub only_policies_allowed: u64,
    /// The policies could not be asked, or not in time.
    pub unanswered: u64,
}

/// Told of each difference, in the request: what it does is to be quick.
pub type Tell = Box<dyn Fn(&Difference<'_>) + Send + Sync>;

/// A migration of one check, or of several.
pub struct Migration {
    stage: Stage,
    tell: Tell,
    agreed: AtomicU64,
    only_own_allowed: AtomicU64,
    only_policies_allowed: AtomicU64,
    unanswered: AtomicU64,
}

/// It was allowed.
#[derive(Debug)]
#[must_use]
pub struct Allowed<P = Permit>(Option<P>);

impl<P> Allowed<P> {
    /// The permit. There is none where the own check alone allowed it.
    pub fn permit(self) -> Option<P> {
        self.0
    }
}

impl Default for Migration {
    fn default() -> Self {
        Self::new(Stage::default(), |_| ())
    }
}

impl Migration {
    /// At this stage; differences are told to `tell`.
    pub fn new(stage: Stage, tell: impl Fn(&Difference<'_>) + Send + Sync + 'static) -> Self {
        let zero = AtomicU64::default;
        Self {
            stage,
            tell: Box::new(tell),
            agreed: zero(),
            only_own_allowed: zero(),
            only_policies_allowed: zero(),
            unanswered: zero(),
        }
    }

    /// What decides.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How often what was answered.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            agreed: read(&self.agreed),
            only_own_allowed: read(&self.only_own_allowed),
            only_policies_allowed: read(&self.only_policies_allowed),
            unanswered: read(&self.unanswered),
        }
    }

    /// Decides by the stage, from what the own check says and what the policies do.
    ///
    /// # Errors
    /// The refusal of whatever decides.
    async fn decide<P>(
        &self,
        what: &Difference<'_>,
        own: impl Future<Output = bool>,
        policies: impl Future<Output = Result<P, Refusal>>,
    ) -> Result<Allowed<P>, Refusal> {
        let refused = Refusal::new(Layer::Backend, Reason::Denied, "the backend's own check refuses");
        match self.stage {
            Stage::Enforce => policies.await.map(|permit| Allowed(Some(permit))),
            Stage::Compare => {
                let (own, policies) = tokio::join!(own, policies);
                self.compare(what, own, &policies);
                let permit = policies?;
                if own { Ok(Allowed(Some(permit))) } else { Err(refused) }
            }
            Stage::ShadowOwnCheckDecides => {
                let (own, policies) = tokio::join!(own, timeout(SHADOW_WAIT, policies));
                let late = Refusal::new(Layer::Backend, Reason::DependencyUnavailable, "no answer in time");
                let policies = policies.unwrap_or(Err(late));
                self.compare(what, own, &policies);
                if own { Ok(Allowed(policies.ok())) } else { Err(refused) }
            }
        }
    }

    fn compare<P>(&self, what: &Difference<'_>, own: bool, policies: &Result<P, Refusal>) {
        let policies = match policies {
            Ok(_) => Some(true),
            // A policy that fails refuses as one that forbids does: it would, were it enforced.
            Err(Refusal { reason: Reason::Denied | Reason::PolicyError, .. }) => Some(false),
            Err(_) => None,
        };
        let count = match policies {
            None => &self.unanswered,
            Some(policies) if policies == own => &self.agreed,
            Some(true) => &self.only_policies_allowed,
            Some(false) => &self.only_own_allowed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if policies.is_some_and(|policies| policies != own) {
            (self.tell)(&Difference { own_allows: own, ..what.clone() });
        }
    }
}

impl TenantSession {
    /// As [`TenantSession::permit`], by the stage of a migration; `own` is the check the backend has had so far.
    ///
    /// # Errors
    /// The refusal of whatever decides.
    pub async fn permit_staged(
        &self,
        migration: &Migration,
        subject: Subject<'_>,
        facts: Map<String, Value>,
        own: impl Future<Output = bool>,
    ) -> Result<Allowed, Refusal> {
        let (kind, id) = (subject.kind, subject.id);
        let what = Difference { tenant: self.tenant(), action: self.action(), kind, id, own_allows: false };
        migration.decide(&what, own, self.permit(subject, facts)).await
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration").field("stage", &self.stage).field("counts", &self.counts()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Says {
        Allows,
        Refuses,
        Fails,
        Nothing,
    }

    impl Says {
        fn answer(self) -> Result<&'static str, Refusal> {
            let refuse = |layer, reason| Err(Refusal::new(layer, reason, "of a test"));
            match self {
                Self::Allows => Ok("permit"),
                Self::Refuses => refuse(Layer::Authorization, Reason::Denied),
                Self::Fails => refuse(Layer::Authorization, Reason::PolicyError),
                Self::Nothing => refuse(Layer::Backend, Reason::DependencyUnavailable),
            }
        }
    }

    fn tenant() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    fn about(tenant: &TenantId) -> Difference<'_> {
        Difference { tenant, action: "ViewPayment", kind: "Payment", id: "p-1", own_allows: false }
    }

    /// At this stage: whether it is allowed, with a permit or without, and what was told.
    async fn tried(
        stage: Stage,
        own: bool,
        policies: Says,
    ) -> (Result<Option<&'static str>, Reason>, Vec<bool>, Counts) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        let migration = Migration::new(stage, move |difference| {
            assert_eq!((difference.tenant, difference.kind, difference.id), (&tenant(), "Payment", "p-1"));
            kept.lock().unwrap().push(difference.own_allows);
        });
        let acme = tenant();
        let outcome = migration.decide(&about(&acme), ready(own), ready(policies.answer())).await;
        let told = told.lock().unwrap().clone();
        let outcome = outcome.map(Allowed::permit).map_err(|refusal| refusal.reason);
        (outcome, told, migration.counts())
    }

    #[tokio::test]
    async fn hj10_what_decides_is_what_the_stage_says() {
        use Says::{Allows, Fails, Nothing, Refuses};
        use Stage::{Compare, Enforce, ShadowOwnCheckDecides as Shadow};
        let (denied, error, down) = (Reason::Denied, Reason::PolicyError, Reason::DependencyUnavailable);
        let permit = Ok(Some("permit"));
        for (stage, own, policies, expected) in [
            (Enforce, true, Allows, permit),
            (Enforce, false, Allows, permit),
            (Enforce, true, Refuses, Err(denied)),
            (Enforce, true, Fails, Err(error)),
            (Enforce, true, Nothing, Err(down)),
            (Compare, true, Allows, permit),
            (Compare, false, Allows, Err(denied)),
            (Compare, true, Refuses, Err(denied)),
            (Compare, false, Refuses, Err(denied)),
            (Compare, true, Fails, Err(error)),
            (Compare, true, Nothing, Err(down)),
            (Shadow, true, Allows, permit),
            (Shadow, false, Allows, Err(denied)),
            // Allowed, and without a permit: no session in the database comes of it.
            (Shadow, true, Refuses, Ok(None)),
            (Shadow, true, Fails, Ok(None)),
            (Shadow, true, Nothing, Ok(None)),
            (Shadow, false, Refuses, Err(denied)),
        ] {
            let (outcome, told, counts) = tried(stage, own, policies).await;
            assert_eq!(outcome, expected, "{stage:?} {own} {policies:?}");
            let answered = !matches!(policies, Nothing);
            let differ = answered && stage != Enforce && own != matches!(policies, Allows);
            assert_eq!(told, if differ { vec![own] } else { vec![] }, "{stage:?} {own} {policies:?}");
            let expected = match (stage, answered, differ) {
                (Enforce, ..) => Counts::default(),
                (_, false, _) => Counts { unanswered: 1, ..Counts::default() },
                (_, _, false) => Counts { agreed: 1, ..Counts::default() },
                (..) if own => Counts { only_own_allowed: 1, ..Counts::default() },
                _ => Counts { only_policies_allowed: 1, ..Counts::default() },
            };
            assert_eq!(counts, expected, "{stage:?} {own} {policies:?}");
        }
    }

    #[tokio::test]
    async fn hj10_a_shadow_waits_for_nobody_for_long_and_enforcing_asks_no_own_check() {
        let acme = tenant();
        let shadow = Migration::new(Stage::ShadowOwnCheckDecides, |_| ());
        let never = pending::<Result<(), Refusal>>();
        let allowed = shadow.decide(&about(&acme), ready(true), never).await.unwrap();
        assert!(allowed.permit().is_none());
        assert_eq!(shadow.counts().unanswered, 1);

        let enforce = Migration::default();
        assert_eq!(enforce.stage(), Stage::Enforce);
        let asked = async { panic!("the own check is not asked") };
        assert!(enforce.decide(&about(&acme), asked, ready(Ok(()))).await.unwrap().permit().is_some());
    }
}
