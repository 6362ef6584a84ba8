//! Stored entities, from the command line to the gateway's and the application's decisions.

use std::fs;

use crate::{
    program::{complaint, said, scratch},
    session::Plane,
};

#[test]
fn hj08_what_is_stored_is_enforced_at_the_gateway_and_again_behind_it_by_the_next_request() {
    let plane = Plane::shared();
    plane.json(&["tenant", "create", "keeper"]);
    let user = plane.json(&["user", "create", "ann", "--tenant", "keeper", "--role", "guest"]);
    let (id, password) = (user["id"].as_str().unwrap(), user["password"].as_str().unwrap());
    let sign_in = ["token", "--tenant", "keeper", "--user", "ann", "--password-stdin"];
    let token = said(&plane.command_with(&sign_in, password)).trim().to_owned();
    let file = scratch("entity").join("entities.json");
    let path = file.display().to_string();
    let put = |text: String| {
        fs::write(&file, text).unwrap();
        plane.command(&["entity", "put", &path, "--tenant", "keeper"])
    };
    let name = format!("Ledger::User::\"{id}\"");
    let uid = format!("{{\"type\":\"Ledger::User\",\"id\":\"{id}\"}}");
    let viewer = "{\"type\":\"Ledger::Role\",\"id\":\"viewer\"}";
    let explain = || {
        let user = format!("User::\"{id}\"");
        let book = "Book::\"keeper\"";
        said(&plane.command(&["entity", "explain", &user, "ListPayments", book, "--tenant", "keeper"]))
    };
    assert_eq!(plane.get("keeper", &token, "/payments").refusal().1, "denied");
    assert!(explain().starts_with("denied\n  no policy permits it"), "{}", explain());
    for _ in 0..3 {
        said(&put(format!("{{\"uid\":{uid},\"parents\":[{viewer}]}}")));
        assert_eq!(plane.get("keeper", &token, "/payments").status, 200);
        let told = explain();
        assert!(told.starts_with("permitted\n  by everyone-reads\n"), "{told}");
        assert!(
            told.contains("in Ledger::Role::\"viewer\"") && told.contains("not stored Ledger::Book"),
            "{told}"
        );
        said(&plane.command(&["entity", "delete", &name, "--tenant", "keeper"]));
        assert_eq!(plane.get("keeper", &token, "/payments").refusal().1, "denied");
    }
    said(&put(format!("[{{\"uid\":{uid},\"parents\":[{viewer}]}}]")));
    let shown = plane.json(&["entity", "show", &name, "--tenant", "keeper"]);
    assert_eq!((&shown["uid"]["id"], &shown["ancestors"][0]["id"]), (&id.into(), &"viewer".into()));
    assert_eq!(plane.json(&["entity", "list", "--tenant", "keeper"]).as_array().unwrap().len(), 1);
    assert!(
        said(&plane.command(&["entity", "list", "--tenant", "keeper", "--type", "Ledger::User"]))
            .contains(id)
    );
    let none = said(&plane.command(&["entity", "list", "--tenant", "keeper", "--type", "Ledger::Payment"]));
    assert_eq!(none.trim(), "none");

    let told = complaint(&put(format!("{{\"uid\":{uid},\"attrs\":{{\"tenant\":\"acme\"}}}}")));
    assert!(told.contains("Two statements of the tenant disagree"), "{told}");
    let told = complaint(&put("{\"uid\":{\"type\":\"Ledger::Thing\",\"id\":\"x\"}}".to_owned()));
    assert!(told.contains("no entity type \"Ledger::Thing\""), "{told}");
    let told = complaint(&put("{\"uid\":{\"type\":\"Ledger::User\",\"id\":\"x\"},\"tags\":{}}".to_owned()));
    assert!(told.contains("tags"), "{told}");
    // reject_entity_bytes
    let large = "x".repeat(65_536);
    let told = complaint(&put(format!("{{\"uid\":{uid},\"attrs\":{{\"subject\":\"{large}\"}}}}")));
    assert!(told.contains("64 KiB"), "{told}");
    // Not there and another tenant's are the same.
    let there = complaint(&plane.command(&["entity", "show", &name, "--tenant", "acme"]));
    let never = "Ledger::User::\"u-never\"";
    let nowhere = complaint(&plane.command(&["entity", "show", never, "--tenant", "acme"]));
    assert_eq!(there.replace(id, "u-never"), nowhere);
    let deleted = complaint(&plane.command(&["entity", "delete", &name, "--tenant", "acme"]));
    assert!(deleted.contains("stores no entity"), "{deleted}");
}

#[test]
fn only_operators_write_entities() {
    let plane = Plane::shared();
    let token = plane.token("acme", "alice");
    for (method, path) in [
        ("GET", "/v1/tenants/acme/entities"),
        ("PUT", "/v1/tenants/acme/entities"),
        ("POST", "/v1/tenants/acme/entities/explain"),
        ("GET", "/v1/tenants/acme/entities/Ledger%3A%3AUser/x"),
        ("DELETE", "/v1/tenants/acme/entities/Ledger%3A%3AUser/x"),
    ] {
        assert_eq!(plane.api(&token, method, path).status, 401, "{method} {path}");
    }
}
