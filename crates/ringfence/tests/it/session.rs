//! A plane that runs, and how a test talks to it.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde_json::Value;

use crate::{
    http::{Answer, send},
    process::{self, now},
    program::{run, run_with, said, scratch, start, started_as},
};

/// What the last line begins with, of a plane that is ready.
const READY: &str = "Ctrl-C stops";

const ANY_PORT: [&str; 6] = ["--gateway", "127.0.0.1:0", "--api", "127.0.0.1:0", "--guard", "127.0.0.1:0"];

/// A running plane. Dropping it interrupts it and waits for its end.
pub(crate) struct Plane {
    pub(crate) dir: PathBuf,
    pub(crate) printed: String,
    pub(crate) ready_after: Duration,
    tokens: Mutex<HashMap<(String, String), String>>,
    child: Child,
}

impl Plane {
    /// The demo that tests share which neither stop it nor break it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Plane> = OnceLock::new();
        SHARED.get_or_init(|| Self::demo(&scratch("shared")))
    }

    /// A demo in this folder.
    pub(crate) fn demo(dir: &Path) -> Self {
        Self::up(dir, &["--demo"])
    }

    /// `ringfence up` with these flags, ready.
    pub(crate) fn up(dir: &Path, flags: &[&str]) -> Self {
        // One start at a time: how long it takes is part of the promise.
        static STARTING: Mutex<()> = Mutex::new(());
        let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = started_as();
        command.args(["up", "--dir"]).arg(dir).args(flags).args(ANY_PORT);
        let log = dir.with_extension("stderr");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let began = now();
        let mut child = start(command);
        let mut printed = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            printed.push_str(&line.unwrap());
            printed.push('\n');
            if printed.lines().next_back().is_some_and(|line| line.starts_with(READY)) {
                let (ready_after, tokens) = (began.elapsed(), Mutex::default());
                return Self { dir: dir.to_owned(), printed, ready_after, tokens, child };
            }
        }
        let ended = child.wait();
        panic!("{ended:?}: {printed}{}", fs::read_to_string(log).unwrap());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Interrupts it, as Ctrl-C does, and waits.
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        process::signal(self.pid(), "INT");
        self.child.wait().unwrap()
    }

    /// Kills it, as the system does when memory runs out, and waits.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.dir.join(name)).unwrap()).unwrap()
    }

    /// What demo.json says of a tenant.
    pub(crate) fn tenant(&self, id: &str) -> Value {
        let demo = self.file("demo.json");
        demo["tenants"].as_array().unwrap().iter().find(|tenant| tenant["id"] == id).unwrap().clone()
    }

    /// A payment of a demo tenant.
    pub(crate) fn payment(&self, tenant: &str) -> String {
        self.tenant(tenant)["payment"].as_str().unwrap().to_owned()
    }

    fn address(&self, member: &str) -> String {
        self.file("running.json")[member].as_str().unwrap().to_owned()
    }

    /// A request at a tenant's address.
    pub(crate) fn try_ask(
        &self,
        tenant: &str,
        token: &str,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
    ) -> std::io::Result<Answer> {
        self.request((tenant, token), (method, path), extra, "")
    }

    fn request(
        &self,
        (tenant, token): (&str, &str),
        (method, path): (&str, &str),
        extra: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Answer> {
        let gateway = self.address("gateway");
        let port = gateway.rsplit_once(':').unwrap().1;
        let (host, bearer) = (format!("{tenant}.localhost:{port}"), format!("Bearer {token}"));
        let mut headers = vec![("Host", host.as_str()), ("Authorization", bearer.as_str())];
        headers.extend_from_slice(extra);
        send(&gateway, method, path, &headers, body)
    }

    /// A POST of JSON at a tenant's address, which answers.
    pub(crate) fn post(&self, tenant: &str, token: &str, path: &str, body: &Value) -> Answer {
        let json = [("Content-Type", "application/json")];
        self.request((tenant, token), ("POST", path), &json, &body.to_string()).unwrap()
    }

    /// A GET at a tenant's address, which answers.
    pub(crate) fn get(&self, tenant: &str, token: &str, path: &str) -> Answer {
        self.try_ask(tenant, token, "GET", path, &[]).unwrap()
    }

    /// A call of the API with someone's token.
    pub(crate) fn api(&self, token: &str, method: &str, path: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        send(&self.address("api"), method, path, &[("Authorization", &bearer)], "").unwrap()
    }

    /// A command on this plane.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        self.command_with(arguments, "")
    }

    /// A command on this plane, with this on its standard input.
    pub(crate) fn command_with(&self, arguments: &[&str], input: &str) -> Output {
        let dir = self.dir.display().to_string();
        run_with(&[arguments, &["--dir", &dir]].concat(), input)
    }

    /// What a command that succeeds prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&said(&self.command(&[arguments, &["--json"]].concat()))).unwrap()
    }

    /// An access token of a demo user; one for all tests, because sign-ins are counted.
    pub(crate) fn token(&self, tenant: &str, user: &str) -> String {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tokens.entry((tenant.to_owned(), user.to_owned()));
        let sign_in =
            || said(&self.command(&["token", "--tenant", tenant, "--user", user])).trim().to_owned();
        known.or_insert_with(sign_in).clone()
    }

    /// A database token of a demo user.
    pub(crate) fn database_token(&self, tenant: &str, user: &str) -> String {
        let token = self.command(&["token", "--tenant", tenant, "--user", user, "--for", "database"]);
        said(&token).trim().to_owned()
    }

    /// The distribution's `psql`, through the guard, as `user`.
    pub(crate) fn psql(&self, user: &str, password: &str, sql: &str) -> Output {
        self.try_psql(user, password, sql).unwrap()
    }

    /// The same, where it may not be running.
    pub(crate) fn try_psql(&self, user: &str, password: &str, sql: &str) -> std::io::Result<Output> {
        let running: Value = serde_json::from_str(&fs::read_to_string(self.dir.join("running.json"))?)?;
        let [guard, database] = ["guard", "database"].map(|name| running[name].as_str().unwrap());
        let url = format!("postgres://{user}@{guard}/{database}");
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--command", sql, &url]);
        psql.env("PGPASSWORD", password).stdin(Stdio::null()).output()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.interrupt();
        }
    }
}

/// `ringfence up` that is to fail: what it says.
pub(crate) fn up_fails(dir: &Path, flags: &[&str]) -> Output {
    let dir = dir.display().to_string();
    run(&[&["up", "--dir", &dir], flags, &ANY_PORT].concat())
}
