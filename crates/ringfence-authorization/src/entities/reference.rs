//! Which entities a value refers to.

use std::collections::HashSet;

use cedar_policy::{Entity, EntityUid, Request};
use cedar_policy_core::ast::{self, Literal, PartialValue, Value, ValueKind};

/// The entities that an entity's attributes refer to.
pub(crate) fn of_entity(entity: &Entity) -> HashSet<EntityUid> {
    let entity: &ast::Entity = entity.as_ref();
    let mut found = HashSet::new();
    for (_, value) in entity.attrs() {
        if let PartialValue::Value(value) = value {
            collect(value, &mut found);
        }
    }
    found
}

/// The entities that a request's context refers to.
pub(crate) fn of_context(request: &Request) -> HashSet<EntityUid> {
    let request: &ast::Request = request.as_ref();
    let mut found = HashSet::new();
    if let Some(ast::Context::Value(values)) = request.context() {
        values.values().for_each(|value| collect(value, &mut found));
    }
    found
}

/// Values nest as deeply as the JSON they came in, which is bounded.
fn collect(value: &Value, found: &mut HashSet<EntityUid>) {
    match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => {
            found.insert(uid.as_ref().clone().into());
        }
        ValueKind::Set(set) => set.authoritative.iter().for_each(|value| collect(value, found)),
        ValueKind::Record(record) => record.values().for_each(|value| collect(value, found)),
        ValueKind::Lit(_) | ValueKind::ExtensionValue(_) => {}
    }
}
