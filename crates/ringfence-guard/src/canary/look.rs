//! Looking, and calling: what one tenant is shown must not depend on whether another's rows are there (noninterference,
//! Goguen and Meseguer 1982). It is asked with both tenants' rows, again, without the other's, and without its own.

use super::{
    CanaryError, Outcome, Try,
    plant::Planted,
    schema::{Routine, Schema},
    session::{Answer, Attempt, Pair, Refused, Seat, Session, Who},
    values::{Values, name, text},
};
use tokio_postgres::error::SqlState;

/// How often a routine is called with other values of the other tenant's.
const CALLS: usize = 4;

pub(super) struct Looker<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) schema: &'a Schema,
    pub(super) planted: &'a Planted,
    pub(super) marks: &'a Pair<[String; 3]>,
}

/// Something that is asked.
struct Look<'a> {
    what: &'static str,
    object: &'a str,
    /// First, as whoever asked.
    before: String,
    sql: String,
    /// What a person would say to see the same.
    plain: String,
    /// Whether it shows tenants' rows, and so must show one's own.
    shows: bool,
}

/// What was seen: how much, its hash, and whether there was a mark of the other's in it.
type Seen = Result<Answer, Refused>;

impl Looker<'_> {
    /// Looks as each tenant for the other's rows. `tell` is told how much of it is done.
    pub(super) async fn look(
        &self,
        mut values: Pair<Values>,
        mut tell: impl FnMut(&str),
    ) -> Result<Vec<Try>, CanaryError> {
        let mut tries = Vec::new();
        for from in Who::BOTH {
            let looks = self.looks(from, values.of_mut(from));
            let mut passes = Vec::new();
            for (without, told) in [
                (None, "with both tenants' rows"),
                (None, "once more"),
                (Some(from.other()), "without the other's"),
                (Some(from), "without its own"),
            ] {
                tell(told);
                passes.push(self.pass(from, &looks, without).await?);
            }
            let [all, again, without, blind] = passes.as_slice() else { continue };
            for (look, (((all, again), without), blind)) in
                looks.iter().zip(all.iter().zip(again).zip(without).zip(blind))
            {
                let (outcome, detail) = judged(look, all, again, without, blind);
                let object = look.object.to_owned();
                tries.push(Try { what: look.what, object, from, outcome, detail, sql: look.plain.clone() });
            }
            tell("what calls do to the other's rows");
            tries.extend(self.effects(from, values.of_mut(from)).await?);
        }
        Ok(tries)
    }

    /// Asks everything once, after one tenant's rows were taken away.
    async fn pass(
        &self,
        from: Who,
        looks: &[Look<'_>],
        without: Option<Who>,
    ) -> Result<Vec<Seen>, CanaryError> {
        let session = self.session;
        session.transaction.batch_execute("SAVEPOINT ringfence_pass").await?;
        let taken = match without {
            Some(who) => {
                let seat = session.seat(Seat::Administrator(who));
                session.say(&format!("{}{seat}{}", session.bare(true), self.taken(who))).await?
            }
            None => Ok(Answer::default()),
        };
        let mut seen = Vec::new();
        for look in looks {
            seen.push(match &taken {
                Ok(_) => {
                    let attempt = Attempt { before: &look.before, sql: &look.sql, ..Attempt::default() };
                    session.attempt(Seat::Tenant(from), attempt).await?
                }
                Err(refused) => Err(Refused { before: true, ..refused.clone() }),
            });
        }
        session.undo("ringfence_pass").await?;
        Ok(seen)
    }

    /// The statements that take a tenant's rows away, those that point at others first.
    fn taken(&self, who: Who) -> String {
        let rows =
            self.planted.order.iter().rev().filter_map(|relation| self.planted.of.of(who).get(relation));
        let taken = rows.filter_map(|canary| {
            let table = self.schema.relation(canary.table)?;
            Some(format!("DELETE FROM ONLY {} WHERE ctid = '{}';", table.name, canary.ctid))
        });
        taken.collect()
    }

    fn looks(&self, from: Who, values: &mut Values) -> Vec<Look<'_>> {
        let mut looks = Vec::new();
        for relation in self.schema.relations.iter().filter(|relation| relation.reached) {
            let read = relation.columns.iter().filter(|column| column.read);
            let read: Vec<String> = read.map(|column| format!("q.{}", name(&column.name))).collect();
            if read.is_empty() {
                continue;
            }
            let before = match relation.kind {
                'm' => format!("REFRESH MATERIALIZED VIEW {}", relation.name),
                _ => String::new(),
            };
            let (read, object) = (read.join(", "), relation.name.as_str());
            let sql = self.summed(&format!("SELECT ROW({read})::text AS r FROM {object} AS q"), from);
            let plain = format!("SELECT {read} FROM {object} AS q");
            let shows = self.planted.of.one.contains_key(&relation.oid) || !relation.is_table();
            looks.push(Look { what: "read", object, before, sql, plain, shows });
        }
        for routine in self.schema.routines.iter().filter(|routine| !routine.procedure) {
            for arguments in self.arguments(routine, from, values) {
                let called = format!("{}({arguments})", routine.name);
                let sql = self.summed(&format!("SELECT x::text AS r FROM {called} AS x"), from);
                let (object, plain) = (routine.signature.as_str(), format!("SELECT * FROM {called}"));
                looks.push(Look { what: "call", object, before: String::new(), sql, plain, shows: false });
            }
        }
        looks
    }

    /// Sums rows up: their number, a hash whatever their order, and whether one bears the other's mark.
    fn summed(&self, rows: &str, from: Who) -> String {
        let marks = self.marks.of(from.other()).each_ref();
        let marked = marks.map(|mark| format!("pg_catalog.strpos(r, {}) > 0", text(mark))).join(" OR ");
        format!(
            "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(pg_catalog.hashtextextended(r, 0)::numeric), 0), \
             coalesce(pg_catalog.bool_or({marked}), false) FROM ({rows}) s"
        )
    }

    /// Values to call a routine with, of the other tenant's rows where they fit.
    fn arguments(&self, routine: &Routine, from: Who, values: &mut Values) -> Vec<String> {
        let victim = from.other();
        let mut calls: Vec<String> = Vec::new();
        for call in 0..CALLS {
            let mut arguments = Vec::new();
            for argument in &routine.arguments {
                let fits = self.fitting(&argument.base, &argument.name, victim);
                let value = match fits.get(call % fits.len().max(1)) {
                    Some(value) => Some((*value).to_owned()),
                    None => values.of(&argument.base, ' ', -1),
                };
                arguments.push(match value {
                    Some(value) => format!("{}::{}", text(&value), argument.r#type),
                    None => format!("NULL::{}", argument.r#type),
                });
            }
            let arguments = arguments.join(", ");
            if !calls.contains(&arguments) {
                calls.push(arguments);
            }
            if routine.arguments.is_empty() {
                break;
            }
        }
        calls
    }

    /// Keys of a tenant's rows that an argument could mean, the likeliest first.
    fn fitting(&self, base: &str, argument: &str, victim: Who) -> Vec<&str> {
        let mut fits: Vec<(bool, &str)> = Vec::new();
        if base == "text" || base == "varchar" {
            fits.push((!argument.contains("tenant"), self.session.tenants.of(victim)));
        }
        let meant = |word: &str| word.len() > 2 && argument.contains(word.trim_end_matches('s'));
        for (oid, canary) in self.planted.of.of(victim) {
            let Some(relation) = self.schema.relation(*oid) else { continue };
            let bare = relation.name.rsplit('.').next().unwrap_or_default();
            for column in relation.columns.iter().filter(|column| column.key && column.base == base) {
                if let Some(Some(value)) = canary.row.get(&column.name) {
                    fits.push((!(meant(bare) || meant(&column.name)), value));
                }
            }
        }
        fits.sort_by_key(|(unlikely, _)| *unlikely);
        let mut seen = std::collections::BTreeSet::new();
        fits.into_iter().map(|(_, value)| value).filter(|value| seen.insert(*value)).collect()
    }

    /// Calls what may write, and looks at the other's rows after.
    async fn effects(&self, from: Who, values: &mut Values) -> Result<Vec<Try>, CanaryError> {
        let rows: Vec<String> = self
            .planted
            .of
            .of(from.other())
            .values()
            .filter_map(|canary| {
                let table = self.schema.relation(canary.table)?;
                Some(format!(
                    "SELECT q::text AS r FROM ONLY {} AS q WHERE ctid = '{}'",
                    table.name, canary.ctid
                ))
            })
            .collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let seat = self.session.seat(Seat::Administrator(from.other()));
        let digest = format!("{seat}{}", self.summed(&rows.join(" UNION ALL "), from));
        let untouched = Attempt { sql: "SELECT 1", after: Some(&digest), ..Attempt::default() };
        let untouched = self.session.attempt(Seat::Tenant(from), untouched).await?;
        let mut tries = Vec::new();
        for routine in self.schema.routines.iter().filter(|routine| routine.volatile || routine.procedure) {
            for arguments in self.arguments(routine, from, values) {
                let verb = if routine.procedure { "CALL" } else { "SELECT" };
                let sql = format!("{verb} {}({arguments})", routine.name);
                let attempt = Attempt { sql: &sql, after: Some(&digest), ..Attempt::default() };
                let touched = self.session.attempt(Seat::Tenant(from), attempt).await?;
                let last = |seen: &Seen| seen.as_ref().ok().and_then(|answer| answer.rows.last().cloned());
                let (outcome, detail) = match &touched {
                    Err(refused) => refused.outcome(),
                    Ok(_) if last(&touched) != last(&untouched) => {
                        (Outcome::Leak, "it changed the other tenant's rows".to_owned())
                    }
                    Ok(_) => (Outcome::Held, String::new()),
                };
                let object = routine.signature.clone();
                tries.push(Try { what: "effect", object, from, outcome, detail, sql });
            }
        }
        Ok(tries)
    }
}

fn judged(look: &Look<'_>, all: &Seen, again: &Seen, without: &Seen, blind: &Seen) -> (Outcome, String) {
    let told = |outcome, detail: &str| (outcome, detail.to_owned());
    let all = match all {
        Ok(answer) => answer,
        Err(refused) => return refused.outcome(),
    };
    match (again, without) {
        (Ok(again), _) if again != all => told(Outcome::Untried, "its answer changes by itself"),
        (Err(refused), _) => refused.outcome(),
        (_, Err(refused)) if refused.before || refused.code == SqlState::QUERY_CANCELED => refused.outcome(),
        (_, Ok(without)) if without == all => match blind {
            Ok(blind) if look.shows && blind == all => {
                told(Outcome::Blind, "it does not show a tenant's own row either")
            }
            _ => told(Outcome::Held, ""),
        },
        _ if all.rows.iter().flatten().any(|value| value.as_deref() == Some("t")) => {
            told(Outcome::Leak, "it shows the other tenant's row")
        }
        _ => told(Outcome::Tells, "its answer depends on whether the other tenant's rows are there"),
    }
}

impl Refused {
    /// What a refusal says of a try.
    pub(super) fn outcome(&self) -> (Outcome, String) {
        let ours = self.code.code().starts_with("RF");
        if !self.before && (self.code == SqlState::INSUFFICIENT_PRIVILEGE || ours) {
            return (Outcome::Held, self.message.clone());
        }
        (Outcome::Untried, self.message.clone())
    }
}
