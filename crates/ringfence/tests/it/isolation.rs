//! Two tenants on one app fail to reach each other, over HTTP and over SQL.

use crate::{program::said, session::Plane};

/// A payment that nobody has.
const NOBODYS: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn an_own_payment_is_served() {
    let plane = Plane::shared();
    for (tenant, user) in [("acme", "victor"), ("globex", "grace"), ("initech", "cleo")] {
        let id = plane.payment(tenant);
        let answer = plane.get(tenant, &plane.token(tenant, user), &format!("/payments/{id}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["tenant_id"], tenant);
        assert!(!answer.header("ringfence-reference").is_empty());
    }
}

#[test]
fn another_tenants_payment_and_nobodys_are_the_same_bytes() {
    let plane = Plane::shared();
    for user in ["alice", "adam", "carla", "victor"] {
        let token = plane.token("acme", user);
        for (method, after) in [("GET", ""), ("POST", "/refund")] {
            let ask = |id: &str| {
                plane.try_ask("acme", &token, method, &format!("/payments/{id}{after}"), &[]).unwrap()
            };
            let (theirs, nobodys) = (ask(&plane.payment("globex")), ask(NOBODYS));
            assert!([403, 404].contains(&theirs.status), "{theirs:?}");
            assert_eq!(theirs.without_names(), nobodys.without_names(), "{user} {method}");
        }
    }
}

#[test]
fn a_forged_tenant_header_changes_nothing() {
    let plane = Plane::shared();
    let token = plane.token("acme", "alice");
    let own = format!("/payments/{}", plane.payment("acme"));
    let foreign = format!("/payments/{}", plane.payment("globex"));
    for path in [&own, &foreign] {
        let plain = plane.get("acme", &token, path);
        for name in
            ["X-Tenant-Id", "x_tenant_id", "X.Tenant.Id", "Txn-Token", "Txn-Binding", "X-Forwarded-Host"]
        {
            let forged = plane.try_ask("acme", &token, "GET", path, &[(name, "globex")]).unwrap();
            assert_eq!(forged.without_names(), plain.without_names(), "{name} on {path}");
        }
    }
}

#[test]
fn x16_an_own_token_at_anothers_host_is_refused_at_layer_token() {
    let plane = Plane::shared();
    let token = plane.token("acme", "alice");
    for other in ["globex", "initech"] {
        for path in [format!("/payments/{}", plane.payment(other)), "/payments".to_owned()] {
            let answer = plane.get(other, &token, &path);
            assert_eq!(answer.status, 401);
            assert_eq!(answer.refusal(), ("token".to_owned(), "tenant_mismatch".to_owned()));
        }
    }
}

#[test]
fn psql_through_the_guard_sees_own_rows_only() {
    let plane = Plane::shared();
    let token = plane.database_token("acme", "alice");
    let ask = |sql: &str| said(&plane.psql("acme", &token, sql)).trim().to_owned();
    for table in ["accounts", "beneficiaries", "payments"] {
        assert_eq!(ask(&format!("SELECT DISTINCT tenant_id FROM {table}")), "acme");
    }
    let theirs = plane.payment("globex");
    assert_eq!(ask(&format!("SELECT count(*) FROM payments WHERE id = '{theirs}'")), "0");
    assert_eq!(ask(&format!("UPDATE payments SET memo = 'x' WHERE id = '{theirs}'")), "UPDATE 0");
    let insert = "INSERT INTO accounts (tenant_id, id, name, currency, created_by)
        VALUES ('globex', gen_random_uuid(), 'x', 'USD', 'x')";
    assert!(!plane.psql("acme", &token, insert).status.success(), "no row for another tenant");
}

#[test]
fn the_guard_takes_a_database_token_of_the_user_it_is_for() {
    let plane = Plane::shared();
    let (database, access) = (plane.database_token("acme", "alice"), plane.token("acme", "alice"));
    let refused = |user: &str, password: &str| {
        let output = plane.psql(user, password, "SELECT 1");
        assert!(!output.status.success(), "{user}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (user, password) in [
        ("globex", database.as_str()),
        ("postgres", &database),
        ("ledger_app", &database),
        ("acme", &access),
        ("acme", "secret"),
    ] {
        let said = refused(user, password);
        assert!(!said.contains(password), "no token is quoted: {said}");
    }
    // Who may not connect gets no database token at all.
    let viewer = plane.command(&["token", "--tenant", "acme", "--user", "victor", "--for", "database"]);
    assert!(!viewer.status.success());
}
