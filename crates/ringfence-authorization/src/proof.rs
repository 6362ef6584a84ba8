//! Proves a store's policies safe before they take effect.
//!
//! Two claims, each for every request that the schema can express: what a tenant's own policies allow is a principal and a
//! resource of one tenant, and no policy can error. Cedar's policies are translated to SMT by `cedar-policy-symcc`
//! (Cutler et al., "Cedar: A New Language for Expressive, Fast, Safe, and Analyzable Authorization", 2024) and decided by
//! cvc5. The platform's guardrail is left out of the first claim: it forbids the same again, by itself.
//!
//! It guarantees that only what the solver proved is called so: a solver that is missing, slow, wrong or at a loss leaves
//! a store unproved, and a counterexample counts when Cedar's own authorizer agrees with it.

mod apart;
mod claim;
mod counterexample;
mod difference;
mod solver;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use quick_cache::sync::Cache;
use ringfence_context::{TenantId, key::sha256, limits, tally::Hits};
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::Instant};

use self::apart::{Done, Task};
pub use self::{
    apart::answer,
    counterexample::Counterexample,
    difference::{Difference, Finding, KindOfRequest, Likeness},
    solver::SolverSettings,
};
use crate::{
    PolicyFault, StoreDocument,
    bulkhead::{Bulkhead, NotDone},
    credit::{Credit, TIME_AT_ONCE},
    turns::Turns,
};

/// Proofs remembered, by content. Tenants of a tier begin with the same content.
const REMEMBERED: usize = 10_000;

/// Processes at once.
const AT_ONCE: usize = 3;

/// What is known of a store's policies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Proof {
    /// Both claims hold.
    Proved,
    /// One does not: here is a request.
    Refuted(Arc<Counterexample>),
    /// Neither is known.
    Unproved(Unproved),
}

/// Why it is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unproved {
    /// The solver can't be started.
    #[error("the solver can't be started ({0}): install cvc5, or name it under [solver] in ringfence.toml")]
    NoSolver(String),
    /// It took too long.
    #[error("the proof took too long: make the policies simpler or fewer")]
    TooSlow,
    /// It took too much memory.
    #[error("the proof took more memory than one may take: make the policies simpler or fewer")]
    TooLarge,
    /// It gave up.
    #[error("the solver could not decide: make the policies simpler")]
    Unknown,
    /// Something in the policies or the schema is not in the fragment that can be translated.
    #[error("this can't be proved: {0}")]
    OutOfFragment(String),
    /// An entity type without `tenant: String`.
    #[error("give every entity type that an action applies to an attribute `tenant: String`: {0}")]
    NoTenant(String),
    /// The solver's answer does not stand up to Cedar's authorizer.
    #[error("the solver found a request that Cedar decides otherwise")]
    NotReplayed,
    /// The solver failed.
    #[error("the solver failed: {0}")]
    Failed(String),
}

/// Proves, and remembers what it proved.
#[derive(Debug)]
pub struct Prover {
    settings: SolverSettings,
    version: Result<String, String>,
    remembered: Cache<[u8; 32], Proof>,
    bulkhead: Arc<Bulkhead>,
    turns: Turns<TenantId>,
    credit: Arc<Credit<TenantId>>,
    places: Semaphore,
}

impl Prover {
    /// A prover with the solver that `settings` names, which is asked its version. It works in `bulkhead`.
    pub async fn new(settings: SolverSettings, bulkhead: Arc<Bulkhead>) -> Self {
        let version = settings.version().await;
        Self {
            settings,
            version,
            remembered: Cache::new(REMEMBERED),
            bulkhead,
            turns: Turns::new(limits::BULKHEAD_WAITING),
            credit: Arc::new(Credit::new(TIME_AT_ONCE)),
            places: Semaphore::new(AT_ONCE),
        }
    }

    /// The solver's name and version.
    ///
    /// # Errors
    /// Why it can't be asked.
    pub fn solver(&self) -> Result<&str, &str> {
        self.version.as_ref().map(String::as_str).map_err(String::as_str)
    }

    /// How often what was to be proved had been.
    pub fn hits(&self) -> Hits {
        Hits { found: self.remembered.hits(), missed: self.remembered.misses() }
    }

    /// How often there was no place to wait in.
    pub(crate) fn crowded(&self) -> u64 {
        self.turns.crowded()
    }

    /// Proves the policies of a store, or remembers having done so.
    ///
    /// # Errors
    /// [`PolicyFault`] where the store is not valid to begin with.
    pub async fn prove(&self, document: &StoreDocument) -> Result<Proof, PolicyFault> {
        let content = content(document);
        if let Some(proof) = self.remembered.get(&content) {
            return Ok(proof);
        }
        let proof = match self.apart(&document.tenant, Task::Prove(document.clone())).await {
            Ok(Done::Proof(proof)) => proof,
            Ok(Done::Invalid(what)) => return Err(PolicyFault::told(what)),
            Ok(Done::Compared(..)) => Proof::Unproved(Unproved::Unknown),
            Err(why) => Proof::Unproved(why),
        };
        if matches!(proof, Proof::Proved | Proof::Refuted(_)) {
            self.remembered.insert(content, proof.clone());
        }
        Ok(proof)
    }

    /// Has a task done in a process of its own, one at a time for each tenant; without such, on a thread for long work.
    async fn apart(&self, whose: &TenantId, task: Task) -> Result<Done, Unproved> {
        if let Err(why) = &self.version {
            return Err(Unproved::NoSolver(why.clone()));
        }
        let failed = |why: NotDone| Unproved::Failed(why.to_string());
        if let Some(program) = &self.settings.prover {
            let _turn = self.turns.take(whose).await.map_err(|crowded| failed(crowded.into()))?;
            let _place = self.places.acquire().await.map_err(|_| failed(NotDone::EndedEarly))?;
            let at_once = self.credit.left(whose, Instant::now());
            // What its process has of a processor is not known here: at most all of the time.
            let _paid = self.credit.meter(whose.clone(), ClockId::Monotonic);
            return task.work_apart(&self.settings, program, at_once).await;
        }
        let (settings, runtime) = (self.settings.clone(), tokio::runtime::Handle::current());
        let work = move || runtime.block_on(task.work(&settings));
        self.bulkhead.run(Some(whose), work).await.map_err(failed)
    }
}

/// What a proof depends on: the schema and every policy, by name.
fn content(document: &StoreDocument) -> [u8; 32] {
    let StoreDocument { schema, policies, templates, links, .. } = document;
    // Maps are sorted; what can't be written as JSON can't be here.
    sha256(&serde_json::to_vec(&(schema, policies, templates, links)).unwrap_or_default())
}
