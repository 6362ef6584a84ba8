//! Looks a database over for everything known to let one tenant's rows out to another.
//!
//! Each [`Rule`] is a query of the catalogs, with what is wrong about what it finds and the statement that mends it. The
//! rules share one description of the database ([`Subject`] and `lint/subject.sql`): which roles the application logs in
//! as, and by which column its tables know a tenant. Nothing is changed: the queries run in one read-only transaction.
//!
//! It guarantees nothing about what no rule looks for; [`crate::install`] and the guard do not rely on it.

mod hygiene;
mod objects;
mod oracles;
mod roles;
mod rows;
mod server;

use serde::Serialize;
use tokio_postgres::{Client, IsolationLevel, Transaction, error::SqlState};

/// How bad what a rule finds is: SARIF 2.1.0's levels (section 3.27.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing; or it costs time, and no rows.
    Note,
    /// It lets rows out together with something else, or tells of them.
    Warning,
    /// It lets rows out.
    Error,
}

/// One thing that is looked for.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rule {
    /// Stays as it is for good.
    pub id: &'static str,
    /// In words that can be searched for.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// Why it is wrong.
    pub why: &'static str,
    /// What finds it, after `lint/subject.sql`: rows of an object, what is the matter with it, and SQL that mends it, where
    /// advice is a comment.
    #[serde(skip)]
    query: &'static str,
}

/// Something a rule found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// What it is about, as SQL names it.
    pub object: String,
    /// What is the matter with it.
    pub detail: String,
    /// SQL that mends it; advice, where no statement does, as a comment.
    pub fix: String,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// As whom the application logs in.
    pub roles: Vec<String>,
    /// By which columns tables know a tenant.
    pub columns: Vec<String>,
    /// The server's version, as `server_version_num`.
    pub version: i32,
    /// How many tables have such a column.
    pub tables: i64,
}

/// What was found in a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was looked at.
    pub subject: Subject,
    /// What was found, rule by rule.
    pub findings: Vec<Finding>,
    /// Rules that whoever asked may not ask, by id.
    pub refused: Vec<&'static str>,
}

/// Which parts of a [`Subject`] are known; the others are looked up.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// As whom the application logs in. Else: what Ringfence was installed for, or every login role that is no superuser and
    /// reaches a tenant's table.
    pub roles: Vec<String>,
    /// By which columns tables know a tenant. Else: what Ringfence protects tables by, `tenant_id` if there is one, or what most
    /// tables have of its kind.
    pub columns: Vec<String>,
}

/// Why a database was not looked over.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// A role that is not there.
    #[error("there is no role {0:?}: name the one the application logs in as")]
    NoRole(String),
    /// No table belongs to a tenant.
    #[error("no table has a column {}: name the column by which your tables know a tenant", .0.join(" or "))]
    NoTenantTable(Vec<String>),
    /// Postgres refused.
    #[error("{}", match .0.as_db_error() { Some(db) => db.message().to_owned(), None => .0.to_string() })]
    Postgres(#[from] tokio_postgres::Error),
}

/// Columns that most often name a tenant, the likeliest first.
const COLUMNS: [&str; 12] = [
    "tenant_id",
    "organization_id",
    "organisation_id",
    "org_id",
    "account_id",
    "workspace_id",
    "company_id",
    "team_id",
    "customer_id",
    "client_id",
    "project_id",
    "site_id",
];

/// Every rule, by id.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [rows::RULES, roles::RULES, objects::RULES, oracles::RULES, server::RULES, hygiene::RULES]
        .into_iter()
        .flatten()
}

impl Rule {
    /// The query as it is run, with `$1` the application's roles, `$2` the tenant columns, `$3` the server's version.
    pub fn sql(&self) -> String {
        format!("{}{}", include_str!("lint/subject.sql"), self.query)
    }
}

/// Looks a database over. `tell` is told each rule before it is asked.
///
/// # Errors
/// [`LintError`].
pub async fn lint(
    client: &mut Client,
    known: Known,
    mut tell: impl FnMut(&Rule),
) -> Result<Report, LintError> {
    let snapshot = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = snapshot.start().await?;
    let subject = Subject::find(&transaction, known).await?;
    let (mut findings, mut refused) = (Vec::new(), Vec::new());
    for rule in rules() {
        tell(rule);
        transaction.batch_execute("SAVEPOINT rule").await?;
        match subject.findings(&transaction, rule).await {
            Ok(found) => findings.extend(found),
            Err(LintError::Postgres(error)) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                transaction.batch_execute("ROLLBACK TO SAVEPOINT rule").await?;
                refused.push(rule.id);
            }
            Err(error) => return Err(error),
        }
    }
    transaction.rollback().await?;
    Ok(Report { subject, findings, refused })
}

