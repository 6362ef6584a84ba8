//! Programs under measurement: they end when the benchmark does, however it ends, and what they cost is read from the
//! kernel.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

use crate::run::Outcome;

/// Starts the program given as arguments and ends it when standard input closes: that is when the benchmark drops it,
/// fails, is interrupted or is killed. An interrupt at the terminal, or its end, goes to everyone; the shell survives
/// it to tidy up.
const UNTIL_CLOSED: &str = r#"trap '' INT HUP
"$0" "$@" </dev/null & child=$!
read -r _
kill -TERM "$child" 2>/dev/null
wait "$child" 2>/dev/null"#;

/// Clock ticks per second in `/proc/<pid>/stat`: `USER_HZ`, 100 on every Linux (`man 5 proc`).
const TICKS: f64 = 100.0;

const START: Duration = Duration::from_secs(60);

/// A running program.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts a program that says nothing.
    pub(super) fn start(program: &str, arguments: &[&str]) -> Outcome<Self> {
        Self::spawn(program, arguments, Stdio::null()).map(Self)
    }

    /// Starts a program and waits for a line on its standard output that begins with each of `prefixes`, in this order;
    /// gives the rest of each.
    pub(super) fn start_until<const N: usize>(
        program: &str,
        arguments: &[&str],
        prefixes: [&str; N],
    ) -> Outcome<(Self, [String; N])> {
        let mut process = Self(Self::spawn(program, arguments, Stdio::piped())?);
        let output = process.0.stdout.take().ok_or("no standard output")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut told: [String; N] = std::array::from_fn(|_| String::new());
        for (prefix, told) in prefixes.iter().zip(&mut told) {
            *told = loop {
                match lines.recv_timeout(START) {
                    Ok(line) => {
                        if let Some(rest) = line.strip_prefix(prefix) {
                            break rest.trim().to_owned();
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => return Err(format!("{program} did not start in time")),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(format!("{program} ended at its start"));
                    }
                }
            };
        }
        Ok((process, told))
    }

    fn spawn(program: &str, arguments: &[&str], output: Stdio) -> Outcome<Child> {
        let mut command = Command::new("sh");
        command.args(["-c", UNTIL_CLOSED, program]).args(arguments);
        let spawned = command.stdin(Stdio::piped()).stdout(output).spawn();
        spawned.map_err(|error| format!("can't start {program}: {error}"))
    }

    /// Processor seconds it and its children have used.
    pub(super) fn cpu_seconds(&self) -> f64 {
        let all = processes();
        let mut family = vec![self.0.id()];
        let mut at = 0;
        while let Some(parent) = family.get(at).copied() {
            family.extend(all.iter().filter(|(_, (of, _))| *of == parent).map(|(pid, _)| *pid));
            at = at.saturating_add(1);
        }
        family.iter().filter_map(|pid| all.get(pid)).map(|(_, ticks)| ticks).sum::<f64>() / TICKS
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Every process: its parent, and the ticks it has used in user and kernel mode.
fn processes() -> HashMap<u32, (u32, f64)> {
    let stat = |path: &Path| {
        let pid: u32 = path.file_name()?.to_str()?.parse().ok()?;
        let text = fs::read_to_string(path.join("stat")).ok()?;
        // The name in parentheses may hold anything: count from behind it, where field 3 comes first.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        Some((pid, (fields.get(1)?.parse().ok()?, ticks(11)? + ticks(12)?)))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(&entry.path())).collect()
}

/// An address nobody listens on, for programs that can't say which one they took.
pub(super) fn free_address() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map_err(|error| format!("no free port: {error}"))
}

/// Waits until somebody accepts connections at `address`.
pub(super) fn wait_for(address: SocketAddr) -> Outcome {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nobody answers at {address}"))
}
