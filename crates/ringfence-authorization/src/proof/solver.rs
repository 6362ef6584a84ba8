//! The solver process: cvc5, with bounds on memory and time, started for one proof and ended with it.

use std::{path::PathBuf, process::Stdio, time::Duration};

use cedar_policy_symcc::solver::LocalSolver;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// Which solver, and what it may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SolverSettings {
    /// The program: a path, or a name to be found.
    pub program: PathBuf,
    /// How long one proof may take.
    pub time: Duration,
    /// How much memory the process may take, in MiB.
    pub memory: u32,
    /// The program that, told `prover`, translates for the solver ([`super::answer`]) in a process whose memory and time are
    /// bounded. Where there is none it is done in this process, which nothing bounds: see `apart.rs`.
    pub prover: Option<PathBuf>,
}

impl Default for SolverSettings {
    /// `cvc5`, 10 s, 512 MiB.
    fn default() -> Self {
        Self { program: "cvc5".into(), time: Duration::from_secs(10), memory: 512, prover: None }
    }
}

impl SolverSettings {
    /// What the solver says it is.
    pub(super) async fn version(&self) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let said = tokio::time::timeout(self.time, command.output()).await;
        let said = said.map_err(|_| "it does not answer".to_owned())?;
        let output = said.map_err(|error| format!("{}: {error}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default().trim();
        match first.strip_prefix("This is ").unwrap_or(first).split(" [").next() {
            Some(version) if output.status.success() && version.starts_with("cvc5 ") => {
                Ok(version.to_owned())
            }
            _ => Err(format!("{} does not say that it is cvc5", self.program.display())),
        }
    }

    /// Starts it. The process ends when the solver is dropped.
    pub(super) fn start(&self) -> Result<LocalSolver, String> {
        // The limits and the priority are the shell's to set: this program forks no code of its own.
        let script = "ulimit -v \"$1\"; exec nice -n 10 \"$2\" --lang smt \"--tlimit=$3\"";
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, "sh"])
            .arg((u64::from(self.memory) * 1024).to_string())
            .arg(&self.program)
            // A little longer than it is waited for: it is a bound on what is left running, not the one that is told.
            .arg((self.time.as_millis() + 1000).to_string())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .kill_on_drop(true);
        LocalSolver::from_command(&mut command).map_err(|error| error.to_string())
    }
}
