//! `ringfence init`, and a plane from what it writes, in front of somebody's own application and tables.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    program::{complaint, run, said, scratch},
    session::Plane,
};

const TABLE: &str = "CREATE TABLE notes (tenant_id text NOT NULL, id uuid NOT NULL, body text NOT NULL,
    PRIMARY KEY (tenant_id, id));";

/// Writes what `init` writes, naming an upstream and a table; gives the settings file.
pub(crate) fn settings(folder: &Path, upstream: &str) -> PathBuf {
    said(&run(&["init", &folder.display().to_string()]));
    let path = folder.join("ringfence.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("127.0.0.1:3000", upstream).replace("schema = []", "schema = [\"notes.sql\"]");
    fs::write(&path, text).unwrap();
    fs::write(folder.join("notes.sql"), TABLE).unwrap();
    path
}

/// An application that answers everything, and keeps the heads it was sent.
pub(crate) fn upstream() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            kept.lock().unwrap().push(head.join("\n"));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
            stream.write_all(answer).unwrap();
        }
    });
    (address, heads)
}

#[test]
fn what_init_writes_runs_in_front_of_an_own_application() {
    let folder = scratch("init");
    let (address, heads) = upstream();
    let config = settings(&folder, &address);
    let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
    assert!(plane.printed.contains("ringfence tenant create"), "{}", plane.printed);
    assert!(!plane.dir.join("demo.json").exists());

    plane.json(&["tenant", "create", "first"]);
    let user = plane.json(&["user", "create", "ann", "--tenant", "first", "--role", "admin"]);
    let password = user["password"].as_str().unwrap();
    let token = |purpose: &str| {
        let arguments = ["token", "--tenant", "first", "--user", "ann", "--password-stdin", "--for", purpose];
        said(&plane.command_with(&arguments, password)).trim().to_owned()
    };
    let answer = plane.get("first", &token("api"), "/notes");
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
    let unknown = plane.get("first", &token("api"), "/elsewhere");
    assert_eq!(unknown.refusal(), ("authorization".to_owned(), "route_unknown".to_owned()));
    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 1, "what is refused does not reach the application: {heads:?}");
    let head = heads[0].to_ascii_lowercase();
    assert!(head.contains("x-tenant-id: first") && head.contains("txn-token: "), "{head}");

    let insert = "INSERT INTO notes VALUES ('first', gen_random_uuid(), 'mine')";
    assert!(plane.psql("first", &token("database"), insert).status.success());
    assert_eq!(said(&plane.psql("first", &token("database"), "SELECT body FROM notes")).trim(), "mine");
}

#[test]
fn init_overwrites_nothing() {
    let folder = scratch("init");
    let path = folder.display().to_string();
    let first = said(&run(&["init", &path]));
    assert!(first.contains("ringfence.toml") && first.contains("ringfence up"), "{first}");
    fs::write(folder.join("routes.toml"), "mine").unwrap();
    let refused = complaint(&run(&["init", &path]));
    assert!(refused.contains("exists") && refused.contains("nothing was written"), "{refused}");
    assert_eq!(fs::read_to_string(folder.join("routes.toml")).unwrap(), "mine");
}
