//! Plants canaries in a database and tries to reach them, so that what holds is shown and not only looked for.
//!
//! Everything happens in one transaction that is rolled back: a row of each of two tenants that are nobody's is put into every
//! table whose rows are tenants', and then one tenant's session, with the application's role, tries to read, change, take, add
//! to, point at and learn of the other's, table by table, view by view, function by function, in both directions. What a
//! session is shown must not depend on the other's rows at all ([`look`](self)); what no try could be made of is said.
//!
//! What a rollback does not bring back: numbers taken from sequences, and whatever a function does outside of the database.

mod look;
mod plant;
mod schema;
mod session;
mod values;
mod write;

use std::collections::BTreeSet;

use serde::Serialize;
use tokio_postgres::{Client, IsolationLevel, Transaction};

pub use self::session::{Becomes, Pair, Who};
use self::{
    look::Looker,
    plant::{Planted, Planter},
    schema::Schema,
    session::{Seat, Session},
    values::Values,
    write::Writer,
};
use crate::lint::{Known, LintError, Subject};

/// What is known beforehand.
#[derive(Debug, Clone, Default)]
pub struct Canaries {
    /// The application's role and the tenant columns; else they are looked up.
    pub known: Known,
    /// How a session becomes a tenant's; else by Ringfence's context where it is installed, or by the one setting that
    /// policies ask.
    pub becomes: Option<String>,
    /// Tables that lead to tenants and are all tenants' on purpose.
    pub shared: Vec<String>,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing of the other tenant's was reached.
    Held,
    /// Nothing was seen, of one's own neither: it says nothing.
    Blind,
    /// It could not be tried.
    Untried,
    /// It tells that the other tenant has something, and not what.
    Tells,
    /// The other tenant's row was reached.
    Leak,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Try {
    /// What was tried, in a word.
    pub what: &'static str,
    /// On what, as SQL names it.
    pub object: String,
    /// Who tried to reach the other.
    pub from: Who,
    /// What came of it.
    pub outcome: Outcome,
    /// What happened, where that is not plain.
    pub detail: String,
    /// The statement, as the application's role.
    pub sql: String,
}

/// A table without canaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Barren {
    /// Its name.
    pub table: String,
    /// Why.
    pub why: String,
}

/// Everything that was tried in a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// As whom.
    pub role: String,
    /// By which columns tables know a tenant.
    pub columns: Vec<String>,
    /// What a session says to become a tenant's.
    pub becomes: String,
    /// Two tenants that were made up.
    pub tenants: Pair<String>,
    /// Tables with a row of each.
    pub planted: Vec<String>,
    /// Tables without.
    pub barren: Vec<Barren>,
    /// Every try.
    pub tries: Vec<Try>,
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// What to try is not known.
    #[error(transparent)]
    Subject(#[from] LintError),
    /// There is no role, or several.
    #[error("{}: name the one the application logs in as", if .0.is_empty() {
        "no role that the application could log in as was found".to_owned()
    } else {
        format!("the application seems to log in as {}", .0.join(", "))
    })]
    Role(Vec<String>),
    /// Nobody said how a session becomes a tenant's.
    #[error(
        "how a session becomes a tenant's is not known: say it, as in --as \"SET LOCAL app.tenant = {{tenant}}\""
    )]
    Becomes,
    /// That statement failed.
    #[error("a session of a tenant's could not be had: {0}")]
    Seat(String),
    /// A tenant column of a type no tenant is made up of.
    #[error("no tenant can be made up for {0}: name another column, or write to us")]
    Tenant(String),
    /// A table that is not there.
    #[error("there is no table {0}: name it with its schema, as in public.countries")]
    NoTable(String),
    /// No table has a row.
    #[error("no table took a row: {}", .0.first().map_or("there is none", |barren| &barren.why))]
    Barren(Vec<Barren>),
    /// No row was seen by whom it belongs to.
    #[error(
        "a session of a tenant's sees none of that tenant's own rows: is that how a session becomes a tenant's? {0}"
    )]
    Blind(String),
    /// The catalogs were not understood.
    #[error("the catalogs say something unexpected: {0}")]
    Catalog(String),
    /// Postgres refused, or is gone.
    #[error("{}", match .0.as_db_error() { Some(db) => db.message().to_owned(), None => .0.to_string() })]
    Postgres(#[from] tokio_postgres::Error),
}

impl Canaries {
    /// Tries everything, and undoes it. `tell` is told what is being done.
    ///
    /// # Errors
    /// [`CanaryError`].
    pub async fn prove(self, client: &mut Client, tell: impl FnMut(&str)) -> Result<Report, CanaryError> {
        let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let transaction = snapshot.start().await?;
        let report = self.within(&transaction, tell).await;
        transaction.rollback().await?;
        report
    }

