//! Whether what a tenant writes in a shared store is confined to it.
//!
//! Where it is kept confines it already: a slice is evaluated for its tenant only, and the guardrail forbids the rest. So no
//! scope has to be written into the text, and the same text serves in a store of the tenant's own. What is refused here is
//! text that speaks of another tenant: it would mean nothing, or something its author did not intend, and in a store that
//! many share a reader must not have to find out which.
//!
//! It guarantees that a tenant is spoken of only by comparing it, with `==` or `!=`, with another entity's tenant or with
//! the tenant's own id, and that no entity of a type `Tenant` is named but the tenant's own. Entities of other types are
//! the tenant's whatever their ids: another tenant's are not looked up, so whether they exist can't be found out.

use cedar_policy::EntityUid;
use ringfence_context::TenantId;
use serde_json::Value;

use crate::{shared::TenantSlice, text};

/// The entity type that stands for tenants, where a schema has one.
const TENANT_TYPE: &str = "Tenant";

const OWN_STORE: &str =
    "or have the tenant moved to a store of its own: `ringfence tenant move-store TENANT --to own`";

/// Why something can't be in a shared store, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfinementFault(String);

impl ConfinementFault {
    pub(super) fn schema() -> Self {
        Self(format!(
            "the schema is the shared store's and can't be changed for one tenant: leave it as it is, {OWN_STORE}"
        ))
    }

    pub(super) fn shared(kind: &str, name: &str) -> Self {
        Self(format!(
            "the {kind} \"{}\" is the shared store's and can't be changed, deleted or shadowed: write one of another name beside it, {OWN_STORE}",
            name.escape_debug()
        ))
    }

    pub(super) fn linked(name: &str) -> Self {
        Self(format!(
            "the link \"{}\" names entities, which are some tenant's: a shared store has none",
            name.escape_debug()
        ))
    }
}

/// What is wrong with one text.
enum Fault {
    Other(String),
    Unclear,
}

/// Looks at all that is a tenant's own.
///
/// # Errors
/// What is not confined, and what to write instead.
pub(super) fn check(slice: &TenantSlice) -> Result<(), ConfinementFault> {
    let tenant = &slice.tenant;
    let unreadable = |kind: &str, name: &str, error: &dyn std::fmt::Display| {
        ConfinementFault(format!("{kind} \"{}\": not valid Cedar: {error}", name.escape_debug()))
    };
    for (name, written) in &slice.policies {
        let policy = text::policy(name, written).map_err(|error| unreadable("policy", name, &error))?;
        let json = policy.to_json().map_err(|error| unreadable("policy", name, &error))?;
        said(tenant, json).map_err(|fault| fault.tell(tenant, "policy", name))?;
    }
    for (name, written) in &slice.templates {
        let template = text::template(name, written).map_err(|error| unreadable("template", name, &error))?;
        let json = template.to_json().map_err(|error| unreadable("template", name, &error))?;
        said(tenant, json).map_err(|fault| fault.tell(tenant, "template", name))?;
    }
    for (name, link) in &slice.links {
        for slot in [&link.principal, &link.resource].into_iter().flatten() {
            let uid: EntityUid = slot.parse().map_err(|error| unreadable("link", name, &error))?;
            let id: &str = uid.id().as_ref();
            entity(tenant, uid.type_name().basename(), id)
                .map_err(|fault| fault.tell(tenant, "link", name))?;
        }
    }
    Ok(())
}

impl Fault {
    fn tell(self, tenant: &TenantId, kind: &str, name: &str) -> ConfinementFault {
        let name = name.escape_debug();
        ConfinementFault(match self {
            Self::Other(other) => format!(
                "{kind} \"{name}\" names the tenant \"{}\", and this is \"{tenant}\"'s part of a shared store: leave the tenant out, or name \"{tenant}\"",
                other.escape_debug()
            ),
            Self::Unclear => format!(
                "{kind} \"{name}\" does something else with a tenant than to compare it, by == or !=, with another tenant or with \"{tenant}\": so it can't be confined in a shared store; write it so, {OWN_STORE}"
            ),
        })
    }
}

/// What a policy says, in Cedar's JSON form. Its annotations say nothing.
fn said(tenant: &TenantId, mut policy: Value) -> Result<(), Fault> {
    if let Some(members) = policy.as_object_mut() {
        members.remove("annotations");
    }
    walk(tenant, &policy)
}

