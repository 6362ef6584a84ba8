//! Finds the installed Postgres.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::ClusterError;

/// The oldest major version that is served.
const OLDEST: u32 = 15;

/// The programs of one installed Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// Looks in `configured` alone if given, else asks `pg_config`, else looks where distributions put Postgres; takes
    /// the newest.
    ///
    /// # Errors
    /// [`ClusterError::NotInstalled`] or [`ClusterError::TooOld`], saying what to install.
    pub fn find(configured: Option<&Path>) -> Result<Self, ClusterError> {
        let folders = match configured {
            Some(folder) => vec![folder.to_owned()],
            None => pg_config().into_iter().chain(distribution_folders()).collect(),
        };
        let mut found: Vec<Self> = folders.iter().filter_map(|folder| Self::inspect(folder)).collect();
        found.sort_by_key(|binaries| binaries.major);
        let newest = found.pop().ok_or(ClusterError::NotInstalled { looked_in: folders })?;
        if newest.major < OLDEST { Err(ClusterError::TooOld { found: newest.major }) } else { Ok(newest) }
    }

    /// The server programs in `folder`, if they are all there and run.
    fn inspect(folder: &Path) -> Option<Self> {
        let complete = ["postgres", "initdb", "pg_ctl"].iter().all(|program| folder.join(program).is_file());
        if !complete {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder: folder.to_owned(), major })
    }

    /// The path of one program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(folder.trim()))
}

/// Debian, Red Hat and Homebrew each keep several major versions side by side.
fn distribution_folders() -> Vec<PathBuf> {
    let siblings = |parent: &str, prefix: &str, tail: &str| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
        entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join(tail))
            .collect()
    };
    let mut folders = siblings("/usr/lib/postgresql", "", "bin");
    folders.extend(siblings("/usr", "pgsql-", "bin"));
    folders.extend(siblings("/opt/homebrew/opt", "postgresql@", "bin"));
    folders.extend(siblings("/usr/local/opt", "postgresql@", "bin"));
    folders
}

/// `postgres (PostgreSQL) 15.18 (Debian ...)` gives 15.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15)),
            ("postgres (PostgreSQL) 17devel", Some(17)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("postgres", None),
        ] {
            assert_eq!(major_version(text), major, "{text}");
        }
    }

    #[test]
    fn a_missing_postgres_is_an_error_that_says_what_to_install() {
        let error = Binaries::find(Some(Path::new("/nonexistent"))).unwrap_err().to_string();
        assert!(error.contains("apt-get install postgresql") && error.contains("/nonexistent"), "{error}");
    }
}
