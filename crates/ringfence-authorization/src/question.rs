//! One question to a policy store: may this proved tenant's principal do this to that.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use ringfence_context::{TenantContext, TenantId};
use serde_json::{Map, Value, json};

/// What is known of the request beyond who, what and which: Cedar's `context`.
pub type Facts = Map<String, Value>;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its type in the store's schema, without namespace.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The tenant it belongs to, as far as the asker knows: at the gateway the address's, at the backend the row's.
    pub tenant: TenantId,
    /// Attributes the asker has loaded; the gateway has none.
    pub attributes: Facts,
}

/// One question.
#[derive(Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub context: &'a TenantContext,
    /// The action's name, without namespace.
    pub action: &'a str,
    /// What is asked about.
    pub resource: &'a Resource,
    /// Cedar's `context`.
    pub facts: &'a Facts,
}

impl Question<'_> {
    /// The question in Cedar's terms: the request, and the principal with its roles and the resource as entities.
    pub(crate) fn to_cedar(&self, namespace: &str, schema: &Schema) -> Result<(Request, Entities), Unfit> {
        let uid = |kind: &str, id: &str| -> Result<EntityUid, Unfit> {
            let name: EntityTypeName = format!("{namespace}::{kind}").parse().map_err(|_| Unfit)?;
            Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
        };
        let kind = if self.context.is_machine() { "Client" } else { "User" };
        let principal = uid(kind, self.context.subject().as_str())?;
        let action = uid("Action", self.action)?;
        let resource = uid(&self.resource.kind, &self.resource.id)?;

        let mut entities = Vec::with_capacity(self.context.roles().len() + 2);
        let mut roles = HashSet::new();
        for role in self.context.roles() {
            let role = uid("Role", role.as_str())?;
            entities.push(Entity::new_no_attrs(role.clone(), HashSet::new()));
            roles.insert(role);
        }
        let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
        let attributes = HashMap::from([
            ("tenant".to_owned(), text(self.context.tenant().as_str())),
            ("subject".to_owned(), text(self.context.subject().as_str())),
        ]);
        entities.push(Entity::new(principal.clone(), attributes, roles).map_err(|_| Unfit)?);
        // Who asks about themselves is one entity. What else the asker knows of it can't be said of the principal.
        let oneself = resource == principal
            && self.resource.attributes.is_empty()
            && self.resource.tenant == *self.context.tenant();
        if !oneself {
            entities.push(self.resource_entity(&resource, schema)?);
        }

        let facts = Value::Object(self.facts.clone());
        let facts = Context::from_json_value(facts, Some((schema, &action))).map_err(|_| Unfit)?;
        let request = Request::new(principal, action, resource, facts, Some(schema)).map_err(|_| Unfit)?;
        Ok((request, Entities::from_entities(entities, Some(schema)).map_err(|_| Unfit)?))
    }

    fn resource_entity(&self, uid: &EntityUid, schema: &Schema) -> Result<Entity, Unfit> {
        let tenant = self.resource.tenant.as_str();
        if self.resource.attributes.is_empty() {
            let tenant = RestrictedExpression::new_string(tenant.to_owned());
            let attributes = HashMap::from([("tenant".to_owned(), tenant)]);
            return Entity::new(uid.clone(), attributes, HashSet::new()).map_err(|_| Unfit);
        }
        let mut attributes = self.resource.attributes.clone();
        attributes.insert("tenant".to_owned(), Value::String(tenant.to_owned()));
        let kind = uid.type_name().to_string();
        let id: &str = uid.id().as_ref();
        let entity = json!({ "uid": { "type": kind, "id": id }, "attrs": attributes, "parents": [] });
        Entity::from_json_value(entity, Some(schema)).map_err(|_| Unfit)
    }
}

/// The question does not fit the schema: a type, action or attribute it does not know.
#[derive(Debug)]
pub(crate) struct Unfit;
