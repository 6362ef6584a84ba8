//! Measuring several systems in turns, so that what the machine does meanwhile happens to all of them.

use std::net::SocketAddr;

use super::{
    load::{Run, Send},
    process::Process,
};
use crate::run::Outcome;

/// Something under load.
pub(super) struct System<'a> {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// Its name in JSON.
    pub(super) key: &'static str,
    pub(super) address: SocketAddr,
    pub(super) process: &'a Process,
    pub(super) load: &'a dyn Send,
}

impl<'a> System<'a> {
    /// One that is sent this load.
    pub(super) fn new(
        (name, key): (&'static str, &'static str),
        address: SocketAddr,
        process: &'a Process,
        load: &'a dyn Send,
    ) -> Self {
        Self { name, key, address, process, load }
    }
}

/// One system's rounds.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    /// One for each round.
    pub(super) rounds: Vec<Round>,
}

/// What one system did in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) run: Run,
    /// Processor time of the system per request, in microseconds.
    pub(super) cpu: f64,
}

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) rounds: usize,
    pub(super) seconds: u32,
}

impl Measured {
    /// The median of what `of` reads from each round.
    pub(super) fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    /// The median over the rounds of the ratio of requests per second to another system's in the same round.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|(own, other)| own.run.per_second / other.run.per_second).collect())
    }
}

/// Warms every system up, then measures each in every round, each round beginning with another.
pub(super) fn measure(systems: &[System<'_>], plan: Plan) -> Outcome<Vec<Measured>> {
    for system in systems {
        eprintln!("warming up    {}", system.name);
        load(system, 1)?;
    }
    let empty = |system: &System<'_>| Measured { name: system.name, key: system.key, rounds: Vec::new() };
    let mut measured: Vec<Measured> = systems.iter().map(empty).collect();
    for round in 0..plan.rounds {
        let mut turn: Vec<_> = systems.iter().zip(&mut measured).collect();
        turn.rotate_left(round % systems.len());
        for (system, measured) in turn {
            let found = load(system, plan.seconds)?;
            let (per_second, cpu) = (found.run.per_second, found.cpu);
            eprintln!(
                "round {} of {}  {:<34} {per_second:>7.0} requests/s {cpu:>6.1} µs",
                round + 1,
                plan.rounds,
                system.name
            );
            measured.rounds.push(found);
        }
    }
    Ok(measured)
}

fn load(system: &System<'_>, seconds: u32) -> Outcome<Round> {
    let before = system.process.cpu_seconds();
    let run = system.load.send(system.address, seconds).map_err(|what| format!("{}: {what}", system.name))?;
    let cpu = (system.process.cpu_seconds() - before) * 1e6 / run.requests;
    Ok(Round { run, cpu })
}

/// The middle one; of an even number the lower one of the two.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rates: &[f64]) -> Measured {
        let round = |&per_second: &f64| Round {
            run: Run { per_second, requests: 1.0, p50: 1.0, p99: 2.0 },
            cpu: 3.0,
        };
        Measured { name: "x", key: "x", rounds: rates.iter().map(round).collect() }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine was half as fast in the second round: the ratio does not see it.
        let (one, other) = (measured(&[80.0, 40.0, 80.0]), measured(&[100.0, 50.0, 100.0]));
        assert!((one.ratio(&other) - 0.8).abs() < 1e-9);
        assert!((one.median(|round| round.run.per_second) - 80.0).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }
}
