//! The decision API: AuthZEN's Access Evaluation (Authorization API 1.0 section 6), per tenant, for backends.
//!
//! Two signatures must agree before it answers: the tenant issuer's on the access token, bound to the tenant in the
//! path, and the gateway's on the `Txn-Token` about that very access token. The subject is the token's and nobody else.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderName},
};
use ringfence_authorization::{Facts, Question, Resource};
use ringfence_context::{
    Asked, Layer, Part, Permit, RawToken, Reason, Reference, Refusal, StoreAnswer, TenantContext, TenantId,
    Verdict, key,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{Api, caller, failure::ApiFailure};

const TXN_TOKEN: HeaderName = HeaderName::from_static("txn-token");
const REFERENCE: HeaderName = HeaderName::from_static("ringfence-reference");

/// A question (section 6.1).
#[derive(Debug, Deserialize)]
pub struct Evaluation {
    subject: Entity,
    action: Action,
    resource: Entity,
    #[serde(default)]
    context: Facts,
}

#[derive(Debug, Deserialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(default)]
    properties: Facts,
}

#[derive(Debug, Deserialize)]
struct Action {
    name: String,
}

/// An answer (section 6.2), with what the asker needs to believe it.
#[derive(Debug, Serialize)]
pub struct Decided {
    decision: bool,
    context: Determined,
}

#[derive(Debug, Serialize)]
struct Determined {
    store: String,
    store_tenant: TenantId,
    determining: Vec<String>,
    errors: Vec<String>,
    revision: u64,
}

/// `POST /t/{tenant}/access/v1/evaluation`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn evaluate(
    State(api): State<Api>,
    Path(tenant): Path<TenantId>,
    headers: HeaderMap,
    Json(evaluation): Json<Evaluation>,
) -> Result<Json<Decided>, ApiFailure> {
    let now = api.clock.now();
    let reference = headers.get(REFERENCE).and_then(|value| Reference::new(value.to_str().ok()?).ok());
    let reference =
        reference.unwrap_or_else(|| Reference::make(now, key::random::<8>().map_or(0, u64::from_be_bytes)));
    let verdict = Verdict::passed(reference.clone(), now, Part::Api, &[]);
    match judge(&api, &tenant, &headers, &evaluation) {
        Ok((context, answer)) => {
            let believed = Permit::decide(&context, &evaluation.action.name, &answer);
            api.record.record(recorded(verdict, &context, &evaluation, &answer, believed.as_ref().err()));
            let StoreAnswer { store, store_tenant, allow, determining, errors, revision } = answer;
            let store = store.to_string();
            Ok(Json(Decided {
                decision: allow,
                context: Determined { store, store_tenant, determining, errors, revision },
            }))
        }
        Err(refusal) => {
            api.record.record(verdict.refused(&refusal));
            Err(ApiFailure::Refused(refusal, Some(reference)))
        }
    }
}

fn judge(
    api: &Api,
    tenant: &TenantId,
    headers: &HeaderMap,
    evaluation: &Evaluation,
) -> Result<(TenantContext, StoreAnswer), Refusal> {
    let context = caller::tenant(api, headers, tenant)?;
    let missing = Refusal::new(Layer::Backend, Reason::TxnTokenInvalid, "no Txn-Token");
    let txn = headers.get(TXN_TOKEN).and_then(|value| value.to_str().ok()).ok_or(missing)?;
    let txn = api.txn.verify_txn(&RawToken::new(txn)?, api.clock.now())?;
    Permit::from_txn(&context, &txn)?;
    let subject_kind = if context.is_machine() { "client" } else { "user" };
    let Evaluation { subject, action, resource, context: facts } = evaluation;
    if subject.id != context.subject().as_str() || subject.kind != subject_kind {
        let detail = "the subject asked about is not the token's";
        return Err(Refusal::new(Layer::Authorization, Reason::SourcesDisagree, detail));
    }
    let mut attributes = resource.properties.clone();
    let owner = match attributes.remove("tenant") {
        Some(Value::String(owner)) => TenantId::new(&owner).ok(),
        _ => None,
    };
    let unowned = Refusal::new(Layer::Authorization, Reason::SourcesDisagree, "the resource names no tenant");
    let resource = Resource {
        kind: resource.kind.clone(),
        id: resource.id.clone(),
        tenant: owner.ok_or(unowned)?,
        attributes,
    };
    let question = Question { context: &context, action: &action.name, resource: &resource, facts };
    let answer = api.decide.decide(&question)?;
    Ok((context, answer))
}

fn recorded(
    verdict: Verdict,
    context: &TenantContext,
    evaluation: &Evaluation,
    answer: &StoreAnswer,
    refused: Option<&Refusal>,
) -> Verdict {
    let mut verdict = verdict.of(context);
    verdict.action = Some(evaluation.action.name.clone().into());
    verdict.resource = Some(format!("{}::\"{}\"", evaluation.resource.kind, evaluation.resource.id));
    // On record is no more than the resource's type and id: that it is the asker's tenant's must be all there is to know.
    let properties = &evaluation.resource.properties;
    let own = properties.get("tenant").and_then(Value::as_str) == Some(context.tenant().as_str());
    let more = !evaluation.context.is_empty() || properties.len() > 1 || !own;
    verdict.asked = Some(Asked::by(context, more));
    verdict.policies.clone_from(&answer.determining);
    match refused {
        Some(refusal) => verdict.refused(refusal),
        None => Verdict { passed: (&[Layer::Token, Layer::Authorization]).into(), ..verdict },
    }
}
