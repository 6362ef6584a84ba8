//! AuthZEN 1.0 over HTTP: the certification scenario as a table, and attacks on it.
//!
//! The plane itself speaks HTTP. AuthZEN wants HTTPS, which a proxy in front of the API speaks: the plane is told the
//! proxy's address as `api_url`, and says it in its metadata. The tests stand where that proxy does.

use std::{collections::BTreeSet, fs, path::Path, sync::OnceLock};

use ringfence_context::limits;
use serde_json::{Value, json};

use crate::{
    http::{Answer, send},
    program::{complaint, said, scratch},
    session::Plane,
};

const API_URL: &str = "https://pdp.example.com";

/// A tenant of the scenario's tier with its entities, and another one; with a decision client each.
struct Scenario {
    plane: Plane,
}

impl Scenario {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Scenario> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = scratch("authzen");
        let config = crate::init::settings(&folder.join("config"), "127.0.0.1:1");
        let text = fs::read_to_string(&config).unwrap();
        let tier = "\n[tiers.records]\nrate = { per_second = 500, burst = 1000 }\nnamespace = \"Records\"\n\
                    schema = \"records.cedarschema\"\npolicies = \"records.cedar\"\n";
        fs::write(&config, format!("api_url = \"{API_URL}\"\n{text}{tier}")).unwrap();
        for name in ["records.cedarschema", "records.cedar"] {
            fs::copy(table(name), config.with_file_name(name)).unwrap();
        }
        let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
        let entities = table("entities.json");
        for tenant in ["scenario", "neighbour"] {
            plane.json(&["tenant", "create", tenant, "--tier", "records"]);
            said(&plane.command(&["entity", "put", &entities, "--tenant", tenant]));
        }
        Self { plane }
    }

    /// An access token of a machine client with these roles.
    fn token(&self, tenant: &str, client: &str, role: &str) -> String {
        let made = self.plane.json(&["client", "create", client, "--tenant", tenant, "--role", role]);
        let secret = made["client_secret"].as_str().unwrap();
        granted(&self.plane, tenant, client, secret)
    }

    fn decider(&self) -> &str {
        static TOKEN: OnceLock<String> = OnceLock::new();
        TOKEN.get_or_init(|| self.token("scenario", "pdp", "decisions"))
    }

    fn ask(&self, token: &str, path: &str, body: &str, extra: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend_from_slice(extra);
        let api = self.plane.file("running.json")["api"].as_str().unwrap().to_owned();
        send(&api, "POST", path, &headers, body).unwrap()
    }

    fn post(&self, what: &str, body: &Value) -> Answer {
        self.ask(self.decider(), &format!("/t/scenario/access/v1/{what}"), &body.to_string(), &[])
    }
}

