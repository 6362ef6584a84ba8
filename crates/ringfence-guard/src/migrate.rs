//! Migrations: SQL files, each with a version, and for each schema that tenants' tables are in the record of those it has had.
//!
//! It guarantees that a schema has a migration whole or not at all, with its record; that what it has had is what the files
//! say, by their hash; and that none is left out on the way to a later one.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ringfence_context::key::sha256;
use serde::Serialize;
use tokio_postgres::{Client, types::ToSql};

use crate::{connect::is_passing, role::SchemaName};

/// Makes a file run outside of a transaction, as its first line: for what Postgres refuses in one, such as
/// `CREATE INDEX CONCURRENTLY`. It holds one statement then, and one that may be run again.
const ALONE: &str = "-- no transaction";

/// How long a statement waits for a lock, in one attempt: longer, and everybody who comes after it waits as well.
const LOCK_TIMEOUT: &str = "3s";

/// Serialises migrations of one database: `migrate` in ASCII.
const LOCK: i64 = 0x006d_6967_7261_7465;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// What its name begins with.
    pub version: i64,
    /// Its name.
    pub name: String,
    sql: String,
    digest: [u8; 32],
}

/// A migration that a schema has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its version.
    pub version: i64,
    /// What its file was called.
    pub name: String,
    #[serde(skip)]
    digest: Vec<u8>,
}

/// Why a database was not migrated. It is as it was before the migration that failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The folder or a file can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A name without a version.
    #[error("{0} has no version: call it 0007_{0}, with its place among the others")]
    Name(String),
    /// Two of one version.
    #[error("{0} and {1} have one version: give the later one the next")]
    Twice(String, String),
    /// A file that was changed after it was run.
    #[error(
        "{0} is not what this database has had under that version: put it back, and write what is new into another file"
    )]
    Changed(String),
    /// A file that was put in front of one that was run.
    #[error("{0} comes before {1}, which this database has had: give it a version after that")]
    Late(String, String),
    /// Something it has had and nobody knows.
    #[error("this database has had {0}, which is not among the files: bring it back")]
    Unknown(String),
    /// Postgres refused.
    #[error("{}", match .0.as_db_error() { Some(db) => format!("{} ({})", db.message(), db.code().code()), None => .0.to_string() })]
    Postgres(#[from] tokio_postgres::Error),
}

impl MigrateError {
    /// Whether it may go through when it is tried again: somebody held a lock, or the connection is gone.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Postgres(error) => is_passing(error),
            _ => false,
        }
    }
}

impl Migration {
    /// Reads the files of a folder that end in `.sql`, by version.
    ///
    /// # Errors
    /// [`MigrateError`], naming the file.
    pub fn read(folder: &Path) -> Result<Vec<Self>, MigrateError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| MigrateError::Read { path, error }
        };
        let mut files: BTreeMap<i64, Self> = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !name.ends_with(".sql") {
                continue;
            }
            let digits = name.chars().take_while(char::is_ascii_digit).collect::<String>();
            let version = digits.parse().map_err(|_| MigrateError::Name(name.clone()))?;
            let sql = fs::read_to_string(&path).map_err(failed(&path))?;
            let digest = sha256(sql.as_bytes());
            if let Some(other) = files.insert(version, Self { version, name: name.clone(), sql, digest }) {
                return Err(MigrateError::Twice(other.name, name));
            }
        }
        Ok(files.into_values().collect())
    }

    /// Runs it, with its record.
    ///
    /// # Errors
    /// [`MigrateError::Postgres`].
    async fn run(&self, client: &mut Client, schema: &SchemaName) -> Result<(), MigrateError> {
        let record = "INSERT INTO ringfence.migration (schema, version, name, digest) VALUES ($1::text::name, $2, $3, $4)";
        let values: [&(dyn ToSql + Sync); 4] =
            [&schema.as_str(), &self.version, &self.name, &self.digest.as_slice()];
        if self.sql.lines().next().is_some_and(|line| line.trim() == ALONE) {
            // In one piece with anything else it would be in a transaction.
            client.batch_execute(&self.sql).await?;
            client.execute(record, &values).await?;
            return Ok(());
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute(&self.sql).await?;
        transaction.execute(record, &values).await?;
        Ok(transaction.commit().await?)
    }
}

