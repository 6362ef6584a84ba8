//! Verified Permissions' API over HTTP, beside `cedar-agent`: the same policies and the same questions, sent with their entities.
//!
//! Each request of ours carries a signature (SigV4) that is verified; cedar-agent asks for none. Before anything is
//! measured, every question is asked of both, and as many that must be denied: the same answers by the same policies.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{
    Found,
    load::{CONNECTIONS, Run, Send, wrk},
    measure::{Measured, Plan, System, measure},
    nginx::Application,
    plane::{PROFILE, Plane},
    process::{Process, free_address, wait_for},
    scratch::Scratch,
    table::{Target, json, table, targets},
};
use crate::run::{Outcome, cargo, root, target};

const PLAN: Plan = Plan { rounds: 5, seconds: 4 };

/// Different questions, each permitted by one policy.
const QUESTIONS: u32 = 1000;

/// How many policies.
const STORES: [u32; 2] = [20, 1000];

/// cedar-agent's latest version on crates.io that is no pre-release.
const AGENT: &str = "0.2.0";

const TENANT: &str = "tenant-00";

/// What an answer is: a permit by one policy. Beside it wrk's own script for what is asked.
const SCRIPT: &str = r#"
local threads = {}

function setup(thread)
    thread:set("first", #threads * 503)
    table.insert(threads, thread)
end

function init()
    at = first
    wrong = 0
end

function request()
    at = (at + 7) % #requests
    return requests[at + 1]
end

function response(status, headers, body)
    if status ~= 200 or not string.find(body, permit, 1, true) then
        wrong = wrong + 1
    end
end

function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    for _, thread in ipairs(threads) do
        failed = failed + thread:get("wrong")
    end
    print(string.format("found %d %d %d %d %d %d", summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99), failed))
end
"#;

/// Builds everything, measures, and prints.
pub(super) fn section(as_json: bool) -> Outcome<Found> {
    let agent = agent()?;
    cargo(&["build", "--profile", PROFILE, "--package", "ringfence"])?;
    let scratch = Scratch::new()?;
    let application = Application::start(&scratch)?;
    let plane = Plane::start(&scratch, application.address)?;
    plane.tenant(TENANT)?;
    let signer = Signer::new(&scratch, &plane, TENANT)?;
    let beside = STORES.map(|policies| Beside::start(&scratch, &signer, &agent, policies));
    let [few, many] = beside;
    let (few, many) = (few?, many?);
    let plane = (plane.api, &plane.process);
    let systems = [
        System::new(("Ringfence, 20 policies", "ringfence_20"), plane.0, plane.1, &few.signed),
        System::new(("cedar-agent, 20 policies", "cedar_agent_20"), few.address, &few.process, &few.asked),
        System::new(("Ringfence, 1,000 policies", "ringfence_1000"), plane.0, plane.1, &many.signed),
        System::new(
            ("cedar-agent, 1,000 policies", "cedar_agent_1000"),
            many.address,
            &many.process,
            &many.asked,
        ),
    ];
    let measured = measure(&systems, PLAN)?;
    let [few, few_agent, many, many_agent] = measured.as_slice() else {
        return Err("a system is missing".to_owned());
    };
    let target = |what, one: &Measured, other| Target { what, ratio: one.ratio(other), least: 1.0 };
    let found = [
        target("Ringfence to cedar-agent, 20 policies", few, few_agent),
        target("Ringfence to cedar-agent, 1,000 policies", many, many_agent),
    ];
    let bases = [("to agent, 20", few_agent), ("to agent, 1000", many_agent)];
    if as_json {
        return Ok(Some(json(&measured, &bases, &found)));
    }
    println!(
        "\nVerified Permissions over HTTP: {CONNECTIONS} connections, {QUESTIONS} questions with their entities, signed for \
         Ringfence; medians of {} rounds of {} s, ratios within a round\n",
        PLAN.rounds, PLAN.seconds
    );
    print!("{}\n{}", table(&measured, &bases), targets(&found));
    Ok(None)
}