impl Subject {
    /// Looks up what is not known.
    ///
    /// # Errors
    /// [`LintError`].
    pub async fn find(transaction: &Transaction<'_>, known: Known) -> Result<Self, LintError> {
        // Names come out whole, and nothing of the database's is called in place of Postgres' own.
        transaction
            .batch_execute("SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = '60s'")
            .await?;
        let version = "SELECT current_setting('server_version_num')::integer";
        let version = transaction.query_one(version, &[]).await?.get(0);
        let columns = match known.columns.is_empty() {
            true => columns(transaction).await?,
            false => known.columns,
        };
        let subject = Self { roles: Vec::new(), columns, version, tables: 0 };
        let tables: i64 = subject.ask(transaction, " SELECT count(*) FROM tenant").await?.try_get(0)?;
        if tables == 0 {
            return Err(LintError::NoTenantTable(subject.columns));
        }
        let roles = match known.roles.is_empty() {
            true => subject.roles(transaction).await?,
            false => known.roles,
        };
        let missing = "SELECT name FROM unnest($1::text[]) name WHERE to_regrole(quote_ident(name)) IS NULL";
        if let Some(missing) = transaction.query_opt(missing, &[&roles]).await? {
            return Err(LintError::NoRole(missing.try_get(0)?));
        }
        Ok(Self { roles, tables, ..subject })
    }

    /// Asks one rule.
    ///
    /// # Errors
    /// [`LintError::Postgres`].
    pub async fn findings(
        &self,
        transaction: &Transaction<'_>,
        rule: &Rule,
    ) -> Result<Vec<Finding>, LintError> {
        let rows = transaction.query(&rule.sql(), &[&self.roles, &self.columns, &self.version]).await?;
        let finding = |row: tokio_postgres::Row| {
            let (object, detail, fix): (_, _, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(Finding { rule: rule.id, object, detail, fix: statement(fix) })
        };
        rows.into_iter().map(finding).collect()
    }

    async fn ask(
        &self,
        transaction: &Transaction<'_>,
        query: &str,
    ) -> Result<tokio_postgres::Row, tokio_postgres::Error> {
        let sql = format!("{}{query}", include_str!("lint/subject.sql"));
        transaction.query_one(&sql, &[&self.roles, &self.columns, &self.version]).await
    }

    /// As whom the application seems to log in.
    async fn roles(&self, transaction: &Transaction<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
        let installed = "SELECT to_regclass('ringfence.installed') IS NOT NULL
            AND has_table_privilege(to_regclass('ringfence.installed'), 'SELECT')";
        if transaction.query_one(installed, &[]).await?.try_get(0)? {
            let role = "SELECT array_agg(app_role::text) FROM ringfence.installed";
            return Ok(transaction
                .query_one(role, &[])
                .await?
                .try_get::<_, Option<_>>(0)?
                .unwrap_or_default());
        }
        let reaching = " SELECT coalesce(array_agg(r.rolname::text ORDER BY r.rolname), '{}') FROM pg_roles r
             WHERE r.rolcanlogin AND NOT r.rolsuper AND EXISTS (SELECT FROM tenant t
                WHERE has_table_privilege(r.oid, t.oid, 'SELECT, INSERT, UPDATE, DELETE'))";
        self.ask(transaction, reaching).await?.try_get(0)
    }
}

/// By which column most tables seem to know a tenant.
async fn columns(transaction: &Transaction<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
    let most = "SELECT a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE a.attname = ANY ($1::text[]) AND NOT a.attisdropped AND c.relpersistence <> 't'
           AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ringfence')
         GROUP BY a.attname
         ORDER BY a.attname <> 'tenant_id', count(*) DESC, array_position($1::text[], a.attname::text) LIMIT 1";
    // Where some are protected and this may be read: by an older edition, they are by tenant_id.
    let recorded = "SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relname = 'protected'
          JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'ringfence'
         WHERE a.attname = 'tenant_column' AND NOT a.attisdropped AND has_table_privilege(c.oid, 'SELECT')
           AND has_schema_privilege(n.oid, 'USAGE'))";
    if transaction.query_one(recorded, &[]).await?.try_get(0)? {
        let by = "SELECT coalesce(array_agg(DISTINCT p.tenant_column::text), '{}') FROM ringfence.protected p
             JOIN pg_class c ON c.oid = p.relation";
        let by: Vec<String> = transaction.query_one(by, &[]).await?.try_get(0)?;
        if !by.is_empty() {
            return Ok(by);
        }
    }
    let found = transaction.query_opt(most, &[&COLUMNS.as_slice()]).await?;
    let found = found.map(|row| row.try_get(0)).transpose()?;
    Ok(found.map_or_else(|| COLUMNS.map(str::to_owned).to_vec(), |column| vec![column]))
}

/// A fix as it may be run. A name may hold anything, and one with a line in it would end the comment it stands in: what is not
/// plain is shown, escaped, in a comment.
fn statement(fix: String) -> String {
    let comment = fix.contains("--");
    let strange = |letter: char| letter.is_control() && (letter != '\n' || comment);
    if !fix.contains(strange) {
        return fix;
    }
    let plain = |letter: char| {
        if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() }
    };
    format!("-- {}", fix.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_no_comment_and_commands_no_terminal() {
        let plain = "ALTER POLICY p ON t WITH CHECK ((x IN ( SELECT a\n   FROM b)));";
        assert_eq!(statement(plain.to_owned()), plain);
        for fix in [
            "-- Write a policy for it, or DROP TABLE public.\"a\nDROP TABLE b; --\"",
            "DROP POLICY p ON t; -- or compare \"c\nDROP TABLE b; --\" in it",
            "ALTER TABLE public.\"\u{1b}[2J\" ENABLE ROW LEVEL SECURITY;",
            "ALTER TABLE public.\"a\rb\" ENABLE ROW LEVEL SECURITY;",
        ] {
            let shown = statement(fix.to_owned());
            assert!(shown.starts_with("-- ") && !shown.contains(char::is_control), "{shown:?}");
        }
    }
}
