//! Decisions where entities are stored, or about somebody else than who asks.

use cedar_policy::EntityUid;
use ringfence_context::{Refusal, StoreAnswer};

use crate::{
    compile::CompiledStore,
    entities::{
        load::{LoadFault, Loaded, Moment},
        merge::{Prepared, Terms},
    },
    question::Question,
    stores::{Stores, unavailable},
};

/// How often a decision begins again because the state has moved on under it.
const ATTEMPTS: usize = 8;

impl Stores {
    /// Answers from the tenant's store and entities, by other policies than the store's where some are given.
    pub(crate) fn answer_with_entities(
        &self,
        mut store: CompiledStore,
        by: Option<&CompiledStore>,
        question: &Question<'_>,
    ) -> Result<StoreAnswer, Refusal> {
        let terms = question.terms();
        for _ in 0..ATTEMPTS {
            let entities = store.entities;
            let deciding = by.map_or_else(|| store.clone(), |by| CompiledStore { entities, ..by.clone() });
            match self.answer_once(&deciding, terms) {
                Err(LoadFault::Moved) => {
                    self.residents.forget(terms.tenant);
                    store = self.wait(terms.tenant)?;
                }
                Err(LoadFault::Refused(refusal)) => return Err(refusal),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(unavailable("the tenant's entities keep changing"))
    }

    fn answer_once(&self, store: &CompiledStore, terms: Terms<'_>) -> Result<StoreAnswer, LoadFault> {
        let at = Moment { tenant: terms.tenant, store, head: store.entities };
        at.check_reach().map_err(refused)?;
        let prepared = terms.prepare(&store.content.vocabulary).map_err(|misfit| refused(misfit.into()))?;
        let loaded = self.loaded(at, &prepared.roots())?;
        let merged = prepared.merge(&loaded).map_err(|misfit| refused(misfit.into()))?;
        let wanted = merged.wanted(&loaded);
        let loaded = if wanted.is_empty() { loaded } else { self.loaded(at, &with(&prepared, wanted))? };
        let question = prepared.finish(merged, &loaded).map_err(|misfit| refused(misfit.into()))?;
        self.answer_apart(store, terms.tenant, question).map_err(refused)
    }

    fn loaded(&self, at: Moment<'_>, roots: &[EntityUid]) -> Result<Loaded, LoadFault> {
        match self.entities.held(at, roots) {
            Some(held) => held.map_err(LoadFault::Refused),
            None => {
                self.block_on(self.entities.load(&self.records, at, roots)).map_err(LoadFault::Refused)?
            }
        }
    }
}

pub(crate) fn with(prepared: &Prepared<'_>, wanted: Vec<EntityUid>) -> Vec<EntityUid> {
    prepared.roots().into_iter().chain(wanted).collect()
}

fn refused(refusal: Refusal) -> LoadFault {
    LoadFault::Refused(refusal)
}
