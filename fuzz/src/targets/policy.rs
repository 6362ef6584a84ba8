//! Policy text: a tier's bundle made of it refuses or compiles, and what is sliced answers as Cedar answers with all.

use std::sync::LazyLock;

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request, Response, Schema};
use ringfence_authorization::{PolicyBundle, SlicedPolicies};
use ringfence_context::{TenantId, id::StoreId};

use crate::World;

const SCHEMA: &str = include_str!("../../../examples/documents/documents.cedarschema");

const ENTITIES: &str = r#"[
  { "uid": { "type": "Docs::Group", "id": "all" }, "attrs": { "tenant": "acme" }, "parents": [] },
  { "uid": { "type": "Docs::Group", "id": "sales" }, "attrs": { "tenant": "acme" },
    "parents": [{ "type": "Docs::Group", "id": "all" }] },
  { "uid": { "type": "Docs::User", "id": "u" }, "attrs": { "tenant": "acme", "subject": "u" },
    "parents": [{ "type": "Docs::Group", "id": "sales" }] },
  { "uid": { "type": "Docs::Folder", "id": "public" }, "attrs": { "tenant": "acme" }, "parents": [] },
  { "uid": { "type": "Docs::Document", "id": "d" },
    "attrs": { "tenant": "acme", "status": "x", "readers": { "__entity": { "type": "Docs::Group", "id": "all" } } },
    "parents": [{ "type": "Docs::Folder", "id": "public" }] }
]"#;

#[expect(clippy::disallowed_methods, reason = "the schema is the repository's own")]
static WORLD: LazyLock<(Schema, Entities)> = LazyLock::new(|| {
    let schema = Schema::from_cedarschema_str(SCHEMA).expect("a schema").0;
    let entities = Entities::from_json_str(ENTITIES, Some(&schema)).expect("entities");
    (schema, entities)
});

/// Feeds one.
///
/// # Panics
/// Where a sliced answer is not Cedar's.
pub fn run(_: &World, input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bundle =
        PolicyBundle { namespace: "Docs".to_owned(), schema: SCHEMA.to_owned(), policies: text.to_owned() };
    let (store, tenant) = (StoreId::new("ps-fuzz").expect("an id"), TenantId::new("acme").expect("an id"));
    let made = bundle.seed(store, tenant);
    if let Ok(document) = made {
        drop(ringfence_authorization::CompiledStore::compile(&document, 0));
    }
    let Ok(all) = text.parse::<PolicySet>() else { return };
    let sliced = SlicedPolicies::new(&all);
    let (schema, entities) = &*WORLD;
    for action in ["ViewAll", "ViewSummary", "ViewFigures", "Edit"] {
        for (principal, resource) in [("u", "d"), ("nobody", "nothing")] {
            let uid = |kind: &str, id: &str| {
                format!("Docs::{kind}::\"{id}\"").parse::<EntityUid>().expect("a name")
            };
            let request = Request::new(
                uid("User", principal),
                uid("Action", action),
                uid("Document", resource),
                Context::empty(),
                Some(schema),
            );
            let request = request.expect("a request that fits");
            let whole = Authorizer::new().is_authorized(&request, &all, entities);
            assert_eq!(told(&sliced.is_authorized(&request, entities)), told(&whole), "{action}");
        }
    }
}

/// Decision, determining policies and errors.
fn told(response: &Response) -> (bool, Vec<String>, Vec<String>) {
    let mut reasons: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    let mut errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    reasons.sort();
    errors.sort();
    (response.decision() == cedar_policy::Decision::Allow, reasons, errors)
}
