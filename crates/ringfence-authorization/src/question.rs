//! One question to a policy store: may this proved tenant's principal do this to that.

use std::collections::HashSet;

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression, Schema};
use ringfence_context::{TenantContext, TenantId, id::Role};
use serde_json::{Map, Value, json};

use crate::vocabulary::Vocabulary;

/// What is known of the request beyond who, what and which: Cedar's `context`.
pub type Facts = Map<String, Value>;

/// What the principal's attribute is called that names the job for which it acts, where a schema declares it.
pub(crate) const OF_JOB: &str = "of_job";

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

/// Whom it is asked about, where that is not who asks: somebody of the asker's own tenant, for there is no other to name.
///
/// What such a question states beyond what the schema declares is left out, as AuthZEN's senders expect; policies are
/// validated strictly and can't speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its type in the store's schema, without namespace. `user` and `client` are the pool's.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its roles in the pool, as the pool says.
    pub roles: Vec<Role>,
    /// Attributes the asker states.
    pub attributes: Facts,
}

/// One question.
#[derive(Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub context: &'a TenantContext,
    /// Whom about, if not about who asks.
    pub principal: Option<&'a Principal>,
    /// The action's name, without namespace.
    pub action: &'a str,
    /// What is asked about.
    pub resource: &'a Resource,
    /// Cedar's `context`.
    pub facts: &'a Facts,
}

impl Question<'_> {
    /// The id of whom it is about.
    pub(crate) fn subject(&self) -> &str {
        self.principal.map_or(self.context.subject().as_str(), |principal| principal.id.as_str())
    }

    /// The question in Cedar's terms, of a tenant that stores no entities, about who asks: the request, and the principal with its roles and the resource as entities.
    ///
    /// Text, whole numbers and truth values become Cedar's as they are. What else there is, and what does not conform
    /// so (an address given as text, say), is read from its JSON by Cedar, by the schema.
    pub(crate) fn to_cedar(&self, vocabulary: &Vocabulary) -> Result<(Request, Entities), Unfit> {
        let asker =
            vocabulary.kind(if self.context.is_machine() { "Client" } else { "User" }).ok_or(Unfit)?;
        let owned = vocabulary.kind(&self.resource.kind).ok_or(Unfit)?;
        let action = vocabulary.action(self.action).ok_or(Unfit)?;
        let principal = asker.uid(self.context.subject().as_str());
        let resource = owned.uid(&self.resource.id);

        let mut conform = asker.asks;
        let mut roles = Vec::with_capacity(self.context.roles().len());
        if !self.context.roles().is_empty() {
            let role = vocabulary.kind("Role").ok_or(Unfit)?;
            conform &= role.bare;
            roles.extend(self.context.roles().iter().map(|name| role.uid(name.as_str())));
        }
        let mut entities: Vec<_> =
            roles.iter().map(|role| Entity::new_no_attrs(role.clone(), HashSet::new())).collect();
        let mut attributes = vec![
            ("tenant".to_owned(), text(self.context.tenant().as_str())),
            ("subject".to_owned(), text(self.context.subject().as_str())),
        ];
        if let Some(job) = self.context.job().filter(|_| asker.declares(OF_JOB)) {
            attributes.push((OF_JOB.to_owned(), text(job.name.as_str())));
            conform = false;
        }
        entities.push(Entity::new_with_tags(principal.clone(), attributes, roles, []).map_err(|_| Unfit)?);
        // Who asks about themselves is one entity. What else the asker knows of it can't be said of the principal.
        let oneself = resource == principal
            && self.resource.attributes.is_empty()
            && self.resource.tenant == *self.context.tenant();
        if !oneself {
            entities.push(match self.resource_plain(resource.clone()) {
                Some(entity) if self.resource.attributes.is_empty() => {
                    conform &= owned.owned;
                    entity
                }
                Some(entity) if vocabulary.conforms(owned, &entity) => entity,
                _ => {
                    conform = false;
                    self.resource_by_schema(&resource, vocabulary.schema())?
                }
            });
        }
        let entities =
            if conform { vocabulary.entities_flat(entities) } else { vocabulary.entities_checked(entities) };
        let request = self.request(principal, action, resource, vocabulary.schema())?;
        Ok((request, entities.ok_or(Unfit)?))
    }

    fn request(
        &self,
        principal: EntityUid,
        action: &EntityUid,
        resource: EntityUid,
        schema: &Schema,
    ) -> Result<Request, Unfit> {
        let plain: Option<Vec<_>> = plain(self.facts).collect();
        if let Some(context) = plain.and_then(|pairs| Context::from_pairs(pairs).ok()) {
            let (principal, resource) = (principal.clone(), resource.clone());
            let request = Request::new(principal, action.clone(), resource, context, Some(schema));
            if let Ok(request) = request {
                return Ok(request);
            }
        }
        let facts = Value::Object(self.facts.clone());
        let context = Context::from_json_value(facts, Some((schema, action))).map_err(|_| Unfit)?;
        Request::new(principal, action.clone(), resource, context, Some(schema)).map_err(|_| Unfit)
    }

    /// The resource, where all that is known of it is plain. Its tenant is the asker's word, whatever the attributes say.
    fn resource_plain(&self, uid: EntityUid) -> Option<Entity> {
        let tenant = ("tenant".to_owned(), text(self.resource.tenant.as_str()));
        let others = plain(&self.resource.attributes)
            .filter(|pair| !matches!(pair, Some((name, _)) if name == "tenant"));
        let attributes: Vec<_> = others.chain([Some(tenant)]).collect::<Option<_>>()?;
        Entity::new_with_tags(uid, attributes, [], []).ok()
    }

    fn resource_by_schema(&self, uid: &EntityUid, schema: &Schema) -> Result<Entity, Unfit> {
        let mut attributes = self.resource.attributes.clone();
        attributes.insert("tenant".to_owned(), Value::String(self.resource.tenant.to_string()));
        let kind = uid.type_name().to_string();
        let id: &str = uid.id().as_ref();
        let entity = json!({ "uid": { "type": kind, "id": id }, "attrs": attributes, "parents": [] });
        Entity::from_json_value(entity, Some(schema)).map_err(|_| Unfit)
    }
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

