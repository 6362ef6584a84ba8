//! Load: wrk with as many users and paths as a gateway's caches must bear, and every answer checked.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use super::{nginx::ANSWER, scratch::Scratch};
use crate::run::{Outcome, output};

/// Connections kept open.
pub(super) const CONNECTIONS: u32 = 64;

/// Distinct paths.
pub(super) const PATHS: u32 = 1000;

/// Someone who asks.
#[derive(Debug)]
pub(super) struct User {
    /// The host of the tenant.
    pub(super) host: String,
    /// The access token.
    pub(super) token: String,
}

/// Load that can be sent, again and again.
pub(super) trait Send {
    /// Sends it for some seconds; every answer must be a good one.
    fn send(&self, to: SocketAddr, seconds: u32) -> Outcome<Run>;
}

/// The requests, as a script for wrk: every path by a fifth of the users, in an order in which neighbours share neither
/// path nor user.
#[derive(Debug)]
pub(super) struct Load(PathBuf);

/// What one run found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Answered requests per second.
    pub(super) per_second: f64,
    /// How many were answered.
    pub(super) requests: f64,
    /// Median latency, in milliseconds.
    pub(super) p50: f64,
    /// 99th percentile of latency, in milliseconds.
    pub(super) p99: f64,
}

const SCRIPT: &str = r#"
local threads = 0

function setup(thread)
    thread:set("first", threads * 5003)
    threads = threads + 1
end

function init()
    requests = {}
    for path = 1, #paths do
        for turn = 1, #users / 5 do
            local user = users[(path * 37 + turn * 41) % #users + 1]
            requests[#requests + 1] = "GET " .. paths[path] .. " HTTP/1.1\r\nHost: " .. user[1]
                .. "\r\nAuthorization: Bearer " .. user[2] .. "\r\nAccept: */*\r\n\r\n"
        end
    end
    at = first
end

function request()
    at = (at + 7919) % #requests
    return requests[at + 1]
end

if pause then
    function delay()
        return math.random(0, 2 * pause)
    end
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format("found %d %d %d %d %d %d", summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"#;

impl Load {
    /// Writes the script. `prefix` comes before each path's id, `query` after it.
    pub(super) fn write(scratch: &Scratch, name: &str, users: &[User], query: &str) -> Outcome<Self> {
        let mut text = "users = {\n".to_owned();
        for User { host, token } in users {
            text.push_str(&format!("    {{ \"{host}\", \"{token}\" }},\n"));
        }
        text.push_str("}\npaths = {\n");
        for path in 0..PATHS {
            text.push_str(&format!("    \"/payments/{}{query}\",\n", id(path)));
        }
        text.push_str("}\n");
        text.push_str(SCRIPT);
        scratch.write(name, &text).map(Self)
    }

    /// The same load, each connection of which waits between an answer and its next request: this long on average, in
    /// milliseconds.
    pub(super) fn paced(&self, scratch: &Scratch, name: &str, pause: u32) -> Outcome<Self> {
        let text =
            std::fs::read_to_string(&self.0).map_err(|error| format!("{}: {error}", self.0.display()))?;
        scratch.write(name, &format!("pause = {pause}\n{text}")).map(Self)
    }
}

impl Send for Load {
    fn send(&self, to: SocketAddr, seconds: u32) -> Outcome<Run> {
        let least = u32::try_from(ANSWER).map_or(0.0, f64::from);
        wrk(&self.0, to, seconds, least)
    }
}

/// Runs a script; every answer must be a good one, and not shorter than `least` bytes.
pub(super) fn wrk(script: &Path, to: SocketAddr, seconds: u32, least: f64) -> Outcome<Run> {
    let script = script.display().to_string();
    let (duration, connections) = (format!("{seconds}s"), CONNECTIONS.to_string());
    let url = format!("http://{to}/");
    let arguments = ["-t2", "-c", &connections, "-d", &duration, "-s", &script, &url];
    let ran = Command::new("wrk").args(arguments).output();
    let ran = ran.map_err(|error| format!("can't run wrk: {error}"))?;
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    read(&told, least).ok_or_else(|| format!("wrk: {told}{}", String::from_utf8_lossy(&ran.stderr)))?
}

/// Whether wrk is installed.
pub(super) fn there() -> bool {
    output("sh", &["-c", "command -v wrk"]).is_some()
}

/// The id of a path: a UUID, as an application has them.
fn id(path: u32) -> String {
    let mixed = path.wrapping_mul(0x9e37_79b9);
    format!("{mixed:08x}-{:04x}-7000-8000-{path:012x}", mixed >> 16)
}

fn read(told: &str, least: f64) -> Option<Outcome<Run>> {
    let line = told.lines().find_map(|line| line.strip_prefix("found "))?;
    let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [requests, micros, bytes, p50, p99, errors] = numbers.as_slice() else { return None };
    if *errors > 0.0 || *requests < 1.0 {
        return Some(Err(format!("{errors} of {requests} requests failed or were not answered with 200")));
    }
    if bytes / requests < least {
        return Some(Err(format!("answers of {} bytes are not the application's", bytes / requests)));
    }
    let millis = |micros: &f64| micros / 1e3;
    Some(Ok(Run {
        per_second: requests / (micros / 1e6),
        requests: *requests,
        p50: millis(p50),
        p99: millis(p99),
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn one_bad_answer_fails_the_run() {
        let read = |told| read(told, 1024.0);
        assert!(matches!(read("x\nfound 100 1000000 200000 900 2000 0\n"), Some(Ok(run)) if run.p50 == 0.9));
        assert!(matches!(read("found 100 1000000 200000 900 2000 1"), Some(Err(_))));
        assert!(matches!(read("found 0 1000000 0 0 0 0"), Some(Err(_))));
        assert!(matches!(read("found 100 1000000 20000 900 2000 0"), Some(Err(_))), "short answers");
        assert!(read("found 100").is_none());
        assert!(read("").is_none());
    }

    #[test]
    fn paths_are_distinct() {
        let ids: HashSet<String> = (0..PATHS).map(id).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 36));
    }
}
