//! A token for each transaction, on one session: in all sequences it is said in, and with all that stays and goes.

mod attacks;

use ringfence_context::{Layer, Reason, txn::Purpose};
use tokio_postgres::{Client, NoTls, types::Type};

use crate::{
    fixture::{CANARY, Tenant, World, ask, eventually, sqlstate},
    raw::{Raw, execute, flush, frame, parse, query, sync},
};

const USE: &str = "SELECT ringfence.token_use($1, $2)";
const COUNT: &str = "SELECT count(*) FROM accounts";

/// Says whose the next transactions are; the tenant that is answered, or the SQLSTATE.
async fn give(client: &Client, tenant: &str, token: &str) -> Result<String, String> {
    let rows = client.query_typed(USE, &[(&tenant, Type::TEXT), (&token, Type::TEXT)]).await;
    rows.map(|rows| rows[0].get("token_use")).map_err(|error| sqlstate(&error))
}

async fn serve(world: &World, client: &Client, tenant: &Tenant) {
    let id = tenant.id.as_str();
    assert_eq!(give(client, id, &world.token(tenant)).await.as_deref(), Ok(id));
}

/// That the session is nobody's, and can be somebody's again.
async fn nobodys(world: &World, client: &Client, why: &str) {
    for sql in [COUNT, "BEGIN", "ROLLBACK; SELECT owner FROM accounts", "SELECT 1"] {
        let (code, told) = ask(client, sql).await.expect_err(why);
        assert!(code == "28000" && told.contains("reason=context_missing"), "{why}: {code} {told}");
    }
    assert_eq!(sqlstate(&client.query(COUNT, &[]).await.expect_err(why)), "28000", "{why}");
    serve(world, client, &world.globex).await;
    assert_eq!(ask(client, COUNT).await.unwrap(), "5", "{why}");
    serve(world, client, &world.acme).await;
    assert_eq!(ask(client, COUNT).await.unwrap(), "3", "{why}");
}

fn bind_with(statement: &str, format: i16, values: &[Option<&str>]) -> Vec<u8> {
    let mut body = format!("\0{statement}\0").into_bytes();
    body.extend([1_i16, format].map(i16::to_be_bytes).concat());
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        let len = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend(len.to_be_bytes());
        body.extend(value.unwrap_or_default().bytes());
    }
    body.extend([0, 1, 0, u8::try_from(format).unwrap()]);
    frame(b'B', &body)
}

fn bind(tenant: &str, token: &str) -> Vec<u8> {
    bind_with("", 0, &[Some(tenant), Some(token)])
}

/// All of it, unnamed, with its own Sync.
fn token_use(tenant: &str, token: &str) -> Vec<u8> {
    [parse(USE), bind(tenant, token), execute(), sync()].concat()
}

fn select(sql: &str) -> Vec<u8> {
    [parse(sql), frame(b'B', &[0; 8]), execute(), sync()].concat()
}

/// What the next batch is answered: its messages' types, the columns of its rows, the SQLSTATE of its error.
async fn heard(raw: &mut Raw) -> String {
    let said = raw.until(b'Z').await.into_iter().map(|(tag, body)| match tag {
        b'D' => format!("D({})", String::from_utf8_lossy(&body[6..])),
        b'E' => {
            let code = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C")).unwrap();
            format!("E({})", String::from_utf8_lossy(code))
        }
        b'Z' => format!("Z{}", char::from(body[0])),
        tag => char::from(tag).to_string(),
    });
    said.collect()
}

