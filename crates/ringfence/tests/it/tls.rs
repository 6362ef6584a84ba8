//! TLS from a client to the guard and from the guard to Postgres, with a Postgres that lets nobody in otherwise.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::{
    cluster::Cluster,
    init::{settings, upstream},
    program::{complaint, run, said, scratch},
    session::{Plane, up_fails},
};

/// Makes a certificate for `localhost`, and its key.
fn certificate(folder: &Path, name: &str) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join(format!("{name}.pem")), cert.pem()).unwrap();
    let key = folder.join(format!("{name}.key"));
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn from_the_client_to_the_row_everything_is_in_tls() {
    let postgres = scratch("tls-postgres");
    certificate(&postgres, "localhost");
    certificate(&postgres, "another");
    let port = free_port();
    let cluster = Cluster::start_in_tls(postgres.clone(), &["app", "state"], port);
    let superuser = format!("host={} port={port} user=postgres dbname=app", cluster.socket());
    let passwords = "ALTER ROLE postgres PASSWORD 'root-secret'; CREATE ROLE app LOGIN PASSWORD 'app-secret'";
    let set = Command::new("psql").args(["--quiet", "--dbname", &superuser, "--command", passwords]).status();
    assert!(set.unwrap().success());

    let folder = scratch("tls");
    let config = settings(&folder, &upstream().0);
    certificate(&folder, "guard");
    fs::write(folder.join("admin.password"), "root-secret").unwrap();
    fs::write(folder.join("app.password"), "app-secret").unwrap();
    fs::write(folder.join("state.url"), state_url(port, &postgres)).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let with = |authority: &str, mode: &str| {
        let more = format!(
            "\n[postgres.server]\nhost = \"localhost\"\nport = {port}\nsslmode = \"{mode}\"\n\
             sslrootcert = \"{}\"\nadmin_role = \"postgres\"\nadmin_password_file = \"admin.password\"\n\
             app_password_file = \"app.password\"\n[guard]\ncertificate_file = \"guard.pem\"\n\
             key_file = \"guard.key\"\nname = \"localhost\"\nca_file = \"guard.pem\"\nplaintext = \"never\"\n",
            postgres.join(authority).display()
        );
        let names = "base_url = \"http://plane.example\"\nhost_suffix = \"plane.example\"\n";
        let state = "[state]\nurl_file = \"state.url\"\n";
        fs::write(&config, format!("{names}{text}{more}{state}")).unwrap();
    };
    let flags = ["--config", &config.display().to_string()];
    with("another.pem", "verify-full");
    let refused = complaint(&up_fails(&folder.join("state"), &flags));
    assert!(refused.contains("TLS") || refused.contains("certificate"), "{refused}");
    with("localhost.pem", "disable");
    let refused = complaint(&up_fails(&folder.join("state"), &flags));
    assert!(refused.contains("no encryption"), "Postgres says so: {refused}");

    with("localhost.pem", "verify-full");
    let plane = Plane::up(&folder.join("state"), &flags);
    plane.json(&["tenant", "create", "first"]);
    let user = plane.json(&["user", "create", "ann", "--tenant", "first", "--role", "admin"]);
    let password = user["password"].as_str().unwrap();
    let token = || {
        let arguments =
            ["token", "--tenant", "first", "--user", "ann", "--password-stdin", "--for", "database"];
        said(&plane.command_with(&arguments, password)).trim().to_owned()
    };
    let guard = plane.file("running.json")["guard"].as_str().unwrap().to_owned();
    let guard = guard.rsplit(':').next().unwrap().to_owned();
    let psql = |options: &str, sql: &str| {
        let dsn = format!("host=localhost port={guard} user=first dbname=app {options}");
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", &dsn, "--command", sql]);
        psql.env("PGPASSWORD", token()).stdin(Stdio::null()).output().unwrap()
    };
    let verified = format!("sslmode=verify-full sslrootcert={}", folder.join("guard.pem").display());
    let insert = "INSERT INTO notes VALUES ('first', gen_random_uuid(), 'mine') RETURNING body";
    assert!(said(&psql(&verified, insert)).starts_with("mine\n"));
    let clear = psql("sslmode=disable", "SELECT 1");
    assert!(String::from_utf8_lossy(&clear.stderr).contains("over TLS only"), "{clear:?}");
    // What backends are told of it.
    let trust = plane.file("trust.json");
    assert_eq!(trust["guard_tls"]["name"], "localhost");
    assert_eq!(trust["guard_tls"]["authorities"], fs::read_to_string(folder.join("guard.pem")).unwrap());
    looked_over_in_tls(port, &postgres);
    put_back(&superuser, |sql| said(&psql(&verified, sql)));
}

/// A tenant gives the role that all share another password: who connects next is let in all the same.
fn put_back(superuser: &str, psql: impl Fn(&str) -> String) {
    psql("ALTER ROLE CURRENT_USER PASSWORD 'mine'");
    let end = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'app'";
    let ended = Command::new("psql").args(["--dbname", superuser, "--command", end]).output();
    assert!(ended.unwrap().status.success());
    assert_eq!(psql("SELECT count(*) FROM notes").trim(), "1");
}

/// Where the state is, in the same Postgres.
fn state_url(port: u16, postgres: &Path) -> String {
    let authority = postgres.join("localhost.pem");
    let verified = format!("sslmode=verify-full&sslrootcert={}", authority.display());
    format!("postgres://postgres:root-secret@localhost:{port}/state?{verified}")
}

/// A command that looks a database over asks in TLS where it is told to.
fn looked_over_in_tls(port: u16, postgres: &Path) {
    let dsn = format!("postgres://postgres:root-secret@localhost:{port}/app?sslmode=require");
    let right = postgres.join("localhost.pem").display().to_string();
    let wrong = postgres.join("another.pem").display().to_string();
    let lint = |authority: &str| run(&["data", "lint", &dsn, "--ca-file", authority, "--fail-on", "never"]);
    assert!(said(&lint(&right)).contains("tables know a tenant by tenant_id"));
    assert!(complaint(&lint(&wrong)).contains("connecting to the database"));
}