/// An access token of a machine client.
fn granted(plane: &Plane, tenant: &str, client: &str, secret: &str) -> String {
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
    let running = plane.file("running.json");
    let host = running["base_url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let headers = [("Host", host.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let path = format!("/t/{tenant}/token");
    let answer = send(running["gateway"].as_str().unwrap(), "POST", &path, &headers, &form).unwrap();
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn table(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/authzen").join(name).display().to_string()
}

fn results(answer: &Answer) -> BTreeSet<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = answer.json()["results"].as_array().unwrap().clone();
    found.iter().map(ToString::to_string).collect()
}

/// All pages of a search.
fn all_pages(scenario: &Scenario, path: &str, request: &Value) -> BTreeSet<String> {
    let (mut asked, mut all) = (request.clone(), BTreeSet::new());
    loop {
        let answer = scenario.post(path, &asked);
        all.extend(results(&answer));
        match answer.json()["page"]["next_token"].as_str().unwrap() {
            "" => return all,
            // The limit need not be said again; it stays.
            token => asked["page"] = json!({ "token": token }),
        }
    }
}

fn check(scenario: &Scenario, table: &[Value], case: &Value) {
    let (path, expect) = (case["path"].as_str().unwrap(), &case["expect"]);
    let body = case["raw"].as_str().map_or_else(|| case["request"].to_string(), str::to_owned);
    let mut headers = Vec::new();
    headers.extend(case["content_type"].as_str().map(|kind| ("Content-Type", kind)));
    headers.extend(case["request_id"].as_str().map(|id| ("X-Request-ID", id)));
    let answer = scenario.ask(scenario.decider(), &format!("/t/scenario/access/v1/{path}"), &body, &headers);
    assert_eq!(u64::from(answer.status), expect["status"].as_u64().unwrap(), "{case} {answer:?}");
    assert_eq!(answer.header("x-request-id"), case["request_id"].as_str().unwrap_or_default(), "{case}");
    if answer.status != 200 {
        return;
    }
    assert_eq!(answer.header("content-type"), "application/json", "{case}");
    let told = answer.json();
    if let Some(decision) = expect["decision"].as_bool() {
        assert_eq!(told["decision"], decision, "{case} {told}");
        assert!(told.get("context").is_none_or(Value::is_object));
    }
    if let Some(decisions) = expect["decisions"].as_array() {
        let found = told["evaluations"].as_array().unwrap();
        assert_eq!(found.len(), decisions.len(), "{case}");
        for (found, expected) in found.iter().zip(decisions) {
            assert!(found["decision"].is_boolean(), "{case} {told}");
            assert!(expected.is_null() || found["decision"] == *expected, "{case} {told}");
        }
        assert!(told.get("decision").is_none(), "{case}");
    }
    if expect["none"] == true {
        assert_eq!(told["results"], json!([]), "{case}");
    }
    if let Some(included) = expect["include"].as_array() {
        let found = results(&answer);
        assert!(included.iter().all(|entity| found.contains(&entity.to_string())), "{case} {told}");
        assert!(told["page"]["next_token"].is_string(), "{case}");
        let kind = case["request"][path.rsplit('/').next().unwrap()]["type"].clone();
        for result in told["results"].as_array().unwrap() {
            assert!(result["name"].is_string() || (result["type"] == kind && result["id"].is_string()));
        }
    }
    for (member, follow) in [("same_as", false), ("follow_to", true)] {
        if let Some(other) = expect[member].as_str() {
            let other = table.iter().find(|case| case["id"] == other).unwrap();
            let all = if follow { all_pages(scenario, path, &case["request"]) } else { results(&answer) };
            assert_eq!(all, results(&scenario.post(path, &other["request"])), "{case}");
        }
    }
}

#[test]
fn every_level_of_the_certification_scenario_passes() {
    let scenario = Scenario::shared();
    let text = fs::read_to_string(table("certification.json")).unwrap();
    let table: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut levels = BTreeSet::new();
    for case in &table {
        check(scenario, &table, case);
        levels.insert(case["level"].as_str().unwrap());
    }
    assert_eq!(levels.len(), 6, "{levels:?}");
    println!("{} cases of {levels:?}", table.len());
}

#[test]
fn c_6_the_metadata_names_the_endpoints_below_the_base_url() {
    let scenario = Scenario::shared();
    let running = scenario.plane.file("running.json");
    let get = |tenant: &str| {
        let path = format!("/.well-known/authzen-configuration/t/{tenant}");
        send(running["api"].as_str().unwrap(), "GET", &path, &[("X-Request-ID", "r-1")], "").unwrap()
    };
    let answer = get("scenario");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("x-request-id"), "r-1");
    let base = format!("{API_URL}/t/scenario");
    let metadata = answer.json();
    assert_eq!(metadata["policy_decision_point"], base);
    for (member, path) in [
        ("access_evaluation_endpoint", "evaluation"),
        ("access_evaluations_endpoint", "evaluations"),
        ("search_subject_endpoint", "search/subject"),
        ("search_resource_endpoint", "search/resource"),
        ("search_action_endpoint", "search/action"),
    ] {
        assert_eq!(metadata[member], format!("{base}/access/v1/{path}"));
    }
    let never = get("never-was");
    assert_eq!(never.status, 200, "whether there is such a tenant is not said");
    assert_eq!(never.body, answer.body.replace("scenario", "never-was"));
}

