//! Whether a tenant that sends what is made to hurt hurts another: tenant B's latency at half of what the gateway can, asked
//! anew each time, while tenant A sends bombs over and over, against the same without.

use std::process::{Child, Command, Stdio};

use super::{
    Found,
    avp::Signer,
    load::{CONNECTIONS, Load, Run, Send},
    measure::median,
    nginx::Application,
    plane::{PROFILE, Plane, USERS},
    scratch::Scratch,
};
use crate::run::{Outcome, cargo};

const ROUNDS: usize = 5;
const SECONDS: u32 = 4;

/// How much B's 99th percentile may grow.
const MOST: f64 = 1.5;

/// How many bombs A has under way at once.
const AT_ONCE: &str = "8";

/// How many policies one of A's stores has, none of which an index can leave out.
const MANY: &str = "4000";

/// A's tenant; B's is the first.
const SENDER: &str = "tenant-01";

/// The kinds, as the script knows them, and what each is.
const KINDS: [(&str, &str); 4] = [
    ("nested", "policies 10 KB deep"),
    ("proofs", "policies slow to prove"),
    ("policies", "decisions by 4,000 policies"),
    ("entities", "decisions with 900 KB of entities"),
];

/// Sends bombs until its time is over; whatever is answered.
const SCRIPT: &str = r#"
function request()
    at = (at or 0) % #requests + 1
    return requests[at]
end

function done(summary, latency)
    print(string.format("sent %d", summary.requests))
end
"#;

/// What B saw while A did something.
struct Seen {
    name: &'static str,
    key: &'static str,
    runs: Vec<Run>,
    bombs: Vec<f64>,
}

/// Builds, measures and prints.
pub(super) fn section(as_json: bool) -> Outcome<Found> {
    cargo(&["build", "--profile", PROFILE, "--package", "ringfence"])?;
    let scratch = Scratch::new()?;
    let application = Application::start(&scratch)?;
    let plane = Plane::start(&scratch, application.address)?;
    let mut users = plane.users(2, |_| ())?;
    users.truncate(USERS);
    let signer = Signer::new(&scratch, &plane, SENDER)?;
    let many = signer.work("many", &[MANY])?;
    let load = Load::write(&scratch, "full.lua", &users, "/receipt?copies=2")?;
    load.send(plane.address, 1)?;
    let capacity = load.send(plane.address, SECONDS)?.per_second;
    let paced = load.paced(&scratch, "half.lua", pause(capacity / 2.0))?;
    eprintln!("capacity      {capacity:.0} requests/s");

    let quiet = [("nothing", "quiet")].into_iter().chain(KINDS);
    let mut seen: Vec<Seen> =
        quiet.map(|(key, name)| Seen { name, key, runs: Vec::new(), bombs: Vec::new() }).collect();
    for round in 0..ROUNDS {
        for one in &mut seen {
            let bombs = Bombs::begin(&signer, &plane, one.key, &many)?;
            let run = paced.send(plane.address, SECONDS)?;
            let sent = bombs.map(Bombs::end).transpose()?.unwrap_or(0.0);
            eprintln!(
                "round {} of {ROUNDS}  {:<34} p99 {:>7.2} ms  {sent:>6.0} bombs answered",
                round + 1,
                one.name,
                run.p99
            );
            one.runs.push(run);
            one.bombs.push(sent / f64::from(SECONDS));
        }
    }
    let Some(quiet) = seen.iter().find(|one| one.key == "nothing") else { return Err("none".to_owned()) };
    if as_json {
        return Ok(Some(json(&seen, quiet, capacity)));
    }
    print(&seen, quiet, capacity);
    Ok(None)
}

/// How long each connection waits, in milliseconds, so that all together send this many requests each second.
fn pause(per_second: f64) -> u32 {
    let period = f64::from(CONNECTIONS) * 1e3 / per_second;
    // An answer takes a millisecond of it.
    let wanted = (period - 1.0).max(1.0);
    (1..1000).find(|pause| f64::from(*pause) >= wanted).unwrap_or(1000)
}

/// Bombs on their way.
struct Bombs(Child);

