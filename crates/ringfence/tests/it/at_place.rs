//! A tenant's places as the superuser of a managed Postgres finds them: what is there, and who is given it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::program::{said, start};

/// Asks a place for the tenant's context as its login, with a seal and a tag that are genuine wherever the tenant's key and this
/// login are believed; then for its rows. `inner` and `outer` are the tenant's key.
const CONTEXT: &str = r"\set ON_ERROR_STOP on
\set VERBOSITY verbose
SET SESSION AUTHORIZATION :login;
SELECT pid, started FROM ringfence.backend_register() \gset
RESET SESSION AUTHORIZATION;
SELECT extract(epoch FROM clock_timestamp())::bigint + 30 AS exp \gset
SELECT sha256(g.outer_pad || sha256(g.inner_pad
    || sha256(:'outer'::bytea || sha256(:'inner'::bytea || convert_to('ringfence-seal-v1|' || :'tenant' || '|t|' || :exp, 'UTF8')))
    || convert_to('|ringfence-context-v1|' || :'tenant' || '|' || :pid || '|' || :started || '|' || :exp::bigint * 1000000, 'UTF8'))) AS tag
    FROM ringfence.plane_key g WHERE g.name = 'guard' \gset
SET SESSION AUTHORIZATION :login;
BEGIN;
SELECT FROM ringfence.context_set(:'tenant', 't', :exp, :exp::bigint * 1000000, :'tag');
SELECT count(*) FROM notes;
COMMIT;
";

/// Where a tenant is or was.
pub(crate) struct AtPlace {
    socket: String,
    port: String,
    database: String,
    login: String,
    schema: String,
}

impl AtPlace {
    /// What a move's record calls a place, of a plane whose state is in this folder.
    pub(crate) fn of(state: &Path, place: &Value) -> Self {
        let drawn = place["drawn"].as_str().unwrap_or_default();
        let own = || format!("ringfence_{drawn}");
        let (mut folder, mut database) = ("postgres".to_owned(), "app".to_owned());
        let (mut login, mut schema) = ("app".to_owned(), "public".to_owned());
        match place["shape"].as_str().unwrap() {
            "rows" => {}
            "role" => login = own(),
            "schema" => (login, schema) = (own(), own()),
            "database" => database = format!("app_{drawn}"),
            "server" => folder = format!("postgres-{drawn}"),
            other => panic!("{other}"),
        }
        let running = fs::read_to_string(state.join(folder).join("data/postmaster.pid")).unwrap();
        let line = |at: usize| running.lines().nth(at).unwrap().to_owned();
        Self { port: line(3), socket: line(4), database, login, schema }
    }

    /// The database that tenants share.
    pub(crate) fn shared(state: &Path) -> Self {
        Self::of(state, &serde_json::json!({ "shape": "rows" }))
    }

    fn psql(&self) -> Command {
        let Self { socket, port, database, schema, .. } = self;
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
        let at = format!("host={socket} port={port} user=postgres dbname={database}");
        psql.args(["--dbname", &at]).env("PGOPTIONS", format!("-c search_path={schema}"));
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        psql
    }

    fn run(&self, more: &[&str], script: &str) -> Output {
        let mut psql = self.psql().args(more).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        psql.wait_with_output().unwrap()
    }

    /// What the superuser is answered.
    pub(crate) fn ask(&self, sql: &str) -> String {
        said(&self.run(&["--variable", "ON_ERROR_STOP=1"], sql)).trim().to_owned()
    }

    /// How many rows a tenant sees here, where it is served at `there`; or why it is refused.
    pub(crate) fn given(&self, tenant: &str, there: &Self) -> Result<u64, String> {
        let key = format!(
            "SELECT inner_pad || ' ' || outer_pad FROM (SELECT inner_pad::text, outer_pad::text
            FROM ringfence.tenant_key WHERE tenant_id = '{tenant}') k"
        );
        let key = there.ask(&key);
        let (inner, outer) = key.split_once(' ').expect("where it is served it has a key");
        let mut more = Vec::new();
        for (name, value) in [("tenant", tenant), ("login", &self.login), ("inner", inner), ("outer", outer)]
        {
            more.extend(["--variable".to_owned(), format!("{name}={value}")]);
        }
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let done = self.run(&more, CONTEXT);
        if done.status.success() {
            Ok(said(&done).trim().parse().unwrap())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }

    /// Keeps everybody from writing to the tables of this place until it is dropped.
    pub(crate) fn hold(&self) -> Held {
        let mut psql = start(self.psql());
        let lock = "BEGIN; LOCK TABLE notes IN SHARE ROW EXCLUSIVE MODE; SELECT 'held';\n";
        psql.stdin.as_mut().unwrap().write_all(lock.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Held(psql)
    }
}

/// A session that holds a lock.
pub(crate) struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
