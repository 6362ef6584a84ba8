//! `ringfence shard`: what shuffle sharding gives, before any worker is bought. `plan` says what is predicted; `simulate` draws the
//! shards of so many tenants, breaks workers, and shows both beside each other. No plane is asked.

use std::{collections::HashSet, num::NonZeroUsize, process::ExitCode};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressIterator, ProgressStyle};
use miette::{Result, miette};
use ringfence_shard::{
    Bounded, NoRoom, Seed, Shuffle, Size, Worker, Workers,
    blast::{Radius, choose, likelihood, most_shards},
};
use serde::Serialize;
use serde_json::json;

use crate::output::print;

/// How wide the longest bar is, in characters.
const BAR: usize = 40;

#[derive(Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// Say what a failure is predicted to reach
    Plan(Plan),
    /// Draw the shards of many tenants, break workers, and show what is reached beside what is predicted
    Simulate(Simulate),
}

/// Workers, and how many of them a tenant uses.
#[derive(Debug, Args)]
struct Pool {
    /// How many workers there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    workers: u32,
    /// How many of them each tenant uses
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    size: u32,
    /// Most workers that two tenants may have in common, always: shards are then searched for, and not drawn
    #[arg(long, value_name = "M")]
    common: Option<usize>,
    /// Workers that fail; without, those of one tenant's shard, which it breaks itself
    #[arg(long, value_name = "F")]
    lost: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Say what a failure is predicted to reach.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pool: Pool,
}

