//! The entity store against its state: real SQLite, the example's schema, and attacks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use proptest::prelude::*;
use ringfence_authorization::{
    CompiledStore, Decide, EntityFault, Facts, Memory, Principal, Question, Resource, Standing, Stores,
    WhenUnproved,
    entities::{Asked, Uid},
};
use ringfence_context::{Reason, TenantId};
use ringfence_store::{Change, Expect, Kind, RecordKey, Scope, Store};
use serde_json::{Value, json};

use crate::{
    entity_world::{World, document, form, refers, uid},
    fixture::{breath, gate, resource, tenant},
    govern::change,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_policies_are_proved() {
    let gate = gate().await;
    let publishable = gate.check(document(&tenant("acme")), WhenUnproved::Refuse).await.unwrap();
    assert!(matches!(publishable.standing(), Standing::Proved(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn hj01_what_is_stored_takes_part_and_a_field_group_is_permitted_alone() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "plan"), Err(Reason::Denied));
    world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "sales")]).await;
    world.put(&acme, uid("Document", "plan"), json!({ "readers": refers("Group", "all") }), &[]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "plan"), Err(Reason::Denied), "not yet in it");
    world.put(&acme, uid("Group", "sales"), json!({}), &[uid("Group", "all")]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "plan"), Ok(()));
    for other in ["ViewFigures", "ViewAll", "Edit"] {
        assert_eq!(world.view(&acme, "u-1", other, "plan"), Err(Reason::Denied), "{other}");
    }
    world.put(&acme, uid("Folder", "news"), json!({}), &[uid("Folder", "public")]).await;
    world.put(&acme, uid("Document", "plan"), json!({}), &[uid("Folder", "news")]).await;
    for each in ["ViewAll", "ViewSummary", "ViewFigures"] {
        assert_eq!(world.view(&acme, "u-2", each, "plan"), Ok(()), "{each}: who may see all may see each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hj03_references_are_followed_twice_and_then_no_further() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.put(&acme, uid("User", "u-1"), json!({ "team": refers("Group", "ops") }), &[]).await;
    world.put(&acme, uid("User", "u-2"), json!({}), &[uid("Group", "ops")]).await;
    world.put(&acme, uid("Folder", "f"), json!({ "owner": refers("User", "u-1") }), &[]).await;
    world.put(&acme, uid("Document", "d"), json!({ "folder": refers("Folder", "f") }), &[]).await;
    assert_eq!(world.view(&acme, "u-1", "Edit", "d"), Ok(()), "one reference on");
    assert_eq!(world.view(&acme, "u-2", "Edit", "d"), Err(Reason::Denied));
    assert_eq!(world.view(&acme, "u-2", "ViewFigures", "d"), Ok(()), "two references on");
    // What is stated of the resource is followed as well.
    let mut stated = resource(&acme, "Document", "unstored");
    stated.attributes.insert("folder".to_owned(), refers("Folder", "f"));
    assert_eq!(world.ask(&acme, "u-1", "Edit", &stated), Ok(()));
    // What is referred to stays; a reference to what never was is no permit.
    let fault = world.stores.entity_delete(&acme, &uid("Folder", "f")).await.unwrap_err();
    assert!(matches!(fault, EntityFault::Referrer(by) if by == uid("Document", "d")));
    world.put(&acme, uid("Document", "d"), json!({ "folder": refers("Folder", "never") }), &[]).await;
    assert_eq!(world.view(&acme, "u-1", "Edit", "d"), Err(Reason::Denied));
    world.stores.entity_delete(&acme, &uid("Folder", "f")).await.unwrap();
    world.stores.entity_delete(&acme, &uid("User", "u-1")).await.unwrap();
}

/// What is further than entities are followed would look absent: a `forbid` would not forbid.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_reads_further_than_entities_are_followed_refuses_all() {
    for (reads, refused) in [
        ("resource has folder && resource.folder has owner && resource.folder.owner has team", false),
        (
            "resource has folder && resource.folder has owner && resource.folder.owner has team && \
             resource.folder.owner.team in Docs::Group::\"all\"",
            true,
        ),
        ("Docs::User::\"u-1\" has team", true),
    ] {
        let world = World::new().await;
        let acme = world.tenant("acme").await;
        let (mut own, revision) = world.stores.document(&acme).await.unwrap();
        let forbid = format!("forbid (principal, action, resource is Docs::Document) when {{ {reads} }};");
        own.policies.insert("own".to_owned(), forbid);
        let gate = gate().await;
        let publishable = gate.check(own, WhenUnproved::Accept).await.unwrap();
        world.stores.document_put(&publishable, revision, change()).await.unwrap();
        assert_eq!(world.view(&acme, "u-1", "Edit", "d"), Err(Reason::Denied), "nothing is stored: {reads}");
        world.put(&acme, uid("Document", "d"), json!({}), &[uid("Folder", "public")]).await;
        let expected = if refused { Err(Reason::PolicyError) } else { Ok(()) };
        assert_eq!(world.view(&acme, "u-1", "ViewAll", "d"), expected, "{reads}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hj04_a_denial_wins() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let barred = json!({ "barred": [refers("User", "u-2")] });
    world.put(&acme, uid("Document", "d"), barred, &[uid("Folder", "public")]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewAll", "d"), Ok(()));
    assert_eq!(world.view(&acme, "u-2", "ViewAll", "d"), Err(Reason::Denied));
}

#[tokio::test(flavor = "multi_thread")]
async fn hj05_a_write_reaches_all_that_is_below() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let group = |number: usize| uid("Group", &format!("g{number}"));
    world.put(&acme, uid("User", "u-1"), json!({}), &[group(0)]).await;
    for number in 0..50 {
        world.put(&acme, group(number), json!({}), &[group(number + 1)]).await;
    }
    let top = json!({ "readers": refers("Group", "g50") });
    world.put(&acme, uid("Document", "d"), top, &[]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "d"), Ok(()));
    let kept = world.stores.entity_get(&acme, &uid("User", "u-1")).await.unwrap();
    assert_eq!(kept.ancestors.len(), 51, "all of it in one record");
    world.put(&acme, group(25), json!({}), &[]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "d"), Err(Reason::Denied));
    let kept = world.stores.entity_get(&acme, &uid("User", "u-1")).await.unwrap();
    assert_eq!(kept.ancestors.len(), 26);
    assert!(matches!(world.refused(&acme, group(25), json!({}), &[group(3)]).await, EntityFault::Cycle(_)));
    assert!(matches!(world.refused(&acme, group(60), json!({}), &[group(60)]).await, EntityFault::Cycle(_)));
    let fault = world.stores.entity_delete(&acme, &group(10)).await.unwrap_err();
    assert!(matches!(fault, EntityFault::Parent(child) if child == group(9)), "what is below goes first");
    assert!(matches!(world.stores.entity_delete(&acme, &group(99)).await, Err(EntityFault::Missing(_))));
}

