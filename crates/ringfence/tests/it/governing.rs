//! Governing policies by commands, as `docs/reference/policies.md` walks through it.

use std::{fs, process::Command};

use crate::{
    program::{complaint, said, scratch},
    session::Plane,
};

const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";

fn tenant(plane: &Plane, id: &str) {
    assert_eq!(plane.json(&["tenant", "create", id, "--name", "Of a test"])["status"], "active");
}

#[test]
fn cv17_how_long_changes_take_to_be_enforced_is_told() {
    let plane = Plane::shared();
    tenant(plane, "lag");
    let file = scratch("lag").join("freeze.cedar");
    fs::write(&file, FREEZE).unwrap();
    said(&plane.command(&["policy", "put", "freeze", &file.display().to_string(), "--tenant", "lag"]));
    let told = plane.json(&["status"]);
    for (name, limit) in [("made_here", 5_000_000), ("at_most", 60_000_000)] {
        let delays = &told["policies"][name];
        let (changes, longest) =
            (delays["changes"].as_u64().unwrap(), delays["longest_us"].as_u64().unwrap());
        assert!(changes > 0 && (1..limit).contains(&longest), "{name}: {told}");
    }
    assert!(
        told["policies"]["revision"].as_u64().unwrap() > 0 && !told.to_string().contains("lag"),
        "{told}"
    );
    let shown = said(&plane.command(&["status"]));
    assert!(shown.contains("changes made here   last "), "{shown}");
    for name in ["tokens", "permits", "stores", "policies", "entities", "proofs", "policy_service"] {
        let hits = &told["memory"][name];
        assert!(hits["found"].is_u64() && hits["missed"].is_u64(), "{name}: {told}");
    }
    assert!(told["memory"]["proofs"]["missed"].as_u64().unwrap() > 0, "the change was proved: {told}");
    assert!(told["turned_away"]["queue"].is_u64(), "{told}");
    assert!(shown.contains(" in memory (") && shown.contains("turned away         "), "{shown}");
}

#[test]
fn x12_versions_differences_and_roll_backs_in_commands() {
    let plane = Plane::shared();
    tenant(plane, "history");
    let file = scratch("history").join("freeze.cedar");
    fs::write(&file, FREEZE).unwrap();
    let file = file.display().to_string();
    let at = |arguments: &[&str]| {
        let mut all = vec!["policy"];
        all.extend(arguments);
        all.extend(["--tenant", "history"]);
        plane.command(&all)
    };
    let put = said(&at(&["put", "freeze", &file, "--reason", "month end: books & balances"]));
    assert!(put.contains("written as version 2, proved safe by cvc5"), "{put}");
    let versions = said(&at(&["versions"]));
    assert_eq!(versions.lines().count(), 3, "{versions}");
    assert!(
        versions.contains("operator operator") && versions.contains("month end: books & balances"),
        "{versions}"
    );
    assert!(said(&at(&["show", "--version", "2"])).contains("// freeze"));
    assert!(!said(&at(&["show", "--version", "1"])).contains("// freeze"));
    let lost = said(&at(&["diff", "1", "2"]));
    for part in ["different: ", "- lost, for example", "denied by   freeze", "recorded decisions:"] {
        assert!(lost.contains(part), "{part}: {lost}");
    }
    assert!(!lost.contains("+ gained"), "{lost}");
    let gained = said(&at(&["diff", "serving", "--delete", "freeze"]));
    assert!(gained.contains("+ gained, for example") && !gained.contains("- lost"), "{gained}");
    assert!(said(&at(&["diff", "2", "serving"])).starts_with("equivalent: proved"), "the same");
    let back = said(&at(&["rollback", "--to", "1", "--reason", "too early"]));
    assert!(back.starts_with("rolled back to 1 as version 3"), "{back}");
    assert!(said(&at(&["diff", "1", "3"])).starts_with("equivalent: proved"));
    assert!(complaint(&at(&["show", "--version", "9"])).contains("there is no version 9"));
    assert!(complaint(&at(&["rollback", "--to", "1", "--reason", "again"])).contains("nothing would change"));
    assert!(complaint(&at(&["diff", "latest", "1"])).contains("is not a version"));
    let audit = said(&at(&["audit"]));
    assert!(audit.contains("published version 3 (roll-back to 1)") && audit.contains("too early"), "{audit}");
}

