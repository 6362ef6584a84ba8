//! A schema as applications have them is migrated while it is used, as a user would do it, and brought back to the letter.

mod wide;

use std::{fs, sync::Arc};

use ringfence_guard::adopt::{Belonging, Decisions, PlanError, plan, report};

use crate::{
    adopted::{APPLICATION, Adopted, OWNERS, STAGES, UNDO, Writer, assert_same, count},
    fixture::{ask, fails},
};

/// What relies on a constraint's being looked at in the end.
const MOVES: &str = "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE places SET place = place + 2; COMMIT";

#[tokio::test]
async fn a_schema_is_migrated_while_it_is_used_and_brought_back_to_the_letter() {
    let adopted = Arc::new(Adopted::new(APPLICATION).await);
    let world = &adopted.world;
    let grants = "GRANT SELECT ON users TO reporter; GRANT SELECT (id, name), UPDATE (name) ON projects TO reporter, PUBLIC;
        GRANT SELECT ON tasks TO PUBLIC; REVOKE DELETE ON tasks FROM PUBLIC; ALTER TABLE tasks OWNER TO reporter;
        ALTER TABLE exports ENABLE ROW LEVEL SECURITY; CREATE POLICY \"all of it\" ON exports USING (true);
        ALTER TABLE comments FORCE ROW LEVEL SECURITY; ALTER TABLE comments OWNER TO reporter; GRANT USAGE ON SCHEMA public TO reporter";
    world.admin.batch_execute(grants).await.unwrap();
    let before = adopted.dump();
    let migration = adopted.write().await;
    let tables: Vec<_> = OWNERS.iter().map(|(table, _)| *table).collect();
    assert_eq!(migration.tables.len(), tables.len(), "{:?}", migration.tables);
    assert!(migration.shared.contains(&"public.plans".to_owned()));
    assert!(migration.undecided.contains_key("public.holidays"));

    let writer = Writer::start(Arc::clone(&adopted), 2);
    for stage in STAGES {
        adopted.run(stage).await;
        let once = adopted.dump();
        adopted.run(stage).await;
        assert_eq!(adopted.dump(), once, "{stage} again changes nothing");
        world.admin.batch_execute(MOVES).await.unwrap();
    }
    let rounds = writer.stop().await;
    assert!(rounds > 12, "it wrote {rounds} times");
    adopted.assert_owned().await;
    let updates = count(&world.admin, "tasks WHERE title LIKE 'globex%' AND updates > 0").await;
    assert_eq!(updates, 0, "no trigger of the application's took part");
    let protected = count(&world.admin, "ringfence.protected").await;
    assert_eq!(protected, i64::try_from(tables.len()).unwrap());
    adopted.assert_protected().await;
    let left = "SELECT i.indexrelid::regclass FROM pg_index i JOIN ringfence.protected p ON p.relation = i.indrelid
        WHERE pg_get_indexdef(i.indexrelid) !~ '(btree|gin) \\((ringfence_tenant|tenant_id|to_tsvector)' ORDER BY 1";
    assert_eq!(ask(&world.admin, left).await.unwrap(), "comments_hashed", "of all tenants");
    assert!(migration.changes.iter().any(|told| told.contains("the index comments_hashed is no btree")));

    // What the application does not write to.
    let counts = || async { adopted.counts(&["comments", "exports", "places", "invoices"]).await };
    let had = counts().await;
    let writer = Writer::start(Arc::clone(&adopted), 1_000_000);
    for undo in UNDO {
        adopted.run(undo).await;
        let once = adopted.dump();
        adopted.run(undo).await;
        assert_eq!(adopted.dump(), once, "{undo} again changes nothing");
    }
    assert!(writer.stop().await > 1_000_010);
    assert_same(&adopted.dump(), &before);
    assert_eq!(counts().await, had);
    // And there again, and all of it once more.
    for stage in STAGES {
        adopted.run(stage).await;
    }
    let once = adopted.dump();
    for stage in STAGES {
        adopted.run(stage).await;
    }
    assert_same(&adopted.dump(), &once);
    adopted.assert_owned().await;
}

