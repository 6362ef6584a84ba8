//! A schema as applications have them is migrated while it is used, as a user would do it, and brought back to the letter.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ringfence_guard::{
    adopt::{Decisions, Migration, PlanError, plan},
    cluster::SUPERUSER,
    lint::{Known, Level, lint, rules},
};
use tokio_postgres::Client;

use crate::fixture::{World, ask, fails, scratch};

/// What applications have.
const APPLICATION: &str = r#"
DROP TABLE payments, accounts, staging;
DELETE FROM ringfence.protected;
CREATE SCHEMA "Other-App";
CREATE TABLE plans (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE organizations (id bigserial PRIMARY KEY, slug text NOT NULL UNIQUE, plan_id int NOT NULL REFERENCES plans);
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), organization_id bigint NOT NULL REFERENCES organizations ON DELETE CASCADE,
    email text NOT NULL, deleted_at timestamptz, CONSTRAINT users_email_key UNIQUE (email) WITH (fillfactor = 80));
CREATE UNIQUE INDEX users_alive ON users (lower(email) COLLATE "C" text_pattern_ops DESC NULLS LAST, (deleted_at IS NULL))
    INCLUDE (id) NULLS NOT DISTINCT WHERE deleted_at IS NULL AND email <> ' WHERE ) "USING" (';
ALTER INDEX users_alive ALTER COLUMN 1 SET STATISTICS 77;
COMMENT ON INDEX users_alive IS 'only who is there; it''s';
COMMENT ON CONSTRAINT users_email_key ON users IS 'one mail, one user';
CREATE TABLE projects (id uuid DEFAULT gen_random_uuid(), organization_id bigint NOT NULL REFERENCES organizations,
    owner_id uuid CONSTRAINT "the owner" REFERENCES users ON DELETE SET NULL ON UPDATE CASCADE,
    parent_id uuid, name text NOT NULL, code int, CONSTRAINT "projects' key" PRIMARY KEY (id), UNIQUE (organization_id, name), UNIQUE (code, id),
    FOREIGN KEY (parent_id) REFERENCES projects ON DELETE SET NULL (parent_id));
