//! Permits: a policy store of this very tenant has allowed this action.

use crate::{
    access::TenantContext,
    id::{StoreId, TenantId},
    refusal::{Layer, Reason, Refusal},
    txn::{VerifiedTxn, disagree},
};

/// What a policy store answered, before anyone has believed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAnswer {
    /// The store that answered.
    pub store: StoreId,
    /// The tenant the store says it belongs to.
    pub store_tenant: TenantId,
    /// Whether a policy permits and none forbids.
    pub allow: bool,
    /// The policies that determined it.
    pub determining: Vec<String>,
    /// The policies that could not be evaluated. Cedar skips them, so a broken `forbid` would not forbid.
    pub errors: Vec<String>,
    /// The revision of the plane's state it was made at.
    pub revision: u64,
}

/// A tenant's policy store permits what is being asked.
#[derive(Debug, Clone)]
pub struct Permit {
    context: TenantContext,
    action: String,
}

impl Permit {
    /// Believes an answer, if it is a whole one of the right tenant.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`] where the store is another tenant's, [`Reason::PolicyError`] where any policy
    /// failed, [`Reason::Denied`] otherwise.
    pub fn decide(context: &TenantContext, action: &str, answer: &StoreAnswer) -> Result<Self, Refusal> {
        let refuse = |reason, detail| Err(Refusal::new(Layer::Authorization, reason, detail));
        if answer.store_tenant != *context.tenant() {
            return refuse(Reason::StoreUnavailable, "the store belongs to another tenant");
        }
        if !answer.errors.is_empty() {
            return refuse(Reason::PolicyError, "a policy failed to evaluate");
        }
        if !answer.allow {
            return refuse(Reason::Denied, "no policy permits, or one forbids");
        }
        Ok(Self { context: context.clone(), action: action.to_owned() })
    }

    /// Re-establishes, behind the gateway, the permit the gateway put into a `Txn-Token`: the tenant issuer's and the
    /// gateway's signatures must name the same tenant, subject and access token.
    ///
    /// # Errors
    /// [`Reason::SourcesDisagree`].
    pub fn from_txn(context: &TenantContext, txn: &VerifiedTxn) -> Result<Self, Refusal> {
        let claims = txn.claims();
        if claims.tenant_id != *context.tenant() {
            return Err(disagree("Txn-Token and access token name different tenants"));
        }
        if claims.sub != *context.subject() {
            return Err(disagree("Txn-Token and access token name different subjects"));
        }
        if !txn.is_about(context.token_hash()) {
            return Err(disagree("Txn-Token is about another access token"));
        }
        Ok(Self { context: context.clone(), action: claims.action.clone() })
    }

    /// For whom.
    pub fn context(&self) -> &TenantContext {
        &self.context
    }

    /// What is permitted: the Cedar action's name.
    pub fn action(&self) -> &str {
        &self.action
    }
}

#[cfg(feature = "range")]
impl Permit {
    pub(crate) fn assume_unchecked(context: &TenantContext, action: &str) -> Self {
        Self { context: context.clone(), action: action.to_owned() }
    }
}
