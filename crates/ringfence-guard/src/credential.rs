//! Credentials: short-lived logins with which a tenant's tools reach its own database directly, without the guard.
//!
//! It guarantees that a login reads and writes its tenant's rows and no others, in one database, until its time is over or it is
//! revoked, whichever is first. Row security takes the tenant from `session_user`, which no ordinary role can change (Postgres'
//! documentation of `SET SESSION AUTHORIZATION`), and refuses where the database knows another tenant's key too: where tenants
//! share a database, whoever connects directly could `LISTEN` to what others `NOTIFY`, and no right forbids that.
//!
//! A login is a member of no role, and of the application's least of all: that one may connect to every tenant's database. What
//! it may do is copied from it, for this database, by `sql/credential.sql`.

use postgres_protocol::password::scram_sha_256;
use ringfence_context::{
    Secret, TenantId, UnixTime,
    key::{KeyError, base64url, random},
    limits,
};
use tokio_postgres::{Client, error::SqlState};

use crate::{bar, role::RoleName};

/// What the name of every login begins with; 16 drawn hexadecimal digits follow.
pub const PREFIX: &str = "vended_";

/// How long a statement waits for who changes the same objects.
const LOCK_TIMEOUT: &str = "3s";

/// The sessions of these roles in this database, and of roles that are gone.
const SESSIONS: &str = "SELECT a.pid FROM pg_catalog.pg_stat_get_activity(NULL) a
    WHERE a.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
      AND (a.usesysid = ANY ($1) OR a.usesysid IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid))";

/// A login: who connects with it, until when. Its password is kept nowhere.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The role it logs in as.
    pub login: RoleName,
    /// Its password.
    pub password: Secret<String>,
    /// When it ends.
    pub expires: UnixTime,
}

/// Why none was made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The tenant is barred here, or is not the only one.
    #[error("the database does not know this tenant's key, or knows another's too")]
    NotAlone,
    /// The tenant has as many as it may.
    #[error("the tenant has {} credentials: the first must end before the next", limits::CREDENTIALS)]
    TooMany,
    /// No randomness, or a name that is none.
    #[error("a login can't be drawn")]
    Draw,
    /// Postgres refused.
    #[error("{}", match .0.as_db_error() { Some(told) => told.message().to_owned(), None => .0.to_string() })]
    Postgres(#[from] tokio_postgres::Error),
}

impl From<KeyError> for CredentialError {
    fn from(_: KeyError) -> Self {
        Self::Draw
    }
}

impl Credential {
    /// Draws one that ends at `expires`; nobody can log in with it before it is [put](Self::put).
    ///
    /// # Errors
    /// [`CredentialError::Draw`].
    pub fn draw(expires: UnixTime) -> Result<Self, CredentialError> {
        let login = format!("{PREFIX}{:016x}", u64::from_be_bytes(random::<8>()?));
        let login = RoleName::new(&login).map_err(|_| CredentialError::Draw)?;
        Ok(Self { login, password: Secret::new(base64url(&random::<32>()?)), expires })
    }

    /// Makes the login in the tenant's database, whole or not at all.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub async fn put(&self, client: &mut Client, tenant: &TenantId) -> Result<(), CredentialError> {
        // What Postgres keeps of it, so that no log of statements has the password (RFC 5803).
        let verifier = scram_sha_256(self.password.reveal().as_bytes());
        let transaction = client.transaction().await?;
        // One at a time, and none while a tenant is barred: its key is taken away before its logins are looked for.
        let alone = format!(
            "SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; LOCK TABLE ringfence.credential IN SHARE ROW EXCLUSIVE MODE"
        );
        transaction.batch_execute(&alone).await?;
        let standing = "SELECT (SELECT count(*) = 1 AND min(k.tenant_id) = $1 FROM ringfence.tenant_key k),
            (SELECT count(*) FROM ringfence.credential)";
        let row = transaction.query_one(standing, &[&tenant.as_str()]).await?;
        let (alone, live): (bool, i64) = (row.try_get(0)?, row.try_get(1)?);
        if !alone {
            return Err(CredentialError::NotAlone);
        }
        if usize::try_from(live).unwrap_or(usize::MAX) >= limits::CREDENTIALS {
            return Err(CredentialError::TooMany);
        }
        let make = "SELECT ringfence.credential_make($1::text::name, $2, $3, $4, $5)";
        let connections = i32::try_from(limits::CREDENTIAL_CONNECTIONS).unwrap_or(i32::MAX);
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&self.login.as_str(), &verifier, &tenant.as_str(), &micros(self.expires), &connections];
        transaction.execute(make, &values).await?;
        Ok(transaction.commit().await?)
    }
}

/// What revoking has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Logins that are gone.
    pub logins: usize,
    /// Sessions of theirs that were open.
    pub sessions: usize,
    /// Of those, that were still there five seconds after they were told to end.
    pub left: usize,
}

