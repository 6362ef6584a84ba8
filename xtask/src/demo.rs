//! The demo: from nothing to three tenants on one app.

use crate::{
    run::{Outcome, cargo, run, target},
    setup::setup,
};

/// Sets up, builds, and runs the demo until Ctrl-C.
pub(crate) fn demo(flags: &[String]) -> Outcome {
    setup()?;
    cargo(&["build", "--package", "ringfence", "--package", "ledger"])?;
    let program = target().join("debug/ringfence").display().to_string();
    let mut arguments = vec!["up", "--demo"];
    arguments.extend(flags.iter().map(String::as_str));
    run(&program, &arguments)
}
