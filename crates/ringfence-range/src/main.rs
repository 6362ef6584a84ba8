//! The range: the same chain as the serving binary's, with one or two parts broken on purpose, for `prove` to attack.
//!
//! A program of its own: the binary that serves traffic links nothing of it. It runs on loopback, in a state folder
//! that is given, with tenants of its own; says in one line of JSON where everything is; and ends when its standard
//! input closes.

mod backend;
mod broken;
mod chain;
mod injection;
mod layer;
mod overheard;
mod scene;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use layer::Layer;
use tokio::io::AsyncReadExt;

/// As the serving binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the chain with parts broken, for attacks.
#[derive(Debug, Parser)]
#[command(name = "ringfence-range", version)]
struct Arguments {
    /// State folder: a new one, or one of an earlier range
    #[arg(long)]
    dir: PathBuf,
    /// What to break, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    broken: Vec<Layer>,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("prover") {
        return ringfence_control::prover::answer();
    }
    let arguments = Arguments::parse();
    let outcome = tokio::runtime::Runtime::new()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ringfence-range: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let chain = chain::start(&arguments.dir, &arguments.broken).await?;
    println!("{}", chain.scene);
    let mut nothing = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
    chain.stop().await
}
