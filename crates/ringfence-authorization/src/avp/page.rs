//! Lists in pages. A page token is bound to the account, the operation, the store and the query: one of another tenant,
//! another store or another filter is refused like one that was made up.

use ringfence_context::key::sha256;
use serde_json::Value;

use crate::{
    avp::{
        account::Account,
        error::{AvpError, Outcome},
    },
    page::{PageKey, canonical},
};

/// Most items of a page, whatever was asked for.
const MOST: usize = 50;

/// One list: what a token is bound to.
pub(crate) struct Listing<'a> {
    pub(crate) key: &'a PageKey,
    pub(crate) account: &'a Account,
    pub(crate) operation: &'a str,
    /// The store listed, or nothing.
    pub(crate) store: &'a str,
    /// The whole input, of which paging itself is left out.
    pub(crate) input: &'a Value,
}

impl Listing<'_> {
    /// The id to go on after, if a page token was sent.
    ///
    /// # Errors
    /// A validation error where the token is not of this very list.
    pub(crate) fn after(&self) -> Outcome<Option<String>> {
        let Some(token) = self.input.get("nextToken").and_then(Value::as_str) else { return Ok(None) };
        let refused = || AvpError::invalid("nextToken", "is not a page token of this list");
        self.key.place(&self.bound(&self.query()), token).map(Some).ok_or_else(refused)
    }

    /// How many items a page has: as many as were asked for, up to 50.
    pub(crate) fn limit(&self, otherwise: usize) -> usize {
        let asked = self.input.get("maxResults").and_then(Value::as_u64);
        asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(otherwise).clamp(1, MOST)
    }

    /// Cuts what was found to a page; gives the token that goes on, if there is more. `found` are the items after the
    /// last page, at least one more than the page has if there are as many.
    pub(crate) fn page<T>(&self, mut found: Vec<(String, T)>, limit: usize) -> (Vec<T>, Option<String>) {
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(last, _)| self.token(last));
        (found.into_iter().map(|(_, item)| item).collect(), next)
    }

    fn token(&self, after: &str) -> String {
        self.key.token(&self.bound(&self.query()), after)
    }

    fn query(&self) -> [u8; 32] {
        let mut query = self.input.clone();
        if let Some(members) = query.as_object_mut() {
            members.retain(|name, _| !["nextToken", "maxResults", "policyStoreId"].contains(&name.as_str()));
        }
        sha256(canonical(&query).as_bytes())
    }

    fn bound<'b>(&'b self, query: &'b [u8; 32]) -> [&'b [u8]; 5] {
        [
            b"ringfence-avp-page-v1",
            self.account.name().as_bytes(),
            self.operation.as_bytes(),
            self.store.as_bytes(),
            query,
        ]
    }
}

#[cfg(test)]
mod tests {
    use ringfence_context::TenantId;
    use serde_json::json;

    use super::*;

    fn go_on(
        key: &PageKey,
        account: &Account,
        operation: &str,
        store: &str,
        input: &Value,
    ) -> Outcome<Option<String>> {
        Listing { key, account, operation, store, input }.after()
    }

    #[test]
    fn a_page_token_is_good_for_the_very_list_it_was_given_for() {
        let key = PageKey::of_a_test();
        let acme = Account::Tenant(TenantId::new("acme").unwrap());
        let globex = Account::Tenant(TenantId::new("globex").unwrap());
        let asked = json!({ "policyStoreId": "PS1", "filter": { "policyType": "STATIC" } });
        let listing =
            Listing { key: &key, account: &acme, operation: "ListPolicies", store: "PS1", input: &asked };
        let items = ["a", "b", "c"].map(|id| (id.to_owned(), id));
        let (page, next) = listing.page(items.to_vec(), 2);
        assert_eq!(page, ["a", "b"]);
        let with = |token: &str| json!({ "policyStoreId": "PS1", "maxResults": 7, "filter": { "policyType": "STATIC" }, "nextToken": token });
        let (token, list) = (next.unwrap(), "ListPolicies");
        assert_eq!(go_on(&key, &acme, list, "PS1", &with(&token)), Ok(Some("b".to_owned())));
        assert!(go_on(&key, &globex, list, "PS1", &with(&token)).is_err(), "another tenant");
        assert!(go_on(&key, &acme, list, "PS2", &with(&token)).is_err(), "another store");
        assert!(
            go_on(&key, &acme, "ListPolicyTemplates", "PS1", &with(&token)).is_err(),
            "another operation"
        );
        let other_query = json!({ "policyStoreId": "PS1", "nextToken": token });
        assert!(go_on(&key, &acme, list, "PS1", &other_query).is_err(), "another query");
        let other_key = PageKey::of_a_test();
        assert!(go_on(&other_key, &acme, list, "PS1", &with(&token)).is_err(), "made up");
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(go_on(&key, &acme, list, "PS1", &with(&forged)).is_err(), "{at}");
        }
        assert_eq!(listing.page(items.to_vec(), 3).1, None, "no token where there is no more");
    }
}
