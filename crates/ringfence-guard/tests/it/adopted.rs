//! A schema as applications have them in a database of its own, its migration run as a user does, and an application that
//! writes meanwhile.

use std::{
    path::PathBuf,
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
pub(crate) const APPLICATION: &str = include_str!("adopt/application.sql");

/// Every table of a tenant in it, and how its rows lead to the root.
pub(crate) const OWNERS: &[(&str, &str)] = &[
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
    (
        "\"$sql$ '\\gexec \"\" \\\\ :x\"",
        "projects p ON p.id = t.\"$sql_$', -- \"\"\n\\\\! echo\" JOIN organizations x ON x.id = p.organization_id",
    ),
    ("invoices", "organizations x ON x.slug = t.tenant_id"),
    ("shipments", "projects p ON p.id = t.project_id JOIN organizations x ON x.id = p.organization_id"),
    ("log_lines", "projects p ON p.id = t.project_id JOIN organizations x ON x.id = p.organization_id"),
    ("places", "organizations x ON x.id = t.organization_id"),
    ("exports", "organizations x ON x.id = t.organization_id"),
    (
        "comments",
        "projects p ON p.id = coalesce(t.project_id, (SELECT k.project_id FROM tasks k WHERE k.id = t.task_id)) JOIN organizations x ON x.id = p.organization_id",
    ),
];

/// The migration's files, in order.
pub(crate) const STAGES: [&str; 7] = [
    "1-expand.sql",
    "2-backfill.sql",
    "3-check.sql",
    "4-indexes.sql",
    "5-constraints.sql",
    "6-swap.sql",
    "7-protect.sql",
];

/// What undoes them, in order.
pub(crate) const UNDO: [&str; 5] = [
    "undo/7-protect.sql",
    "undo/6-swap.sql",
    "undo/5-constraints.sql",
    "undo/4-indexes.sql",
    "undo/1-expand.sql",
];

/// A database with an application's schema, and a folder for its migration.
pub(crate) struct Adopted {
    pub(crate) world: World,
    pub(crate) folder: PathBuf,
}

impl Adopted {
    pub(crate) async fn new(schema: &str) -> Self {
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

    pub(crate) async fn plan(&self, decisions: &Decisions) -> Result<Migration, PlanError> {
        let mut client = self.world.superuser().await;
        plan(&mut client, "organizations", Some("slug"), decisions).await
    }

    pub(crate) async fn write(&self) -> Migration {
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

    pub(crate) fn start(&self, file: &str) -> Child {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(self.folder.join(file));
        psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a file as a user does; what it says, and whether it went to its end.
    pub(crate) async fn psql(&self, file: &str) -> (bool, String) {
        let child = self.start(file);
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    pub(crate) async fn run(&self, file: &str) -> String {
        let (went, said) = self.psql(file).await;
        assert!(went, "{file}: {said}");
        assert!(!said.contains("ERROR"), "{file}: {said}");
        said
    }

    /// The schema as `pg_dump` writes it, but for what it draws each time.
    pub(crate) fn dump(&self) -> String {
        let output = self.command("pg_dump").arg("--schema-only").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let dump = String::from_utf8(output.stdout).unwrap();
        dump.lines().filter(|line| !line.contains("restrict ")).map(|line| format!("{line}\n")).collect()
    }

    /// Starts a file, waits until its session waits in `state`, and ends that.
    pub(crate) async fn kill(&self, file: &str, state: &str) {
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
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("terminating"), "{file} did not wait: {said}");
    }

    /// Each row is of the tenant it leads to.
    pub(crate) async fn assert_owned(&self) {
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

    /// How many rows tables have.
    pub(crate) async fn counts(&self, tables: &[&str]) -> Vec<i64> {
        let mut counts = Vec::new();
        for table in tables {
            counts.push(count(&self.world.admin, table).await);
        }
        counts
    }
}

pub(crate) async fn count(client: &Client, from: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {from}"), &[]).await.unwrap().get(0)
}

/// An application of acme's that knows nothing of tenant_id, and writes until it is told to stop.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<i64, (String, String)>>,
}

impl Writer {
    pub(crate) fn start(world: Arc<Adopted>, from: i64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let world = &world.world;
            let (client, backend) = world.direct().await;
            let mut round = from;
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
    pub(crate) async fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap().unwrap()
    }
}

/// Two dumps are the same, or where they first are not.
pub(crate) fn assert_same(now: &str, before: &str) {
    if now != before {
        let differs = now.lines().zip(before.lines()).find(|(now, before)| now != before);
        panic!("{differs:#?}");
    }
}

impl Adopted {
    pub(crate) async fn assert_protected(&self) {
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

        self.assert_sound(|object| OWNERS.iter().any(|(table, _)| object.ends_with(table))).await;
    }

    /// Nothing is wrong that is told of these.
    pub(crate) async fn assert_sound(&self, owned: impl Fn(&str) -> bool) {
        let mut client = self.world.superuser().await;
        let report = lint(&mut client, Known::default(), |_| ()).await.unwrap();
        let is_error = |id: &str| rules().any(|rule| rule.id == id && rule.level == Level::Error);
        let errors: Vec<_> =
            report.findings.iter().filter(|found| is_error(found.rule) && owned(&found.object)).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}