COMMENT ON CONSTRAINT "the owner" ON projects IS 'may leave';
ALTER TABLE projects CLUSTER ON "projects' key";
ALTER TABLE projects ALTER COLUMN name SET STATISTICS 500;
CREATE TABLE tasks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE
    DEFERRABLE INITIALLY DEFERRED, assignee uuid REFERENCES users (id), title text NOT NULL, updates int NOT NULL DEFAULT 0);
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updates := OLD.updates + 1; RETURN NEW; END$$;
CREATE TRIGGER counted BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION counted();
CREATE TABLE "Weird Table" ("Id" int PRIMARY KEY, "task id" bigint NOT NULL REFERENCES tasks, "order" text, code int,
    project uuid, FOREIGN KEY (code, project) REFERENCES projects (code, id) MATCH SIMPLE,
    CONSTRAINT "a ""quoted"" one" UNIQUE ("order") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE project_members (project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE, PRIMARY KEY (project_id, user_id));
CREATE TABLE "Other-App"."select" ("from" bigint NOT NULL, organization_id bigint NOT NULL REFERENCES organizations, "table" text NOT NULL);
CREATE UNIQUE INDEX "where" ON "Other-App"."select" ("from");
ALTER TABLE "Other-App"."select" REPLICA IDENTITY USING INDEX "where";
CREATE TABLE a_table_whose_name_is_as_long_as_postgres_lets_a_name_become_ok (
    id int PRIMARY KEY, project_id uuid NOT NULL CONSTRAINT a_foreign_key_whose_name_is_as_long_as_postgres_lets_it_becomes REFERENCES projects);
CREATE TABLE "line
DROP TABLE users; --" (id int PRIMARY KEY, project_id uuid NOT NULL REFERENCES projects);
CREATE TABLE shipments (id int PRIMARY KEY, project_id uuid NOT NULL, carrier text);
CREATE TABLE log_lines (project_id uuid NOT NULL REFERENCES projects, line text);
CREATE TABLE exports (id int PRIMARY KEY, tenant_id text, organization_id bigint NOT NULL REFERENCES organizations);
CREATE TABLE holidays (id int PRIMARY KEY, day date);
CREATE TABLE comments (id int PRIMARY KEY, task_id bigint REFERENCES tasks, project_id uuid REFERENCES projects, text text);

INSERT INTO plans VALUES (1, 'free'), (2, 'paid');
INSERT INTO organizations (slug, plan_id) VALUES ('acme', 1), ('globex', 2);
INSERT INTO users (organization_id, email) SELECT o.id, o.slug || n FROM organizations o, generate_series(1, 5) n;
INSERT INTO projects (organization_id, owner_id, name, code) SELECT u.organization_id, u.id, u.email, 7 FROM users u;
UPDATE projects p SET parent_id = (SELECT min(q.id::text)::uuid FROM projects q WHERE q.organization_id = p.organization_id);
INSERT INTO tasks (project_id, assignee, title) SELECT p.id, p.owner_id, p.name || n FROM projects p, generate_series(1, 300) n;
INSERT INTO "Weird Table" SELECT t.id, t.id, t.title, 7, t.project_id FROM tasks t;
INSERT INTO project_members SELECT id, owner_id FROM projects;
INSERT INTO "Other-App"."select" SELECT id, id, slug FROM organizations;
INSERT INTO a_table_whose_name_is_as_long_as_postgres_lets_a_name_become_ok SELECT row_number() OVER (), id FROM projects;
INSERT INTO "line
DROP TABLE users; --" SELECT row_number() OVER (), id FROM projects;
INSERT INTO shipments SELECT row_number() OVER (), id, 'post' FROM projects;
INSERT INTO log_lines SELECT id, name FROM projects;
INSERT INTO exports SELECT id, NULL, id FROM organizations;
INSERT INTO comments SELECT row_number() OVER (), id, NULL, title FROM tasks LIMIT 20;
INSERT INTO comments SELECT 1000 + row_number() OVER (), NULL, id, name FROM projects;
"#;

/// Every table of a tenant, and how its rows lead to the root.
const OWNERS: &[(&str, &str)] = &[
    ("organizations", "organizations x ON x.id = t.id"),
    ("users", "organizations x ON x.id = t.organization_id"),
    ("projects", "organizations x ON x.id = t.organization_id"),
    ("tasks", "projects p ON p.id = t.project_id JOIN organizations x ON x.id = p.organization_id"),
    (
        "\"Weird Table\"",
        "tasks k ON k.id = t.\"task id\" JOIN projects p ON p.id = k.project_id JOIN organizations x ON x.id = p.organization_id",
    ),
    ("project_members", "users u ON u.id = t.user_id JOIN organizations x ON x.id = u.organization_id"),
    ("\"Other-App\".\"select\"", "organizations x ON x.id = t.organization_id"),
    (
        "a_table_whose_name_is_as_long_as_postgres_lets_a_name_become_ok",
        "projects p ON p.id = t.project_id JOIN organizations x ON x.id = p.organization_id",
    ),
    (
        "\"line\nDROP TABLE users; --\"",
        "projects p ON p.id = t.project_id JOIN organizations x ON x.id = p.organization_id",
    ),
    ("shipments", "projects p ON p.id = t.project_id JOIN organizations x ON x.id = p.organization_id"),
    ("log_lines", "projects p ON p.id = t.project_id JOIN organizations x ON x.id = p.organization_id"),
    ("exports", "organizations x ON x.id = t.organization_id"),
    (
        "comments",
        "projects p ON p.id = coalesce(t.project_id, (SELECT k.project_id FROM tasks k WHERE k.id = t.task_id)) JOIN organizations x ON x.id = p.organization_id",
    ),
];

const STAGES: [&str; 7] = [
    "1-expand.sql",
    "2-backfill.sql",
    "3-check.sql",
    "4-indexes.sql",
    "5-constraints.sql",
    "6-swap.sql",
    "7-protect.sql",
];

const UNDO: [&str; 5] = [
    "undo/7-protect.sql",
    "undo/6-swap.sql",
    "undo/5-constraints.sql",
    "undo/4-indexes.sql",
    "undo/1-expand.sql",
];

/// A database with an application's schema, and a folder for its migration.
struct Adopted {
    world: World,
    folder: PathBuf,
}

impl Adopted {
    async fn new(schema: &str) -> Self {
        let world = World::new().await;
        world.admin.batch_execute(schema).await.unwrap();
        let role = &world.role;
        let grants = format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
             DO $$ BEGIN CREATE ROLE reporter; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
        );
        world.admin.batch_execute(&grants).await.unwrap();
        let folder = scratch(&format!("adopt-{}", world.database));
        Self { world, folder }
    }

    async fn plan(&self, decisions: &Decisions) -> Result<Migration, PlanError> {
        let mut client = self.world.superuser().await;
        plan(&mut client, "organizations", Some("slug"), decisions).await
    }

    async fn write(&self) -> Migration {
        let migration = self.plan(&Decisions::default()).await.unwrap();
        migration.write(&self.folder).unwrap();
        migration
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-h").arg(&self.world.host).arg("-p").arg(self.world.port.to_string());
        command.args(["-U", SUPERUSER, "-d", self.world.database.as_str()]);
        command
    }

    fn start(&self, file: &str) -> Child {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(self.folder.join(file));
        psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a file as a user does; what it says, and whether it went to its end.
    async fn psql(&self, file: &str) -> (bool, String) {
        let child = self.start(file);
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    async fn run(&self, file: &str) -> String {
        let (went, said) = self.psql(file).await;
        assert!(went, "{file}: {said}");
        assert!(!said.contains("ERROR"), "{file}: {said}");
        said
    }

    /// The schema as `pg_dump` writes it, but for what it draws each time.
    fn dump(&self) -> String {
        let output = self.command("pg_dump").arg("--schema-only").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let dump = String::from_utf8(output.stdout).unwrap();
        dump.lines().filter(|line| !line.contains("restrict ")).map(|line| format!("{line}\n")).collect()
    }

    /// Starts a file, waits until its session waits in `state`, and ends that.
    async fn kill(&self, file: &str, state: &str) {
        let mut child = self.start(file);
        let admin = &self.world.admin;
        let kill = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'psql'
             AND datname = current_database() AND {state}"
        );
        let ended = async |child: &mut Child| {
            let killed = !admin.query(&kill, &[]).await.unwrap().is_empty();
            killed || child.try_wait().unwrap().is_some()
        };
        while !ended(&mut child).await {
            tokio::task::yield_now().await;
        }
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("terminating"), "{file} did not wait: {said}");
    }

    /// Each row is of the tenant it leads to.
    async fn assert_owned(&self) {
        for (table, way) in OWNERS {
            let sql = format!(
                "SELECT count(*), count(*) FILTER (WHERE t.tenant_id IS DISTINCT FROM x.slug) FROM {table} t JOIN {way}"
            );
            let row = self.world.admin.query_one(&sql, &[]).await.unwrap();
            assert!(row.get::<_, i64>(0) > 0, "{table} has rows");
            assert_eq!(row.get::<_, i64>(1), 0, "{table} has rows of another tenant");
            let all: i64 = count(&self.world.admin, &format!("{table} t")).await;
            assert_eq!(row.get::<_, i64>(0), all, "{table}");
        }
    }

    /// How many rows each table has.
    async fn counts(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for (table, _) in OWNERS {
            counts.push(count(&self.world.admin, table).await);
        }
        counts
    }
}

