//! One task for the solver, and the process it is done in.
//!
//! What is translated for the solver can grow without bound from a policy of a few hundred bytes (sums within conditional
//! sums double at every step), and nothing inside a process can stop that. So a plane has it done by a process of its own,
//! whose memory and time the system bounds: it ends there, and what was asked is not proved. Where no program is named that
//! can be such a process, it is done here: for texts one trusts, as in a test.

use std::{io::Read, path::Path, process::ExitCode, process::Stdio, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{KindOfRequest, Proof, SolverSettings, Unproved, claim, difference::Pair};
use crate::{PolicyFault, StoreDocument, compile, cores::LastWork};

/// How deep the process may go, in bytes: what is translated is walked over level by level.
const STACK: usize = 256 * 1024 * 1024;

/// What the process takes before anything is translated, in MiB: its program, its stack, its allocator's reserve.
const OWN: u64 = 1536;

/// Longer than this no answer is, in bytes.
const ANSWER: usize = 4 * 1024 * 1024;

/// What is wanted to be known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Task {
    /// Whether a store is safe.
    Prove(StoreDocument),
    /// What two stores allow differently.
    Compare(Box<(StoreDocument, StoreDocument)>),
}

/// What is known.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Done {
    Proof(Proof),
    /// How many kinds of request were compared, and those that differ.
    Compared(usize, Vec<KindOfRequest>),
    /// A text is not valid.
    Invalid(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    settings: SolverSettings,
    task: Task,
}

impl Task {
    /// Does it here.
    pub(super) async fn work(self, settings: &SolverSettings) -> Done {
        self.try_work(settings).await.unwrap_or_else(|fault| Done::Invalid(fault.to_string()))
    }

    async fn try_work(self, settings: &SolverSettings) -> Result<Done, PolicyFault> {
        match self {
            Self::Prove(document) => {
                let schema = crate::text::schema(&document.schema).map_err(PolicyFault::schema)?;
                let policies = compile::own_policies(&document)?;
                let claims = claim::decide(settings, &schema, &policies);
                let proof = tokio::time::timeout(settings.time, claims).await;
                Ok(Done::Proof(proof.unwrap_or(Proof::Unproved(Unproved::TooSlow))))
            }
            Self::Compare(pair) => {
                let (compared, differing) = Pair::read(&pair.0, &pair.1)?.compare(settings).await;
                Ok(Done::Compared(compared, differing))
            }
        }
    }

    /// How long it may take in all.
    fn time(&self, settings: &SolverSettings) -> Duration {
        let most = match self {
            Self::Prove(_) => settings.time,
            Self::Compare(_) => settings.time.saturating_mul(super::difference::ALL),
        };
        // It ends by itself a little earlier, and says so.
        most.saturating_add(Duration::from_secs(2))
    }

    /// Has it done by a process of `program`, of a low priority; where not `at_once`, when nobody else wants the processor.
    pub(super) async fn work_apart(
        self,
        settings: &SolverSettings,
        program: &Path,
        at_once: bool,
    ) -> Result<Done, Unproved> {
        let failed = |error: std::io::Error| Unproved::Failed(format!("{}: {error}", program.display()));
        let time = self.time(settings);
        let memory = u64::from(settings.memory).saturating_add(OWN).saturating_mul(1024);
        let _last = (!at_once).then(LastWork::begin);
        // The limits and the priority are the shell's to set: this program forks no code of its own.
        let limits = "ulimit -v \"$1\"; ulimit -t \"$2\"";
        // Where the system refuses it, the priority is low all the same.
        let last = if at_once { "" } else { "; chrt --idle --pid 0 $$ 2>/dev/null" };
        let script = format!("{limits}{last}; exec nice -n 10 \"$3\" prover");
        let mut process = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .args([memory.to_string(), time.as_secs().saturating_add(1).to_string()])
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let order = Order { settings: settings.clone(), task: self };
        let order = serde_json::to_vec(&order).map_err(|error| Unproved::Failed(error.to_string()))?;
        let done = async {
            if let Some(mut input) = process.stdin.take() {
                // Where it has ended already, that is told by how it ended.
                let _ = input.write_all(&order).await;
            }
            process.wait_with_output().await
        };
        let output =
            tokio::time::timeout(time, done).await.map_err(|_| Unproved::TooSlow)?.map_err(failed)?;
        if !output.status.success() || output.stdout.len() > ANSWER {
            return Err(Unproved::TooLarge);
        }
        serde_json::from_slice(&output.stdout).map_err(|error| Unproved::Failed(error.to_string()))
    }
}

/// Does one task, read from standard input, and tells on standard output what is known: what the process of a program that is
/// named in [`SolverSettings::prover`] does when its first argument is `prover`.
pub fn answer() -> ExitCode {
    let work = || -> Option<Vec<u8>> {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input).ok()?;
        let Order { settings, task } = serde_json::from_slice(&input).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        serde_json::to_vec(&runtime.block_on(task.work(&settings))).ok()
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    match thread.ok().and_then(|thread| thread.join().ok().flatten()) {
        Some(done) if std::io::Write::write_all(&mut std::io::stdout(), &done).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
