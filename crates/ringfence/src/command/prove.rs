//! `ringfence prove`: attacks a private copy of the chain, whole and with layers broken.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, ValueEnum};
use miette::{IntoDiagnostic, Result, bail, miette};
use ringfence_context::{Clock, key};
use ringfence_control::SystemClock;
use ringfence_prove::{Only, Options, prove};

/// Attack a private copy of the chain: whole, with each layer broken, with each pair broken.
#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// Run only this part; the intact chain is always run, the others are compared with it
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Repeat the run of this seed
    #[arg(long)]
    seed: Option<u64>,
    /// The range's program, where it is not beside this one
    #[arg(long, value_name = "PROGRAM")]
    range: Option<PathBuf>,
}

/// A part of the proof.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// Nothing broken
    Intact,
    /// Each layer broken
    Single,
    /// Each pair of layers broken
    Pairs,
}

impl Prove {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let only = match self.only {
            None => Only::All,
            Some(Part::Intact) => Only::Intact,
            Some(Part::Single) => Only::Single,
            Some(Part::Pairs) => Only::Pairs,
        };
        let seed = match self.seed {
            Some(seed) => seed,
            None => u64::from(u32::from_be_bytes(key::random::<4>().into_diagnostic()?)),
        };
        let range_binary = match self.range {
            Some(path) => path,
            None => beside()?,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let proving = prove(Options { range_binary, only, seed, progress: !self.json, clock });
        // Dropped, its ranges are ended and their folders, which may be in memory, are gone.
        let report = tokio::select! {
            report = proving => report.into_diagnostic()?,
            _ = tokio::signal::ctrl_c() => bail!("stopped"),
        };
        if self.json {
            say!("{}", serde_json::to_string_pretty(&report.json()).into_diagnostic()?);
        } else {
            say!("{report}");
        }
        Ok(ExitCode::from(report.exit_status()))
    }
}

fn beside() -> Result<PathBuf> {
    let range = std::env::current_exe().into_diagnostic()?.with_file_name("ringfence-range");
    if range.exists() {
        return Ok(range);
    }
    Err(miette!(
        help = "build it with `cargo build --package ringfence-range`, or name it with --range",
        "the range's program is not there: {}",
        range.display()
    ))
}