#[test]
fn a_batch_ends_where_its_semantic_says() {
    let scenario = Scenario::shared();
    let decisions = |semantic: Value, actions: &[&str]| {
        let items: Vec<Value> = actions.iter().map(|name| json!({ "action": { "name": name } })).collect();
        let body = json!({
            "subject": { "type": "user", "id": "bob" }, "resource": { "type": "record", "id": "record-1" },
            "evaluations": items, "options": { "evaluations_semantic": semantic },
        });
        let answer = scenario.post("evaluations", &body);
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        let found: Vec<bool> = told["evaluations"]
            .as_array()
            .map(|all| all.iter().map(|one| one["decision"].as_bool().unwrap()).collect())
            .unwrap_or_default();
        (answer.status, found)
    };
    let asked = ["read", "write", "read"];
    assert_eq!(decisions(json!("execute_all"), &asked), (200, vec![true, false, true]));
    assert_eq!(decisions(json!("deny_on_first_deny"), &asked), (200, vec![true, false]));
    assert_eq!(decisions(json!("permit_on_first_permit"), &asked), (200, vec![true]));
    assert_eq!(
        decisions(json!("permit_on_first_permit"), &["write", "none", "read", "read"]),
        (200, vec![false, false, true])
    );
    assert_eq!(decisions(json!("all"), &asked).0, 400);
    assert_eq!(decisions(json!(7), &asked).0, 400);
}

#[test]
fn reject_authzen_evaluations() {
    let scenario = Scenario::shared();
    let ask = |count: usize| {
        let body = json!({
            "subject": { "type": "user", "id": "bob" }, "resource": { "type": "record", "id": "record-1" },
            "evaluations": vec![json!({ "action": { "name": "read" } }); count],
        });
        scenario.post("evaluations", &body)
    };
    let most = ask(limits::AUTHZEN_EVALUATIONS);
    assert_eq!(most.json()["evaluations"].as_array().unwrap().len(), limits::AUTHZEN_EVALUATIONS);
    assert_eq!(ask(limits::AUTHZEN_EVALUATIONS + 1).status, 400);
}

#[test]
fn nobody_asks_who_is_no_decision_client_of_this_very_tenant() {
    let scenario = Scenario::shared();
    let question = json!({
        "subject": { "type": "user", "id": "alice" }, "action": { "name": "read" },
        "resource": { "type": "record", "id": "record-1" },
    });
    let plain = scenario.token("scenario", "job", "service");
    let neighbour = scenario.token("neighbour", "pdp", "decisions");
    for path in ["evaluation", "evaluations", "search/subject", "search/resource", "search/action"] {
        let at = |tenant: &str| format!("/t/{tenant}/access/v1/{path}");
        let ask = |token: &str, tenant: &str| scenario.ask(token, &at(tenant), &question.to_string(), &[]);
        assert_eq!(ask(scenario.decider(), "scenario").status, 200, "{path}");
        let refused = ask(&plain, "scenario");
        assert!([401, 403].contains(&refused.status), "{path}: {refused:?}");
        let other = ask(&neighbour, "scenario");
        assert_eq!((other.status, other.refusal().1.as_str()), (401, "tenant_mismatch"), "{path}");
        // Another tenant's address answers as one that never was.
        let there = ask(scenario.decider(), "neighbour").without_names();
        assert_eq!(there, ask(scenario.decider(), "never-was").without_names(), "{path}");
        let nobody = ask("", "scenario");
        assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, "Bearer"), "{path}");
        // With the gateway's header it claims to be a backend, which it is not.
        let claimed =
            scenario.ask(scenario.decider(), &at("scenario"), &question.to_string(), &[("Txn-Token", "x")]);
        assert!([401, 403].contains(&claimed.status), "{path}: {claimed:?}");
    }
    // The role is a machine's, and its only one.
    let user = ["user", "create", "ann", "--tenant", "scenario", "--role", "decisions"];
    assert!(complaint(&scenario.plane.command(&user)).contains("decisions"));
    let both = ["client", "create", "both", "--tenant", "scenario", "--role", "decisions", "--role", "admin"];
    assert!(complaint(&scenario.plane.command(&both)).contains("decisions"));
}