/// The ancestors of every node by walking, or nothing where it goes in a circle.
fn walked(parents: &BTreeMap<u8, BTreeSet<u8>>) -> Option<BTreeMap<u8, BTreeSet<u8>>> {
    let mut all = BTreeMap::new();
    for node in parents.keys() {
        let (mut found, mut next) = (BTreeSet::new(), vec![*node]);
        while let Some(at) = next.pop() {
            for parent in parents.get(&at).into_iter().flatten() {
                if found.insert(*parent) {
                    next.push(*parent);
                }
            }
        }
        if found.contains(node) {
            return None;
        }
        all.insert(*node, found);
    }
    Some(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hj02_the_closure_is_what_walking_finds_and_circles_are_refused(
        writes in proptest::collection::vec((0..8_u8, proptest::collection::btree_set(0..8_u8, 0..3)), 1..14)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let acme = world.tenant("acme").await;
            let group = |number: &u8| uid("Group", &number.to_string());
            let mut model: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
            for (node, parents) in &writes {
                let mut after = model.clone();
                after.insert(*node, parents.clone());
                let above: Vec<Uid> = parents.iter().map(group).collect();
                let outcome = world.stores.entity_put(&acme, form(group(node), json!({}), &above)).await;
                match walked(&after) {
                    Some(_) => {
                        outcome.unwrap();
                        model = after;
                    }
                    None => assert!(matches!(outcome, Err(EntityFault::Cycle(_))), "{outcome:?}"),
                }
                for (node, ancestors) in walked(&model).unwrap() {
                    let kept = world.stores.entity_get(&acme, &group(&node)).await.unwrap();
                    let kept: BTreeSet<String> = kept.ancestors.into_iter().map(|uid| uid.id).collect();
                    let walked: BTreeSet<String> = ancestors.iter().map(ToString::to_string).collect();
                    assert_eq!(kept, walked, "above {node} after {writes:?}");
                }
            }
        });
    }
}

