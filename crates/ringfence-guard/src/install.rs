//! Puts Ringfence's schema into the database it protects.
//!
//! Idempotent and versioned: an administrator runs it at every start. Needs nothing but stock Postgres 15.
//!
//! Every tenant is the same database role, so whatever Postgres shares between sessions of one role is shared between
//! tenants unless it is closed. Closed by `doors.sql` and tested one by one: statistics and activity of other backends,
//! cancelling and terminating them, locks and advisory locks, large objects, notifications (the guard also drops them),
//! sizes, snapshots, temporary and permanent objects, `DO` blocks. Undone by the guard: what a tenant stores for the role, or
//! makes its password (`ALTER ROLE` on oneself can't be forbidden). What Postgres gives no way to close stays, and is:
//!
//! - how many rows all tenants have together: `pg_class.reltuples` and `relpages`, and in EXPLAIN ANALYZE of a query that reads a
//!   whole table, how many row security took away. In shape `schema`, of another tenant's tables too.
//! - an index that begins with another column and has the tenant's behind it: EXPLAIN (ANALYZE, BUFFERS) tells how many pages of it
//!   were read. One without it would tell whether a value is there, and is refused.
//! - counters of the whole cluster (`txid_current()`, `xmin`, sequences): how much all tenants write. Use uuids as keys.
//! - `LISTEN` and `NOTIFY` can be said, but nothing is delivered.
//! - whoever stores settings for the role without a pause can make new connections of others wait, for the guard removes them and
//!   logs in again, sixteen times at most.
//! - `PREPARE TRANSACTION`, where `max_prepared_transactions` is not 0: what it leaves is whose role it is. `data lint` says so.
//! - a name of a custom setting, once used, can be probed for on the same server connection.
//! - `LOCK TABLE` and long statements hold others up; the guard bounds how long a transaction may take.
//! - two tenants that help each other can talk through any of these. They could as well telephone.

use postgres_protocol::password::scram_sha_256;
use ringfence_context::{Secret, TenantId, key::MacKey, limits};
use tokio_postgres::Client;

use crate::role::RoleName;

/// The edition of the SQL in this crate.
const VERSION: i32 = 7;

/// Serialises installs: an arbitrary number, the same in every Ringfence.
const INSTALL_LOCK: i64 = 0x7269_6e67_6665_6e63;

/// What is installed, and for whom.
#[derive(Debug, Clone)]
pub struct Install {
    /// The role every tenant's statements run as; made if missing.
    pub app: RoleName,
    /// The role that owns the schema; nobody logs in as it; made if missing.
    pub owner: RoleName,
    /// Whether to close what one role shares between tenants, for every role that is not granted it by name.
    pub doors: Doors,
}

/// What to do about everything a database role shares that row security does not govern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doors {
    /// Close it, as far as Postgres allows.
    Close,
    /// The administrator has seen to it: other roles of this database need what closing takes from `PUBLIC`.
    Leave,
}

/// Why it was not installed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A newer Ringfence has been here.
    #[error("the database holds schema version {found}, this Ringfence knows {VERSION}: run the newer one")]
    Newer {
        /// The version found.
        found: i32,
    },
    /// Postgres refused.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

/// What Postgres said, with its hint.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}. {}", db.message(), db.hint().unwrap_or_default()).trim_end().to_owned(),
        None => error.to_string(),
    }
}

impl Install {
    /// For an application's role, with the doors closed.
    pub fn new(app: RoleName, owner: RoleName) -> Self {
        Self { app, owner, doors: Doors::Close }
    }

    /// Installs or brings up to date, in one transaction.
    ///
    /// # Errors
    /// [`InstallError`]; nothing was changed.
    pub async fn run(&self, client: &mut Client) -> Result<(), InstallError> {
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&INSTALL_LOCK]).await?;
        let exists = "SELECT to_regclass('ringfence.installed') IS NOT NULL";
        if transaction.query_one(exists, &[]).await?.get(0) {
            let found: Option<i32> = transaction
                .query_opt("SELECT version FROM ringfence.installed", &[])
                .await?
                .map(|row| row.get(0));
            if let Some(found) = found.filter(|found| *found > VERSION) {
                return Err(InstallError::Newer { found });
            }
        }
        for file in self.files() {
            transaction.batch_execute(&self.filled(file)).await?;
        }
        let record = "INSERT INTO ringfence.installed (version, app_role) VALUES ($1, $2::text::name)
            ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, app_role = excluded.app_role";
        transaction.execute(record, &[&VERSION, &self.app.as_str()]).await?;
        Ok(transaction.commit().await?)
    }

    /// A file with the names of the roles, and for how long a context may be good, in it.
    fn filled(&self, file: &str) -> String {
        let life = limits::DATABASE_CONTEXT_LIFE_SECONDS;
        let ahead = life.saturating_add(limits::DATABASE_CONTEXT_SKEW_SECONDS);
        file.replace("{app}", self.app.as_str())
            .replace("{owner}", self.owner.as_str())
            .replace("{context_life}", &life.to_string())
            .replace("{context_ahead}", &ahead.to_string())
    }

    fn files(&self) -> Vec<&'static str> {
        let mut files = vec![
            include_str!("sql/roles.sql"),
            include_str!("sql/schema.sql"),
            include_str!("sql/context.sql"),
            include_str!("sql/credential.sql"),
            include_str!("sql/protect.sql"),
        ];
        if self.doors == Doors::Close {
            files.push(include_str!("sql/doors.sql"));
        }
        files
    }
}

