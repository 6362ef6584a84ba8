//! What the demo writes and prints, how soon, and that it stops and resumes.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::Value;

use crate::{
    process,
    program::{complaint, scratch},
    session::{Plane, up_fails},
};

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[test]
fn demo_json_has_everything_a_script_needs_and_is_for_its_owner_alone() {
    let plane = Plane::shared();
    let demo = plane.file("demo.json");
    assert!(text(&demo, "/gateway").starts_with("http://127.0.0.1:"));
    assert!(text(&demo, "/api").starts_with("http://127.0.0.1:"));
    let guard = text(&demo, "/guard");
    assert!(guard.starts_with("postgres://127.0.0.1:") && guard.ends_with("/ledger"), "{guard}");
    assert!(!guard.contains('@'), "no user and no password: {guard}");
    assert!(!text(&demo, "/operator/token").is_empty());
    let ids: Vec<_> = (0..3).map(|at| text(&demo, &format!("/tenants/{at}/id"))).collect();
    assert_eq!(ids, ["acme", "globex", "initech"]);
    for tenant in demo["tenants"].as_array().unwrap() {
        let id = text(tenant, "/id");
        assert_eq!(text(tenant, "/issuer"), format!("{}/t/{id}", text(&demo, "/gateway")));
        assert!(text(tenant, "/host").starts_with(&format!("{id}.localhost:")));
        let roles: Vec<_> =
            tenant["users"].as_array().unwrap().iter().map(|user| text(user, "/roles/0")).collect();
        assert_eq!(roles, ["admin", "approver", "clerk", "viewer"], "users in different roles");
        for user in tenant["users"].as_array().unwrap() {
            assert!(!text(user, "/username").is_empty() && !text(user, "/password").is_empty());
        }
        assert!(!text(tenant, "/client/client_id").is_empty());
        assert!(!text(tenant, "/client/client_secret").is_empty());
        assert_eq!(text(tenant, "/authzen"), format!("{}/t/{id}", text(&demo, "/api")));
        assert!(!text(tenant, "/decision_client/client_id").is_empty());
        assert!(!text(tenant, "/decision_client/client_secret").is_empty());
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for secret in ["demo.json", "running.json", "operator.token", "trust.json", "keys/master.key"] {
        assert_eq!(mode(&plane.dir.join(secret)), 0o600, "{secret}");
    }
    // No other user reads or lists any of its state. Postgres' is Postgres'; the folder itself is this test's.
    let mut folders = vec![plane.dir.clone()];
    while let Some(folder) = folders.pop() {
        assert!(folder == plane.dir || mode(&folder) & 0o066 == 0, "{}", folder.display());
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true if path.ends_with("postgres") => assert_eq!(mode(&path), 0o700),
                true => folders.push(path),
                false => assert_eq!(mode(&path) & 0o077, 0, "{}", path.display()),
            }
        }
    }
}

#[test]
fn what_it_prints_can_be_tried_line_by_line() {
    let plane = Plane::shared();
    let lines: Vec<_> = plane.printed.lines().map(str::trim).collect();
    let curls: Vec<_> = lines.iter().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(curls.len(), 3, "{}", plane.printed);
    assert!(curls[2].contains("X-Tenant-Id: globex"), "{}", curls[2]);
    let token = lines.iter().find(|line| line.starts_with("TOKEN=$(")).unwrap();
    let statuses: Vec<_> = curls
        .iter()
        .map(|curl| {
            let script = format!("{token}\n{curl} --silent --output /dev/null --write-out '%{{http_code}}'");
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(statuses, ["200", "404", "200"], "own, another tenant's, own in spite of the header");
    assert!(lines.iter().any(|line| line.contains(" explain ")), "{}", plane.printed);
    for tenant in ["acme", "globex", "initech"] {
        assert!(plane.printed.contains(tenant));
    }
}

#[test]
fn it_is_ready_in_ten_seconds_stops_without_a_trace_and_resumes() {
    let dir = scratch("resume");
    let mut plane = Plane::demo(&dir);
    println!("ready after {:?}", plane.ready_after);
    assert!(plane.ready_after < Duration::from_secs(10), "ready after {:?}", plane.ready_after);
    let (before, payment) = (plane.file("demo.json"), plane.payment("acme"));
    let token = plane.token("acme", "alice");
    let path = format!("/payments/{payment}");
    let served = plane.get("acme", &token, &path);
    assert_eq!(served.status, 200, "{served:?}");
    process::named(&dir, "postgres");
    process::named(&dir, "ledger");

    assert!(plane.interrupt().success());
    assert_eq!(process::of(&dir), [], "no process is left");
    assert!(!dir.join("running.json").exists());
    assert!(complaint(&plane.command(&["tenant", "list"])).contains("start it with `ringfence up`"));

    let again = Plane::demo(&dir);
    let after = again.file("demo.json");
    for at in 0..3 {
        for member in ["users", "client", "payment"] {
            let pointer = format!("/tenants/{at}/{member}");
            assert_eq!(before.pointer(&pointer), after.pointer(&pointer));
        }
    }
    let found = again.get("acme", &again.token("acme", "alice"), &path);
    assert_eq!((found.status, found.body), (200, served.body));
}

#[test]
fn two_planes_do_not_share_a_folder() {
    let plane = Plane::shared();
    let refused = complaint(&up_fails(&plane.dir, &["--demo"]));
    assert!(refused.contains("a plane already runs in") && refused.contains("--dir"), "{refused}");
    assert_eq!(plane.get("acme", &plane.token("acme", "alice"), "/payments").status, 200);
}