/// A file that is ended while it waits.
struct Cut<'a> {
    /// What is run before it.
    first: &'a [&'a str],
    file: &'a str,
    /// What somebody else does meanwhile.
    held: &'a str,
    /// How it is known that it waits.
    state: &'a str,
    /// What is run before it is run again.
    then: &'a [&'a str],
}

const THERE: [&str; 3] = ["4-indexes.sql", "5-constraints.sql", "6-swap.sql"];

#[tokio::test]
async fn a_stage_that_was_cut_off_is_run_again() {
    let adopted = Adopted::new(APPLICATION).await;
    let world = &adopted.world;
    adopted.write().await;
    let before = adopted.dump();
    let other = world.superuser().await;
    let hold = async |sql: &str| other.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
    let release = async || other.batch_execute("ROLLBACK").await.unwrap();
    let reads = "SELECT FROM tasks LIMIT 1";
    let writes = "UPDATE tasks SET title = title WHERE id = 78";
    let (asleep, locked) = ("wait_event = 'PgSleep'", "wait_event_type = 'Lock'");
    let cut = |file, held, state| Cut { first: &[], file, held, state, then: &[] };
    let cuts = [
        cut("1-expand.sql", reads, asleep),
        cut("2-backfill.sql", "SELECT FROM tasks WHERE id = 77 FOR UPDATE", asleep),
        Cut { first: &["3-check.sql"], ..cut("4-indexes.sql", writes, locked) },
        cut("5-constraints.sql", reads, asleep),
        cut("6-swap.sql", reads, asleep),
        cut("7-protect.sql", reads, asleep),
        cut("undo/7-protect.sql", reads, asleep),
        // Neither here nor there, and from there both ways.
        Cut { then: &["6-swap.sql", "undo/6-swap.sql"], ..cut("undo/6-swap.sql", writes, locked) },
        Cut { first: &THERE, then: &THERE[..2], ..cut("undo/6-swap.sql", reads, asleep) },
        Cut {
            first: &["undo/5-constraints.sql", "undo/4-indexes.sql"],
            ..cut("undo/1-expand.sql", reads, asleep)
        },
    ];
    for Cut { first, file, held, state, then } in cuts {
        for file in first {
            adopted.run(file).await;
        }
        hold(held).await;
        adopted.kill(file, state).await;
        release().await;
        for file in then {
            adopted.run(file).await;
        }
        adopted.run(file).await;
        if file == "7-protect.sql" {
            adopted.assert_owned().await;
            adopted.assert_protected().await;
        }
    }
    assert_same(&adopted.dump(), &before);
}

#[tokio::test]
async fn who_holds_one_table_and_wants_another_is_no_deadlocks_victim() {
    let adopted = Adopted::new(APPLICATION).await;
    adopted.write().await;
    for stage in ["1-expand.sql", "2-backfill.sql", "3-check.sql", "4-indexes.sql"] {
        adopted.run(stage).await;
    }
    let client = adopted.world.superuser().await;
    for stage in ["5-constraints.sql", "6-swap.sql"] {
        let mut stage = adopted.start(stage);
        let mut met = 0;
        while stage.try_wait().unwrap().is_none() {
            client
                .batch_execute("BEGIN; UPDATE projects SET name = name WHERE name = 'acme1'")
                .await
                .unwrap();
            // As soon as it waits, most often for this very table, with another in its hand.
            let waits = count(&client, "pg_stat_activity WHERE application_name = 'psql' AND datname = current_database() AND wait_event_type = 'Lock'").await;
            met += waits;
            client.batch_execute("UPDATE tasks SET title = title WHERE id = 1; COMMIT").await.unwrap();
        }
        assert!(stage.wait().unwrap().success());
        assert!(met > 0, "it waited at times");
    }
}

