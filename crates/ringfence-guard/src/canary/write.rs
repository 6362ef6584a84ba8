//! Writing: one tenant's statements must not change, take, add to or point at another's rows, nor learn of one by a key.

use std::collections::BTreeSet;

use tokio_postgres::error::SqlState;

use super::{
    CanaryError, Outcome, Try,
    plant::{Canary, Planted, Row, insert},
    schema::{Reference, Relation, Schema},
    session::{Answer, Attempt, Becomes, Pair, Refused, Seat, Session, Who},
    values::{name, text},
};

/// Tables of at most so many pages are also written to as a whole.
const PAGES: i64 = 256;

pub(super) struct Writer<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) schema: &'a Schema,
    pub(super) planted: &'a Planted,
    pub(super) marks: &'a Pair<[String; 3]>,
}

/// One table as one tenant attacks the other's row in it.
struct Target<'a> {
    relation: &'a Relation,
    from: Who,
    own: &'a Canary,
    victim: &'a Canary,
}

type Tried = Result<(Outcome, String), CanaryError>;

fn held() -> (Outcome, String) {
    (Outcome::Held, String::new())
}

fn leak(detail: &str) -> (Outcome, String) {
    (Outcome::Leak, detail.to_owned())
}

/// Whether more rows were touched than may be.
fn touched(answer: Result<Answer, Refused>, mine: u64, detail: &str) -> (Outcome, String) {
    match answer {
        Ok(answer) if answer.count > mine => leak(detail),
        Ok(_) => held(),
        Err(refused) => refused.outcome(),
    }
}

/// What a row with another's key came to.
fn taken(answer: Result<Answer, Refused>) -> (Outcome, String) {
    let keys = [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION];
    match answer {
        Err(Refused { code, before: false, .. }) if keys.contains(&code) => {
            (Outcome::Tells, "a key that is taken says that another tenant has it".to_owned())
        }
        // A row that points at the other's, which another try is about.
        Err(Refused { code, before: false, .. }) if code == SqlState::FOREIGN_KEY_VIOLATION => held(),
        Ok(_) => held(),
        Err(refused) => refused.outcome(),
    }
}

/// What a row that points at another's came to.
fn pointed(answer: Result<Answer, Refused>) -> (Outcome, String) {
    match answer {
        Err(Refused { code, before: false, .. }) if code == SqlState::FOREIGN_KEY_VIOLATION => held(),
        Err(refused) => refused.outcome(),
        Ok(_) => leak("a row points at the other tenant's"),
    }
}

