//! Of drawn schemas: what the plan must never do, whatever points at what.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::adopt::{
    Column, ForeignKey, Table,
    shape::{Built, Key, Link},
};

/// Tables `t0`…, of which some point at others by foreign keys.
fn schema(edges: Vec<(usize, usize, bool)>) -> (Catalog, Shape) {
    let (mut catalog, mut shape) = (Catalog::default(), Shape::default());
    let column = |name: &str, nullable| Column { name: name.to_owned(), kind: "bigint".to_owned(), nullable };
    for number in 0..10 {
        let name = format!("public.t{number}");
        let table = Table {
            columns: vec![column("id", false)],
            primary_key: vec!["id".to_owned()],
            foreign_keys: Vec::new(),
        };
        let key = Key {
            name: format!("t{number}_pkey"),
            primary: true,
            rest: "id)".to_owned(),
            columns: vec!["id".to_owned()],
            constraint: Some(""),
            ..Key::default()
        };
        let built = Built {
            schema: "public".to_owned(),
            name: format!("t{number}"),
            keys: vec![key],
            ..Built::default()
        };
        catalog.tables.insert(name.clone(), table);
        shape.0.insert(name, built);
    }
    for (at, (from, to, nullable)) in edges.into_iter().enumerate() {
        let (from, to, name) = (format!("public.t{from}"), format!("public.t{to}"), format!("f{at}"));
        let [columns, references] = [vec![format!("c{at}")], vec!["id".to_owned()]];
        let link = Link {
            name: name.clone(),
            to: to.clone(),
            columns: columns.clone(),
            references: references.clone(),
            on_update: 'a',
            on_delete: 'a',
            validated: true,
            ..Link::default()
        };
        shape.0.get_mut(&from).unwrap().links.push(link);
        let table = catalog.tables.get_mut(&from).unwrap();
        table.columns.push(column(&format!("c{at}"), nullable));
        table.foreign_keys.push(ForeignKey { name, columns, table: to, references });
    }
    (catalog, shape)
}

/// Where a statement about a table that says this is first, in a stage.
fn place(stage: &[Statement], table: &str, says: &str) -> Option<usize> {
    stage.iter().position(|one| one.about.starts_with(&format!("{table}:")) && one.sql.contains(says))
}

proptest! {
    #[test]
    fn each_table_of_tenants_is_planned_once_and_after_what_it_points_at(
        edges in prop::collection::vec((0..10usize, 0..10usize, any::<bool>()), 0..24)
    ) {
        let (catalog, shape) = schema(edges);
        let decided = Decided::default();
        let inferred = infer_decided(&catalog, "public.t0", &decided);
        let migration = match written(&shape, &inferred, &decided, "'t-' || id") {
            Ok(migration) => migration,
            Err(PlanError::Obstacles(found)) => {
                prop_assert!(found.iter().all(|told| told.contains("foreign key") && told.contains("--drop-key")));
                return Ok(());
            }
            Err(error) => panic!("{error}"),
        };
        let at: BTreeMap<&str, usize> =
            migration.tables.iter().enumerate().map(|(at, table)| (table.as_str(), at)).collect();
        prop_assert_eq!(at.len(), migration.tables.len(), "each once");
        let owned = inferred.tables.iter().filter(|(_, is)| {
            matches!(is, Belonging::Root | Belonging::Direct { .. } | Belonging::Through { .. })
        });
        prop_assert_eq!(owned.clone().count(), at.len());
        let [expand, backfill, check, indexes, constraints, swap, protect] = migration.stages.as_slice() else {
            panic!("seven stages")
        };
        prop_assert!(check.undo.is_empty() && backfill.undo.is_empty());
        for (table, is) in owned {
            let filled = |table: &str| place(&backfill.statements, table, "fill").unwrap();
            let first = match is {
                Belonging::Direct { step, .. } => Some(step),
                Belonging::Through { path, .. } => path.first(),
                _ => None,
            };
            if let Some(step) = first {
                prop_assert!(filled(&step.to) < filled(table), "{} before {table}", step.to);
                let protected = |table| place(&protect.statements, table, "ringfence_adopt.protect").unwrap();
                prop_assert!(protected(table) < protected(step.to.as_str()), "{table} before {}", step.to);
            }
            for stage in [expand, indexes, constraints, swap, protect] {
                prop_assert!(place(&stage.statements, table, table).is_some(), "{} of {table}", stage.name);
                prop_assert!(place(&stage.undo, table, "").is_some(), "undo of {} of {table}", stage.name);
            }
            // Keys lose what depends on them before they go.
            let last_link = swap.statements.iter().rposition(|one| one.about.ends_with("carries the tenant"));
            let key = place(&swap.statements, table, "USING INDEX").unwrap();
            prop_assert!(last_link.is_none_or(|link| link < key));
            let back = place(&swap.undo, table, "USING INDEX").unwrap();
            let last_back = swap.undo.iter().rposition(|one| one.sql.contains("RENAME CONSTRAINT"));
            prop_assert!(last_back.is_none_or(|link| link < back));
        }
    }
}

