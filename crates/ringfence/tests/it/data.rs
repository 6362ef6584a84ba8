//! `ringfence data`, on a database that is not Ringfence's own.

use std::{
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    cluster::Cluster,
    process,
    program::{complaint, path, run, said, scratch, start, started_as},
};

const SCHEMA: &str =
    "CREATE ROLE shop LOGIN; CREATE TABLE orders (tenant_id text NOT NULL, mail text UNIQUE);
    GRANT SELECT ON orders TO shop;";

#[test]
fn a_database_is_looked_over_and_what_is_found_said_in_each_form() {
    let cluster = Cluster::start(scratch("lint"), &["shop"]);
    let dsn = format!("host={} user=postgres dbname=shop", cluster.socket());
    let psql = Command::new("psql").args(["--quiet", "--dbname", &dsn, "--command", SCHEMA]).status();
    assert!(psql.unwrap().success());
    let lint = |more: &[&str]| run(&[&["data", "lint", &dsn], more].concat());

    let text = lint(&[]);
    assert_eq!(text.status.code(), Some(1), "an error makes it fail");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("error DL101 row-security-off: "), "{text}");
    assert!(
        text.contains("\n    public.orders: row security is off\n        ALTER TABLE public.orders ENABLE"),
        "{text}"
    );
    assert!(
        text.ends_with("1 tables know a tenant by tenant_id; the application logs in as shop.\n"),
        "{text}"
    );

    let json: Value =
        serde_json::from_str(&said(&lint(&["--format", "json", "--fail-on", "never"]))).unwrap();
    let found: Vec<_> =
        json["found"].as_array().unwrap().iter().map(|found| found["rule"]["id"].as_str().unwrap()).collect();
    assert!(found.contains(&"DL101") && found.contains(&"DL401"), "{found:?}");
    let sarif: Value =
        serde_json::from_str(&said(&lint(&["--format", "sarif", "--fail-on", "never"]))).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(results.iter().all(|result| rules.iter().any(|rule| rule["id"] == result["ruleId"])));
    let listed: Value =
        serde_json::from_str(&said(&run(&["data", "lint", "--rules", "--format", "json"]))).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), rules.len());

    // What it says mends it is run as it is printed.
    let sql = said(&lint(&["--format", "sql", "--fail-on", "never"]));
    let mended: String = sql.split("\n\n").filter(|part| part.contains("DL101")).collect();
    assert!(
        Command::new("psql")
            .args(["--quiet", "--dbname", &dsn, "--command", &mended])
            .status()
            .unwrap()
            .success()
    );
    assert!(!String::from_utf8(lint(&[]).stdout).unwrap().contains("DL101"));

    assert!(complaint(&lint(&["--role", "nobody-here"])).contains("there is no role \"nobody-here\""));
    assert!(complaint(&lint(&["--tenant-column", "region"])).contains("no table has a column region"));
}

#[test]
fn which_tables_belong_to_tenants_is_told_with_its_evidence() {
    let cluster = Cluster::start(scratch("adopt"), &["shop"]);
    let dsn = format!("host={} user=postgres dbname=shop", cluster.socket());
    let schema = "CREATE TABLE organizations (id bigserial PRIMARY KEY);
        CREATE TABLE orders (id bigserial PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations);
        CREATE TABLE lines (id bigserial PRIMARY KEY, order_id bigint REFERENCES orders, product_id bigint NOT NULL, n int, price int, t text);
        CREATE TABLE products (id bigserial PRIMARY KEY, organization_id bigint);
        CREATE TABLE schema_migrations (version text)";
    let psql = Command::new("psql").args(["--quiet", "--dbname", &dsn, "--command", schema]).status();
    assert!(psql.unwrap().success());
    let adopt = |more: &[&str]| run(&[&["data", "adopt", &dsn], more].concat());
    let text = said(&adopt(&["--root", "organizations", "--report"]));
    assert!(
        text.contains(
            "  public.orders\n      public.orders.organization_id -> public.organizations (foreign key orders_organization_id_fkey)\n"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "public.products.organization_id -> public.organizations (by its name only, may be NULL)"
        ),
        "{text}"
    );
    assert!(text.contains("a row that points at nothing is nobody's"), "{text}");
    assert!(text.ends_with("3 tables of tenants, 1 shared, 0 to be decided.\n"), "{text}");
    let json: Value =
        serde_json::from_str(&said(&adopt(&["--root", "organizations", "--report", "--json"]))).unwrap();
    assert_eq!(json["root"], "public.organizations");
    assert_eq!(json["tables"]["public.lines"]["is"], "through");
    assert_eq!(json["tables"]["public.schema_migrations"]["is"], "framework");
    assert!(complaint(&adopt(&["--root", "nothing", "--report"])).contains("there is no table \"nothing\""));
}

