//! What is inferred of schemas written in lines, and of drawn ones.

use proptest::prelude::*;

use super::*;
use crate::adopt::{Column, ForeignKey};

/// A catalog from lines like `orders: id!, org_id! -> orgs, note:text`: `!` is NOT NULL, an arrow a foreign key to the other
/// table's `id`. Columns are `bigint` where nothing is said.
fn catalog(lines: &str) -> Catalog {
    let mut catalog = Catalog::default();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, columns) = line.split_once(':').unwrap();
        let mut table = Table { primary_key: vec!["id".to_owned()], ..Table::default() };
        for column in columns.split(',').map(str::trim).filter(|column| !column.is_empty()) {
            let (column, to) =
                column.split_once(" -> ").map_or((column, None), |(column, to)| (column, Some(to)));
            let (column, kind) = column.split_once(':').unwrap_or((column, "bigint"));
            let (column, nullable) =
                column.strip_suffix('!').map_or((column, true), |column| (column, false));
            table.columns.push(Column { name: column.to_owned(), kind: kind.to_owned(), nullable });
            if let Some(to) = to {
                table.foreign_keys.push(ForeignKey {
                    name: format!("{name}_{column}_fkey"),
                    columns: vec![column.to_owned()],
                    table: to.to_owned(),
                    references: vec!["id".to_owned()],
                });
            }
        }
        catalog.tables.insert(name.to_owned(), table);
    }
    catalog
}

/// What is inferred of each table, in a word and the way: `through orders.org_id`.
fn inferred(lines: &str, root: &str) -> BTreeMap<String, String> {
    let ways = |path: &[Step]| {
        let step = |step: &Step| {
            let sure = if step.by == Certainty::Name { "?" } else { "" };
            format!("{}.{}{sure}", step.table, step.columns.join("+"))
        };
        path.iter().map(step).collect::<Vec<_>>().join(" ")
    };
    let word = |is: Belonging| match is {
        Belonging::Root => "root".to_owned(),
        Belonging::Direct { step, also } => also
            .iter()
            .fold(format!("direct {}", ways(&[step])), |said, also| format!("{said} | {}", ways(also))),
        Belonging::Through { path, also } => also
            .iter()
            .fold(format!("through {}", ways(&path)), |said, also| format!("{said} | {}", ways(also))),
        Belonging::Shared { by } => format!("shared by {}", by.join(" ")),
        Belonging::Framework => "framework".to_owned(),
        Belonging::Undecided { why } => format!("undecided: {why}"),
    };
    infer(&catalog(lines), root).unwrap().tables.into_iter().map(|(name, is)| (name, word(is))).collect()
}

#[test]
fn a_schema_as_applications_have_them() {
    let found = inferred(
        "orgs: id!, plan_id! -> plans
         plans: id!, name:text
         orders: id!, org_id! -> orgs, currency_id! -> currencies, total, placed_by:text, note:text
         currencies: id!, code:text
         lines: id!, order_id! -> orders, product_id! -> products, quantity, price, label:text
         products: id!, org_id!, name:text
         shipments: id!, order_id!, carrier:text
         remarks: id!, about_type!:text, about_id!, text:text
         users: id!, mail:text
         memberships: id!, user_id! -> users, org_id! -> orgs, role:text
         que_jobs: id!, args:jsonb
         schema_migrations: version:text
         holidays: id!, day:date",
        "orgs",
    );
    let said = |table: &str| found[table].as_str();
    assert_eq!(said("orgs"), "root");
    assert_eq!(said("plans"), "shared by orgs");
    assert_eq!(said("orders"), "direct orders.org_id");
    assert_eq!(said("currencies"), "shared by orders");
    assert_eq!(said("products"), "direct products.org_id?", "no constraint, a name");
    assert_eq!(said("lines"), "through lines.order_id orders.org_id | lines.product_id products.org_id?");
    assert_eq!(said("shipments"), "through shipments.order_id? orders.org_id");
    assert!(said("remarks").starts_with("undecided: about_type and about_id name a row of any table"));
    assert!(said("users").starts_with("undecided: memberships joins its rows to tenants"));
    assert_eq!(said("memberships"), "direct memberships.org_id");
    assert_eq!((said("que_jobs"), said("schema_migrations")), ("framework", "framework"));
    assert!(said("holidays").starts_with("undecided: nothing leads from it"));
}

