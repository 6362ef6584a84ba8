//! Moves between a store of its own and the shared one: under load, under attack, and cut off in the middle.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use ringfence_authorization::{
    Memory, Mode, StoresError,
    govern::{GovernError, StoreEdit},
    shared::{Compared, MoveState, StoreMove, TenantSlice},
    stores::store_delete,
};
use ringfence_context::{By, Reason, TenantId, UnixTime};
use ringfence_store::{Kind, Scope};

use crate::{
    fixture::{breath, document, resource},
    shared_world::{ALL, FREEZE, SLICE, World, base},
};

const OWN_STORE: Kind = Kind::new("policy_store");
const REPORT: &str =
    "permit (principal == Ledger::User::\"u-1\", action == Ledger::Action::\"ViewReport\", resource);";
const QUESTIONS: u64 = 40;

const COMPARED: Compared = Compared { questions: QUESTIONS, seconds: 60 };

fn by() -> By {
    By::plane(UnixTime::from_seconds(1_800_000_000))
}

async fn begin(world: &World, tenant: &TenantId, to: Mode) -> Result<StoreMove, StoresError> {
    world.stores.move_begin(tenant, to, &base(), COMPARED, &by(), None).await
}

async fn finish(world: &World, tenant: &TenantId) -> StoreMove {
    world.stores.move_finish(tenant, Vec::new()).await.unwrap()
}

/// Where the tenant's policies are: in exactly one place, and nothing is left of another.
async fn only(world: &World, tenant: &TenantId, mode: Mode) {
    assert_eq!(world.stores.held(tenant).await.unwrap(), (mode, None));
    let places = (world.ids(tenant, OWN_STORE).await.len(), world.ids(tenant, SLICE).await.len());
    assert_eq!(places, if mode == Mode::Own { (1, 0) } else { (0, 1) });
}

