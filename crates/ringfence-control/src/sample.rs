//! Which verdicts the decision log keeps, by tier. All, unless a tier says less; and less of what was refused only where
//! it says so by name.
//!
//! It guarantees that the verdicts of one request are kept or left out together, on every node alike: what decides is the
//! request's reference.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use ringfence_context::{Record, Verdict};
use ringfence_gateway::limit::RateLimits;
use serde::Deserialize;

/// Which share of a tier's verdicts is kept: 0 for none, 1 for all.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Of requests that were let through.
    pub allow: f64,
    /// Of requests that were refused.
    pub deny: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { allow: 1.0, deny: 1.0 }
    }
}

impl Sampling {
    /// Whether both shares are ones.
    pub fn is_valid(&self) -> bool {
        [self.allow, self.deny].iter().all(|share| (0.0..=1.0).contains(share))
    }

    fn keeps(&self, verdict: &Verdict) -> bool {
        let share = if verdict.refused.is_some() { self.deny } else { self.allow };
        if share >= 1.0 {
            return true;
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(verdict.reference.as_str());
        // Of the upper 32 bits, which a float holds exactly.
        f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) < share * (f64::from(u32::MAX) + 1.0)
    }
}

/// A log that keeps a share.
pub struct Sampled {
    inner: Arc<dyn Record>,
    tiers: BTreeMap<String, Sampling>,
    tier_of: Arc<RateLimits>,
}

impl Sampled {
    /// Keeps these shares; the log itself where every tier keeps all.
    pub fn over(
        inner: Arc<dyn Record>,
        tiers: BTreeMap<String, Sampling>,
        tier_of: Arc<RateLimits>,
    ) -> Arc<dyn Record> {
        if tiers.values().all(|tier| *tier == Sampling::default()) {
            return inner;
        }
        Arc::new(Self { inner, tiers, tier_of })
    }
}

impl Record for Sampled {
    fn record(&self, verdict: Verdict) {
        // What is of no tenant, or of a tenant whose tier is not known, is kept.
        let tier = verdict.tenant.as_ref().and_then(|tenant| self.tier_of.tier(tenant));
        let sampling = tier.and_then(|tier| self.tiers.get(&tier).copied()).unwrap_or_default();
        if sampling.keeps(&verdict) {
            self.inner.record(verdict);
        }
    }
}

impl std::fmt::Debug for Sampled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sampled({:?})", self.tiers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ringfence_context::{Layer, Part, Reason, Reference, Refusal, TenantId, UnixTime};

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Verdict>>);

    impl Record for Kept {
        fn record(&self, verdict: Verdict) {
            self.0.lock().unwrap().push(verdict);
        }
    }

    #[test]
    fn a_share_of_one_tiers_verdicts_is_kept_and_its_refusals_all() {
        let now = UnixTime::from_seconds(1_800_000_000);
        let kept = Arc::new(Kept::default());
        let tier_of = Arc::new(RateLimits::default());
        let tenants = ["cheap", "whole", "stranger"].map(|id| TenantId::new(id).unwrap());
        tier_of.tier_put(tenants[0].clone(), "cheap");
        tier_of.tier_put(tenants[1].clone(), "whole");
        let tiers = BTreeMap::from([
            ("cheap".to_owned(), Sampling { allow: 0.25, ..Sampling::default() }),
            ("whole".to_owned(), Sampling::default()),
        ]);
        let log = Sampled::over(Arc::clone(&kept) as _, tiers, tier_of);
        let refusal = Refusal::new(Layer::Authorization, Reason::Denied, "no");
        for tenant in &tenants {
            for random in 0..4000_u64 {
                let reference = Reference::make(now, random.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let verdict = Verdict {
                    tenant: Some(tenant.clone()),
                    ..Verdict::passed(reference, now, Part::Gateway, &[])
                };
                log.record(verdict.clone());
                log.record(verdict.refused(&refusal));
            }
        }
        let kept = kept.0.lock().unwrap();
        let count = |tenant: &TenantId, refused: bool| {
            kept.iter()
                .filter(|v| v.tenant.as_ref() == Some(tenant) && v.refused.is_some() == refused)
                .count()
        };
        assert!((800..1200).contains(&count(&tenants[0], false)), "{}", count(&tenants[0], false));
        assert_eq!(count(&tenants[0], true), 4000, "refusals are kept");
        for tenant in &tenants[1..] {
            assert_eq!((count(tenant, false), count(tenant, true)), (4000, 4000), "{tenant}");
        }
    }

    #[test]
    fn a_share_is_between_none_and_all() {
        for (share, valid) in
            [(0.0, true), (0.5, true), (1.0, true), (1.1, false), (-0.1, false), (f64::NAN, false)]
        {
            assert_eq!(Sampling { allow: share, deny: 1.0 }.is_valid(), valid, "{share}");
            assert_eq!(Sampling { allow: 1.0, deny: share }.is_valid(), valid, "{share}");
        }
    }
}
