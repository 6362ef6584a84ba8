//! Search (section 8): who may, on which, or what, among those the tenant's entity store and its pool know.
//!
//! Every candidate is decided about as any question is; a page looks at a limited number of them, and its token says where
//! to go on. What is named and not known finds nothing, and so does a type or an action the schema does not have.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use futures_util::FutureExt;
use ringfence_authorization::{
    EntityFault, Facts,
    entities::{Uid, Words},
};
use ringfence_context::{Layer, Reason, Refusal, TenantContext, TenantId, id::Subject, limits};
use serde_json::{Value, json};

use super::{
    Admitted, Call, Failure,
    admission::{DecisionClient, count},
    body::{Entity, Evaluation, Members, action, context_of, members},
    decision::{decide, named},
    page::Page,
};
use crate::api::Api;

/// How many candidates are read at once.
const BATCH: u32 = 100;

/// `POST /t/{tenant}/access/v1/search/subject`.
pub(super) async fn subject(
    State(api): State<Api>,
    Path(tenant): Path<TenantId>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    Call::begin(api, &headers)
        .answer(tenant, headers, body, |call, asker, headers, body| {
            entities(call, asker, headers, body, Sought::Subject).boxed()
        })
        .await
}

/// `POST /t/{tenant}/access/v1/search/resource`.
pub(super) async fn resource(
    State(api): State<Api>,
    Path(tenant): Path<TenantId>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    Call::begin(api, &headers)
        .answer(tenant, headers, body, |call, asker, headers, body| {
            entities(call, asker, headers, body, Sought::Resource).boxed()
        })
        .await
}

/// Who may, or on which.
async fn entities(
    call: &Call,
    asker: &DecisionClient,
    headers: &HeaderMap,
    body: &[u8],
    sought: Sought,
) -> Result<Value, Failure> {
    let members = members(headers, body)?;
    let (action, facts) = action(members.get("action"), members.get("context"))?;
    let entity = |name, side| match side == sought {
        true => Entity::sought(members.get(name), name),
        false => Entity::read(members.get(name), name),
    };
    let (subject, resource) = (entity("subject", Sought::Subject)?, entity("resource", Sought::Resource)?);
    let asked = Evaluation { subject, action, resource, facts };
    let operation = if sought == Sought::Subject { "subject" } else { "resource" };
    Search::begin(call, asker.context(), operation, &members).await?.entities(asked, sought).await
}

/// `POST /t/{tenant}/access/v1/search/action`.
pub(super) async fn action_of(
    State(api): State<Api>,
    Path(tenant): Path<TenantId>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    Call::begin(api, &headers)
        .answer(tenant, headers, body, |call, asker, headers, body| {
            actions(call, asker, headers, body).boxed()
        })
        .await
}

async fn actions(
    call: &Call,
    asker: &DecisionClient,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, Failure> {
    let members = members(headers, body)?;
    let facts = context_of(members.get("context"))?;
    let subject = Entity::read(members.get("subject"), "subject")?;
    let resource = Entity::read(members.get("resource"), "resource")?;
    let asked = Evaluation { subject, action: String::new(), resource, facts };
    Search::begin(call, asker.context(), "action", &members).await?.actions(asked).await
}

/// Which of the two is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sought {
    Subject,
    Resource,
}

/// A candidate, with its place in the list.
struct Candidate {
    place: String,
    id: String,
}

/// One search.
struct Search<'a> {
    call: &'a Call,
    context: &'a TenantContext,
    words: Words,
    page: Page,
    results: Vec<Value>,
    looked_at: usize,
}

impl<'a> Search<'a> {
    async fn begin(
        call: &'a Call,
        context: &'a TenantContext,
        operation: &'static str,
        members: &Members,
    ) -> Result<Self, Failure> {
        let page = Page::read(&call.api.page_key, context.tenant(), operation, members)?;
        let words = call.api.workflow.stores.words(context.tenant()).await?;
        Ok(Self { call, context, words, page, results: Vec::new(), looked_at: 0 })
    }

