//! One request through the gateway, from its head to the application's answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use ringfence_authorization::{Decide, Facts, Question, Resource};
use ringfence_context::{
    Asked, Clock, Issuers, Layer, Part, Permit, Reason, Record, Reference, Refusal, TenantId, UnixTime,
    Verdict, VerifyAccess, limits,
};
use ringfence_store::Scope;

use crate::{
    admission::{Admission, Admitted, GatewayHits, Granted},
    consistency::{AT_LEAST, Consistency, REVISION},
    facts,
    forward::Upstream,
    limit::RateLimits,
    refuse::{Body, BoxError, full, refuse},
    route::{RouteMatch, RouteTable},
    strip::Strip,
    target::{Segments, malformed},
    txn::{Mint, REFERENCE, Stamp},
};

/// What a gateway is made of. The range puts other parts in their places; the serving binary has only these.
pub struct GatewayParts {
    /// Issuers, and what became of them.
    pub issuers: Arc<dyn Issuers>,
    /// Verification of access tokens.
    pub access: Arc<dyn VerifyAccess>,
    /// The tenants' policy stores.
    pub decide: Arc<dyn Decide>,
    /// At which revision answers are made.
    pub consistency: Arc<Consistency>,
    /// The strip.
    pub strip: Arc<dyn Strip>,
    /// Signature and binding.
    pub mint: Mint,
    /// The route table.
    pub routes: RouteTable,
    /// The tenants' rates.
    pub limit: Arc<RateLimits>,
    /// The application.
    pub upstream: Upstream,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The decision log.
    pub record: Arc<dyn Record>,
    /// Where it counts what was in memory.
    pub hits: Arc<GatewayHits>,
}

/// The gateway.
pub struct Gateway {
    admission: Admission,
    parts: GatewayParts,
}

/// A request that has been refused, and how far it had come.
struct Refused {
    refusal: Refusal,
    passed: &'static [Layer],
    admitted: Option<Arc<Admitted>>,
    attempt: Option<Box<Attempt>>,
    retry_after: Option<u64>,
}

