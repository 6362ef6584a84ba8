//! The policy service on the wire: awsJson1.0 with AWS Signature Version 4, at the API's listener.
//!
//! `POST /` with `X-Amz-Target: VerifiedPermissions.<Operation>`. A request is read, its signature verified, its caller
//! found live, counted against its tenant's rate; only then does anyone look at what it wants. Every request and decision
//! is on record under the id that is answered as `x-amzn-RequestId`.

mod refusal;
mod signature;
mod tier;
mod token;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use http_body_util::{BodyExt, Limited};
use ringfence_authorization::avp::{Answered, AvpError, Caller, StoreStanding};
use ringfence_context::{
    Duty, Layer, Part, Reason, Reference, Refusal, Verdict, key::Sha256, limits, strict_json,
};
use ringfence_gateway::{consistency::REVISION, reference};
use ringfence_store::Scope;
use serde_json::Value;
use tokio::runtime::Handle;

pub(crate) use tier::TierQuotas;
pub use tier::TierRates;
pub(crate) use token::OwnIssuers;

use crate::{
    access_key::KeyOwner,
    api::{
        Api, READ_HERE,
        avp::{
            refusal::WireRefusal,
            signature::{Claimed, SignatureFault},
        },
        pause::TooMuch,
    },
};

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// How much of a body is hashed before others are let go first, in bytes: some tens of microseconds.
const PIECE: usize = 32 * 1024;

const TARGET: &str = "VerifiedPermissions.";

/// Says of the store an operation was about whether it is proved safe, as it is now. Of requests it is not read.
pub const STANDING: HeaderName = HeaderName::from_static("ringfence-standing");

/// `POST /`.
pub async fn call(State(api): State<Api>, request: Request) -> Response {
    let now = api.clock.now();
    let reference = reference::reference(now);
    let (head, body) = request.into_parts();
    let verdict = Verdict::passed(reference.clone(), now, Part::Api, &[]);
    let mut said = Said::default();
    let (verdict, answered) = match admit(&api, &head, body).await {
        Ok((caller, body)) => {
            let verdict = Verdict { tenant: caller.account().tenant().cloned(), ..verdict };
            let outcome = match count(&api, &caller, &head).await {
                Err(too_much) => Err(too_much),
                Ok(()) if body.len() > READ_HERE => {
                    let (outcome, told) = operate_apart(api.clone(), head, caller, body).await;
                    said = told;
                    outcome
                }
                Ok(()) => operate(&api, &head, &caller, &body, &mut said).await,
            };
            match outcome {
                Ok((operation, Ok(answer))) => (recorded(verdict, &operation, &answer), Ok(answer)),
                Ok((operation, Err(error))) => {
                    let verdict = Verdict { action: Some(format!("avp:{operation}").into()), ..verdict };
                    (refused(verdict, &error), Err(WireRefusal::from(error)))
                }
                Err(refusal) => (verdict.refused(&refusal.refusal()), Err(refusal)),
            }
        }
        Err(refusal) => (verdict.refused(&refusal.refusal()), Err(refusal)),
    };
    let too_much = answered.as_ref().is_err_and(WireRefusal::is_too_much).then(|| verdict.tenant.clone());
    api.record.record(verdict);
    match answered {
        Ok(answer) => {
            let mut response = respond(StatusCode::OK, &reference, &answer);
            response.headers_mut().extend(said.headers());
            response
        }
        Err(refusal) => {
            let mut response = respond(refusal.status(), &reference, &refusal.body());
            if let Some(whose) = too_much {
                TooMuch::mark(&mut response, whose);
            }
            response
        }
    }
}