#[test]
fn a_tenant_named_in_properties_is_ones_own_or_refused() {
    let scenario = Scenario::shared();
    let question = |subject: Value, resource: Value| {
        json!({
            "subject": { "type": "user", "id": "alice", "properties": subject }, "action": { "name": "read" },
            "resource": { "type": "record", "id": "record-1", "properties": resource },
        })
    };
    let (own, other) = (json!({ "tenant": "scenario" }), json!({ "tenant": "neighbour" }));
    assert_eq!(scenario.post("evaluation", &question(own.clone(), own.clone())).json()["decision"], true);
    let mixed = [question(other.clone(), own.clone()), question(own.clone(), other.clone())];
    for question in &mixed {
        let refused = scenario.post("evaluation", question);
        assert_eq!((refused.status, refused.refusal().1.as_str()), (403, "sources_disagree"));
        let reference = refused.header("ringfence-reference").to_owned();
        let told = said(&scenario.plane.command(&["explain", &reference]));
        assert!(told.contains("sources_disagree"), "it is on record: {told}");
    }
    let [one, two] = mixed;
    let batch = json!({ "evaluations": [question(own.clone(), own.clone()), one, two] });
    let told = scenario.post("evaluations", &batch).json();
    let told: Vec<_> = told["evaluations"].as_array().unwrap().iter().map(|item| &item["decision"]).collect();
    assert_eq!(told, [&json!(true), &json!(false), &json!(false)]);
    let search = json!({
        "subject": { "type": "user" }, "action": { "name": "read" },
        "resource": { "type": "record", "id": "record-1", "properties": other },
    });
    assert_eq!(scenario.post("search/subject", &search).refusal().1, "sources_disagree");
    // What is stored is not overridden either.
    let stated = question(json!({}), json!({ "status": "archived" }));
    assert_eq!(scenario.post("evaluation", &stated).refusal().1, "sources_disagree");
}

#[test]
fn a_page_token_is_good_for_the_very_search_it_was_given_for() {
    let scenario = Scenario::shared();
    let search = json!({
        "subject": { "type": "user" }, "action": { "name": "read" },
        "resource": { "type": "record", "id": "record-1" }, "page": { "limit": 1 },
    });
    let first = scenario.post("search/subject", &search).json();
    let token = first["page"]["next_token"].as_str().unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut search = search.clone();
        search["page"] = json!({ "token": token });
        change(&mut search);
        search
    };
    assert_eq!(scenario.post("search/subject", &with(&|_| ())).status, 200);
    assert_eq!(scenario.post("search/subject", &with(&|s| s["page"]["limit"] = json!(1))).status, 200);
    let changes: [&dyn Fn(&mut Value); 5] = [
        &|s| s["page"]["limit"] = json!(2),
        &|s| s["action"]["name"] = json!("write"),
        &|s| s["resource"]["id"] = json!("record-2"),
        &|s| s["context"] = json!({ "ip": "10.0.0.1" }),
        &|s| s["page"]["token"] = json!(format!("A{}", token.get(1..).unwrap())),
    ];
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(scenario.post("search/subject", &with(change)).status, 400, "change {number}");
    }
    assert_eq!(scenario.post("search/resource", &with(&|s| s["subject"]["id"] = json!("bob"))).status, 400);
    let neighbour = scenario.token("neighbour", "pager", "decisions");
    let ask = |path: &str, body: &Value| scenario.ask(&neighbour, path, &body.to_string(), &[]);
    assert_eq!(ask("/t/neighbour/access/v1/search/subject", &with(&|_| ())).status, 400);
    assert_eq!(ask("/t/neighbour/access/v1/search/subject", &search).status, 200);
    assert_eq!(scenario.post("search/subject", &with(&|s| s["page"]["token"] = json!(7))).status, 400);
    assert_eq!(scenario.post("search/subject", &with(&|s| s["page"]["limit"] = json!(-1))).status, 400);
}