/// Values Cedar has no other reading of than the obvious one; `None` for any other.
fn plain(values: &Facts) -> impl Iterator<Item = Option<(String, RestrictedExpression)>> + '_ {
    values.iter().map(|(name, value)| {
        let plain = match value {
            Value::String(value) => text(value),
            Value::Bool(value) => RestrictedExpression::new_bool(*value),
            Value::Number(value) => RestrictedExpression::new_long(value.as_i64()?),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((name.clone(), plain))
    })
}

/// The question does not fit the schema: a type, action or attribute it does not know.
#[derive(Debug)]
pub(crate) struct Unfit;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use cedar_policy::{EntityId, EntityTypeName};
    use proptest::prelude::*;

    use super::*;
    use crate::{entities::Loaded, tests::context};

    const SCHEMA: &str = r#"
        namespace Shop {
          entity Role;
          entity User in [Role] = { tenant: String, subject: String };
          entity Client in [Role] = { tenant: String, subject: String, budget: Long };
          entity Status enum ["new", "any"];
          entity Plain = { tenant: String };
          entity Bare;
          entity Strict = { tenant: String, name: String };
          entity Thing = { tenant: String, name?: String, n?: Long, yes?: Bool, ip?: ipaddr, price?: decimal,
                           tags?: Set<String>, owner?: User, nested?: { a: Long, b?: String } };
          action see appliesTo { principal: [User], resource: [Plain, Bare, Strict, Thing, Status, Role],
                                 context: { name?: String, n?: Long, yes?: Bool, ip?: ipaddr, price?: decimal,
                                            tags?: Set<String>, owner?: User, nested?: { a: Long, b?: String } } };
          action need appliesTo { principal: [User], resource: [Plain], context: { name: String } };
        }"#;

    /// The same question by Cedar's own reader of JSON and its checks, and nothing else.
    fn by_json(question: &Question<'_>, schema: &Schema) -> Option<(Request, Entities)> {
        let uid = |kind: &str, id: &str| {
            let name: EntityTypeName = format!("Shop::{kind}").parse().ok()?;
            Some(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
        };
        let context = question.context;
        let principal = uid("User", context.subject().as_str())?;
        let action = uid("Action", question.action)?;
        let mut entities = Vec::new();
        let mut parents = HashSet::new();
        for role in context.roles() {
            entities.push(Entity::new_no_attrs(uid("Role", role.as_str())?, HashSet::new()));
            parents.insert(uid("Role", role.as_str())?);
        }
        let attributes = HashMap::from([
            ("tenant".to_owned(), text(context.tenant().as_str())),
            ("subject".to_owned(), text(context.subject().as_str())),
        ]);
        entities.push(Entity::new(principal.clone(), attributes, parents).ok()?);
        let Resource { kind, id, tenant, attributes } = question.resource;
        let mut attributes = attributes.clone();
        attributes.insert("tenant".to_owned(), json!(tenant.as_str()));
        let resource = json!({ "uid": { "type": format!("Shop::{kind}"), "id": id }, "attrs": attributes, "parents": [] });
        entities.push(Entity::from_json_value(resource, Some(schema)).ok()?);
        let facts = Value::Object(question.facts.clone());
        let facts = Context::from_json_value(facts, Some((schema, &action))).ok()?;
        let request = Request::new(principal, action, uid(kind, id)?, facts, Some(schema)).ok()?;
        Some((request, Entities::from_entities(entities, Some(schema)).ok()?))
    }

    /// Schemas in which the principal, or its role, is not what it mostly is.
    fn schema(variant: usize) -> String {
        let (from, to) = [
            ("", ""),
            ("", ""),
            ("entity Role;", "entity Role enum [\"any\", \"viewer\"];"),
            ("entity Role;", "entity Role enum [\"any\"];"),
            ("entity Role;", "entity Role = { tenant: String };"),
            ("entity User in [Role]", "entity User"),
            ("subject: String };", "subject: String, budget: Long };"),
        ][variant];
        SCHEMA.replacen(from, to, 1)
    }

    fn value() -> impl Strategy<Value = Value> {
        let owner = json!({ "type": "Shop::User", "id": "u-1" });
        proptest::sample::select(vec![
            json!(null),
            json!(true),
            json!(7),
            json!(-1),
            json!(u64::MAX),
            json!(1.5),
            json!("text"),
            json!("10.0.0.1"),
            json!("1.50"),
            json!(["a", "b"]),
            json!([]),
            json!([1, "a"]),
            json!({ "a": 1 }),
            json!({ "a": "1" }),
            owner.clone(),
            json!({ "__entity": owner }),
            json!({ "__extn": { "fn": "ip", "arg": "10.0.0.1" } }),
        ])
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let names = ["name", "n", "yes", "ip", "price", "tags", "owner", "nested", "tenant", "other"];
        let pair = (proptest::sample::select(names.to_vec()).prop_map(str::to_owned), value());
        proptest::collection::vec(pair, 0..3).prop_map(|pairs| pairs.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn a_question_means_what_cedar_reads_in_its_json(
            variant in 0..7_usize,
            kind in proptest::sample::select(vec!["Plain", "Bare", "Strict", "Thing", "Status", "Role", "None", "User"]),
            id in proptest::sample::select(vec!["any", "new", "viewer", "x\" y"]),
            action in proptest::sample::select(vec!["see", "see", "see", "need", "none"]),
            attributes in facts(),
            facts in facts(),
        ) {
            let vocabulary = Vocabulary::new("Shop", &schema(variant)).unwrap();
            let context = context("acme", "viewer");
            let tenant = TenantId::new("acme").unwrap();
            let resource = Resource { kind: kind.to_owned(), id: id.to_owned(), tenant, attributes };
            let question = Question { context: &context, principal: None, action, resource: &resource, facts: &facts };
            // As a tenant that stores entities asks it, of which none is stored that matters here.
            let stored = Loaded::new();
            let beside_others = question.terms().prepare(&vocabulary).and_then(|prepared| {
                let merged = prepared.merge(&stored)?;
                prepared.finish(merged, &stored)
            });
            let theirs = by_json(&question, vocabulary.schema());
            for ours in [question.to_cedar(&vocabulary).ok(), beside_others.ok()] {
                match (&ours, &theirs) {
                    (None, None) => {}
                    (Some((request, entities)), Some((their_request, their_entities))) => {
                        prop_assert_eq!(request.to_string(), their_request.to_string());
                        prop_assert!(entities.deep_eq(their_entities), "{:?} {:?}", entities, their_entities);
                    }
                    _ => prop_assert!(false, "{question:?}: {ours:?}, Cedar: {theirs:?}"),
                }
            }
        }
    }
}
