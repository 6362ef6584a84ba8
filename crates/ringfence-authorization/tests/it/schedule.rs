//! Publishing at a time: once, as any publishing, and not for somebody who can write records.

use std::{sync::Arc, time::Duration};

use ringfence_authorization::{
    Governance, Stores, Terms,
    avp::Quotas,
    govern::{Due, GovernError, Proposal, ProposalState, Schedule, Step},
};
use ringfence_context::{Clock, TenantId, UnixTime, limits};
use ringfence_store::{Draft, Expect, Kind, MasterKey, Records, Scope, StoreError};

use crate::{
    fixture::tenant,
    govern::{FREEZE, QUOTAS, REVIEWED, THAW, World, author, why},
};

const SCHEDULES: Kind = Kind::new("policy_schedules");
const PROPOSAL: Kind = Kind::new("policy_proposal");
const MINUTE: Duration = Duration::from_secs(60);

/// Another node of the same plane.
async fn node(world: &World) -> Governance {
    let records = Records::new(Arc::clone(&world.state) as _, MasterKey::open(world.dir.path()).unwrap());
    let stores = Stores::load(records, Arc::clone(&world.clock) as _).await.unwrap();
    Governance::new(stores, Arc::clone(&world.gate))
}

fn in_a_minute(world: &World) -> UnixTime {
    world.clock.now().after(MINUTE)
}

/// A tenant with an approved proposal that takes effect in a minute.
async fn scheduled(world: &World, name: &str) -> TenantId {
    let tenant = world.tenant(name).await;
    let number = world.propose(&tenant, "alice", FREEZE).await.unwrap().number;
    world.governance.approve(&tenant, number, author("bob"), None).await.unwrap();
    let at = in_a_minute(world);
    world.governance.schedule(&tenant, number, REVIEWED, author("carol"), at).await.unwrap();
    tenant
}

/// What a node does, once; says how many it has published.
async fn run(governance: &Governance, terms: Terms) -> Result<usize, GovernError> {
    run_of(governance, terms, |_| true).await
}

/// The same, for these tenants.
async fn run_of(
    governance: &Governance,
    terms: Terms,
    of: impl Fn(&TenantId) -> bool,
) -> Result<usize, GovernError> {
    let mut published = 0;
    for due in governance.due(100).await?.into_iter().filter(|due| of(&due.tenant)) {
        if let Some(by) = governance.due_by(&due).await? {
            published += usize::from(governance.publish_due(&due, terms, by).await?.is_some());
        }
    }
    Ok(published)
}

async fn schedule(world: &World, tenant: &TenantId) -> (ProposalState, Schedule) {
    let proposal = world.governance.proposal_get(tenant, 1).await.unwrap();
    (proposal.state, proposal.schedule.unwrap())
}

async fn versions(world: &World, tenant: &TenantId) -> usize {
    world.governance.version_list(tenant, 0).await.unwrap().len()
}

