//! Memory and decision time by the number of tenants registered in the state, which is SQLite, on one node.
//!
//! One tenant in ten has a policy of its own; the others' stores say what the tier's says.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use ringfence_authorization::{
    CompiledStore, Decide, Facts, Question, Resource, StoreDocument, Stores, stores::store_create_unchecked,
};
use ringfence_context::{TenantContext, TenantId, id::StoreId};
use ringfence_store::Records;
use serde::{Deserialize, Serialize};

use crate::{
    fixture::{Contexts, StandingClock, bundle, document, resource, tenant},
    median, resident,
};

const COLD: usize = 500;
const WARM: usize = 1_000;
const BATCH: usize = 250;
static NEXT: AtomicUsize = AtomicUsize::new(0);
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    tenants: usize,
    /// Resident memory, MiB: the process with all of them registered, then with `asked` of them in memory.
    pub(crate) registered_mib: f64,
    asked: usize,
    pub(crate) asked_mib: f64,
    /// First decision of a tenant, µs.
    cold_median: f64,
    cold_p99: f64,
    pub(crate) cold_worst: f64,
    /// A later one, over a thousand tenants in turn, µs.
    pub(crate) warm_median: f64,
    warm_p99: f64,
    /// Registering one, µs.
    register: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    what: String,
    kib_each: f64,
}

fn name(number: usize) -> TenantId {
    tenant(&format!("tenant-{number}"))
}

fn own(template: &StoreDocument, number: usize) -> StoreDocument {
    let tenant = name(number);
    let mut document = template.clone();
    document.id = StoreId::new(&format!("ps-{tenant}")).unwrap();
    document.tenant = tenant;
    if number % 10 == 9 {
        let policy = format!(
            "permit (principal == Ledger::User::\"user-{number}\", action == Ledger::Action::\"ViewReport\", resource);"
        );
        document.policies.insert("own".to_owned(), policy);
    }
    document
}

/// A store of twenty policies that name `mark`.
fn twenty(template: &StoreDocument, mark: usize) -> StoreDocument {
    let mut document = template.clone();
    document.policies = (0..20)
        .map(|number| {
            let text = format!(
                "permit (principal in Ledger::Role::\"role-{mark}-{number}\", action == \
                 Ledger::Action::\"ViewPayment\", resource is Ledger::Payment) \
                 when {{ principal.tenant == resource.tenant }};"
            );
            (format!("p{number}"), text)
        })
        .collect();
    document
}

/// Memory of what stores of twenty policies say: each with one policy beside twenty of the tier, and each alone. Run in
/// a process of its own, where nothing has been freed that could be used again.
pub(crate) async fn contents() -> Vec<Content> {
    const COUNT: usize = 1_000;
    let template = document(&tenant("acme"));
    let scratch = Scratch(scratch());
    let records = Records::open_sqlite(&scratch.0).await.unwrap();
    let tier = twenty(&template, 0);
    for number in 0..COUNT {
        records.tenant_add(&name(number)).await.unwrap();
        // Numbers that end in 9 have a policy of their own.
        let mut document = own(&tier, number * 10 + 9);
        (document.tenant, document.id) = (name(number), StoreId::new(&format!("ps-{number}")).unwrap());
        records.commit(store_create_unchecked(&document).unwrap()).await.unwrap();
    }
    let stores = Stores::load(records, Arc::new(StandingClock::default())).await.unwrap();
    stores.warm(&name(0)).await.unwrap();
    let each = |before: f64| (resident() - before) / COUNT as f64 / 1024.0;
    let before = resident();
    for number in 0..COUNT {
        stores.warm(&name(number)).await.unwrap();
    }
    let what = "20 policies of the tier's and one of its own";
    let shared = Content { what: what.to_owned(), kib_each: each(before) };
    let before = resident();
    let held: Vec<_> =
        (1..=COUNT).map(|mark| CompiledStore::compile(&twenty(&template, mark), 1).unwrap()).collect();
    let what = format!("20 policies and a schema, {} times alone", held.len());
    vec![shared, Content { what, kib_each: each(before) }]
}

