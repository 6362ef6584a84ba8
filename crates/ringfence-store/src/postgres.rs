//! The store for several nodes: Postgres.
//!
//! Every commit first takes the row of the revision counter and keeps it locked to its end, so commits happen one after
//! the other and a reader that sees revision `n` sees every revision before it. A commit notifies whoever listens
//! (<https://www.postgresql.org/docs/current/sql-notify.html>): it says that there is something new and nothing else, and
//! who misses it finds it in the table.

use std::{net::IpAddr, str::FromStr, time::Duration};

use ringfence_context::Secret;
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgSslMode},
};

use crate::{
    error::StoreError,
    migration,
    record::{Change, Record, RecordKey, Revision, Scope, check},
    sql::{self, failure, integer},
    store::{Answer, Listen, Store},
};

/// How long to wait for a connection, a lock or a statement.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections of one node, one of which listens.
const CONNECTIONS: u32 = 9;

/// What is notified of commits.
const CHANNEL: &str = "ringfence_commit";

/// Said inside a commit; Postgres delivers it after. The statement, because the function may have been taken from
/// whoever is not granted it (see the guard's `doors.sql`).
const NOTIFY: &str = "NOTIFY ringfence_commit";

/// Names the lock under which one node at a time brings the schema up to date: `ringfence` in ASCII, cut to 8 bytes.
const MIGRATION_LOCK: i64 = 0x7269_6e67_6665_6e63;

/// State in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
}

/// TLS with the very host or none: what is in between (libpq's `sslmode`) can be talked out of it. None where that is said,
/// and where the host is this machine and nothing is.
fn verified(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let here = options.get_socket().is_some()
        || host == "localhost"
        || host.starts_with('/')
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match options.get_ssl_mode() {
        PgSslMode::Disable => options,
        PgSslMode::Prefer if here => options.ssl_mode(PgSslMode::Disable),
        _ => options.ssl_mode(PgSslMode::VerifyFull),
    }
}

impl PostgresStore {
    /// Connects to `postgres://…` and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where it is not such a URL; [`StoreError::Newer`], [`StoreError::Unavailable`].
    pub async fn open(url: &Secret<String>) -> Result<Self, StoreError> {
        const NO_URL: StoreError = StoreError::Invalid("the state's address is not a postgres:// URL");
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.reveal().starts_with(scheme)) {
            return Err(NO_URL);
        }
        let patience = PATIENCE.as_millis().to_string();
        let options = PgConnectOptions::from_str(url.reveal())
            .map(verified)
            .map_err(|_| NO_URL)?
            .application_name("ringfence")
            .options([("statement_timeout", &patience), ("lock_timeout", &patience)]);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(failure)?;
        let store = Self { pool };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let mut work = self.pool.begin().await.map_err(failure)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *work)
            .await
            .map_err(failure)?;
        sqlx::query(migration::TABLE).execute(&mut *work).await.map_err(failure)?;
        let found: i64 =
            sqlx::query_scalar(migration::VERSION).fetch_one(&mut *work).await.map_err(failure)?;
        if found > migration::latest() {
            return Err(StoreError::Newer { found, known: migration::latest() });
        }
        for (number, statements) in migration::pending(found, "TEXT COLLATE \"C\"", "BYTEA") {
            for statement in statements {
                sqlx::query(AssertSqlSafe(statement)).execute(&mut *work).await.map_err(failure)?;
            }
            sqlx::query(migration::APPLIED).bind(number).execute(&mut *work).await.map_err(failure)?;
        }
        work.commit().await.map_err(failure)
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Revision, StoreError> {
        check(&changes)?;
        let mut work = self.pool.begin().await.map_err(failure)?;
        let next: i64 = sqlx::query_scalar(sql::NEXT).fetch_one(&mut *work).await.map_err(failure)?;
        for Change { key: RecordKey { scope, kind, id }, expect, value } in changes {
            let found: Option<i64> = sqlx::query_scalar(sql::FOUND)
                .bind(scope.as_str())
                .bind(&kind)
                .bind(&id)
                .fetch_optional(&mut *work)
                .await
                .map_err(failure)?;
            if !expect.admits(found.map(sql::revision).transpose()?) {
                return Err(StoreError::Conflict { kind });
            }
            sqlx::query(sql::PUT)
                .bind(scope.as_str())
                .bind(&kind)
                .bind(&id)
                .bind(value)
                .bind(next)
                .execute(&mut *work)
                .await
                .map_err(failure)?;
        }
        sqlx::query(NOTIFY).execute(&mut *work).await.map_err(failure)?;
        work.commit().await.map_err(failure)?;
        sql::revision(next)
    }
}

/// A connection that listens.
struct Listening(PgListener);

impl Listen for Listening {
    fn told(&mut self) -> Answer<'_, ()> {
        Box::pin(async move { self.0.recv().await.map(drop).map_err(failure) })
    }
}

impl Store for PostgresStore {
    fn get<'a>(&'a self, key: &'a RecordKey) -> Answer<'a, Option<Record>> {
        Box::pin(async move {
            let row = sqlx::query(sql::GET)
                .bind(key.scope.as_str())
                .bind(&key.kind)
                .bind(&key.id)
                .fetch_optional(&self.pool)
                .await
                .map_err(failure)?;
            row.as_ref().map(sql::record).transpose()
        })
    }

    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        kind: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Vec<Record>> {
        Box::pin(async move {
            let rows = sqlx::query(sql::LIST)
                .bind(scope.as_str())
                .bind(kind)
                .bind(after.unwrap_or_default())
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await
                .map_err(failure)?;
            rows.iter().map(sql::record).collect()
        })
    }

    fn commit(&self, changes: Vec<Change>) -> Answer<'_, Revision> {
        Box::pin(self.apply(changes))
    }

    fn changes(&self, after: Revision, limit: u32) -> Answer<'_, Vec<(Revision, RecordKey)>> {
        Box::pin(async move {
            let rows = sqlx::query(sql::CHANGES)
                .bind(integer(after))
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await
                .map_err(failure)?;
            rows.iter().map(sql::change).collect()
        })
    }

    fn revision(&self) -> Answer<'_, Revision> {
        Box::pin(async move {
            sql::revision(sqlx::query_scalar(sql::REVISION).fetch_one(&self.pool).await.map_err(failure)?)
        })
    }

    fn listen(&self) -> Answer<'_, Option<Box<dyn Listen>>> {
        Box::pin(async move {
            let mut listener = PgListener::connect_with(&self.pool).await.map_err(failure)?;
            listener.listen(CHANNEL).await.map_err(failure)?;
            Ok(Some(Box::new(Listening(listener)) as Box<dyn Listen>))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_talked_out_of_tls() {
        for (url, verifies) in [
            ("postgres://r@db.example.com/s", true),
            ("postgres://r@db.example.com/s?sslmode=prefer", true),
            ("postgres://r@db.example.com/s?sslmode=require", true),
            ("postgres://r@db.example.com/s?sslmode=verify-ca", true),
            ("postgres://r@db.example.com/s?sslmode=disable", false),
            ("postgres://r@10.0.0.7/s", true),
            ("postgres://r@localhost/s", false),
            ("postgres://r@127.0.0.1/s", false),
            ("postgres://r@localhost/s?sslmode=verify-full", true),
            ("postgres://r@localhost/s?host=/run/postgresql", false),
        ] {
            let mode = verified(PgConnectOptions::from_str(url).unwrap()).get_ssl_mode();
            let expected = if verifies { "VerifyFull" } else { "Disable" };
            assert_eq!(format!("{mode:?}"), expected, "{url}");
        }
    }
}
