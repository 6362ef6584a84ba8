//! What keeps a managed cluster from running, each with what to do.

use std::{io, path::PathBuf};

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is its message")]
pub enum ClusterError {
    #[error(
        "no Postgres found (looked in {looked_in:?}); install one with `apt-get install postgresql`, or configure the folder of its programs"
    )]
    NotInstalled { looked_in: Vec<PathBuf> },
    #[error("Postgres {found} is too old; install 15 or newer with `apt-get install postgresql`")]
    TooOld { found: u32 },
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "user id {uid} is not in /etc/passwd; Postgres refuses to run as a user without a name: add it there"
    )]
    NoSuchUser { uid: u32 },
    #[error(
        "Postgres never runs as root, and there is neither a user `postgres` nor `nobody`; run `adduser --system postgres`"
    )]
    OnlyRoot,
    #[error(
        "Postgres runs as `{user}`, who may not enter {closed}; choose another --dir or run `chmod o+x {closed}`",
        closed = closed.display()
    )]
    NotReachable { user: String, closed: PathBuf },
    #[error("initdb failed: {stderr}")]
    Initdb { stderr: String },
    #[error("{data} was made by Postgres {found}, and {installed} is installed; install {found} or move the data with pg_upgrade", data = data.display())]
    OtherVersion { data: PathBuf, found: String, installed: u32 },
    #[error("Postgres does not answer; its log is {log}, the last lines: {tail}", log = log.display())]
    NotReady { log: PathBuf, tail: String },
    #[error("Postgres on {data} does not stop", data = data.display())]
    WillNotStop { data: PathBuf },
}

impl ClusterError {
    pub(super) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}