#[tokio::test]
async fn each_transaction_is_the_tenants_whose_token_was_given() {
    let world = World::new().await;
    for connections in [1, 4] {
        let guard = world.guard_with(|settings| settings.connections = connections).await;
        let mut client = world.client(&guard, &world.acme).await;
        let other = world.client(&guard, &world.globex).await;
        let named = client.prepare(USE).await.unwrap();
        assert_eq!((named.params(), named.columns()[0].name()), (&[Type::TEXT, Type::TEXT][..], "token_use"));
        let owners = client.prepare("SELECT owner FROM accounts WHERE id = $1").await.unwrap();
        for round in 0..6 {
            for (tenant, rows) in [(&world.globex, 5), (&world.acme, 3)] {
                let (id, token) = (tenant.id.as_str(), world.token(tenant));
                let row = client.query_one(&named, &[&id, &token]).await.unwrap();
                assert_eq!(row.get::<_, &str>(0), id);
                let transaction = client.transaction().await.unwrap();
                let all = transaction.query("SELECT tenant_id, owner FROM accounts", &[]).await.unwrap();
                assert_eq!((all.len(), all.iter().all(|row| row.get::<_, &str>(0) == id)), (rows, true));
                let owner: String = transaction.query_one(&owners, &[&2]).await.unwrap().get(0);
                assert_eq!(owner.starts_with(CANARY), rows == 5, "{owner}");
                transaction.commit().await.unwrap();
                if round % 2 == 0 {
                    serve(&world, &client, tenant).await;
                    assert_eq!(ask(&client, COUNT).await.unwrap(), rows.to_string());
                }
                assert_eq!(ask(&other, COUNT).await.unwrap(), "5");
            }
        }
    }
}

#[tokio::test]
async fn what_is_sent_at_once_is_done_in_turn() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    let owner = "SELECT owner FROM accounts WHERE id = 2";
    let turn = |tenant: &Tenant| {
        let given = token_use(tenant.id.as_str(), &world.token(tenant));
        [given, query("BEGIN"), select(owner), query("COMMIT"), select(owner)].concat()
    };
    raw.send(&[turn(&world.globex), turn(&world.acme), turn(&world.globex)]).await;
    for (id, owner) in [("globex", "CANARY-7c2f-2"), ("acme", "acme-2"), ("globex", "CANARY-7c2f-2")] {
        // A row's first six bytes are two lengths.
        assert_eq!(heard(&mut raw).await, format!("12D({})CZI", &format!("\0\0{id}")[2..]));
        assert_eq!(heard(&mut raw).await, "CZT");
        assert_eq!(heard(&mut raw).await, format!("12D({owner})CZT"));
        assert_eq!(heard(&mut raw).await, "CZI");
        assert_eq!(heard(&mut raw).await, format!("12D({owner})CZI"));
    }
}

#[tokio::test]
async fn every_way_drivers_say_it_is_answered_as_postgres_would() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    let token = world.token(&world.globex);
    let (named, s, d) = (
        |types: &[u8]| frame(b'P', &[format!("s\0{USE};\0").as_bytes(), types].concat()),
        frame(b'D', b"Ss\0"),
        frame(b'D', b"P\0"),
    );
    let good = [Some("globex"), Some(&*token)];
    // libpq and JDBC: types not given or text, one batch for the name, one for each use.
    for (types, format) in [
        (&[0, 0][..], 0),
        (&[0, 2, 0, 0, 0, 25, 0, 0, 0, 25], 1),
        (&[0, 2, 0, 0, 4, 19, 0, 0, 0, 0], 1),
        (&[0, 1, 0, 0, 0, 0], 0),
    ] {
        raw.send(&[named(types), s.clone(), sync()]).await;
        assert_eq!(heard(&mut raw).await, "1tTZI");
        raw.send(&[named(types), sync()]).await;
        assert_eq!(heard(&mut raw).await, "E(42P05)ZI");
        for _ in 0..2 {
            raw.send(&[bind_with("s", format, &good), d.clone(), execute(), sync()]).await;
            assert_eq!(heard(&mut raw).await, "2TD(globex)CZI");
            raw.send(&[bind_with("s", format, &good), execute(), frame(b'C', b"P\0"), sync()]).await;
            assert_eq!(heard(&mut raw).await, "2D(globex)C3ZI");
        }
        raw.send(&[frame(b'C', b"Ss\0"), sync()]).await;
        assert_eq!(heard(&mut raw).await, "3ZI");
    }
    // tokio-postgres and psycopg, at once; answers come for a Flush.
    raw.send(&[parse(USE), bind("globex", &token), frame(b'D', b"S\0"), execute(), flush()]).await;
    assert_eq!(raw.tags(b'C').await, "12tTDC");
    // Executed again it has nothing more, and is no other use.
    raw.send(&[execute(), sync(), select(COUNT)]).await;
    assert_eq!(heard(&mut raw).await, "CZI");
    assert_eq!(heard(&mut raw).await, "12D(5)CZI");
    // The unnamed statement stays until there is another.
    raw.send(&[bind("globex", &token), execute(), sync(), frame(b'D', b"S\0"), sync()]).await;
    assert_eq!(heard(&mut raw).await, "E(08P01)ZI", "two parameters for a statement with none");
    assert_eq!(heard(&mut raw).await, "tTZI");
    raw.send(&[token_use("globex", &token), bind("globex", &token), execute(), sync()]).await;
    assert_eq!(heard(&mut raw).await, "12D(globex)CZI");
    assert_eq!(heard(&mut raw).await, "2D(globex)CZI");
}

