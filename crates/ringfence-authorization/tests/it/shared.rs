//! The shared store under attack: by a tenant's writes, by records and rows that are moved or forged, by a neighbour.

use ringfence_authorization::{
    Mode, SharedStore, StoresError, Terms,
    avp::Quotas,
    govern::{GovernError, Side, StoreEdit},
    shared::{Held, StoreMapRow, TenantSlice},
    stores::store_delete,
};
use ringfence_context::{Reason, TenantId, id::StoreId};
use ringfence_store::{Change, Expect, Kind, RecordKey, Scope, Store};

use crate::{
    fixture::{document, resource, tenant},
    govern::change,
    shared_world::{ALL, FREEZE, SHARED, SLICE, World, base, row},
};

const OWN_STORE: Kind = Kind::new("policy_store");

fn confined<T: std::fmt::Debug>(outcome: Result<T, GovernError>, words: &str) {
    match outcome {
        Err(GovernError::Stores(StoresError::Confined(fault))) => {
            assert!(fault.to_string().contains(words), "{fault}");
        }
        other => panic!("{words}: {other:?}"),
    }
}

async fn slice(world: &World, tenant: &TenantId) -> TenantSlice {
    let id = format!("ps-{tenant}");
    world.records.get(&Scope::from(tenant), SLICE, &id).await.unwrap().unwrap().value
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_a_tenant_in_the_shared_store_is_served_and_changed_as_any_other() {
    let world = World::new().await;
    let (acme, globex) = (world.shared("acme").await, world.shared("globex").await);
    let own = world.own("initech").await;
    for tenant in [&acme, &globex, &own] {
        let answer = world.ask(tenant).unwrap();
        assert_eq!((answer.store_tenant, answer.store.to_string()), (tenant.clone(), format!("ps-{tenant}")));
        assert_eq!(answer.determining, ["everyone-reads"]);
    }
    // One physical store, and nothing of a tenant in it.
    let shared = world.records.list::<SharedStore>(&Scope::Plane, SHARED, None, 10).await.unwrap();
    assert_eq!(shared.len(), 1);
    assert_eq!((world.ids(&acme, OWN_STORE).await.len(), world.ids(&acme, SLICE).await.len()), (0, 1));
    // A change is its own, enforced by the next question, here and elsewhere; and it is a version.
    let elsewhere = world.elsewhere().await;
    world.ask_at(&elsewhere, &acme).unwrap();
    let before = world.ask(&acme).unwrap().revision;
    assert_eq!(world.put(&acme, "freeze", FREEZE).await.unwrap(), 2);
    assert_eq!(world.ask(&acme), Err(Reason::Denied));
    elsewhere.refresh().await.unwrap();
    assert_eq!(world.ask_at(&elsewhere, &acme), Err(Reason::Denied));
    world.ask(&globex).expect("a change of one tenant's is its own");
    let (mut whole, _) = world.stores.document(&acme).await.unwrap();
    assert_eq!(whole.policies.remove("freeze").as_deref(), Some(FREEZE));
    assert_eq!(whole, document(&acme), "what is read is the whole store");
    world.edit(&acme, StoreEdit::delete("freeze".to_owned())).await.unwrap();
    assert!(world.ask(&acme).unwrap().revision > before);
    assert_eq!(world.stores.held(&acme).await.unwrap(), (Mode::Shared, None));
    assert_eq!(world.stores.held(&own).await.unwrap(), (Mode::Own, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_a_write_that_is_not_confined_to_its_tenant_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let (acme, own) = (world.shared("acme").await, world.own("initech").await);
    let before = world.stores.document(&acme).await.unwrap();
    let names_globex = "forbid (principal, action, resource) when { resource.tenant == \"globex\" || principal.tenant == \"globex\" };";
    confined(world.put(&acme, "other", names_globex).await, "names the tenant \"globex\"");
    world.put(&own, "other", names_globex).await.expect("a store of its own says what it likes");
    let among =
        "forbid (principal, action, resource) when { [\"acme\", \"globex\"].contains(resource.tenant) };";
    confined(world.put(&acme, "among", among).await, "can't be confined");
    // What all share is nobody's to change or to shadow.
    for name in ["own-tenant-only", "everyone-reads"] {
        let text = "forbid (principal, action, resource) unless { principal.tenant == resource.tenant };";
        confined(world.put(&acme, name, text).await, name);
    }
    let gone = world.edit(&acme, StoreEdit::delete("no-refund-of-own-payment".to_owned())).await;
    confined(gone, "no-refund-of-own-payment");
    let schema = StoreEdit { schema: Some(format!("{} ", before.0.schema)), ..StoreEdit::default() };
    confined(world.edit(&acme, schema).await, "schema");
    let guardrail = world.put(&acme, "ringfence:guardrail", FREEZE).await.unwrap_err().to_string();
    assert!(guardrail.contains("the platform's"), "{guardrail}");
    // Nor is it proposed, to be approved by somebody who does not see it.
    let proposed = Side::Edit(StoreEdit::put("other".to_owned(), names_globex.to_owned()));
    let change = change();
    let proposed = world.governance.propose(&acme, proposed, Terms::default(), change.author, change.reason);
    confined(proposed.await, "names the tenant \"globex\"");
    // And the gate stands here, too.
    let crossing = "permit (principal, action, resource);";
    world.put(&acme, "all", crossing).await.expect("the shared store's own boundary holds");
    world.edit(&acme, StoreEdit::delete("all".to_owned())).await.unwrap();
    let errs = "forbid (principal, action == Ledger::Action::\"CreatePayment\", resource)
        when { context has amount && context.amount * 2 > 10 };";
    let refuted = world.put(&acme, "overflows", errs).await;
    assert!(matches!(refuted, Err(GovernError::Stores(StoresError::Refuted(_)))), "{refuted:?}");
    assert_eq!(world.stores.document(&acme).await.unwrap().0, before.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_the_guard_holds_whatever_the_shared_store_and_the_slice_permit() {
    let world = World::new().await;
    let acme = tenant("acme");
    world.records.tenant_add(&acme).await.unwrap();
    let mut open = document(&acme);
    open.policies.clear();
    open.policies.insert("base-all".to_owned(), ALL.to_owned());
    let base = SharedStore::of(&open).unwrap();
    open.policies.insert("own-all".to_owned(), ALL.to_owned());
    world.unchecked(&open, &base).await;
    let payment = |of: &str| resource(&tenant(of), "Payment", "p-1");
    let ask = |of: &str| world.asked(&world.stores, &acme, "u-1", "ViewPayment", &payment(of));
    assert_eq!(ask("acme").unwrap().determining, ["base-all", "own-all"]);
    assert_eq!(ask("globex"), Err(Reason::Denied));
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_an_entity_a_tenant_names_is_its_own_whoever_else_has_one_of_that_id() {
    let world = World::new().await;
    let (acme, globex) = (world.shared("acme").await, world.shared("globex").await);
    let own = |effect: &str, user: &str| {
        format!(
            "{effect} (principal == Ledger::User::\"{user}\", action == Ledger::Action::\"ViewReport\", resource);"
        )
    };
    world.put(&acme, "permit", &own("permit", "u-9")).await.unwrap();
    world.put(&acme, "forbid", &own("forbid", "u-8")).await.unwrap();
    world.put(&globex, "permit", &own("permit", "u-8")).await.unwrap();
    let ask = |tenant: &TenantId, user: &str| {
        let what = resource(tenant, "Book", tenant.as_str());
        world.asked(&world.stores, tenant, user, "ViewReport", &what).map(drop)
    };
    assert_eq!((ask(&acme, "u-9"), ask(&globex, "u-9")), (Ok(()), Err(Reason::Denied)));
    assert_eq!((ask(&acme, "u-8"), ask(&globex, "u-8")), (Err(Reason::Denied), Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn x16_a_slice_at_another_place_is_not_read() {
    let world = World::new().await;
    let (acme, globex) = (world.shared("acme").await, world.shared("globex").await);
    world.put(&globex, "all", ALL).await.unwrap();
    let theirs = slice(&world, &globex).await;
    // The sealed bytes themselves, copied over.
    let key = |tenant: &TenantId| RecordKey::new(Scope::from(tenant), SLICE, &format!("ps-{tenant}"));
    let sealed = world.state.get(&key(&globex)).await.unwrap().unwrap().value;
    let copied = Change { key: key(&acme), expect: Expect::Any, value: Some(sealed) };
    world.state.commit(vec![copied]).await.unwrap();
    world.stores.refresh().await.unwrap();
    assert_eq!(world.ask(&acme), Err(Reason::StoreUnavailable), "it does not open there");
    // Sealed anew for that place, by somebody who can: it says whose it is, and which, and upon what.
    let ours = TenantSlice { tenant: acme.clone(), id: StoreId::new("ps-acme").unwrap(), ..theirs.clone() };
    for forged in [
        theirs.clone(),
        TenantSlice { tenant: globex.clone(), ..ours.clone() },
        TenantSlice { id: theirs.id.clone(), ..ours.clone() },
    ] {
        world.forge(&Scope::from(&acme), SLICE, "ps-acme", &forged).await;
        assert_eq!(world.ask(&acme), Err(Reason::StoreUnavailable), "{forged:?}");
        assert!(world.stores.document(&acme).await.is_err(), "nor is it shown to its operators");
    }
    world.ask(&globex).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn x17_a_row_that_leads_elsewhere_leads_to_a_refusal() {
    let world = World::new().await;
    let (acme, globex, own) =
        (world.shared("acme").await, world.shared("globex").await, world.own("initech").await);
    world.put(&globex, "all", ALL).await.unwrap();
    // A shared store of another tier, which permits more.
    let mut wider = document(&acme);
    wider.policies.insert("wider".to_owned(), ALL.to_owned());
    let other = SharedStore::of(&wider).unwrap();
    world.forge(&Scope::Plane, SHARED, other.id().as_str(), &other).await;
    let right = row(&acme, "ps-acme", &base().id());
    let at = |store: &str| StoreMapRow::own(acme.clone(), StoreId::new(store).unwrap());
    for (what, wrong) in [
        ("another tenant's slice", row(&acme, "ps-globex", &base().id())),
        ("another tier's shared store", row(&acme, "ps-acme", &other.id())),
        ("another tenant's own store", at("ps-initech")),
        ("another tenant's own store, as a slice", row(&acme, "ps-initech", &base().id())),
        ("another tenant's slice, as its own store", at("ps-globex")),
        ("a store of its own that it has not", at("ps-acme")),
        ("no store", row(&acme, "ps-nobody", &base().id())),
    ] {
        world.map(wrong).await;
        assert_eq!(world.ask(&acme), Err(Reason::StoreUnavailable), "{what}");
        world.map(right.clone()).await;
        world.ask(&acme).unwrap();
    }
    let stolen = StoreMapRow {
        held: Held::Shared(base().id()),
        ..StoreMapRow::own(own.clone(), StoreId::new("ps-initech").unwrap())
    };
    world.map(stolen).await;
    assert_eq!(world.ask(&own), Err(Reason::StoreUnavailable), "a slice that it has not");
    world.ask(&globex).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_a_shared_store_that_was_rewritten_serves_nobody() {
    let world = World::new().await;
    let acme = world.shared("acme").await;
    let mut rewritten = base();
    rewritten.policies.insert("wider".to_owned(), ALL.to_owned());
    world.forge(&Scope::Plane, SHARED, base().id().as_str(), &rewritten).await;
    let elsewhere = world.elsewhere().await;
    assert_eq!(
        world.ask_at(&elsewhere, &acme),
        Err(Reason::StoreUnavailable),
        "it is not what its name says"
    );
    assert!(world.stores.document(&acme).await.is_err());
    assert!(world.put(&acme, "own", FREEZE).await.is_err());
    // Whoever comes next puts it right.
    world.shared("globex").await;
    let elsewhere = world.elsewhere().await;
    world.ask_at(&elsewhere, &acme).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_a_slice_that_shadows_what_is_shared_serves_nobody() {
    let world = World::new().await;
    let acme = world.shared("acme").await;
    for (policies, templates) in [(Some("own-tenant-only"), None), (None, Some("everyone-reads"))] {
        let mut forged = slice(&world, &acme).await;
        let text = "permit (principal == ?principal, action, resource);".to_owned();
        forged.policies = policies.map(|name| (name.to_owned(), ALL.to_owned())).into_iter().collect();
        forged.templates = templates.map(|name| (name.to_owned(), text)).into_iter().collect();
        world.forge(&Scope::from(&acme), SLICE, "ps-acme", &forged).await;
        assert_eq!(world.ask(&acme), Err(Reason::StoreUnavailable));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_limits_are_each_tenants_own() {
    let world = World::new().await;
    let (acme, globex) = (world.shared("acme").await, world.shared("globex").await);
    let most = document(&acme).policies.len() + 2;
    let quotas = Quotas { policies_per_store: most, ..Quotas::default() };
    let put = |name: &str| StoreEdit::put(name.to_owned(), FREEZE.to_owned());
    for name in ["a", "b"] {
        world.edit_within(&acme, put(name), Terms { quotas, ..Terms::default() }).await.unwrap();
    }
    let full = world.edit_within(&acme, put("c"), Terms { quotas, ..Terms::default() }).await;
    assert!(
        matches!(&full, Err(GovernError::Stores(StoresError::Quota(told))) if told.contains("policies_per_store")),
        "{full:?}"
    );
    world.edit_within(&globex, put("a"), Terms { quotas, ..Terms::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn x08_who_leaves_the_shared_store_takes_its_slice_and_nothing_else() {
    let world = World::new().await;
    let (acme, globex) = (world.shared("acme").await, world.shared("globex").await);
    for tenant in [&acme, &globex] {
        world
            .put(tenant, "report", "permit (principal, action == Ledger::Action::\"ViewReport\", resource);")
            .await
            .unwrap();
        world.ask(tenant).unwrap();
    }
    let before = world.stores.document(&globex).await.unwrap();
    let (leaving, _) = world.stores.document(&acme).await.unwrap();
    world.records.commit(store_delete(&leaving)).await.unwrap();
    world.stores.refresh().await.unwrap();
    assert_eq!(world.ask(&acme), Err(Reason::StoreUnavailable));
    assert!(world.ids(&acme, SLICE).await.is_empty(), "its slice is gone");
    world.ask(&globex).unwrap();
    assert_eq!(world.stores.document(&globex).await.unwrap(), before);
    assert!(matches!(world.stores.document(&acme).await, Err(StoresError::Missing)));
}