#[test]
fn x12_propose_review_and_publish_in_commands() {
    let plane = Plane::shared();
    tenant(plane, "review");
    let folder = scratch("review");
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(folder.join("freeze.cedar"), FREEZE).unwrap();
    for (name, role) in [("rev-alice", "policy-author"), ("rev-bob", "policy-reviewer")] {
        let token = path(name);
        let made =
            said(&plane.command(&["operator", "create", "--name", name, "--role", role, "--save", &token]));
        assert!(!made.contains("rfo_") && fs::read_to_string(&token).unwrap().starts_with("rfo_"), "{made}");
    }
    let (alice, bob) = (path("rev-alice"), path("rev-bob"));
    let there = ["operator", "create", "--name", "rev-carol", "--role", "auditor", "--save", &bob];
    assert!(complaint(&plane.command(&there)).contains("exists: nothing was made"));
    assert!(!said(&plane.command(&["operator", "list"])).contains("rev-carol"));
    let at = |who: &str, arguments: &[&str]| {
        let mut all = vec!["policy"];
        all.extend(arguments);
        all.extend(["--tenant", "review", "--token-file", who]);
        plane.command(&all)
    };
    let put = format!("freeze={}", path("freeze.cedar"));
    let made = said(&at(&alice, &["propose", "--put", &put, "--reason", "month end"]));
    assert!(made.contains("rev-alice") && made.contains("open"), "{made}");
    assert!(complaint(&at(&alice, &["review", "1", "--approve"])).contains("role does not include this"));
    assert!(
        complaint(&at(&bob, &["propose", "--put", &put, "--reason", "x"]))
            .contains("role does not include this")
    );
    assert!(complaint(&at(&alice, &["publish", "1"])).contains("open, not approved"));
    assert!(said(&at(&bob, &["diff", "serving", "p1"])).contains("- lost"));
    assert!(said(&at(&bob, &["proposals", "--show", "1"])).contains("// freeze"));
    assert!(said(&at(&bob, &["review", "1", "--approve"])).contains("approved"));
    let begun = said(&at(&alice, &["publish", "1", "--canary", "10%", "--max-rise", "5"]));
    assert!(begun.contains("decides for 10%") && begun.contains("over 5% more"), "{begun}");
    assert!(said(&at(&bob, &["canary", "status"])).contains("0 questions"));
    assert!(said(&at(&alice, &["canary", "stop"])).contains("over: stopped"));
    assert!(complaint(&at(&alice, &["canary", "stop"])).contains("no proposal of this tenant"));
    assert_eq!(at(&alice, &["publish", "1", "--canary", "110%"]).status.code(), Some(2));
    let date = Command::new("date").args(["-u", "-d", "+1 day", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    let later = said(&date).trim().to_owned();
    let set = said(&at(&alice, &["publish", "1", "--at", &later]));
    assert!(set.contains(&format!("{later} by operator rev-alice")), "{set}");
    assert!(said(&at(&bob, &["proposals"])).contains(&later));
    assert!(said(&at(&bob, &["unschedule", "1"])).contains("it was cancelled"));
    assert!(complaint(&at(&bob, &["unschedule", "1"])).contains("not to be published at a time"));
    assert!(complaint(&at(&alice, &["publish", "1", "--at", "2001-01-01T00:00:00Z"])).contains("has passed"));
    let published = said(&at(&alice, &["publish", "1"]));
    assert!(published.starts_with("proposal 1 published as version 2"), "{published}");
    assert!(said(&at(&bob, &["proposals"])).contains("published"));
    assert!(said(&plane.command(&["operator", "list"])).contains("rev-alice"));
    assert!(said(&plane.command(&["operator", "end", "--name", "rev-alice"])).contains("ended"));
    assert!(!at(&alice, &["versions"]).status.success());
}

#[test]
fn another_policy_store_is_listed_proved_and_published_in_commands() {
    let plane = Plane::shared();
    tenant(plane, "restocked");
    let at = |arguments: &[&str]| {
        let mut all = vec!["policy"];
        all.extend(arguments);
        all.extend(["--tenant", "restocked"]);
        plane.command(&all)
    };
    let listed = said(&at(&["stores"]));
    assert!(
        listed.contains("ps-restocked") && listed.contains("true") && listed.contains("  proved"),
        "{listed}"
    );
    let json = plane.json(&["policy", "stores", "--tenant", "restocked"]);
    assert_eq!((json.as_array().unwrap().len(), &json[0]["standing"]), (1, &"proved".into()), "{json}");
    assert!(
        complaint(&at(&["prove-store", "ps-restocked"])).contains("decides the tenant's requests already")
    );
    for foreign in ["ps-acme", "PSnone"] {
        let told = complaint(&at(&["publish-store", foreign, "--reason", "x"]));
        assert!(told.contains("the tenant has no such policy store"), "{told}");
    }
}

#[test]
fn x13_a_truth_table_in_yaml_fails_with_its_rows() {
    let plane = Plane::shared();
    let file = scratch("truth").join("table.yaml");
    let path = file.display().to_string();
    let table = "
- name: a clerk pays a little
  principal: { id: u-1, roles: [clerk] }
  action: CreatePayment
  resource: { type: Book }
  context: { amount: 500 }
  expect: allow
  by: [clerks-enter]
- name: and much
  principal: { id: u-1, roles: [clerk] }
  action: CreatePayment
  resource: { type: Book }
  context: { amount: 1000001 }
  expect: deny
";
    fs::write(&file, table).unwrap();
    let passed = plane.command(&["policy", "test", &path, "--tenant", "initech"]);
    assert!(said(&passed).contains("2 passed, 0 failed"), "{passed:?}");
    fs::write(&file, table.replace("expect: deny", "expect: allow")).unwrap();
    let failed = plane.command(&["policy", "test", &path, "--tenant", "initech"]);
    let text = String::from_utf8(failed.stdout).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text.contains("1 passed, 1 failed") && text.contains("and much") && !text.contains("pays a little"),
        "{text}"
    );
    for (wrong, words) in [
        ("- name: [", "is not a list of rows"),
        ("a: b", "is not a list of rows"),
        (&*table.replace("context:", "contxt:"), "contxt"),
        (&*table.replace("roles: [clerk] }", "roles: [clerk], roles: [admin] }"), "is not a list of rows"),
    ] {
        fs::write(&file, wrong).unwrap();
        let told = complaint(&plane.command(&["policy", "test", &path, "--tenant", "initech"]));
        assert!(told.contains(words), "{wrong}: {told}");
    }
}
