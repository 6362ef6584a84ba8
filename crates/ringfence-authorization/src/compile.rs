//! From a store's text to Cedar's parsed form, validated strictly.
//!
//! Adds one policy to every store, the guardrail (`guardrail.rs`): a tenant can neither see nor shadow it. What has been
//! parsed for another store with the same text is used again: see `content.rs`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    sync::Arc,
};

use cedar_policy::{Decision, Entities, EntityUid, Policy, PolicyId, PolicySet, Request, SlotId};
use ringfence_context::{Layer, Reason, Refusal, StoreAnswer, TenantId, id::StoreId};

use crate::{
    content::{Content, ContentSlice, Contents, Digest, names_resources, weigh},
    document::{StoreDocument, TemplateLink, Text},
    guardrail::{self, GUARDRAIL, GUARDRAIL_ID},
    question::Question,
    shared::Beside,
    slice::SlicedPolicies,
    vocabulary::Vocabulary,
};

pub use crate::guardrail::RESERVED;

/// What is wrong with a store's text, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyFault(String);

impl PolicyFault {
    pub(crate) fn syntax(error: impl fmt::Display) -> Self {
        Self(format!("not valid Cedar: {error}"))
    }

    pub(crate) fn schema(error: impl fmt::Display) -> Self {
        Self(format!("the schema is not valid: {error}"))
    }

    pub(crate) fn duplicate(name: &str) -> Self {
        Self(format!("two policies are named \"{name}\": give each its own @id"))
    }

    pub(crate) fn unnamed() -> Self {
        Self("a policy has no name: give each an annotation @id(\"…\")".to_owned())
    }

    pub(crate) fn panicked() -> Self {
        Self("it could not be compiled".to_owned())
    }

    pub(crate) fn told(what: String) -> Self {
        Self(what)
    }

    fn of(kind: &str, name: &str, error: impl fmt::Display) -> Self {
        Self(format!("{kind} \"{name}\": {error}"))
    }
}

/// One tenant's store, ready to answer.
#[derive(Debug, Clone)]
pub struct CompiledStore {
    pub(crate) id: StoreId,
    pub(crate) tenant: TenantId,
    pub(crate) revision: u64,
    /// The revision of its document alone.
    pub(crate) policies: u64,
    /// The revision of its tenant's entities, where it stores any.
    pub(crate) entities: Option<u64>,
    pub(crate) content: Arc<Content>,
    /// While the tenant's store is moved: what will answer, which is asked too and not believed.
    pub(crate) beside: Option<Arc<Beside>>,
}

/// What has to be evaluated for one request: of what answers, and of what is only compared with it.
#[derive(Debug)]
pub(crate) struct Slices {
    serving: ContentSlice,
    beside: Option<ContentSlice>,
}

impl Slices {
    /// How many expressions, at most.
    pub(crate) fn steps(&self) -> u64 {
        self.serving.steps().saturating_add(self.beside.as_ref().map_or(0, ContentSlice::steps))
    }
}

impl CompiledStore {
    /// Parses and strictly validates a store, by itself.
    ///
    /// # Errors
    /// What is wrong, naming the policy.
    pub fn compile(document: &StoreDocument, revision: u64) -> Result<Self, PolicyFault> {
        let (_, content) = Contents::new(0).compile(document.text())?;
        let StoreDocument { id, tenant, .. } = document.clone();
        Ok(Self { id, tenant, revision, policies: revision, entities: None, content, beside: None })
    }

    /// Answers a question as Cedar does; whether to believe it is the kernel's matter.
    ///
    /// # Errors
    /// [`Reason::PolicyError`] where the question does not fit the store's schema.
    pub fn answer(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let (request, entities) = self.in_cedar(question)?;
        Ok(self.answer_in_cedar(&request, &entities))
    }

    /// A question in Cedar's terms.
    ///
    /// # Errors
    /// [`Reason::PolicyError`] where it does not fit the store's schema.
    pub(crate) fn in_cedar(&self, question: &Question<'_>) -> Result<(Request, Entities), Refusal> {
        let detail = "the question does not fit the store's schema";
        let unfit = |_| Refusal::new(Layer::Authorization, Reason::PolicyError, detail);
        question.to_cedar(&self.content.vocabulary).map_err(unfit)
    }

    /// What has to be evaluated for a request.
    pub(crate) fn slices(&self, request: &Request, entities: &Entities) -> Slices {
        let beside = self.beside.as_ref().map(|beside| beside.content().slice(request, entities));
        Slices { serving: self.content.slice(request, entities), beside }
    }

    /// Answers a request in Cedar's terms, within the guardrail.
    pub(crate) fn answer_in_cedar(&self, request: &Request, entities: &Entities) -> StoreAnswer {
        self.answer_by(&self.slices(request, entities), request, entities)
    }

