//! What drivers set when they connect goes with their session to whichever connection it gets, and with nobody else's; what
//! ends with a transaction holds no connection.

use std::time::Duration;

use crate::{
    fixture::{Running, Tenant, World, ask, fails, sqlstate},
    raw::{Raw, bind, execute, flush, frame, parse, query, sync},
};

const SHOW: &str =
    "SELECT concat_ws('|', current_setting('TimeZone'), current_setting('client_min_messages'),
    current_setting('application_name'))";

/// One connection to Postgres: who keeps it keeps it from all others.
async fn single(world: &World) -> Running {
    let change = |settings: &mut ringfence_guard::proxy::GuardSettings| {
        settings.connections = 1;
        settings.wait = Duration::from_millis(200);
    };
    world.guard_with(change).await
}

#[tokio::test]
async fn a_followed_setting_is_its_sessions_on_every_connection_and_nobody_elses() {
    let world = World::new().await;
    let guard = single(&world).await;
    let mut sessions = vec![];
    for (tenant, set, shown) in [
        (&world.acme, "SET TimeZone = 'Asia/Tokyo'", "Asia/Tokyo|notice|ringfence"),
        (&world.acme, "SET client_min_messages TO warning;", "UTC|warning|ringfence"),
        (&world.acme, "SELECT 1", "UTC|notice|ringfence"),
        (&world.globex, "SET SESSION application_name TO 'its own'", "UTC|notice|its own"),
        (&world.globex, "SELECT 1", "UTC|notice|ringfence"),
        (&world.acme, "SET timezone TO 'Asia/Tokyo'", "Asia/Tokyo|notice|ringfence"),
    ] {
        let client = world.client(&guard, tenant).await;
        ask(&client, set).await.unwrap();
        sessions.push((client, shown));
    }
    for _ in 0..3 {
        for (client, shown) in &sessions {
            assert_eq!(ask(client, SHOW).await.unwrap(), *shown);
            // Prepared on one connection for all of the tenant's, read as each has it set.
            let statement = client.prepare("SELECT timestamptz '2001-02-03 04:00'::text").await.unwrap();
            let read: String = client.query_one(&statement, &[]).await.unwrap().get(0);
            assert_eq!(
                read,
                if shown.starts_with("Asia") { "2001-02-03 04:00:00+09" } else { "2001-02-03 04:00:00+00" }
            );
        }
    }
}

#[tokio::test]
async fn a_followed_setting_is_let_go_of_as_any_other() {
    let world = World::new().await;
    let guard = single(&world).await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    let others = async || ask(&globex, SHOW).await;
    for back in ["RESET TimeZone", "RESET ALL", "SET TimeZone TO DEFAULT"] {
        ask(&acme, "SET TimeZone = 'Asia/Tokyo'").await.unwrap();
        assert_eq!(others().await.unwrap(), "UTC|notice|ringfence");
        ask(&acme, back).await.unwrap();
        assert_eq!(ask(&acme, SHOW).await.unwrap(), "UTC|notice|ringfence", "{back}");
        // It has the connection, for what is set on it now.
        assert_eq!(others().await.unwrap_err().0, "53300", "{back}");
        ask(&acme, "DISCARD ALL").await.unwrap();
        assert_eq!(others().await.unwrap(), "UTC|notice|ringfence", "{back}");
        assert_eq!(ask(&acme, SHOW).await.unwrap(), "UTC|notice|ringfence", "{back}");
    }
    for keeps in
        ["SET TimeZone = 'Asia/Tokyo'; SELECT 1", "SET TimeZone TO 'Asia/Tokyo' -- ", "SET work_mem = '7MB'"]
    {
        ask(&acme, keeps).await.unwrap();
        assert_eq!(others().await.unwrap_err().0, "53300", "{keeps}");
        ask(&acme, "DISCARD ALL").await.unwrap();
        assert_eq!(others().await.unwrap(), "UTC|notice|ringfence", "{keeps}");
    }
    assert_eq!(fails(&acme, "SET TimeZone = 'Nowhere'").await, "22023");
    assert_eq!(others().await.unwrap(), "UTC|notice|ringfence");
    assert_eq!(ask(&acme, SHOW).await.unwrap(), "UTC|notice|ringfence");
}

