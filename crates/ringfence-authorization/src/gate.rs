//! The gate in front of every change to a serving store: valid, and proved safe, or nothing changes.
//!
//! It guarantees that nothing is published that was not looked at here: [`Publishable`] has one constructor, and the
//! functions that write a store take nothing else.

use serde::{Deserialize, Serialize};

use crate::{
    CompiledStore, StoreDocument, StoresError,
    proof::{Proof, Prover, SolverSettings},
};

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

/// What is known of what was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    prover: Prover,
}

impl Gate {
    /// A gate that proves with this solver.
    pub async fn new(solver: SolverSettings) -> Self {
        Self { prover: Prover::new(solver).await }
    }

    /// The solver's name and version.
    ///
    /// # Errors
    /// Why it can't be asked.
    pub fn solver(&self) -> Result<&str, &str> {
        self.prover.solver()
    }

    /// Looks at a store before it takes effect.
    ///
    /// # Errors
    /// [`StoresError::Policy`] where it is not valid, [`StoresError::Refuted`] where it is not safe, and
    /// [`StoresError::Unproved`] where that is not known and `when` says to refuse.
    pub async fn check(
        &self,
        document: StoreDocument,
        when: WhenUnproved,
    ) -> Result<Publishable, StoresError> {
        CompiledStore::compile(&document, 0)?;
        let standing = match self.prover.prove(&document).await? {
            Proof::Proved => Standing::Proved(self.solver().unwrap_or_default().to_owned()),
            Proof::Refuted(found) => return Err(StoresError::Refuted(found)),
            Proof::Unproved(why) if when == WhenUnproved::Refuse => return Err(StoresError::Unproved(why)),
            Proof::Unproved(why) => {
                tracing::warn!(tenant = %document.tenant, %why, "published without a proof");
                Standing::Unproved(why.to_string())
            }
        };
        Ok(Publishable { document, standing })
    }
}