async fn count(client: &Client, from: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {from}"), &[]).await.unwrap().get(0)
}

/// An application of acme's that knows nothing of tenant_id, and writes until it is told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<i64, (String, String)>>,
}

impl Writer {
    fn start(world: Arc<Adopted>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let world = &world.world;
            let (client, backend) = world.direct().await;
            let mut round = 2_i64;
            while !told.load(Ordering::Relaxed) {
                round += 1;
                world
                    .mint(&world.acme, backend)
                    .set(&client)
                    .await
                    .map_err(|state| (state, String::new()))?;
                for sql in [
                    format!("INSERT INTO users (organization_id, email) VALUES (1, 'new{round}')"),
                    format!(
                        "WITH p AS (INSERT INTO projects (organization_id, owner_id, name, code) SELECT 1, id, 'p{round}', {round} FROM users
                            WHERE email = 'new{round}' RETURNING id) SELECT count(*) FROM p"
                    ),
                    format!(
                        "INSERT INTO tasks (project_id, title) SELECT id, 't{round}' FROM projects WHERE organization_id = 1 ORDER BY name DESC LIMIT 3"
                    ),
                    format!("UPDATE tasks SET title = title || '.' WHERE id % 100 = {round} % 100 AND project_id IN (SELECT id FROM projects WHERE organization_id = 1)"),
                    format!("UPDATE projects SET parent_id = NULL, owner_id = NULL WHERE name = 'p{}'", round - 1),
                    format!("UPDATE tasks SET project_id = (SELECT id FROM projects WHERE name = 'p{round}') WHERE title LIKE 't{round}%'"),
                    format!("INSERT INTO project_members SELECT p.id, u.id FROM projects p, users u WHERE p.name = 'p{round}' AND u.email = 'new{round}'"),
                    format!("DELETE FROM users WHERE email = 'new{}'", round - 2),
                    format!("INSERT INTO shipments SELECT 1000 + {round}, id FROM projects WHERE name = 'p{round}'"),
                    format!("BEGIN; INSERT INTO log_lines SELECT id, name FROM projects WHERE name = 'p{round}'; COMMIT"),
                ] {
                    ask(&client, &sql).await.map_err(|(state, told)| (state, format!("{sql}: {told}")))?;
                }
            }
            Ok(round)
        });
        Self { stop, task }
    }

    /// How often it has written all there is to write.
    async fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_schema_is_migrated_while_it_is_used_and_brought_back_to_the_letter() {
    let adopted = Arc::new(Adopted::new(APPLICATION).await);
    let world = &adopted.world;
    let grants = "GRANT SELECT ON users TO reporter; GRANT SELECT (id, name), UPDATE (name) ON projects TO reporter, PUBLIC;
        GRANT SELECT ON tasks TO PUBLIC WITH GRANT OPTION; REVOKE DELETE ON tasks FROM PUBLIC;";
    world.admin.batch_execute(&grants.replace(" WITH GRANT OPTION", "")).await.unwrap();
    let before = adopted.dump();
    let migration = adopted.write().await;
    let tables: Vec<_> = OWNERS.iter().map(|(table, _)| *table).collect();
    assert_eq!(migration.tables.len(), tables.len(), "{:?}", migration.tables);
    assert!(migration.shared.contains(&"public.plans".to_owned()));
    assert!(migration.undecided.contains_key("public.holidays"));

    let writer = Writer::start(Arc::clone(&adopted));
    for stage in STAGES {
        adopted.run(stage).await;
        let once = adopted.dump();
        adopted.run(stage).await;
        assert_eq!(adopted.dump(), once, "{stage} again changes nothing");
    }
    let rounds = writer.stop().await;
    assert!(rounds > 10, "it wrote {rounds} times");
    adopted.assert_owned().await;
    let updates = count(&world.admin, "tasks WHERE title LIKE 'globex%' AND updates > 0").await;
    assert_eq!(updates, 0, "no trigger of the application's took part");
    let protected = count(&world.admin, "ringfence.protected").await;
    assert_eq!(protected, i64::try_from(tables.len()).unwrap());
    adopted.assert_protected().await;

    let counts = adopted.counts().await;
    for undo in UNDO {
        adopted.run(undo).await;
        let once = adopted.dump();
        adopted.run(undo).await;
        assert_eq!(adopted.dump(), once, "{undo} again changes nothing");
    }
    assert_same(&adopted.dump(), &before);
    assert_eq!(adopted.counts().await, counts);
    // And there again.
    for stage in STAGES {
        adopted.run(stage).await;
    }
    adopted.assert_owned().await;
}

