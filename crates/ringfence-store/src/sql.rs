//! The statements, shared by both drivers: numbered parameters mean the same to SQLite and Postgres.

use sqlx::{ColumnIndex, Database, Decode, Row, Type, error::ErrorKind};

use crate::{
    error::StoreError,
    record::{Record, RecordKey, Revision, Scope},
};

pub(crate) const GET: &str = "SELECT scope, kind, id, value, revision FROM plane_record \
     WHERE scope = $1 AND kind = $2 AND id = $3 AND value IS NOT NULL";

pub(crate) const LIST: &str = "SELECT scope, kind, id, value, revision FROM plane_record \
     WHERE scope = $1 AND kind = $2 AND id > $3 AND value IS NOT NULL ORDER BY id LIMIT $4";

/// Takes the next revision. In Postgres the row stays locked until the commit, so that revisions become visible in
/// order; in SQLite there is one writer anyway.
pub(crate) const NEXT: &str = "UPDATE plane_revision SET revision = revision + 1 RETURNING revision";

pub(crate) const REVISION: &str = "SELECT revision FROM plane_revision";

pub(crate) const FOUND: &str = "SELECT revision FROM plane_record \
     WHERE scope = $1 AND kind = $2 AND id = $3 AND value IS NOT NULL";

/// A deleted record stays as a row without a value: it is the change feed's memory of the deletion.
pub(crate) const PUT: &str = "INSERT INTO plane_record (scope, kind, id, value, revision) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (scope, kind, id) DO UPDATE SET value = excluded.value, revision = excluded.revision";

pub(crate) const CHANGES: &str = "SELECT scope, kind, id, revision FROM plane_record \
     WHERE revision > $1 AND revision <= (SELECT max(revision) FROM \
     (SELECT revision FROM plane_record WHERE revision > $1 ORDER BY revision LIMIT $2) AS page) \
     ORDER BY revision, scope, kind, id";

/// A revision as the databases' integer.
pub(crate) fn integer(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A revision from the databases' integer.
pub(crate) fn revision(integer: i64) -> Result<Revision, StoreError> {
    Revision::try_from(integer).map_err(|_| StoreError::corrupt("a negative revision"))
}

/// Reads a record off the columns of [`GET`] and [`LIST`].
pub(crate) fn record<R>(row: &R) -> Result<Record, StoreError>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    let (revision, key) = change(row)?;
    Ok(Record { key, value: column(row, "value")?, revision })
}

/// Reads a change off the columns of [`CHANGES`].
pub(crate) fn change<R>(row: &R) -> Result<(Revision, RecordKey), StoreError>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    let scope: String = column(row, "scope")?;
    let key = RecordKey { scope: Scope::parse(&scope)?, kind: column(row, "kind")?, id: column(row, "id")? };
    Ok((revision(column(row, "revision")?)?, key))
}

fn column<R, T>(row: &R, name: &'static str) -> Result<T, StoreError>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    T: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    R::Database: Database,
{
    row.try_get(name).map_err(|_| StoreError::corrupt("a column is not of its type"))
}

/// What an error of the driver means. Codes: SQLite's result codes and Postgres' SQLSTATE.
pub(crate) fn failure(error: sqlx::Error) -> StoreError {
    let sqlx::Error::Database(database) = &error else {
        return StoreError::Unavailable { cause: error.to_string() };
    };
    let code = database.code().unwrap_or_default();
    // An extended SQLite result code keeps the primary one in its low byte.
    let primary = code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|code| code & 0xff);
    match (primary, code.as_ref()) {
        (Some(13), _) | (_, "53100") => StoreError::Full,
        (Some(11 | 26), _) | (_, "XX001" | "XX002") => StoreError::corrupt(database.message()),
        // Two commits of one new key at once: Postgres tells the second by its unique index.
        _ if database.kind() == ErrorKind::UniqueViolation => {
            StoreError::Conflict { kind: "record".to_owned() }
        }
        _ => StoreError::Unavailable { cause: database.message().to_owned() },
    }
}
