//! Jobs from the command line: enqueued as a user, run as their worker, seen by policies and by whoever explains.

use std::{fs, path::PathBuf, process::Output};

use crate::{
    init::{settings, upstream},
    program::{complaint, said, scratch},
    session::{Plane, up_fails},
};

/// Whose job is called so does not connect to the database.
const BARRED: &str = r#"
@id("barred-jobs")
forbid (principal, action == App::Action::"ConnectDatabase", resource)
when { principal has of_job && principal.of_job == "barred" };
"#;

/// Two tenants whose jobs one process runs.
struct Queue {
    plane: Plane,
    folder: PathBuf,
}

impl Queue {
    fn start() -> Self {
        let folder = scratch("jobs");
        let config = settings(&folder, &upstream().0);
        let schema = fs::read_to_string(folder.join("app.cedarschema")).unwrap();
        let declared = schema.replace("subject: String }", "subject: String, of_job?: String }");
        assert_ne!(schema, declared);
        fs::write(folder.join("app.cedarschema"), declared).unwrap();
        let policies = fs::read_to_string(folder.join("app.cedar")).unwrap();
        fs::write(folder.join("app.cedar"), format!("{policies}{BARRED}")).unwrap();
        let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
        let queue = Self { plane, folder };
        queue.tenant("first");
        queue.tenant("second");
        queue
    }

    /// A tenant with a worker, and with somebody who enqueues.
    fn tenant(&self, id: &str) {
        self.plane.json(&["tenant", "create", id]);
        let user = self.plane.json(&["user", "create", "ann", "--tenant", id, "--role", "admin"]);
        self.put(&format!("{id}.password"), user["password"].as_str().unwrap());
        let worker = self.plane.json(&["client", "create", "worker", "--tenant", id]);
        self.put(&format!("{id}.secret"), worker["client_secret"].as_str().unwrap());
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn enqueue(&self, name: &str, worker: &str) -> Output {
        let password = fs::read_to_string(self.folder.join("first.password")).unwrap();
        let who = ["token", "--tenant", "first", "--user", "ann", "--password-stdin", "--for", "job"];
        self.plane.command_with(&[&who[..], &["--job", name, "--worker", worker]].concat(), &password)
    }

    fn job(&self, name: &str) -> String {
        said(&self.enqueue(name, "worker")).trim().to_owned()
    }

    /// What the worker of a tenant is given for a job.
    fn run(&self, at: &str, job: &str, more: &[&str]) -> Output {
        let secret = self.folder.join(format!("{at}.secret")).display().to_string();
        let as_worker = ["token", "--tenant", at, "--worker", "worker", "--worker-secret-file", &secret];
        self.plane.command_with(&[&as_worker[..], &["--job-token-file", "-"], more].concat(), job)
    }

    fn given(&self, job: &str, purpose: &str) -> String {
        said(&self.run("first", job, &["--for", purpose])).trim().to_owned()
    }

    fn refused(&self, at: &str, job: &str) -> String {
        complaint(&self.run(at, job, &["--for", "database"]))
    }
}

#[test]
fn a_job_works_as_its_tenant_and_as_no_other() {
    let queue = Queue::start();
    let plane = &queue.plane;
    let job = queue.job("nightly");
    let database = queue.given(&job, "database");
    let insert = "INSERT INTO notes VALUES ('first', gen_random_uuid(), 'by a job')";
    said(&plane.psql("first", &database, insert));
    assert_eq!(
        said(&plane.psql("first", &database, "SELECT tenant_id, body FROM notes")).trim(),
        "first|by a job"
    );
    let theirs = "INSERT INTO notes VALUES ('second', gen_random_uuid(), 'x')";
    assert!(complaint(&plane.psql("first", &database, theirs)).contains("row-level security"));
    assert!(!plane.psql("second", &database, "SELECT 1").status.success());

    // By file and as JSON too, and as often as the queue delivers it.
    let file = queue.put("job", &job);
    let secret = queue.folder.join("first.secret").display().to_string();
    let api = ["token", "--tenant", "first", "--worker", "worker", "--worker-secret-file", &secret];
    let api = plane.json(&[&api[..], &["--job-token-file", &file]].concat());
    let access = api["token"].as_str().unwrap();
    let served = plane.get("first", access, "/notes");
    assert_eq!(served.status, 200, "{served:?}");
    let reference = served.header("ringfence-reference");
    let verdicts = plane.json(&["explain", reference]);
    assert_eq!((&verdicts[0]["job"], &verdicts[0]["tenant"]), (&"nightly".into(), &"first".into()));
    assert!(said(&plane.command(&["explain", reference])).contains("job      nightly"));
    assert_eq!(plane.get("second", access, "/notes").status, 401);

    // The job token itself is nothing at the gateway and the guard.
    assert_eq!(plane.get("first", &job, "/notes").status, 401);
    let (half, txn) = database.split_once('~').unwrap();
    for password in [format!("{job}~{txn}"), format!("{half}~{job}"), job.clone()] {
        assert!(!plane.psql("first", &password, "SELECT 1").status.success());
    }
}

#[test]
fn x16_a_job_is_refused_where_anything_about_it_is_not_so_any_more() {
    let queue = Queue::start();
    let plane = &queue.plane;
    let (job, barred) = (queue.job("nightly"), queue.job("barred"));
    assert!(!queue.refused("second", &job).contains(&job));
    assert!(complaint(&queue.enqueue("nightly", "nobody")).contains("no worker of this tenant"));
    // The tenant's own policies know a job by its name.
    assert!(!queue.given(&barred, "api").is_empty());
    queue.refused("first", &barred);
    assert!(!queue.run("first", &job, &["--for", "job"]).status.success());

    plane.json(&["tenant", "suspend", "first"]);
    queue.refused("first", &job);
    plane.json(&["tenant", "resume", "first"]);
    assert!(!queue.given(&job, "database").is_empty());
    let ann = plane.json(&["user", "list", "--tenant", "first"])[0]["id"].as_str().unwrap().to_owned();
    plane.json(&["user", "disable", &ann, "--tenant", "first"]);
    queue.refused("first", &job);

    plane.json(&["tenant", "delete", "first", "--confirm", "first"]);
    queue.refused("first", &job);
    queue.tenant("third");
    queue.refused("third", &job);
}

#[test]
fn no_job_lives_longer_than_a_week() {
    let folder = scratch("jobs-too-long");
    let config = settings(&folder, "127.0.0.1:1");
    let text = fs::read_to_string(&config).unwrap();
    for seconds in [0, 604_801] {
        fs::write(&config, format!("{text}\n[jobs]\nseconds = {seconds}\n")).unwrap();
        let told = up_fails(&folder.join("state"), &["--config", &config.display().to_string()]);
        assert!(complaint(&told).contains("seconds in [jobs] is from 1 to 604800"), "{seconds}");
    }
}
