//! The default store: one SQLite file, in WAL mode, synced on every commit.
//!
//! One connection writes and a few read (<https://sqlite.org/wal.html>); `synchronous=FULL` makes a commit durable when
//! it returns, and `secure_delete` overwrites what is replaced, which is what makes a shredded key gone.

use std::{path::Path, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    error::StoreError,
    migration,
    record::{Change, Record, RecordKey, Revision, Scope, check},
    sql::{self, failure, integer},
    store::{Answer, Listen, Store},
};

/// How long a statement waits for another process's commit.
const BUSY: Duration = Duration::from_secs(5);

/// Connections that only read.
const READERS: u32 = 4;

/// State in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, creating it and bringing its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the file is damaged or no database; [`StoreError::Newer`],
    /// [`StoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, None).await
    }

    /// Opens the file and lets it grow to `pages` pages (of 4 KiB) at most; then commits fail with
    /// [`StoreError::Full`].
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_bounded(path: &Path, pages: u32) -> Result<Self, StoreError> {
        Self::open_with(path, Some(pages)).await
    }

    /// Closes the file, folding its write-ahead log into it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn open_with(path: &Path, pages: Option<u32>) -> Result<Self, StoreError> {
        let name_file = |error| match failure(error) {
            StoreError::Corrupt { what } => {
                StoreError::Corrupt { what: format!("{}: {what}", path.display()) }
            }
            StoreError::Unavailable { cause } => {
                StoreError::Unavailable { cause: format!("{}: {cause}", path.display()) }
            }
            other => other,
        };
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .pragma("secure_delete", "ON")
            .pragma("trusted_schema", "OFF");
        if let Some(pages) = pages {
            options = options.pragma("max_page_count", pages.to_string());
        }
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY);
        let writer = pool(1).connect_with(options.clone()).await.map_err(name_file)?;
        let damage: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&writer).await.map_err(name_file)?;
        if damage != "ok" {
            return Err(StoreError::Corrupt { what: format!("{}: {damage}", path.display()) });
        }
        let readers = pool(READERS).connect_lazy_with(options.read_only(true));
        let store = Self { writer, readers };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let mut work = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
        sqlx::query(migration::TABLE).execute(&mut *work).await.map_err(failure)?;
        let found: i64 =
            sqlx::query_scalar(migration::VERSION).fetch_one(&mut *work).await.map_err(failure)?;
        if found > migration::latest() {
            return Err(StoreError::Newer { found, known: migration::latest() });
        }
        for (number, statements) in migration::pending(found, "TEXT", "BLOB") {
            for statement in statements {
                sqlx::query(AssertSqlSafe(statement)).execute(&mut *work).await.map_err(failure)?;
            }
            sqlx::query(migration::APPLIED).bind(number).execute(&mut *work).await.map_err(failure)?;
        }
        work.commit().await.map_err(failure)
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Revision, StoreError> {
        check(&changes)?;
        let mut writer = self.writer.acquire().await.map_err(failure)?;
        let outcome = write(&mut writer, changes).await;
        if !matches!(outcome, Ok(_) | Err(StoreError::Conflict { .. })) {
            // On a full disk SQLite has rolled back by itself, and the driver does not know: its count of open
            // transactions would refuse every later one. A new connection starts afresh.
            writer.close_on_drop();
        }
        outcome
    }
}

async fn write(writer: &mut SqliteConnection, changes: Vec<Change>) -> Result<Revision, StoreError> {
    let mut work = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
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
    work.commit().await.map_err(failure)?;
    sql::revision(next)
}

impl Store for SqliteStore {
    fn get<'a>(&'a self, key: &'a RecordKey) -> Answer<'a, Option<Record>> {
        Box::pin(async move {
            let row = sqlx::query(sql::GET)
                .bind(key.scope.as_str())
                .bind(&key.kind)
                .bind(&key.id)
                .fetch_optional(&self.readers)
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
                .fetch_all(&self.readers)
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
                .fetch_all(&self.readers)
                .await
                .map_err(failure)?;
            rows.iter().map(sql::change).collect()
        })
    }

    fn revision(&self) -> Answer<'_, Revision> {
        Box::pin(async move {
            sql::revision(sqlx::query_scalar(sql::REVISION).fetch_one(&self.readers).await.map_err(failure)?)
        })
    }

    /// SQLite tells other processes nothing; a plane on a file is one process (`ringfence up` locks its folder).
    fn listen(&self) -> Answer<'_, Option<Box<dyn Listen>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