/// Reads the body, and finds out who sent it.
async fn admit(api: &Api, head: &Parts, body: Body) -> Result<(Caller, Vec<u8>), WireRefusal> {
    let (body, digest) = read(body).await?;
    if head.uri.path() != "/" || head.uri.query().is_some() {
        return Err(SignatureFault::Incomplete("the request is POST / without a query").into());
    }
    let claimed = Claimed::read(&head.headers, api.clock.now())?;
    let found = api.access_keys.key_find(claimed.key_id, api.clock.now()).await;
    let found =
        found.map_err(|error| WireRefusal::Internal(error.to_string()))?.ok_or(WireRefusal::UnknownKey)?;
    claimed.check(&found.secret, (&head.method, &head.uri, &head.headers), &digest)?;
    let caller = match found.owner {
        KeyOwner::Operator(operator) => {
            if !found.roles.iter().any(|role| role.may(duty_of(head))) {
                let told = "This access key's operator has no role that includes this operation.".to_owned();
                return Err(AvpError::AccessDenied(told).into());
            }
            Caller::Operator(operator)
        }
        KeyOwner::Tenant(tenant) => {
            api.workflow.directory.pool(&tenant).map_err(|_| WireRefusal::Inactive)?;
            Caller::Tenant(tenant)
        }
    };
    Ok((caller, body))
}

/// A body, and its SHA-256. Who sent it is not known yet, so it is read here; hashing a large one takes milliseconds, in
/// which others are let go first.
async fn read(body: Body) -> Result<(Vec<u8>, [u8; 32]), WireRefusal> {
    let mut body = Limited::new(body, limits::AVP_REQUEST_BYTES);
    let (mut bytes, mut digest) = (Vec::new(), Sha256::default());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| WireRefusal::TooLarge)?.into_data() else { continue };
        for piece in data.chunks(PIECE) {
            if !bytes.is_empty() {
                std::thread::yield_now();
            }
            digest.update(piece);
            bytes.extend_from_slice(piece);
        }
    }
    Ok((bytes, digest.finish()))
}

/// The duty of the operation a request is for.
fn duty_of(head: &Parts) -> Duty {
    duty(only(&head.headers, "x-amz-target").unwrap_or_default())
}

/// What an operator must be there for to call an operation. What is neither a question nor a look is a change.
fn duty(target: &str) -> Duty {
    match target.strip_prefix(TARGET).unwrap_or_default() {
        "IsAuthorized" | "IsAuthorizedWithToken" | "BatchIsAuthorized" | "BatchIsAuthorizedWithToken" => {
            Duty::Decide
        }
        "BatchGetPolicy" => Duty::Read,
        look if look.starts_with("Get") || look.starts_with("List") => Duty::Read,
        _ => Duty::Author,
    }
}

/// Counts a tenant's request against the rate of its tier.
async fn count(api: &Api, caller: &Caller, head: &Parts) -> Result<(), WireRefusal> {
    let account = caller.account();
    let Some(tenant) = account.tenant() else { return Ok(()) };
    if !api.avp_rates.knows(tenant) {
        let found = api.workflow.tenants.tenant_get(tenant).await.map_err(|_| WireRefusal::Inactive)?;
        api.avp_rates.tier_put(tenant.clone(), &found.value.tier);
    }
    let taken = match duty_of(head) {
        Duty::Author => api.avp_rates.take_change(tenant),
        _ => api.avp_rates.take(tenant),
    };
    taken.map_err(|_| WireRefusal::Throttled)
}

/// What an answer says beside its body.
#[derive(Default)]
struct Said {
    /// At which revision it was made.
    made_at: Option<HeaderValue>,
    /// What is known of the store it is about.
    standing: Option<StoreStanding>,
}

impl Said {
    fn headers(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let standing = self.standing.map(|standing| (STANDING, HeaderValue::from_static(standing.name())));
        self.made_at.map(|token| (REVISION, token)).into_iter().chain(standing)
    }
}

/// The operation's name, and what it ended in.
type Operated = (String, Result<Value, AvpError>);

/// Does the same on a thread of lower priority, where the caller's large requests are done one after the other.
async fn operate_apart(
    api: Api,
    head: Parts,
    caller: Caller,
    body: Vec<u8>,
) -> (Result<Operated, WireRefusal>, Said) {
    let (avp, whose) = (Arc::clone(&api.avp), caller.account().tenant().cloned());
    let runtime = Handle::current();
    let work = move || {
        let mut said = Said::default();
        // While it waited its tenant may have been suspended.
        let active = caller.account().tenant().map(|tenant| api.workflow.directory.pool(tenant)).transpose();
        let outcome = match active {
            Ok(_) => runtime.block_on(operate(&api, &head, &caller, &body, &mut said)),
            Err(_) => Err(WireRefusal::Inactive),
        };
        (outcome, said)
    };
    let done = avp.large().run(whose.as_ref(), work).await;
    done.unwrap_or_else(|why| (Err(AvpError::from(why).into()), Said::default()))
}