#[tokio::test]
async fn reject_rows_that_are_nobodys_or_of_two_tenants_and_name_them() {
    let adopted = Adopted::new(APPLICATION).await;
    adopted.write().await;
    adopted.run("1-expand.sql").await;
    adopted.run("2-backfill.sql").await;
    let told =
        fails(&adopted.world.admin, "INSERT INTO organizations (slug, plan_id) VALUES ('Not An Id', 1)")
            .await;
    assert_eq!(told, "23000", "what is no tenant's id is refused at once");
    let moved = "UPDATE projects SET organization_id = 2 WHERE organization_id = 1";
    assert_eq!(fails(&adopted.world.admin, moved).await, "23000", "and who would go over to another");
    let (went, said) = adopted.psql("4-indexes.sql").await;
    assert!(!went && said.contains("have not passed the check"), "{said}");
    adopted.run("3-check.sql").await;
    let theirs = "(SELECT id FROM users WHERE organization_id = 2 LIMIT 1)";
    for (wrong, right, named) in [
        (
            format!("UPDATE tasks SET assignee = {theirs} WHERE id = 5"),
            "UPDATE tasks SET assignee = NULL WHERE id = 5",
            "public.tasks: by its foreign key tasks_assignee_fkey of another tenant",
        ),
        (
            "INSERT INTO comments (id, text) VALUES (77, 'whose?')".to_owned(),
            "UPDATE comments SET tenant_id = 'globex' WHERE id = 77",
            "public.comments: nobody's",
        ),
        (
            "INSERT INTO shipments (id, project_id) VALUES (77, gen_random_uuid())".to_owned(),
            "DELETE FROM shipments WHERE id = 77",
            "public.shipments: its project_id points at no row of public.projects",
        ),
        (
            "UPDATE projects SET parent_id = (SELECT id FROM projects WHERE organization_id = 2 LIMIT 1) WHERE name = 'acme1'".to_owned(),
            "UPDATE projects SET parent_id = NULL WHERE name = 'acme1'",
            "public.projects: by its foreign key projects_parent_id_fkey",
        ),
    ] {
        adopted.world.admin.batch_execute(&wrong).await.unwrap();
        let (went, said) = adopted.psql("3-check.sql").await;
        assert!(!went && said.contains(named) && said.contains("See them: SELECT"), "{named}: {said}");
        assert!(!adopted.psql("4-indexes.sql").await.0, "and nothing goes on from there");
        adopted.world.admin.batch_execute(right).await.unwrap();
        adopted.run("3-check.sql").await;
    }
    // Two tenants are not called the same.
    let two = "ALTER TABLE organizations DROP CONSTRAINT organizations_slug_key CASCADE;
        INSERT INTO organizations (slug, plan_id) VALUES ('acme', 1)";
    adopted.world.admin.batch_execute(two).await.unwrap();
    let (went, said) = adopted.psql("3-check.sql").await;
    assert!(!went && said.contains("public.organizations: it has the tenant's id of another row"), "{said}");
}