/// No setting, lock or cursor follows a session from one tenant to another, nor back; what it has prepared does.
#[tokio::test]
async fn nothing_of_a_session_follows_it_to_another_tenant_but_its_statements() {
    let world = World::new().await;
    for connections in [1, 4] {
        let guard = world.guard_with(|settings| settings.connections = connections).await;
        let client = world.client(&guard, &world.acme).await;
        let count = client.prepare(COUNT).await.unwrap();
        let mark = "SELECT coalesce(current_setting('my.mark', true), '')";
        for (tenant, rows) in [(&world.acme, 3_i64), (&world.globex, 5), (&world.acme, 3), (&world.acme, 3)] {
            serve(&world, &client, tenant).await;
            assert_eq!(ask(&client, mark).await.unwrap(), "");
            ask(&client, "SELECT set_config('my.mark', 'CANARY', false)").await.unwrap();
            assert_eq!(ask(&client, mark).await.unwrap(), "CANARY");
            assert_eq!(client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), rows);
        }
    }
}

#[tokio::test]
async fn a_session_that_keeps_something_changes_tenants_once_it_has_let_go() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let client = world.client(&guard, &world.acme).await;
    for keep in [
        "SET work_mem = '7MB'",
        "/**/ LISTEN x",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    ] {
        ask(&client, keep).await.unwrap();
        assert_eq!(
            give(&client, "globex", &world.token(&world.globex)).await,
            Err("25001".to_owned()),
            "{keep}"
        );
        nobodys(&world, &client, keep).await;
        ask(&client, keep).await.unwrap();
        ask(&client, "DISCARD ALL").await.unwrap();
        serve(&world, &client, &world.globex).await;
        let left = "SELECT current_setting('work_mem'), (SELECT count(*) FROM pg_listening_channels()),
            (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors)";
        assert_eq!(ask(&client, left).await.unwrap(), "4MB|0|0|0", "{keep}");
        serve(&world, &client, &world.acme).await;
    }
}

#[tokio::test]
async fn a_token_that_ends_is_an_error_and_the_next_goes_on() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.globex).await;
    let short = world.token_of(&world.acme, &world.acme.access_with(4, |_| ()));
    give(&client, "acme", &short).await.unwrap();
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
    // Postgres says so itself of a statement that was on its way in that moment.
    let ends = async || ask(&client, COUNT).await.err().filter(|(code, _)| code != "RF002");
    let told = eventually(ends).await;
    assert!(told.0 == "28000" && told.1.contains("reason=token_expired"), "{told:?}");
    nobodys(&world, &client, "expired").await;
    assert_eq!(give(&client, "acme", &short).await, Err("28000".to_owned()));
    nobodys(&world, &client, "expired").await;
}

