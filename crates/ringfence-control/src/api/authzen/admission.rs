//! Who asks. Nobody is both, and neither can pass for the other.
//!
//! A backend shows two signatures that must agree: the tenant issuer's on the access token, bound to the tenant in the
//! path, and the gateway's on the `Txn-Token` about that very access token. It asks about that token's subject and nobody
//! else. A decision client shows its own access token, whose one role is [`DECISIONS`], and asks about anybody of its
//! tenant.

use axum::http::{HeaderMap, HeaderName};
use ringfence_context::{Layer, Permit, RawToken, Reason, Refusal, TenantContext, TenantId};
use ringfence_identity::membership::DECISIONS;

use super::{Admitted, Call};
use crate::api::{Api, caller};

const TXN_TOKEN: HeaderName = HeaderName::from_static("txn-token");

/// A decision client, proved, where nobody else may ask.
pub(super) struct DecisionClient(TenantContext);

/// Who asks, proved.
pub(super) enum Asker {
    /// About the context's own subject.
    Backend(TenantContext),
    /// About anybody of the context's tenant.
    DecisionClient(TenantContext),
}

impl Admitted for Asker {
    async fn admit(call: &Call, tenant: &TenantId, headers: &HeaderMap) -> Result<Self, Refusal> {
        asker(call, tenant, headers).await
    }

    fn context(&self) -> &TenantContext {
        match self {
            Self::Backend(context) | Self::DecisionClient(context) => context,
        }
    }
}

impl Admitted for DecisionClient {
    async fn admit(call: &Call, tenant: &TenantId, headers: &HeaderMap) -> Result<Self, Refusal> {
        decision_client(call, tenant, headers).await.map(Self)
    }

    fn context(&self) -> &TenantContext {
        &self.0
    }
}

/// Admits a backend or a decision client of this tenant, and has the tenant's store read for what it will ask.
///
/// # Errors
/// A refusal of the layer that refuses.
async fn asker(call: &Call, tenant: &TenantId, headers: &HeaderMap) -> Result<Asker, Refusal> {
    let api = &call.api;
    let context = caller::tenant(api, headers, tenant)?;
    call.at_least(&context, headers).await?;
    api.decide.warm(tenant).await?;
    let Some(txn) = headers.get(TXN_TOKEN) else {
        let missing = Refusal::new(Layer::Backend, Reason::TxnTokenInvalid, "no Txn-Token");
        return if decides(&context) { Ok(Asker::DecisionClient(context)) } else { Err(missing) };
    };
    let unread = Refusal::new(Layer::Backend, Reason::TxnTokenInvalid, "no Txn-Token");
    let txn = RawToken::new(txn.to_str().map_err(|_| unread)?)?;
    let txn = api.txn.verify_txn(&txn, api.clock.now())?;
    Permit::from_txn(&context, &txn)?;
    Ok(Asker::Backend(context))
}

/// Admits a decision client of this tenant.
///
/// # Errors
/// As [`asker`]; [`Reason::Denied`] for anybody else of the tenant.
async fn decision_client(
    call: &Call,
    tenant: &TenantId,
    headers: &HeaderMap,
) -> Result<TenantContext, Refusal> {
    let api = &call.api;
    let context = caller::tenant(api, headers, tenant)?;
    if decides(&context) && !headers.contains_key(TXN_TOKEN) {
        call.at_least(&context, headers).await?;
        api.decide.warm(tenant).await?;
        return Ok(context);
    }
    Err(Refusal::new(Layer::Authorization, Reason::Denied, "not a decision client"))
}

fn decides(context: &TenantContext) -> bool {
    let alone = matches!(context.roles(), [role] if role.as_str() == DECISIONS);
    context.is_machine() && alone
}

/// Counts decisions against the rate of the tenant's tier at the policy service.
///
/// # Errors
/// [`Reason::RateLimited`].
pub(super) async fn count(api: &Api, tenant: &TenantId, decisions: usize) -> Result<(), Refusal> {
    if !api.avp_rates.knows(tenant) {
        let inactive = Refusal::new(Layer::Token, Reason::TenantInactive, "the tenant is not there");
        let found = api.workflow.tenants.tenant_get(tenant).await.map_err(|_| inactive)?;
        api.avp_rates.tier_put(tenant.clone(), &found.value.tier);
    }
    (0..decisions).try_for_each(|_| api.avp_rates.take(tenant))
}