/// Builds cedar-agent below the target folder, once.
fn agent() -> Outcome<String> {
    let folder = target().join("cedar-agent");
    let program = folder.join("bin/cedar-agent");
    if !program.exists() {
        let (folder, build) = (folder.display().to_string(), folder.join("build").display().to_string());
        cargo(&[
            "install",
            "cedar-agent",
            "--version",
            AGENT,
            "--locked",
            "--root",
            &folder,
            "--target-dir",
            &build,
        ])?;
    }
    Ok(program.display().to_string())
}

/// Who signs requests: a script, for a signature is good for five minutes only.
#[derive(Debug)]
pub(super) struct Signer {
    folder: PathBuf,
    host: String,
    key: (String, String),
}

impl Signer {
    /// One with a new key of this tenant's.
    pub(super) fn new(scratch: &Scratch, plane: &Plane, tenant: &str) -> Outcome<Self> {
        let key = plane.access_key(tenant)?;
        Ok(Self { folder: scratch.path().to_owned(), host: plane.api.to_string(), key })
    }

    /// A file below the scratch folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Has the script do something; what it prints.
    pub(super) fn work(&self, task: &str, arguments: &[&str]) -> Outcome<String> {
        let script = root().join("xtask/src/bench/avp.py");
        let (id, secret) = &self.key;
        let mut command = Command::new("python3");
        command.arg(script).args([task, &self.host, id, secret]).args(arguments);
        let ran = command.stdin(Stdio::null()).output().map_err(|error| format!("python3: {error}"))?;
        if !ran.status.success() {
            return Err(format!("{task}: {}", String::from_utf8_lossy(&ran.stderr)));
        }
        Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    }
}

/// cedar-agent with some policies, and what is asked of it and of a store with the same.
struct Beside<'a> {
    process: Process,
    address: SocketAddr,
    signed: Signed<'a>,
    asked: Asked,
}

/// Requests to Ringfence: signed just before they are sent.
struct Signed<'a> {
    signer: &'a Signer,
    store: String,
    policies: String,
}

/// Requests to cedar-agent.
struct Asked(PathBuf);

impl<'a> Beside<'a> {
    fn start(scratch: &Scratch, signer: &'a Signer, agent: &str, policies: u32) -> Outcome<Self> {
        let file = signer.path(&format!("policies-{policies}.json")).display().to_string();
        let (policies, questions) = (policies.to_string(), QUESTIONS.to_string());
        signer.work("policies", &[&file, &policies])?;
        let address = free_address()?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        // At its best: it logs nothing.
        let arguments = ["--addr", &host, "--port", &port, "--policies", &file, "--log-level", "off"];
        let process = Process::start(agent, &arguments)?;
        wait_for(address)?;
        eprintln!("filling       a store with {policies} policies, and asking both {questions} questions");
        let store = signer.work("fill", &[&address.to_string(), &policies, &questions])?;
        let requests = signer.path(&format!("asked-{policies}.lua"));
        let shown = requests.display().to_string();
        signer.work("agent", &[&shown, &address.to_string(), &policies, &questions])?;
        let text = script(&requests, "\"decision\":\"Allow\"");
        let asked = Asked(scratch.write(&format!("agent-{policies}.lua"), &text)?);
        Ok(Self { process, address, signed: Signed { signer, store, policies }, asked })
    }
}

fn script(requests: &std::path::Path, permit: &str) -> String {
    format!("dofile(\"{}\")\npermit = '{permit}'\n{SCRIPT}", requests.display())
}

impl Send for Signed<'_> {
    fn send(&self, to: SocketAddr, seconds: u32) -> Outcome<Run> {
        let Self { signer, store, policies } = self;
        let requests = signer.path(&format!("signed-{policies}.lua"));
        let (shown, questions) = (requests.display().to_string(), QUESTIONS.to_string());
        signer.work("sign", &[&shown, store, policies, &questions])?;
        let path = signer.path(&format!("ringfence-{policies}.lua"));
        let text = script(&requests, "\"decision\":\"ALLOW\"");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        wrk(&path, to, seconds, 1.0)
    }
}

impl Send for Asked {
    fn send(&self, to: SocketAddr, seconds: u32) -> Outcome<Run> {
        wrk(&self.0, to, seconds, 1.0)
    }
}
