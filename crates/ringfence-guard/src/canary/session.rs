//! One transaction in which everything is tried, each try undone before the next.

use serde::Serialize;
use tokio_postgres::{SimpleQueryMessage, Transaction, error::SqlState};

use super::{
    CanaryError,
    values::{name, text},
};

/// How long one statement may take, as `statement_timeout`.
const STATEMENT: &str = "10s";

/// How long to wait for a lock that somebody else holds, as `lock_timeout`.
const LOCK: &str = "1s";

/// How a session becomes a tenant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Becomes {
    /// By Ringfence's context.
    Context,
    /// By a statement, in which `{tenant}` stands for the tenant.
    Statement(String),
}

/// One of two tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The first.
    One,
    /// The second.
    Other,
}

/// Something of each of two tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// The first's.
    pub one: T,
    /// The second's.
    pub other: T,
}

impl Who {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::One, Self::Other];

    /// The one who is not this one.
    pub fn other(self) -> Self {
        match self {
            Self::One => Self::Other,
            Self::Other => Self::One,
        }
    }
}

impl<T> Pair<T> {
    /// One tenant's.
    pub fn of(&self, who: Who) -> &T {
        match who {
            Who::One => &self.one,
            Who::Other => &self.other,
        }
    }

    pub(super) fn of_mut(&mut self, who: Who) -> &mut T {
        match who {
            Who::One => &mut self.one,
            Who::Other => &mut self.other,
        }
    }
}

/// As whom something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// Who asked, for one of the two tenants.
    Administrator(Who),
    /// The application, in a session of one of the two tenants.
    Tenant(Who),
}

pub(super) struct Session<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    role: String,
    pub(super) becomes: Becomes,
    pub(super) tenants: Pair<String>,
    /// Whether whoever asked is a superuser, and so may leave triggers and foreign keys out.
    pub(super) superuser: bool,
    search_path: String,
}

/// What a statement answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Vec<Option<String>>>,
    pub(super) count: u64,
}

/// Why it answered nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: SqlState,
    pub(super) message: String,
    /// Whether what prepared the try failed, and not the try.
    pub(super) before: bool,
}

/// What is tried.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempt<'a> {
    /// First, as whoever asked, without triggers and foreign keys where that is allowed.
    pub(super) before: &'a str,
    /// The try.
    pub(super) sql: &'a str,
    /// What answers in its place, as whoever asked, once the try went through.
    pub(super) after: Option<&'a str>,
    /// Whether the try is made without triggers and foreign keys.
    pub(super) bare: bool,
}

impl<'a> Session<'a> {
    pub(super) async fn begin(
        transaction: &'a Transaction<'a>,
        role: &str,
        becomes: Becomes,
        tenants: Pair<String>,
        search_path: String,
    ) -> Result<Self, CanaryError> {
        let superuser = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
        let superuser = transaction.query_one(superuser, &[]).await?.try_get(0)?;
        Ok(Self { transaction, role: role.to_owned(), becomes, tenants, superuser, search_path })
    }

    /// The statements that take a seat.
    pub(super) fn seat(&self, seat: Seat) -> String {
        let (who, become_role) = match seat {
            Seat::Administrator(who) => (who, String::new()),
            // A policy may ask session_user, which only a superuser can change.
            Seat::Tenant(who) if self.superuser => {
                (who, format!("SET LOCAL SESSION AUTHORIZATION {};", name(&self.role)))
            }
            Seat::Tenant(who) => (who, format!("SET LOCAL ROLE {};", name(&self.role))),
        };
        let tenant = self.tenants.of(who);
        let limits = format!(
            "SET LOCAL search_path = {}; SET LOCAL statement_timeout = '{STATEMENT}'; SET LOCAL lock_timeout = '{LOCK}';",
            self.search_path
        );
        match &self.becomes {
            // The registers first: the role may not write them.
            Becomes::Context => format!("{limits}{}{become_role}", registers(tenant)),
            Becomes::Statement(_) => format!("{limits}{become_role}{}", self.claim(who)),
        }
    }

    /// What a session says to become a tenant's, where saying it is enough.
    pub(super) fn claim(&self, who: Who) -> String {
        let tenant = self.tenants.of(who);
        match &self.becomes {
            Becomes::Context => String::new(),
            Becomes::Statement(sql) => {
                format!("{};", sql.trim().trim_end_matches(';').replace("{tenant}", &text(tenant)))
            }
        }
    }

