//! Processes of a state folder, found by what the system says of them.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Every process that works in or was started on a folder: its id and program name.
pub(crate) fn of(dir: &Path) -> Vec<(u32, String)> {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let wanted = dir.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let works_in = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&dir));
        if pid != std::process::id() && (works_in || command.contains(&wanted)) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push((pid, name.trim().to_owned()));
        }
    }
    found
}

/// The process of a folder with this name.
pub(crate) fn named(dir: &Path, name: &str) -> u32 {
    let all = of(dir);
    let found = all.iter().find(|(_, found)| found == name);
    found.unwrap_or_else(|| panic!("no {name} among {all:?}")).0
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -s {name} {pid}");
}

/// Kills a child and waits until it has ended, and what it had locked is free; who started it may still ask how it ended.
pub(crate) fn kill(pid: u32) {
    signal(pid, "KILL");
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
}

/// Kills the processes of a folder with this name. One that ends meanwhile is as good as killed.
pub(crate) fn kill_all_named(dir: &Path, name: &str) {
    for (pid, _) in of(dir).iter().filter(|(_, found)| found == name) {
        Command::new("kill").args(["-s", "KILL", &pid.to_string()]).output().unwrap();
    }
}

/// Asks until there is an answer; fails after `seconds`.
pub(crate) fn until<T>(what: &str, seconds: u64, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(seconds), "{what}: not within {seconds} s");
        // A pause between questions, not a wait for an answer.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests are a program: here time comes in")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