/// Whether the SQL of this edition, or of a later one, is installed in a database.
///
/// # Errors
/// What Postgres says.
pub async fn is_current(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let there = "SELECT to_regclass('ringfence.installed') IS NOT NULL";
    if !client.query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let found = client.query_opt("SELECT version FROM ringfence.installed", &[]).await?;
    Ok(found.map(|row| row.try_get::<_, i32>(0)).transpose()?.is_some_and(|version| version >= VERSION))
}

/// Makes the database known to a tenant: its key, and so its rows.
///
/// # Errors
/// What Postgres says.
pub async fn tenant_key_put(
    client: &Client,
    tenant: &TenantId,
    key: &MacKey,
) -> Result<(), tokio_postgres::Error> {
    let (inner, outer) = key.pads();
    let put = "INSERT INTO ringfence.tenant_key (tenant_id, inner_pad, outer_pad) VALUES ($1, $2, $3)
        ON CONFLICT (tenant_id) DO UPDATE SET inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad";
    client.execute(put, &[&tenant.as_str(), inner.reveal(), outer.reveal()]).await?;
    Ok(())
}

/// Makes the database know a tenant, whose sessions log in as `login`, a role of its own, or as the application's.
///
/// # Errors
/// What Postgres says.
pub async fn tenant_admit(
    client: &Client,
    tenant: &TenantId,
    key: &MacKey,
    login: Option<&RoleName>,
) -> Result<(), tokio_postgres::Error> {
    let login = login.map(RoleName::as_str);
    let others = "UPDATE ringfence.tenant_place SET serving = false
        WHERE tenant_id = $1 AND serving AND login IS DISTINCT FROM $2::text::name";
    client.execute(others, &[&tenant.as_str(), &login]).await?;
    let own = "UPDATE ringfence.tenant_place SET serving = true
        WHERE tenant_id = $1 AND NOT serving AND login = $2::text::name";
    client.execute(own, &[&tenant.as_str(), &login]).await?;
    tenant_key_put(client, tenant, key).await
}

/// Takes a tenant's key away: no context is accepted any more. What is open goes on for as long as the last one holds; see
/// [`crate::bar`].
///
/// # Errors
/// What Postgres says.
pub async fn tenant_key_remove(client: &Client, tenant: &TenantId) -> Result<(), tokio_postgres::Error> {
    client.execute("DELETE FROM ringfence.tenant_key WHERE tenant_id = $1", &[&tenant.as_str()]).await?;
    Ok(())
}

/// Shares the guard's key with the database.
///
/// # Errors
/// What Postgres says.
pub async fn guard_key_put(client: &Client, key: &MacKey) -> Result<(), tokio_postgres::Error> {
    let (inner, outer) = key.pads();
    let put = "INSERT INTO ringfence.plane_key (name, inner_pad, outer_pad) VALUES ('guard', $1, $2)
        ON CONFLICT (name) DO UPDATE SET inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad";
    client.execute(put, &[inner.reveal(), outer.reveal()]).await?;
    Ok(())
}

/// Gives a role its password, as what Postgres keeps of it, so that no log of statements has it (RFC 5803).
///
/// # Errors
/// What Postgres says.
pub async fn password_put(
    client: &Client,
    role: &RoleName,
    password: &Secret<String>,
) -> Result<(), tokio_postgres::Error> {
    let verifier = scram_sha_256(password.reveal().as_bytes());
    client.batch_execute(&format!("ALTER ROLE {role} PASSWORD '{verifier}'")).await
}

/// Puts a table under row security. `relation` as SQL names it, with its schema if that is not on the search path. Its tenant
/// column stays the one it is protected by; else it is what `ringfence data adopt` calls one beside a `tenant_id` of the
/// application's own, or `tenant_id`.
///
/// # Errors
/// What Postgres says: a table without that column, or whose keys would tell of other tenants' rows.
pub async fn table_protect(client: &Client, relation: &str) -> Result<(), InstallError> {
    let protect = "SELECT ringfence.protect(t.relation, tenant_column => coalesce(
            (SELECT p.tenant_column FROM ringfence.protected p WHERE p.relation = t.relation),
            (SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.relation AND a.attname = 'ringfence_tenant'
                AND a.atttypid = 'pg_catalog.text'::pg_catalog.regtype AND a.attnotnull AND NOT a.attisdropped),
            'tenant_id'))
        FROM (SELECT $1::text::regclass AS relation) AS t";
    client.execute(protect, &[&relation]).await?;
    Ok(())
}
