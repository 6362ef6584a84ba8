//! Stored entities, from the command line to the gateway's and the application's decisions.

use std::fs;

use serde_json::Value;

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

const MAP: &str = "
    [[entity]]
    type = \"Ledger::Account\"
    query = \"SELECT id, created_by, tenant_id FROM accounts;\"
    id = \"id\"
    attributes = { created_by = \"created_by\" }
    [[entity]]
    type = \"Ledger::User\"
    query = \"SELECT 'u-' || n AS id, ARRAY['viewer', 'imported'] AS roles, n AS r FROM generate_series(1, 3) n -- three\"
    id = \"id\"
    parents = [{ type = \"Ledger::Role\", id = \"roles\" }]
";

#[test]
fn hj09_what_the_application_has_is_brought_in_by_a_map_and_nothing_of_another_tenants() {
    let plane = Plane::shared();
    plane.json(&["tenant", "create", "mover"]);
    let user = plane.json(&["user", "create", "ann", "--tenant", "mover", "--role", "admin"]);
    let password = user["password"].as_str().unwrap();
    let sign_in = ["--tenant", "mover", "--user", "ann", "--password-stdin"];
    let sql = |sql: &str| {
        let token = [&["token", "--for", "database"], &sign_in[..]].concat();
        let token = said(&plane.command_with(&token, password));
        said(&plane.psql("mover", token.trim(), sql)).trim().to_owned()
    };
    let id = sql("INSERT INTO accounts (tenant_id, id, name, currency, created_by)
        SELECT 'mover', gen_random_uuid(), 'main', 'EUR', 'u-1' FROM generate_series(1, 20) RETURNING id");
    let id = id.lines().next().unwrap().to_owned();
    let file = scratch("import").join("entities.toml");
    let path = file.display().to_string();
    let import = |map: &str, more: &[&str]| {
        fs::write(&file, map).unwrap();
        plane.command_with(&[&["entity", "import", &path], &sign_in[..], more].concat(), password)
    };
    let list = || plane.json(&["entity", "list", "--tenant", "mover"]).as_array().unwrap().clone();
    let planned: Vec<Value> = serde_json::from_str(&said(&import(MAP, &["--dry-run", "--json"]))).unwrap();
    assert_eq!(planned.len(), 23);
    assert!(list().is_empty(), "nothing is written by a dry run");
    for _ in 0..2 {
        let told = said(&import(MAP, &[]));
        assert!(told.starts_with("23 written"), "{told}");
        assert_eq!(list().len(), 23);
    }
    let name = format!("Ledger::Account::\"{id}\"");
    let shown = plane.json(&["entity", "show", &name, "--tenant", "mover"]);
    assert_eq!(shown["attrs"]["created_by"], "u-1", "{shown}");
    let user = plane.json(&["entity", "show", "Ledger::User::\"u-2\"", "--tenant", "mover"]);
    assert_eq!(user["ancestors"].as_array().unwrap().len(), 2, "{user}");

    // A query that asks for everybody's gets the tenant's own.
    let others =
        said(&plane.psql("globex", &plane.database_token("globex", "grace"), "SELECT id FROM accounts"));
    let theirs = others.lines().next().unwrap();
    let asking = MAP.replace("FROM accounts", "FROM accounts WHERE tenant_id = 'globex' OR true");
    let planned = said(&import(&asking, &["--dry-run", "--json"]));
    assert!(planned.contains(&id) && !planned.contains(theirs), "{planned}");

    for (map, told) in [
        // A few only, for sign-ins are counted; what a map or a row can have wrong has tests of its own.
        (MAP.replace("FROM accounts", "FROM nowhere"), "relation \"nowhere\" does not exist"),
        (MAP.replace("FROM accounts;", "FROM accounts; SELECT 1"), "syntax error"),
        (
            MAP.replace(
                "SELECT id, created_by, tenant_id FROM accounts;",
                "DELETE FROM accounts RETURNING id",
            ),
            "syntax error",
        ),
        (MAP.replace("Ledger::Account", "Ledger::Nothing"), "Ledger::Nothing"),
    ] {
        let said = complaint(&import(&map, &[]));
        assert!(said.contains(told), "{told}: {said}");
    }
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
