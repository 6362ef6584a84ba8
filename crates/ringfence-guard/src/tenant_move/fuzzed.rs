//! What a slot says, if it says anything at all: what fuzzing runs.

use std::collections::HashMap;

use ringfence_context::TenantId;

use super::{
    apply::{self, Event},
    catalog::CatalogColumn,
    pgoutput::{self, Message, Relation, Value},
    plan::{Column, Plan, Table},
    statement::Text,
};

/// Reads `stream`, messages that each say their length in two bytes first, and makes of it what would be made at the target of a
/// table `public.items (tenant_id, id, code)` for the tenant `acme`; says how many changes.
///
/// # Panics
/// Where a message is read that was cut or goes on; where more is kept of one than it has bytes; where a change is not of the
/// tenant's own row, or has not the values that its statement asks for.
#[doc(hidden)]
pub fn follow(mut stream: &[u8]) -> usize {
    let Ok(tenant) = TenantId::new("acme") else { return 0 };
    let plan = plan();
    let (mut relations, mut changes) = (HashMap::new(), 0_usize);
    while let Some((length, rest)) = stream.split_first_chunk::<2>() {
        let (bytes, later) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        stream = later;
        let Ok(message) = pgoutput::read(bytes) else { continue };
        whole(bytes, &message);
        let (relation, event) = match message {
            Message::Relation(relation) => {
                relations.insert(relation.id, plan.find(&relation));
                continue;
            }
            Message::Insert { relation, new } => (relation, Event::Insert(new)),
            Message::Update { relation, old, new } => (relation, Event::Update(old, new)),
            Message::Delete { relation, old } => (relation, Event::Delete(old)),
            Message::Begin { .. } | Message::Commit { .. } | Message::Truncate { .. } | Message::Other => {
                continue;
            }
        };
        let Some(table) = relations.get(&relation).copied().flatten().and_then(|at| plan.tables.get(at))
        else {
            continue;
        };
        let Ok((_, Some(change))) = apply::change(table, &tenant, event) else { continue };
        changes = changes.saturating_add(1);
        let sql = change.shape.sql(table);
        let wanted = (1..).take_while(|at| sql.contains(&format!("${at}"))).count();
        assert_eq!(change.values.len(), wanted, "{sql}");
        let ours = Text::new(tenant.as_str());
        assert!(change.values.contains(&ours), "{sql}: it is not said whose row it is");
    }
    changes
}

/// A message is read to its end, and holds no more than it has bytes.
fn whole(bytes: &[u8], message: &Message<'_>) {
    let row = |row: &[Value<'_>]| row.len();
    let kept = match message {
        Message::Relation(Relation { columns, .. }) => columns.len(),
        Message::Insert { new, .. } => row(new),
        Message::Update { old, new, .. } => row(new).saturating_add(old.as_deref().map_or(0, row)),
        Message::Delete { old, .. } => row(old),
        Message::Truncate { relations } => relations.len(),
        Message::Begin { .. } | Message::Commit { .. } | Message::Other => 0,
    };
    assert!(kept <= bytes.len(), "{kept} of {} bytes", bytes.len());
    assert!(pgoutput::read(&[bytes, b"\0"].concat()).is_err(), "it goes on");
    let cut = bytes.len().saturating_sub(1);
    assert!(pgoutput::read(bytes.get(..cut).unwrap_or_default()).is_err(), "it is cut");
}

/// `public.items`, as a catalogue of Postgres tells it (oids of types: `pg_type.dat`).
fn plan() -> Plan {
    let column = |name: &str, kind: u32, key: bool| {
        let column = CatalogColumn {
            name: name.to_owned(),
            sql: name.to_owned(),
            kind,
            modifier: -1,
            type_sql: "text".to_owned(),
            generated: false,
            always: false,
            required: true,
            key,
            equals: "OPERATOR(pg_catalog.=)".to_owned(),
        };
        Column { source: column.clone(), target: column }
    };
    let items = Table {
        name: "items".to_owned(),
        source: "public.items".to_owned(),
        target: "public.items".to_owned(),
        oids: (1, 2),
        tenant: 0,
        tenant_sql: "tenant_id".to_owned(),
        columns: vec![column("tenant_id", 25, true), column("id", 23, true), column("code", 25, false)],
    };
    Plan { tables: vec![items], source_schema: "public".to_owned() }
}
