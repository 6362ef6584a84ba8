//! The postmaster as a child process: kept running until it is told to stop, never left behind.
//!
//! One thread starts it, waits for it and starts it again. It is a thread of its own because Linux sends the
//! parent-death signal (prctl(2), `PR_SET_PDEATHSIG`) when the *thread* that forked ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use super::{Binaries, ClusterError, os_user::OsUsers};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a postmaster that was told to stop may take each time, in seconds.
const STOPS_WITHIN: &str = "30";
/// How `pg_ctl status` exits where no server runs (its manual page).
const NOT_RUNNING: i32 = 3;
/// How long before it is looked again whether the thread has seen that the postmaster is gone.
const LOOK: Duration = Duration::from_millis(5);
const SETPRIV: &str = "/usr/bin/setpriv";

/// What it takes to start a postmaster.
#[derive(Debug, Clone)]
pub(super) struct Postmaster {
    pub(super) binaries: Binaries,
    pub(super) users: OsUsers,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

impl Postmaster {
    fn spawn(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let postgres = self.binaries.program("postgres");
        let mut command = if Path::new(SETPRIV).exists() {
            // The signal is fast shutdown: Postgres goes when we go, however we go.
            let mut command = self.users.command(Path::new(SETPRIV));
            command.args(["--pdeathsig", "INT", "--"]).arg(postgres);
            command
        } else {
            self.users.command(&postgres)
        };
        command.arg("-D").arg(&self.data);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
    }

    /// Runs `pg_ctl` on this data folder.
    fn pg_ctl(&self, arguments: &[&str]) -> Command {
        let mut command = self.users.command(&self.binaries.program("pg_ctl"));
        command.arg("-D").arg(&self.data).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Shuts a running postmaster of this data folder down and waits until it is gone. Where it is told to twice, the second time it
    /// writes no checkpoint, and kills who does not go within 5 s (`SIGKILL_CHILDREN_AFTER_SECS` in `postmaster.c`): what takes longer
    /// than [`STOPS_WITHIN`] then is the system's.
    fn shut_down(&self) -> Result<(), ClusterError> {
        for mode in ["fast", "immediate"] {
            let status = self.pg_ctl(&["stop", "-w", "-t", STOPS_WITHIN, "-m", mode]).status();
            // It fails too where there is none to be told: one whose parent was killed is ending by itself.
            if status.is_ok_and(|status| status.success()) || self.has_ended() {
                return Ok(());
            }
        }
        Err(ClusterError::WillNotStop { data: self.data.clone() })
    }

    fn has_ended(&self) -> bool {
        self.pg_ctl(&["status"]).status().is_ok_and(|status| status.code() == Some(NOT_RUNNING))
    }

    /// Stops what an earlier run that died hard may have left running on this very data folder.
    pub(super) fn stop_orphan(&self) -> Result<(), ClusterError> {
        let Some(pid) = self.recorded_pid() else { return Ok(()) };
        // A stale file may name a process id that is someone else's by now: Postgres removes such a file itself.
        let command_line = fs::read(format!("/proc/{pid}/cmdline"));
        let data = self.data.as_os_str().as_encoded_bytes();
        let ours = match &command_line {
            Ok(line) => line.split(|byte| *byte == 0).any(|argument| argument == data),
            Err(_) => !Path::new("/proc/self").exists(),
        };
        if !ours || self.has_ended() {
            return Ok(());
        }
        tracing::warn!(pid, "stopping a Postgres that an earlier run left behind");
        self.shut_down()
    }

    fn recorded_pid(&self) -> Option<u32> {
        fs::read_to_string(self.data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
    }

    /// Whether the postmaster that has just ended had been ready: its file says so and outlives a hard death.
    fn was_ready(&self) -> bool {
        fs::read_to_string(self.data.join("postmaster.pid")).is_ok_and(|text| text.contains("ready"))
    }
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Order {
    stopping: Mutex<bool>,
    changed: Condvar,
}

impl Order {
    fn stop(&self) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for `pause` or the order to stop; whether to stop.
    fn stopping_within(&self, pause: Duration) -> bool {
        let guard = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(guard, pause, |stopping| !*stopping);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The thread that keeps the postmaster running.
#[derive(Debug)]
pub(super) struct Supervisor {
    postmaster: Postmaster,
    order: Arc<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    pub(super) fn start(postmaster: Postmaster) -> Result<Self, ClusterError> {
        let order = Arc::new(Order::default());
        let (told, runs) = (Arc::clone(&order), postmaster.clone());
        let thread = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || keep_running(&runs, &told))
            .map_err(|error| ClusterError::io(&postmaster.data, error))?;
        Ok(Self { postmaster, order, thread: Some(thread) })
    }

    /// Whether the thread still runs: it ends early only if it can't even start the program.
    pub(super) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Shuts Postgres down and waits until no process of it is left.
    pub(super) fn stop(&mut self) -> Result<(), ClusterError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.order.stop();
        while !thread.is_finished() {
            // Between two lives nothing runs, and the thread may have begun the next before it was told.
            self.postmaster.shut_down()?;
            std::thread::park_timeout(LOOK);
        }
        thread.join().map_err(|_| ClusterError::WillNotStop { data: self.postmaster.data.clone() })
    }
}

fn keep_running(postmaster: &Postmaster, order: &Order) {
    let mut pause = FIRST_PAUSE;
    loop {
        match postmaster.spawn().and_then(|mut child| child.wait()) {
            Ok(status) if order.stopping_within(Duration::ZERO) => {
                tracing::debug!(%status, "Postgres has stopped");
                return;
            }
            Ok(status) => tracing::error!(%status, ?pause, "Postgres ended by itself; starting it again"),
            Err(error) => tracing::error!(%error, ?pause, "Postgres does not start; trying again"),
        }
        if postmaster.was_ready() {
            pause = FIRST_PAUSE;
        }
        if order.stopping_within(pause) {
            return;
        }
        pause = LONGEST_PAUSE.min(pause.saturating_mul(2));
    }
}