/// Walks Cedar's JSON form of an expression. A member that is no operator, a record's, say, is looked at as if it were one:
/// then more is refused, never less.
fn walk(tenant: &TenantId, expression: &Value) -> Result<(), Fault> {
    match expression {
        Value::Array(members) => members.iter().try_for_each(|member| walk(tenant, member)),
        Value::Object(members) => {
            if let (Some(Value::String(kind)), Some(Value::String(id))) =
                (members.get("type"), members.get("id"))
            {
                entity(tenant, kind.rsplit("::").next().unwrap_or(kind), id)?;
            }
            for (operator, operands) in members {
                match operator.as_str() {
                    "==" | "!=" => compared(tenant, operands)?,
                    "." if operands.get("attr").is_some_and(|attr| attr == "tenant") => {
                        return Err(Fault::Unclear);
                    }
                    _ => walk(tenant, operands)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A comparison: where one side is a tenant, the other is one, or this one's id.
fn compared(tenant: &TenantId, operands: &Value) -> Result<(), Fault> {
    let (Some(left), Some(right)) = (operands.get("left"), operands.get("right")) else {
        return walk(tenant, operands);
    };
    match (whose(left), whose(right)) {
        (None, None) => walk(tenant, left).and_then(|()| walk(tenant, right)),
        (Some(left), Some(right)) => walk(tenant, left).and_then(|()| walk(tenant, right)),
        (Some(whose), None) => walk(tenant, whose).and_then(|()| own(tenant, right)),
        (None, Some(whose)) => walk(tenant, whose).and_then(|()| own(tenant, left)),
    }
}

/// Of `x.tenant`, the `x`.
fn whose(expression: &Value) -> Option<&Value> {
    let access = expression.get(".").filter(|_| expression.as_object().is_some_and(|all| all.len() == 1))?;
    access.get("left").filter(|_| access.get("attr").is_some_and(|attr| attr == "tenant"))
}

fn own(tenant: &TenantId, value: &Value) -> Result<(), Fault> {
    match value.get("Value") {
        Some(Value::String(said)) if said == tenant.as_str() => Ok(()),
        Some(Value::String(said)) => Err(Fault::Other(said.clone())),
        _ => Err(Fault::Unclear),
    }
}

fn entity(tenant: &TenantId, kind: &str, id: &str) -> Result<(), Fault> {
    if kind == TENANT_TYPE && id != tenant.as_str() { Err(Fault::Other(id.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ringfence_context::id::StoreId;

    use super::*;
    use crate::{TemplateLink, shared::SharedStore, tests::document};

    fn slice() -> TenantSlice {
        TenantSlice {
            id: StoreId::new("ps-acme").unwrap(),
            tenant: TenantId::new("acme").unwrap(),
            base: SharedStore::of(&document("acme")).unwrap().id(),
            policies: BTreeMap::new(),
            templates: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    fn told(fill: impl FnOnce(&mut TenantSlice)) -> Option<String> {
        let mut slice = slice();
        fill(&mut slice);
        check(&slice).err().map(|fault| fault.to_string())
    }

    #[test]
    fn x08_a_policy_that_speaks_of_another_tenant_is_refused_and_says_what_to_write() {
        let other = Some("names the tenant \"globex\"");
        let unclear = Some("can't be confined");
        for (condition, expected) in [
            ("principal.tenant == resource.tenant", None),
            ("resource.tenant != principal.tenant", None),
            ("principal.tenant == \"acme\" && \"acme\" == resource.tenant", None),
            ("principal has tenant && resource has tenant", None),
            ("resource.owner.tenant == principal.tenant", None),
            ("resource.name == \"globex\"", None),
            ("principal in Ledger::Role::\"globex\"", None),
            ("principal.tenant == \"globex\"", other),
            ("\"globex\" != resource.tenant", other),
            ("context.n == 1 || (if true then resource.tenant == \"globex\" else false)", other),
            ("resource.owner.tenant == \"globex\"", other),
            ("principal.tenant == \"acme \"", Some("names the tenant \"acme \"")),
            ("[\"acme\", \"globex\"].contains(resource.tenant)", unclear),
            ("resource.tenant like \"*\"", unclear),
            ("principal.tenant == principal.subject", unclear),
            ("principal.tenant == (if true then \"globex\" else \"acme\")", unclear),
            ("{ who: resource.tenant } == { who: \"globex\" }", unclear),
            ("resource[\"tenant\"] == \"globex\"", other),
            ("resource.tenant.tenant == \"acme\"", unclear),
            ("(resource.tenant == principal.tenant) == (resource.tenant == \"globex\")", other),
            ("principal in App::Tenant::\"globex\"", other),
            ("principal in App::Tenant::\"acme\"", None),
            ("true", None),
            ("[Tenant::\"acme\", Tenant::\"globex\"].contains(resource.of)", other),
        ] {
            for effect in ["permit", "forbid"] {
                let text = format!(
                    "@type(\"Tenant\") @id(\"p\") {effect} (principal, action, resource) when {{ {condition} }};"
                );
                let found = told(|slice| drop(slice.policies.insert("p".to_owned(), text)));
                match (found, expected) {
                    (None, None) => {}
                    (Some(found), Some(words)) => {
                        assert!(found.contains(words) && found.contains("\"p\""), "{condition}: {found}");
                    }
                    (found, expected) => panic!("{condition}: {found:?}, not {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn x08_scopes_templates_and_links_name_no_other_tenant_either() {
        let scope = "permit (principal in App::Tenant::\"globex\", action, resource);";
        let template =
            "permit (principal == ?principal, action, resource) when { resource.tenant == \"globex\" };";
        let link = |uid: &str| TemplateLink {
            template: "t".to_owned(),
            principal: None,
            resource: Some(uid.to_owned()),
        };
        let found = [
            told(|slice| drop(slice.policies.insert("p".to_owned(), scope.to_owned()))),
            told(|slice| drop(slice.templates.insert("p".to_owned(), template.to_owned()))),
            told(|slice| drop(slice.links.insert("p".to_owned(), link("App::Tenant::\"globex\"")))),
        ];
        for found in found {
            assert!(found.as_ref().is_some_and(|told| told.contains("\"globex\"")), "{found:?}");
        }
        assert_eq!(
            told(|slice| drop(slice.links.insert("p".to_owned(), link("App::Tenant::\"acme\"")))),
            None
        );
        // Its own user of that id, or nobody: not a question to be answered here.
        assert_eq!(
            told(|slice| drop(slice.links.insert("p".to_owned(), link("App::User::\"globex\"")))),
            None
        );
    }
}
