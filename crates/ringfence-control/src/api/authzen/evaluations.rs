//! Access Evaluations (section 7): several questions, with defaults, in order, cut short where the asker says so.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use futures_util::FutureExt;
use ringfence_context::{TenantContext, TenantId, limits};
use serde_json::{Value, json};

use super::{
    Call, Failure,
    admission::{Asker, count},
    body::{Evaluation, Members, malformed, members},
    decision::decide,
    evaluation::{backend, one},
};
use crate::api::Api;

/// When to stop (section 7.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    fn read(members: &Members) -> Result<Self, Failure> {
        let Some(options) = members.get("options") else { return Ok(Self::ExecuteAll) };
        let options = options.as_object().ok_or_else(|| malformed("`options` is not an object"))?;
        match options.get("evaluations_semantic").map(Value::as_str) {
            None | Some(Some("execute_all")) => Ok(Self::ExecuteAll),
            Some(Some("deny_on_first_deny")) => Ok(Self::DenyOnFirstDeny),
            Some(Some("permit_on_first_permit")) => Ok(Self::PermitOnFirstPermit),
            Some(_) => Err(malformed(
                "`options.evaluations_semantic` is none of execute_all, deny_on_first_deny, permit_on_first_permit",
            )),
        }
    }

    /// Whether this decision settles it.
    fn ends_with(self, permitted: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !permitted,
            Self::PermitOnFirstPermit => permitted,
        }
    }
}

/// `POST /t/{tenant}/access/v1/evaluations`.
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
    let members = members(headers, body)?;
    let items = match members.get("evaluations") {
        None => &[],
        Some(Value::Array(items)) => items.as_slice(),
        Some(_) => return Err(malformed("`evaluations` is not an array")),
    };
    if items.is_empty() {
        // As a single evaluation (section 7.1).
        return one(call, asker, &Evaluation::read(&members, &Members::new())?).await;
    }
    if items.len() > limits::AUTHZEN_EVALUATIONS {
        return Err(malformed("`evaluations` has more than 100 items"));
    }
    let semantic = Semantic::read(&members)?;
    let mut decisions = Vec::with_capacity(items.len());
    for item in items {
        let decision = item_decision(call, asker, item, &members).await?;
        let permitted = decision.get("decision") == Some(&Value::Bool(true));
        decisions.push(decision);
        if semantic.ends_with(permitted) {
            break;
        }
    }
    Ok(json!({ "evaluations": decisions }))
}

/// One item's decision. An item that is no question is denied, and the others go on.
async fn item_decision(
    call: &Call,
    asker: &Asker,
    item: &Value,
    defaults: &Members,
) -> Result<Value, Failure> {
    let read = item.as_object().ok_or_else(|| malformed("an item is not an object"));
    match read.and_then(|item| Evaluation::read(item, defaults)) {
        Ok(asked) => match asker {
            Asker::Backend(context) => Ok(backend(call, context, &asked)?),
            Asker::DecisionClient(context) => decided(call, context, &asked).await,
        },
        Err(Failure::Malformed(what)) => {
            let error = json!({ "status": 400, "message": what });
            Ok(json!({ "decision": false, "context": { "reason": "request_malformed", "error": error } }))
        }
        Err(refused) => Err(refused),
    }
}

async fn decided(call: &Call, context: &TenantContext, asked: &Evaluation) -> Result<Value, Failure> {
    count(&call.api, context.tenant(), 1).await?;
    let decided = decide(&call.api, context, asked).await?;
    decided.record(call, context, asked);
    Ok(decided.shown())
}
