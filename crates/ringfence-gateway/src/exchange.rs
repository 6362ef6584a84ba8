//! The gateway's half of a database token: the tenant's policies must permit a direct session, then it signs.

use std::sync::Arc;

use ringfence_authorization::{Decide, Facts, Question, Resource};
use ringfence_context::{
    Clock, Layer, Permit, Reason, Refusal, TenantContext,
    txn::{Purpose, TxnSigner},
};
use ringfence_identity::exchange::{ExchangeAnswer, ExchangeDatabaseToken};

/// Asks the tenant's store, and signs.
pub struct DatabaseExchange {
    /// The tenants' policy stores.
    pub decide: Arc<dyn Decide>,
    /// The gateway's signature.
    pub signer: Arc<TxnSigner>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The Cedar action that permits a direct session.
    pub action: String,
    /// The Cedar type that stands for the whole of a tenant.
    pub resource: String,
}

impl DatabaseExchange {
    fn sign(&self, context: &TenantContext) -> Result<String, Refusal> {
        let resource = Resource {
            kind: self.resource.clone(),
            id: context.tenant().to_string(),
            tenant: context.tenant().clone(),
            attributes: Facts::new(),
        };
        let question = Question {
            context,
            principal: None,
            action: &self.action,
            resource: &resource,
            facts: &Facts::new(),
        };
        let permit = Permit::decide(context, &self.action, &self.decide.decide(&question)?)?;
        let now = self.clock.now();
        self.signer
            .mint(&permit, Purpose::Database, "-", crate::reference::reference(now), now)
            .map_err(|_| Refusal::new(Layer::Routing, Reason::Internal, "signing failed"))
    }
}

impl ExchangeDatabaseToken for DatabaseExchange {
    fn exchange<'a>(&'a self, context: &'a TenantContext) -> ExchangeAnswer<'a> {
        Box::pin(async move {
            self.decide.warm(context.tenant()).await?;
            self.sign(context)
        })
    }
}
