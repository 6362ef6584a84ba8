//! A throw-away Postgres cluster on a private socket. Postgres refuses to run as root: root runs it as `postgres`.

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ringfence_context::Secret;

pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    owner: Option<(u32, u32)>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let owner = (dir.path().metadata().unwrap().uid() == 0).then(|| (id("-u"), id("-g")));
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let cluster = Self { dir, owner };
        cluster.run("initdb", &["--auth=trust", "--username=postgres", "--no-sync", "--locale=C.UTF-8"]);
        cluster.up();
        cluster
    }

    pub(crate) fn up(&self) {
        let socket = self.dir.path().display();
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{socket}' -c fsync=off");
        let log = self.dir.path().join("log").display().to_string();
        self.run("pg_ctl", &["start", "--wait", "--silent", "--log", &log, "--options", &options]);
    }

    pub(crate) fn down(&self) {
        self.run("pg_ctl", &["stop", "--wait", "--silent", "--mode=immediate"]);
    }

    pub(crate) fn url(&self) -> Secret<String> {
        Secret::new(format!("postgres://postgres@localhost/postgres?host={}", self.dir.path().display()))
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(binary(program));
        command.args(arguments).arg("--pgdata").arg(self.dir.path().join("data"));
        command.current_dir(self.dir.path()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        assert!(command.status().unwrap().success(), "{program} failed");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut command = Command::new(binary("pg_ctl"));
        command.args(["stop", "--silent", "--mode=immediate", "--pgdata"]).arg(self.dir.path().join("data"));
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn id(flag: &str) -> u32 {
    let out = Command::new("id").args([flag, "postgres"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().parse().expect("root needs an OS user 'postgres'")
}

/// The newest of Debian's installed versions, or whatever is on the PATH.
fn binary(name: &str) -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("bin").join(name).exists())
        .max_by_key(|path| version(path))
        .map_or_else(|| PathBuf::from(name), |path| path.join("bin").join(name))
}