/// Draw the shards of many tenants, break workers, and show what is reached beside what is predicted.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    #[command(flatten)]
    pool: Pool,
    /// How many tenants there are
    #[arg(long, value_name = "T", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tenants: u32,
    /// How many zones the workers are in; each tenant has as many of its workers in one as in any other
    #[arg(long, value_name = "Z", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    zones: u32,
    /// What to draw with: another number draws other shards
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl ShardCommand {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Plan(Plan { pool }) => {
                pool.check()?;
                say(pool.json, &pool.said(None));
            }
            Self::Simulate(simulate) => {
                simulate.pool.check()?;
                let radius = simulate.radius()?;
                say(simulate.pool.json, &simulate.pool.said(Some((&simulate, &radius))));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Pool {
    fn check(&self) -> Result<()> {
        let Self { workers, size, lost, .. } = self;
        if size > workers {
            return Err(miette!(
                "--size {size} is more than --workers {workers}: a tenant uses some of them"
            ));
        }
        match lost {
            Some(lost) if lost > workers => Err(miette!("--lost {lost} is more than --workers {workers}")),
            _ => Ok(()),
        }
    }

    /// N, K, and how many are lost.
    fn numbers(&self) -> (usize, usize, usize) {
        let number = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let size = number(self.size);
        (number(self.workers), size, self.lost.map_or(size, number))
    }

    fn said(&self, simulated: Option<(&Simulate, &Radius)>) -> Said {
        let (workers, size, lost) = self.numbers();
        let row = |shared: usize| Row {
            lost: shared,
            predicted: likelihood(workers, lost, size, shared),
            measured: simulated.map(|(_, radius)| radius.share(shared)),
            tenants: simulated.and_then(|(_, radius)| radius.0.get(shared).copied()),
        };
        Said {
            workers,
            size,
            lost,
            by_a_tenant: self.lost.is_none(),
            shards: choose(workers, size),
            common: self.common,
            most_tenants: self.common.map(|common| most_shards(workers, size, common)),
            tenants: simulated.map(|(_, radius)| radius.tenants()),
            zones: simulated.map(|(simulate, _)| simulate.zones),
            seed: simulated.map(|(simulate, _)| simulate.seed),
            reached: (0..=size.min(lost)).map(row).collect(),
        }
    }
}

/// What is said. Shares are of all tenants but the one that breaks its own.
#[derive(Debug, Serialize)]
struct Said {
    workers: usize,
    size: usize,
    lost: usize,
    /// Whether they are one tenant's, which it breaks.
    by_a_tenant: bool,
    /// How many shards there are to draw.
    shards: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    common: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_tenants: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenants: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zones: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    reached: Vec<Row>,
}

/// Who loses so many of its workers.
#[derive(Debug, Serialize)]
struct Row {
    lost: usize,
    /// For shards that are drawn without regard to zones.
    predicted: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenants: Option<u64>,
}

impl Simulate {
    /// What the others lose: one tenant more than they are breaks its own shard, or some workers fail, as they come.
    fn radius(&self) -> Result<Radius> {
        let (count, size, lost) = self.pool.numbers();
        let zones = usize::try_from(self.zones).unwrap_or(usize::MAX);
        let workers = Workers::numbered(count, zones);
        let size = NonZeroUsize::new(size).map_or(Size::All, Size::Of);
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let shuffle = Shuffle::new(Seed(seed), size);
        let mut bounded = self.pool.common.map(|common| Bounded::new(shuffle, common));
        let mut shard = |tenant: &str| -> Result<Vec<&Worker>> {
            let Some(bounded) = &mut bounded else { return Ok(shuffle.shard(tenant, &workers)) };
            let placed = bounded.shards().len();
            let names = bounded.place(tenant, &workers).map_err(|no_room| full(no_room, placed))?;
            Ok(names.iter().filter_map(|name| workers.get(name)).collect())
        };
        let breaks = shard("the one that breaks its own")?;
        let lost: HashSet<&str> = match self.pool.lost {
            None => breaks.iter().map(|worker| &*worker.name).collect(),
            // As they would be drawn for anybody.
            Some(_) => shuffle
                .sized(NonZeroUsize::new(lost).map_or(Size::All, Size::Of))
                .shard("failing", &workers)
                .iter()
                .take(lost)
                .map(|worker| &*worker.name)
                .collect(),
        };
        let bar = ProgressBar::new(self.tenants.into()).with_style(
            ProgressStyle::with_template("{bar:40} {pos} of {len} tenants")
                .unwrap_or(ProgressStyle::default_bar()),
        );
        let mut radius = Radius::new(shuffle.len(&workers));
        for tenant in (0..self.tenants).progress_with(bar) {
            radius.add(&shard(&format!("tenant-{tenant}"))?, &lost);
        }
        Ok(radius)
    }
}

fn full(no_room: NoRoom, placed: usize) -> miette::Report {
    miette!("after {placed} tenants: {no_room}")
}

fn say(json: bool, said: &Said) {
    print(json, &json!(said), |_| text(said));
}

fn text(said: &Said) -> String {
    let Said { workers, size, lost, .. } = said;
    let ways = grouped(said.shards);
    let mut text = format!("{workers} workers, {size} for each tenant: {ways} ways to choose them\n");
    if let (Some(common), Some(most)) = (said.common, said.most_tenants) {
        let most = grouped(most);
        text.push_str(&format!(
            "No two tenants share more than {common}: there is room for {most} of them at most\n"
        ));
    }
    text.push_str(&match said.by_a_tenant {
        true => format!("\nOne tenant breaks its {lost} workers. Of the others lose\n\n"),
        false => format!("\n{lost} workers fail. Of all tenants lose\n\n"),
    });
    let measured = if said.tenants.is_some() { "   measured  tenants" } else { "" };
    text.push_str(&format!("workers  predicted{measured}\n"));
    for Row { lost, predicted, measured, tenants } in &said.reached {
        text.push_str(&format!("{lost:>7}  {}", percent(*predicted)));
        if let (Some(measured), Some(tenants)) = (measured, tenants) {
            text.push_str(&format!("  {}  {tenants:>7}", percent(*measured)));
        }
        text.push_str(&format!("  {}\n", bar(measured.unwrap_or(*predicted))));
    }
    text
}

/// A share with three digits that say something.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "     none".to_owned(),
        small if small < 0.01 => format!("{small:>7.0e} %"),
        _ => format!("{percent:>7.2} %"),
    }
}

fn bar(share: f64) -> String {
    let wide = (share * BAR as f64).ceil();
    "█".repeat((0..BAR).take_while(|at| (*at as f64) < wide).count())
}

/// A whole number, in groups of three digits; a large one by its order.
fn grouped(number: f64) -> String {
    if !number.is_finite() || number >= 1e15 {
        return if number.is_finite() { format!("{number:.1e}") } else { "any number of".to_owned() };
    }
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(
            (grouped(0.0), grouped(1_234_567.0), grouped(230_300.0)),
            ("0".into(), "1,234,567".into(), "230,300".into())
        );
        assert_eq!((grouped(1e20), grouped(f64::INFINITY)), ("1.0e20".into(), "any number of".into()));
        assert_eq!(
            (percent(0.0).trim(), percent(0.7703).trim(), percent(1.3e-8).trim()),
            ("none", "77.03 %", "1e-6 %")
        );
        assert_eq!(
            (bar(0.0).chars().count(), bar(0.001).chars().count(), bar(1.0).chars().count()),
            (0, 1, BAR)
        );
    }
}