/// With no memory every question reads the state; with some, readers fill it again behind every change.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hj06_a_revoke_is_never_followed_by_a_stale_allow() {
    for memory in [Memory { tenants: 0, contents: 0, entities: 0 }, Memory::default()] {
        let world = Arc::new(World::within(memory).await);
        let acme = world.tenant("acme").await;
        world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "sales")]).await;
        world.put(&acme, uid("Document", "d"), json!({ "readers": refers("Group", "all") }), &[]).await;
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (world, acme, done) = (Arc::clone(&world), acme.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut asked = 0;
                    while !done.load(Ordering::SeqCst) {
                        let told = world.view(&acme, "u-1", "ViewSummary", "d");
                        assert!(matches!(told, Ok(()) | Err(Reason::Denied)), "{told:?}");
                        asked += 1;
                        breath().await;
                    }
                    asked
                })
            })
            .collect();
        let (mut revision, mut told) = (0, 0);
        for number in 0..20 {
            world.put(&acme, uid("Group", "sales"), json!({}), &[uid("Group", "all")]).await;
            assert_eq!(world.view(&acme, "u-1", "ViewSummary", "d"), Ok(()), "grant {number}");
            world.put(&acme, uid("Group", "sales"), json!({}), &[]).await;
            assert_eq!(world.view(&acme, "u-1", "ViewSummary", "d"), Err(Reason::Denied), "revoke {number}");
            world.stores.warm(&acme).await.unwrap();
            // Without memory nothing is remembered under a revision, and none is told.
            if let Some((now, by_resource)) = world.stores.revision(&acme).unwrap() {
                assert!(
                    now > revision && by_resource,
                    "what is remembered under the revision counts no longer"
                );
                (revision, told) = (now, told + 1);
            }
        }
        assert_eq!(told > 0, memory.tenants > 0);
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.await.unwrap() > 0);
        }
    }
}

/// What a proposal is tried by and what serves read the same entities, each by its own schema.
#[tokio::test(flavor = "multi_thread")]
async fn hj06_a_revoke_is_seen_by_a_proposal_too() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let proposal = CompiledStore::compile(&document(&acme), 0).unwrap();
    world.put(&acme, uid("Document", "d"), json!({ "readers": refers("Group", "all") }), &[]).await;
    for number in 0..3 {
        world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "all")]).await;
        assert_eq!(world.view_by(&proposal, &acme, "u-1", "ViewSummary", "d"), Ok(()), "grant {number}");
        world.put(&acme, uid("User", "u-1"), json!({}), &[]).await;
        let told = world.view_by(&proposal, &acme, "u-1", "ViewSummary", "d");
        assert_eq!(told, Err(Reason::Denied), "revoke {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_by_one_schema_is_not_used_by_another() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "all")]).await;
    let attrs = json!({ "readers": refers("Group", "all"), "status": "x" });
    world.put(&acme, uid("Document", "d"), attrs, &[]).await;
    let mut narrowed = document(&acme);
    narrowed.schema = narrowed.schema.replace("status?: String", "status?: Long");
    let proposal = CompiledStore::compile(&narrowed, 0).unwrap();
    let refused = Err(Reason::StoreUnavailable);
    for _ in 0..2 {
        assert_eq!(world.view(&acme, "u-1", "ViewSummary", "d"), Ok(()));
        assert_eq!(world.view_by(&proposal, &acme, "u-1", "ViewSummary", "d"), refused, "it does not fit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_made_on_one_state_although_another_node_changes_it_meanwhile() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let elsewhere = world.elsewhere().await;
    world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "all")]).await;
    world.put(&acme, uid("Document", "old"), json!({ "readers": refers("Group", "all") }), &[]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "old"), Ok(()));
    // First the user goes, then the document opens: at no time was both so that the user may see it.
    elsewhere.entity_put(&acme, form(uid("User", "u-1"), json!({}), &[])).await.unwrap();
    let opened = form(uid("Document", "new"), json!({ "readers": refers("Group", "all") }), &[]);
    elsewhere.entity_put(&acme, opened).await.unwrap();
    // This node has not heard of it, remembers the user, and reads the document.
    assert_eq!(world.view(&acme, "u-1", "ViewSummary", "new"), Err(Reason::Denied));
}