const TOKYO: &str = "SET TimeZone = 'Asia/Tokyo'";

/// Whether another tenant gets the connection after `batches`, and what the session that sent them has then.
async fn after(world: &World, batches: &[&[Vec<u8>]]) -> (bool, String) {
    let guard = single(world).await;
    let mut raw = Raw::open(world, &guard, &world.acme).await;
    for batch in batches {
        raw.send(batch).await;
        raw.until(b'Z').await;
    }
    let other = async |tenant: &Tenant| ask(&world.client(&guard, tenant).await, SHOW).await;
    let goes = match other(&world.globex).await {
        Ok(shown) => shown == "UTC|notice|ringfence",
        Err((code, _)) => {
            assert_eq!(code, "53300");
            return (false, String::new());
        }
    };
    assert!(goes, "what was set was another tenant's");
    assert_eq!(other(&world.acme).await.unwrap(), "UTC|notice|ringfence", "another session's of the tenant");
    raw.send(&[query("SHOW TimeZone")]).await;
    let shown = raw.until(b'Z').await.into_iter().find(|(tag, _)| *tag == b'D').unwrap().1;
    (true, String::from_utf8_lossy(&shown[6..]).into_owned())
}

#[tokio::test]
async fn what_is_set_in_a_batch_is_followed_where_it_is_all_of_it() {
    let world = World::new().await;
    let ran = |sql: &str| [parse(sql), bind(), execute()].concat();
    let set = |sql: &str| [ran(sql), sync()].concat();
    let followed = (true, "Asia/Tokyo".to_owned());
    let config = "SELECT set_config('TimeZone', 'Asia/Tokyo', false)";
    for set in [query(TOKYO), query(config)] {
        assert_eq!(after(&world, &[&[set]]).await, followed);
    }
    assert_eq!(after(&world, &[&[set(TOKYO)]]).await, followed);
    assert_eq!(after(&world, &[&[set("SET TimeZone = 'UTC'")], &[set(TOKYO)]]).await, followed);
    let kept = (false, String::new());
    for batch in [
        [ran(TOKYO), ran("SET DateStyle = 'German'"), sync()].concat(),
        [ran(TOKYO), query("SET DateStyle = 'German'")].concat(),
        [ran(TOKYO), flush(), query("SELECT 1"), query("SELECT 1")].concat(),
        [parse(TOKYO), bind(), flush(), parse("SET DateStyle = 'German'"), execute(), sync()].concat(),
    ] {
        let found = after(&world, &[&[batch]]).await;
        assert!(found == kept || found == followed, "{found:?}");
    }
    assert_eq!(after(&world, &[&[parse(TOKYO), sync()], &[bind(), execute(), sync()]]).await, kept);
    let undone = [ran(TOKYO), frame(b'E', b"none\0\0\0\0\0"), sync()].concat();
    assert_eq!(after(&world, &[&[undone]]).await, (true, "UTC".to_owned()));
    let bound = [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 3][..], b"UTC", &[0, 0]].concat();
    let bound = [parse("SELECT set_config('TimeZone', $1, false)"), frame(b'B', &bound), execute(), sync()];
    for set in [bound.concat(), set(config)] {
        assert_eq!(after(&world, &[&[set]]).await, kept);
    }
    for set in [set(TOKYO), query(config)] {
        let [begin, commit] = ["BEGIN", "COMMIT"].map(query);
        assert_eq!(after(&world, &[&[begin], &[set], &[commit]]).await, kept);
    }
}

