//! Access Evaluation (section 6): one question, one decision.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use futures_util::FutureExt;
use ringfence_authorization::{Question, Resource};
use ringfence_context::{
    Asked, Layer, Permit, Reason, Refusal, StoreAnswer, TenantContext, TenantId, Verdict,
};
use serde_json::{Value, json};

use super::{
    Call, Failure,
    admission::{Asker, count},
    body::{Entity, Evaluation, Members, members},
    decision::{decide, determined, named},
};
use crate::api::Api;

/// `POST /t/{tenant}/access/v1/evaluation`.
pub(super) async fn evaluate(
    State(api): State<Api>,
    Path(tenant): Path<TenantId>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    Call::begin(api, &headers)
        .answer(tenant, headers, body, |call, asker, headers, body| {
            answer(call, asker, headers, body).boxed()
        })
        .await
}

async fn answer(call: &Call, asker: &Asker, headers: &HeaderMap, body: &[u8]) -> Result<Value, Failure> {
    let asked = Evaluation::read(&members(headers, body)?, &Members::new())?;
    one(call, asker, &asked).await
}

/// One question of either kind of asker.
pub(super) async fn one(call: &Call, asker: &Asker, asked: &Evaluation) -> Result<Value, Failure> {
    match asker {
        Asker::Backend(context) => Ok(backend(call, context, asked)?),
        Asker::DecisionClient(context) => {
            count(&call.api, context.tenant(), 1).await?;
            let decided = decide(&call.api, context, asked).await?;
            if let Some(disagreement) = decided.disagreement() {
                return Err(disagreement.into());
            }
            decided.record(call, context, asked);
            Ok(decided.shown())
        }
    }
}

/// A backend's question about the subject it serves. It believes the answer or not by itself, so it is told what the
/// store said.
pub(super) fn backend(call: &Call, context: &TenantContext, asked: &Evaluation) -> Result<Value, Refusal> {
    let Evaluation { subject, action, resource, facts } = asked;
    let subject_kind = if context.is_machine() { "client" } else { "user" };
    if subject.id != context.subject().as_str() || subject.kind != subject_kind {
        let detail = "the subject asked about is not the token's";
        return Err(Refusal::new(Layer::Authorization, Reason::SourcesDisagree, detail));
    }
    let resource = owned(resource)?;
    let question = Question { context, principal: None, action, resource: &resource, facts };
    let answer = call.api.decide.decide(&question)?;
    let believed = Permit::decide(context, action, &answer);
    call.api.record.record(recorded(call, context, asked, &answer, believed.err()));
    Ok(json!({ "decision": answer.allow, "context": determined(&answer) }))
}

/// The resource, which says whose it is.
fn owned(resource: &Entity) -> Result<Resource, Refusal> {
    let mut attributes = resource.properties.clone();
    let owner = match attributes.remove("tenant") {
        Some(Value::String(owner)) => TenantId::new(&owner).ok(),
        _ => None,
    };
    let unowned = Refusal::new(Layer::Authorization, Reason::SourcesDisagree, "the resource names no tenant");
    Ok(Resource {
        kind: resource.kind.clone(),
        id: resource.id.clone(),
        tenant: owner.ok_or(unowned)?,
        attributes,
    })
}

fn recorded(
    call: &Call,
    context: &TenantContext,
    asked: &Evaluation,
    answer: &StoreAnswer,
    refused: Option<Refusal>,
) -> Verdict {
    let mut verdict = call.verdict.clone().of(context);
    verdict.action = Some(asked.action.clone().into());
    verdict.resource = Some(named(&asked.resource));
    // On record is no more than the resource's type and id: that it is the asker's tenant's must be all there is to know.
    let properties = &asked.resource.properties;
    let own = properties.get("tenant").and_then(Value::as_str) == Some(context.tenant().as_str());
    let more = !asked.facts.is_empty() || properties.len() > 1 || !own;
    verdict.asked = Some(Asked::by(context, more));
    verdict.policies = answer.determining.as_slice().into();
    match refused {
        Some(refusal) => verdict.refused(&refusal),
        None => Verdict { passed: (&[Layer::Token, Layer::Authorization]).into(), ..verdict },
    }
}
