//! What Cedar says of a store's texts: do they parse, do they fit the schema, and what does their scope name.

use std::{collections::HashMap, fmt::Display};

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy as CedarPolicy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint, Schema as CedarSchema, SlotId, Template as CedarTemplate, ValidationMode, Validator,
};

use crate::avp::{
    content::{Content, Schema},
    error::{AvpError, Fault, Outcome, ResourceType},
    record::{Body, EntityIdentifier, Mode},
};

/// Most faults that are listed in one answer.
const FAULTS: usize = 50;

/// What a policy's scope names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyScope {
    pub(crate) effect: Effect,
    pub(crate) principal: Option<EntityIdentifier>,
    pub(crate) resource: Option<EntityIdentifier>,
    pub(crate) actions: Vec<EntityUid>,
}

/// Parses a static policy: one, and without slots.
///
/// # Errors
/// What Cedar says is wrong.
pub(crate) fn static_policy(id: &str, statement: &str, path: &str) -> Outcome<CedarPolicy> {
    crate::text::policy(id, statement).map_err(|error| cedar(path, &error))
}

/// Parses a template: one, and with a slot.
///
/// # Errors
/// What Cedar says is wrong.
pub(crate) fn template(id: &str, statement: &str) -> Outcome<CedarTemplate> {
    crate::text::template(id, statement).map_err(|error| cedar("statement", &error))
}

/// Reads a schema in Cedar's JSON form.
///
/// # Errors
/// What Cedar says is wrong.
pub(crate) fn schema(json: &str) -> Outcome<CedarSchema> {
    CedarSchema::from_json_str(json).map_err(|error| cedar("definition.cedarJson", &error))
}

/// A set with this one policy, and its template if it is linked.
///
/// # Errors
/// Where it does not parse, its template is not there, or the slots are not those of the template.
pub(crate) fn alone(content: &Content, id: &str, body: &Body) -> Outcome<PolicySet> {
    let mut set = PolicySet::new();
    match body {
        Body::Static { statement } => {
            let policy = static_policy(id, statement, "definition.static.statement")?;
            set.add(policy).map_err(|error| cedar("definition.static.statement", &error))?;
        }
        Body::Linked { template: of, principal, resource } => {
            let found = content.templates.get(of);
            let found = found.ok_or_else(|| AvpError::missing(ResourceType::PolicyTemplate, of))?;
            let path = "definition.templateLinked";
            set.add_template(template(of, &found.statement)?).map_err(|error| cedar(path, &error))?;
            let slots = slots(principal.as_ref(), resource.as_ref())?;
            set.link(PolicyId::new(of), PolicyId::new(id), slots).map_err(|error| cedar(path, &error))?;
        }
    }
    Ok(set)
}

/// Everything of a store as one set.
///
/// # Errors
/// Where a part of it does not parse, which it did when it was written.
pub(crate) fn all(content: &Content) -> Outcome<PolicySet> {
    let mut set = PolicySet::new();
    for (id, found) in &content.templates {
        set.add_template(template(id, &found.statement)?).map_err(|error| cedar("statement", &error))?;
    }
    for (id, policy) in &content.policies {
        match &policy.body {
            Body::Static { statement } => {
                let policy = static_policy(id, statement, "statement")?;
                set.add(policy).map_err(|error| cedar("statement", &error))?;
            }
            Body::Linked { template, principal, resource } => {
                let slots = slots(principal.as_ref(), resource.as_ref())?;
                let (template, id) = (PolicyId::new(template), PolicyId::new(id));
                set.link(template, id, slots).map_err(|error| cedar("templateLinked", &error))?;
            }
        }
    }
    Ok(set)
}

/// Checks a set against a store's schema, where the store asks for it.
///
/// # Errors
/// Every policy that does not fit, by its id.
pub(crate) fn check(mode: Mode, found: Option<&Schema>, set: &PolicySet) -> Outcome<()> {
    if mode == Mode::Off || set.is_empty() {
        return Ok(());
    }
    let Some(found) = found else {
        let message = "Validation is STRICT and the policy store has no schema: no policy fits";
        let named = set.policies().map(|policy| Fault::new(policy.id().to_string(), message));
        return Err(AvpError::Validation {
            message: message.to_owned(),
            fields: named.take(FAULTS).collect(),
        });
    };
    let result = Validator::new(schema(&found.json)?).validate(set, ValidationMode::Strict);
    let mut faults: Vec<Fault> = result
        .validation_errors()
        .map(|error| Fault::new(error.policy_id().to_string(), error.to_string()))
        .take(FAULTS)
        .collect();
    faults.sort_by(|one, other| one.path.cmp(&other.path));
    faults.dedup();
    let Some(first) = faults.first() else { return Ok(()) };
    let message = format!("Does not fit the schema: {}", first.message);
    Err(AvpError::Validation { message, fields: faults })
}

/// What the scope of the one policy of `set` with this id names.
pub(crate) fn scope(set: &PolicySet, id: &str) -> Outcome<PolicyScope> {
    let policy =
        set.policy(&PolicyId::new(id)).ok_or_else(|| AvpError::internal("a policy is not in its set"))?;
    let entity = |uid: &EntityUid| Some(EntityIdentifier::from(uid));
    Ok(PolicyScope {
        effect: policy.effect(),
        principal: match policy.principal_constraint() {
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => entity(&uid),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        },
        resource: match policy.resource_constraint() {
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                entity(&uid)
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        },
        actions: match policy.action_constraint() {
            ActionConstraint::Any => Vec::new(),
            ActionConstraint::Eq(uid) => vec![uid],
            ActionConstraint::In(uids) => uids,
        },
    })
}

fn slots(
    principal: Option<&EntityIdentifier>,
    resource: Option<&EntityIdentifier>,
) -> Outcome<HashMap<SlotId, EntityUid>> {
    let mut slots = HashMap::new();
    for (slot, entity, path) in
        [(SlotId::principal(), principal, "principal"), (SlotId::resource(), resource, "resource")]
    {
        if let Some(entity) = entity {
            let path = format!("definition.templateLinked.{path}.entityType");
            let uid =
                entity.uid().ok_or_else(|| AvpError::invalid(&path, "is not the name of an entity type"))?;
            slots.insert(slot, uid);
        }
    }
    Ok(slots)
}

/// Cedar's own words for what is wrong with a text the caller has sent or may read.
pub(crate) fn cedar(path: &str, error: &dyn Display) -> AvpError {
    AvpError::invalid(path, error.to_string())
}
