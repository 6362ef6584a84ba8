//! What Ringfence's own column is called: `tenant_id`, unless an application has one of that name that holds something else.

use std::fmt;

use super::{Belonging, Catalog, DecisionError, Inferred, migration::ident};

/// What it is called where nothing is in the way.
pub(super) const TENANT_ID: &str = "tenant_id";

/// What it is called beside a `tenant_id` of the application's own.
pub(super) const BESIDE: &str = "ringfence_tenant";

/// Columns that every table has.
const OF_POSTGRES: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// The column that says whose a row is. It is shown as SQL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TenantColumn {
    /// Its name, not quoted.
    pub(super) name: String,
    quoted: String,
}

impl TenantColumn {
    /// # Errors
    /// [`DecisionError::Column`] where Postgres would not take it for a name, or would take less of it.
    pub(super) fn new(name: &str) -> Result<Self, DecisionError> {
        let fits = (1..=63).contains(&name.len()) && !name.contains('\0');
        if !fits || OF_POSTGRES.contains(&name) {
            return Err(DecisionError::Column(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), quoted: ident(name) })
    }
}

impl Default for TenantColumn {
    fn default() -> Self {
        Self { name: TENANT_ID.to_owned(), quoted: ident(TENANT_ID) }
    }
}

impl fmt::Display for TenantColumn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.quoted)
    }
}

/// The tables of tenants that have a `tenant_id` which is not Ringfence's: row security compares text.
pub(super) fn beside(catalog: &Catalog, inferred: &Inferred) -> Vec<String> {
    let taken = |table: &str| {
        let column = catalog.tables.get(table).and_then(|table| table.column(TENANT_ID));
        column.is_some_and(|column| column.kind != "text")
    };
    let of_tenants = inferred.tables.iter().filter(|(_, is)| {
        matches!(is, Belonging::Root | Belonging::Direct { .. } | Belonging::Through { .. })
    });
    of_tenants.filter(|(table, _)| taken(table)).map(|(table, _)| table.clone()).collect()
}