#[test]
fn what_is_too_much_is_refused() {
    let scenario = Scenario::shared();
    let path = "/t/scenario/access/v1/evaluation";
    let deep = format!(
        "{{\"subject\":{{\"type\":\"user\",\"id\":\"alice\"}},\"action\":{{\"name\":\"read\"}},\"resource\":\
         {{\"type\":\"record\",\"id\":\"record-1\"}},\"context\":{}1{}}}",
        "{\"a\":".repeat(50_000),
        "}".repeat(50_000)
    );
    assert_eq!(scenario.ask(scenario.decider(), path, &deep, &[]).status, 400);
    let many: serde_json::Map<String, Value> =
        (0..5000).map(|number| (format!("p{number}"), json!(number))).collect();
    let question = json!({
        "subject": { "type": "user", "id": "alice", "properties": many }, "action": { "name": "read" },
        "resource": { "type": "record", "id": "record-1" },
    });
    assert_eq!(scenario.post("evaluation", &question).status, 400);
    let twice = "{\"subject\":{\"type\":\"user\",\"id\":\"bob\",\"id\":\"alice\"},\"action\":{\"name\":\"read\"},\
                 \"resource\":{\"type\":\"record\",\"id\":\"record-1\"}}";
    assert_eq!(scenario.ask(scenario.decider(), path, twice, &[]).status, 400, "one name, two readings");
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    assert_eq!(scenario.ask(scenario.decider(), path, &large, &[]).status, 413);
}

/// A tenant with 600 users, every fifth of them an admin; and how its users are searched for: how many are on a page, and the
/// token of the next.
fn crowd(tenant: &'static str) -> impl Fn(&str, &str, Value) -> (usize, String) {
    let scenario = Scenario::shared();
    let plane = &scenario.plane;
    plane.json(&["tenant", "create", tenant, "--tier", "records"]);
    let user = |number: usize| {
        let role = if number.is_multiple_of(5) { "admin" } else { "none" };
        let uid = json!({ "type": "Records::user", "id": format!("user-{number}") });
        json!({ "uid": uid, "attrs": { "role": role } })
    };
    let users: Vec<Value> = (0..600).map(user).collect();
    let file = scratch(tenant).join("users.json");
    fs::write(&file, Value::from(users).to_string()).unwrap();
    said(&plane.command(&["entity", "put", &file.display().to_string(), "--tenant", tenant]));
    let (token, path) =
        (scenario.token(tenant, "pdp", "decisions"), format!("/t/{tenant}/access/v1/search/subject"));
    move |action: &str, status: &str, page: Value| {
        let body = json!({
            "subject": { "type": "user" }, "action": { "name": action },
            "resource": { "type": "record", "id": "x", "properties": { "status": status } }, "page": page,
        });
        let answer = scenario.ask(&token, &path, &body.to_string(), &[]).json();
        let next = answer["page"]["next_token"].as_str().unwrap().to_owned();
        (answer["results"].as_array().unwrap().len(), next)
    }
}

#[test]
fn reject_authzen_page() {
    let search = crowd("crowd-page");
    let most = limits::AUTHZEN_PAGE;
    assert_eq!(search("read", "active", json!({ "limit": most })).0, most);
    assert_eq!(search("read", "active", json!({ "limit": most + 1 })).0, most);
    assert_eq!(search("read", "active", json!({})).0, most);
}

#[test]
fn reject_authzen_candidates() {
    let search = crowd("crowd");
    let (found, next) = search("write", "active", json!({}));
    assert_eq!(found, 0);
    assert!(!next.is_empty(), "there are more than one page looks at");
    assert_eq!(search("write", "active", json!({ "token": next })), (0, String::new()));
    let (mut all, mut page) = (0, json!({ "limit": 50 }));
    loop {
        let (found, next) = search("write", "archived", page);
        all += found;
        if next.is_empty() {
            break;
        }
        page = json!({ "token": next });
    }
    assert_eq!(all, 120);
}

