//! What keeps tables from being protected: foreign keys that would tell every tenant of other tenants' rows.

use std::collections::BTreeMap;

use super::Owned;
use crate::adopt::{
    Belonging, Decided, Inferred,
    shape::{Link, Shape},
};

/// What keeps tables from being protected, with what would help.
pub(super) fn obstacles(
    shape: &Shape,
    inferred: &Inferred,
    decided: &Decided,
    owned: &[Owned<'_>],
    stays: impl Fn(&str, &Link) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let tables: BTreeMap<&str, &Owned<'_>> = owned.iter().map(|owned| (owned.table, owned)).collect();
    let root = inferred.root.as_str();
    if let Some(built) = shape.0.get(root) {
        let of_links = || {
            built
                .links
                .iter()
                .filter(|link| stays(root, link))
                .find_map(|link| link.refused(root, &decided.column.name))
        };
        if let Some(why) = built.refused.clone().or_else(of_links) {
            found.push(format!("{root}: {why}"));
        }
    }
    for (table, built) in &shape.0 {
        for link in
            built.links.iter().filter(|link| stays(table, link) && !link.carries(&decided.column.name))
        {
            if !tables.contains_key(link.to.as_str()) {
                continue;
            }
            let why = match tables.get(table.as_str()).zip(inferred.tables.get(table)) {
                None => match inferred.tables.get(table) {
                    Some(Belonging::Undecided { why }) => why.clone(),
                    Some(Belonging::Framework) => "it is a framework's own".to_owned(),
                    _ => "it is of no tenant".to_owned(),
                },
                Some((_, Belonging::Root)) if link.to == root => "it names another tenant".to_owned(),
                Some((_, Belonging::Direct { step, .. }))
                    if link.to == root && link.columns != step.columns =>
                {
                    "it names another tenant than the one that owns the row".to_owned()
                }
                Some(_) => continue,
            };
            let column = link.columns.first().map(String::as_str).unwrap_or_default();
            found.push(match decided.left.get(table) {
                Some(why) => format!(
                    "{table}: {why}. To leave it unprotected, let its foreign key {} go: --drop-key '{table}.{column}'",
                    link.name
                ),
                None => format!(
                    "{table}: its foreign key {} points at {}, which tells every tenant what rows there are: {why}; decide (--belongs, \
                     --shared), or let the migration drop the key: --drop-key '{table}.{column}'",
                    link.name, link.to
                ),
            });
        }
    }
    found
}
