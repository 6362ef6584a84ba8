//! What no policy can override: a principal of one tenant is forbidden a resource of another, and a store decides about its
//! own tenant only.
//!
//! It holds twice, by two readings of two statements. [`GUARDRAIL`] is a policy of the platform's, in an id space no
//! tenant can write to; it compares the principal's tenant with the resource's. [`is_about`] is no policy at all; it
//! compares both with the tenant whose record the policies were read from. So policies that are found where they do not
//! belong, in a shared store or by a wrong row of the map, permit nothing.

use cedar_policy::{Entities, EntityUid, Request};
use cedar_policy_core::ast::{self, Literal, PartialValue, ValueKind};
use ringfence_context::TenantId;

/// Ids that start so are the platform's.
pub const RESERVED: &str = "ringfence:";

/// The id under which both halves answer.
pub(crate) const GUARDRAIL_ID: &str = "ringfence:guardrail";

pub(crate) const GUARDRAIL: &str = r#"forbid (principal, action, resource)
unless { principal has tenant && resource has tenant && principal.tenant == resource.tenant };"#;

/// Whether it is evaluated. In what serves it always is: only the range is built with what could take it out.
pub(crate) fn stands() -> bool {
    #[cfg(feature = "range")]
    return !crate::broken::guardrail_is_out();
    #[cfg(not(feature = "range"))]
    true
}

/// Whether principal and resource both say that they are this tenant's.
pub(crate) fn is_about(tenant: &TenantId, request: &Request, entities: &Entities) -> bool {
    if !stands() {
        return true;
    }
    let says = |uid: Option<&EntityUid>| {
        let entity: Option<&ast::Entity> = uid.and_then(|uid| entities.get(uid)).map(AsRef::as_ref);
        match entity.and_then(|entity| entity.get("tenant")) {
            Some(PartialValue::Value(said)) => {
                matches!(said.value_kind(), ValueKind::Lit(Literal::String(said)) if *said == tenant.as_str())
            }
            Some(PartialValue::Residual(_)) | None => false,
        }
    };
    says(request.principal()) && says(request.resource())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cedar_policy::{Context, Entity, RestrictedExpression};

    use super::*;

    fn entity(uid: &EntityUid, tenant: Option<RestrictedExpression>) -> Entity {
        let attributes = tenant.into_iter().map(|said| ("tenant".to_owned(), said)).collect();
        Entity::new(uid.clone(), attributes, HashSet::new()).unwrap()
    }

    #[test]
    fn x08_only_what_is_said_to_be_the_tenants_on_both_sides_is_its() {
        let said = |text: &str| Some(RestrictedExpression::new_string(text.to_owned()));
        let user: EntityUid = r#"A::User::"u""#.parse().unwrap();
        let thing: EntityUid = r#"A::Thing::"t""#.parse().unwrap();
        let action: EntityUid = r#"A::Action::"see""#.parse().unwrap();
        let request = Request::new(user.clone(), action, thing.clone(), Context::empty(), None).unwrap();
        let acme = TenantId::new("acme").unwrap();
        for (principal, resource, expected) in [
            (said("acme"), said("acme"), true),
            (said("globex"), said("globex"), false),
            (said("acme"), said("globex"), false),
            (said("globex"), said("acme"), false),
            (said("acme"), None, false),
            (None, said("acme"), false),
            (said("acme "), said("acme"), false),
            (said("acme"), Some(RestrictedExpression::new_entity_uid(user.clone())), false),
        ] {
            let entities = [entity(&user, principal.clone()), entity(&thing, resource.clone())];
            let entities = Entities::from_entities(entities, None).unwrap();
            assert_eq!(is_about(&acme, &request, &entities), expected, "{principal:?} {resource:?}");
        }
        assert!(!is_about(&acme, &request, &Entities::empty()), "nothing is known of either");
    }
}