impl Writer<'_> {
    /// Writes as each tenant to the other's rows. `tell` is told each table.
    pub(super) async fn write(&self, mut tell: impl FnMut(&str)) -> Result<Vec<Try>, CanaryError> {
        let mut tries = Vec::new();
        for relation in self.schema.relations.iter().filter(|relation| relation.reached) {
            tell(&relation.name);
            for from in Who::BOTH {
                let rows = |who| self.planted.of.of(who).get(&relation.oid);
                if let (Some(own), Some(victim)) = (rows(from), rows(from.other())) {
                    self.table(&Target { relation, from, own, victim }, &mut tries).await?;
                } else if relation.deletes && relation.may.contains("DELETE") {
                    tries.push(self.view(relation, from).await?);
                }
            }
        }
        Ok(tries)
    }

    async fn table(&self, target: &Target<'_>, tries: &mut Vec<Try>) -> Result<(), CanaryError> {
        let Target { relation, from, own, victim } = target;
        let may = |what: &str| relation.may.contains(what);
        let mut told = |what, sql: String, (outcome, detail)| {
            tries.push(Try { what, object: relation.name.clone(), from: *from, outcome, detail, sql });
        };
        let place = victim.place();
        if relation.columns.iter().any(|column| column.read) {
            let sql = format!("SELECT FROM {} WHERE {place}", relation.name);
            told("find", sql.clone(), self.plainly(target, &sql, "the other tenant's row is found").await?);
        }
        if may("UPDATE")
            && let Some(column) = relation.columns.iter().find(|column| column.written && !column.generated)
        {
            let column = name(&column.name);
            let sql = format!("UPDATE {} SET {column} = {column} WHERE {place}", relation.name);
            told(
                "update",
                sql.clone(),
                self.plainly(target, &sql, "it changes the other tenant's row").await?,
            );
        }
        if may("UPDATE")
            && relation.pages <= PAGES
            && let Some(sql) = update_all(relation, own)
        {
            told("update-all", sql.clone(), self.barely(target, &sql).await?);
        }
        if may("UPDATE")
            && let Some(tenant) =
                relation.tenant.as_ref().filter(|tenant| relation.column(tenant).is_some_and(|c| c.written))
        {
            let to = text(self.session.tenants.of(from.other()));
            let mut sql = format!("UPDATE {} SET {} = {to}", relation.name, name(tenant));
            // Without a condition, no policy for reading is asked for the row as it becomes.
            if relation.pages > PAGES {
                sql.push_str(&format!(" WHERE {}", own.place()));
            }
            told("give", sql.clone(), self.given(target, &sql).await?);
        }
        if may("DELETE") {
            let sql = format!("DELETE FROM {} WHERE {place}", relation.name);
            // Whatever points at it: a row that only a foreign key keeps is not kept from the other tenant.
            let attempt = Attempt { sql: &sql, bare: true, ..Attempt::default() };
            let answer = self.session.attempt(Seat::Tenant(*from), attempt).await?;
            told("delete", sql.clone(), touched(answer, 0, "it deletes the other tenant's row"));
            if relation.pages <= PAGES {
                let sql = format!("DELETE FROM {}", relation.name);
                told("delete-all", sql.clone(), self.barely(target, &sql).await?);
            }
        }
        if may("TRUNCATE") {
            let sql = format!("TRUNCATE {}", relation.name);
            told("truncate", sql, leak("the role may TRUNCATE, which no policy is asked for"));
        }
        if may("INSERT") {
            self.insertions(target, tries).await?;
        }
        Ok(())
    }

    /// Rows deleted through a view.
    async fn view(&self, relation: &Relation, from: Who) -> Result<Try, CanaryError> {
        let all: Vec<String> = relation
            .columns
            .iter()
            .filter(|column| column.read)
            .map(|column| format!("q.{}", name(&column.name)))
            .collect();
        let marks = self.marks.of(from.other()).each_ref();
        let row = format!("ROW({})::text", all.join(", "));
        let marked = marks.map(|mark| format!("pg_catalog.strpos({row}, {}) > 0", text(mark))).join(" OR ");
        let sql = format!("DELETE FROM {} AS q WHERE {marked}", relation.name);
        let attempt = Attempt { sql: &sql, bare: true, ..Attempt::default() };
        let answer = self.session.attempt(Seat::Tenant(from), attempt).await?;
        let (outcome, detail) = touched(answer, 0, "it deletes the other tenant's row");
        Ok(Try { what: "delete", object: relation.name.clone(), from, outcome, detail, sql })
    }

    /// A statement that must touch nothing.
    async fn plainly(&self, target: &Target<'_>, sql: &str, detail: &str) -> Tried {
        let attempt = Attempt { sql, ..Attempt::default() };
        Ok(touched(self.session.attempt(Seat::Tenant(target.from), attempt).await?, 0, detail))
    }

    /// A statement over a whole table, which must touch one's own rows only: no condition, and so no policy for reading, is
    /// in its way.
    async fn barely(&self, target: &Target<'_>, sql: &str) -> Tried {
        let Target { relation, from, .. } = target;
        let own = self.planted.of.of(*from).values();
        // Of a partitioned table also those that were put into its partitions.
        let mine = if relation.kind == 'p' {
            own.count()
        } else {
            own.filter(|own| own.table == relation.oid).count()
        };
        let attempt = Attempt { sql, bare: true, ..Attempt::default() };
        let answer = self.session.attempt(Seat::Tenant(*from), attempt).await?;
        Ok(touched(
            answer,
            u64::try_from(mine).unwrap_or(u64::MAX),
            "without a condition it touches rows of others",
        ))
    }

    /// A row given to the other tenant.
    async fn given(&self, target: &Target<'_>, sql: &str) -> Tried {
        let theirs = self.theirs(target, Some(target.victim));
        let attempt = Attempt { sql, after: Some(&theirs), ..Attempt::default() };
        Ok(match self.session.attempt(Seat::Tenant(target.from), attempt).await? {
            Ok(answer) if answer.first() != "0" => leak("a row was given to the other tenant"),
            Ok(_) => held(),
            Err(Refused { code, message, before: false }) if code.code().starts_with("23") => {
                (Outcome::Held, format!("no policy, but a constraint: {message}"))
            }
            Err(refused) => refused.outcome(),
        })
    }

    /// What counts the other tenant's rows in a table, beside one.
    fn theirs(&self, target: &Target<'_>, beside: Option<&Canary>) -> String {
        let Target { relation, from, .. } = target;
        let seat = self.session.seat(Seat::Administrator(from.other()));
        let tenant = relation.tenant.as_deref().map(name).unwrap_or_default();
        let to = text(self.session.tenants.of(from.other()));
        let beside = beside.map_or_else(String::new, |canary| format!(" AND NOT ({})", canary.place()));
        format!("{seat}SELECT pg_catalog.count(*) FROM {} WHERE {tenant} = {to}{beside}", relation.name)
    }

    /// Rows that would be another's, have another's key, or point at another's.
    async fn insertions(&self, target: &Target<'_>, tries: &mut Vec<Try>) -> Result<(), CanaryError> {
        let Target { relation, from, own, victim } = target;
        let mut told = |what, on: &str, sql: String, (outcome, detail): (Outcome, String)| {
            let detail = if detail.is_empty() || on.is_empty() { detail } else { format!("{on}: {detail}") };
            tries.push(Try { what, object: relation.name.clone(), from: *from, outcome, detail, sql });
        };
        if relation.tenant.is_some() {
            let sql = insert(relation, &victim.row, false);
            told("insert", "", sql.clone(), self.inserted(target, &sql).await?);
        }
        for unique in &relation.uniques {
            let sql = insert(relation, &mixed(relation, own, victim, &unique.columns), false);
            told("unique", &unique.name, sql.clone(), taken(self.in_place_of_own(target, &sql).await?));
        }
        let others = |to: &&Reference| to.to != relation.oid && !relation.is_by_tenant(to);
        for reference in relation.references.iter().filter(others) {
            if self.planted.of.one.contains_key(&reference.to) {
                let columns = reference.columns.iter().cloned().collect();
                let sql = insert(relation, &mixed(relation, own, victim, &columns), false);
                told(
                    "reference",
                    &reference.name,
                    sql.clone(),
                    pointed(self.in_place_of_own(target, &sql).await?),
                );
            }
        }
        Ok(())
    }

    /// The other tenant's very row, once it is gone.
    async fn inserted(&self, target: &Target<'_>, sql: &str) -> Tried {
        let Target { from, victim, .. } = target;
        let seat = self.session.seat(Seat::Administrator(from.other()));
        let (before, theirs) = (format!("{seat}{}", self.gone(target, victim)), self.theirs(target, None));
        let attempt = Attempt { before: &before, sql, after: Some(&theirs), bare: false };
        Ok(match self.session.attempt(Seat::Tenant(*from), attempt).await? {
            Ok(answer) if answer.first() != "0" => leak("a row was put among the other tenant's"),
            Ok(_) => held(),
            Err(refused) => refused.outcome(),
        })
    }

    /// A row in the place of one's own, so that nothing but what it takes of the other's can be in its way.
    async fn in_place_of_own(
        &self,
        target: &Target<'_>,
        sql: &str,
    ) -> Result<Result<Answer, Refused>, CanaryError> {
        let before = self.gone(target, target.own);
        let attempt = Attempt { before: &before, sql, ..Attempt::default() };
        self.session.attempt(Seat::Tenant(target.from), attempt).await
    }

    fn gone(&self, target: &Target<'_>, canary: &Canary) -> String {
        let table = self.schema.relation(canary.table).map_or(&target.relation.name, |table| &table.name);
        format!("DELETE FROM ONLY {table} WHERE ctid = '{}'", canary.ctid)
    }

    /// Whether a session can say by itself that it is the other tenant's.
    pub(super) async fn claims(&self) -> Result<Vec<Try>, CanaryError> {
        let mut tries = Vec::new();
        for from in Who::BOTH {
            let Some((sql, found)) = self.claim_of(from.other()) else { continue };
            let attempt = Attempt { sql: &sql, ..Attempt::default() };
            let answer = self.session.attempt(Seat::Tenant(from), attempt).await?;
            let (outcome, detail) = match answer {
                Ok(answer)
                    if answer
                        .rows
                        .last()
                        .is_some_and(|row| row.first().is_some_and(|n| n.as_deref() != Some("0"))) =>
                {
                    leak("whoever gets to run a statement, by an injection say, is any tenant they like")
                }
                Ok(_) => held(),
                Err(refused) => refused.outcome(),
            };
            let sql = sql.strip_suffix(&found).unwrap_or(&sql).trim_end().to_owned();
            tries.push(Try { what: "claim", object: "the session".to_owned(), from, outcome, detail, sql });
        }
        Ok(tries)
    }

    /// What a session says to be a tenant's, and then looks for that tenant's rows by.
    fn claim_of(&self, victim: Who) -> Option<(String, String)> {
        let rows = self.planted.of.of(victim).iter().filter_map(|(oid, canary)| {
            let relation = self.schema.relation(*oid)?;
            let read = relation.reached && relation.columns.iter().any(|column| column.read);
            read.then(|| {
                format!("(SELECT pg_catalog.count(*) FROM {} WHERE {})", relation.name, canary.place())
            })
        });
        let rows: Vec<String> = rows.collect();
        let found = format!("SELECT {}", rows.join(" + "));
        let claim = match &self.session.becomes {
            Becomes::Statement(_) => self.session.claim(victim),
            // The registers belong to who installed them, and a context takes keys: both must be refused.
            Becomes::Context => super::session::registers(self.session.tenants.of(victim)),
        };
        (!rows.is_empty()).then(|| (format!("{claim} {found}"), found))
    }
}

/// A statement without a condition that writes one column of every row, as it is in one's own.
fn update_all(relation: &Relation, own: &Canary) -> Option<String> {
    let written = |key: bool| {
        relation.columns.iter().find(|column| column.written && !column.generated && column.key == key)
    };
    // One that is no key: two rows may have the same.
    let column = written(false)?;
    let value = own.row.get(&column.name)?.as_ref();
    let value =
        value.map_or_else(|| "NULL".to_owned(), |value| format!("{}::{}", text(value), column.r#type));
    Some(format!("UPDATE {} SET {} = {value}", relation.name, name(&column.name)))
}

/// One's own row with another's values in some columns, but for the tenant's.
fn mixed(relation: &Relation, own: &Canary, victim: &Canary, columns: &BTreeSet<String>) -> Row {
    let take = |(column, value): (&String, &Option<String>)| {
        let theirs = columns.contains(column) && !relation.is_tenant(column);
        let value = if theirs { victim.row.get(column).unwrap_or(value) } else { value };
        (column.clone(), value.clone())
    };
    own.row.iter().map(take).collect()
}
