//! Entities and context as a caller sends them, in Cedar's terms.
//!
//! Two spellings each: the API's own structures, and Cedar's JSON as a string, which is read as strictly as the body it
//! came in.

use std::collections::BTreeMap;

use cedar_policy::{Context, Entities, Entity, EntityTypeName, EntityUid, RestrictedExpression};
use ringfence_context::{limits, strict_json};
use serde::Deserialize;
use serde_json::Value;

use crate::avp::{
    error::{AvpError, Outcome},
    fit::cedar,
    record::EntityIdentifier,
};

/// Where entities are, in an input.
const PATH: &str = "entities";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum EntitiesDefinition {
    EntityList(Vec<EntityItem>),
    CedarJson(String),
}

#[derive(Deserialize)]
pub(crate) struct EntityItem {
    identifier: EntityIdentifier,
    #[serde(default)]
    attributes: BTreeMap<String, AttributeValue>,
    #[serde(default)]
    parents: Vec<EntityIdentifier>,
    #[serde(default)]
    tags: BTreeMap<String, AttributeValue>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ContextDefinition {
    ContextMap(BTreeMap<String, AttributeValue>),
    CedarJson(String),
}

/// A value of an attribute, of a tag, or of the context.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AttributeValue {
    Boolean(bool),
    EntityIdentifier(EntityIdentifier),
    Long(i64),
    String(String),
    Set(Vec<AttributeValue>),
    Record(BTreeMap<String, AttributeValue>),
    Ipaddr(String),
    Decimal(String),
    Datetime(String),
    Duration(String),
}

impl EntitiesDefinition {
    /// The entities.
    ///
    /// # Errors
    /// Where one is not an entity, or an attribute's value is none of its type.
    pub(crate) fn read(self) -> Outcome<Vec<Entity>> {
        match self {
            Self::EntityList(items) if items.len() > limits::AVP_ENTITIES_TOTAL => Err(too_many()),
            Self::EntityList(items) => {
                items.into_iter().enumerate().map(|(at, item)| item.read(at)).collect()
            }
            Self::CedarJson(text) => {
                let path = "entities.cedarJson";
                let value = strict(&text, path)?;
                if value.as_array().is_some_and(|items| items.len() > limits::AVP_ENTITIES_TOTAL) {
                    return Err(too_many());
                }
                let entities = Entities::from_json_value(value, None);
                Ok(entities.map_err(|error| cedar(path, &error))?.iter().cloned().collect())
            }
        }
    }
}

impl EntityItem {
    fn read(self, at: usize) -> Outcome<Entity> {
        let path = format!("entities.entityList[{at}]");
        let own = uid(&self.identifier, &format!("{path}.identifier"))?;
        let parents = self.parents.iter().map(|parent| uid(parent, &format!("{path}.parents")));
        let parents: Vec<EntityUid> = parents.collect::<Outcome<_>>()?;
        let (attributes, tags) = (pairs(self.attributes, &path)?, pairs(self.tags, &path)?);
        Entity::new_with_tags(own, attributes, parents, tags).map_err(|error| cedar(&path, &error))
    }
}

impl ContextDefinition {
    /// The context, as pairs.
    ///
    /// # Errors
    /// Where a value is none of its type.
    pub(crate) fn read(self, path: &str) -> Outcome<Context> {
        match self {
            Self::ContextMap(values) => {
                let path = format!("{path}.contextMap");
                Context::from_pairs(pairs(values, &path)?).map_err(|error| cedar(&path, &error))
            }
            Self::CedarJson(text) => {
                let path = format!("{path}.cedarJson");
                Context::from_json_value(strict(&text, &path)?, None).map_err(|error| cedar(&path, &error))
            }
        }
    }
}

