//! The program under test, with the sample app beside it.
//!
//! Cargo builds programs of the package under test only. The sample app is another package, and the demo looks for it
//! beside `ringfence`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
};

const RINGFENCE: &str = env!("CARGO_BIN_EXE_ringfence");

/// The program. The sample app stands beside it: `cargo xtask test` builds it there first.
pub(crate) fn path() -> &'static str {
    let ledger = Path::new(RINGFENCE).with_file_name("ledger");
    assert!(ledger.exists(), "{} is missing: run `cargo build --package ledger` first", ledger.display());
    RINGFENCE
}

/// Runs a command of it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with(arguments, "")
}

/// Runs a command of it to its end, with this on its standard input.
pub(crate) fn run_with(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(path());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without reading.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a command that succeeds prints.
pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// What a command that fails complains of, on one line.
pub(crate) fn complaint(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    // Without the frame around it.
    let words = err.split_whitespace().filter(|word| !matches!(*word, "│" | "├─▶" | "╰─▶" | "×" | "·"));
    words.collect::<Vec<_>>().join(" ")
}

/// Starts something that ends when the tests do, however they do.
///
/// Linux sends the parent-death signal when the thread that forked ends, so one thread that never does forks all.
pub(crate) fn start(command: Command) -> Child {
    static STARTER: OnceLock<Sender<(Command, Sender<Child>)>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, commands) = channel::<(Command, Sender<Child>)>();
        std::thread::spawn(move || {
            for (mut command, started) in commands {
                started.send(command.spawn().unwrap()).unwrap();
            }
        });
        sender
    });
    let (started, child) = channel();
    starter.send((command, started)).unwrap();
    child.recv().unwrap()
}

/// `ringfence` as [`start`] starts it: interrupted when the tests end.
pub(crate) fn started_as() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT", "--", path()]);
    command
}

/// A folder for one test, after removing those whose run is over. Postgres' own user may enter it.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let parent = std::env::temp_dir();
    for entry in fs::read_dir(&parent).unwrap().filter_map(Result::ok) {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = file_name.strip_prefix("rf-it-") else { continue };
        let alive = rest.split('-').next().is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if !alive {
            // Another run may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("rf-it-{}-{number}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}