fn stopped(ended: &StoreMove, words: &str) {
    match &ended.state {
        MoveState::Stopped(why) => assert!(why.contains(words), "{ended:?}"),
        state => panic!("{words}: {state:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn x10_a_tenant_moves_under_load_and_no_question_is_answered_otherwise_or_fails() {
    for memory in [Memory::default(), Memory { tenants: 0, contents: 0, entities: 0 }] {
        let world = Arc::new(World::within(memory).await);
        let (acme, globex) = (world.own("acme").await, world.shared("globex").await);
        world.put(&acme, "report", REPORT).await.unwrap();
        let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let readers: Vec<_> = (0..3)
            .map(|number| {
                let (world, done, asked) = (Arc::clone(&world), Arc::clone(&done), Arc::clone(&asked));
                let (acme, globex) = (acme.clone(), globex.clone());
                tokio::spawn(async move {
                    let book = resource(&acme, "Book", "acme");
                    while !done.load(Ordering::SeqCst) {
                        let ask = |user: &str, action: &str| {
                            let answer = world.asked(&world.stores, &acme, user, action, &book);
                            answer.map(|answer| answer.determining)
                        };
                        assert_eq!(ask("u-1", "ListPayments"), Ok(vec!["everyone-reads".to_owned()]));
                        assert_eq!(
                            ask("u-1", "ViewReport"),
                            Ok(vec!["report".to_owned()]),
                            "reader {number}"
                        );
                        assert_eq!(ask("u-2", "ViewReport"), Err(Reason::Denied));
                        world.ask(&globex).unwrap();
                        asked.fetch_add(3, Ordering::SeqCst);
                        breath().await;
                    }
                })
            })
            .collect();
        let before = world.stores.document(&acme).await.unwrap();
        let mut revision = before.1;
        for round in 0..6 {
            let to = if round % 2 == 0 { Mode::Shared } else { Mode::Own };
            begin(&world, &acme, to).await.unwrap();
            world.stores.move_watch(&acme).await.unwrap().enough(QUESTIONS).await;
            let ended = finish(&world, &acme).await;
            assert_eq!((ended.state, ended.different, ended.to), (MoveState::Done, 0, to));
            assert!(ended.asked >= QUESTIONS);
            only(&world, &acme, to).await;
            let (document, at) = world.stores.document(&acme).await.unwrap();
            assert_eq!(document, before.0);
            assert!(at > revision, "what is remembered under a revision is of one place");
            revision = at;
        }
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
        println!("{} questions while moving to and fro", asked.load(Ordering::SeqCst));
        assert_eq!(world.put(&acme, "report", FREEZE).await.unwrap(), 3, "its history went on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_a_copy_that_answers_otherwise_answers_nobody_and_ends_the_move() {
    let world = World::new().await;
    let acme = world.own("acme").await;
    for (what, forged) in [("freeze", FREEZE), ("more", ALL)] {
        begin(&world, &acme, Mode::Shared).await.unwrap();
        let mut copy: TenantSlice =
            world.records.get(&Scope::from(&acme), SLICE, "ps-acme").await.unwrap().unwrap().value;
        copy.policies.insert(what.to_owned(), forged.to_owned());
        world.forge(&Scope::from(&acme), SLICE, "ps-acme", &copy).await;
        for _ in 0..3 {
            assert_eq!(world.ask(&acme).unwrap().determining, ["everyone-reads"], "what serves answers");
        }
        let watch = world.stores.move_watch(&acme).await.unwrap();
        watch.enough(QUESTIONS).await;
        assert_eq!((watch.asked(), watch.different()), (3, 3));
        let ended = finish(&world, &acme).await;
        stopped(&ended, "and the copy");
        assert_eq!((ended.asked, ended.different), (3, 3));
        only(&world, &acme, Mode::Own).await;
        assert_eq!(world.stores.move_get(&acme).await.unwrap(), Some(ended));
        world.ask(&acme).unwrap();
    }
    // A copy that nobody has asked is looked at all the same.
    begin(&world, &acme, Mode::Shared).await.unwrap();
    let mut copy: TenantSlice =
        world.records.get(&Scope::from(&acme), SLICE, "ps-acme").await.unwrap().unwrap().value;
    copy.policies.insert("more".to_owned(), ALL.to_owned());
    world.forge(&Scope::from(&acme), SLICE, "ps-acme", &copy).await;
    stopped(&finish(&world, &acme).await, "changed meanwhile");
    only(&world, &acme, Mode::Own).await;
    // And one that can't be read serves nobody either, while the tenant is served.
    begin(&world, &acme, Mode::Shared).await.unwrap();
    world.forge(&Scope::from(&acme), SLICE, "ps-acme", &"no slice").await;
    world.ask(&acme).unwrap();
    stopped(&finish(&world, &acme).await, "can't be read");
    only(&world, &acme, Mode::Own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_policies_stay_as_they_are_while_they_are_moved() {
    let world = World::new().await;
    let acme = world.own("acme").await;
    begin(&world, &acme, Mode::Shared).await.unwrap();
    let refused = world.put(&acme, "freeze", FREEZE).await;
    assert!(matches!(refused, Err(GovernError::Stores(StoresError::Moving))), "{refused:?}");
    assert!(matches!(begin(&world, &acme, Mode::Shared).await, Err(StoresError::Moving)));
    world.ask(&acme).unwrap();
    stopped(&world.stores.move_stop(&acme, "enough of it", &by()).await.unwrap(), "enough of it");
    only(&world, &acme, Mode::Own).await;
    assert!(matches!(world.stores.move_stop(&acme, "again", &by()).await, Err(StoresError::NoMove)));
    assert!(matches!(world.stores.move_finish(&acme, Vec::new()).await, Err(StoresError::NoMove)));
    world.put(&acme, "freeze", FREEZE).await.unwrap();
    assert_eq!(world.ask(&acme), Err(Reason::Denied));
    // One that got in between is not lost: the move ends instead.
    begin(&world, &acme, Mode::Shared).await.unwrap();
    let (mut changed, _) = world.stores.document(&acme).await.unwrap();
    changed.policies.remove("freeze").unwrap();
    world.forge(&Scope::from(&acme), OWN_STORE, "ps-acme", &changed).await;
    world.ask(&acme).expect("it is enforced");
    let ended = finish(&world, &acme).await;
    assert!(matches!(ended.state, MoveState::Stopped(_)), "{ended:?}");
    only(&world, &acme, Mode::Own).await;
    world.ask(&acme).unwrap();
    assert!(matches!(begin(&world, &acme, Mode::Own).await, Err(StoresError::HeldSo(Mode::Own))));
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_what_does_not_fit_the_shared_store_stays_where_it_is_and_says_why() {
    let world = World::new().await;
    let (acme, wider) = (world.own("acme").await, world.own("globex").await);
    let text = "forbid (principal, action, resource) when { resource.tenant == \"globex\" };";
    world.put(&acme, "other", text).await.unwrap();
    let (document, _) = world.stores.document(&wider).await.unwrap();
    let schema = document.schema.replace("action ListAccounts,", "action Archive, ListAccounts,");
    world.edit(&wider, StoreEdit { schema: Some(schema), ..StoreEdit::default() }).await.unwrap();
    for (tenant, words) in [(&acme, "names the tenant \"globex\""), (&wider, "schema")] {
        let before = world.records.revision().await.unwrap();
        let refused = begin(&world, tenant, Mode::Shared).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
        assert_eq!(world.records.revision().await.unwrap(), before, "nothing has changed");
        world.ask(tenant).unwrap();
    }
}

/// Whatever happens to the node that began a move, and whichever node is asked: the row says where the tenant is.
#[tokio::test(flavor = "multi_thread")]
async fn x10_a_move_that_was_cut_off_goes_on_or_ends_and_the_tenant_is_in_one_place_throughout() {
    let world = World::new().await;
    for (name, to) in [("acme", Mode::Shared), ("globex", Mode::Own)] {
        let tenant = if to == Mode::Shared { world.own(name).await } else { world.shared(name).await };
        world.put(&tenant, "report", REPORT).await.unwrap();
        begin(&world, &tenant, to).await.unwrap();
        // The node is gone; another one finds the tenant served, and the move to be taken up.
        let elsewhere = world.elsewhere().await;
        let open = elsewhere.move_list_open().await.unwrap();
        assert_eq!(open.iter().map(|open| &open.tenant).collect::<Vec<_>>(), [&tenant]);
        world.ask_at(&elsewhere, &tenant).unwrap();
        assert_eq!(elsewhere.move_watch(&tenant).await.unwrap().asked(), 1, "and it compares");
        assert_eq!(elsewhere.held(&tenant).await.unwrap().1, Some(to));
        let ended = elsewhere.move_finish(&tenant, Vec::new()).await.unwrap();
        assert_eq!(ended.state, MoveState::Done);
        assert_eq!(elsewhere.move_list_open().await.unwrap(), []);
        world.stores.refresh().await.unwrap();
        only(&world, &tenant, to).await;
        world.ask(&tenant).unwrap();
        world.ask_at(&elsewhere, &tenant).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_a_difference_on_any_node_ends_the_move() {
    let world = World::new().await;
    let acme = world.own("acme").await;
    begin(&world, &acme, Mode::Shared).await.unwrap();
    let mut copy: TenantSlice =
        world.records.get(&Scope::from(&acme), SLICE, "ps-acme").await.unwrap().unwrap().value;
    copy.policies.insert("freeze".to_owned(), FREEZE.to_owned());
    world.forge(&Scope::from(&acme), SLICE, "ps-acme", &copy).await;
    let elsewhere = world.elsewhere().await;
    let following = tokio::spawn(Arc::clone(&elsewhere).follow());
    world.ask_at(&elsewhere, &acme).unwrap();
    let mut seen = world.records.subscribe();
    while world.stores.held(&acme).await.unwrap().1.is_some() {
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), seen.changed()).await;
    }
    only(&world, &acme, Mode::Own).await;
    stopped(&world.stores.move_get(&acme).await.unwrap().unwrap(), "and the copy");
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_who_leaves_while_it_is_moved_leaves_nothing() {
    let world = World::new().await;
    let acme = world.own("acme").await;
    begin(&world, &acme, Mode::Shared).await.unwrap();
    world.records.commit(store_delete(&document(&acme))).await.unwrap();
    world.stores.refresh().await.unwrap();
    assert_eq!(world.ask(&acme), Err(Reason::StoreUnavailable));
    assert!(world.ids(&acme, SLICE).await.is_empty() && world.ids(&acme, OWN_STORE).await.is_empty());
    assert!(matches!(world.stores.move_finish(&acme, Vec::new()).await, Err(StoresError::Missing)));
    assert_eq!(world.stores.move_get(&acme).await.unwrap(), None);
}