#[tokio::test(flavor = "multi_thread")]
async fn x17_an_entity_is_its_tenants_whatever_it_says() {
    let world = World::new().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    let other = json!({ "tenant": "globex" });
    assert!(matches!(world.refused(&acme, uid("Document", "d"), other, &[]).await, EntityFault::OtherTenant));
    assert!(matches!(
        world.refused(&acme, uid("User", "u-1"), json!({ "subject": "u-2" }), &[]).await,
        EntityFault::Unfit(_)
    ));
    // The names of globex' entities are names like any other in acme: there is nothing behind them.
    world.put(&globex, uid("Folder", "inner"), json!({}), &[uid("Folder", "public")]).await;
    world.put(&globex, uid("Group", "sales"), json!({}), &[uid("Group", "all")]).await;
    world.put(&acme, uid("Document", "d"), json!({ "tenant": "acme" }), &[uid("Folder", "inner")]).await;
    world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "sales")]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewAll", "d"), Err(Reason::Denied));
    for never in ["inner", "never-was"] {
        let missing = world.stores.entity_get(&acme, &uid("Folder", never)).await;
        assert!(matches!(missing, Err(EntityFault::Missing(_))), "{never}");
    }
    assert_eq!(world.stores.entity_list(&globex, None, None, 100).await.unwrap().len(), 2);
    // Stated to be of another tenant than it is stored as.
    let stated = resource(&globex, "Document", "d");
    assert_eq!(world.ask(&acme, "u-1", "ViewAll", &stated), Err(Reason::SourcesDisagree));
}

