//! Chains of records: numbered entries of a tenant that are appended to, and nothing else.
//!
//! It guarantees that what [`list`] gives is whole: each entry names the one before by what it says, and a record beside
//! them names the last, so that an entry that was rewritten, moved, left out or cut off at the end is told from one that
//! is not there. Against someone who puts an older state back as a whole it guarantees nothing, as the store does not.

use ringfence_context::{TenantId, key::sha256};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::StoreError,
    record::{Kind, Scope},
    records::Records,
};

/// An entry of a chain.
pub trait Link: Serialize + DeserializeOwned {
    /// The kind of its records.
    const KIND: Kind;

    /// Whose it is, and which: numbered from 1.
    fn place(&self) -> (&TenantId, u64);

    /// Names the entry before; empty in the first.
    fn previous(&self) -> &str;

    /// Names it by what it says.
    fn name(&self) -> String {
        // What was read from JSON can be written as JSON.
        let text = serde_json::to_vec(self).unwrap_or_default();
        sha256(&text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Where a chain ends, as the record beside it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The number of the last entry; zero where there is none.
    pub number: u64,
    /// Names the last entry; empty where there is none.
    pub name: String,
}

/// A numbered record's id: ids are listed in the order of their bytes.
pub fn numbered(number: u64) -> String {
    format!("{number:020}")
}

/// Entries by ascending number, those after `after`, at most `limit`. Each is what the next, or `end`, says it is. `end`
/// is read after the entries, which are written together with it: what it names was there.
///
/// # Errors
/// What the state refuses; [`StoreError::Tampered`] where an entry is missing or was rewritten.
pub async fn list<L: Link>(
    records: &Records,
    tenant: &TenantId,
    after: u64,
    limit: u32,
    end: impl Future<Output = Result<End, StoreError>>,
) -> Result<Vec<L>, StoreError> {
    let scope = Scope::from(tenant);
    let tampered = || StoreError::Tampered { kind: L::KIND.as_str().to_owned() };
    let listed = records.list::<L>(&scope, L::KIND, Some(&numbered(after)), limit).await?;
    let whole = listed.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    let mut previous = match after {
        0 => Some(String::new()),
        after => one::<L>(records, tenant, after).await?.map(|entry| entry.name()),
    };
    let (mut number, mut entries) = (after, Vec::with_capacity(listed.len()));
    for (id, stored) in listed {
        let entry = stored.value;
        number = number.saturating_add(1);
        if numbered(number) != id || entry.place() != (tenant, number) {
            return Err(tampered());
        }
        if previous.as_deref() != Some(entry.previous()) {
            return Err(tampered());
        }
        previous = Some(entry.name());
        entries.push(entry);
    }
    let end = end.await?;
    let ends_otherwise = number == end.number && previous.as_ref() != Some(&end.name);
    let goes_beyond = number > end.number && !entries.is_empty();
    if ends_otherwise || goes_beyond {
        return Err(tampered());
    }
    // Unless entries were appended meanwhile, the end was cut off.
    if whole && number < end.number && one::<L>(records, tenant, number.saturating_add(1)).await?.is_none() {
        return Err(tampered());
    }
    Ok(entries)
}

/// One entry, where it says it is.
async fn one<L: Link>(records: &Records, tenant: &TenantId, number: u64) -> Result<Option<L>, StoreError> {
    let found = records.get::<L>(&Scope::from(tenant), L::KIND, &numbered(number)).await?;
    match found.map(|found| found.value) {
        Some(entry) if entry.place() != (tenant, number) => {
            Err(StoreError::Tampered { kind: L::KIND.as_str().to_owned() })
        }
        found => Ok(found),
    }
}
