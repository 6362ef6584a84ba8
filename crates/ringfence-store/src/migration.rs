//! The numbered migrations of the plane's state, one list for both databases.
//!
//! A migration, once released, is never edited. Where the databases name a type differently, `{text}` and `{bytes}`
//! stand for it: text compares by bytes everywhere, so that both list in the same order.

/// Migration `n` of the list takes the schema from `n` to `n + 1`.
pub(crate) const MIGRATIONS: &[&[&str]] = &[&[
    "CREATE TABLE plane_record (scope {text} NOT NULL, kind {text} NOT NULL, id {text} NOT NULL, value {bytes}, \
     revision BIGINT NOT NULL, PRIMARY KEY (scope, kind, id))",
    "CREATE INDEX plane_record_revision ON plane_record (revision)",
    "CREATE TABLE plane_revision (one INTEGER PRIMARY KEY CHECK (one = 1), revision BIGINT NOT NULL)",
    "INSERT INTO plane_revision (one, revision) VALUES (1, 0)",
]];

/// Where the schema's number is kept.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS plane_schema (version BIGINT NOT NULL)";

pub(crate) const VERSION: &str = "SELECT coalesce(max(version), 0) FROM plane_schema";

pub(crate) const APPLIED: &str = "INSERT INTO plane_schema (version) VALUES ($1)";

/// The number of the schema this version writes.
pub(crate) fn latest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The statements that lead from schema `from` to the latest, with the number each group reaches.
pub(crate) fn pending(from: i64, text: &str, bytes: &str) -> Vec<(i64, Vec<String>)> {
    let spell = |statement: &&str| statement.replace("{text}", text).replace("{bytes}", bytes);
    (1_i64..)
        .zip(MIGRATIONS)
        .filter(|(number, _)| *number > from)
        .map(|(number, statements)| (number, statements.iter().map(spell).collect()))
        .collect()
}
