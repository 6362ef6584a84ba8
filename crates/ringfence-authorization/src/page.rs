//! Page tokens: where a list goes on, authenticated, and good for the very list they were given for.
//!
//! A token is a MAC and a place in the list. The MAC is over whatever the list is bound to as well (whose it is, of what,
//! by which query): a token of another list is refused like one that was made up.

use ringfence_context::{
    Secret,
    key::{MAC_LEN, MacKey, base64url, base64url_decode},
};
use ringfence_store::{Draft, Expect, Kind, Records, Scope, StoreError};
use serde_json::Value;

/// Named after the lists it was first for.
const PAGE_KEY: Kind = Kind::new("avp_page_key");

/// The key page tokens are made with: one for the plane, on every node, kept sealed.
#[derive(Debug)]
pub struct PageKey(MacKey);

impl PageKey {
    /// Reads the key, or makes it where there is none yet.
    ///
    /// # Errors
    /// Where the state can't be read or written.
    pub async fn open(records: &Records) -> Result<Self, StoreError> {
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

    /// The token for a place in the list that is bound to these parts.
    pub fn token(&self, bound: &[&[u8]], place: &str) -> String {
        let tag = self.0.tag(&[bound, &[place.as_bytes()]].concat());
        base64url(&[&tag, place.as_bytes()].concat())
    }

    /// The place a token names, if it is a token of this very list.
    pub fn place(&self, bound: &[&[u8]], token: &str) -> Option<String> {
        let bytes = base64url_decode(token).ok()?;
        let (tag, place) = bytes.split_at_checked(MAC_LEN)?;
        if !self.0.verifies(&[bound, &[place]].concat(), tag) {
            return None;
        }
        String::from_utf8(place.to_vec()).ok()
    }

    #[cfg(test)]
    pub(crate) fn of_a_test() -> Self {
        Self(MacKey::generate().unwrap())
    }
}

/// One spelling for one value: members in order of their names, absent ones left out.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
            members.sort_by_key(|(name, _)| *name);
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