#[test]
fn a_decision_client_asks_about_the_pools_people_and_does_nothing_else() {
    let plane = Plane::shared();
    let acme = plane.tenant("acme");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let client = &acme["decision_client"];
    let token = granted(plane, "acme", &text(&client["client_id"]), &text(&client["client_secret"]));
    let base = text(&acme["authzen"]);
    let (api, path) = base.trim_start_matches("http://").split_once('/').unwrap();
    let bearer = format!("Bearer {token}");
    let post = |what: &str, body: &Value| {
        let path = format!("/{path}/access/v1/{what}");
        send(api, "POST", &path, &[("Authorization", &bearer)], &body.to_string()).unwrap()
    };
    let id = |tenant: &str, name: &str| {
        let users = plane.json(&["user", "list", "--tenant", tenant]);
        let found = users.as_array().unwrap().iter().find(|user| user["username"] == name).unwrap().clone();
        text(&found["id"])
    };
    let may = |kind: &str, id: &str, action: &str| {
        let resource = if action == "ListPayments" { ("Book", "acme") } else { ("Payment", "any") };
        let body = json!({
            "subject": { "type": kind, "id": id }, "action": { "name": action },
            "resource": { "type": resource.0, "id": resource.1 },
        });
        post("evaluation", &body).json()["decision"].as_bool().unwrap()
    };
    let (approver, viewer) = (id("acme", "adam"), id("acme", "victor"));
    assert!(may("user", &approver, "RefundPayment") && may("User", &viewer, "ListPayments"));
    assert!(!may("user", &viewer, "RefundPayment"));
    assert!(may("client", "billing-service", "ListPayments"), "a machine of the tenant's");
    assert!(!may("user", "billing-service", "ListPayments"), "which is no user");
    assert!(!may("user", "u-never", "ListPayments"));
    assert!(!may("user", &id("globex", "gus"), "RefundPayment"), "another tenant's is nobody here");
    assert!(!may("client", "decision-client", "ListPayments"));
    let disabled = plane.json(&["user", "create", "gone", "--tenant", "acme", "--role", "approver"]);
    let disabled = text(&disabled["id"]);
    assert!(may("user", &disabled, "RefundPayment"));
    said(&plane.command(&["user", "disable", &disabled, "--tenant", "acme"]));
    assert!(!may("user", &disabled, "RefundPayment"));

    let search = json!({
        "subject": { "type": "user" }, "action": { "name": "RefundPayment" },
        "resource": { "type": "Payment", "id": "any" },
    });
    let found = results(&post("search/subject", &search));
    let expected = [id("acme", "alice"), approver].map(|id| json!({ "type": "user", "id": id }).to_string());
    assert_eq!(found, BTreeSet::from(expected), "administrators and approvers of this very pool");
    let search = json!({
        "subject": { "type": "user", "id": viewer }, "resource": { "type": "Payment", "id": "any" },
    });
    let sees = json!({ "name": "ViewPayment" }).to_string();
    assert_eq!(results(&post("search/action", &search)), BTreeSet::from([sees]));

    let refused = plane.get("acme", &token, "/payments");
    assert_eq!((refused.status, refused.refusal().1.as_str()), (403, "denied"), "it may only ask");
    // A person asks neither, not even about themselves: a backend asks for them, with what the gateway signed.
    let person = format!("Bearer {}", plane.token("acme", "alice"));
    for (what, reason) in [("evaluation", "txn_token_invalid"), ("search/action", "denied")] {
        let path = format!("/{path}/access/v1/{what}");
        let answer = send(api, "POST", &path, &[("Authorization", &person)], &search.to_string()).unwrap();
        assert_eq!(answer.refusal().1, reason, "{what}");
    }
    for path in ["/v1/tenants", "/v1/tenants/acme/entities"] {
        assert_eq!(plane.api(&token, "GET", path).status, 401, "{path}");
    }
}
