//! Quotas, as Verified Permissions documents them where it does; a tier may set others.

use serde::Deserialize;

use crate::StoreDocument;

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
    /// A serving store in all: names and texts. A store is one record of the state, which is at most 1 MiB.
    pub store_bytes: usize,
    /// All static policies whose scope is one and the same resource, or none, together.
    pub policy_bytes_per_resource: usize,
    /// Tags of a store.
    pub tags_per_store: usize,
    /// Requests each second.
    pub requests_per_second: u32,
    /// Of these, changes: of stores, policies, templates, schemas and what belongs to them. A change is validated, proved and
    /// stored, or refused, and either costs more than a decision.
    pub changes_per_second: u32,
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
            store_bytes: 800_000,
            policy_bytes_per_resource: 200_000,
            tags_per_store: 50,
            requests_per_second: 20_000,
            changes_per_second: 100,
        }
    }
}

impl Quotas {
    /// Whether a serving store is within them, whoever writes it.
    ///
    /// # Errors
    /// What is too much, how much it may be, and where that is set.
    pub(crate) fn check(&self, document: &StoreDocument) -> Result<(), String> {
        let StoreDocument { schema, policies, templates, links, .. } = document;
        let within = |what: &str, count: usize, most: usize, key: &str| {
            if count <= most {
                return Ok(());
            }
            Err(format!(
                "{what}: {count}, and at most {most} here; the plane's operator sets `{key}` in the tier's `avp` table of ringfence.toml"
            ))
        };
        let policy_count = policies.len().saturating_add(links.len());
        within("too many policies", policy_count, self.policies_per_store, "policies_per_store")?;
        within("too many templates", templates.len(), self.templates_per_store, "templates_per_store")?;
        for (name, text) in policies.iter().chain(templates) {
            let what = format!("\"{}\" has too many bytes", name.escape_debug());
            within(&what, text.len(), self.policy_bytes, "policy_bytes")?;
        }
        within("the schema has too many bytes", schema.len(), self.schema_bytes, "schema_bytes")?;
        let texts =
            policies.iter().chain(templates).map(|(name, text)| name.len().saturating_add(text.len()));
        let linked = links.iter().map(|(name, link)| {
            let slots = [&link.principal, &link.resource].into_iter().flatten().map(String::len);
            name.len().saturating_add(link.template.len()).saturating_add(slots.sum())
        });
        let bytes = texts.chain(linked).fold(schema.len(), usize::saturating_add);
        within("the store has too many bytes", bytes, self.store_bytes, "store_bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reject_what_is_larger_than_the_tier_allows() {
        let document = crate::tests::document("acme");
        let most = Quotas::default();
        assert_eq!(most.check(&document), Ok(()));
        let check = |quotas: Quotas, key: &str, number: &str| {
            let told = quotas.check(&document).unwrap_err();
            assert!(told.contains(key) && told.contains(number), "{told}");
        };
        let policies = document.policies.len();
        assert_eq!(Quotas { policies_per_store: policies, ..most }.check(&document), Ok(()));
        check(
            Quotas { policies_per_store: policies - 1, ..most },
            "`policies_per_store`",
            &policies.to_string(),
        );
        let longest =
            document.policies.values().chain(document.templates.values()).map(String::len).max().unwrap();
        assert_eq!(Quotas { policy_bytes: longest, ..most }.check(&document), Ok(()));
        check(Quotas { policy_bytes: longest - 1, ..most }, "`policy_bytes`", &longest.to_string());
        let schema = document.schema.len();
        assert_eq!(Quotas { schema_bytes: schema, ..most }.check(&document), Ok(()));
        check(Quotas { schema_bytes: schema - 1, ..most }, "`schema_bytes`", &schema.to_string());
        check(Quotas { store_bytes: schema, ..most }, "`store_bytes`", &format!("at most {schema}"));
        let mut templates = document.clone();
        for number in 0..=most.templates_per_store {
            templates.templates.insert(
                format!("t{number}"),
                "permit (principal == ?principal, action, resource);".to_owned(),
            );
        }
        assert!(most.check(&templates).unwrap_err().contains("`templates_per_store`"));
    }
}
