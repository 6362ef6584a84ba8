//! A tenant is moved while it and others write: nothing is lost, doubled or another's, whoever is killed when.

mod ground;
mod hindrances;

use std::{future::Future, pin::pin, task::Poll};

use ringfence_guard::{
    Cluster,
    tenant_move::{MoveError, Phase, Side, Start, TenantMove},
};

use self::ground::{Ground, count, rows};
use crate::fixture::{World, ask, cluster_settings, eventually, scratch};

/// Drops a future after it was polled so many times: what a killed process leaves.
async fn killed<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

fn total(tables: &[ringfence_guard::tenant_move::TableRows]) -> usize {
    usize::try_from(tables.iter().map(|table| table.rows).sum::<i64>()).unwrap()
}

async fn whole(mut one: TenantMove) {
    one.prepare(Start::Copy).await.unwrap();
    one.copy(|_| ()).await.unwrap();
    one.verify().await.unwrap();
    one.settle().await.unwrap();
    one.forget().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_moved_to_its_own_database_while_it_and_others_write() {
    let ground = Ground::new().await;
    let writers = [ground.writer("acme", 1).await, ground.writer("acme", 2).await];
    let other = ground.writer("globex", 3).await;
    // What another process of the plane does is done on any thread.
    let mut out = ground.out();
    let out = tokio::spawn(async move {
        out.prepare(Start::Copy).await.unwrap();
        let mut told = 0;
        out.copy(|progress| told = progress.total.rows).await.unwrap();
        assert!(told > 100);
        out
    });
    let mut out = out.await.unwrap();
    for round in 0..2 {
        for writer in &writers {
            writer.goes_on(60).await;
        }
        let followed = out.follow().await.unwrap();
        assert!(followed.transactions > 20 && followed.rows > 20, "{followed:?}");
        assert_eq!(followed.verified, round == 1);
        out.verify().await.unwrap();
    }
    writers[0].goes_on(40).await;
    for writer in writers {
        writer.stop().await;
    }
    other.goes_on(20).await;
    let settled = out.settle().await.unwrap();
    let here = rows(&ground.shared, "public", "acme").await;
    assert_eq!(here, rows(&ground.own, "public", "acme").await);
    assert_eq!(total(&settled), here.len());
    assert!(here.iter().any(|row| row.len() > 5_000) && here.iter().any(|row| row.contains("NULL")));
    other.goes_on(20).await;
    out.forget().await.unwrap();
    assert!(other.stop().await > 100);
    let strangers = "SELECT (SELECT count(*) FROM items WHERE tenant_id <> 'acme') + (SELECT count(*) FROM notes WHERE tenant_id <> 'acme')";
    assert_eq!(count(&ground.own, strangers).await, 0);
    // Its numbers go on after those that are taken.
    let next = "INSERT INTO notes (tenant_id, body) VALUES ('acme', 'next') RETURNING n";
    let taken = count(&ground.shared, "SELECT max(n) FROM notes WHERE tenant_id = 'acme'").await;
    assert!(count(&ground.own, next).await > taken);

    assert!(out.erase(Side::Source).await.unwrap() >= here.len() as u64);
    assert_eq!(rows(&ground.shared, "public", "acme").await.len(), 0);
    assert!(rows(&ground.shared, "public", "globex").await.len() > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_goes_to_a_schema_of_its_own_and_back() {
    let ground = Ground::new().await;
    let schema = ground.schema_site("tenant_acme").await;
    let writer = ground.writer("acme", 4).await;
    let mut there = ground.route("there", ground.shared_site(), schema.clone());
    there.prepare(Start::Copy).await.unwrap();
    there.copy(|_| ()).await.unwrap();
    writer.goes_on(40).await;
    there.verify().await.unwrap();
    writer.goes_on(20).await;
    writer.stop().await;
    there.settle().await.unwrap();
    there.forget().await.unwrap();
    let moved = rows(&ground.shared, "tenant_acme", "acme").await;
    assert_eq!(moved, rows(&ground.shared, "public", "acme").await);
    there.erase(Side::Source).await.unwrap();

    let change =
        "UPDATE tenant_acme.items SET code = 'changed' WHERE id = (SELECT min(id) FROM tenant_acme.items)";
    ground.shared.batch_execute(change).await.unwrap();
    whole(ground.route("home", schema, ground.shared_site())).await;
    let back = rows(&ground.shared, "public", "acme").await;
    assert_eq!(back, rows(&ground.shared, "tenant_acme", "acme").await);
    assert!(back != moved && back.iter().any(|row| row.contains("|changed|")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_given_out_twice_when_a_tenant_comes_from_its_database() {
    let ground = Ground::new().await;
    ground.shared.batch_execute("DELETE FROM notes WHERE tenant_id = 'acme'").await.unwrap();
    ground.shared.batch_execute("DELETE FROM items WHERE tenant_id = 'acme'").await.unwrap();
    let note = "INSERT INTO notes (tenant_id, body) SELECT 'acme', 'own' FROM generate_series(1, 30)";
    ground.own.batch_execute(note).await.unwrap();
    // The shared table's numbers are ahead: they stay. Then its own are, by much and by little.
    for (own, shared) in [(30, 240), (70_000, 70_000), (70_020, 70_020)] {
        let set = format!("SELECT setval(pg_get_serial_sequence('notes', 'n'), {own})");
        ground.own.batch_execute(&set).await.unwrap();
        whole(ground.back()).await;
        let next = format!("SELECT last_value - {shared} FROM notes_n_seq");
        assert_eq!(count(&ground.shared, &next).await, 0, "{own}");
        assert_eq!(count(&ground.shared, "SELECT count(*) FROM notes WHERE tenant_id = 'acme'").await, 30);
        ground.back().erase(Side::Target).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_at_any_moment_is_gone_on_for_by_another() {
    let ground = Ground::new().await;
    let writer = ground.writer("acme", 5).await;
    // Each attempt is another process, which gets further than the one before.
    let attempts = || (0..).map(|attempt: u32| 3_usize.pow(attempt));
    for polls in attempts() {
        if killed(ground.out().prepare(Start::Copy), polls).await.is_some_and(|done| done.is_ok()) {
            break;
        }
    }
    assert_eq!(ground.out().phase().await.unwrap(), Some(Phase::Prepared));
    assert!(matches!(ground.out().follow().await, Err(MoveError::NotCopied)));
    for polls in attempts() {
        let copied = killed(ground.out().copy(|_| ()), polls).await;
        let there = count(&ground.own, "SELECT count(*) FROM items").await;
        if copied.is_some_and(|done| done.is_ok()) {
            assert!(there > 0);
            break;
        }
        let phase = ground.out().phase().await.unwrap();
        assert!(there == 0 && phase == Some(Phase::Prepared) || phase == Some(Phase::Following));
    }
    let mut killings = 0;
    for polls in attempts() {
        writer.goes_on(5).await;
        let followed = killed(ground.out().follow(), polls).await;
        killings += usize::from(followed.is_none());
        if followed.is_some_and(|done| done.is_ok()) {
            break;
        }
    }
    assert!(killings > 3, "{killings}");
    for polls in attempts() {
        if killed(ground.out().verify(), polls).await.is_some_and(|done| done.is_ok()) {
            break;
        }
    }
    writer.goes_on(30).await;
    writer.stop().await;
    for polls in attempts() {
        let mut out = ground.out();
        // The backends of one that was killed may still be at it; then, who comes after does not know what was touched.
        eventually(|| async {
            match ground.out().settle().await.unwrap_err() {
                MoveError::Unverified => Some(()),
                error => {
                    assert!(error.is_passing(), "{error}");
                    None
                }
            }
        })
        .await;
        out.verify().await.unwrap();
        if killed(out.settle(), polls).await.is_some_and(|done| done.is_ok()) {
            break;
        }
    }
    assert_eq!(rows(&ground.shared, "public", "acme").await, rows(&ground.own, "public", "acme").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_terminated_takes_nothing_with_it() {
    let ground = Ground::new().await;
    let writer = ground.writer("acme", 6).await;
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE application_name = 'ringfence tenant move' AND datname IN ('{0}', '{0}_acme')",
        ground.world.database
    );
    let mut out = ground.out();
    out.prepare(Start::Copy).await.unwrap();
    let killer = crate::fixture::connect(&ground.shared_site().config).await.unwrap();
    let mut killed = 0;
    out.copy(|_| ()).await.unwrap();
    for step in [0, 1, 2, 9, 10, 11, 30, 31, 32] {
        writer.goes_on(15).await;
        let work = async {
            match step % 3 {
                0 => out.copy(|_| ()).await.map(drop),
                1 => out.follow().await.map(drop),
                _ => out.verify().await.map(drop),
            }
        };
        // As soon as it is there, and later and later.
        let strike = async {
            while ask(&killer, &kill.replace("pg_terminate_backend(pid)", "*")).await.unwrap() == "0" {}
            for _ in 0..step {
                ask(&killer, "SELECT 1").await.unwrap();
            }
            ask(&killer, &kill).await.unwrap();
            std::future::pending::<()>().await
        };
        let done = tokio::select! { done = work => done, () = strike => Ok(()) };
        if let Err(error) = done {
            assert!(error.is_passing(), "{error}");
            killed += 1;
        }
    }
    assert!(killed > 0, "{killed}");
    writer.stop().await;
    out.verify().await.unwrap();
    out.settle().await.unwrap();
    assert_eq!(rows(&ground.shared, "public", "acme").await, rows(&ground.own, "public", "acme").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_in_the_wal_and_not_yet_seen_is_brought_once() {
    let cluster = Cluster::start(cluster_settings(scratch("unseen"))).await.unwrap();
    let ground = Ground::on(World::on(&cluster).await).await;
    let local = "ALTER ROLE postgres SET synchronous_commit = local";
    ground.shared.batch_execute(local).await.unwrap();
    let mut out = ground.out();
    out.prepare(Start::Copy).await.unwrap();
    out.copy(|_| ()).await.unwrap();

    // It waits for a standby that never comes: committed in the WAL, and seen by nobody.
    let standby = async |names: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        ground.shared.batch_execute(&set).await.unwrap();
        ground.shared.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    standby("nobody").await;
    let config = ground.shared_site().config;
    let late = tokio::spawn(async move {
        let client = crate::fixture::connect(&config).await.unwrap();
        client.batch_execute("SET synchronous_commit = on").await.unwrap();
        client.batch_execute("INSERT INTO items (tenant_id, id, code) VALUES ('acme', 901, 'late')").await
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    eventually(|| async { (count(&ground.shared, waits).await == 1).then_some(()) }).await;
    let early = "SET synchronous_commit = local; INSERT INTO items (tenant_id, id, code) VALUES ('acme', 900, 'early')";
    ground.shared.batch_execute(early).await.unwrap();

    // A snapshot sees the later one and not the earlier one; so does the target.
    out.verify().await.unwrap();
    let there = "SELECT string_agg(code, ',' ORDER BY id) FROM items WHERE id >= 900";
    assert_eq!(ask(&ground.own, there).await.unwrap(), "early");
    // Then it has both, each once, and one of them before anybody sees it at the source.
    assert_eq!(out.follow().await.unwrap().rows, 1);
    assert_eq!(ask(&ground.own, there).await.unwrap(), "early,late");
    assert_eq!(ask(&ground.shared, there).await.unwrap(), "early");
    let (verified, ()) = futures_util::future::join(out.verify(), standby("")).await;
    verified.unwrap();
    late.await.unwrap().unwrap();
    out.settle().await.unwrap();
    assert_eq!(rows(&ground.shared, "public", "acme").await, rows(&ground.own, "public", "acme").await);
    drop(ground);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_written_at_the_new_place_comes_back() {
    let ground = Ground::new().await;
    whole(ground.out()).await;
    // Nobody writes: here the switch is made.
    let mut back = ground.back();
    back.prepare(Start::Equal).await.unwrap();
    let write = "UPDATE items SET id = id + 1000, big = coalesce(big, '') || 'moved' WHERE id % 2 = 0;
        DELETE FROM items WHERE id % 5 = 0; INSERT INTO notes (tenant_id, body) VALUES ('acme', 'written at the new place');
        UPDATE items SET amount = 0 WHERE id % 3 = 0";
    ground.own.batch_execute(write).await.unwrap();
    let globex = rows(&ground.shared, "public", "globex").await;
    assert!(back.follow().await.unwrap().verified, "both places were equal, and all since is known");
    ground.own.batch_execute("UPDATE items SET code = code || '!' WHERE id > 1000").await.unwrap();
    back.settle().await.unwrap();
    let there = rows(&ground.own, "public", "acme").await;
    assert_eq!(there, rows(&ground.shared, "public", "acme").await);
    assert!(there.iter().any(|row| row.contains("written at the new place")));
    assert_eq!(globex, rows(&ground.shared, "public", "globex").await);

    // Another process does not know, and is told so.
    let mut another = ground.back();
    another.prepare(Start::Equal).await.unwrap();
    assert!(matches!(another.settle().await, Err(MoveError::Unverified)));
    another.verify().await.unwrap();
    another.settle().await.unwrap();
    another.forget().await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_at_the_target_is_found() {
    let ground = Ground::new().await;
    let mut out = ground.out();
    out.prepare(Start::Copy).await.unwrap();
    out.copy(|_| ()).await.unwrap();
    let wrong = |error: MoveError| matches!(&error, MoveError::Differs { table, .. } if table == "items");
    for plant in [
        "UPDATE items SET amount = amount + 0.01 WHERE id = 7",
        "DELETE FROM items WHERE id = 8",
        "INSERT INTO items (tenant_id, id, code) VALUES ('acme', 9999, 'planted')",
    ] {
        out.copy(|_| ()).await.unwrap();
        ground.own.batch_execute(plant).await.unwrap();
        assert!(wrong(out.verify().await.unwrap_err()), "{plant}");
    }
    // Planted later: where it was touched, it is found in the end; where not, how many there are is.
    for (plant, touch) in [
        ("UPDATE items SET amount = 5 WHERE id = 7", "UPDATE items SET code = 'seven' WHERE id = 7"),
        ("INSERT INTO items (tenant_id, id, code) VALUES ('acme', 9999, 'planted')", "SELECT 1"),
    ] {
        out.copy(|_| ()).await.unwrap();
        out.verify().await.unwrap();
        ground.own.batch_execute(plant).await.unwrap();
        let own =
            format!("{touch} ; UPDATE items SET amount = amount + 1 WHERE tenant_id = 'acme' AND id = 20");
        ground
            .shared
            .batch_execute(&own.replace("WHERE id = 7", "WHERE tenant_id = 'acme' AND id = 7"))
            .await
            .unwrap();
        let error = out.settle().await.map(|_| String::new()).unwrap_or_else(|error| error.to_string());
        // The UPDATE repeats every value but large ones: what was planted into that row is gone.
        assert_eq!(error.contains("items"), plant.starts_with("INSERT"), "{plant}: {error}");
    }
    // A change whose row is not there does not pass in silence.
    out.copy(|_| ()).await.unwrap();
    ground.own.batch_execute("DELETE FROM items WHERE id = 20").await.unwrap();
    ground.shared.batch_execute("UPDATE items SET amount = 1 WHERE id = 20").await.unwrap();
    assert!(matches!(out.follow().await, Err(MoveError::Diverged { table }) if table == "items"));
}

#[tokio::test]
async fn a_truncate_and_rows_that_change_hands_are_followed_for_this_tenant_alone() {
    let ground = Ground::new().await;
    let mut out = ground.out();
    out.prepare(Start::Copy).await.unwrap();
    out.copy(|_| ()).await.unwrap();
    out.verify().await.unwrap();
    let hand_over = "UPDATE items SET tenant_id = 'globex', id = id + 5000 WHERE tenant_id = 'acme' AND id <= 3;
        UPDATE items SET tenant_id = 'acme', id = id + 6000 WHERE tenant_id = 'globex' AND id BETWEEN 10 AND 12 AND id % 9 <> 0";
    ground.shared.batch_execute(hand_over).await.unwrap();
    out.settle().await.unwrap();
    let moved = rows(&ground.own, "public", "acme").await;
    assert_eq!(moved, rows(&ground.shared, "public", "acme").await);
    assert!(
        moved.iter().any(|row| row.contains("|6010|")) && !moved.iter().any(|row| row.contains("|acme|2|"))
    );

    ground.shared.batch_execute("TRUNCATE notes; INSERT INTO notes (tenant_id, body) VALUES ('acme', 'after'), ('globex', 'after')").await.unwrap();
    out.settle().await.unwrap();
    assert_eq!(
        ask(&ground.own, "SELECT string_agg(tenant_id || body, ',') FROM notes").await.unwrap(),
        "acmeafter"
    );

    // A large value is not in the WAL of an UPDATE that leaves it: the row can't be made from that.
    let large = "UPDATE items SET tenant_id = 'acme', id = 7009 WHERE tenant_id = 'globex' AND id = 9";
    ground.shared.batch_execute(large).await.unwrap();
    assert!(matches!(out.follow().await, Err(MoveError::Incomplete { table }) if table == "items"));
    out.copy(|_| ()).await.unwrap();
    out.verify().await.unwrap();
    assert_eq!(rows(&ground.own, "public", "acme").await, rows(&ground.shared, "public", "acme").await);
}

#[tokio::test]
async fn another_tenants_changes_are_not_made_though_the_slot_should_tell_them() {
    let ground = Ground::new().await;
    let mut out = ground.out();
    out.prepare(Start::Copy).await.unwrap();
    out.copy(|_| ()).await.unwrap();
    out.verify().await.unwrap();
    // Somebody takes the filter away.
    let all = format!("ALTER PUBLICATION {} SET TABLE items, notes", out.name);
    ground.shared.batch_execute(&all).await.unwrap();
    let change = "UPDATE items SET amount = amount + 1 WHERE id < 20; DELETE FROM items WHERE id = 30;
        UPDATE items SET tenant_id = 'globex', id = id + 5000 WHERE tenant_id = 'acme' AND id <= 3;
        UPDATE items SET id = id + 7000 WHERE tenant_id = 'globex' AND id > 40;
        INSERT INTO items (tenant_id, id, code) VALUES ('acme', 800, 'x'), ('globex', 800, 'x')";
    ground.shared.batch_execute(change).await.unwrap();
    let followed = out.follow().await.unwrap();
    // Of acme: 19 changed, of which 3 went with a note each, one deleted with its note, one new.
    assert_eq!(followed.rows, 19 + 3 * 2 + 2 + 1);
    out.settle().await.unwrap();
    assert_eq!(count(&ground.own, "SELECT count(*) FROM items WHERE tenant_id <> 'acme'").await, 0);
    assert_eq!(rows(&ground.shared, "public", "acme").await, rows(&ground.own, "public", "acme").await);
}

#[tokio::test]
async fn a_change_of_the_schema_ends_the_move_and_says_so() {
    let ground = Ground::new().await;
    let mut out = ground.out();
    out.prepare(Start::Copy).await.unwrap();
    out.copy(|_| ()).await.unwrap();
    // Written before, read after: the change is of another table than is there now, at both places.
    ground.shared.batch_execute("UPDATE items SET amount = 1 WHERE id = 1").await.unwrap();
    for client in [&ground.shared, &ground.own] {
        client.batch_execute("ALTER TABLE items ADD COLUMN more int").await.unwrap();
    }
    let error = out.follow().await.unwrap_err();
    assert!(
        matches!(&error, MoveError::Changed { table } if table == "items") && !error.is_passing(),
        "{error}"
    );
    out.copy(|_| ()).await.unwrap();
    out.verify().await.unwrap();
    // A table that came later is not followed.
    for client in [&ground.shared, &ground.own] {
        let late = "CREATE TABLE late (tenant_id text PRIMARY KEY); SELECT ringfence.protect('late')";
        client.batch_execute(late).await.unwrap();
    }
    assert!(matches!(out.verify().await, Err(MoveError::NotFollowed { table }) if table == "late"));
    out.forget().await.unwrap();
    out.erase(Side::Target).await.unwrap();
    whole(out).await;
}

#[tokio::test]
async fn a_move_is_forgotten_whole_however_much_of_it_is_there() {
    let ground = Ground::new().await;
    let there = format!(
        "SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = '{}') + (SELECT count(*) FROM pg_publication)",
        ground.world.database
    );
    let record = "SELECT count(*) FROM ringfence.tenant_move";
    let mut out = ground.out();
    out.forget().await.unwrap();
    assert!(matches!(out.follow().await, Err(MoveError::NotPrepared)));
    let halves = [
        format!("SELECT pg_drop_replication_slot('{}')", out.name),
        format!("DROP PUBLICATION {}", out.name),
        "SELECT 1".to_owned(),
    ];
    for half in halves {
        out.prepare(Start::Copy).await.unwrap();
        out.prepare(Start::Copy).await.unwrap();
        assert_eq!((count(&ground.shared, &there).await, count(&ground.own, record).await), (2, 1));
        ground.shared.batch_execute(&half).await.unwrap();
        out.forget().await.unwrap();
        assert_eq!((count(&ground.shared, &there).await, count(&ground.own, record).await), (0, 0));
    }
    // A slot that was lost and made again knows nothing of what was copied before.
    out.prepare(Start::Copy).await.unwrap();
    out.copy(|_| ()).await.unwrap();
    assert!(matches!(out.erase(Side::Source).await, Err(MoveError::Followed)));
    ground.shared.batch_execute(&format!("SELECT pg_drop_replication_slot('{}')", out.name)).await.unwrap();
    assert!(matches!(out.follow().await, Err(MoveError::NotPrepared)));
    out.prepare(Start::Copy).await.unwrap();
    assert!(matches!(out.follow().await, Err(MoveError::NotCopied)));
    assert_eq!(out.erase(Side::Target).await.unwrap(), 240);
    // A database that is gone is no reason to keep the source's WAL.
    let Ground { own, shared, world } = ground;
    drop(own);
    shared.batch_execute(&format!("DROP DATABASE {}_acme WITH (FORCE)", world.database)).await.unwrap();
    out.forget().await.unwrap();
    assert_eq!(count(&shared, &there).await, 0);
}

#[tokio::test]
async fn who_holds_a_table_is_not_waited_for_for_ever() {
    let ground = Ground::new().await;
    let mut holder = ground.world.superuser().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE items IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    let mut out = ground.out();
    let error = out.prepare(Start::Copy).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    held.rollback().await.unwrap();
    whole(out).await;
}
