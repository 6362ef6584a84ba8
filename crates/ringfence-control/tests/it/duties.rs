//! Who may call which endpoint: every caller against every one of them.

use http::Method;
use serde_json::{Value, json};

use crate::{
    bench::{id, with_bench},
    govern::{call, operator},
    stores,
};

/// Every endpoint of governing, with a body it reads, and the duty it is for. What they name is not there.
fn endpoints(tenant: &str) -> Vec<(Method, String, Value, &'static str)> {
    let at = |path: &str| format!("/v1/tenants/{tenant}/{path}");
    let because = json!({ "reason": "x" });
    let sides = json!({ "from": { "version": 77 }, "to": "serving" });
    let row = json!({ "principal": { "id": "u" }, "action": "ListPayments", "resource": { "type": "Book" }, "expect": "deny" });
    let none = json!({});
    let policy = |method| (method, at("policies/none?reason=x"), json!("x"), "author");
    vec![
        policy(Method::PUT),
        policy(Method::DELETE),
        (Method::GET, at("policies"), none.clone(), "read"),
        (Method::GET, at("versions"), none.clone(), "read"),
        (Method::GET, at("versions/77"), none.clone(), "read"),
        (Method::POST, at("versions/77/rollback"), because.clone(), "author"),
        (Method::GET, at("audit"), none.clone(), "read"),
        (Method::GET, at("types?language=rust"), none.clone(), "read"),
        (Method::POST, at("difference"), sides, "read"),
        (Method::POST, at("truth-table"), json!({ "rows": [row] }), "read"),
        (Method::GET, at("proposals"), none.clone(), "read"),
        (Method::POST, at("proposals"), json!({ "reason": "x", "version": 77 }), "author"),
        (Method::GET, at("proposals/77"), none.clone(), "read"),
        (Method::POST, at("proposals/77/approve"), none.clone(), "review"),
        (Method::POST, at("proposals/77/reject"), because, "publish"),
        (Method::POST, at("proposals/77/publish"), none.clone(), "publish"),
        (Method::DELETE, at("proposals/77/schedule"), none.clone(), "publish"),
        (Method::POST, at("proposals/77/shadow"), none.clone(), "author"),
        (Method::POST, at("proposals/77/canary"), json!({ "percent": 10 }), "publish"),
        (Method::GET, at("canary"), none.clone(), "read"),
        (Method::DELETE, at("canary"), none.clone(), "publish"),
        (Method::GET, at("shadow"), none.clone(), "read"),
        (Method::DELETE, at("shadow"), none.clone(), "author"),
        (Method::GET, "/v1/status".to_owned(), none.clone(), "read"),
        (Method::GET, "/v1/migrations".to_owned(), none.clone(), "operate"),
        (Method::POST, "/v1/migrations".to_owned(), none.clone(), "operate"),
        (Method::GET, "/v1/operators".to_owned(), none.clone(), "operate"),
        (Method::POST, "/v1/operators".to_owned(), json!({ "name": "x y", "roles": ["admin"] }), "operate"),
        (Method::DELETE, "/v1/operators/nobody".to_owned(), none.clone(), "operate"),
        (Method::POST, "/v1/operators/operator/tokens".to_owned(), none.clone(), "operate"),
        (Method::POST, "/v1/access-keys".to_owned(), json!({ "operator": "nobody" }), "operate"),
        (Method::GET, at("maps/audit"), none.clone(), "audit"),
        (Method::POST, at("store-move"), json!({ "to": "own" }), "operate"),
        (Method::GET, at("store-move"), none.clone(), "operate"),
        (Method::DELETE, at("store-move"), none.clone(), "operate"),
        (Method::POST, at("store-move/approve"), none.clone(), "review"),
        (Method::POST, format!("/v1/tenants/{tenant}/suspend"), none, "operate-not-tried"),
    ]
}

#[test]
fn cv24_each_step_is_for_who_has_the_duty_and_for_nobody_else() {
    with_bench(async |bench| {
        bench.tenant("duties").await;
        let user = bench.token("duties", "admin").await;
        let mut callers = vec![("nobody", String::new(), vec![]), ("a tenant's admin", user, vec![])];
        for (role, duties) in [
            ("policy-author", vec!["read", "author", "publish"]),
            ("policy-reviewer", vec!["read", "review", "publish"]),
            ("auditor", vec!["read", "audit"]),
            ("decisions-only", vec![]),
        ] {
            callers.push((role, operator(bench, &format!("duties-{role}"), &[role]).await, duties));
        }
        let all = vec!["read", "audit", "author", "review", "publish", "operate"];
        callers.push(("admin", bench.operator.clone(), all));
        let mut tried = 0;
        for (method, path, body, duty) in [endpoints("duties"), stores::endpoints("duties")].concat() {
            for (who, token, duties) in &callers {
                if duty == "operate-not-tried" && *who == "admin" {
                    continue;
                }
                let answer = call(bench, token, method.clone(), &path, &body).await;
                let refused = matches!(answer.status.as_u16(), 401 | 403);
                assert_eq!(refused, !duties.contains(&duty), "{who} {method} {path}: {answer:?}");
                tried += 1;
            }
        }
        println!("{tried} pairs of caller and endpoint");
        let (document, _) = bench.workflow.stores.document(&id("duties")).await.unwrap();
        assert!(!document.policies.contains_key("none"));
    });
}
