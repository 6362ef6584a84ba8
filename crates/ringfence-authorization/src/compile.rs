//! From a store's text to Cedar's parsed form, validated strictly.
//!
//! Adds one policy to every store, the guardrail: whatever a tenant's policies say, a principal of one tenant is
//! forbidden a resource of another. A tenant can neither see nor shadow it.

use std::{collections::HashMap, fmt, str::FromStr};

use cedar_policy::{
    Authorizer, Decision, EntityUid, Policy, PolicyId, PolicySet, Schema, SlotId, Template, ValidationMode,
    Validator,
};
use ringfence_context::{Layer, Reason, Refusal, StoreAnswer, TenantId, id::StoreId};

use crate::{
    document::{StoreDocument, TemplateLink},
    question::Question,
};

/// Ids that start so are the platform's.
pub const RESERVED: &str = "ringfence:";

pub(crate) const GUARDRAIL: &str = r#"forbid (principal, action, resource)
unless { principal has tenant && resource has tenant && principal.tenant == resource.tenant };"#;

/// What is wrong with a store's text, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyFault(String);

impl PolicyFault {
    pub(crate) fn schema(error: impl fmt::Display) -> Self {
        Self(format!("the schema is not valid: {error}"))
    }

    pub(crate) fn syntax(error: impl fmt::Display) -> Self {
        Self(format!("not valid Cedar: {error}"))
    }

    pub(crate) fn duplicate(name: &str) -> Self {
        Self(format!("two policies are named \"{name}\": give each its own @id"))
    }

    pub(crate) fn unnamed() -> Self {
        Self("a policy has no name: give each an annotation @id(\"…\")".to_owned())
    }
}

/// One tenant's store, ready to answer.
#[derive(Debug)]
pub struct CompiledStore {
    id: StoreId,
    tenant: TenantId,
    revision: u64,
    namespace: String,
    schema: Schema,
    policies: PolicySet,
    names_resources: bool,
}

impl CompiledStore {
    /// Parses and strictly validates a store.
    ///
    /// # Errors
    /// What is wrong, naming the policy.
    pub fn compile(document: &StoreDocument, revision: u64) -> Result<Self, PolicyFault> {
        let (schema, _) = Schema::from_cedarschema_str(&document.schema).map_err(PolicyFault::schema)?;
        let policies = parse(document)?;
        validate(&schema, &policies)?;
        Ok(Self {
            id: document.id.clone(),
            tenant: document.tenant.clone(),
            revision,
            namespace: document.namespace.clone(),
            names_resources: names_resources(document, &policies),
            schema,
            policies,
        })
    }

    /// Answers a question as Cedar does; whether to believe it is the kernel's matter.
    ///
    /// # Errors
    /// [`Reason::PolicyError`] where the question does not fit the store's schema.
    pub fn answer(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let (request, entities) = question.to_cedar(&self.namespace, &self.schema).map_err(|_| {
            Refusal::new(
                Layer::Authorization,
                Reason::PolicyError,
                "the question does not fit the store's schema",
            )
        })?;
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let diagnostics = response.diagnostics();
        Ok(StoreAnswer {
            store: self.id.clone(),
            store_tenant: self.tenant.clone(),
            allow: response.decision() == Decision::Allow,
            determining: diagnostics.reason().map(ToString::to_string).collect(),
            errors: diagnostics.errors().map(ToString::to_string).collect(),
            revision: self.revision,
        })
    }

    /// The tenant it belongs to.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The revision of the document it was compiled from.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether a decision may depend on *which* resource of a type is asked about. Where no policy names an entity
    /// other than roles, users and actions, an answer about a bare resource holds for every bare resource of its type
    /// and may be cached so.
    pub fn names_resources(&self) -> bool {
        self.names_resources
    }
}

fn parse(document: &StoreDocument) -> Result<PolicySet, PolicyFault> {
    let mut set = own_policies(document)?;
    let guardrail = Policy::parse(Some(PolicyId::new(format!("{RESERVED}guardrail"))), GUARDRAIL);
    let inside = |error: &dyn fmt::Display| PolicyFault(format!("the guardrail: {error}"));
    set.add(guardrail.map_err(|error| inside(&error))?).map_err(|error| inside(&error))?;
    Ok(set)
}

/// What is the tenant's own of a store: all but the guardrail.
pub(crate) fn own_policies(document: &StoreDocument) -> Result<PolicySet, PolicyFault> {
    let mut set = PolicySet::new();
    let add = |set: &mut PolicySet, name: &str, text: &str| {
        let fault = |error: &dyn fmt::Display| PolicyFault(format!("policy \"{name}\": {error}"));
        let policy = Policy::parse(Some(PolicyId::new(name)), text).map_err(|error| fault(&error))?;
        set.add(policy).map_err(|error| fault(&error))
    };
    for (name, text) in &document.policies {
        check_name(name)?;
        add(&mut set, name, text)?;
    }
    for (name, text) in &document.templates {
        check_name(name)?;
        let fault = |error: &dyn fmt::Display| PolicyFault(format!("template \"{name}\": {error}"));
        let template = Template::parse(Some(PolicyId::new(name)), text).map_err(|error| fault(&error))?;
        set.add_template(template).map_err(|error| fault(&error))?;
    }
    for (name, link) in &document.links {
        check_name(name)?;
        let fault = |error: &dyn fmt::Display| PolicyFault(format!("link \"{name}\": {error}"));
        let slots = slots(link).map_err(|error| fault(&error))?;
        set.link(PolicyId::new(&link.template), PolicyId::new(name), slots).map_err(|error| fault(&error))?;
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

fn validate(schema: &Schema, policies: &PolicySet) -> Result<(), PolicyFault> {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    match result.validation_errors().next() {
        None => Ok(()),
        Some(error) => Err(PolicyFault(format!("does not fit the schema: {error}"))),
    }
}

/// Entities of these types say who asks and what for, never which resource.
fn names_resources(document: &StoreDocument, policies: &PolicySet) -> bool {
    let namespace = &document.namespace;
    let asker = |uid: &EntityUid| {
        let kind = uid.type_name().to_string();
        ["User", "Client", "Role", "Action"].iter().any(|name| kind == format!("{namespace}::{name}"))
    };
    // The entity in a link's slot is not among the linked policy's literals.
    document.links.values().any(|link| link.resource.is_some())
        || policies.policies().any(|policy| policy.entity_literals().iter().any(|uid| !asker(uid)))
}
