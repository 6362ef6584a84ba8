//! Policies as answers show them.

use ringfence_context::id::StoreId;
use serde::Serialize;

use crate::avp::{
    content::{Content, Policy},
    error::Outcome,
    fit::PolicyScope,
    record::{Body, EntityIdentifier},
    time::{Moment, iso},
};

/// A policy, as its change answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyAnswer {
    policy_store_id: StoreId,
    policy_id: String,
    policy_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<EntityIdentifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<EntityIdentifier>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<ActionIdentifier>,
    #[serde(serialize_with = "iso")]
    created_date: Moment,
    #[serde(serialize_with = "iso")]
    last_updated_date: Moment,
    effect: &'static str,
}

/// A policy, as it is shown or listed; where listed, without its text.
#[derive(Serialize)]
pub(crate) struct PolicyShown {
    #[serde(flatten)]
    answer: PolicyAnswer,
    definition: Definition,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// A policy, as one of a batch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyOfBatch {
    policy_store_id: StoreId,
    policy_id: String,
    policy_type: &'static str,
    definition: Definition,
    #[serde(serialize_with = "iso")]
    created_date: Moment,
    #[serde(serialize_with = "iso")]
    last_updated_date: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionIdentifier {
    action_type: String,
    action_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Definition {
    Static {
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        statement: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    TemplateLinked {
        policy_template_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        principal: Option<EntityIdentifier>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<EntityIdentifier>,
    },
}

impl PolicyAnswer {
    /// A policy of this store with what its scope names.
    pub(crate) fn new(content: &Content, id: &str, policy: &Policy, scope: PolicyScope) -> Self {
        let action = |uid| {
            let EntityIdentifier { entity_type, entity_id } = EntityIdentifier::from(uid);
            ActionIdentifier { action_type: entity_type, action_id: entity_id }
        };
        Self {
            policy_store_id: content.head.id.clone(),
            policy_id: id.to_owned(),
            policy_type: kind(&policy.body),
            principal: scope.principal,
            resource: scope.resource,
            actions: scope.actions.iter().map(action).collect(),
            created_date: policy.meta.created,
            last_updated_date: policy.meta.updated,
            effect: match scope.effect {
                cedar_policy::Effect::Permit => "Permit",
                cedar_policy::Effect::Forbid => "Forbid",
            },
        }
    }
}

impl PolicyShown {
    /// A policy of this store, with its text or without.
    pub(crate) fn new(content: &Content, id: &str, policy: &Policy, text: bool) -> Outcome<Self> {
        let scope = policy.scope(content, id)?;
        Ok(Self {
            answer: PolicyAnswer::new(content, id, policy, scope),
            definition: definition(policy, text),
            name: policy.meta.name.clone(),
        })
    }
}

impl PolicyOfBatch {
    /// A policy of this store.
    pub(crate) fn new(content: &Content, id: &str, policy: &Policy) -> Self {
        Self {
            policy_store_id: content.head.id.clone(),
            policy_id: id.to_owned(),
            policy_type: kind(&policy.body),
            definition: definition(policy, true),
            created_date: policy.meta.created,
            last_updated_date: policy.meta.updated,
            name: policy.meta.name.clone(),
        }
    }
}

/// The kind of a policy, as the model spells it.
pub(crate) const fn kind(body: &Body) -> &'static str {
    match body {
        Body::Static { .. } => "STATIC",
        Body::Linked { .. } => "TEMPLATE_LINKED",
    }
}

fn definition(policy: &Policy, text: bool) -> Definition {
    match policy.body.clone() {
        Body::Static { statement } => Definition::Static {
            description: policy.meta.description.clone(),
            statement: text.then_some(statement),
        },
        Body::Linked { template, principal, resource } => {
            Definition::TemplateLinked { policy_template_id: template, principal, resource }
        }
    }
}
