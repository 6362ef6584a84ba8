//! The managed cluster: starts, survives, is nobody else's, leaves nothing.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use ringfence_guard::{Binaries, Cluster, cluster::ClusterSettings};

use crate::fixture::{World, ask, cluster_settings, connect, eventually, fails, scratch};

fn postmaster(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("data/postmaster.pid")).ok()?.lines().next()?.parse().ok()
}

fn is_running(pid: u32) -> bool {
    // A zombie has ended.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_starts_stops_and_starts_again_with_its_data() {
    let folder = scratch("cluster");
    let cluster = Cluster::start(cluster_settings(folder.clone())).await.unwrap();
    let client = connect(&cluster.admin("postgres")).await.unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();
    for (name, expected) in [
        ("listen_addresses", ""),
        ("track_activities", "off"),
        ("password_encryption", "scram-sha-256"),
        ("max_prepared_transactions", "0"),
        ("log_parameter_max_length", "0"),
        ("data_checksums", "on"),
    ] {
        assert_eq!(ask(&client, &format!("SHOW {name}")).await.unwrap(), expected, "{name}");
    }
    let pid = postmaster(&folder).unwrap();
    assert!(is_running(pid) && fs::metadata(format!("/proc/{pid}")).unwrap().uid() != 0);
    cluster.stop().await.unwrap();
    assert!(!is_running(pid));
    let again = Cluster::start(cluster_settings(folder.clone())).await.unwrap();
    let client = connect(&again.admin("postgres")).await.unwrap();
    assert_eq!(ask(&client, "SELECT n FROM kept").await.unwrap(), "7");
    let pid = postmaster(&folder).unwrap();
    drop(again);
    assert!(!is_running(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_comes_back_and_the_guard_serves_again() {
    let folder = scratch("killed");
    let cluster = Cluster::start(cluster_settings(folder.clone())).await.unwrap();
    let world = World::on(&cluster).await;
    let guard = world.guard().await;
    let (idle, busy) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.acme).await);
    ask(&idle, "SELECT 1").await.unwrap();
    ask(&busy, "BEGIN; SELECT 1").await.unwrap();
    let first = postmaster(&folder).unwrap();
    kill("-9", first);
    eventually(|| async { (!is_running(first)).then_some(()) }).await;
    // Its backend ends when it notices that the postmaster is gone; the transaction is lost, and its client told so.
    let lost = eventually(|| async { ask(&busy, "SELECT 1").await.err() }).await.0;
    assert!(lost.starts_with("57P") || lost.starts_with("closed"), "{lost}");
    // The client that was idle keeps its session; while Postgres is down it reads so.
    let answer = eventually(|| async {
        match ask(&idle, "SELECT count(*) FROM accounts").await {
            Ok(answer) => Some(answer),
            Err((code, text)) => {
                assert_eq!(code, "57P03", "{text}");
                None
            }
        }
    })
    .await;
    assert_eq!(answer, "3");
    assert_ne!(postmaster(&folder).unwrap(), first);
    cluster.stop().await.unwrap();
    assert_eq!(fails(&idle, "SELECT 1").await, "57P03");
}

/// A cluster's Postgres that nobody supervises, ready.
async fn orphan(folder: &Path) -> Child {
    Cluster::start(cluster_settings(folder.to_owned())).await.unwrap().stop().await.unwrap();
    let owner = fs::metadata(folder.join("data")).unwrap().uid();
    let postgres = Binaries::find(None).unwrap().program("postgres");
    let mut command = Command::new(postgres);
    std::os::unix::process::CommandExt::uid(&mut command, owner);
    let orphan = command
        .arg("-D")
        .arg(folder.join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(|| async { (postmaster(folder) == Some(orphan.id())).then_some(()) }).await;
    eventually(|| async {
        fs::read_to_string(folder.join("data/postmaster.pid")).ok().filter(|text| text.contains("ready"))
    })
    .await;
    orphan
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_that_ends_before_it_is_told_to_is_stopped_all_the_same() {
    let folder = scratch("ending");
    let mut orphan = orphan(&folder).await;
    // The installed programs, but whoever is told to stop was ending already, and is gone by then.
    let (programs, installed) = (folder.join("bin"), Binaries::find(None).unwrap());
    fs::create_dir(&programs).unwrap();
    for name in ["postgres", "initdb"] {
        std::os::unix::fs::symlink(installed.program(name), programs.join(name)).unwrap();
    }
    let pg_ctl = format!(
        "#!/bin/sh
if [ \"$3\" = stop ] && read -r pid < \"$2/postmaster.pid\"; then
    kill -INT \"$pid\"
    while [ -e \"$2/postmaster.pid\" ]; do sleep 0.01; done
fi
exec '{}' \"$@\"
",
        installed.program("pg_ctl").display()
    );
    fs::write(programs.join("pg_ctl"), pg_ctl).unwrap();
    fs::set_permissions(programs.join("pg_ctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let binaries = Binaries::find(Some(&programs)).unwrap();
    let settings = ClusterSettings { binaries, ..cluster_settings(folder.clone()) };
    let cluster = Cluster::start(settings).await.unwrap();
    assert!(orphan.try_wait().unwrap().is_some());
    let pid = postmaster(&folder).unwrap();
    cluster.stop().await.unwrap();
    assert!(!is_running(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_of_an_earlier_run_is_stopped_first() {
    let folder = scratch("orphan");
    let mut orphan = orphan(&folder).await;
    let cluster = Cluster::start(cluster_settings(folder.clone())).await.unwrap();
    assert!(orphan.try_wait().unwrap().is_some());
    assert_ne!(postmaster(&folder), Some(orphan.id()));
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_pid_file_and_a_half_made_folder_do_no_harm() {
    let folder = scratch("stale");
    fs::create_dir_all(folder.join("data.new/half")).unwrap();
    Cluster::start(cluster_settings(folder.clone())).await.unwrap().stop().await.unwrap();
    assert!(!folder.join("data.new").exists());
    // Somebody else's process id: ours.
    let stale = format!("{}\n{}\n0\n6431\n", std::process::id(), folder.join("data").display());
    fs::write(folder.join("data/postmaster.pid"), stale).unwrap();
    let cluster = Cluster::start(cluster_settings(folder.clone())).await;
    // Postgres itself refuses while a process with that id lives as the same user; never do we stop the other.
    if let Ok(cluster) = cluster {
        cluster.stop().await.unwrap();
    }
    assert!(is_running(std::process::id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_paths_get_a_short_private_socket() {
    let folder = scratch("long").join("x".repeat(90));
    let cluster = Cluster::start(cluster_settings(folder)).await.unwrap();
    let socket = cluster.socket().parent().unwrap().to_owned();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
    connect(&cluster.admin("postgres")).await.unwrap();
    cluster.stop().await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_postgres_may_not_enter_is_an_error_that_says_so() {
    let closed = scratch("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let started = Cluster::start(cluster_settings(closed.join("inner"))).await;
    if fs::metadata(&closed).unwrap().uid() == 0 {
        let error = started.unwrap_err().to_string();
        assert!(error.contains("chmod o+x") && error.contains("closed"), "{error}");
    } else {
        started.unwrap().stop().await.unwrap();
    }
}

/// Names the folder of the cluster a child of the next test starts.
const CHILD: &str = "RINGFENCE_GUARD_TEST_CHILD";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the test runs itself as a child, and this is how it knows")]
async fn postgres_ends_when_its_parent_is_killed() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let _cluster = Cluster::start(cluster_settings(folder.into())).await.unwrap();
        std::future::pending::<()>().await;
    }
    let folder = scratch("orphaned");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cluster::postgres_ends_when_its_parent_is_killed"])
        .env(CHILD, &folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = eventually(|| async {
        let text = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
        text.contains("ready").then(|| postmaster(&folder)).flatten()
    })
    .await;
    assert!(is_running(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually(|| async { (!is_running(pid)).then_some(()) }).await;
}
