//! Decisions: the one place where this service asks Cedar.

use std::sync::{Arc, OnceLock};

use cedar_policy::{Decision, Entities, Request, Schema};
use ringfence_context::TenantId;

use crate::{
    avp::{
        content::Content,
        error::{AvpError, Outcome},
        fit,
        standing::StoreStanding,
    },
    guardrail::{self, GUARDRAIL, GUARDRAIL_ID, RESERVED},
    slice::{Slice, SlicedPolicies},
    text,
};

/// What Cedar answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) allow: bool,
    /// Ids of the policies that determined it, in order. The platform's own are not among them.
    pub(crate) determining: Vec<String>,
    /// What Cedar says of the policies it had to skip.
    pub(crate) errors: Vec<String>,
}

/// A store, ready to decide. Made when the first decision is asked for.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) policies: SlicedPolicies,
    /// Whose requests it decides, if it is a serving store: what is not that tenant's is forbidden.
    serves: Option<TenantId>,
    /// Actions with their groups, as the schema has them.
    pub(crate) actions: Entities,
}

/// A store's content, and what decides by it once it is asked to.
#[derive(Debug)]
pub(crate) struct Deciding {
    pub(crate) content: Arc<Content>,
    ready: OnceLock<Arc<Ready>>,
    /// What is known of this very content, once somebody has asked.
    pub(crate) standing: OnceLock<StoreStanding>,
}

impl Deciding {
    pub(crate) fn new(content: Arc<Content>) -> Self {
        Self { content, ready: OnceLock::new(), standing: OnceLock::new() }
    }

    /// Whether it has been parsed.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.get().is_some()
    }

    /// What decides by this content. Parses all of it the first time.
    ///
    /// # Errors
    /// Where a part of the content does not parse, which it did when it was written.
    pub(crate) fn ready(&self) -> Outcome<Arc<Ready>> {
        if let Some(ready) = self.ready.get() {
            return Ok(Arc::clone(ready));
        }
        let ready = Arc::new(Ready::of(&self.content)?);
        Ok(Arc::clone(self.ready.get_or_init(|| ready)))
    }
}

impl Ready {
    fn of(content: &Content) -> Outcome<Self> {
        let unready = |what: String| AvpError::internal(format!("a store does not compile: {what}"));
        let mut policies = fit::all(content).map_err(|error| unready(error.body().to_string()))?;
        if content.serving.is_some() && guardrail::stands() {
            let guardrail =
                text::policy(GUARDRAIL_ID, GUARDRAIL).map_err(|error| unready(error.to_string()))?;
            policies.add(guardrail).map_err(|error| unready(error.to_string()))?;
        }
        let actions = match &content.schema {
            Some(schema) => Schema::from_json_str(&schema.json)
                .map_err(|error| unready(error.to_string()))?
                .action_entities()
                .map_err(|error| unready(error.to_string()))?,
            None => Entities::empty(),
        };
        let serves = content.serving.as_ref().map(|serving| serving.document.tenant.clone());
        Ok(Self { policies: SlicedPolicies::new(&policies), serves, actions })
    }

    /// Answers as Cedar does with all of them (see [`SlicedPolicies`]), with the slice of this very request, within the
    /// guardrail.
    pub(crate) fn decide(&self, slice: &Slice, request: &Request, entities: &Entities) -> Decided {
        let response = SlicedPolicies::is_authorized_by(&[(&self.policies, slice)], request, entities);
        let diagnostics = response.diagnostics();
        let ids = diagnostics.reason().map(ToString::to_string).filter(|id| !id.starts_with(RESERVED));
        let (mut determining, mut errors): (Vec<String>, Vec<String>) =
            (ids.collect(), diagnostics.errors().map(ToString::to_string).collect());
        determining.sort();
        errors.sort();
        let mut allow = response.decision() == Decision::Allow;
        let within = |tenant| guardrail::is_about(tenant, request, entities);
        if allow && !self.serves.as_ref().is_none_or(within) {
            allow = false;
            determining.clear();
        }
        Decided { allow, determining, errors }
    }
}