async fn operate(
    api: &Api,
    head: &Parts,
    caller: &Caller,
    body: &[u8],
    said: &mut Said,
) -> Result<Operated, WireRefusal> {
    if only(&head.headers, header::CONTENT_TYPE.as_str()) != Some(CONTENT_TYPE) {
        return Err(AvpError::Serialization("the content type must be application/x-amz-json-1.0").into());
    }
    let target = only(&head.headers, "x-amz-target").and_then(|target| target.strip_prefix(TARGET));
    let operation =
        target.filter(|operation| api.avp.model().has(operation)).ok_or(AvpError::UnknownOperation)?;
    let input = strict_json::value(body, limits::AVP_JSON_DEPTH).ok().filter(Value::is_object);
    let unread =
        AvpError::Serialization("the body must be one JSON object, no key twice, not nested too deeply");
    let input = input.ok_or(unread)?;
    // A tenant's tokens are that tenant's; an operator's are the plane's.
    let account = caller.account();
    let holder = account.tenant().map_or(Scope::Plane, Scope::from);
    if api.consistency.at_least(&holder, &head.headers).await.map_err(WireRefusal::Revision)?
        && let Some(tenant) = account.tenant()
    {
        api.workflow.directory.pool(tenant).map_err(|_| WireRefusal::Inactive)?;
    }
    let before = api.workflow.records.seen();
    let outcome = api.avp.answered(caller, operation, &input).await;
    // A question is answered by what was known before it; a change is known after it.
    let changes = outcome.is_ok() && duty(&[TARGET, operation].concat()) == Duty::Author;
    let revision = if changes { api.workflow.records.seen() } else { before };
    said.made_at = api.consistency.token(&holder, revision);
    let outcome = outcome.map(|Answered { output, standing }| {
        said.standing = standing;
        output
    });
    if let Err(AvpError::Internal(what)) = &outcome {
        tracing::error!(operation, what, "the policy service failed");
    }
    Ok((operation.to_owned(), outcome))
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// What is on record of an operation that was done: for a decision, which, and by which policies.
fn recorded(verdict: Verdict, operation: &str, answer: &Value) -> Verdict {
    let ids = |list: &Value| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(|item| item.get("policyId")?.as_str().map(str::to_owned)).collect()
    };
    let policies = match (answer.get("determiningPolicies"), answer.get("policyId").and_then(Value::as_str)) {
        (Some(list), _) => ids(list),
        (None, Some(id)) => vec![id.to_owned()],
        (None, None) => Vec::new(),
    };
    let detail = match answer.get("decision").and_then(Value::as_str) {
        Some("ALLOW") => "decided: allow",
        Some(_) => "decided: deny",
        None => "done",
    };
    Verdict {
        passed: (&[Layer::Authorization]).into(),
        action: Some(format!("avp:{operation}").into()),
        policies: policies.into(),
        detail: detail.into(),
        ..verdict
    }
}

fn refused(verdict: Verdict, error: &AvpError) -> Verdict {
    let reason = match error {
        AvpError::Internal(_) => Reason::Internal,
        AvpError::AccessDenied(_) => Reason::Denied,
        AvpError::ResourceNotFound { .. } => Reason::NotServed,
        AvpError::Throttling(_) => Reason::RateLimited,
        _ => Reason::RequestMalformed,
    };
    verdict.refused(&Refusal::new(Layer::Authorization, reason, error.name()))
}

fn respond(status: StatusCode, reference: &Reference, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(reference) = HeaderValue::from_str(reference.as_str()) {
        headers.insert("x-amzn-requestid", reference);
    }
    response
}