    /// Subjects or resources.
    async fn entities(mut self, mut asked: Evaluation, sought: Sought) -> Result<Value, Failure> {
        let (kind, known) = match sought {
            Sought::Subject => (asked.subject.kind.clone(), self.knows(&asked.resource, false).await?),
            Sought::Resource => (asked.resource.kind.clone(), self.knows(&asked.subject, true).await?),
        };
        let full = self.words.type_name(&kind);
        let mut next = None;
        if let Some(full) = full.filter(|_| known && self.words.has_action(&asked.action)) {
            let pool = sought == Sought::Subject && full.ends_with("::User");
            let mut at = Some(self.page.place.clone());
            'pages: while let Some(place) = at {
                let (candidates, more) = self.candidates(&full, pool, &place).await?;
                let mut last = place;
                for Candidate { place, id } in candidates {
                    if self.is_full() {
                        next = Some(last);
                        break 'pages;
                    }
                    match sought {
                        Sought::Subject => asked.subject.id.clone_from(&id),
                        Sought::Resource => asked.resource.id.clone_from(&id),
                    }
                    if self.permits(&asked).await? {
                        self.results.push(json!({ "type": kind, "id": id }));
                    }
                    last = place;
                }
                at = more;
            }
        }
        match sought {
            Sought::Subject => asked.subject.id.clear(),
            Sought::Resource => asked.resource.id.clear(),
        }
        Ok(self.end(&asked, next))
    }

    /// Actions: all that the schema has for the two types.
    async fn actions(mut self, mut asked: Evaluation) -> Result<Value, Failure> {
        let known = self.knows(&asked.subject, true).await? && self.knows(&asked.resource, false).await?;
        let names = self.words.actions(&asked.subject.kind, &asked.resource.kind);
        let mut next = None;
        let mut last = self.page.place.clone();
        let begin = last.clone();
        for name in names.into_iter().filter(|name| known && *name > begin) {
            if self.is_full() {
                next = Some(last);
                break;
            }
            asked.action.clone_from(&name);
            if self.permits(&asked).await? {
                self.results.push(json!({ "name": name }));
            }
            last = name;
        }
        asked.action.clear();
        Ok(self.end(&asked, next))
    }

    fn is_full(&self) -> bool {
        self.results.len() >= self.page.limit || self.looked_at >= limits::AUTHZEN_CANDIDATES
    }

    async fn permits(&mut self, asked: &Evaluation) -> Result<bool, Failure> {
        self.looked_at += 1;
        count(&self.call.api, self.context.tenant(), 1).await?;
        let decided = decide(&self.call.api, self.context, asked).await?;
        // What contradicts what is stored is no reason to find nothing else; another tenant named is.
        match decided.disagreement() {
            Some(refusal) if names_tenant(asked) => Err(refusal.into()),
            _ => Ok(decided.permits()),
        }
    }

    /// The candidates after a place, and the place to go on from if there may be more.
    async fn candidates(
        &self,
        full: &str,
        pool: bool,
        place: &str,
    ) -> Result<(Vec<Candidate>, Option<String>), Failure> {
        if let Some(after) = place.strip_prefix("u:") {
            return self.users(full, after).await;
        }
        let after = place.strip_prefix("e:");
        let (tenant, stores) = (self.context.tenant(), &self.call.api.workflow.stores);
        let listed = stores.entity_list(tenant, Some(full), after, BATCH).await.map_err(unread)?;
        let full_page = listed.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
        let candidates: Vec<Candidate> = listed
            .into_iter()
            .map(|(id, entity)| Candidate { place: format!("e:{id}"), id: entity.uid.id })
            .collect();
        let last = candidates.last().map(|candidate| candidate.place.clone());
        let more = last.filter(|_| full_page).or_else(|| pool.then(|| "u:".to_owned()));
        Ok((candidates, more))
    }

    /// The pool's users of whom nothing is stored: of the others something was found among the entities.
    async fn users(&self, full: &str, after: &str) -> Result<(Vec<Candidate>, Option<String>), Failure> {
        let (tenant, workflow) = (self.context.tenant(), &self.call.api.workflow);
        let after = Subject::new(after).ok();
        let listed = workflow.pools.user_list(tenant, after.as_ref(), BATCH).await;
        let listed = listed.map_err(|_| unavailable("users can't be read"))?;
        let full_page = listed.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
        let more = listed.last().filter(|_| full_page).map(|user| format!("u:{}", user.id));
        let mut candidates = Vec::new();
        for user in listed.into_iter().filter(|user| !user.disabled) {
            let uid = Uid { kind: full.to_owned(), id: user.id.to_string() };
            if !self.is_stored(&uid).await? {
                candidates.push(Candidate { place: format!("u:{}", user.id), id: uid.id });
            }
        }
        Ok((candidates, more))
    }

    /// Whether an entity that is named is one: it is stored, or of the pool; or nothing of its type is stored, and then
    /// nobody here can know which there are.
    async fn knows(&self, entity: &Entity, principal: bool) -> Result<bool, Failure> {
        let Some(kind) = self.words.type_name(&entity.kind) else { return Ok(false) };
        let pools = kind.ends_with("::User") || kind.ends_with("::Client");
        let uid = Uid { kind, id: entity.id.clone() };
        if self.is_stored(&uid).await? {
            return Ok(true);
        }
        if pools && principal {
            return self.is_member(&entity.id).await;
        }
        let stores = &self.call.api.workflow.stores;
        let listed =
            stores.entity_list(self.context.tenant(), Some(&uid.kind), None, 1).await.map_err(unread)?;
        Ok(listed.is_empty())
    }

    async fn is_member(&self, id: &str) -> Result<bool, Failure> {
        let Ok(id) = Subject::new(id) else { return Ok(false) };
        let found = self.call.api.workflow.pools.membership_get(self.context.tenant(), &id).await;
        Ok(found.map_err(|_| unavailable("memberships can't be read"))?.is_some())
    }

    async fn is_stored(&self, uid: &Uid) -> Result<bool, Failure> {
        match self.call.api.workflow.stores.entity_get(self.context.tenant(), uid).await {
            Ok(_) => Ok(true),
            Err(EntityFault::Missing(_)) => Ok(false),
            Err(error) => Err(unread(error)),
        }
    }

    /// The answer, and the record of it.
    fn end(self, asked: &Evaluation, next: Option<String>) -> Value {
        let Evaluation { subject, action, resource, .. } = asked;
        let mut verdict = self.call.verdict.clone().of(self.context);
        verdict.principal = Some(named(subject));
        verdict.action = Some(format!("authzen:search/{} {action}", self.page.operation).into());
        verdict.resource = Some(named(resource));
        verdict.passed = (&[Layer::Token, Layer::Authorization]).into();
        let (found, looked_at) = (self.results.len(), self.looked_at);
        verdict.detail = format!("{found} permitted of {looked_at} decided about").into();
        self.call.api.record.record(verdict);
        let next = next.map(|place| self.page.token(&self.call.api.page_key, self.context.tenant(), &place));
        json!({
            "page": { "next_token": next.unwrap_or_default(), "count": found },
            "results": self.results,
        })
    }
}

fn names_tenant(asked: &Evaluation) -> bool {
    let names = |facts: &Facts| facts.contains_key("tenant");
    names(&asked.subject.properties) || names(&asked.resource.properties)
}

fn unread(error: EntityFault) -> Failure {
    match error {
        EntityFault::Refused(refusal) => refusal.into(),
        error => {
            tracing::error!(%error, "entities can't be read");
            unavailable("entities can't be read")
        }
    }
}

fn unavailable(detail: &'static str) -> Failure {
    Refusal::new(Layer::Authorization, Reason::DependencyUnavailable, detail).into()
}