impl AttributeValue {
    fn read(self, path: &str) -> Outcome<RestrictedExpression> {
        Ok(match self {
            Self::Boolean(value) => RestrictedExpression::new_bool(value),
            Self::EntityIdentifier(value) => RestrictedExpression::new_entity_uid(uid(&value, path)?),
            Self::Long(value) => RestrictedExpression::new_long(value),
            Self::String(value) => RestrictedExpression::new_string(value),
            Self::Set(values) => {
                let values = values.into_iter().map(|value| value.read(path));
                RestrictedExpression::new_set(values.collect::<Outcome<Vec<_>>>()?)
            }
            Self::Record(values) => {
                RestrictedExpression::new_record(pairs(values, path)?).map_err(|error| cedar(path, &error))?
            }
            Self::Ipaddr(value) => RestrictedExpression::new_ip(value),
            Self::Decimal(value) => RestrictedExpression::new_decimal(value),
            Self::Datetime(value) => RestrictedExpression::new_datetime(value),
            Self::Duration(value) => RestrictedExpression::new_duration(value),
        })
    }
}

/// An entity's name in Cedar's terms.
pub(crate) fn uid(identifier: &EntityIdentifier, path: &str) -> Outcome<EntityUid> {
    let path = format!("{path}.entityType");
    identifier.uid().ok_or_else(|| AvpError::invalid(&path, "is not the name of an entity type"))
}

/// Whether a type is one of actions.
pub(crate) fn is_action(kind: &EntityTypeName) -> bool {
    kind.basename() == "Action"
}

/// Refuses actions among the entities: actions and their groups are the schema's.
pub(crate) fn without_actions(entities: &[Entity]) -> Outcome<()> {
    if entities.iter().any(|entity| is_action(entity.uid().type_name())) {
        return Err(AvpError::invalid(PATH, "can't have actions: they are specified in the schema"));
    }
    Ok(())
}

/// Refuses more entities of one of these types than one decision may have.
pub(crate) fn count_check<'a>(
    entities: &[Entity],
    kinds: impl Iterator<Item = &'a EntityTypeName>,
) -> Outcome<()> {
    for kind in kinds {
        let count = entities.iter().filter(|entity| entity.uid().type_name() == kind).count();
        if count > limits::AVP_ENTITIES {
            let message =
                format!("has more than {} entities of a type that is asked about", limits::AVP_ENTITIES);
            return Err(AvpError::invalid(PATH, message));
        }
    }
    Ok(())
}

/// All entities of a decision together.
///
/// # Errors
/// Where two of them are one entity and differ, or they go round in a circle.
pub(crate) fn together(entities: Vec<Entity>) -> Outcome<Entities> {
    Entities::from_entities(entities, None).map_err(|error| cedar(PATH, &error))
}

/// Refuses an entity that is below more entities than one may be.
pub(crate) fn ancestors_check(entities: &Entities, uid: &EntityUid) -> Outcome<()> {
    if entities.ancestors(uid).is_some_and(|above| above.count() > limits::AVP_ANCESTORS) {
        let message = format!("puts an entity below more than {} others", limits::AVP_ANCESTORS);
        return Err(AvpError::invalid(PATH, message));
    }
    Ok(())
}

fn too_many() -> AvpError {
    AvpError::invalid(PATH, format!("must have at most {} items", limits::AVP_ENTITIES_TOTAL))
}

fn pairs(
    values: BTreeMap<String, AttributeValue>,
    path: &str,
) -> Outcome<Vec<(String, RestrictedExpression)>> {
    let pair = |(name, value): (String, AttributeValue)| {
        let value = value.read(&format!("{path}.{name}"))?;
        Ok((name, value))
    };
    values.into_iter().map(pair).collect()
}

/// A text that is JSON, read as strictly as the body it came in.
pub(crate) fn strict(text: &str, path: &str) -> Outcome<Value> {
    strict_json::value(text.as_bytes(), limits::AVP_JSON_DEPTH)
        .map_err(|error| AvpError::invalid(path, format!("is not plain JSON: {error}")))
}
