//! `cargo xtask`: what a newcomer and the machine that checks changes run. No dependencies, so that it builds at once.

mod bench;
mod demo;
mod fuzz;
mod postgres;
mod run;
mod setup;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <setup | demo | test | postgres | bench | fuzz | tidy>

  setup   install what is missing: Postgres from the distribution, a linker
  demo    setup, build, and run `ringfence up --demo`; flags after it are passed on
  test    setup, and run every check; --only <step> runs one of:
          format, clippy, tidy, sdk, unit, postgres, range, prove
  postgres the guard's tests on Postgres [16] [17] [18], by default on all three; `test` runs them on the newest
  bench   what the chain costs, as ratios to baselines of the same run: [gateway] [txn] [avp] [bomb] [decide] [guard]
          [crowd] [move] [lint] [--json]; installs nginx and wrk
  fuzz    inputs nobody would write, by libFuzzer: [avp | authzen | entity | foreign | login | pgoutput | policy | startup |
          wire] [--seconds N], 60 each;
          needs a C++ compiler
  tidy    check sizes, arrows between crates, and that ARCHITECTURE.md names real tests";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = arguments.split_first().map_or(("", &[][..]), |(task, rest)| (task.as_str(), rest));
    let outcome = match task {
        "setup" => setup::setup(),
        "demo" => demo::demo(rest),
        "test" => test::test(rest),
        "postgres" => postgres::postgres(rest),
        "bench" => bench::bench(rest),
        "fuzz" => fuzz::fuzz(rest),
        "tidy" => tidy::tidy(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