#[tokio::test]
async fn each_token_is_recorded_under_its_requests_reference() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    let three = "SELECT ringfence.token_use($1, $2, $3)";
    let (a, g) = (world.token(&world.acme), world.token(&world.globex));
    raw.send(&[parse(three), frame(b'D', b"S\0"), sync()]).await;
    assert_eq!(raw.until(b'Z').await[1].1[..2], [0, 3]);
    let of = |tenant, token, reference| {
        [bind_with("", 0, &[Some(tenant), Some(token), reference]), execute(), sync()].concat()
    };
    raw.send(&[of("globex", &g, Some("req-1")), of("globex", &a, Some("req-2")), of("acme", &a, None)]).await;
    raw.send(&[of("acme", &a, Some("no reference, but a long text"))]).await;
    let answers =
        [heard(&mut raw).await, heard(&mut raw).await, heard(&mut raw).await, heard(&mut raw).await];
    assert_eq!(answers, ["2D(globex)CZI", "2E(28000)ZI", "2D(acme)CZI", "2D(acme)CZI"]);
    let verdicts = world.verdicts.0.lock().unwrap();
    let shown: Vec<_> = verdicts
        .iter()
        .map(|verdict| {
            (verdict.tenant.as_ref().unwrap().as_str(), verdict.refused, verdict.reference.as_str())
        })
        .collect();
    assert_eq!(shown.len(), 5);
    assert_eq!(
        shown[1..3],
        [("globex", None, "req-1"), ("globex", Some((Layer::Guard, Reason::TenantMismatch)), "req-2")]
    );
    assert!(
        shown[3].2.starts_with("db-") && shown[4].2.starts_with("db-") && shown[3].2 != shown[4].2,
        "{shown:?}"
    );
}

#[tokio::test]
async fn a_cancel_is_for_what_the_session_runs_whoever_it_serves() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let client = world.client(&guard, &world.acme).await;
    let other = world.client(&guard, &world.acme).await;
    ask(&client, "SELECT 1").await.unwrap();
    let cancel = client.cancel_token();
    serve(&world, &client, &world.globex).await;
    // The connection it had as acme is another's now.
    let running = other.query_one("SELECT pg_sleep(0.3), 7", &[]);
    let canceller = async {
        for _ in 0..20 {
            cancel.cancel_query(NoTls).await.unwrap();
        }
    };
    let (row, ()) = tokio::join!(running, canceller);
    assert_eq!(row.unwrap().get::<_, i32>(1), 7);
    let running = async { sqlstate(&client.query("SELECT pg_sleep(60)", &[]).await.unwrap_err()) };
    let canceller = async {
        loop {
            cancel.cancel_query(NoTls).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let code = tokio::select! { code = running => code, () = canceller => unreachable!() };
    assert_eq!(code, "57014");
    // A cancel of its own may still be on its way.
    assert_eq!(eventually(|| async { ask(&client, COUNT).await.ok() }).await, "5");
}

/// The token of a backend's request, of the other purpose, and a session that began with a token which has ended since.
#[tokio::test]
async fn a_pooled_session_outlives_the_token_it_began_with() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut config = world.through(&guard, &world.acme);
    config.password(world.token_of(&world.acme, &world.acme.access_with(1, |_| ())));
    let client = crate::fixture::connect(&config).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let access = world.globex.access();
    let permit = world.globex.permit_of(&access);
    let reference = ringfence_context::Reference::new("txn-2").unwrap();
    let route = "GET /accounts";
    let txn = world.signer.mint(&permit, Purpose::Request, route, reference, crate::fixture::now()).unwrap();
    assert_eq!(give(&client, "globex", &format!("{access}~{txn}")).await.as_deref(), Ok("globex"));
    assert_eq!(ask(&client, COUNT).await.unwrap(), "5");
}