/// What a schema has had, by version.
///
/// # Errors
/// [`MigrateError::Postgres`].
pub async fn applied(client: &Client, schema: &SchemaName) -> Result<Vec<Applied>, MigrateError> {
    let had = "SELECT version, name, digest FROM ringfence.migration WHERE schema = $1::text::name ORDER BY version";
    let rows = client.query(had, &[&schema.as_str()]).await?;
    let one = |row: tokio_postgres::Row| {
        Ok(Applied { version: row.try_get(0)?, name: row.try_get(1)?, digest: row.try_get(2)? })
    };
    rows.into_iter().map(one).collect()
}

/// Of `files` those that a schema has not had.
///
/// # Errors
/// Where what it has had is not what the files say.
pub fn pending<'a>(files: &'a [Migration], applied: &[Applied]) -> Result<&'a [Migration], MigrateError> {
    let mut files = files.iter();
    for had in applied {
        match files.next() {
            Some(file) if file.version == had.version && file.digest.as_slice() == had.digest => {}
            Some(file) if file.version == had.version => {
                return Err(MigrateError::Changed(file.name.clone()));
            }
            Some(file) if file.version < had.version => {
                return Err(MigrateError::Late(file.name.clone(), had.name.clone()));
            }
            _ => return Err(MigrateError::Unknown(had.name.clone())),
        }
    }
    Ok(files.as_slice())
}

/// Brings a schema to the last of `files`, which find it first on the search path; says how many it had to run. `tell` is told
/// each before it is run.
///
/// # Errors
/// [`MigrateError`]; those before stay.
pub async fn migrate(
    client: &mut Client,
    schema: &SchemaName,
    files: &[Migration],
    mut tell: impl FnMut(&Migration),
) -> Result<usize, MigrateError> {
    let path = schema.search_path();
    client.batch_execute(&format!("SET lock_timeout = '{LOCK_TIMEOUT}'; SET search_path = {path}")).await?;
    // Another node's run of the same database is waited for, as any lock is.
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let outcome = run(client, schema, files, &mut tell).await;
    // Where the connection is gone, so is the lock.
    let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    let count = outcome?;
    unlocked?;
    Ok(count)
}

async fn run(
    client: &mut Client,
    schema: &SchemaName,
    files: &[Migration],
    tell: &mut impl FnMut(&Migration),
) -> Result<usize, MigrateError> {
    let pending = pending(files, &applied(client, schema).await?)?;
    for migration in pending {
        tell(migration);
        migration.run(client, schema).await?;
    }
    Ok(pending.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in files {
            fs::write(folder.path().join(name), sql).unwrap();
        }
        folder
    }

    fn read(files: &[(&str, &str)]) -> Result<Vec<Migration>, MigrateError> {
        Migration::read(folder(files).path())
    }

    fn had(files: &[Migration]) -> Vec<Applied> {
        let one = |file: &Migration| Applied {
            version: file.version,
            name: file.name.clone(),
            digest: file.digest.to_vec(),
        };
        files.iter().map(one).collect()
    }

    #[test]
    fn files_are_run_by_version_and_each_has_one() {
        let files =
            read(&[("10_c.sql", "c"), ("2_b.sql", "b"), ("0001_a.sql", "a"), ("notes.txt", "")]).unwrap();
        assert_eq!(files.iter().map(|file| file.version).collect::<Vec<_>>(), [1, 2, 10]);
        assert!(matches!(read(&[("b.sql", "")]), Err(MigrateError::Name(name)) if name == "b.sql"));
        assert!(matches!(read(&[("1_a.sql", ""), ("001_b.sql", "")]), Err(MigrateError::Twice(..))));
        assert!(matches!(Migration::read(Path::new("/nowhere")), Err(MigrateError::Read { .. })));
    }

    #[test]
    fn what_a_database_has_had_is_what_the_files_say() {
        let files = read(&[("1_a.sql", "a"), ("2_b.sql", "b"), ("3_c.sql", "c")]).unwrap();
        let names = |pending: &[Migration]| pending.iter().map(|file| file.version).collect::<Vec<_>>();
        for count in 0..=3 {
            assert_eq!(names(pending(&files, &had(&files[..count])).unwrap()), [1, 2, 3][count..]);
        }
        let changed = read(&[("1_a.sql", "another"), ("2_b.sql", "b")]).unwrap();
        assert!(
            matches!(pending(&changed, &had(&files[..2])), Err(MigrateError::Changed(name)) if name == "1_a.sql")
        );
        let late = [files[0].clone(), files[2].clone()];
        assert!(
            matches!(pending(&files, &had(&late)), Err(MigrateError::Late(name, _)) if name == "2_b.sql")
        );
        assert!(
            matches!(pending(&files[..1], &had(&files)), Err(MigrateError::Unknown(name)) if name == "2_b.sql")
        );
    }
}
