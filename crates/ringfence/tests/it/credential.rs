//! Credentials: a tenant's tools at its own database, without the guard, for as long as the tenant may.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    cluster::Cluster,
    http::{Answer, send},
    init::{settings, upstream},
    process::until,
    program::{complaint, said, scratch},
    session::{Plane, up_fails},
};

/// A tier with `data`, and `more`.
fn tier(name: &str, data: &str, more: &str) -> String {
    format!(
        "
[tiers.{name}]
rate = {{ per_second = 500, burst = 1000 }}
namespace = \"App\"
schema = \"app.cedarschema\"
policies = \"app.cedar\"
data = \"{data}\"
{more}
"
    )
}

/// A plane in front of a Postgres that answers at an address, dropped before that.
struct Direct {
    plane: Plane,
    config: PathBuf,
    socket: String,
    port: u16,
    _cluster: Cluster,
}

impl Direct {
    fn start(name: &str, tiers: &str) -> Self {
        let folder = scratch(name);
        let (cluster, port) = postgres(&folder, "pg");
        let socket = cluster.socket();
        let config = settings(&folder, &upstream().0);
        fs::write(folder.join("admin.password"), "root-secret").unwrap();
        fs::write(folder.join("app.password"), "app-secret").unwrap();
        let text = fs::read_to_string(&config).unwrap();
        let server = format!(
            "\n[postgres.server]\nhost = \"127.0.0.1\"\nport = {port}\nadmin_role = \"postgres\"\n\
             admin_password_file = \"admin.password\"\napp_password_file = \"app.password\"\n"
        );
        fs::write(&config, format!("{text}{server}{tiers}")).unwrap();
        let plane = up(&folder.join("state"), &config);
        Self { plane, config, socket, port, _cluster: cluster }
    }

    /// A tenant with somebody who may connect.
    fn tenant(&self, id: &str, tier: &str) -> Person {
        self.plane.json(&["tenant", "create", id, "--tier", tier]);
        self.person(id, "ann", "admin")
    }

    fn person(&self, tenant: &str, name: &str, role: &str) -> Person {
        let user = self.plane.json(&["user", "create", name, "--tenant", tenant, "--role", role]);
        let password = user["password"].as_str().unwrap().to_owned();
        Person { tenant: tenant.to_owned(), name: name.to_owned(), password }
    }

    fn token(&self, person: &Person, purpose: &[&str]) -> Output {
        let Person { tenant, name, password } = person;
        let who = ["token", "--tenant", tenant, "--user", name, "--password-stdin", "--for"];
        self.plane.command_with(&[&who, purpose].concat(), password)
    }

    fn credential(&self, person: &Person) -> Login {
        Login(serde_json::from_str(&said(&self.token(person, &["credential", "--json"]))).unwrap())
    }

    /// The exchange as anybody may ask for it.
    fn exchange(&self, at: &str, access: &str) -> Answer {
        let gateway = self.plane.file("running.json")["gateway"].as_str().unwrap().to_owned();
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={access}\
             &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
             &requested_token_type=urn:ringfence:params:oauth:token-type:database-credential"
        );
        let headers = [("Host", gateway.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        send(&gateway, "POST", &format!("/t/{at}/token"), &headers, &form).unwrap()
    }

    /// What the superuser is answered.
    fn ask(&self, sql: &str) -> String {
        said(&as_superuser(&self.socket, self.port, sql)).trim().to_owned()
    }

    /// How many logins there are.
    fn logins(&self) -> String {
        self.ask("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'vended%'")
    }
}

/// A Postgres at a port of its own, in a folder below this one, whose two roles have their passwords.
fn postgres(folder: &Path, name: &str) -> (Cluster, u16) {
    let folder = folder.join(name);
    fs::create_dir(&folder).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cluster = Cluster::start_on_loopback(folder, &["app"], port);
    let passwords = "ALTER ROLE postgres PASSWORD 'root-secret'; CREATE ROLE app LOGIN PASSWORD 'app-secret'";
    said(&as_superuser(&cluster.socket(), port, passwords));
    (cluster, port)
}

fn up(state: &Path, config: &Path) -> Plane {
    Plane::up(state, &["--config", &config.display().to_string()])
}

fn as_superuser(socket: &str, port: u16, sql: &str) -> Output {
    let dsn = format!("host={socket} port={port} user=postgres dbname=app");
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname", &dsn, "--command", sql]);
    psql.stdin(Stdio::null()).output().unwrap()
}

struct Person {
    tenant: String,
    name: String,
    password: String,
}

/// What `ringfence token --for credential --json` says.
struct Login(Value);

impl Login {
    fn psql(&self) -> Command {
        let text = |member: &str| self.0[member].as_str().unwrap();
        let port = self.0["port"].as_u64().unwrap().to_string();
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
        psql.env("PGHOST", text("host")).env("PGPORT", port).env("PGDATABASE", text("dbname"));
        psql.env("PGUSER", text("user"))
            .env("PGPASSWORD", text("password"))
            .env("PGSSLMODE", text("sslmode"));
        psql
    }