#[test]
fn a_sure_way_is_taken_before_a_shorter_one_that_is_not() {
    let lines = "orgs: id!
         a: id!, org_id! -> orgs
         b: id!, a_id! -> a, c_id -> c
         c: id!, org_id! -> orgs
         d: id!, org_id, b_id! -> b";
    let found = inferred(lines, "orgs");
    assert_eq!(found["b"], "through b.a_id a.org_id | b.c_id c.org_id");
    // What is only named like a way must agree with the sure one.
    assert_eq!(found["d"], "through d.b_id b.a_id a.org_id | d.org_id?");
}

#[test]
fn of_several_columns_that_name_a_tenant_the_one_named_for_it_owns_the_row() {
    let found = inferred(
        "orgs: id!
         invites: id!, org_id! -> orgs, invited_by_id! -> orgs
         transfers: id!, from_id! -> orgs, to_id! -> orgs",
        "orgs",
    );
    assert_eq!(found["invites"], "direct invites.org_id");
    assert!(found["transfers"].starts_with("undecided: several columns name a tenant (from_id; to_id)"));
}

#[test]
fn a_name_says_nothing_where_types_differ_or_several_tables_are_called_so() {
    let lines = "orgs: id!
         one.carts: id!, org_id! -> orgs
         two.carts: id!, org_id! -> orgs
         items: id!, cart_id!
         codes: id!, org_id!:text";
    let found = inferred(lines, "orgs");
    assert!(found["items"].starts_with("undecided") && found["codes"].starts_with("undecided"));
}

#[test]
fn a_root_is_one_table_with_a_key_of_one_column() {
    let mut catalog = catalog("a.orgs: id!\n b.orgs: id!\n c: id!");
    catalog.tables.get_mut("c").unwrap().primary_key.clear();
    assert_eq!(infer(&catalog, "nothing"), Err(InferError::NoRoot("nothing".to_owned())));
    assert_eq!(
        infer(&catalog, "orgs"),
        Err(InferError::Several(vec!["a.orgs".to_owned(), "b.orgs".to_owned()]))
    );
    assert_eq!(infer(&catalog, "c"), Err(InferError::NoKey("c".to_owned())));
    assert_eq!(infer(&catalog, "a.orgs").unwrap().root, "a.orgs");
}

proptest! {
    /// On any schema: every table is told of, each way is one that exists and ends at the root, and circles end.
    #[test]
    fn every_way_leads_to_the_root(edges in prop::collection::vec((0..12usize, 0..12usize, any::<bool>(), any::<bool>()), 0..40)) {
        let mut catalog = Catalog::default();
        for number in 0..12 {
            let table = Table { primary_key: vec!["id".to_owned()], ..Table::default() };
            catalog.tables.insert(format!("t{number}"), table);
        }
        for (at, (from, to, nullable, named)) in edges.into_iter().enumerate() {
            let (from, to) = (format!("t{from}"), format!("t{to}"));
            let name = if named { format!("{to}_id") } else { format!("c{at}") };
            let table = catalog.tables.get_mut(&from).unwrap();
            if table.column(&name).is_some() {
                continue;
            }
            table.columns.push(Column { name: name.clone(), kind: "bigint".to_owned(), nullable });
            if !named {
                let references = vec!["id".to_owned()];
                table.foreign_keys.push(ForeignKey { name: format!("f{at}"), columns: vec![name], table: to, references });
            }
        }
        for table in catalog.tables.values_mut() {
            table.columns.push(Column { name: "id".to_owned(), kind: "bigint".to_owned(), nullable: false });
        }
        let inferred = infer(&catalog, "t0").unwrap();
        prop_assert_eq!(inferred.tables.len(), 12);
        for (name, is) in &inferred.tables {
            let paths: Vec<&[Step]> = match is {
                Belonging::Direct { step, also } => std::iter::once(std::slice::from_ref(step)).chain(also.iter().map(Vec::as_slice)).collect(),
                Belonging::Through { path, also } => std::iter::once(path.as_slice()).chain(also.iter().map(Vec::as_slice)).collect(),
                _ => Vec::new(),
            };
            for path in paths {
                prop_assert_eq!(&path[0].table, name);
                prop_assert_eq!(&path[path.len() - 1].to, "t0");
                prop_assert!(path.windows(2).all(|two| two[0].to == two[1].table));
                for step in path {
                    let column = catalog.tables[&step.table].column(&step.columns[0]).unwrap();
                    prop_assert_eq!(column.nullable, step.nullable);
                }
            }
        }
    }
}
