//! Pages of a search (section 8.2). A page token is good for the very search it was given for: this tenant's, of this
//! kind, by this question and with this limit.

use ringfence_authorization::page::{PageKey, canonical};
use ringfence_context::{TenantId, key::sha256, limits};
use serde_json::Value;

use super::{
    Failure,
    body::{Members, malformed},
};

/// Where a search begins, and how much it may find.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) operation: &'static str,
    /// Where it goes on; empty at the beginning.
    pub(super) place: String,
    pub(super) limit: usize,
    query: [u8; 32],
}

impl Page {
    /// Reads `page`, if there is one.
    ///
    /// # Errors
    /// [`Failure::Malformed`]; also where the token is not of this very search.
    pub(super) fn read(
        key: &PageKey,
        tenant: &TenantId,
        operation: &'static str,
        members: &Members,
    ) -> Result<Self, Failure> {
        let mut question = members.clone();
        let said = question.remove("page");
        let query = sha256(canonical(&Value::Object(question)).as_bytes());
        let begin = Self { operation, place: String::new(), limit: limits::AUTHZEN_PAGE, query };
        let Some(said) = said else { return Ok(begin) };
        let said = said.as_object().ok_or_else(|| malformed("`page` is not an object"))?;
        let limit = match said.get("limit") {
            None => None,
            Some(limit) => Some(limit.as_u64().ok_or_else(|| malformed("`page.limit` is no such number"))?),
        };
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX).min(limits::AUTHZEN_PAGE));
        match said.get("token") {
            None => Ok(Self { limit: limit.unwrap_or(begin.limit), ..begin }),
            // A token is not sent where the last page's was empty; who sends it anyway begins again.
            Some(Value::String(token)) if token.is_empty() => {
                Ok(Self { limit: limit.unwrap_or(begin.limit), ..begin })
            }
            Some(Value::String(token)) => begin.go_on(key, tenant, token, limit),
            Some(_) => Err(malformed("`page.token` is not a string")),
        }
    }

    fn go_on(
        self,
        key: &PageKey,
        tenant: &TenantId,
        token: &str,
        limit: Option<usize>,
    ) -> Result<Self, Failure> {
        let refused = || malformed("`page.token` is not a page token of this search");
        let place = key.place(&self.bound(tenant), token).ok_or_else(refused)?;
        let (before, place) = place.split_once(' ').ok_or_else(refused)?;
        let before: usize = before.parse().map_err(|_| refused())?;
        if limit.is_some_and(|limit| limit != before) {
            return Err(malformed("`page.limit` is not the one the search began with"));
        }
        Ok(Self { place: place.to_owned(), limit: before, ..self })
    }

    /// The token that goes on after a place.
    pub(super) fn token(&self, key: &PageKey, tenant: &TenantId, place: &str) -> String {
        key.token(&self.bound(tenant), &format!("{} {place}", self.limit))
    }

    fn bound<'a>(&'a self, tenant: &'a TenantId) -> [&'a [u8]; 4] {
        [b"ringfence-authzen-page-v1", tenant.as_str().as_bytes(), self.operation.as_bytes(), &self.query]
    }
}
