//! Parts that die: what is refused meanwhile, and that it is served again without a restart.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    http::Answer,
    process::{self, until},
    program::{complaint, scratch},
    session::Plane,
};

/// Asks for an own payment once.
struct Probe<'a> {
    plane: &'a Plane,
    token: String,
    path: String,
}

impl<'a> Probe<'a> {
    fn new(plane: &'a Plane) -> Self {
        let path = format!("/payments/{}", plane.payment("acme"));
        Self { plane, token: plane.token("acme", "alice"), path }
    }

    fn ask(&self) -> Answer {
        self.plane.get("acme", &self.token, &self.path)
    }

    /// Asks until it is served. On the way there is nothing but refusals that say so.
    fn served_again(&self) {
        until("served again", 30, || {
            let answer = self.ask();
            if answer.status == 200 {
                return Some(());
            }
            assert_eq!(answer.status, 503, "{answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
            let problem = answer.json();
            assert_eq!(problem["fault"], "server", "{problem}");
            assert!(problem["advice"].as_str().unwrap().contains("Try again"), "{problem}");
            None
        });
    }
}

#[test]
fn a_killed_postgres_is_refused_with_503_and_served_again() {
    let dir = scratch("postgres");
    let plane = Plane::demo(&dir);
    let probe = Probe::new(&plane);
    assert_eq!(probe.ask().status, 200);
    let file = dir.join("postgres/data/postmaster.pid");
    let postmaster = || fs::read_to_string(&file).ok()?.lines().next()?.parse::<u32>().ok();
    let first = postmaster().unwrap();
    // While its data is elsewhere it can't be started again, however long the next request takes to come.
    let (data, away) = (dir.join("postgres/data"), dir.join("postgres/away"));
    fs::rename(&data, &away).unwrap();
    process::signal(first, "KILL");
    until("refused", 30, || {
        let answer = probe.ask();
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        (answer.status == 503).then_some(())
    });
    fs::rename(&away, &data).unwrap();
    probe.served_again();
    assert_ne!(postmaster().unwrap(), first);
    let psql = plane.psql("acme", &plane.database_token("acme", "alice"), "SELECT count(*) FROM payments");
    assert!(psql.status.success());
}

#[test]
fn a_killed_application_is_refused_with_503_and_served_again() {
    let dir = scratch("application");
    let plane = Plane::demo(&dir);
    let probe = Probe::new(&plane);
    let first = process::named(&dir, "ledger");
    // Each that is started in its place is killed as well, until a request has found none.
    let refused = until("refused", 30, || {
        process::kill_all_named(&dir, "ledger");
        Some(probe.ask()).filter(|answer| answer.status != 200)
    });
    assert_eq!(refused.refusal(), ("routing".to_owned(), "upstream_unavailable".to_owned()));
    probe.served_again();
    assert_ne!(process::named(&dir, "ledger"), first);
}

#[test]
fn a_killed_ringfence_leaves_no_process_and_starts_again() {
    let dir = scratch("killed");
    let mut plane = Plane::demo(&dir);
    let payment = plane.payment("acme");
    process::named(&dir, "postgres");
    process::named(&dir, "ledger");
    plane.kill();
    until("no process left", 20, || process::of(&dir).is_empty().then_some(()));
    let again = Plane::demo(&dir);
    assert_eq!(again.payment("acme"), payment);
    assert_eq!(Probe::new(&again).ask().status, 200);
}

#[test]
fn a_stopped_terminal_is_not_needed() {
    // Interrupted while it starts: nothing is left, and the next start works.
    let dir = scratch("early");
    let mut command = crate::program::started_as();
    command.args([
        "up",
        "--demo",
        "--gateway",
        "127.0.0.1:0",
        "--api",
        "127.0.0.1:0",
        "--guard",
        "127.0.0.1:0",
    ]);
    command.arg("--dir").arg(&dir);
    let mut child = crate::program::start(command);
    until("the state is made", 10, || dir.join("state.sqlite").exists().then_some(()));
    process::signal(child.id(), "INT");
    assert!(child.wait().is_ok());
    until("no process left", 20, || process::of(&dir).is_empty().then_some(()));
    assert_eq!(Probe::new(&Plane::demo(&dir)).ask().status, 200);
}

/// A small file system of memory, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(name: &str) -> Self {
        let folder = scratch(name);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=160m,mode=755", "tmpfs"]).arg(&folder);
        assert!(mount.status().unwrap().success());
        Self(folder)
    }

    /// Takes all the room that is left; gives the file that takes it.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        let block = vec![0_u8; 64 * 1024];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Only root mounts. Without root, `ringfence-store`'s tests stand in: a store that may not grow, over the same commits.
#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_written() {
    if !is_root() {
        return full_without_root();
    }
    let disk = SmallDisk::mount("disk");
    let dir = disk.0.join("state");
    let plane = Plane::demo(&dir);
    let before = plane.json(&["tenant", "list"]);
    let probe = Probe::new(&plane);
    let ballast = disk.fill();
    let failed = complaint(&plane.command(&["tenant", "create", "late"]));
    assert!(failed.contains("space"), "{failed}");
    let users = plane.command(&["user", "create", "late", "--tenant", "acme"]);
    assert!(complaint(&users).contains("space"));
    fs::remove_file(ballast).unwrap();
    until("served again", 30, || (probe.ask().status == 200).then_some(()));
    let listed = plane.json(&["tenant", "list"]);
    let settled = |value: &serde_json::Value| {
        value.as_array().unwrap().iter().filter(|tenant| tenant["status"] == "active").count()
    };
    assert_eq!(settled(&listed), settled(&before), "no tenant was half made and served");
    assert_eq!(plane.json(&["tenant", "create", "late"])["status"], "active", "the same command resumes");
    plane.json(&["user", "create", "late", "--tenant", "acme"]);
}

/// What one file may grow to is bounded instead of the disk: writes fail all the same.
fn full_without_root() {
    let dir = scratch("bounded");
    let mut plane = Plane::demo(&dir);
    let before = fs::metadata(dir.join("state.sqlite")).unwrap().len();
    plane.interrupt();
    let limit = format!("--fsize={before}");
    let mut prlimit = Command::new("prlimit");
    prlimit.args([&limit, "--", crate::program::path(), "up", "--demo", "--dir"]).arg(&dir);
    let output = prlimit.output().unwrap();
    assert!(!output.status.success());
    assert_eq!(Probe::new(&Plane::demo(Path::new(&dir))).ask().status, 200);
}