#[test]
fn a_migration_is_written_run_and_undone() {
    let cluster = Cluster::start(scratch("adopt-out"), &["shop"]);
    let dsn = format!("host={} user=postgres dbname=shop", cluster.socket());
    let psql = |more: &[&str]| {
        Command::new("psql").args(["--quiet", "--no-psqlrc", "--dbname", &dsn]).args(more).output().unwrap()
    };
    let schema = "CREATE TABLE organizations (id bigserial PRIMARY KEY);
        CREATE TABLE orders (id bigserial PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, number int UNIQUE);
        CREATE TABLE gifts (id int PRIMARY KEY, from_id bigint REFERENCES organizations, to_id bigint REFERENCES organizations);
        CREATE TABLE notes (id int PRIMARY KEY);
        INSERT INTO organizations VALUES (1), (2);
        INSERT INTO orders VALUES (7, 2, 70)";
    assert!(psql(&["--command", schema]).status.success());
    let adopt = |more: &[&str]| run(&[&["data", "adopt", &dsn, "--root", "organizations"], more].concat());
    let told = complaint(&adopt(&[]));
    assert!(told.contains("public.gifts: its foreign key gifts_from_id_fkey points at"), "{told}");
    let decided = ["--belongs", "gifts.from_id", "--drop-key", "gifts.to_id"];
    let text = said(&adopt(&decided));
    assert!(text.contains("3 tables are protected, in 7 stages:"), "{text}");
    assert!(
        text.contains("left UNPROTECTED") && text.contains("public.notes: nothing leads from it"),
        "{text}"
    );
    assert!(text.contains("where statements say ON CONFLICT (number), say (tenant_id, number)"), "{text}");
    assert!(text.ends_with("name a folder for the migration with --out.\n"), "{text}");
    let json: Value = serde_json::from_str(&said(&adopt(&[&decided[..], &["--json"]].concat()))).unwrap();
    assert_eq!(json["tenant_from"], "'t-' || \"id\"");
    assert_eq!(json["stages"][0]["name"], "expand");
    let swapped = json["stages"][5]["statements"].as_array().unwrap();
    assert!(swapped.iter().any(|one| one["sql"].as_str().unwrap().contains("RENAME CONSTRAINT")));

    let folder = scratch("adopt-out-files").join("migration");
    let out = folder.display().to_string();
    let text = said(&adopt(&[&decided[..], &["--out", &out]].concat()));
    assert!(text.ends_with("begin with README.md.\n"), "{text}");
    let again = complaint(&adopt(&[&decided[..], &["--out", &out]].concat()));
    assert!(again.contains("the folder is not empty"), "{again}");
    let went = |file: &str| {
        let output = psql(&["--file", &folder.join(file).display().to_string()]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for file in ["1-expand", "2-backfill", "3-check", "4-indexes", "5-constraints", "6-swap"] {
        let (went, told) = went(&format!("{file}.sql"));
        assert!(went, "{file}: {told}");
    }
    let owner = psql(&["--tuples-only", "--no-align", "--command", "SELECT tenant_id FROM orders"]);
    assert_eq!(String::from_utf8_lossy(&owner.stdout), "t-2\n");
    let (protected, told) = went("7-protect.sql");
    assert!(!protected && told.contains("Ringfence is not installed in this database"), "{told}");
    for file in ["6-swap", "5-constraints", "4-indexes", "1-expand"] {
        let (went, told) = went(&format!("undo/{file}.sql"));
        assert!(went, "{file}: {told}");
    }
    assert!(!psql(&["--command", "SELECT tenant_id FROM orders"]).status.success());
}

#[test]
fn a_schema_in_a_file_is_looked_at_and_nothing_stays_of_it() {
    let file = scratch("structure").join("structure.sql");
    let schema = "CREATE TABLE public.tenants (id bigint PRIMARY KEY);
        CREATE TABLE public.orders (id bigint PRIMARY KEY, tenant_id bigint NOT NULL REFERENCES public.tenants);";
    std::fs::write(&file, schema).unwrap();
    let file = file.display().to_string();
    // A folder of the test's own, to see what stays.
    let folder = scratch("structure-temp");
    let ran = |arguments: &[&str]| {
        let mut command = Command::new(path());
        command
            .args(["data"])
            .args(arguments)
            .args(["--structure", &file])
            .env("TMPDIR", &folder)
            .output()
            .unwrap()
    };
    let text = said(&ran(&["adopt", "--root", "tenants", "--report"]));
    assert!(text.ends_with("1 tables of tenants, 0 shared, 0 to be decided.\n"), "{text}");
    let text = said(&ran(&["lint", "--fail-on", "never"]));
    assert!(text.contains("no role that the application could log in as was found"), "{text}");
    std::fs::write(&file, "CREATE TABLE (\n").unwrap();
    assert!(complaint(&ran(&["lint"])).contains("line 1: syntax error"));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn the_name_of_a_database_is_said_without_its_password() {
    for dsn in [
        "postgres://a:hunter2@127.0.0.1:1/x",
        "postgres://a:hunter2@[::/x",
        "host=/nowhere password=hunter2 user=a",
    ] {
        let said = complaint(&run(&["data", "lint", dsn]));
        assert!(!said.contains("hunter2"), "{said}");
    }
    let unasked = complaint(&run(&["data", "lint", "host=localhost user=a", "--ca-file", "/dev/null"]));
    assert!(unasked.contains("sslmode=require"), "{unasked}");
}

#[test]
fn a_reader_who_has_enough_is_no_fault_and_a_full_disk_is() {
    let rules = || {
        let mut command = Command::new(path());
        command.args(["data", "lint", "--rules"]).stderr(Stdio::piped());
        command
    };
    // A reader that is gone before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = rules().stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = rules().stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("can't be written"));
}

#[test]
fn a_database_is_proved_and_what_leaks_is_shown() {
    let cluster = Cluster::start(scratch("data-prove"), &["shop"]);
    let dsn = format!("host={} user=postgres dbname=shop", cluster.socket());
    let schema = "CREATE ROLE shop LOGIN; CREATE TABLE orders (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id));
        CREATE TABLE notes (tenant_id text NOT NULL, words text); ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON orders USING (tenant_id = current_setting('shop.tenant'));
        GRANT SELECT, INSERT ON orders, notes TO shop;";
    let psql =
        |sql: &str| Command::new("psql").args(["--quiet", "--dbname", &dsn, "--command", sql]).status();
    assert!(psql(schema).unwrap().success());
    let prove = |more: &[&str]| run(&[&["data", "prove", &dsn], more].concat());

    let text = prove(&[]);
    assert_eq!(text.status.code(), Some(1), "a leak makes it fail");
    let text = String::from_utf8(text.stdout).unwrap();
    // read, find, insert, unique
    assert!(text.contains("\npublic.notes   L L L\n"), "{text}");
    assert!(text.contains("\npublic.orders  · · · ·\n"), "{text}");
    assert!(
        text.contains(
            "    find public.notes: the other tenant's row is found\n        SELECT FROM public.notes"
        ),
        "{text}"
    );
    assert!(text.contains("claim the session: whoever gets to run a statement"), "{text}");
    assert!(text.ends_with("All of it was rolled back.\n"), "{text}");

    let json: Value = serde_json::from_str(&said(&prove(&["--json", "--fail-on", "never"]))).unwrap();
    assert_eq!(json["planted"], serde_json::json!(["public.notes", "public.orders"]));
    let leaks = json["tries"].as_array().unwrap().iter().filter(|one| one["outcome"] == "leak");
    assert_eq!(leaks.count(), 8);

    // Who can't say who it is can't be who it is not.
    let mended = "ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON notes USING (tenant_id = current_role);";
    assert!(psql(mended).unwrap().success());
    let said_so = complaint(&prove(&["--as", "SELECT 1"]));
    assert!(said_so.contains("none of that tenant's own rows"), "{said_so}");
    assert!(complaint(&prove(&["--role", "nobody-here"])).contains("there is no role \"nobody-here\""));
}

#[test]
fn an_interrupt_leaves_nothing() {
    let folder = scratch("interrupt");
    let file = folder.join("structure.sql");
    std::fs::write(&file, "CREATE TABLE tenants (id int); SELECT pg_sleep(600);").unwrap();
    let temporary = folder.join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = started_as();
    command.env("TMPDIR", &temporary).args(["data", "lint", "--structure", &file.display().to_string()]);
    let mut child = start(command);
    let made = || std::fs::read_dir(&temporary).unwrap().next().map(|entry| entry.unwrap().path());
    let pid = || std::fs::read_to_string(made()?.join("data/postmaster.pid")).ok();
    let pid = process::until("its Postgres runs", 30, || pid().filter(|text| text.contains("ready")));
    let postgres = std::path::Path::new("/proc").join(pid.lines().next().unwrap());
    assert!(postgres.exists());
    process::signal(child.id(), "INT");
    assert!(!child.wait().unwrap().success());
    assert_eq!(made(), None);
    assert!(!postgres.exists());
}
