//! Postgres' own regression files, run by psql directly and through the guard, as a tenant with a database of its own:
//! `cargo bench -p ringfence-guard --bench regress -- FOLDER [FILE...]`, where FOLDER is `src/test/regress` of the sources of
//! the Postgres that is installed.
//!
//! Each file answers twice directly, to know what of it is not the same each time, and once through the guard. Tables are set up
//! by the superuser, and belong to the application's role then: what the files do is what that role may do, in both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    reason = "a program for a person, which fails by panicking; it shares the tests' fixture"
)]

#[path = "../tests/it/fixture.rs"]
mod fixture;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use fixture::{World, connect};
use ringfence_guard::{
    RoleName,
    cluster::SUPERUSER,
    install::{self, Install},
    proxy::{Placement, ServerSettings, Together},
};

/// The database's name, in each run.
const DATABASE: &str = "regression";

/// How long one file may take, in seconds.
const SECONDS: &str = "180";

/// What the superuser runs before, and what reaches beyond a database.
const LEFT_OUT: [&str; 4] = ["test_setup", "create_index", "tablespace", "database"];

/// Settings that the guard gives its connections, for the direct ones.
const OPTIONS: &str = "-c search_path=public -c bytea_output=hex -c client_encoding=UTF8 -c application_name=ringfence \
    -c local_preload_libraries= -c default_transaction_isolation=read\\ committed -c idle_session_timeout=0";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder = PathBuf::from(arguments.next().expect("name src/test/regress of Postgres' sources"));
    let folder = folder.canonicalize().unwrap();
    let only: Vec<String> = arguments.collect();
    let files: Vec<String> =
        schedule(&folder).into_iter().filter(|file| only.is_empty() || only.contains(file)).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let runs = [false, false, true].map(|through| run(&runtime, &world, &folder, &files, through));
    report(&files, &runs);
}

/// The files in the order in which Postgres runs them.
fn schedule(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("parallel_schedule")).unwrap();
    let tests = text.lines().filter_map(|line| line.strip_prefix("test: "));
    let files = tests.flat_map(str::split_whitespace).map(str::to_owned);
    files
        .filter(|file| {
            !LEFT_OUT.contains(&file.as_str()) && folder.join("sql").join(format!("{file}.sql")).exists()
        })
        .collect()
}

/// What each file answers, in a new database.
fn run(
    runtime: &tokio::runtime::Runtime,
    world: &World,
    folder: &Path,
    files: &[String],
    through: bool,
) -> Vec<String> {
    runtime.block_on(prepare(world));
    let root =
        format!("host={} port={} user={SUPERUSER} dbname={DATABASE}", world.host.display(), world.port);
    for file in ["test_setup", "create_index"] {
        psql(folder, file, &root, "", None);
    }
    runtime.block_on(give(world));
    let server = ServerSettings { database: RoleName::new(DATABASE).unwrap(), ..world.server() };
    let guard =
        runtime.block_on(world.guard_at(Arc::new(Together(Placement::new(server.clone()))), |settings| {
            settings.database = server.database.clone();
        }));
    let told = |file: &String| {
        eprint!("\r{} {file}\x1b[K", if through { "through the guard" } else { "directly" });
        if through {
            let uri = format!("host=127.0.0.1 port={} user=acme dbname={DATABASE}", guard.port);
            psql(folder, file, &uri, "", Some(world.token(&world.acme)))
        } else {
            let (host, port, role) = (world.host.display(), world.port, &world.role);
            psql(
                folder,
                file,
                &format!("host={host} port={port} user={role} dbname={DATABASE}"),
                OPTIONS,
                None,
            )
        }
    };
    let told = files.iter().map(told).collect();
    eprintln!("\r\x1b[K");
    runtime.block_on(guard.stop());
    told
}

