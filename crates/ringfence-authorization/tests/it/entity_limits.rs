//! What a tenant may not store, and how much one decision may not read.

use ringfence_authorization::{EntityFault, WhenUnproved, entities::Uid};
use ringfence_context::{Reason, limits};
use ringfence_store::{Draft, Kind, Scope};
use serde_json::{Value, json};

use crate::{
    entity_world::{World, refers, uid},
    fixture::{gate, resource},
    govern::change,
};

#[tokio::test(flavor = "multi_thread")]
async fn reject_entity_parents() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let many = |count: usize| -> Vec<Uid> { (0..count).map(|at| uid("Group", &at.to_string())).collect() };
    world.put(&acme, uid("User", "u-1"), json!({}), &many(limits::ENTITY_PARENTS)).await;
    let fault = world.refused(&acme, uid("User", "u-2"), json!({}), &many(limits::ENTITY_PARENTS + 1)).await;
    assert!(matches!(fault, EntityFault::TooMany("parents", _)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_entity_ancestors() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let (width, mut above) = (limits::ENTITY_PARENTS, Vec::new());
    // Each level has a level above it.
    for level in 0..limits::ENTITY_ANCESTORS / width {
        let level: Vec<Uid> = (0..width).map(|at| uid("Group", &format!("{level}-{at}"))).collect();
        world.put(&acme, level[0].clone(), json!({}), &above).await;
        above = level;
    }
    world.put(&acme, uid("User", "u-1"), json!({}), &above).await;
    world.put(&acme, above[1].clone(), json!({}), &[]).await;
    let kept = world.stores.entity_get(&acme, &uid("User", "u-1")).await.unwrap();
    assert_eq!(kept.ancestors.len(), limits::ENTITY_ANCESTORS);
    let fault = world.refused(&acme, above[1].clone(), json!({}), &[uid("Group", "one-more")]).await;
    assert!(
        matches!(fault, EntityFault::TooMany("entities above it", _)),
        "also of what is below: {fault:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_entity_references() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let barred = |count: usize| -> Value {
        json!({ "barred": (0..count).map(|at| refers("User", &at.to_string())).collect::<Vec<_>>() })
    };
    world.put(&acme, uid("Document", "d"), barred(limits::ENTITY_REFERENCES), &[]).await;
    world.refused(&acme, uid("Document", "d"), barred(limits::ENTITY_REFERENCES + 1), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_entity_descendants() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let below = async |number: usize| {
        let of = uid("User", &format!("u-{number}"));
        world.put(&acme, of, json!({}), &[uid("Group", "sales")]).await;
    };
    for number in 0..limits::ENTITY_DESCENDANTS {
        below(number).await;
    }
    world.put(&acme, uid("Group", "sales"), json!({}), &[uid("Group", "all")]).await;
    let last = uid("User", &format!("u-{}", limits::ENTITY_DESCENDANTS - 1));
    assert_eq!(world.stores.entity_get(&acme, &last).await.unwrap().ancestors.len(), 2);
    below(limits::ENTITY_DESCENDANTS).await;
    let fault = world.refused(&acme, uid("Group", "sales"), json!({}), &[]).await;
    assert!(matches!(fault, EntityFault::TooMany("entities below it", _)), "{fault:?}");
    // What is not above anything else is free to change.
    world.put(&acme, uid("Group", "sales"), json!({}), &[uid("Group", "all")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_entities_stored() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.put(&acme, uid("Group", "a"), json!({}), &[]).await;
    let head = json!({ "tenant": "acme", "count": limits::ENTITIES_STORED });
    let head = Draft::put(&Scope::from(&acme), Kind::new("entity_head"), "head", &head).unwrap();
    world.records.commit(vec![head]).await.unwrap();
    let fault = world.refused(&acme, uid("Group", "b"), json!({}), &[]).await;
    assert!(matches!(fault, EntityFault::TooMany("entities", _)), "{fault:?}");
    world.put(&acme, uid("Group", "a"), json!({}), &[]).await;
    world.stores.entity_delete(&acme, &uid("Group", "a")).await.unwrap();
    world.put(&acme, uid("Group", "b"), json!({}), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_entities_reached() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let (mut wide, revision) = world.stores.document(&acme).await.unwrap();
    wide.schema = wide.schema.replace(
        "entity Group in [Group] = { tenant: String }",
        "entity Group in [Group] = { tenant: String, near?: Set<Group> }",
    );
    let gate = gate().await;
    let publishable = gate.check(wide, WhenUnproved::Refuse).await.unwrap();
    world.stores.document_put(&publishable, revision, change()).await.unwrap();
    // A document's group refers to groups that each refer to as many again.
    let near = |of: usize, count: usize| -> Value {
        let near: Vec<Value> = (0..count).map(|at| refers("Group", &format!("{of}-{at}"))).collect();
        json!({ "near": near })
    };
    world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "all")]).await;
    world.put(&acme, uid("Document", "d"), json!({ "readers": refers("Group", "all") }), &[]).await;
    world.put(&acme, uid("Group", "all"), near(0, limits::ENTITY_REFERENCES), &[]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "d"), Ok(()));
    let far = json!({ "readers": refers("Group", "all"), "barred": [refers("User", "u-9")] });
    world.put(&acme, uid("Document", "d"), far, &[]).await;
    let mut stated = resource(&acme, "Document", "unstored");
    stated.attributes.insert("readers".to_owned(), refers("Group", "0-0"));
    // Stated to refer to what refers to many, twice over.
    for at in 0..limits::ENTITY_REFERENCES {
        let of = uid("Group", &format!("0-{at}"));
        world.put(&acme, of, near(at + 1, limits::ENTITY_REFERENCES), &[]).await;
    }
    stated.attributes.insert("readers".to_owned(), refers("Group", "all"));
    assert_eq!(world.ask(&acme, "u-1", "ViewSummary", &stated), Err(Reason::PolicyError));
}
