//! Quotas, as Verified Permissions documents them where it does; a tier may set others.

use serde::Deserialize;

/// What one account may have. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Policy stores of an account.
    pub policy_stores: usize,
    /// Aliases of an account. Not documented by the service: two for each store.
    pub policy_store_aliases: usize,
    /// Policies of a store, static and linked. The service has no such number; the plane has, for its own sake.
    pub policies_per_store: usize,
    /// Templates of a store.
    pub templates_per_store: usize,
    /// Identity sources of a store.
    pub identity_sources_per_store: usize,
    /// One policy or template.
    pub policy_bytes: usize,
    /// One schema.
    pub schema_bytes: usize,
    /// All static policies whose scope is one and the same resource, or none, together.
    pub policy_bytes_per_resource: usize,
    /// Tags of a store.
    pub tags_per_store: usize,
    /// Requests each second.
    pub requests_per_second: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            policy_stores: 30_000,
            policy_store_aliases: 60_000,
            policies_per_store: 20_000,
            templates_per_store: 40,
            identity_sources_per_store: 1,
            policy_bytes: 10_000,
            schema_bytes: 100_000,
            policy_bytes_per_resource: 200_000,
            tags_per_store: 50,
            requests_per_second: 20_000,
        }
    }
}