#[test]
fn what_names_another_tenant_is_in_the_way_until_its_key_is_dropped() {
    let (catalog, shape) = schema(vec![(1, 0, false), (1, 0, false)]);
    let decisions = |belongs: &[&str], dropped: &[&str]| Decisions {
        shared: Vec::new(),
        belongs: belongs.iter().map(|said| (*said).to_owned()).collect(),
        dropped: dropped.iter().map(|said| (*said).to_owned()).collect(),
        column: None,
    };
    let planned = |decisions: Decisions| {
        let decided = decide(&catalog, &shape, "public.t0", &decisions, PLAIN)?;
        let inferred = infer_decided(&catalog, "public.t0", &decided);
        written(&shape, &inferred, &decided, "'t-' || id")
    };
    let told = planned(decisions(&[], &[])).unwrap_err().to_string();
    assert!(
        told.contains("several columns name a tenant") && told.contains("t1: its foreign key f0"),
        "{told}"
    );
    let told = planned(decisions(&["t1.c0"], &[])).unwrap_err().to_string();
    assert!(told.contains("f1") && !told.contains("f0"), "{told}");
    let migration = planned(decisions(&["t1.c0"], &["t1.c1"])).unwrap();
    assert_eq!(migration.tables, ["public.t0", "public.t1"]);
    assert!(migration.changes.iter().any(|told| told.contains("the foreign key f1 goes")));
}

#[test]
fn reject_what_is_decided_of_nothing_or_twice() {
    let (catalog, shape) = schema(vec![(1, 0, false)]);
    let told = |shared: &[&str], belongs: &[&str], dropped: &[&str]| {
        let said = |said: &[&str]| said.iter().map(|said| (*said).to_owned()).collect();
        let decisions =
            Decisions { shared: said(shared), belongs: said(belongs), dropped: said(dropped), column: None };
        decide(&catalog, &shape, "public.t0", &decisions, PLAIN).unwrap_err()
    };
    assert_eq!(told(&["t77"], &[], &[]), DecisionError::NoTable("t77".to_owned()));
    assert_eq!(told(&["t0"], &[], &[]), DecisionError::Root("public.t0".to_owned()));
    assert_eq!(told(&["t1"], &["t1.c0"], &[]), DecisionError::Twice("public.t1".to_owned()));
    assert_eq!(told(&["t1", "public.t1"], &[], &[]), DecisionError::Twice("public.t1".to_owned()));
    assert_eq!(told(&[], &["t1.nothing"], &[]), DecisionError::NoColumn("t1.nothing".to_owned()));
    assert_eq!(told(&[], &["t1"], &[]), DecisionError::NoColumn("t1".to_owned()));
    assert_eq!(told(&[], &[], &["t1.id"]), DecisionError::NoKey("t1.id".to_owned()));
}