async fn rows(world: &World) -> usize {
    world.records.list::<Due>(&Scope::Plane, SCHEDULES, None, 100).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approved_proposal_takes_effect_at_its_time_once_whichever_node_is_first() {
    let world = World::new().await;
    let acme = scheduled(&world, "acme").await;
    let nodes = [node(&world).await, node(&world).await, node(&world).await];
    world.clock.advance(MINUTE - Duration::from_micros(1));
    assert_eq!(run(&nodes[0], REVIEWED).await.unwrap(), 0, "not before");
    world.clock.advance(Duration::from_micros(1));
    let running: Vec<_> = nodes
        .into_iter()
        .map(|node| {
            tokio::spawn(async move {
                let mut published = 0;
                // As a node goes on trying: whoever was in between is seen the next time.
                for _ in 0..20 {
                    match run(&node, REVIEWED).await {
                        Ok(now) => published += now,
                        Err(GovernError::Stores(error)) => {
                            assert!(error.to_string().contains("changed"), "{error}");
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                published
            })
        })
        .collect();
    let mut published = 0;
    for node in running {
        published += node.await.unwrap();
    }
    assert_eq!((published, versions(&world, &acme).await, rows(&world).await), (1, 2, 0));
    let latest = world.governance.version_get(&acme, 2).await.unwrap();
    assert_eq!((latest.reviewer, latest.publisher), (Some(author("bob")), Some(author("carol"))));
    let steps: Vec<_> =
        world.governance.audit_list(&acme, 0).await.unwrap().into_iter().map(|entry| entry.step).collect();
    assert!(
        matches!(&steps[3..], [Step::Scheduled { proposal: 1, .. }, Step::Published { version: 2, .. }]),
        "{steps:?}"
    );
    let (state, over) = schedule(&world, &acme).await;
    assert!(matches!(state, ProposalState::Published { version: 2, .. }));
    assert_eq!(over.ended.as_deref(), Some("it was published"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_published_at_its_time_says_why_and_is_not_published_later() {
    let world = World::new().await;
    let small = Terms { quotas: Quotas { policies_per_store: 1, ..QUOTAS }, ..REVIEWED };
    let cases = [
        ("changed", REVIEWED, "was made against version 1, and version 2 serves now"),
        ("larger", small, "policies"),
        ("rejected", REVIEWED, "it was rejected"),
        ("cancelled", REVIEWED, "it was cancelled"),
    ];
    for (name, ..) in cases {
        let tenant = scheduled(&world, name).await;
        let governance = &world.governance;
        match name {
            "changed" => drop(world.put(&tenant, "alice", THAW).await.unwrap()),
            "rejected" => drop(governance.reject(&tenant, 1, author("bob"), why("no")).await.unwrap()),
            "cancelled" => {
                for ended in [true, false] {
                    let told = governance.unschedule(&tenant, 1, author("dave"), "it was cancelled").await;
                    assert_eq!(told.unwrap(), ended);
                }
            }
            _ => {}
        }
    }
    world.clock.advance(MINUTE);
    for (name, terms, why) in cases {
        let tenant = tenant(name);
        let before = versions(&world, &tenant).await;
        assert_eq!(run_of(&world.governance, terms, |of| *of == tenant).await.unwrap(), 0);
        let (state, over) = schedule(&world, &tenant).await;
        let ended = over.ended.unwrap();
        assert!(ended.contains(why), "{name}: {ended}");
        assert!(!matches!(state, ProposalState::Published { .. }));
        let audit = world.governance.audit_list(&tenant, 0).await.unwrap();
        let told = |step: &Step| matches!(step, Step::Unscheduled { why, .. } if *why == ended);
        assert_eq!(audit.iter().filter(|entry| told(&entry.step)).count(), usize::from(name != "rejected"));
        assert_eq!(versions(&world, &tenant).await, before, "{name}");
        // Not when it could be again, either.
        assert_eq!(run_of(&world.governance, REVIEWED, |of| *of == tenant).await.unwrap(), 0);
        assert_eq!(versions(&world, &tenant).await, before, "{name}");
    }
    assert_eq!(rows(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_replaces_the_first_and_publishing_by_hand_ends_it() {
    let world = World::new().await;
    let acme = scheduled(&world, "acme").await;
    let later = in_a_minute(&world).after(MINUTE);
    world.governance.schedule(&acme, 1, REVIEWED, author("dave"), later).await.unwrap();
    assert_eq!(rows(&world).await, 1);
    world.clock.advance(MINUTE);
    assert_eq!(run(&world.governance, REVIEWED).await.unwrap(), 0, "not at the first time");
    world.governance.publish(&acme, 1, REVIEWED, author("carol")).await.unwrap();
    assert_eq!(rows(&world).await, 0);
    world.clock.advance(MINUTE);
    assert_eq!((run(&world.governance, REVIEWED).await.unwrap(), versions(&world, &acme).await), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_policy_schedule_seconds() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.propose(&acme, "alice", FREEZE).await.unwrap();
    let set = async |at: UnixTime| {
        world.governance.schedule(&acme, 1, REVIEWED, author("carol"), at).await.map(drop)
    };
    let (now, most) = (world.clock.now(), Duration::from_secs(limits::POLICY_SCHEDULE_SECONDS));
    assert!(matches!(set(in_a_minute(&world)).await, Err(GovernError::NotApproved(1, "open"))));
    world.governance.approve(&acme, 1, author("bob"), None).await.unwrap();
    for wrong in [UnixTime::from_micros(0), now, now.after(most + Duration::from_micros(1))] {
        assert!(matches!(set(wrong).await, Err(GovernError::Time(_))), "{wrong:?}");
    }
    assert_eq!(rows(&world).await, 0);
    set(now.after(most)).await.unwrap();
    set(now.after(Duration::from_micros(1))).await.unwrap();
}

/// By somebody who can seal records, the plane's and the tenant's.
#[tokio::test(flavor = "multi_thread")]
async fn x16_no_row_and_no_record_put_back_publishes_anything() {
    let world = World::new().await;
    let (acme, globex) = (scheduled(&world, "acme").await, world.tenant("globex").await);
    world.propose(&globex, "alice", FREEZE).await.unwrap();
    let row = async |due: &Due, id: &str| {
        let draft = Draft::put(&Scope::Plane, SCHEDULES, id, due).unwrap();
        world.records.commit(vec![draft]).await.unwrap();
    };
    let early = world.clock.now().micros();
    let id = |tenant: &TenantId, at: u64| format!("{at:020}/{tenant}/1");
    // Earlier than its time, of a proposal nobody approved, of none, and one that is not where it says it is.
    for tenant in [&acme, &globex, &tenant("nobody")] {
        row(&Due { tenant: tenant.clone(), proposal: 1, at: early }, &id(tenant, early)).await;
    }
    let genuine = in_a_minute(&world).micros();
    row(&Due { tenant: acme.clone(), proposal: 1, at: genuine }, &id(&globex, early)).await;
    assert_eq!(run(&world.governance, REVIEWED).await.unwrap(), 0);
    assert_eq!((versions(&world, &acme).await, versions(&world, &globex).await), (1, 1));
    let (_, schedule) = schedule(&world, &acme).await;
    assert_eq!(schedule.ended, None, "what is genuine goes on");
    // A proposal of globex's own that says it is scheduled, and is not approved.
    let stored = world.governance.proposal_get(&globex, 1).await.unwrap();
    let forged = Proposal { schedule: Some(schedule), ..stored };
    world.forge(&globex, PROPOSAL, &format!("{:020}", 1), &forged).await;
    // The proposal as it was before it was cancelled.
    let before = world.governance.proposal_get(&acme, 1).await.unwrap();
    world.governance.unschedule(&acme, 1, author("dave"), "it was cancelled").await.unwrap();
    world.forge(&acme, PROPOSAL, &format!("{:020}", 1), &before).await;
    for tenant in [&acme, &globex] {
        row(&Due { tenant: tenant.clone(), proposal: 1, at: genuine }, &id(tenant, genuine)).await;
    }
    world.clock.advance(MINUTE);
    assert_eq!(run(&world.governance, REVIEWED).await.unwrap(), 0, "the history knows that it was cancelled");
    assert_eq!((versions(&world, &acme).await, versions(&world, &globex).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn cv26_a_tenant_that_is_gone_or_unreadable_holds_up_no_other_ones_time() {
    let world = World::new().await;
    let (gone, acme) = (scheduled(&world, "gone").await, scheduled(&world, "acme").await);
    world.records.tenant_shred(&gone).await.unwrap();
    world.clock.advance(MINUTE);
    let due = world.governance.due(100).await.unwrap();
    assert_eq!(due.len(), 2);
    assert_eq!(run(&world.governance, REVIEWED).await.unwrap(), 1);
    assert_eq!((versions(&world, &acme).await, rows(&world).await), (2, 0));
    let absent = Draft::put(&Scope::from(&gone), PROPOSAL, "x", &1).unwrap().expect(Expect::Absent);
    assert_eq!(world.records.commit(vec![absent]).await, Err(StoreError::TenantUnknown));
}