    /// As [`CompiledStore::answer_in_cedar`], with the slices of this very request.
    pub(crate) fn answer_by(&self, slices: &Slices, request: &Request, entities: &Entities) -> StoreAnswer {
        let answer = self.answer_of(&self.content, &slices.serving, request, entities);
        if let (Some(beside), Some(slice)) = (&self.beside, &slices.beside) {
            beside.compare(&answer, &self.answer_of(beside.content(), slice, request, entities), request);
        }
        answer
    }

    fn answer_of(
        &self,
        content: &Content,
        slice: &ContentSlice,
        request: &Request,
        entities: &Entities,
    ) -> StoreAnswer {
        let response = content.is_authorized_by(slice, request, entities);
        let diagnostics = response.diagnostics();
        let mut allow = response.decision() == Decision::Allow;
        let mut determining: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
        if !guardrail::is_about(&self.tenant, request, entities) {
            if std::mem::take(&mut allow) {
                determining.clear();
            }
            if !determining.iter().any(|id| id == GUARDRAIL_ID) {
                determining.push(GUARDRAIL_ID.to_owned());
            }
        }
        determining.sort_unstable();
        let mut errors: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
        errors.sort_unstable();
        StoreAnswer {
            store: self.id.clone(),
            store_tenant: self.tenant.clone(),
            allow,
            determining,
            errors,
            revision: self.revision,
        }
    }

    /// The tenant it belongs to.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The latest revision of what it answers from: its document, and its tenant's entities.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether a decision may depend on *which* resource of a type is asked about. Where nothing is stored of any resource
    /// and no policy names an entity other than roles, users and actions, an answer about a bare resource holds for every bare resource of its type
    /// and may be cached so.
    pub fn names_resources(&self) -> bool {
        self.entities.is_some() || self.content.names_resources
    }
}

/// A text on its way to a content.
pub(crate) struct Source<'a> {
    text: Text<'a>,
    /// What must be parsed and validated still, with its digest; each in Cedar's own set.
    fresh: PolicySet,
    names: Vec<(String, Digest)>,
    ready: Vec<Arc<Policy>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: Text<'a>) -> Self {
        Self { text, fresh: PolicySet::new(), names: Vec::new(), ready: Vec::new() }
    }

    /// Parses what nobody has parsed yet, and validates it strictly. The guardrail comes with it, or with what it lies
    /// upon: then the templates of that, too, may be linked to.
    pub(crate) fn compile(
        mut self,
        contents: &Contents,
        base: Option<(Arc<Content>, &'a BTreeMap<String, String>)>,
    ) -> Result<Content, PolicyFault> {
        let text = self.text;
        let vocabulary = contents.vocabulary(text.namespace, text.schema)?;
        let schema = Digest::of([text.namespace.as_bytes(), text.schema.as_bytes()]);
        if base.is_none() && guardrail::stands() {
            self.static_policy(contents, &schema, GUARDRAIL_ID, GUARDRAIL)?;
        }
        for (name, policy) in text.policies {
            check_name(name)?;
            self.static_policy(contents, &schema, name, policy)?;
        }
        let (base, linkable) = base.unzip();
        self.templates(contents, &schema, linkable)?;
        let policies = self.validated(contents, &vocabulary)?;
        let own = text.policies.values().chain(text.templates.values()).map(String::len).sum::<usize>();
        let own = own + if base.is_none() { text.schema.len() } else { 0 };
        let names_resources = names_resources(text, policies.iter().map(AsRef::as_ref))
            || base.as_ref().is_some_and(|base| base.names_resources);
        Ok(Content {
            names_resources,
            weight: weigh(policies.len(), own),
            within_reach: <_>::default(),
            policies: SlicedPolicies::from_shared(policies),
            base,
            vocabulary,
        })
    }

    fn static_policy(
        &mut self,
        contents: &Contents,
        schema: &Digest,
        name: &str,
        text: &str,
    ) -> Result<(), PolicyFault> {
        let digest = Digest::of([schema.bytes(), b"policy", name.as_bytes(), text.as_bytes()]);
        if let Some(policy) = contents.policies().get(&digest) {
            self.ready.push(policy);
            return Ok(());
        }
        let fault = |error: &dyn fmt::Display| PolicyFault::of("policy", name, error);
        let policy = crate::text::policy(name, text).map_err(|error| fault(&error))?;
        self.fresh.add(policy).map_err(|error| fault(&error))?;
        self.names.push((name.to_owned(), digest));
        Ok(())
    }

    /// Templates are parsed each time, for they are few; of their links, which may be many, those that are new.
    fn templates(
        &mut self,
        contents: &Contents,
        schema: &Digest,
        linkable: Option<&'a BTreeMap<String, String>>,
    ) -> Result<(), PolicyFault> {
        let Text { policies, templates, links, .. } = self.text;
        let all = || templates.iter().chain(linkable.into_iter().flatten());
        for (name, text) in all() {
            check_name(name)?;
            if policies.contains_key(name) {
                return Err(PolicyFault::duplicate(name));
            }
            let fault = |error: &dyn fmt::Display| PolicyFault::of("template", name, error);
            let template = crate::text::template(name, text).map_err(|error| fault(&error))?;
            self.fresh.add_template(template).map_err(|error| fault(&error))?;
        }
        for (name, link) in links {
            check_name(name)?;
            if policies.contains_key(name) || all().any(|(template, _)| template == name) {
                return Err(PolicyFault::duplicate(name));
            }
            let linked = templates.get(&link.template);
            let linked = linked.or_else(|| linkable.and_then(|more| more.get(&link.template)));
            let digest = link_digest(schema, name, link, linked);
            if let Some(policy) = contents.policies().get(&digest) {
                self.ready.push(policy);
                continue;
            }
            let fault = |error: &dyn fmt::Display| PolicyFault::of("link", name, error);
            let slots = slots(link).map_err(|error| fault(&error))?;
            let (template, id) = (PolicyId::new(&link.template), PolicyId::new(name));
            self.fresh.link(template, id, slots).map_err(|error| fault(&error))?;
            self.names.push((name.clone(), digest));
        }
        Ok(())
    }

    fn validated(
        self,
        contents: &Contents,
        vocabulary: &Vocabulary,
    ) -> Result<Vec<Arc<Policy>>, PolicyFault> {
        if let Some(error) = vocabulary.unfit(&self.fresh) {
            return Err(PolicyFault(format!("does not fit the schema: {error}")));
        }
        let mut policies = self.ready;
        for (name, digest) in self.names {
            // Absent is impossible, and a policy that is not there must not go unnoticed: it may forbid.
            let policy = self.fresh.policy(&PolicyId::new(&name));
            let policy = policy.ok_or_else(|| PolicyFault::of("policy", &name, "was lost"))?;
            policies.push(contents.policies().put(digest, Arc::new(policy.clone())));
        }
        Ok(policies)
    }
}

