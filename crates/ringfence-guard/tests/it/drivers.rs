//! Pools of the drivers people use, installed once below the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::fixture::World;

/// What a program says that succeeds.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The interpreter of an environment with what `requirements.txt` names.
fn python(scripts: &Path) -> PathBuf {
    let requirements = scripts.join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guard-python");
    let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
    if fs::read_to_string(&installed).unwrap_or_default() != wanted {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(&python).args(install).arg(requirements));
        fs::write(installed, wanted).unwrap();
    }
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn token_use_in_pools_of_psycopg_and_asyncpg() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let given = [world.token(&world.acme), world.token(&world.globex)];
    let (port, database) = (guard.port.to_string(), world.database.to_string());
    let work = move || {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guard");
        let mut script = Command::new(python(&scripts));
        run(script.arg("-B").arg(scripts.join("tokens.py")).args([port, database]).args(given));
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}
