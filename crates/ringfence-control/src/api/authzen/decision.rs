//! One decision: whom it is about, what the tenant's store says, whether that is believed, and the record of it.

use ringfence_authorization::{Principal, Question, Resource};
use ringfence_context::{
    Layer, Permit, Reason, Refusal, StoreAnswer, TenantContext, TenantId, Verdict,
    id::{ClientId, Role, Subject},
};
use ringfence_store::StoreError;
use serde_json::{Value, json};

use super::{
    Call,
    body::{Entity, Evaluation},
};
use crate::api::Api;

/// What a question came to: the answer, and if it is no permit, why not.
pub(super) struct Decided {
    answer: Option<StoreAnswer>,
    refused: Option<Refusal>,
}

/// Decides for a decision client.
///
/// # Errors
/// Where nothing can be decided: what it needs is not available, or the tenant's rate is used up.
pub(super) async fn decide(
    api: &Api,
    context: &TenantContext,
    asked: &Evaluation,
) -> Result<Decided, Refusal> {
    let tenant = context.tenant();
    let principal = Principal {
        kind: asked.subject.kind.clone(),
        id: asked.subject.id.clone(),
        roles: pool_roles(api, tenant, &asked.subject.kind, &asked.subject.id).await?,
        attributes: asked.subject.properties.clone(),
    };
    let resource = Resource {
        kind: asked.resource.kind.clone(),
        id: asked.resource.id.clone(),
        tenant: tenant.clone(),
        attributes: asked.resource.properties.clone(),
    };
    let (action, facts) = (asked.action.as_str(), &asked.facts);
    let question = Question { context, principal: Some(&principal), action, resource: &resource, facts };
    match api.decide.decide(&question) {
        Ok(answer) => {
            let refused = Permit::decide(context, action, &answer).err();
            Ok(Decided { answer: Some(answer), refused })
        }
        // About this question, and no reason not to answer the next.
        Err(refusal) if matches!(refusal.reason, Reason::PolicyError | Reason::SourcesDisagree) => {
            Ok(Decided { answer: None, refused: Some(refusal) })
        }
        Err(refusal) => Err(refusal),
    }
}

/// The roles the pool gives: a user's who may sign in, or a machine's. Whoever is not of the pool has none.
pub(crate) async fn pool_roles(
    api: &Api,
    tenant: &TenantId,
    kind: &str,
    id: &str,
) -> Result<Vec<Role>, Refusal> {
    let machine = match kind {
        "user" | "User" => false,
        "client" | "Client" => true,
        _ => return Ok(Vec::new()),
    };
    let Ok(id) = Subject::new(id) else { return Ok(Vec::new()) };
    let pools = &api.workflow.pools;
    let unavailable = |_: StoreError| {
        Refusal::new(Layer::Identity, Reason::DependencyUnavailable, "memberships can't be read")
    };
    let found = pools.membership_get(tenant, &id).await.map_err(unavailable)?;
    let Some(membership) = found.filter(|found| found.tenant == *tenant && found.user == id) else {
        return Ok(Vec::new());
    };
    let active = if machine {
        let Ok(client) = ClientId::new(id.as_str()) else { return Ok(Vec::new()) };
        pools.client_get(tenant, &client).await.is_ok_and(|client| !client.disabled)
    } else {
        pools.user_get(tenant, &id).await.is_ok_and(|user| !user.disabled)
    };
    Ok(if active { membership.roles } else { Vec::new() })
}

impl Decided {
    /// Whether it is permitted, and believed to be.
    pub(super) fn permits(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.allow) && self.refused.is_none()
    }

    /// The two statements of the tenant that disagree, if they do.
    pub(super) fn disagreement(&self) -> Option<Refusal> {
        self.refused.clone().filter(|refusal| refusal.reason == Reason::SourcesDisagree)
    }

    /// The Decision (section 5.5).
    pub(super) fn shown(&self) -> Value {
        let mut context = match &self.answer {
            Some(answer) => determined(answer),
            None => json!({}),
        };
        if let Some(refusal) = &self.refused
            && let Some(context) = context.as_object_mut()
        {
            context.insert("reason".to_owned(), refusal.reason.code().into());
            if refusal.reason != Reason::Denied {
                let error = json!({ "status": refusal.reason.status(), "message": refusal.reason.title() });
                context.insert("error".to_owned(), error);
            }
        }
        json!({ "decision": self.permits(), "context": context })
    }

    /// Puts it on record.
    pub(super) fn record(&self, call: &Call, context: &TenantContext, asked: &Evaluation) {
        let Evaluation { subject, action, resource, .. } = asked;
        let mut verdict = call.verdict.clone().of(context);
        verdict.principal = Some(named(subject));
        verdict.action = Some(action.clone().into());
        verdict.resource = Some(named(resource));
        verdict.policies =
            self.answer.as_ref().map(|answer| answer.determining.as_slice().into()).unwrap_or_default();
        call.api.record.record(match &self.refused {
            Some(refusal) => verdict.refused(refusal),
            None => Verdict { passed: (&[Layer::Token, Layer::Authorization]).into(), ..verdict },
        });
    }
}

/// What an asker needs to believe an answer.
pub(super) fn determined(answer: &StoreAnswer) -> Value {
    // Its revision counts every tenant's commits: it is told sealed, in a header.
    let StoreAnswer { store, store_tenant, allow: _, determining, errors, revision: _ } = answer;
    json!({ "store": store, "store_tenant": store_tenant, "determining": determining, "errors": errors })
}

pub(super) fn named(entity: &Entity) -> String {
    format!("{}::\"{}\"", entity.kind, entity.id)
}
