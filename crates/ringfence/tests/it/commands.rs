//! The commands that manage tenants, for people and for programs.

use std::fs;

use serde_json::Value;

use crate::{
    program::{complaint, said, scratch},
    session::Plane,
};

/// A tenant of this test's own with one administrator; gives the password.
fn tenant(plane: &Plane, id: &str) -> String {
    assert_eq!(plane.json(&["tenant", "create", id, "--name", "Of a test"])["status"], "active");
    let user = ["user", "create", "ann", "--tenant", id, "--role", "admin"];
    plane.json(&user)["password"].as_str().unwrap().to_owned()
}

fn token(plane: &Plane, tenant: &str, password: &str, purpose: &str) -> std::process::Output {
    let arguments = ["token", "--tenant", tenant, "--user", "ann", "--for", purpose, "--password-stdin"];
    plane.command_with(&arguments, password)
}

fn names(listed: &Value, member: &str) -> Vec<String> {
    listed.as_array().unwrap().iter().map(|found| found[member].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_tenants_life_in_commands() {
    let plane = Plane::shared();
    let password = tenant(plane, "umbra");
    assert!(names(&plane.json(&["tenant", "list"]), "id").contains(&"umbra".to_owned()));
    assert!(said(&plane.command(&["tenant", "list"])).contains("umbra"));
    let shown = plane.json(&["tenant", "show", "umbra"]);
    assert_eq!((&shown["display_name"], &shown["tier"]), (&"Of a test".into(), &"standard".into()));
    assert!(said(&plane.command(&["tenant", "show", "umbra"])).contains("Of a test"));

    let access = said(&token(plane, "umbra", &password, "api")).trim().to_owned();
    let database = said(&token(plane, "umbra", &password, "database")).trim().to_owned();
    assert_eq!(plane.get("umbra", &access, "/payments").status, 200);
    assert!(plane.psql("umbra", &database, "SELECT count(*) FROM payments").status.success());

    assert_eq!(plane.json(&["tenant", "suspend", "umbra"])["status"], "suspended");
    let refused = plane.get("umbra", &access, "/payments");
    assert!([401, 403].contains(&refused.status), "{refused:?}");
    assert_eq!(refused.refusal().0, "token");
    assert!(!token(plane, "umbra", &password, "api").status.success(), "nobody signs in");
    assert!(!plane.psql("umbra", &database, "SELECT 1").status.success(), "nobody connects");

    assert!(said(&plane.command(&["tenant", "resume", "umbra"])).contains("active"));
    let access = said(&token(plane, "umbra", &password, "api")).trim().to_owned();
    let database = said(&token(plane, "umbra", &password, "database")).trim().to_owned();
    assert_eq!(plane.get("umbra", &access, "/payments").status, 200);
    assert!(plane.psql("umbra", &database, "SELECT count(*) FROM payments").status.success());

    let unconfirmed = plane.command(&["tenant", "delete", "umbra", "--confirm", "umbrella"]);
    assert!(complaint(&unconfirmed).contains("nothing was deleted"));
    assert_eq!(plane.get("umbra", &access, "/payments").status, 200);
    plane.json(&["tenant", "delete", "umbra", "--confirm", "umbra"]);
    assert!([401, 403, 404].contains(&plane.get("umbra", &access, "/payments").status));
    assert!(!plane.psql("umbra", &database, "SELECT 1").status.success());
    assert!(!names(&plane.json(&["tenant", "list"]), "id").contains(&"umbra".to_owned()));
    let again = complaint(&plane.command(&["tenant", "create", "umbra"]));
    assert!(again.contains("never used again"), "{again}");
}

#[test]
fn x10_a_tenant_is_moved_by_command_while_it_is_served() {
    let plane = Plane::shared();
    let password = tenant(plane, "nomad");
    let access = said(&token(plane, "nomad", &password, "api")).trim().to_owned();
    let versions = || plane.json(&["policy", "versions", "--tenant", "nomad"]);
    let before = versions();
    for (to, place) in [("shared", "the shared store"), ("own", "a store of its own")] {
        let moved = ["tenant", "move-store", "nomad", "--to", to, "--seconds", "1"];
        let told = said(&plane.command(&moved));
        assert!(told.contains(place) && told.contains("done") && told.contains("0 answered"), "{told}");
        assert_eq!(plane.json(&["tenant", "show", "nomad"])["policy_store"], to);
        assert_eq!(plane.get("nomad", &access, "/payments").status, 200);
        assert!(complaint(&plane.command(&moved)).contains("already"));
        assert_eq!(versions(), before, "a move is no change of what the policies say");
    }
    assert!(said(&plane.command(&["tenant", "move-store", "nomad", "--show"])).contains("done"));
    assert!(said(&plane.command(&["status"])).contains("policy stores       standard: "));
}

#[test]
fn what_is_not_there_or_not_an_id_is_said() {
    let plane = Plane::shared();
    for (arguments, words) in [
        (vec!["tenant", "show", "nobody"], "no tenant of this id"),
        (vec!["tenant", "create", "Not An Id"], "id"),
        (vec!["tenant", "create", "fine", "--tier", "gold"], "no tier \"gold\""),
        (vec!["tenant", "create", "acme"], "never used again"),
        (vec!["tenant", "resume", "acme"], "suspended"),
        (vec!["user", "create", "alice", "--tenant", "acme"], "choose another"),
        (vec!["client", "disable", "nobody", "--tenant", "acme"], "no"),
        (vec!["policy", "delete", "nothing", "--tenant", "acme"], "there is no policy"),
        (vec!["token", "--tenant", "acme", "--user", "nobody"], "--password-stdin"),
    ] {
        let complaint = complaint(&plane.command(&arguments));
        assert!(complaint.contains(words), "{arguments:?}: {complaint}");
    }
}

#[test]
fn users_and_clients_in_commands() {
    let plane = Plane::shared();
    let password = tenant(plane, "staff");
    let users = plane.json(&["user", "list", "--tenant", "staff"]);
    assert_eq!(names(&users, "username"), ["ann"]);
    assert!(!users.to_string().contains(&password), "no password is listed");
    assert!(said(&plane.command(&["user", "list", "--tenant", "staff"])).contains("ann"));
    let access = said(&token(plane, "staff", &password, "api")).trim().to_owned();
    let id = users[0]["id"].as_str().unwrap();
    assert!(said(&plane.command(&["user", "disable", id, "--tenant", "staff"])).contains("disabled"));
    assert_eq!(plane.get("staff", &access, "/payments").refusal().1, "token_revoked");
    assert!(!token(plane, "staff", &password, "api").status.success());

    let made = plane.json(&["client", "create", "job", "--tenant", "staff", "--role", "service"]);
    let secret = made["client_secret"].as_str().unwrap();
    let listed = plane.json(&["client", "list", "--tenant", "staff"]);
    assert!(names(&listed, "client_id").contains(&"job".to_owned()) && !listed.to_string().contains(secret));
    assert!(said(&plane.command(&["client", "list", "--tenant", "staff"])).contains("machine"));
    let web =
        ["client", "create", "web", "--tenant", "staff", "--redirect-uri", "https://app.example/callback"];
    let web = said(&plane.command(&web));
    assert!(web.contains("public") && !web.contains("secret"), "{web}");
    assert!(said(&plane.command(&["client", "disable", "job", "--tenant", "staff"])).contains("disabled"));
    let listed = plane.json(&["client", "list", "--tenant", "staff"]);
    let job = listed.as_array().unwrap().iter().find(|client| client["client_id"] == "job").unwrap();
    assert_eq!(job["disabled"], true);
}

#[test]
fn cv16_a_policy_change_is_enforced_by_the_very_next_request() {
    let plane = Plane::shared();
    let password = tenant(plane, "rules");
    let access = said(&token(plane, "rules", &password, "api")).trim().to_owned();
    let file = scratch("policy").join("freeze.cedar");
    let freeze = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";
    fs::write(&file, freeze).unwrap();
    let file = file.display().to_string();
    for _ in 0..5 {
        assert_eq!(plane.get("rules", &access, "/payments").status, 200);
        let put = plane.command(&["policy", "put", "freeze", &file, "--tenant", "rules"]);
        assert!(said(&put).contains("enforced from the next request on"));
        let refused = plane.get("rules", &access, "/payments");
        assert_eq!(refused.refusal(), ("authorization".to_owned(), "denied".to_owned()));
        assert!(said(&plane.command(&["policy", "list", "--tenant", "rules"])).contains("// freeze"));
        assert!(plane.json(&["policy", "list", "--tenant", "rules"])["policies"]["freeze"].is_string());
        plane.json(&["policy", "delete", "freeze", "--tenant", "rules"]);
    }
    assert_eq!(plane.get("rules", &access, "/payments").status, 200);
    // The others' rules are their own.
    assert_eq!(plane.get("acme", &plane.token("acme", "alice"), "/payments").status, 200);
}

#[test]
fn cv10_a_policy_that_does_not_fit_the_schema_changes_nothing() {
    let plane = Plane::shared();
    let before = plane.json(&["policy", "list", "--tenant", "initech"]);
    let file = scratch("policy").join("bad.cedar");
    let path = file.display().to_string();
    for bad in [
        "permit (principal, action == Ledger::Action::\"NoSuchAction\", resource);",
        "permit (principal, action, resource) when { principal.no_such_attribute == 1 };",
        "permit (principal, action, resource",
        "",
    ] {
        fs::write(&file, bad).unwrap();
        let refused = plane.command(&["policy", "put", "bad", &path, "--tenant", "initech"]);
        assert!(!complaint(&refused).is_empty(), "{bad}");
    }
    assert_eq!(plane.json(&["policy", "list", "--tenant", "initech"]), before);
    let missing = complaint(&plane.command(&["policy", "put", "bad", "/nonexistent", "--tenant", "initech"]));
    assert!(missing.contains("/nonexistent") && missing.contains("No such file"), "{missing}");
}