#[tokio::test(flavor = "multi_thread")]
async fn x16_an_entity_record_moved_to_another_tenant_refuses_what_would_use_it() {
    let world = World::new().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    world.put(&acme, uid("Document", "d"), json!({}), &[uid("Folder", "public")]).await;
    world.put(&globex, uid("Document", "d"), json!({}), &[]).await;
    world.put(&globex, uid("Document", "e"), json!({}), &[uid("Folder", "public")]).await;
    let kind = Kind::new("entity");
    let records = async |tenant: &TenantId| {
        world.state.list(&Scope::from(tenant), kind.as_str(), None, 10).await.unwrap()
    };
    let (of_acme, of_globex) = (records(&acme).await, records(&globex).await);
    let move_to = async |id: &str, value: Vec<u8>| {
        let key = RecordKey::new(Scope::from(&globex), kind, id);
        world.state.commit(vec![Change { key, expect: Expect::Any, value: Some(value) }]).await.unwrap();
        // As after a restart: nothing is remembered.
        world.elsewhere().await
    };
    let asked = async |stores: &Arc<Stores>| {
        let context = world.contexts.context(&globex, "u-1", "viewer");
        let (what, facts) = (resource(&globex, "Document", "d"), Facts::new());
        let question = Question {
            context: &context,
            principal: None,
            action: "ViewAll",
            resource: &what,
            facts: &facts,
        };
        stores.decide(&question).map(|answer| answer.allow).map_err(|refusal| refusal.reason)
    };
    let (d, e) = match of_globex.as_slice() {
        [one, two] => {
            let found = world.stores.entity_list(&globex, None, None, 1).await.unwrap();
            if found[0].1.uid.id == "d" { (one, two) } else { (two, one) }
        }
        _ => panic!("two entities"),
    };
    assert_eq!(asked(&world.elsewhere().await).await, Ok(false));
    let stores = move_to(&d.key.id, of_acme[0].value.clone()).await;
    assert_eq!(asked(&stores).await, Err(Reason::StoreUnavailable), "another tenant's");
    let stores = move_to(&d.key.id, e.value.clone()).await;
    assert_eq!(asked(&stores).await, Err(Reason::StoreUnavailable), "the same tenant's, another entity's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stated_adds_to_what_is_stored_and_does_not_contradict_it() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "all")]).await;
    world.put(&acme, uid("Document", "d"), json!({ "status": "draft" }), &[]).await;
    let mut what = resource(&acme, "Document", "d");
    what.attributes.insert("readers".to_owned(), refers("Group", "all"));
    assert_eq!(world.ask(&acme, "u-1", "ViewSummary", &what), Ok(()), "what is not stored is believed");
    what.attributes.insert("status".to_owned(), json!("draft"));
    assert_eq!(world.ask(&acme, "u-1", "ViewSummary", &what), Ok(()), "the same twice is no contradiction");
    what.attributes.insert("status".to_owned(), json!("final"));
    assert_eq!(world.ask(&acme, "u-1", "ViewSummary", &what), Err(Reason::SourcesDisagree));

    let named = |attributes: Value| {
        let Value::Object(attributes) = attributes else { panic!("{attributes}") };
        Principal { kind: "user".to_owned(), id: "u-1".to_owned(), roles: Vec::new(), attributes }
    };
    let what = |attributes: Value| {
        let Value::Object(attributes) = attributes else { panic!("{attributes}") };
        Resource { attributes, ..resource(&acme, "Document", "d") }
    };
    let readers = json!({ "readers": refers("Group", "all"), "nobody_knows": [1, null] });
    assert_eq!(world.about(&acme, &named(json!({ "age": 7 })), &what(readers.clone())), Ok(()));
    for (principal, resource, expected) in [
        (json!({ "tenant": "acme" }), readers.clone(), Ok(())),
        (json!({ "tenant": "globex" }), readers.clone(), Err(Reason::SourcesDisagree)),
        (json!({ "tenant": 7 }), readers.clone(), Err(Reason::SourcesDisagree)),
        (json!({ "subject": "u-2" }), readers.clone(), Err(Reason::SourcesDisagree)),
        (json!({}), json!({ "tenant": "globex" }), Err(Reason::SourcesDisagree)),
        (json!({}), json!({ "status": "final" }), Err(Reason::SourcesDisagree)),
        (json!({}), json!({ "status": 7 }), Err(Reason::PolicyError)),
        (json!({}), json!({}), Err(Reason::Denied)),
    ] {
        let told = world.about(&acme, &named(principal.clone()), &what(resource.clone()));
        assert_eq!(told, expected, "{principal} {resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_schema_is_not_stored_and_what_fits_no_more_refuses() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    for (of, attrs, parents) in [
        (uid("Nothing", "x"), json!({}), vec![]),
        (uid("Action", "Edit"), json!({}), vec![]),
        (Uid { kind: "Document".to_owned(), id: "x".to_owned() }, json!({}), vec![]),
        (uid("Document", ""), json!({}), vec![]),
        (uid("Document", "x"), json!({ "status": 7 }), vec![]),
        (uid("Document", "x"), json!({ "unknown": "x" }), vec![]),
        (uid("Document", "x"), json!({ "folder": refers("Group", "x") }), vec![]),
        (uid("Document", "x"), json!({}), vec![uid("Group", "x")]),
        (uid("Group", "x"), json!({}), vec![uid("User", "x")]),
    ] {
        world.refused(&acme, of, attrs, &parents).await;
    }
    world.put(&acme, uid("Document", "d"), json!({ "status": "x" }), &[uid("Folder", "public")]).await;
    assert_eq!(world.view(&acme, "u-1", "ViewAll", "d"), Ok(()));
    let (mut narrowed, revision) = world.stores.document(&acme).await.unwrap();
    narrowed.schema = narrowed.schema.replace("status?: String", "status?: Long");
    let gate = gate().await;
    let publishable = gate.check(narrowed, WhenUnproved::Refuse).await.unwrap();
    world.stores.document_put(&publishable, revision, change()).await.unwrap();
    assert_eq!(world.view(&acme, "u-1", "ViewAll", "d"), Err(Reason::StoreUnavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn hj11_an_explanation_names_policies_ways_and_what_is_missing() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.put(&acme, uid("Group", "sales"), json!({}), &[uid("Group", "emea")]).await;
    world.put(&acme, uid("Group", "emea"), json!({}), &[uid("Group", "all")]).await;
    world.put(&acme, uid("User", "u-1"), json!({}), &[uid("Group", "sales")]).await;
    let attrs = json!({ "readers": refers("Group", "all"), "folder": refers("Folder", "gone") });
    world.put(&acme, uid("Document", "d"), attrs, &[]).await;
    let (principal, facts) = (
        Principal {
            kind: "User".to_owned(),
            id: "u-1".to_owned(),
            roles: Vec::new(),
            attributes: Facts::new(),
        },
        Facts::new(),
    );
    let what = resource(&acme, "Document", "d");
    let explain = async |action: &str| {
        let asked = Asked { principal: &principal, action, resource: &what, facts: &facts };
        world.stores.explain(&acme, &asked).await.unwrap()
    };
    let told = explain("ViewSummary").await;
    assert!(told.decision);
    assert_eq!(told.determining, ["readers-see-summaries"]);
    let user = told.used.iter().find(|used| used.uid == "Docs::User::\"u-1\"").unwrap();
    let all = &user.ancestors["Docs::Group::\"all\""];
    assert_eq!(all, &["Docs::Group::\"sales\"", "Docs::Group::\"emea\"", "Docs::Group::\"all\""]);
    assert!(told.missing.contains(&"Docs::Folder::\"gone\"".to_owned()), "{:?}", told.missing);
    let told = explain("Edit").await;
    assert!(!told.decision && told.determining.is_empty() && told.errors.is_empty(), "{told:?}");
    world.put(&acme, uid("Document", "d"), json!({ "barred": [refers("User", "u-1")] }), &[]).await;
    let told = explain("ViewSummary").await;
    assert!(!told.decision);
    assert_eq!(told.determining, ["barred-see-nothing"]);
}