/// Two dumps are the same, or where they first are not.
fn assert_same(now: &str, before: &str) {
    if now != before {
        let differs = now.lines().zip(before.lines()).find(|(now, before)| now != before);
        panic!("{differs:#?}");
    }
}

impl Adopted {
    async fn assert_protected(&self) {
        let world = &self.world;
        let (session, _) = world.as_acme().await;
        for (table, _) in OWNERS.iter().filter(|(table, _)| !table.contains("Other-App")) {
            let seen = ask(&session, &format!("SELECT DISTINCT tenant_id FROM {table}")).await.unwrap();
            assert_eq!(seen, "acme", "{table}");
        }
        session.batch_execute("ROLLBACK").await.unwrap();
        // What is another tenant's and what is nobody's are refused alike.
        let others: String =
            ask(&world.admin, "SELECT id FROM projects WHERE tenant_id = 'globex' LIMIT 1").await.unwrap();
        for project in [others.as_str(), "00000000-0000-0000-0000-000000000000"] {
            let (session, _) = world.as_acme().await;
            let insert = format!("INSERT INTO log_lines (project_id) VALUES ('{project}')");
            assert_eq!(fails(&session, &insert).await, "23503");
            let (session, _) = world.as_acme().await;
            let shown = ask(
                &session,
                &format!("UPDATE projects SET name = name WHERE id = '{project}' RETURNING id"),
            )
            .await;
            assert_eq!(shown.unwrap(), "");
        }
        let across = format!("INSERT INTO log_lines (tenant_id, project_id) VALUES ('acme', '{others}')");
        assert_eq!(fails(&world.admin, &across).await, "23503", "whoever asks");
        // What is unique is so in a tenant.
        let (session, _) = world.as_acme().await;
        session
            .batch_execute("INSERT INTO users (organization_id, email) VALUES (1, 'globex1')")
            .await
            .unwrap();
        assert_eq!(
            fails(&session, "INSERT INTO users (organization_id, email) VALUES (1, 'acme1')").await,
            "23505"
        );

        let mut client = world.superuser().await;
        let report = lint(&mut client, Known::default(), |_| ()).await.unwrap();
        let is_error = |id: &str| rules().any(|rule| rule.id == id && rule.level == Level::Error);
        let owned = |object: &str| OWNERS.iter().any(|(table, _)| object.ends_with(table));
        let errors: Vec<_> =
            report.findings.iter().filter(|found| is_error(found.rule) && owned(&found.object)).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[tokio::test]
async fn a_stage_that_was_cut_off_is_run_again() {
    let adopted = Adopted::new(APPLICATION).await;
    let world = &adopted.world;
    adopted.write().await;
    let before = adopted.dump();
    let other = world.superuser().await;
    let hold = async |sql: &str| other.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
    let release = async || other.batch_execute("ROLLBACK").await.unwrap();
    let asleep = "wait_event = 'PgSleep'";
    let reads = "SELECT FROM tasks LIMIT 1";
    let writes = "UPDATE tasks SET title = title WHERE id = 78";
    let (asleep, locked) = ("wait_event = 'PgSleep'", "wait_event_type = 'Lock'");
    let (six, there): (&str, &[&str]) = ("6-swap.sql", &["4-indexes.sql", "5-constraints.sql", "6-swap.sql"]);
    // What is run before, what is cut off and who it waits for, and what is run after it, before it is run again.
    let cuts: [(&[&str], &str, &str, &str, &[&str]); 10] = [
        (&[], "1-expand.sql", reads, asleep, &[]),
        (&[], "2-backfill.sql", "SELECT FROM tasks WHERE id = 77 FOR UPDATE", asleep, &[]),
        (&["3-check.sql"], "4-indexes.sql", writes, locked, &[]),
        (&[], "5-constraints.sql", reads, asleep, &[]),
        (&[], six, reads, asleep, &[]),
        (&[], "7-protect.sql", reads, asleep, &[]),
        (&[], "undo/7-protect.sql", reads, asleep, &[]),
        // Neither here nor there, and from there both ways.
        (&[], "undo/6-swap.sql", writes, locked, &[six, "undo/6-swap.sql"]),
        (there, "undo/6-swap.sql", reads, asleep, &there[..2]),
        (&["undo/5-constraints.sql", "undo/4-indexes.sql"], "undo/1-expand.sql", reads, asleep, &[]),
    ];
    for (first, file, held, state, then) in cuts {
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
    let two = "ALTER TABLE organizations DROP CONSTRAINT organizations_slug_key;
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
INSERT INTO organizations VALUES (1, 'acme'), (2, 'globex');
INSERT INTO users VALUES (1, 1), (2, 2);
INSERT INTO memberships VALUES (1, 1, 1), (2, 2, 2);
INSERT INTO sessions VALUES (1, 1), (2, 2);
INSERT INTO transfers VALUES (1, 1, 2);";

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

    let decisions = Decisions {
        shared: Vec::new(),
        belongs: said(&["users.home", "transfers.from_id"]),
        dropped: said(&["transfers.to_id"]),
    };
    let migration = adopted.plan(&decisions).await.unwrap();
    let tables = ["organizations", "memberships", "transfers", "users", "sessions"]
        .map(|name| format!("public.{name}"));
    assert_eq!(migration.tables, tables);
    let why = |table: &str| migration.undecided[&format!("public.{table}")].as_str();
    assert!(why("notes").contains("about_type and about_id"));
    assert!(why("events").contains("partitioned"));
    assert!(why("metrics").contains("tenant_id of type bigint") && why("metrics").contains("RENAME COLUMN"));
    assert!(why("rooms").contains("exclusion constraint"));
    let readme = migration.files()[0].1.clone();
    assert!(readme.contains("must not reach them") && readme.contains("`public.notes`"), "{readme}");
    assert!(readme.contains("the foreign key transfers_to_id_fkey goes"), "{readme}");

    migration.write(&adopted.folder).unwrap();
    assert!(migration.write(&adopted.folder).is_err(), "what is written is not written over");
    for stage in STAGES {
        adopted.run(stage).await;
    }
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
    assert!(Path::new(&adopted.folder).join("README.md").exists());
    // Had a name ended a comment, this would have been run.
    adopted.run("1-expand.sql").await;
    assert!(count(&adopted.world.admin, "users").await > 0);
}