    /// Tries everything within a transaction, which is to be rolled back.
    ///
    /// # Errors
    /// [`CanaryError`].
    pub async fn within(
        self,
        transaction: &Transaction<'_>,
        mut tell: impl FnMut(&str),
    ) -> Result<Report, CanaryError> {
        let path = transaction.query_one("SELECT pg_catalog.current_setting('search_path')", &[]).await?;
        let path: String = path.try_get(0)?;
        let Subject { roles, columns, .. } = Subject::find(transaction, self.known).await?;
        let [role] = <[String; 1]>::try_from(roles).map_err(CanaryError::Role)?;
        let schema = Schema::read(transaction, &role, &columns).await?;
        let named = |name: &&String| schema.relations.iter().any(|relation| relation.name == **name);
        if let Some(missing) = self.shared.iter().find(|name| !named(name)) {
            return Err(CanaryError::NoTable(missing.clone()));
        }
        let becomes = becomes(transaction, self.becomes).await?;
        let mut values = marked(transaction).await?;
        let tenants = tenants(&schema, &mut values)?;
        let owned = schema.owned(&self.shared);
        let session = Session::begin(transaction, &role, becomes, tenants, path).await?;
        let marks = Pair { one: values.one.marks(), other: values.other.marks() };
        seated(&session).await?;

        let planter = Planter::new(&session, &schema, &owned, values);
        let (planted, values) = planter.plant(|table| tell(&format!("planting in {table}"))).await?;
        let barren = barren(&schema, &planted);
        if planted.of.one.is_empty() {
            return Err(CanaryError::Barren(barren));
        }
        let looker = Looker { session: &session, schema: &schema, planted: &planted, marks: &marks };
        let mut tries = looker.look(values, |told| tell(&format!("looking {told}"))).await?;
        let own: BTreeSet<&str> =
            planted.of.one.keys().filter_map(|oid| Some(schema.relation(*oid)?.name.as_str())).collect();
        let of_own = |one: &&Try| one.what == "read" && own.contains(one.object.as_str());
        let showed = |one: &Try| !matches!(one.outcome, Outcome::Blind | Outcome::Untried);
        if tries.iter().any(|one| of_own(&one)) && !tries.iter().filter(of_own).any(showed) {
            return Err(CanaryError::Blind(session.claim(Who::One)));
        }
        let writer = Writer { session: &session, schema: &schema, planted: &planted, marks: &marks };
        tries.extend(writer.write(|table| tell(&format!("writing to {table}"))).await?);
        tries.extend(writer.claims().await?);
        let planted = own.into_iter().map(str::to_owned).collect();
        let becomes = match &session.becomes {
            Becomes::Context => "Ringfence's context".to_owned(),
            Becomes::Statement(sql) => sql.clone(),
        };
        Ok(Report { role, columns, becomes, tenants: session.tenants, planted, barren, tries })
    }
}

impl Report {
    /// Tries with an outcome.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Try> {
        self.tries.iter().filter(move |one| one.outcome == outcome)
    }
}

fn barren(schema: &Schema, planted: &Planted) -> Vec<Barren> {
    let told = planted.barren.iter().filter_map(|(oid, why)| {
        let table = schema.relation(*oid)?.name.clone();
        Some(Barren { table, why: why.clone() })
    });
    told.collect()
}

/// How a session becomes a tenant's, if nobody says it.
async fn becomes(transaction: &Transaction<'_>, said: Option<String>) -> Result<Becomes, CanaryError> {
    if let Some(said) = said {
        return Ok(Becomes::Statement(said));
    }
    let context = "SELECT to_regclass('ringfence.tenant_verified') IS NOT NULL";
    if transaction.query_one(context, &[]).await?.try_get(0)? {
        return Ok(Becomes::Context);
    }
    let asked = "SELECT DISTINCT found[1] FROM pg_policy p,
         regexp_matches(pg_get_expr(p.polqual, p.polrelid) || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''),
            'current_setting\\(''([^'']+)''', 'g') found";
    let settings = transaction.query(asked, &[]).await?;
    let [setting] = settings.as_slice() else { return Err(CanaryError::Becomes) };
    let setting: String = setting.try_get(0)?;
    Ok(Becomes::Statement(format!(
        "SELECT pg_catalog.set_config({}, {{tenant}}, true)",
        values::text(&setting)
    )))
}

/// Values of two tenants that nobody else has.
async fn marked(transaction: &Transaction<'_>) -> Result<Pair<Values>, CanaryError> {
    let fresh = "SELECT left(replace(gen_random_uuid()::text, '-', ''), 8) FROM generate_series(1, 2)";
    let rows = transaction.query(fresh, &[]).await?;
    let mark = |at: usize| -> Result<Values, CanaryError> {
        let missing = || CanaryError::Catalog("no random value".to_owned());
        Ok(Values::new(&rows.get(at).ok_or_else(missing)?.try_get::<_, String>(0)?))
    };
    Ok(Pair { one: mark(0)?, other: mark(1)? })
}

/// Two tenants' names, of the type that tables know them by.
fn tenants(schema: &Schema, values: &mut Pair<Values>) -> Result<Pair<String>, CanaryError> {
    let columns = schema
        .relations
        .iter()
        .filter_map(|relation| Some((relation, relation.column(relation.tenant.as_ref()?)?)));
    let mut base = None;
    for (relation, column) in columns.filter(|(relation, _)| relation.is_table()) {
        let first = base.get_or_insert((relation, column));
        if first.1.base != column.base {
            let told =
                format!("{} is {} and {} is {}", first.0.name, first.1.r#type, relation.name, column.r#type);
            return Err(CanaryError::Tenant(told));
        }
    }
    let unknown = || CanaryError::Tenant(base.map_or_else(String::new, |(_, column)| column.r#type.clone()));
    let (_, column) = base.ok_or_else(unknown)?;
    let mut made = |who| values.of_mut(who).tenant(&column.base).ok_or_else(unknown);
    Ok(Pair { one: made(Who::One)?, other: made(Who::Other)? })
}

/// Makes sure that both seats can be taken at all.
async fn seated(session: &Session<'_>) -> Result<(), CanaryError> {
    for seat in Who::BOTH.into_iter().flat_map(|who| [Seat::Administrator(who), Seat::Tenant(who)]) {
        let attempt = session::Attempt { sql: "SELECT 1", ..session::Attempt::default() };
        if let Err(refused) = session.attempt(seat, attempt).await? {
            return Err(CanaryError::Seat(refused.message));
        }
    }
    Ok(())
}
