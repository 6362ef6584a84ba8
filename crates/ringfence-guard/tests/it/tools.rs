//! The tools everyone has: psql and pgbench, through the guard.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use ringfence_guard::Binaries;

use crate::fixture::{CANARY, Running, Tenant, World, scratch};

async fn run(
    world: &World,
    guard: &Running,
    tenant: &Tenant,
    program: &str,
    arguments: &[&str],
    input: &str,
    environment: &[(&str, &str)],
) -> Output {
    let mut command = Command::new(Binaries::find(None).unwrap().program(program));
    command.env("PGPASSWORD", world.token(tenant)).env("PGAPPNAME", "ringfence:psql-1");
    command.env("PGHOST", "127.0.0.1").env("PGPORT", guard.port.to_string());
    command.env("PGUSER", tenant.id.as_str()).env("PGDATABASE", world.database.as_str());
    command.envs(environment.iter().copied());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let work = move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_sees_its_tenant_and_copies_both_ways() {
    let world = World::new().await;
    let guard = world.guard().await;
    let script = "
        \\d accounts
        SELECT owner FROM accounts;
        \\copy staging FROM stdin
acme\t60\tcopied\t1
\\.
        \\copy (SELECT 'out of ' || owner FROM staging WHERE id = 60) TO pstdout
        BEGIN; SELECT ringfence.tenant_id(); SAVEPOINT s; SELECT 1/0; ROLLBACK TO s; SELECT 'after'; COMMIT;
        SELECT count(*) + 100 FROM accounts;";
    let output = run(&world, &guard, &world.acme, "psql", &["-X", "-A", "-t", "-f", "-"], script, &[]).await;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for part in ["acme-1", "COPY 1\n", "out of copied\n", "\nacme\n", "after\n", "103\n"] {
        assert!(out.contains(part), "{part}: {out}\n{err}");
    }
    assert!(!out.contains(CANARY) && err.contains("division by zero"), "{out}\n{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_reads_why_it_is_turned_away() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut impostor = Tenant::new("acme");
    impostor.id = world.globex.id.clone();
    let output = run(&world, &guard, &Tenant::new("initech"), "psql", &["-c", "SELECT 1"], "", &[]).await;
    let err = String::from_utf8_lossy(&output.stderr);
    for part in
        ["FATAL", "The token does not verify.", "layer=guard reason=token_invalid reference=psql-1", "HINT"]
    {
        assert!(err.contains(part), "{part}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_in_every_query_mode() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 4).await;
    let script = scratch("script").join("bench.sql");
    std::fs::write(&script, "\\set id random(1, 3)\nSELECT owner FROM accounts WHERE id = :id;\n").unwrap();
    let script = script.display().to_string();
    for mode in ["simple", "extended", "prepared"] {
        let arguments = ["-n", "-M", mode, "-c", "4", "-t", "50", "-f", &script];
        let output = run(&world, &guard, &world.acme, "pgbench", &arguments, "", &[]).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("200/200"), "{mode}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// As libpq says it, with and without a name, for each transaction of four clients and for two tenants.
#[tokio::test(flavor = "multi_thread")]
async fn pgbench_gives_a_token_for_each_transaction() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 4).await;
    let script = scratch("tokens").join("tokens.sql");
    let turn = |tenant: &str, rows: usize| {
        format!(
            "SELECT ringfence.token_use(:{tenant}, :{tenant}_token);\nBEGIN;\n\
             SELECT 1 / (count(*) = {rows} AND ringfence.tenant_id() = :{tenant})::int FROM accounts;\nCOMMIT;\n"
        )
    };
    std::fs::write(&script, [turn("acme", 3), turn("globex", 5)].concat()).unwrap();
    let script = script.display().to_string();
    let given = |tenant: &Tenant| {
        [format!("{0}={0}", tenant.id), format!("{}_token={}", tenant.id, world.token(tenant))]
    };
    let [acme, acme_token] = given(&world.acme);
    let [globex, globex_token] = given(&world.globex);
    for mode in ["extended", "prepared"] {
        let named = ["-D", &acme, "-D", &acme_token, "-D", &globex, "-D", &globex_token];
        let arguments = [&["-n", "-M", mode, "-c", "4", "-t", "25", "-f", &script][..], &named].concat();
        let output = run(&world, &guard, &world.acme, "pgbench", &arguments, "", &[]).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("100/100"), "{mode}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_given_at_start_up_follow_their_client() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let show = async |zone: &'static str| {
        let environment = [("PGTZ", zone), ("PGDATESTYLE", "German")];
        let sql = "SELECT current_setting('TimeZone'), date '2001-02-03'";
        let output =
            run(&world, &guard, &world.acme, "psql", &["-X", "-A", "-t", "-c", sql], "", &environment).await;
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8(both).unwrap().trim().to_owned()
    };
    let other = world.client(&guard, &world.globex).await;
    for zone in ["Asia/Tokyo", "Europe/Paris"] {
        assert_eq!(show(zone).await, format!("{zone}|03.02.2001"));
        assert_eq!(crate::fixture::ask(&other, "SHOW TimeZone").await.unwrap(), "UTC");
    }
    let refused = show("Nowhere").await;
    assert!(refused.contains("did not accept a start-up parameter"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_goes_back_to_what_the_client_began_with() {
    let world = World::new().await;
    let guard = world.guard().await;
    let script = "SET TimeZone = 'UTC'; RESET TimeZone; SHOW TimeZone;\nDISCARD ALL;\nSHOW TimeZone;\n\
        BEGIN; SET LOCAL TimeZone = 'UTC'; COMMIT; SHOW TimeZone;\nSHOW DateStyle;\n";
    let environment = [("PGTZ", "Asia/Tokyo"), ("PGDATESTYLE", "German")];
    let output = run(&world, &guard, &world.acme, "psql", &["-XAtq"], script, &environment).await;
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(said, "Asia/Tokyo\nAsia/Tokyo\nAsia/Tokyo\nGerman, DMY\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_another_kind_of_connection_each_time_pays_with_its_own() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let globex = world.client(&guard, &world.globex).await;
    let backend = async || crate::fixture::ask(&globex, "SELECT pg_backend_pid()").await.unwrap();
    let before = backend().await;
    for zone in ["Asia/Tokyo", "Europe/Paris", "Africa/Lagos", "America/Lima"] {
        let (arguments, environment) = (["-XAt", "-c", "SHOW TimeZone"], [("PGTZ", zone)]);
        let output = run(&world, &guard, &world.acme, "psql", &arguments, "", &environment).await;
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), zone);
        assert_eq!(backend().await, before, "its connection was not closed for another tenant's");
    }
}

/// What `pg_dump` says as a tenant: what it dumps, or why it does not.
async fn dump(world: &World, guard: &Running, tenant: &Tenant, arguments: &[&str]) -> Result<String, String> {
    let output = run(world, guard, tenant, "pg_dump", arguments, "", &[]).await;
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if output.status.success() { Ok(out) } else { Err(err) }
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_dump_dumps_one_tenants_rows() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let tables = ["--data-only", "-t", "accounts", "-t", "payments"];
    for (tenant, own, foreign, rows) in
        [(&world.acme, "acme", "globex", 3), (&world.globex, "globex", "acme", 5)]
    {
        let refused = dump(&world, &guard, tenant, &tables).await.unwrap_err();
        assert!(refused.contains("would be affected by row-level security policy"), "{refused}");
        for how in [
            &[][..],
            &["--inserts"],
            &["--column-inserts", "--rows-per-insert=2"],
            &["--serializable-deferrable"],
        ] {
            let arguments = [&["--enable-row-security"], how, &tables].concat();
            let dumped = dump(&world, &guard, tenant, &arguments).await.unwrap();
            assert_eq!(
                dumped.matches(&format!("{own}-1")).count(),
                if own == "acme" { 2 } else { 0 },
                "{dumped}"
            );
            assert_eq!(dumped.matches(CANARY).count(), if own == "acme" { 0 } else { 2 * rows }, "{dumped}");
            assert!(!dumped.contains(foreign), "{how:?}: {dumped}");
        }
    }
    // The last of them leaves nothing to who has the connection next.
    let after = world.client(&guard, &world.acme).await;
    assert_eq!(crate::fixture::ask(&after, "SHOW row_security").await.unwrap(), "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pg_dump_dumps_goes_back_in() {
    let world = World::new().await;
    let guard = world.guard().await;
    let ours = dump(&world, &guard, &world.acme, &["--enable-row-security"]).await.unwrap_err();
    assert!(ours.contains("permission denied for table"), "what the guard has installed is nobody's: {ours}");
    let arguments = ["--enable-row-security", "--exclude-schema=ringfence"];
    let whole = dump(&world, &guard, &world.acme, &arguments).await.unwrap();
    assert!(whole.contains("CREATE TABLE public.accounts") && whole.contains("acme-1"), "{whole}");
    assert!(whole.contains("ROW LEVEL SECURITY") && !whole.contains(CANARY), "{whole}");
    let arguments = ["--enable-row-security", "--data-only", "--inserts", "-t", "payments"];
    let payments = dump(&world, &guard, &world.acme, &arguments).await.unwrap();
    let copied =
        dump(&world, &guard, &world.acme, &[&arguments[..2], &arguments[3..]].concat()).await.unwrap();
    let client = world.client(&guard, &world.acme).await;
    let count = "SELECT count(*), sum(amount) FROM payments";
    let before = crate::fixture::ask(&client, count).await.unwrap();
    crate::fixture::ask(&client, "DELETE FROM payments").await.unwrap();
    let (foreign, restore) = (payments.replace("'acme'", "'globex'"), ["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
    let refused = run(&world, &guard, &world.acme, "psql", &restore, &foreign, &[]).await;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("violates row-level security policy"), "{error}");
    let refused = run(&world, &guard, &world.acme, "psql", &restore, &copied, &[]).await;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("COPY FROM not supported with row-level security"), "{error}");
    let restored = run(&world, &guard, &world.acme, "psql", &restore, &payments, &[]).await;
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(crate::fixture::ask(&client, count).await.unwrap(), before);
}