    /// Leaves triggers and foreign keys out, or not.
    pub(super) fn bare(&self, bare: bool) -> &'static str {
        match (self.superuser, bare) {
            (false, _) => "",
            (true, true) => "SET LOCAL session_replication_role = replica;",
            (true, false) => "SET LOCAL session_replication_role = origin;",
        }
    }

    /// Tries something and undoes it.
    ///
    /// # Errors
    /// [`CanaryError::Postgres`] where the connection is gone.
    pub(super) async fn attempt(
        &self,
        seat: Seat,
        attempt: Attempt<'_>,
    ) -> Result<Result<Answer, Refused>, CanaryError> {
        let Attempt { before, sql, after, bare } = attempt;
        let (Seat::Administrator(who) | Seat::Tenant(who)) = seat;
        // By itself: what does not parse would take it along.
        self.transaction.batch_execute("SAVEPOINT ringfence_try").await?;
        let mut prepare = String::new();
        if !before.is_empty() {
            prepare.push_str(&format!("{}{}{before};", self.bare(true), self.seat(Seat::Administrator(who))));
        }
        prepare.push_str(self.bare(bare));
        prepare.push_str(&self.seat(seat));
        let mut answer = match self.say(&prepare).await? {
            Ok(_) => self.say(sql).await?,
            Err(refused) => Err(Refused { before: true, ..refused }),
        };
        if let (Ok(_), Some(after)) = (&answer, after) {
            // A role goes with a savepoint; what was tried must not.
            let back = if self.superuser { "RESET SESSION AUTHORIZATION" } else { "RESET ROLE" };
            answer = self.say(&format!("{back}; {after}")).await?;
        }
        self.undo("ringfence_try").await?;
        Ok(answer)
    }

    /// Says something that stays until the transaction ends, if it goes through.
    pub(super) async fn keep(&self, sql: &str) -> Result<Result<Answer, Refused>, CanaryError> {
        self.transaction.batch_execute("SAVEPOINT ringfence_keep").await?;
        let answer = self.say(sql).await?;
        match answer {
            Ok(_) => self.transaction.batch_execute("RELEASE SAVEPOINT ringfence_keep").await?,
            Err(_) => self.undo("ringfence_keep").await?,
        }
        Ok(answer)
    }

    /// Undoes everything since a savepoint, and forgets it.
    pub(super) async fn undo(&self, savepoint: &str) -> Result<(), CanaryError> {
        let undo = format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}");
        Ok(self.transaction.batch_execute(&undo).await?)
    }

    pub(super) async fn say(&self, sql: &str) -> Result<Result<Answer, Refused>, CanaryError> {
        let messages = match self.transaction.simple_query(sql).await {
            Ok(messages) => messages,
            Err(error) => {
                let Some(db) = error.as_db_error() else { return Err(error.into()) };
                let (code, message) = (db.code().clone(), db.message().to_owned());
                return Ok(Err(Refused { code, message, before: false }));
            }
        };
        let mut answer = Answer::default();
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => {
                    answer.rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
                }
                // The last statement's.
                SimpleQueryMessage::CommandComplete(count) => answer.count = count,
                _ => {}
            }
        }
        Ok(Ok(answer))
    }
}

impl Answer {
    /// The first value.
    pub(super) fn first(&self) -> &str {
        self.rows.first().and_then(|row| row.first()?.as_deref()).unwrap_or_default()
    }
}

/// Writes a tenant into the session's registers for an hour, as `ringfence.context_set` does once it has verified a context.
pub(super) fn registers(tenant: &str) -> String {
    let padded: Vec<u8> = tenant.bytes().chain(std::iter::repeat(b' ')).take(40).collect();
    let said = |register: &str, value: &str| {
        format!(
            "pg_catalog.setval('ringfence.{register}', {value}), pg_catalog.setval('ringfence.{register}', 1, false)"
        )
    };
    let part =
        |bytes: &[u8]| bytes.iter().fold(0_u64, |part, byte| (part << 8) | u64::from(*byte)).to_string();
    let mut all: Vec<String> =
        padded.chunks(8).zip(1..).map(|(bytes, at)| said(&format!("tenant_{at}"), &part(bytes))).collect();
    // An id that is longer than three registers by microseconds, others by nanoseconds.
    let unit = if tenant.len() > 24 { 1 } else { 1000 };
    let until =
        "((pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::bigint + 3600000000)";
    all.push(said("tenant_verified", &format!("{until} * {unit}")));
    format!("SELECT {};", all.join(", "))
}