impl Bombs {
    /// Begins to send bombs of a kind, if it is one. Signing them is done before.
    fn begin(signer: &Signer, plane: &Plane, kind: &str, many: &str) -> Outcome<Option<Self>> {
        if kind == "nothing" {
            return Ok(None);
        }
        let requests = signer.path(&format!("bombs-{kind}.lua")).display().to_string();
        signer.work("bombs", &[&requests, kind, &format!("ps-{SENDER}"), many])?;
        let script = signer.path(&format!("send-{kind}.lua"));
        let text = format!("dofile(\"{requests}\")\n{SCRIPT}");
        std::fs::write(&script, text).map_err(|error| format!("{}: {error}", script.display()))?;
        let (script, duration) = (script.display().to_string(), format!("{}s", SECONDS + 1));
        let url = format!("http://{}/", plane.api);
        // The sender is elsewhere: what it costs to send is not to be taken from what the plane has.
        let arguments = [
            "-n",
            "19",
            "wrk",
            "-t1",
            "-c",
            AT_ONCE,
            "-d",
            &duration,
            "-s",
            &script,
            "--timeout",
            "60s",
            &url,
        ];
        let mut command = Command::new("nice");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = command.spawn().map_err(|error| format!("can't run wrk: {error}"))?;
        Ok(Some(Self(started)))
    }

    /// How many were answered.
    fn end(self) -> Outcome<f64> {
        let output = self.0.wait_with_output().map_err(|error| format!("wrk: {error}"))?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let sent = told.lines().find_map(|line| line.strip_prefix("sent ")?.parse().ok());
        sent.ok_or_else(|| format!("wrk: {told}"))
    }
}

impl Seen {
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(of).collect())
    }

    /// Of the 99th percentile to another's in the same round.
    fn ratio(&self, quiet: &Self) -> f64 {
        median(self.runs.iter().zip(&quiet.runs).map(|(own, quiet)| own.p99 / quiet.p99).collect())
    }
}

fn word(ratio: f64) -> &'static str {
    if ratio <= MOST { "met " } else { "MISS" }
}

fn print(seen: &[Seen], quiet: &Seen, capacity: f64) {
    println!(
        "\nPolicy bombs: tenant B at half of {capacity:.0} requests/s, no decision remembered, while tenant A sends bombs, \
         {AT_ONCE} at once; medians of {ROUNDS} rounds of {SECONDS} s, ratios within a round\n"
    );
    println!(
        "{:<36} {:>8} {:>12} {:>8} {:>8} {:>9}",
        "A sends", "bombs/s", "B requests/s", "p50 ms", "p99 ms", "to quiet"
    );
    for one in seen {
        println!(
            "{:<36} {:>8.1} {:>12.0} {:>8.2} {:>8.2} {:>9.2}",
            one.name,
            median(one.bombs.clone()),
            one.median(|run| run.per_second),
            one.median(|run| run.p50),
            one.median(|run| run.p99),
            one.ratio(quiet),
        );
    }
    println!();
    for one in seen.iter().filter(|one| one.key != quiet.key) {
        let ratio = one.ratio(quiet);
        println!("{}  B's p99 while A sends {}: {ratio:.2}, target at most {MOST:.2}", word(ratio), one.name);
    }
}

fn json(seen: &[Seen], quiet: &Seen, capacity: f64) -> String {
    let kinds: Vec<String> = seen
        .iter()
        .map(|one| {
            let ratio = one.ratio(quiet);
            format!(
                "\"{}\":{{\"bombs_per_second\":{:.1},\"requests_per_second\":{:.0},\"p50_ms\":{:.3},\"p99_ms\":{:.3},\"ratio\":{ratio:.4},\"met\":{}}}",
                one.key,
                median(one.bombs.clone()),
                one.median(|run| run.per_second),
                one.median(|run| run.p50),
                one.median(|run| run.p99),
                ratio <= MOST,
            )
        })
        .collect();
    format!("{{\"capacity\":{capacity:.0},\"kinds\":{{{}}}}}", kinds.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(p99: &[f64]) -> Seen {
        let run = |&p99: &f64| Run { per_second: 1.0, requests: 1.0, p50: 1.0, p99 };
        Seen { name: "x", key: "x", runs: p99.iter().map(run).collect(), bombs: vec![1.0] }
    }

    #[test]
    fn a_ratio_is_of_the_same_round_and_half_the_capacity_is_paced() {
        assert!((seen(&[3.0, 9.0, 2.0]).ratio(&seen(&[2.0, 6.0, 4.0])) - 1.5).abs() < 1e-9);
        assert_eq!((word(1.5), word(1.51), word(f64::NAN)), ("met ", "MISS", "MISS"));
        // 64 connections, a request each 8 ms.
        assert_eq!((pause(8_000.0), pause(1e9), pause(1.0)), (7, 1, 1000));
    }
}