fn link_digest(schema: &Digest, name: &str, link: &TemplateLink, text: Option<&String>) -> Digest {
    // An absent slot and an empty one differ by a part.
    let slot = |slot: &Option<String>| slot.iter().map(|uid| format!("={uid}")).collect::<String>();
    let (principal, resource) = (slot(&link.principal), slot(&link.resource));
    let text = text.map_or("", String::as_str);
    let parts = ["link", name, &link.template, text, &principal, &resource].map(str::as_bytes);
    Digest::of([schema.bytes()].into_iter().chain(parts))
}

/// What is the tenant's own of a store: all but the guardrail.
pub(crate) fn own_policies(document: &StoreDocument) -> Result<PolicySet, PolicyFault> {
    let StoreDocument { policies, templates, links, .. } = document;
    let mut set = PolicySet::new();
    for (name, text) in policies {
        check_name(name)?;
        let fault = |error: &dyn fmt::Display| PolicyFault::of("policy", name, error);
        let policy = crate::text::policy(name, text).map_err(|error| fault(&error))?;
        set.add(policy).map_err(|error| fault(&error))?;
    }
    for (name, text) in templates {
        check_name(name)?;
        let fault = |error: &dyn fmt::Display| PolicyFault::of("template", name, error);
        let template = crate::text::template(name, text).map_err(|error| fault(&error))?;
        set.add_template(template).map_err(|error| fault(&error))?;
    }
    for (name, link) in links {
        check_name(name)?;
        let fault = |error: &dyn fmt::Display| PolicyFault::of("link", name, error);
        let slots = slots(link).map_err(|error| fault(&error))?;
        let (template, id) = (PolicyId::new(&link.template), PolicyId::new(name));
        set.link(template, id, slots).map_err(|error| fault(&error))?;
    }
    Ok(set)
}

fn check_name(name: &str) -> Result<(), PolicyFault> {
    if name.starts_with(RESERVED) {
        return Err(PolicyFault(format!(
            "names starting with \"{RESERVED}\" are the platform's: rename \"{name}\""
        )));
    }
    Ok(())
}

fn slots(link: &TemplateLink) -> Result<HashMap<SlotId, EntityUid>, Box<cedar_policy::ParseErrors>> {
    let mut slots = HashMap::new();
    if let Some(principal) = &link.principal {
        slots.insert(SlotId::principal(), EntityUid::from_str(principal)?);
    }
    if let Some(resource) = &link.resource {
        slots.insert(SlotId::resource(), EntityUid::from_str(resource)?);
    }
    Ok(slots)
}
