//! A throw-away Postgres on a private socket, for planes of several nodes. It refuses to run as root: root runs it as
//! `postgres`.

use std::{
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A running cluster, stopped when dropped.
pub(crate) struct Cluster {
    dir: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Cluster {
    /// Starts one with these databases.
    pub(crate) fn start(dir: PathBuf, databases: &[&str]) -> Self {
        Self::start_with(dir, databases, 5432, "-c listen_addresses='' -c wal_level=logical", None)
    }

    /// Starts one that is `localhost` at a port of its own, in TLS only and for who knows a password; its certificate and
    /// key are `localhost.pem` and `localhost.key` in `dir`.
    pub(crate) fn start_in_tls(dir: PathBuf, databases: &[&str], port: u16) -> Self {
        let files = "-c ssl=on -c ssl_cert_file=../localhost.pem -c ssl_key_file=../localhost.key";
        let hosts = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        let options = format!("-c listen_addresses=127.0.0.1 {files}");
        Self::start_with(dir, databases, port, &options, Some(hosts))
    }

    /// Starts one that answers at this machine's own address, to who knows a password.
    pub(crate) fn start_on_loopback(dir: PathBuf, databases: &[&str], port: u16) -> Self {
        let hosts = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        Self::start_with(dir, databases, port, "-c listen_addresses=127.0.0.1", Some(hosts))
    }

    fn start_with(dir: PathBuf, databases: &[&str], port: u16, options: &str, hosts: Option<&str>) -> Self {
        let owner = (dir.metadata().unwrap().uid() == 0).then(|| (id("-u"), id("-g")));
        if let Some((uid, gid)) = owner {
            for path in
                std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).chain([dir.clone()])
            {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        }
        let cluster = Self { dir, owner };
        cluster.run(
            "initdb",
            &["--auth=trust", "--username=postgres", "--no-sync", "--locale=C.UTF-8", "--pgdata", "data"],
        );
        let socket = cluster.socket();
        if let Some(hosts) = hosts {
            std::fs::write(cluster.dir.join("data/pg_hba.conf"), hosts).unwrap();
        }
        let options = format!("-c port={port} {options} -c unix_socket_directories='{socket}' -c fsync=off");
        cluster.run(
            "pg_ctl",
            &["start", "--wait", "--silent", "--pgdata", "data", "--log", "log", "--options", &options],
        );
        for database in databases {
            let port = port.to_string();
            cluster
                .run("createdb", &["--host", &socket, "--port", &port, "--username", "postgres", database]);
        }
        cluster
    }

    /// The folder of its socket.
    pub(crate) fn socket(&self) -> String {
        self.dir.display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        assert!(self.command(program, arguments).status().unwrap().success(), "{program} failed");
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary(program));
        command.args(arguments).current_dir(&self.dir).stdout(Stdio::null());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = ["stop", "--silent", "--mode=immediate", "--pgdata", "data"];
        let _ = self.command("pg_ctl", &stop).stderr(Stdio::null()).status();
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
