//! The drivers people use, each with a program of its own in `tests/guard`, for two tenants and with fewer connections to
//! Postgres than it opens. What they are made of is installed or built once below the target folder.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::fixture::{World, ask};

/// What a program says that succeeds.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {out}\n{err}", command.get_program());
    out.into_owned()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guard")
}

/// A folder in which `make` has put what `wanted` names: made anew where that has changed.
fn made(name: &str, wanted: &Path, make: impl FnOnce(&Path)) -> PathBuf {
    let wanted = fs::read_to_string(wanted).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).unwrap_or_default() != wanted {
        fs::create_dir_all(&folder).unwrap();
        make(&folder);
        fs::write(installed, wanted).unwrap();
    }
    folder
}

/// The interpreter of an environment with what `requirements` names.
fn python(name: &str, requirements: &Path) -> Command {
    let folder = made(name, requirements, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(folder.join("bin/python")).args(install).arg(requirements));
    });
    let mut python = Command::new(folder.join("bin/python"));
    python.arg("-B");
    python
}

fn tokens() -> Command {
    let mut python = python("guard-python", &scripts().join("requirements.txt"));
    python.arg(scripts().join("tokens.py"));
    python
}

fn django() -> Command {
    let scripts = scripts().join("django");
    let mut python = python("guard-django", &scripts.join("requirements.txt"));
    python.arg(scripts.join("contract.py"));
    python
}

fn node_postgres() -> Command {
    let scripts = scripts().join("node");
    let folder = made("guard-node", &scripts.join("package-lock.json"), |folder| {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(scripts.join(name), folder.join(name)).unwrap();
        }
        let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
        run(Command::new("npm").args(install).current_dir(folder));
    });
    // Node looks for modules beside the program.
    let program = folder.join("contract.js");
    fs::copy(scripts.join("contract.js"), &program).unwrap();
    let mut node = Command::new("node");
    node.arg(program);
    node
}

/// Java's runtime, the compiler that is a library of it, and Postgres' driver, as Debian has them.
fn jdbc() -> Command {
    let source = scripts().join("jdbc/Contract.java");
    let driver = "/usr/share/java/postgresql.jar";
    let folder = made("guard-jdbc", &source, |folder| {
        let compile = ["/usr/share/java/ecj.jar", "org.eclipse.jdt.internal.compiler.batch.Main"];
        let mut java = Command::new("java");
        java.arg("-cp").args(compile).args(["-11", "-cp", driver, "-d"]).arg(folder).arg(&source);
        run(&mut java);
    });
    let mut java = Command::new("java");
    java.args([
        OsStr::new("-cp"),
        &[folder.as_os_str(), OsStr::new(driver)].join(OsStr::new(":")),
        OsStr::new("Contract"),
    ]);
    java
}

fn active_record() -> Command {
    let mut ruby = Command::new("ruby");
    ruby.arg(scripts().join("rails/contract.rb"));
    ruby
}

fn sqlx() -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("guard-sqlx");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(scripts().join("sqlx/Cargo.toml"));
    run(build.arg("--target-dir").arg(&target));
    Command::new(target.join("debug/ringfence-guard-sqlx"))
}

/// Runs a driver's program, and looks at what it has left to the clients after it.
async fn tried(program: fn() -> Command) {
    const EVERYTHING: &str = "SELECT md5(string_agg(a::text, '|' ORDER BY a)) FROM accounts a";
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let before = ask(&world.admin, EVERYTHING).await.unwrap();
    let given = [world.token(&world.acme), world.token(&world.globex)];
    let (port, database) = (guard.port.to_string(), world.database.to_string());
    let work = move || run(program().args([port, database]).args(given));
    if let Err(failed) = tokio::task::spawn_blocking(work).await {
        std::panic::resume_unwind(failed.into_panic());
    }
    for (tenant, rows) in [(&world.globex, "5"), (&world.acme, "3")] {
        // Both connections to Postgres, so that each is looked at.
        let clients = [world.client(&guard, tenant).await, world.client(&guard, tenant).await];
        for client in &clients {
            ask(client, "BEGIN").await.unwrap();
        }
        for client in &clients {
            assert_eq!(ask(client, "SELECT count(*) FROM accounts").await.unwrap(), rows);
            let left = "SELECT name FROM pg_prepared_statements UNION ALL SELECT name FROM pg_cursors
                UNION ALL SELECT name || '=' || setting FROM pg_settings WHERE source = 'session' AND name !~ '^transaction_'";
            assert_eq!(ask(client, left).await.unwrap(), "");
            ask(client, "COMMIT").await.unwrap();
        }
    }
    assert_eq!(
        ask(&world.admin, EVERYTHING).await.unwrap(),
        before,
        "each has only changed what it has made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn token_use_in_pools_of_psycopg_and_asyncpg() {
    tried(tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres_works_unchanged() {
    tried(node_postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_works_unchanged() {
    tried(jdbc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn active_record_works_unchanged() {
    tried(active_record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn django_works_unchanged() {
    tried(django).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_works_unchanged() {
    tried(sqlx).await;
}
