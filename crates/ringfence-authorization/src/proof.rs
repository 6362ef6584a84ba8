//! Proves a store's policies safe before they take effect.
//!
//! Two claims, each for every request that the schema can express: what a tenant's own policies allow is a principal and a
//! resource of one tenant, and no policy can error. Cedar's policies are translated to SMT by `cedar-policy-symcc`
//! (Cutler et al., "Cedar: A New Language for Expressive, Fast, Safe, and Analyzable Authorization", 2024) and decided by
//! cvc5. The platform's guardrail is left out of the first claim: it forbids the same again, by itself.
//!
//! It guarantees that only what the solver proved is called so: a solver that is missing, slow, wrong or at a loss leaves
//! a store unproved, and a counterexample counts when Cedar's own authorizer agrees with it.

mod claim;
mod counterexample;
mod difference;
mod solver;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cedar_policy::Schema;
use quick_cache::sync::Cache;
use ringfence_context::key::sha256;
use tokio::sync::Semaphore;

pub use self::{
    counterexample::Counterexample,
    difference::{Difference, Finding, KindOfRequest, Likeness},
    solver::SolverSettings,
};
use crate::{PolicyFault, StoreDocument, compile};

/// Proofs remembered, by content. Tenants of a tier begin with the same content.
const REMEMBERED: usize = 10_000;

/// Proofs under way at once, each with a solver process of its own.
const AT_ONCE: usize = 2;

/// What is known of a store's policies.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Both claims hold.
    Proved,
    /// One does not: here is a request.
    Refuted(Arc<Counterexample>),
    /// Neither is known.
    Unproved(Unproved),
}

/// Why it is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The solver can't be started.
    #[error("the solver can't be started ({0}): install cvc5, or name it under [solver] in ringfence.toml")]
    NoSolver(String),
    /// It took too long.
    #[error("the proof took too long: make the policies simpler or fewer")]
    TooSlow,
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
    places: Arc<Semaphore>,
    comparing: tokio::sync::Mutex<()>,
}

impl Prover {
    /// A prover with the solver that `settings` names, which is asked its version.
    pub async fn new(settings: SolverSettings) -> Self {
        let version = settings.version().await;
        Self {
            settings,
            version,
            remembered: Cache::new(REMEMBERED),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            comparing: <_>::default(),
        }
    }

    /// The solver's name and version.
    ///
    /// # Errors
    /// Why it can't be asked.
    pub fn solver(&self) -> Result<&str, &str> {
        self.version.as_ref().map(String::as_str).map_err(String::as_str)
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
        let (schema, _) = Schema::from_cedarschema_str(&document.schema).map_err(PolicyFault::schema)?;
        let policies = compile::own_policies(document)?;
        let claims = |settings: SolverSettings| async move {
            let claims = claim::decide(&settings, &schema, &policies);
            tokio::time::timeout(settings.time, claims).await.unwrap_or(Proof::Unproved(Unproved::TooSlow))
        };
        let proof = self.apart(claims).await.unwrap_or_else(Proof::Unproved);
        if matches!(proof, Proof::Proved | Proof::Refuted(_)) {
            self.remembered.insert(content, proof.clone());
        }
        Ok(proof)
    }

    /// Works with the solver on a thread of its own, for translating takes the processor for long; a few at once.
    async fn apart<T: Send + 'static, F: Future<Output = T>>(
        &self,
        work: impl FnOnce(SolverSettings) -> F + Send + 'static,
    ) -> Result<T, Unproved> {
        if let Err(why) = &self.version {
            return Err(Unproved::NoSolver(why.clone()));
        }
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return Err(Unproved::Failed("it is shutting down".to_owned()));
        };
        let (settings, runtime) = (self.settings.clone(), tokio::runtime::Handle::current());
        let working = tokio::task::spawn_blocking(move || {
            let _place = place;
            runtime.block_on(work(settings))
        });
        working.await.map_err(|error| Unproved::Failed(error.to_string()))
    }
}

/// What a proof depends on: the schema and every policy, by name.
fn content(document: &StoreDocument) -> [u8; 32] {
    let StoreDocument { schema, policies, templates, links, .. } = document;
    // Maps are sorted; what can't be written as JSON can't be here.
    sha256(&serde_json::to_vec(&(schema, policies, templates, links)).unwrap_or_default())
}