/// What was asked of the policy store.
struct Attempt {
    action: Arc<str>,
    resource: String,
    policies: Arc<[String]>,
    asked: Asked,
    revision: Option<HeaderValue>,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(parts: GatewayParts) -> Self {
        let admission = Admission::new(
            Arc::clone(&parts.issuers),
            Arc::clone(&parts.access),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.hits),
        );
        Self { admission, parts }
    }

    /// Names a request that comes no further.
    pub fn reference(&self) -> Reference {
        self.admission.reference().1
    }

    /// Answers a request presented at a tenant's address.
    pub async fn handle(&self, tenant: TenantId, request: Request<Incoming>) -> Response<Body> {
        let (now, reference) = self.admission.reference();
        // What is between here and the connection moves this about: a pointer, not the five thousand bytes it points to.
        match Box::pin(self.judge(&tenant, request, now, &reference)).await {
            Ok(mut response) => {
                if let Ok(value) = HeaderValue::from_str(reference.as_str()) {
                    response.headers_mut().insert(REFERENCE, value);
                }
                response
            }
            Err(refused) => self.answer_refused(refused, now, reference),
        }
    }

    async fn judge(
        &self,
        tenant: &TenantId,
        request: Request<Incoming>,
        now: UnixTime,
        reference: &Reference,
    ) -> Result<Response<Body>, Refused> {
        let (mut head, body) = request.into_parts();
        let segments = Segments::read(head.uri.path()).map_err(Refused::first)?;
        let admitted = self.admission.admit(tenant, &head.headers, now).map_err(Refused::first)?;
        let known = |refusal| Refused::after(&[Layer::Token], refusal, &admitted);
        self.parts
            .limit
            .take(admitted.context.tenant())
            .map_err(|(refusal, wait)| Refused { retry_after: Some(wait), ..known(refusal) })?;
        if head.headers.contains_key(AT_LEAST) {
            self.catch_up(&admitted, &head.headers).await.map_err(known)?;
        }
        let found = self.parts.routes.find(&head.method, &segments);
        let unknown = Refusal::new(Layer::Authorization, Reason::RouteUnknown, "no route matches");
        let found = found.ok_or(known(unknown))?;
        let body =
            self.body(&head.headers, body, facts::need_body(&found.route.facts)).await.map_err(known)?;
        let facts = facts::collect(&found.route.facts, head.uri.query(), body.read()).map_err(known)?;
        let asked = Asked::by(&admitted.context, !facts.is_empty());
        let held = self.held(admitted.context.tenant()).await.map_err(known)?;
        let granted = self.permit(&admitted, &found, facts, held)?;

        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let stamp = Stamp { method: head.method.as_str(), target, route: &found.route.name, reference, now };
        self.parts.strip.strip(&mut head.headers);
        let allowed = |refusal| Refused::after(&[Layer::Token, Layer::Authorization], refusal, &admitted);
        self.parts.mint.stamp(&mut head.headers, &granted, &stamp).map_err(allowed)?;
        let verdict = Verdict {
            action: Some(granted.permit.action().to_owned().into()),
            resource: Some(named(&found, admitted.context.tenant())),
            asked: Some(asked),
            policies: Arc::clone(&granted.policies),
            ..Verdict::passed(reference.clone(), now, Part::Gateway, PASSED).of(&admitted.context)
        };
        drop(segments);
        let mut sent = self.parts.upstream.send(assemble(head, body)).await.map_err(allowed)?;
        if let Some(revision) = &granted.revision {
            sent.headers_mut().insert(REVISION, revision.clone());
        }
        self.parts.record.record(verdict);
        Ok(sent)
    }

    /// Catches up with the revision a request asks for, and looks again at what may have changed with it.
    async fn catch_up(&self, admitted: &Admitted, headers: &HeaderMap) -> Result<(), Refusal> {
        let tenant = Scope::from(admitted.context.tenant());
        self.parts.consistency.at_least(&tenant, headers).await?;
        self.parts.issuers.check_live(&admitted.context)
    }

    /// What is known of the tenant's store without asking it; reads it where that has not been done. `None` where it does
    /// not stay in memory: then nothing is remembered of it.
    async fn held(&self, tenant: &TenantId) -> Result<Option<(u64, bool)>, Refusal> {
        let decide = &self.parts.decide;
        if let Some(held) = decide.revision(tenant)? {
            return Ok(Some(held));
        }
        decide.warm(tenant).await?;
        decide.revision(tenant)
    }

    /// Asks the tenant's store, or remembers that it was asked: see [`Granted`].
    fn permit(
        &self,
        admitted: &Arc<Admitted>,
        found: &RouteMatch<'_>,
        facts: Facts,
        held: Option<(u64, bool)>,
    ) -> Result<Arc<Granted>, Refused> {
        let context = &admitted.context;
        let known = |refusal| Refused::after(&[Layer::Token], refusal, admitted);
        let memorable = held.is_some_and(|(_, names_resources)| {
            let any_id = found.id.is_none() || !(names_resources || found.route.asks_about_askers());
            facts.is_empty() && any_id
        });
        if memorable
            && let Some((revision, _)) = held
            && let Some(granted) = admitted.granted(found.route.index, revision)
        {
            self.parts.hits.permits.count(true);
            return Ok(granted);
        }
        self.parts.hits.permits.count(false);
        let resource = Resource {
            kind: found.route.resource.as_ref().to_owned(),
            id: found.id.unwrap_or(context.tenant().as_str()).to_owned(),
            tenant: context.tenant().clone(),
            attributes: Facts::new(),
        };
        let question = Question {
            context,
            principal: None,
            action: &found.route.action,
            resource: &resource,
            facts: &facts,
        };
        let answer = self.parts.decide.decide(&question).map_err(known)?;
        let revision = self.parts.consistency.token(&Scope::from(context.tenant()), answer.revision);
        let permit = Permit::decide(context, &found.route.action, &answer).map_err(|refusal| Refused {
            attempt: Some(Box::new(Attempt {
                action: Arc::clone(&found.route.action),
                resource: named(found, context.tenant()),
                policies: answer.determining.iter().chain(&answer.errors).cloned().collect(),
                asked: Asked::by(context, !facts.is_empty()),
                revision: revision.clone(),
            })),
            ..known(refusal)
        })?;
        let granted = Arc::new(Granted {
            store_revision: answer.revision,
            permit,
            policies: answer.determining.into(),
            revision,
            txn: admitted.txn(found.route.index),
        });
        if memorable {
            admitted.remember(found.route.index, Arc::clone(&granted));
        }
        Ok(granted)
    }

    async fn body(&self, headers: &HeaderMap, body: Incoming, read: bool) -> Result<RequestBody, Refusal> {
        let too_large = Refusal::new(Layer::Routing, Reason::RequestTooLarge, "body over the limit");
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limits::REQUEST_BODY_BYTES) {
            return Err(too_large);
        }
        let limited = Limited::new(body, limits::REQUEST_BODY_BYTES);
        if !read {
            return Ok(RequestBody::Streaming(limited.map_err(BoxError::from).boxed_unsync()));
        }
        match Box::pin(limited.collect()).await {
            Ok(collected) => Ok(RequestBody::Read(collected.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large),
            Err(_) => Err(malformed("the body broke off")),
        }
    }

    fn answer_refused(&self, refused: Refused, now: UnixTime, reference: Reference) -> Response<Body> {
        let Refused { refusal, passed, admitted, attempt, retry_after } = refused;
        let mut response = refuse(&refusal, &reference);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let mut verdict = Verdict::passed(reference, now, Part::Gateway, passed).refused(&refusal);
        if let Some(admitted) = admitted {
            verdict = verdict.of(&admitted.context);
        }
        if let Some(attempt) = attempt {
            let Attempt { action, resource, policies, asked, revision } = *attempt;
            if let Some(revision) = revision {
                response.headers_mut().insert(REVISION, revision);
            }
            verdict.asked = Some(asked);
            verdict.action = Some(action.as_ref().to_owned().into());
            verdict.resource = Some(resource);
            verdict.policies = policies;
        }
        self.parts.record.record(verdict);
        response
    }
}

const PASSED: &[Layer] = &[Layer::Token, Layer::Authorization, Layer::Routing];

enum RequestBody {
    Streaming(Body),
    Read(Bytes),
}

impl RequestBody {
    fn read(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match self {
            Self::Streaming(_) => &NOTHING,
            Self::Read(bytes) => bytes,
        }
    }
}

fn assemble(head: Parts, body: RequestBody) -> Request<Body> {
    let body = match body {
        RequestBody::Streaming(body) => body,
        RequestBody::Read(bytes) => full(bytes),
    };
    Request::from_parts(head, body)
}

fn named(found: &RouteMatch<'_>, tenant: &TenantId) -> String {
    [&*found.route.resource, "::\"", found.id.unwrap_or(tenant.as_str()), "\""].concat()
}

impl Refused {
    fn first(refusal: Refusal) -> Self {
        Self { refusal, passed: &[], admitted: None, attempt: None, retry_after: None }
    }

    fn after(passed: &'static [Layer], refusal: Refusal, admitted: &Arc<Admitted>) -> Self {
        Self { passed, admitted: Some(Arc::clone(admitted)), ..Self::first(refusal) }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gateway({} routes)", self.parts.routes.len())
    }
}
