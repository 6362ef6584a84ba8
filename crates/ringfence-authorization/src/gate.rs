//! The gate in front of every change to a serving store: valid, and proved safe, or nothing changes.
//!
//! It guarantees that nothing is published that was not looked at here: [`Publishable`] has one constructor, and the
//! functions that write a store take nothing else.

use std::sync::Arc;

use ringfence_context::tally::Hits;
use serde::{Deserialize, Serialize};

use crate::{
    CompiledStore, StoreDocument, StoresError,
    avp::Quotas,
    bulkhead::Bulkhead,
    proof::{Difference, Proof, Prover, SolverSettings},
};

/// How many tenants' changes are looked at at once, each with a solver process of its own.
const AT_ONCE: usize = 4;

/// What becomes of a change that can neither be proved nor refuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnproved {
    /// It is refused.
    #[default]
    Refuse,
    /// It is published, and said to be unproved. The guardrail still holds.
    Accept,
}

/// Whether somebody else must have approved a change before it takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Review {
    /// It takes effect at once.
    #[default]
    None,
    /// It is proposed, and another operator approves it.
    Required,
}

/// What a tier asks of a change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// What becomes of what can't be proved.
    pub unproved: WhenUnproved,
    /// Whether it is reviewed.
    pub review: Review,
    /// How much a store may hold.
    pub quotas: Quotas,
}

impl From<WhenUnproved> for Terms {
    /// With the documented quotas, and without a review.
    fn from(unproved: WhenUnproved) -> Self {
        Self { unproved, ..Self::default() }
    }
}

/// What is known of what was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Proved, by this solver.
    Proved(String),
    /// Not proved, and why not.
    Unproved(String),
}

/// A store that may take effect.
#[derive(Debug)]
pub struct Publishable {
    document: StoreDocument,
    standing: Standing,
    review: Review,
}

impl Publishable {
    /// The store.
    pub fn document(&self) -> &StoreDocument {
        &self.document
    }

    /// What is known of it.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether somebody else must have approved it.
    pub fn review(&self) -> Review {
        self.review
    }
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    prover: Prover,
    bulkhead: Arc<Bulkhead>,
}

impl Gate {
    /// A gate that proves with this solver.
    pub async fn new(solver: SolverSettings) -> Self {
        let bulkhead = Arc::new(Bulkhead::new(AT_ONCE));
        Self { prover: Prover::new(solver, Arc::clone(&bulkhead)).await, bulkhead }
    }

    /// The threads on which changes are looked at.
    pub fn bulkhead(&self) -> &Bulkhead {
        &self.bulkhead
    }

    /// The solver's name and version.
    ///
    /// # Errors
    /// Why it can't be asked.
    pub fn solver(&self) -> Result<&str, &str> {
        self.prover.solver()
    }

    /// How often what was to be proved had been.
    pub fn hits(&self) -> Hits {
        self.prover.hits()
    }

    /// How often a tenant was turned away because as much of its own was waiting as may.
    pub fn crowded(&self) -> u64 {
        self.bulkhead.crowded().saturating_add(self.prover.crowded())
    }

    /// What two stores allow differently.
    ///
    /// # Errors
    /// [`StoresError::Policy`] where one of them is not valid.
    pub async fn difference(
        &self,
        before: &StoreDocument,
        after: &StoreDocument,
    ) -> Result<Difference, StoresError> {
        Ok(self.prover.difference(before, after).await?)
    }

    /// Looks at a store before it takes effect.
    ///
    /// # Errors
    /// [`StoresError::Quota`] where it is larger than `terms` allow, [`StoresError::Policy`] where it is not valid,
    /// [`StoresError::Refuted`] where it is not safe, and [`StoresError::Unproved`] where that is not known and `terms`
    /// say to refuse, and [`StoresError::Busy`] where too many changes of the same tenant are being looked at.
    pub async fn check(
        &self,
        document: StoreDocument,
        terms: impl Into<Terms>,
    ) -> Result<Publishable, StoresError> {
        #[cfg(feature = "range")]
        if crate::broken::gate_is_out() {
            let standing = Standing::Unproved("nobody looked at it".to_owned());
            return Ok(Publishable { document, standing, review: Review::None });
        }
        let Terms { unproved, review, quotas } = terms.into();
        quotas.check(&document).map_err(StoresError::Quota)?;
        let looked_at = document.clone();
        let whose = document.tenant.clone();
        self.bulkhead.run(Some(&whose), move || CompiledStore::compile(&looked_at, 0).map(drop)).await??;
        let standing = match self.prover.prove(&document).await? {
            Proof::Proved => Standing::Proved(self.solver().unwrap_or_default().to_owned()),
            Proof::Refuted(found) => return Err(StoresError::Refuted(found)),
            Proof::Unproved(why) if unproved == WhenUnproved::Refuse => {
                return Err(StoresError::Unproved(why));
            }
            Proof::Unproved(why) => {
                tracing::warn!(tenant = %document.tenant, %why, "published without a proof");
                Standing::Unproved(why.to_string())
            }
        };
        Ok(Publishable { document, standing, review })
    }
}
