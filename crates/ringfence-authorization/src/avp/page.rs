//! Page tokens: where a list goes on, authenticated, and good for the very list they were given for.
//!
//! A token is a MAC and the last id shown. The MAC is over the account, the operation, the store and the query as well:
//! a token of another tenant, another store or another filter is refused like one that was made up.

use ringfence_context::{
    Secret,
    key::{MAC_LEN, MacKey, base64url, base64url_decode, sha256},
};
use ringfence_store::{Draft, Expect, Kind, Records, Scope, StoreError};
use serde_json::Value;

use crate::avp::{
    account::Account,
    error::{AvpError, Outcome},
    once::canonical,
};

const PAGE_KEY: Kind = Kind::new("avp_page_key");

/// Most items of a page, whatever was asked for.
const MOST: usize = 50;

/// The key page tokens are made with: one for the plane, on every node, kept sealed.
#[derive(Debug)]
pub(crate) struct PageKey(MacKey);

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

impl PageKey {
    /// Reads the key, or makes it where there is none yet.
    pub(crate) async fn open(records: &Records) -> Result<Self, StoreError> {
        let read = async || records.get::<Vec<u8>>(&Scope::Plane, PAGE_KEY, "current").await;
        if let Some(found) = read().await? {
            return Ok(Self(MacKey::from_bytes(&Secret::new(found.value))));
        }
        let made = MacKey::generate().map_err(|_| StoreError::Invalid("no randomness"))?;
        let draft =
            Draft::put(&Scope::Plane, PAGE_KEY, "current", made.bytes().reveal())?.expect(Expect::Absent);
        match records.commit(vec![draft]).await {
            Ok(_) => Ok(Self(made)),
            // Another node was first: its key is the plane's.
            Err(StoreError::Conflict { .. }) => {
                let found = read().await?.ok_or(StoreError::Invalid("the page key is gone"))?;
                Ok(Self(MacKey::from_bytes(&Secret::new(found.value))))
            }
            Err(error) => Err(error),
        }
    }
}

impl Listing<'_> {
    /// The id to go on after, if a page token was sent.
    ///
    /// # Errors
    /// A validation error where the token is not of this very list.
    pub(crate) fn after(&self) -> Outcome<Option<String>> {
        let Some(token) = self.input.get("nextToken").and_then(Value::as_str) else { return Ok(None) };
        let refused = || AvpError::invalid("nextToken", "is not a page token of this list");
        let bytes = base64url_decode(token).map_err(|_| refused())?;
        let (tag, after) = bytes.split_at_checked(MAC_LEN).ok_or_else(refused)?;
        let query = self.query();
        if !self.key.0.verifies(&self.parts(&query, after), tag) {
            return Err(refused());
        }
        String::from_utf8(after.to_vec()).map(Some).map_err(|_| refused())
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
        let query = self.query();
        let tag = self.key.0.tag(&self.parts(&query, after.as_bytes()));
        base64url(&[&tag, after.as_bytes()].concat())
    }

    fn query(&self) -> [u8; 32] {
        let mut query = self.input.clone();
        if let Some(members) = query.as_object_mut() {
            members.retain(|name, _| !["nextToken", "maxResults", "policyStoreId"].contains(&name.as_str()));
        }
        sha256(canonical(&query).as_bytes())
    }

    fn parts<'b>(&'b self, query: &'b [u8; 32], after: &'b [u8]) -> [&'b [u8]; 6] {
        [
            b"ringfence-avp-page-v1",
            self.account.name().as_bytes(),
            self.operation.as_bytes(),
            self.store.as_bytes(),
            query,
            after,
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
        let key = PageKey(MacKey::generate().unwrap());
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
        let other_key = PageKey(MacKey::generate().unwrap());
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