    /// What a statement answers, or why not.
    fn ask(&self, sql: &str) -> Result<String, String> {
        let done = self.psql().args(["--command", sql]).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    /// A session that stays open.
    fn open(&self) -> Session {
        let mut psql = self.psql();
        let child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Session(child)
    }
}

/// An open session.
struct Session(Child);

impl Session {
    /// One line that a statement answers.
    fn line(&mut self, sql: &str) -> String {
        self.say(sql);
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn say(&mut self, sql: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql}").unwrap();
    }

    /// What it says when it is ended from the other side, which is waited for.
    fn last_words(mut self) -> String {
        let mut words = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut words).unwrap();
        assert!(!self.0.wait().unwrap().success(), "{words}");
        words
    }
}

const BODIES: &str = "SELECT body FROM notes";

#[test]
fn a_credential_opens_its_tenants_database_until_the_tenant_is_suspended_or_removed() {
    let tiers = tier("own", "database", "credentials = { seconds = 600 }");
    let direct = Direct::start("credential", &tiers);
    let (ann, other) = (direct.tenant("first", "own"), direct.tenant("second", "own"));
    let (login, others) = (direct.credential(&ann), direct.credential(&other));
    assert!(
        login.0["user"].as_str().unwrap().starts_with("vended_")
            && login.0["expires_in"].as_u64() <= Some(600)
    );
    for (login, tenant) in [(&login, "first"), (&others, "second")] {
        let insert = format!("INSERT INTO notes VALUES ('{tenant}', gen_random_uuid(), 'of {tenant}')");
        assert_eq!(login.ask(&insert), Ok(String::new()));
        assert_eq!(login.ask(BODIES).unwrap(), format!("of {tenant}"));
    }
    let foreign = "INSERT INTO notes VALUES ('second', gen_random_uuid(), 'x')";
    assert!(login.ask(foreign).unwrap_err().contains("row-level security"));
    // Each in its own database, and in no other.
    for elsewhere in [others.0["dbname"].clone(), "app".into()] {
        let mut stray = login.0.clone();
        stray["dbname"] = elsewhere;
        assert!(Login(stray).ask("SELECT 1").unwrap_err().contains("permission denied for database"));
    }
    // As a person pastes it.
    let lines = said(&direct.token(&ann, &["credential"]));
    let names: Vec<&str> = lines.lines().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(names, ["PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE"]);

    let mut session = login.open();
    assert_eq!(session.line(&format!("{BODIES};")), "of first");
    session.say("SELECT pg_sleep(600);");
    direct.plane.json(&["tenant", "suspend", "first"]);
    let words = session.last_words();
    assert!(words.contains("terminating connection"), "{words}");
    assert!(login.ask("SELECT 1").unwrap_err().contains("authentication failed"));
    assert_eq!(others.ask(BODIES).unwrap(), "of second", "nobody else's");
    direct.plane.json(&["tenant", "resume", "first"]);
    assert!(login.ask("SELECT 1").is_err(), "what was revoked does not come back");
    assert_eq!(direct.credential(&ann).ask(BODIES).unwrap(), "of first");
    for tenant in ["first", "second"] {
        assert_eq!(direct.plane.json(&["tenant", "delete", tenant, "--confirm", tenant])["rows"], 1);
    }
    assert_eq!(direct.logins(), "0");
    assert_eq!(direct.ask("SELECT count(*) FROM pg_database WHERE datname LIKE 'app\\_%'"), "0");
    let log = fs::read_to_string(direct.plane.dir.with_extension("stderr")).unwrap();
    assert!(!log.contains(login.0["password"].as_str().unwrap()));
    assert!(log.contains("REVOKE CONNECT ON DATABASE"), "who may connect where is said: {log}");
}

#[test]
fn a_credential_ends_at_its_time_and_whatever_it_has_open() {
    let tiers = tier("brief", "database", "credentials = { seconds = 2 }");
    let mut direct = Direct::start("credential-brief", &tiers);
    let ann = direct.tenant("first", "brief");
    let login = direct.credential(&ann);
    assert!(login.0["expires_in"].as_u64() <= Some(2));
    let mut session = login.open();
    session.say("SELECT pg_sleep(600);");
    let words = session.last_words();
    assert!(words.contains("terminating connection"), "{words}");
    let gone = |direct: &Direct| until("it is removed", 10, || (direct.logins() == "0").then_some(()));
    gone(&direct);
    assert!(login.ask("SELECT 1").unwrap_err().contains("authentication failed"));
    // Also where the plane that gave it is gone.
    direct.credential(&ann);
    direct.plane.kill();
    assert_eq!(direct.logins(), "1");
    let state = direct.plane.dir.clone();
    direct.plane = up(&state, &direct.config);
    gone(&direct);
}

#[test]
fn a_tenant_with_a_server_of_its_own_is_given_a_login_to_that_server() {
    let (cluster, port) = postgres(&scratch("credential-own"), "own");
    let own = format!(
        "[postgres.servers.one]\nhost = \"127.0.0.1\"\nport = {port}\nadmin_role = \"postgres\"\n\
         admin_password_file = \"admin.password\"\napp_password_file = \"app.password\"\n"
    );
    let direct = Direct::start(
        "credential-server",
        &(own + &tier("own", "server", "credentials = { seconds = 600 }")),
    );
    let ann = direct.tenant("first", "own");
    let login = direct.credential(&ann);
    assert_eq!((login.0["port"].as_u64(), login.0["dbname"].as_str()), (Some(port.into()), Some("app")));
    let insert = "INSERT INTO notes VALUES ('first', gen_random_uuid(), 'mine') RETURNING body";
    assert_eq!(login.ask(insert).unwrap(), "mine");
    assert_eq!(direct.logins(), "0", "the shared server knows nothing of it");
    direct.plane.json(&["tenant", "delete", "first", "--confirm", "first"]);
    let left = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'vended%'";
    let dsn = format!("host={} port={port} user=postgres dbname=postgres", cluster.socket());
    let psql = Command::new("psql")
        .args(["--tuples-only", "--no-align", "--dbname", &dsn, "--command", left])
        .output();
    assert_eq!(said(&psql.unwrap()).trim(), "0");
}

#[test]
fn who_is_given_no_credential_is_told_one_thing_and_nothing_of_others() {
    let tiers = tier("own", "database", "credentials = { seconds = 600 }") + &tier("none", "database", "");
    let direct = Direct::start("credential-refused", &tiers);
    let own = direct.tenant("own-one", "own");
    let access = |person: &Person| said(&direct.token(person, &["api"])).trim().to_owned();
    let refused = |at: &str, person: &Person| {
        let answer = direct.exchange(at, &access(person));
        assert_eq!(answer.status, 400, "{answer:?}");
        let told = answer.json();
        (told["error"].as_str().unwrap().to_owned(), told["error_description"].as_str().unwrap().to_owned())
    };
    // A tier that gives none, and a tenant that shares a database.
    let without = direct.tenant("none-one", "none");
    direct.plane.json(&["tenant", "create", "rows-one"]);
    let shared = direct.person("rows-one", "ann", "admin");
    let told = refused("none-one", &without);
    assert_eq!(told.0, "invalid_target");
    assert_eq!(refused("rows-one", &shared), told);
    // Another tenant's token, and somebody whom the policies do not let connect.
    assert_eq!(refused("own-one", &without).0, "invalid_grant");
    assert_eq!(refused("none-one", &own).0, "invalid_grant");
    let member = direct.person("own-one", "bob", "member");
    assert_eq!(refused("own-one", &member).0, "access_denied");
    let complaint = complaint(&direct.token(&member, &["credential"]));
    assert!(complaint.contains("do not permit"), "{complaint}");
    assert_eq!(direct.logins(), "0");
    let given = direct.exchange("own-one", &access(&own));
    assert_eq!((given.status, given.header("cache-control")), (200, "no-store"), "{given:?}");
    let given = given.json();
    assert_eq!(given["token_type"], "N_A");
    assert_eq!(given["issued_token_type"], "urn:ringfence:params:oauth:token-type:database-credential");
    assert_eq!(
        (&given["database"]["host"], &given["database"]["sslmode"]),
        (&"127.0.0.1".into(), &"disable".into())
    );
}

/// What starting says to a tier with credentials, in front of these servers.
fn refused(name: &str, data: &str, seconds: u64, servers: &str) -> String {
    let folder = scratch(name);
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    let credentials = format!("credentials = {{ seconds = {seconds} }}");
    fs::write(&config, format!("{text}{servers}{}", tier("own", data, &credentials))).unwrap();
    complaint(&up_fails(&folder.join("state"), &["--config", &config.display().to_string()]))
}

fn server(key: &str, host: &str) -> String {
    format!(
        "\n[{key}]\nhost = \"{host}\"\nport = 1\nadmin_role = \"postgres\"\nadmin_password_file = \"none\"\n\
         app_password_file = \"none\"\n"
    )
}

#[test]
fn where_credentials_can_not_be_given_is_said_at_once() {
    let there = server("postgres.server", "127.0.0.1");
    for (data, servers, said) in [
        ("rows", there.clone(), "could LISTEN to what others NOTIFY"),
        ("role", there.clone(), "could LISTEN to what others NOTIFY"),
        ("schema", there.clone(), "could LISTEN to what others NOTIFY"),
        ("database", String::new(), "only with an existing Postgres, [postgres.server]"),
        ("server", there.clone(), "only with an existing Postgres, [postgres.servers.NAME]"),
        ("database", server("postgres.server", "/run/postgresql"), "is a socket's folder"),
    ] {
        let told = refused(&format!("credential-{data}"), data, 600, &servers);
        assert!(told.contains("credentials in [tiers.own]") && told.contains(said), "{data}: {told}");
    }
}

#[test]
fn reject_credential_life_seconds() {
    for seconds in [0, 3601] {
        let told = refused("credential-life", "database", seconds, &server("postgres.server", "127.0.0.1"));
        assert!(told.contains("seconds is from 1 to 3600"), "{told}");
    }
}