/// Revokes all of a tenant's logins in this database: each is closed, its sessions are ended, and it is removed. Idempotent.
///
/// # Errors
/// What Postgres says. Where the administrator may not end sessions (`pg_signal_backend`), the logins are gone all the same, and
/// what is open has no rights left.
pub async fn tenant_revoke(client: &Client, tenant: &TenantId) -> Result<Revoked, tokio_postgres::Error> {
    revoke(client, tenant.as_str(), 0).await
}

/// Revokes the logins in this database whose time is over at `now`.
///
/// # Errors
/// As [`tenant_revoke`].
pub async fn expired_revoke(client: &Client, now: UnixTime) -> Result<Revoked, tokio_postgres::Error> {
    revoke(client, "", micros(now)).await
}

async fn revoke(client: &Client, tenant: &str, moment: i64) -> Result<Revoked, tokio_postgres::Error> {
    // A database that an earlier edition has prepared has none.
    let there = "SELECT to_regprocedure('ringfence.credential_drop()') IS NOT NULL";
    if !client.query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(Revoked::default());
    }
    let close = "SELECT ringfence.credential_close($1, $2)";
    let roles = client.query(close, &[&tenant, &moment]).await?;
    let roles = roles.iter().map(|row| row.try_get(0)).collect::<Result<Vec<u32>, _>>()?;
    // Before they are removed: what a session has begun could stand in the way of that. Where they may not be ended, that is said
    // when the logins are gone.
    let ended = sessions_end(client, &roles).await;
    let logins: i64 = client.query_one("SELECT ringfence.credential_drop()", &[]).await?.try_get(0)?;
    // And who was just logging in.
    let late = sessions_end(client, &roles).await;
    let ((first, _), (second, left)) = (ended?, late?);
    let logins = usize::try_from(logins).unwrap_or_default();
    Ok(Revoked { logins, sessions: first.saturating_add(second), left })
}

/// Ends the sessions of these roles, and waits until they are gone; says how many there were, and how many still are.
async fn sessions_end(client: &Client, roles: &[u32]) -> Result<(usize, usize), tokio_postgres::Error> {
    let sessions = client.query(SESSIONS, &[&roles]).await?;
    let pids = sessions.iter().map(|session| session.try_get(0)).collect::<Result<Vec<i32>, _>>()?;
    Ok((pids.len(), bar::sessions_end(client, &pids).await?))
}

/// Where on a server there are logins whose time is over at `now`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overdue {
    /// How many logins there are in all, also those whose time is not over.
    pub logins: usize,
    /// The databases of those whose time is over.
    pub databases: Vec<RoleName>,
}

/// Looks a whole server over, from any database of it, for logins whose time is over at `now` or whose removal was cut off. One
/// whose database is gone leads to no rows: it is removed at once.
///
/// # Errors
/// What Postgres says.
pub async fn overdue(client: &Client, now: UnixTime) -> Result<Overdue, tokio_postgres::Error> {
    let all = "SELECT r.rolname::text,
            coalesce(r.rolvaliduntil <= timestamptz 'epoch' + $1::bigint * interval '1 microsecond', true) OR NOT r.rolcanlogin,
            (SELECT d.datname::text FROM pg_catalog.pg_database d, aclexplode(d.datacl) a
              WHERE a.grantee = r.oid AND a.privilege_type = 'CONNECT' LIMIT 1)
        FROM pg_catalog.pg_roles r WHERE r.rolname ~ '^vended_[0-9a-f]{16}$'";
    let mut found = Overdue::default();
    for row in client.query(all, &[&micros(now)]).await? {
        let (login, over, database): (String, bool, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let names = (RoleName::new(&login), database.map(|name| RoleName::new(&name)));
        found.logins = found.logins.saturating_add(1);
        match names {
            (_, Some(Ok(database))) if over && !found.databases.contains(&database) => {
                found.databases.push(database);
            }
            (Ok(login), None) => match client.batch_execute(&format!("DROP ROLE IF EXISTS {login}")).await {
                // Somebody gave it more than it was made with: it ends at its time.
                Err(error) if error.code() != Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
                    return Err(error);
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok(found)
}

/// The databases of a server that every login may connect to, besides the one of this connection.
///
/// # Errors
/// What Postgres says.
pub async fn open_to_everybody(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let open = "SELECT d.datname::text FROM pg_catalog.pg_database d
        WHERE d.datallowconn AND d.datname <> current_database() AND has_database_privilege('public', d.oid, 'CONNECT')
        ORDER BY 1";
    client.query(open, &[]).await?.iter().map(|row| row.try_get(0)).collect()
}

/// Microseconds since the epoch, as Postgres counts.
fn micros(moment: UnixTime) -> i64 {
    i64::try_from(moment.micros()).unwrap_or(i64::MAX)
}
