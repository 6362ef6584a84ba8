//! The tenant-isolation plane, one binary.

#[macro_use]
mod output;

mod call;
mod command;
mod demo;
mod sign_in;

use std::process::ExitCode;

use clap::Parser;
use command::Command;
use rustix::{fs::Mode, process::umask};

/// Requests are many small allocations, of threads that seldom share them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is written is its owner's alone (`umask(2)`). A folder may be passed through and not listed: Postgres, which is
/// another user where this one is root, has its own below the state folder.
const OTHERS_MAY_NOT: u32 = 0o066;

/// The tenant-isolation plane of a multi-tenant application.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    umask(Mode::from_raw_mode(OTHERS_MAY_NOT));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .without_time()
        .init();
    // Lines stay whole: what a message says to run can be copied. A hook that is set already is as good.
    let _ =
        miette::set_hook(Box::new(|_| Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())));
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ringfence: can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(arguments.command.run()) {
        Ok(_) if output::is_lost() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}
