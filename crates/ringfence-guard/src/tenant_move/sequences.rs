//! Brings the sequences of moved tables to where the source's are, so that no number is given out twice.
//!
//! It guarantees that none steps back, though others use it at the same time: a small gap is crossed by taking numbers, which
//! nobody else gets; a large one by setting it, which would step back only if others took as many numbers in that instant.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::{MoveError, plan::Plan};

/// So many numbers are taken rather than skipped.
const SMALL_GAP: i128 = 64;

/// Sequences that columns of the tables $1 own or take their defaults from.
const SEQUENCES: &str = "SELECT u.relation, a.attname::text, u.sequence::regclass::text, q.seqincrement
    FROM (SELECT d.refobjid AS relation, d.refobjsubid AS attnum, d.objid AS sequence FROM pg_depend d
           WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
          UNION
          SELECT f.adrelid, f.adnum, d.refobjid FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass
             AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass) u
    JOIN pg_sequence q ON q.seqrelid = u.sequence
    JOIN pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.attnum
    WHERE u.relation = ANY ($1)";

struct Sequence {
    relation: u32,
    column: String,
    /// As SQL writes it.
    sql: String,
    increment: i64,
}

async fn of(client: &Client, tables: &[u32]) -> Result<Vec<Sequence>, MoveError> {
    let one = |row: &tokio_postgres::Row| {
        let (relation, column) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Sequence { relation, column, sql: row.try_get(2)?, increment: row.try_get(3)? })
    };
    client.query(SEQUENCES, &[&tables]).await?.iter().map(one).collect()
}

/// The last number that was given out, in the direction of `increment`; none before the first.
async fn last(client: &Client, sequence: &str) -> Result<Option<i64>, MoveError> {
    let sql = format!("SELECT last_value, is_called FROM {sequence}");
    let row = client.query_one(&sql, &[]).await?;
    Ok(row.try_get::<_, bool>(1)?.then_some(row.try_get(0)?))
}

/// Brings all of them.
pub(super) async fn bring(source: &Client, target: &Client, plan: &Plan) -> Result<(), MoveError> {
    let oids: HashMap<u32, u32> = plan.tables.iter().map(|table| table.oids).collect();
    let here = of(source, &oids.keys().copied().collect::<Vec<_>>()).await?;
    let there = of(target, &oids.values().copied().collect::<Vec<_>>()).await?;
    for from in &here {
        let Some(reached) = last(source, &from.sql).await? else { continue };
        let same =
            |to: &&Sequence| oids.get(&from.relation) == Some(&to.relation) && to.column == from.column;
        for to in there.iter().filter(same) {
            one(target, to, reached).await?;
        }
    }
    Ok(())
}

async fn one(target: &Client, sequence: &Sequence, reached: i64) -> Result<(), MoveError> {
    let sign = i128::from(sequence.increment.signum());
    let short = |at: i64| (i128::from(reached) - i128::from(at)) * sign;
    let set = format!(
        "SELECT setval($1::text::regclass, $2) FROM {} WHERE last_value {} $2",
        sequence.sql,
        if sign < 0 { ">" } else { "<" }
    );
    match last(target, &sequence.sql).await? {
        Some(at) if short(at) <= 0 => return Ok(()),
        Some(at) if short(at) <= SMALL_GAP => {
            for _ in 0..SMALL_GAP {
                let next = "SELECT nextval($1::text::regclass)";
                let at: i64 = target.query_one(next, &[&sequence.sql]).await?.try_get(0)?;
                if short(at) <= 0 {
                    return Ok(());
                }
            }
        }
        // Not used yet, it may stand where it begins without having given that number out.
        None => {
            let next = "SELECT nextval($1::text::regclass)";
            target.execute(next, &[&sequence.sql]).await?;
        }
        Some(_) => {}
    }
    target.execute(&set, &[&sequence.sql, &reached]).await?;
    Ok(())
}
