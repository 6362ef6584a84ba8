//! One plane on two nodes: what is changed at one is enforced at the other, and how soon.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cluster::Cluster,
    http::{Answer, send},
    init::{settings, upstream},
    process::{now, until},
    program::{complaint, said, scratch},
    session::{Plane, up_fails},
    shapes::Person,
    writing::{Stop, Writing},
};

const FREEZE: &str = "forbid (principal, action == App::Action::\"ListNotes\", resource);";

/// Two nodes with one state; dropped before the Postgres they stand on.
struct Nodes {
    a: Plane,
    b: Plane,
    operator: String,
    folder: PathBuf,
    config: PathBuf,
    _cluster: Cluster,
}

impl Nodes {
    fn start(name: &str) -> Self {
        let folder = scratch(name);
        let postgres = folder.join("pg");
        fs::create_dir(&postgres).unwrap();
        let cluster = Cluster::start(postgres, &["state", "app"]);
        let config = config(&folder.join("config"), &cluster.socket());
        let flags = ["--config", &config.display().to_string()];
        let a = Plane::up(&folder.join("a"), &flags);
        bring_key(&folder.join("a"), &folder.join("b"));
        let b = Plane::up(&folder.join("b"), &flags);
        let operator = fs::read_to_string(a.dir.join("operator.token")).unwrap().trim().to_owned();
        Self { a, b, operator, folder, config, _cluster: cluster }
    }

    /// A call of a node's API by the operator, done.
    fn operate(&self, node: &Plane, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.operator);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind(path))];
        let answer = send(&address(node, "api"), method, path, &headers, body).unwrap();
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer
    }

    /// A token of a new machine client, made at the first node and granted by the second.
    fn token(&self, tenant: &str, client: &str, role: &str) -> String {
        let made = self.a.json(&["client", "create", client, "--tenant", tenant, "--role", role]);
        let secret = made["client_secret"].as_str().unwrap().to_owned();
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
        let grant = || self.issuer(&self.b, &format!("/t/{tenant}/token"), &form);
        let granted = until("the second node knows the client", 10, || {
            Some(grant()).filter(|answer| answer.status == 200)
        });
        granted.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn issuer(&self, node: &Plane, path: &str, form: &str) -> Answer {
        let headers = [("Host", "plane.example"), ("Content-Type", "application/x-www-form-urlencoded")];
        send(&address(node, "gateway"), "POST", path, &headers, form).unwrap()
    }

    /// Whether a node decides that a subject may list notes.
    fn decide(&self, node: &Plane, token: &str, subject: (&str, &str), extra: &[(&str, &str)]) -> Answer {
        let (kind, id) = subject;
        let question = json!({
            "subject": { "type": kind, "id": id }, "action": { "name": "ListNotes" },
            "resource": { "type": "Organization", "id": "acme" },
        });
        let bearer = format!("Bearer {token}");
        let headers = [&[("Authorization", bearer.as_str())], extra].concat();
        let path = "/t/acme/access/v1/evaluation";
        send(&address(node, "api"), "POST", path, &headers, &question.to_string()).unwrap()
    }

    /// The second node's gateway, asked by this token.
    fn notes(&self, token: &str, extra: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [&[("Host", "acme.plane.example"), ("Authorization", bearer.as_str())], extra].concat();
        send(&address(&self.b, "gateway"), "GET", "/notes", &headers, "").unwrap()
    }
}

fn kind(path: &str) -> &'static str {
    if path.contains("/policies/") { "text/plain" } else { "application/json" }
}

fn address(node: &Plane, member: &str) -> String {
    node.file("running.json")[member].as_str().unwrap().to_owned()
}

/// Settings of both nodes.
fn config(folder: &Path, socket: &str) -> PathBuf {
    let config = settings(folder, &upstream().0);
    let names = "base_url = \"http://plane.example\"\nhost_suffix = \"plane.example\"\n";
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "rate = { per_second = 500, burst = 1000 }",
        "rate = { per_second = 100000, burst = 100000 }\navp = { requests_per_second = 100000, changes_per_second = 100000 }",
    );
    let shared = format!(
        "\n[state]\nurl_file = \"state.url\"\n[postgres.server]\nhost = \"{socket}\"\nport = 5432\n\
         admin_role = \"postgres\"\nadmin_password_file = \"password\"\napp_password_file = \"password\"\n"
    );
    fs::write(&config, format!("{names}{text}{shared}")).unwrap();
    fs::write(folder.join("password"), "x").unwrap();
    fs::write(folder.join("state.url"), format!("postgres://postgres@localhost/state?host={socket}\n"))
        .unwrap();
    config
}