/// Memory if there is some, because a million commits are a million syncs.
fn scratch() -> PathBuf {
    let parent = Path::new("/dev/shm");
    let parent = if parent.is_dir() { parent.to_owned() } else { std::env::temp_dir() };
    let folder =
        parent.join(format!("rf-decide-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn register(records: &Records, template: &StoreDocument, from: usize, to: usize) {
    for start in (from..to).step_by(BATCH) {
        if start > from && start % 100_000 == 0 {
            eprintln!("{start} of {to} tenants are registered");
        }
        let numbers = start..(start + BATCH).min(to);
        let names: Vec<_> = numbers.clone().map(name).collect();
        records.tenants_add(&names).await.unwrap();
        let stores = numbers.flat_map(|number| store_create_unchecked(&own(template, number)).unwrap());
        records.commit(stores.collect()).await.unwrap();
    }
}

/// Who asks, and about what; made before anything is measured, for a token is signed and verified for it.
type Asker = (TenantContext, Resource);

fn asker(contexts: &Contexts, number: usize) -> Asker {
    let tenant = name(number);
    (contexts.context(&tenant, "u-1", "viewer"), resource(&tenant, "Payment", "payment-2"))
}

/// Microseconds of one decision.
fn decide(stores: &Stores, (context, resource): &Asker) -> f64 {
    let facts = Facts::new();
    let question = Question { context, principal: None, action: "ViewPayment", resource, facts: &facts };
    let start = Instant::now();
    let answer = stores.decide(&question).unwrap();
    let took = start.elapsed().as_secs_f64() * 1e6;
    assert!(answer.allow && answer.store_tenant == *context.tenant());
    took
}

async fn measure(records: &Records, tenants: usize, register: f64) -> Row {
    let stores = Stores::load(records.clone(), Arc::new(StandingClock::default())).await.unwrap();
    stores.keep(&bundle()).unwrap();
    let registered_mib = resident() / MIB;
    let contexts = Contexts::new();
    // Spread over all of them; the stride is coprime to the sizes.
    let spread = |n: usize| (n * 7_919) % tenants;
    let askers = |count: usize| (0..count).map(|n| asker(&contexts, spread(n))).collect::<Vec<_>>();
    let mut cold: Vec<f64> = askers(COLD.min(tenants)).iter().map(|asker| decide(&stores, asker)).collect();
    cold.sort_by(f64::total_cmp);
    let warmed = askers(WARM.min(tenants));
    for (context, _) in &warmed {
        stores.warm(context.tenant()).await.unwrap();
    }
    let mut warm: Vec<f64> = warmed.iter().cycle().take(20_000).map(|asker| decide(&stores, asker)).collect();
    warm.sort_by(f64::total_cmp);
    let asked = 100_000.min(tenants);
    for n in 0..asked {
        stores.warm(&name(n)).await.unwrap();
    }
    Row {
        tenants,
        registered_mib,
        asked,
        asked_mib: resident() / MIB,
        cold_median: median(cold.clone()),
        cold_p99: cold[cold.len() * 99 / 100],
        cold_worst: *cold.last().unwrap(),
        warm_median: warm[warm.len() / 2],
        warm_p99: warm[warm.len() * 99 / 100],
        register,
    }
}

pub(crate) async fn run(most: usize) -> Vec<Row> {
    let scratch = Scratch(scratch());
    let records = Records::open_sqlite(&scratch.0).await.unwrap();
    let template = document(&tenant("acme"));
    let (mut rows, mut registered) = (Vec::new(), 0);
    for tenants in [10, 1_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= most) {
        eprintln!("{tenants} tenants");
        let start = Instant::now();
        register(&records, &template, registered, tenants).await;
        let each = start.elapsed().as_secs_f64() * 1e6 / (tenants - registered) as f64;
        registered = tenants;
        rows.push(measure(&records, tenants, each).await);
    }
    rows
}

pub(crate) fn print(rows: &[Row]) {
    println!("\ndecision by tenants (state in SQLite; first decision: {COLD} tenants never asked before)");
    println!(
        "    tenants  resident MiB   after asking  resident MiB   cold µs     p99   worst   warm µs     p99  to 10 tenants  registering µs"
    );
    for row in rows {
        println!(
            "  {:>9}  {:>12.0}  {:>13}  {:>12.0}  {:>8.0}  {:>6.0}  {:>6.0}  {:>8.2}  {:>6.2}  {:>13.2}  {:>14.0}",
            row.tenants,
            row.registered_mib,
            row.asked,
            row.asked_mib,
            row.cold_median,
            row.cold_p99,
            row.cold_worst,
            row.warm_median,
            row.warm_p99,
            row.warm_median / rows[0].warm_median,
            row.register
        );
    }
}

pub(crate) fn print_contents(rows: &[Content]) {
    println!("\nmemory of what stores say, KiB each");
    for Content { what, kib_each } in rows {
        println!("  {what:<44} {kib_each:>7.1}");
    }
}
