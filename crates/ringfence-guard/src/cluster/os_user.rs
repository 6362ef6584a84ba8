//! Which operating system user Postgres runs as: never root.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::ClusterError;

const PASSWD: &str = "/etc/passwd";

/// A user of the operating system (passwd(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OsUser {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

/// Who runs Ringfence, and who is to run Postgres: the same, unless it is root.
#[derive(Debug, Clone)]
pub(super) struct OsUsers {
    pub(super) ours: OsUser,
    pub(super) postgres: OsUser,
}

impl OsUsers {
    /// `own` is a file this process has just made: its owner is who we are.
    pub(super) fn resolve(own: &Path) -> Result<Self, ClusterError> {
        let uid = fs::metadata(own).map_err(|error| ClusterError::io(own, error))?.uid();
        let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
        let all: Vec<OsUser> = passwd.lines().filter_map(parse).collect();
        let ours =
            all.iter().find(|user| user.uid == uid).cloned().ok_or(ClusterError::NoSuchUser { uid })?;
        if uid != 0 {
            return Ok(Self { postgres: ours.clone(), ours });
        }
        let named = |name: &str| all.iter().find(|user| user.name == name && user.uid != 0).cloned();
        let postgres = named("postgres").or_else(|| named("nobody")).ok_or(ClusterError::OnlyRoot)?;
        Ok(Self { ours, postgres })
    }

    /// Whether another user than ours runs Postgres.
    pub(super) fn differ(&self) -> bool {
        self.ours.uid != self.postgres.uid
    }

    /// Makes `path` Postgres' own.
    pub(super) fn give(&self, path: &Path) -> Result<(), ClusterError> {
        if !self.differ() {
            return Ok(());
        }
        chown(path, Some(self.postgres.uid), Some(self.postgres.gid))
            .map_err(|error| ClusterError::io(path, error))
    }

    /// A command that runs as Postgres' user, outside our process group, so that Ctrl-C reaches it through us only.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.process_group(0).current_dir("/");
        if self.differ() {
            command.uid(self.postgres.uid).gid(self.postgres.gid);
        }
        command
    }

    /// Whether Postgres' user gets to `folder` at all.
    pub(super) fn check_reachable(&self, folder: &Path) -> Result<(), ClusterError> {
        if !self.differ() {
            return Ok(());
        }
        let folder = folder.canonicalize().map_err(|error| ClusterError::io(folder, error))?;
        let closed = folder.ancestors().skip(1).find(|ancestor| !self.may_enter(ancestor).unwrap_or(false));
        match closed {
            None => Ok(()),
            Some(ancestor) => Err(ClusterError::NotReachable {
                user: self.postgres.name.clone(),
                closed: PathBuf::from(ancestor),
            }),
        }
    }

    fn may_enter(&self, folder: &Path) -> io::Result<bool> {
        let metadata = fs::metadata(folder)?;
        let shift = if metadata.uid() == self.postgres.uid {
            6
        } else if metadata.gid() == self.postgres.gid {
            3
        } else {
            0
        };
        Ok(metadata.mode() >> shift & 1 == 1)
    }
}

/// One line of passwd(5): `name:password:uid:gid:gecos:home:shell`.
fn parse(line: &str) -> Option<OsUser> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(OsUser { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_a_user() {
        let user =
            parse("postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash").unwrap();
        assert_eq!((user.name.as_str(), user.uid, user.gid), ("postgres", 101, 104));
        for bad in ["", "# comment", "a:x:one:2", "+::::::"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