/// Makes the database anew, as a tenant's own, in which the application's role may make tables too.
async fn prepare(world: &World) {
    let root = world.superuser().await;
    root.batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")).await.unwrap();
    let make = format!("CREATE DATABASE {DATABASE} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    root.batch_execute(&make).await.unwrap();
    let mut admin = connect(&of(world)).await.unwrap();
    let owner = RoleName::new("regression_owner").unwrap();
    Install::new(world.role.clone(), owner).run(&mut admin).await.unwrap();
    install::guard_key_put(&admin, &world.guard_key).await.unwrap();
    install::tenant_key_put(&admin, &world.acme.id, &world.acme.seal).await.unwrap();
    let role = &world.role;
    let may = format!(
        "GRANT CREATE, USAGE ON SCHEMA public TO {role}; GRANT TEMPORARY, CREATE ON DATABASE {DATABASE} TO {role};
         GRANT USAGE ON LANGUAGE plpgsql TO {role};"
    );
    admin.batch_execute(&may).await.unwrap();
}

/// Gives what was set up to the application's role.
async fn give(world: &World) {
    let admin = connect(&of(world)).await.unwrap();
    let give = format!(
        "DO $$ DECLARE it text; BEGIN
            FOR it IN SELECT format('ALTER TABLE %s OWNER TO {role}', c.oid::regclass) FROM pg_class c
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') LOOP EXECUTE it; END LOOP;
         END $$",
        role = world.role
    );
    admin.batch_execute(&give).await.unwrap();
}

fn of(world: &World) -> tokio_postgres::Config {
    let mut config = world.direct_config();
    config.user(SUPERUSER).dbname(DATABASE);
    config
}

/// What psql prints of a file, as Postgres' own runner has it.
fn psql(folder: &Path, file: &str, uri: &str, options: &str, password: Option<String>) -> String {
    let mut psql = Command::new("timeout");
    psql.args([
        SECONDS,
        "psql",
        "-X",
        "-a",
        "-q",
        "-d",
        uri,
        "-v",
        "HIDE_TABLEAM=on",
        "-v",
        "HIDE_TOAST_COMPRESSION=on",
    ]);
    psql.env("PG_ABS_SRCDIR", folder)
        .env("PG_ABS_BUILDDIR", folder)
        .env("PG_LIBDIR", folder)
        .env("PG_DLSUFFIX", ".so");
    psql.env("PGTZ", "PST8PDT").env("PGDATESTYLE", "Postgres, MDY").env("LC_MESSAGES", "C");
    if !options.is_empty() {
        psql.env("PGOPTIONS", options);
    }
    if let Some(password) = password {
        psql.env("PGPASSWORD", password);
    }
    // Errors and results in their order: both to one pipe.
    let (mut read, write) = std::io::pipe().unwrap();
    let script = fs::File::open(folder.join("sql").join(format!("{file}.sql"))).unwrap();
    psql.stdin(script).stdout(write.try_clone().unwrap()).stderr(write);
    let mut child = psql.spawn().unwrap();
    // With it goes its end of the pipe.
    drop(psql);
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut read, &mut said).unwrap();
    child.wait().unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

fn report(files: &[String], [one, other, guarded]: &[Vec<String>; 3]) {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("regress");
    fs::create_dir_all(&target).unwrap();
    let (mut same, mut unsteady, mut different) = (0, 0, Vec::new());
    for (at, file) in files.iter().enumerate() {
        let (one, other, guarded) = (&one[at], &other[at], &guarded[at]);
        if one == guarded || other == guarded {
            same += 1;
            continue;
        }
        let steady = one == other;
        for (text, name) in [(one, "direct"), (other, "again"), (guarded, "guard")] {
            fs::write(target.join(format!("{file}.{name}")), text).unwrap();
        }
        let differ = one.lines().zip(guarded.lines()).filter(|(one, other)| one != other).count()
            + one.lines().count().abs_diff(guarded.lines().count());
        if steady {
            different.push(file);
        } else {
            unsteady += 1;
        }
        println!(
            "{file}: {}{differ} of {} lines",
            if steady { "" } else { "not the same twice; " },
            one.lines().count()
        );
    }
    let lines: usize = guarded.iter().map(|text| text.lines().count()).sum();
    println!(
        "{} files, {lines} lines: {same} the same through the guard, {} not, {unsteady} not the same twice directly either; {}",
        files.len(),
        different.len(),
        target.display()
    );
}
