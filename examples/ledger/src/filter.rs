//! The tenant in a query's WHERE clause: the app's own line of defence, before the database's.

/// How queries name the tenant. `{tenant}` in a query becomes a condition on the first parameter.
#[derive(Debug, Clone, Copy)]
pub struct TenantFilter(pub &'static str);

impl Default for TenantFilter {
    fn default() -> Self {
        Self("tenant_id = $1")
    }
}

impl TenantFilter {
    /// A query with its filter.
    pub fn apply(self, query: &str) -> String {
        query.replace("{tenant}", self.0)
    }
}
