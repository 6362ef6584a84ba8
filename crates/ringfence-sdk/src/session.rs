//! What a handler gets: the proved tenant of its request, and the way to a permit.

use std::sync::Arc;

use ringfence_context::{DatabaseToken, Permit, Reference, Refusal, TenantContext, TenantId};
use serde_json::{Map, Value};

use crate::ask::AskStore;

/// What a recheck has proved.
#[derive(Clone)]
pub struct Proof {
    /// The tenant.
    pub context: TenantContext,
    /// The permit of the gateway's decision.
    pub edge: Permit,
    /// Both tokens, for the guard and the decision API.
    pub tokens: Arc<DatabaseToken>,
    /// The request's reference.
    pub reference: Reference,
}

/// One request's tenant, in a handler's hands.
#[derive(Clone)]
pub struct TenantSession {
    proof: Proof,
    ask: Arc<dyn AskStore>,
}

/// What is asked about: a type of the tenant's schema, an id, whose row it is, and its attributes.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The Cedar type, without namespace.
    pub kind: &'a str,
    /// The id.
    pub id: &'a str,
    /// Whose it is: the row's `tenant_id`, or the session's tenant for what is not a row.
    pub tenant: &'a str,
    /// Attributes of the row.
    pub attributes: Map<String, Value>,
}

impl TenantSession {
    pub(crate) fn new(proof: Proof, ask: Arc<dyn AskStore>) -> Self {
        Self { proof, ask }
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        self.proof.context.tenant()
    }

    /// The proof.
    pub fn context(&self) -> &TenantContext {
        &self.proof.context
    }

    /// The request's reference.
    pub fn reference(&self) -> &Reference {
        &self.proof.reference
    }

    /// The action the gateway permitted.
    pub fn action(&self) -> &str {
        self.proof.edge.action()
    }

    /// Both tokens.
    pub fn tokens(&self) -> &DatabaseToken {
        &self.proof.tokens
    }

    /// Asks the tenant's policy store again for what the gateway permitted, now with what the backend knows.
    ///
    /// # Errors
    /// A refusal of the authorization layer, or [`ringfence_context::Reason::DependencyUnavailable`].
    pub async fn permit(&self, subject: Subject<'_>, facts: Map<String, Value>) -> Result<Permit, Refusal> {
        self.ask.permit(&self.proof, subject, facts).await
    }

    /// Asks about the tenant as a whole, where no row is concerned: `kind` is the Cedar type that stands for it.
    ///
    /// # Errors
    /// As [`TenantSession::permit`].
    pub async fn permit_whole(&self, kind: &str, facts: Map<String, Value>) -> Result<Permit, Refusal> {
        let tenant = self.tenant().as_str();
        self.permit(Subject { kind, id: tenant, tenant, attributes: Map::new() }, facts).await
    }
}