/// Copies the master key, as whoever adds a node does.
fn bring_key(from: &Path, to: &Path) {
    let keys = to.join("keys");
    fs::create_dir_all(&keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(from.join("keys/master.key"), keys.join("master.key")).unwrap();
}

/// Delays, sorted.
struct Delays(Vec<Duration>);

impl Delays {
    fn print(mut self, what: &str) {
        self.0.sort_unstable();
        let at = |share: usize| self.0[(self.0.len() * share / 100).min(self.0.len() - 1)];
        let longest = at(100);
        println!("{what}: {} changes, p50 {:?}, p99 {:?}, longest {longest:?}", self.0.len(), at(50), at(99));
    }
}

/// From the answer to a change, which comes after its commit, to the first answer elsewhere that knows of it.
fn until_known(changed: Instant, ask: impl Fn() -> bool) -> Duration {
    until("the other node knows of it", 10, || ask().then_some(()));
    changed.elapsed()
}

fn allowed(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["decision"] == true
}

#[test]
fn x14_what_is_changed_at_one_node_is_enforced_at_the_other() {
    let nodes = Nodes::start("nodes");
    nodes.a.json(&["tenant", "create", "acme"]);
    let reader = nodes.token("acme", "reader", "member");
    let pdp = nodes.token("acme", "pdp", "decisions");
    // A tenant made there has its rates here.
    until("the second node serves the new tenant", 10, || {
        (nodes.notes(&reader, &[]).status == 200).then_some(())
    });
    let path = "/v1/tenants/acme/policies/freeze?reason=x";
    let (mut from_answer, mut from_request) = (Delays(Vec::new()), Delays(Vec::new()));
    let subject = ("client", "reader");
    for number in 0..100 {
        let (method, text) = if number % 2 == 0 { ("PUT", FREEZE) } else { ("DELETE", "") };
        let began = now();
        let made = nodes.operate(&nodes.a, method, path, text);
        let wanted = number % 2 == 1;
        from_answer
            .0
            .push(until_known(now(), || allowed(&nodes.decide(&nodes.b, &pdp, subject, &[])) == wanted));
        from_request.0.push(began.elapsed());
        assert!(!made.header("ringfence-revision").is_empty());
    }
    // The first two of the requests wait for proofs, which are then known.
    from_answer.print("policies, from the answer at one node to enforcement at the other");
    from_request.print("policies, from the request (with its proof)");
    // And with the revision brought along, by the very next question.
    for number in 0..40 {
        let (method, text) = if number % 2 == 0 { ("PUT", FREEZE) } else { ("DELETE", "") };
        let made = nodes.operate(&nodes.a, method, path, text);
        let at_least = [("Ringfence-At-Least-Revision", made.header("ringfence-revision"))];
        let answer = nodes.decide(&nodes.b, &pdp, subject, &at_least);
        assert_eq!(allowed(&answer), number % 2 == 1, "change {number}");
        assert!(!answer.body.contains("revision"), "told sealed, or not at all: {answer:?}");
        let through = nodes.notes(&reader, &at_least);
        assert_eq!(through.status, if number % 2 == 1 { 200 } else { 403 });
        assert!(!through.header("ringfence-revision").is_empty(), "{through:?}");
    }
    println!("the second node: {}", nodes.operate(&nodes.b, "GET", "/v1/status", "").body);
}

#[test]
fn x14_suspension_revocation_and_a_revoked_entity_reach_the_other_node() {
    let nodes = Nodes::start("revokes");
    nodes.a.json(&["tenant", "create", "acme"]);
    let pdp = nodes.token("acme", "pdp", "decisions");
    let mut delays = Delays(Vec::new());
    for number in 0..10 {
        let client = format!("reader-{number}");
        let token = nodes.token("acme", &client, "member");
        until("served", 10, || (nodes.notes(&token, &[]).status == 200).then_some(()));
        nodes.operate(&nodes.a, "POST", &format!("/v1/tenants/acme/clients/{client}/disable"), "");
        let refused = || nodes.notes(&token, &[]).refusal_reason() == "token_revoked";
        delays.0.push(until_known(now(), refused));
    }
    delays.print("revoked clients");
    let mut delays = Delays(Vec::new());
    let stays = nodes.token("acme", "stays", "member");
    for _ in 0..10 {
        until("served", 10, || (nodes.notes(&stays, &[]).status == 200).then_some(()));
        nodes.operate(&nodes.a, "POST", "/v1/tenants/acme/suspend", "");
        delays.0.push(until_known(now(), || nodes.notes(&stays, &[]).refusal_reason() == "tenant_inactive"));
        nodes.operate(&nodes.a, "POST", "/v1/tenants/acme/resume", "");
    }
    until("served", 10, || (nodes.notes(&stays, &[]).status == 200).then_some(()));
    delays.print("suspensions");
    let mut delays = Delays(Vec::new());
    let entity = json!({ "uid": { "type": "App::User", "id": "ann" }, "parents": [{ "type": "App::Role", "id": "member" }] });
    for _ in 0..20 {
        let made = nodes.operate(&nodes.a, "PUT", "/v1/tenants/acme/entities", &entity.to_string());
        let at_least = [("Ringfence-At-Least-Revision", made.header("ringfence-revision"))];
        assert!(allowed(&nodes.decide(&nodes.b, &pdp, ("user", "ann"), &at_least)));
        nodes.operate(&nodes.a, "DELETE", "/v1/tenants/acme/entities/App::User/ann", "");
        delays.0.push(until_known(now(), || !allowed(&nodes.decide(&nodes.b, &pdp, ("user", "ann"), &[]))));
    }
    delays.print("revoked entities");
    // An operator that ended is nobody at the other node by its next request.
    let made = nodes.operate(
        &nodes.a,
        "POST",
        "/v1/operators",
        &json!({ "name": "eve", "roles": ["auditor"] }).to_string(),
    );
    let eve = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(nodes.b.api(&eve, "GET", "/v1/status").status, 200);
    nodes.operate(&nodes.a, "DELETE", "/v1/operators/eve", "");
    assert_eq!(nodes.b.api(&eve, "GET", "/v1/status").status, 401);
}

#[test]
fn x13_a_share_is_served_by_both_nodes_and_goes_on_after_a_restart() {
    let mut nodes = Nodes::start("share");
    nodes.a.json(&["tenant", "create", "acme"]);
    let pdp = nodes.token("acme", "pdp", "decisions");
    let users: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    for user in &users {
        let entity = json!({ "uid": { "type": "App::User", "id": user }, "parents": [{ "type": "App::Role", "id": "member" }] });
        nodes.operate(&nodes.a, "PUT", "/v1/tenants/acme/entities", &entity.to_string());
    }
    let bob = json!({ "name": "bob", "roles": ["policy-reviewer"] }).to_string();
    let bob =
        nodes.operate(&nodes.a, "POST", "/v1/operators", &bob).json()["token"].as_str().unwrap().to_owned();
    let edit = json!({ "reason": "x", "edit": { "put": { "freeze": FREEZE } } });
    nodes.operate(&nodes.a, "POST", "/v1/tenants/acme/proposals", &edit.to_string());
    let headers = [("Authorization", &*format!("Bearer {bob}"))];
    let approve = "/v1/tenants/acme/proposals/1/approve";
    assert_eq!(send(&address(&nodes.b, "api"), "POST", approve, &headers, "{}").unwrap().status, 200);
    let stage = json!({ "percent": 50, "most_rise": 100 }).to_string();
    let begun = nodes.operate(&nodes.a, "POST", "/v1/tenants/acme/proposals/1/canary", &stage);
    let share = |nodes: &Nodes, node: &Plane, at_least: &str| -> Vec<String> {
        let at_least = [("Ringfence-At-Least-Revision", at_least)];
        let refused =
            |user: &&String| !allowed(&nodes.decide(node, &pdp, ("user", user.as_str()), &at_least));
        users.iter().filter(refused).cloned().collect()
    };
    let revision = begun.header("ringfence-revision").to_owned();
    let decided_for = share(&nodes, &nodes.a, &revision);
    assert!((2..19).contains(&decided_for.len()), "{decided_for:?}");
    assert_eq!(share(&nodes, &nodes.b, &revision), decided_for);
    nodes.b.kill();
    let flags = ["--config", &nodes.config.display().to_string()];
    nodes.b = Plane::up(&nodes.folder.join("b"), &flags);
    assert_eq!(share(&nodes, &nodes.b, &revision), decided_for, "it goes on");
    let stopped = nodes.operate(&nodes.b, "DELETE", "/v1/tenants/acme/canary", "");
    for node in [&nodes.a, &nodes.b] {
        assert_eq!(share(&nodes, node, stopped.header("ringfence-revision")), [""; 0]);
    }
    let audit = nodes.operate(&nodes.a, "GET", "/v1/tenants/acme/audit", "").body;
    assert!(audit.contains("let proposal 1 decide for 50%") && audit.contains("it was stopped"), "{audit}");
}

#[test]
fn a_revision_of_another_tenant_is_refused_as_one_that_was_made_up() {
    let nodes = Nodes::start("tokens");
    for tenant in ["acme", "globex"] {
        nodes.a.json(&["tenant", "create", tenant]);
    }
    let (pdp, reader) = (nodes.token("acme", "pdp", "decisions"), nodes.token("acme", "reader", "member"));
    let path = |tenant: &str| format!("/v1/tenants/{tenant}/policies/freeze?reason=x");
    let [own, theirs] = ["acme", "globex"].map(|tenant| {
        nodes.operate(&nodes.a, "PUT", &path(tenant), FREEZE).header("ringfence-revision").to_owned()
    });
    assert_eq!(own.len(), theirs.len());
    let made_up = own.chars().rev().collect::<String>();
    let ask = |token: &str| {
        let at_least = [("Ringfence-At-Least-Revision", token)];
        [nodes.decide(&nodes.b, &pdp, ("client", "reader"), &at_least), nodes.notes(&reader, &at_least)]
    };
    let [decided, through] = ask(&own);
    assert_eq!((decided.status, through.status), (200, 403));
    let made_up = ask(&made_up);
    for (foreign, forged) in ask(&theirs).into_iter().zip(made_up) {
        assert_eq!(foreign.refusal(), ("routing".to_owned(), "revision_unreadable".to_owned()));
        assert_eq!(foreign.without_names(), forged.without_names());
    }
    // What the answers tell is not what they told before, although nothing has changed.
    let told =
        || nodes.decide(&nodes.b, &pdp, ("client", "reader"), &[]).header("ringfence-revision").to_owned();
    assert_ne!(told(), told());
}

#[test]
fn a_node_without_the_key_and_settings_that_are_not_shared_are_refused() {
    let nodes = Nodes::start("refused");
    let config = nodes.config.display().to_string();
    let told = complaint(&up_fails(&nodes.folder.join("c"), &["--config", &config]));
    assert!(told.contains("copy keys/master.key"), "{told}");
    assert!(!nodes.folder.join("c/keys").exists(), "no key is made beside the one there is");
    let text = fs::read_to_string(&nodes.config).unwrap();
    let other = nodes.config.with_file_name("other.toml");
    for (from, to, says) in [
        ("base_url = ", "# base_url = ", "set base_url and host_suffix"),
        ("host_suffix = \"plane", "# \"plane", "set base_url and host_suffix"),
    ] {
        fs::write(&other, text.replacen(from, to, 1)).unwrap();
        let told = complaint(&up_fails(&nodes.folder.join("c"), &["--config", &other.display().to_string()]));
        assert!(told.contains(says), "{says}: {told}");
    }
    let (without, _) = text.rsplit_once("[postgres.server]").unwrap();
    fs::write(&other, without).unwrap();
    let told = complaint(&up_fails(&nodes.folder.join("c"), &["--config", &other.display().to_string()]));
    assert!(told.contains("set [postgres.server]"), "{told}");
    // Two on one state folder are refused whatever the state is; each of the two nodes still serves.
    let told = complaint(&up_fails(&nodes.a.dir, &["--config", &config]));
    assert!(told.contains("already runs"), "{told}");
    assert!(said(&nodes.a.command(&["status"])).contains("revision"));
    nodes.operate(&nodes.b, "GET", "/v1/status", "");
}

#[test]
fn a_tenant_that_is_moved_at_one_node_is_led_there_by_the_other_while_it_writes() {
    let nodes = Nodes::start("nodes-data-move");
    for tenant in ["acme", "globex"] {
        nodes.a.json(&["tenant", "create", tenant]);
    }
    let (acme, globex) = (Person::of(&nodes.a, "acme"), Person::of(&nodes.a, "globex"));
    let acme = Person::again(&nodes.b, "acme", &acme.password());
    let token = until("the second node knows the tenant", 10, || acme.token().ok());
    until("and leads it", 10, || acme.ask_with(&token, "SELECT 1").ok());
    let (acme, stop) = (Writing::of(acme), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| acme.write(&stop));
        for (shape, begins) in [("schema", "app|ringfence_"), ("database", "app_"), ("rows", "app|public")] {
            let moved = nodes.a.json(&["tenant", "move-data", "acme", "--to", shape]);
            assert_eq!(moved["state"], "moved", "{moved}");
            until("the second node leads there", 10, || {
                let at = acme.ask("SELECT current_database(), current_schema()").ok()?;
                at.starts_with(begins).then_some(())
            });
            acme.whole(shape);
            assert_eq!(nodes.a.json(&["tenant", "move-data", "acme", "--confirm"])["state"], "confirmed");
        }
    });
    acme.whole("in the end");
    assert_eq!(globex.ask("SELECT count(*) FROM notes").unwrap(), "0");
}