#[tokio::test]
async fn what_ends_with_the_transaction_holds_no_connection() {
    let world = World::new().await;
    let ran = |sql: &str| [parse(sql), bind(), execute(), sync()].concat();
    let [begin, commit] = ["BEGIN", "COMMIT"].map(query);
    let goes = async |statements: &[Vec<u8>]| {
        let batches = [std::slice::from_ref(&begin), statements, std::slice::from_ref(&commit)].concat();
        let batches: Vec<_> = batches.iter().map(std::slice::from_ref).collect();
        after(&world, &batches).await.0
    };
    let [local, session] = ["SET LOCAL work_mem = '7MB'", "SET work_mem = '7MB'"];
    let [cursor, held] = ["DECLARE c CURSOR FOR SELECT 1", "DECLARE c CURSOR WITH HOLD FOR SELECT 1"];
    for ends in [local, cursor] {
        assert!(goes(&[query(ends)]).await, "{ends}");
        assert!(goes(&[ran(ends)]).await, "{ends}");
    }
    for stays in [session, held, "/* */ SET work_mem = '7MB'"] {
        assert!(!goes(&[query(stays)]).await, "{stays}");
        assert!(!goes(&[ran(stays)]).await, "{stays}");
        assert!(!goes(&[query(local), ran(stays)]).await, "{stays}");
        assert!(!goes(&[ran(cursor), query("CLOSE c"), query(stays)]).await, "{stays}");
    }
}

#[tokio::test]
async fn a_held_cursor_holds_the_connection_until_it_is_closed() {
    let world = World::new().await;
    let guard = single(&world).await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    let declare =
        |name: &str| format!("DECLARE {name} CURSOR WITH HOLD FOR SELECT owner FROM accounts ORDER BY id");
    for name in ["a", "b"] {
        ask(&acme, &declare(name)).await.unwrap();
    }
    for (name, first) in [("a", "acme-1"), ("b", "acme-1")] {
        assert_eq!(fails(&globex, "SELECT 1").await, "53300");
        assert_eq!(ask(&acme, &format!("FETCH {name}")).await.unwrap(), first);
        ask(&acme, &format!("CLOSE {name}")).await.unwrap();
    }
    assert_eq!(ask(&globex, "SELECT count(*) FROM pg_cursors").await.unwrap(), "0");
    // One from within a transaction is not counted.
    ask(&acme, "BEGIN").await.unwrap();
    ask(&acme, &declare("c")).await.unwrap();
    ask(&acme, "COMMIT").await.unwrap();
    ask(&acme, &declare("d")).await.unwrap();
    ask(&acme, "CLOSE d").await.unwrap();
    assert_eq!(fails(&globex, "SELECT 1").await, "53300");
    assert_eq!(ask(&acme, "FETCH c").await.unwrap(), "acme-1");
    ask(&acme, "DISCARD ALL").await.unwrap();
    assert_eq!(ask(&globex, "SELECT count(*) FROM pg_cursors").await.unwrap(), "0");
}

/// A setting is one tenant's word, and may say how the next one's values are read.
#[tokio::test]
async fn what_was_set_as_one_tenant_is_not_there_for_the_next_token() {
    const USE: &str = "SELECT ringfence.token_use($1, $2)";
    let world = World::new().await;
    let guard = single(&world).await;
    let given = world.token(&world.globex);
    let client = world.client(&guard, &world.acme).await;
    ask(&client, TOKYO).await.unwrap();
    let refused = client.query(USE, &[&"globex", &given]).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "25001");
    assert_eq!(fails(&client, SHOW).await, "28000", "it is nobody's");
    client.query(USE, &[&"globex", &given]).await.unwrap();
    assert_eq!(ask(&client, SHOW).await.unwrap(), "UTC|notice|ringfence");
    let client = world.client(&guard, &world.acme).await;
    ask(&client, TOKYO).await.unwrap();
    ask(&client, "DISCARD ALL").await.unwrap();
    client.query(USE, &[&"globex", &given]).await.unwrap();
    assert_eq!(ask(&client, SHOW).await.unwrap(), "UTC|notice|ringfence");
}