const UNDECIDED: &str = "
DROP TABLE payments, accounts, staging;
DELETE FROM ringfence.protected;
CREATE TABLE organizations (id bigint PRIMARY KEY, slug text NOT NULL);
CREATE TABLE users (id int PRIMARY KEY, home bigint NOT NULL);
CREATE TABLE memberships (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, organization_id bigint NOT NULL REFERENCES organizations);
CREATE TABLE sessions (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
CREATE TABLE transfers (id int PRIMARY KEY, from_id bigint NOT NULL REFERENCES organizations, to_id bigint NOT NULL REFERENCES organizations);
CREATE TABLE notes (id int PRIMARY KEY, about_type text, about_id int);
CREATE TABLE events (id int, organization_id bigint NOT NULL, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE metrics (id int PRIMARY KEY, tenant_id bigint NOT NULL, organization_id bigint NOT NULL);
CREATE TABLE rooms (id int PRIMARY KEY, organization_id bigint NOT NULL, during tsrange, EXCLUDE USING gist (during WITH &&));
CREATE TABLE ledgers (id int PRIMARY KEY, tenant_id text);
CREATE TABLE reports (id int PRIMARY KEY, organization_id bigint NOT NULL, name text);
CREATE VIEW shown AS SELECT id, name, count(*) FROM reports GROUP BY id;
INSERT INTO organizations VALUES (1, 'acme'), (2, 'globex');
INSERT INTO users VALUES (1, 1), (2, 2);
INSERT INTO memberships VALUES (1, 1, 1), (2, 2, 2);
INSERT INTO sessions VALUES (1, 1), (2, 2);
INSERT INTO transfers VALUES (1, 1, 2);
INSERT INTO ledgers VALUES (1, 'globex');";

#[tokio::test]
async fn what_is_not_known_is_decided_by_the_operator_or_left_alone_and_said() {
    let adopted = Adopted::new(UNDECIDED).await;
    let before = adopted.dump();
    let said = |said: &[&str]| said.iter().map(|said| (*said).to_owned()).collect::<Vec<_>>();
    let told = adopted.plan(&Decisions::default()).await.unwrap_err().to_string();
    assert!(told.contains("public.transfers: its foreign key transfers_from_id_fkey"), "{told}");
    assert!(
        told.contains("several columns name a tenant (from_id; to_id)") && told.contains("--drop-key"),
        "{told}"
    );

    let inferred =
        report(&mut adopted.world.superuser().await, "organizations", &Decisions::default()).await.unwrap();
    assert!(
        matches!(&inferred.tables["public.ledgers"], Belonging::Undecided { why } if why.contains("--belongs"))
    );

    let decisions = Decisions {
        shared: Vec::new(),
        belongs: said(&["users.home", "transfers.from_id", "ledgers.tenant_id"]),
        dropped: said(&["transfers.to_id"]),
        column: Some("tenant_id".to_owned()),
    };
    let migration = adopted.plan(&decisions).await.unwrap();
    let tables = ["organizations", "ledgers", "memberships", "transfers", "users", "sessions"]
        .map(|name| format!("public.{name}"));
    assert_eq!(migration.tables, tables);
    let why = |table: &str| migration.undecided[&format!("public.{table}")].as_str();
    assert!(why("notes").contains("about_type and about_id"));
    assert!(why("events").contains("partitioned"));
    assert!(why("metrics").contains("tenant_id of type bigint") && why("metrics").contains("RENAME COLUMN"));
    assert!(why("rooms").contains("exclusion constraint"));
    assert!(why("reports").contains("the view public.shown groups by its key"));
    let readme = migration.files()[0].1.clone();
    assert!(readme.contains("must not reach them") && readme.contains("`public.notes`"), "{readme}");
    assert!(readme.contains("the foreign key transfers_to_id_fkey goes"), "{readme}");

    migration.write(&adopted.folder).unwrap();
    assert!(migration.write(&adopted.folder).is_err(), "what is written is not written over");
    let mut said = String::new();
    for stage in STAGES {
        said = adopted.run(stage).await;
    }
    assert!(said.contains("reached_and_not_protected") && said.contains(" public.notes\n"), "{said}");
    let owners = "SELECT string_agg(DISTINCT tenant_id, ' ') FROM";
    for (table, owner) in [("transfers", "acme"), ("sessions", "acme globex"), ("memberships", "acme globex")]
    {
        assert_eq!(ask(&adopted.world.admin, &format!("{owners} {table}")).await.unwrap(), owner);
    }
    for undo in UNDO {
        adopted.run(undo).await;
    }
    assert_same(&adopted.dump(), &before);
}

#[tokio::test]
async fn tenants_are_named_after_their_key_or_as_is_said() {
    let adopted = Adopted::new(UNDECIDED).await;
    let mut client = adopted.world.superuser().await;
    let decisions = Decisions {
        shared: vec!["users".to_owned(), "notes".to_owned()],
        belongs: vec!["transfers.from_id".to_owned()],
        dropped: vec!["transfers.to_id".to_owned()],
        column: None,
    };
    let migration = plan(&mut client, "organizations", None, &decisions).await.unwrap();
    assert_eq!(migration.tenant_from, "'t-' || \"id\"");
    assert!(migration.shared.contains(&"public.users".to_owned()));
    assert!(migration.undecided.contains_key("public.sessions"), "who leads nowhere is not decided with it");
    let wrong = plan(&mut client, "organizations", Some("name"), &decisions).await.unwrap_err();
    assert!(
        matches!(&wrong, PlanError::TenantFrom { message, .. } if message.contains("\"name\"")),
        "{wrong}"
    );
    client
        .batch_execute("CREATE TABLE firms (name text PRIMARY KEY); INSERT INTO firms VALUES ('Not One')")
        .await
        .unwrap();
    let wrong = plan(&mut client, "firms", None, &Decisions::default()).await.unwrap_err();
    assert!(wrong.to_string().contains("--tenant-from"), "{wrong}");
    client.batch_execute("UPDATE firms SET name = 'one-of-them'").await.unwrap();
    assert_eq!(
        plan(&mut client, "firms", None, &Decisions::default()).await.unwrap().tenant_from,
        "\"name\"::text"
    );
}

#[tokio::test]
async fn names_of_the_migrations_own_fit_and_lines_of_comments_end_where_they_should() {
    let adopted = Adopted::new(APPLICATION).await;
    let migration = adopted.write().await;
    for (file, text) in migration.files() {
        assert_eq!(fs::read_to_string(adopted.folder.join(&file)).unwrap(), text);
        let mut names = text.split('"').skip(1).step_by(2);
        assert!(names.all(|name| name.len() <= 63 || name.contains('\n')), "{file}");
        assert!(!text.lines().any(|line| line.starts_with("-- ") && line.contains('\r')), "{file}");
    }
    assert!(adopted.folder.join("README.md").exists());
    // Had a name ended a comment, this would have been run.
    adopted.run("1-expand.sql").await;
    assert!(count(&adopted.world.admin, "users").await > 0);
}

#[tokio::test]
async fn what_two_tenants_have_alike_since_then_keeps_it_from_being_unique_again() {
    let schema = "DROP TABLE payments, accounts, staging; DELETE FROM ringfence.protected;
        CREATE TABLE organizations (id bigint PRIMARY KEY, slug text NOT NULL);
        CREATE TABLE users (id int PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, email text NOT NULL);
        CREATE UNIQUE INDEX one_mail ON users (email);
        INSERT INTO organizations VALUES (1, 'acme'), (2, 'globex');
        INSERT INTO users VALUES (1, 1, 'a@example.com')";
    let adopted = Adopted::new(schema).await;
    let before = adopted.dump();
    adopted.write().await;
    for stage in STAGES {
        adopted.run(stage).await;
    }
    let admin = &adopted.world.admin;
    admin.batch_execute("INSERT INTO users VALUES (2, 2, 'a@example.com', 'globex')").await.unwrap();
    adopted.run(UNDO[0]).await;
    let (went, said) = adopted.psql(UNDO[1]).await;
    assert!(!went && said.contains("Key (email)=(a@example.com) is duplicated"), "{said}");
    assert_eq!(count(admin, "users WHERE tenant_id = 'globex'").await, 1, "and nothing is lost");
    admin.batch_execute("DELETE FROM users WHERE id = 2").await.unwrap();
    for undo in &UNDO[1..] {
        adopted.run(undo).await;
    }
    assert_same(&adopted.dump(), &before);
}
