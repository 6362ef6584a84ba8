//! The record of who changed the maps that lead to a tenant: who belongs to it, by which keys it is spoken for, and where its
//! policies are (SYSTEMS X-15).
//!
//! It guarantees that a change and its entry are one commit ([`Records::map_commit`], or the drafts of
//! [`Records::map_entry`] among those of a commit); and that the entries are a chain ([`crate::chain`]): whoever rewrites
//! one or cuts them off is found out when they are shown. They are sealed under the tenant's own key, and go with it.

use std::fmt;

use ringfence_context::{
    Author, By, ChangeReason, TenantId,
    id::{ClientId, Role, Subject},
    limits,
};
use serde::{Deserialize, Serialize};

use crate::{
    chain::{self, End, Link, numbered},
    error::StoreError,
    record::{Expect, Kind, Revision, Scope},
    records::{Draft, Records},
};

/// The entries, by number.
pub const MAP_ENTRY: Kind = Kind::new("map_audit");

/// Where the chain ends.
pub const MAP_HISTORY: Kind = Kind::new("map_history");

/// The head's id: a tenant has one.
const HEAD_ID: &str = "current";

/// How often a commit is made again where somebody else's entry got ahead of its own.
const TRIES: usize = 50;

/// What was changed. Names no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapStep {
    /// A user was made, as a member with these roles.
    UserMade {
        /// Its id.
        user: Subject,
        /// What it signs in with.
        name: String,
        /// Its roles.
        roles: Vec<Role>,
    },
    /// A user signs in no more.
    UserDisabled {
        /// Its id.
        user: Subject,
    },
    /// A user signs in again.
    UserEnabled {
        /// Its id.
        user: Subject,
    },
    /// A user was given another password.
    PasswordChanged {
        /// Its id.
        user: Subject,
    },
    /// A client was made; a machine as a member with these roles.
    ClientMade {
        /// Its id.
        client: ClientId,
        /// Whether it signs in as itself.
        machine: bool,
        /// Its roles.
        roles: Vec<Role>,
    },
    /// A client gets no more tokens.
    ClientDisabled {
        /// Its id.
        client: ClientId,
    },
    /// Somebody's roles are these from now on.
    MemberPut {
        /// Who.
        member: Subject,
        /// As what.
        roles: Vec<Role>,
    },
    /// Somebody is a member no more.
    MemberEnded {
        /// Who.
        member: Subject,
    },
    /// An access key was made.
    KeyMade {
        /// Its id.
        key: String,
    },
    /// An access key was ended.
    KeyEnded {
        /// Its id.
        key: String,
    },
    /// The policy store was made.
    StoreSeeded {
        /// Where it is.
        place: String,
    },
    /// A move of the policy store was proposed.
    StoreMoveProposed {
        /// Whereto.
        to: String,
    },
    /// A move of the policy store began.
    StoreMoveBegun {
        /// Whereto.
        to: String,
    },
    /// The policy store is where it was moved to.
    StoreMoved {
        /// Whereto.
        to: String,
    },
    /// A move of its rows began.
    DataMoveBegun {
        /// The shape they are to have.
        to: String,
    },
    /// Its rows are where they were moved to, or back to.
    DataMoved {
        /// The shape they have.
        to: String,
    },
    /// A move of its rows ended without one.
    DataMoveStopped {
        /// The shape they were to have.
        to: String,
        /// Why.
        why: String,
    },
    /// The place its rows were moved from is gone: there is no way back.
    DataMoveConfirmed {
        /// The shape they have.
        to: String,
    },
    /// A move ended without one.
    StoreMoveStopped {
        /// Whereto it was.
        to: String,
        /// Why.
        why: String,
    },
}

/// One change, on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapEntry {
    /// Numbered from 1.
    pub number: u64,
    /// Whose maps.
    pub tenant: TenantId,
    /// When, microseconds since the epoch.
    pub at: u64,
    /// Who.
    pub who: Author,
    /// What.
    pub step: MapStep,
    /// Why.
    pub reason: Option<ChangeReason>,
    /// Names the entry before.
    pub previous: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    tenant: TenantId,
    entries: u64,
    last: String,
}

impl Link for MapEntry {
    const KIND: Kind = MAP_ENTRY;

    fn place(&self) -> (&TenantId, u64) {
        (&self.tenant, self.number)
    }

    fn previous(&self) -> &str {
        &self.previous
    }
}

impl Records {
    /// Makes all changes or none, with an entry that says what they come to.
    ///
    /// # Errors
    /// As [`Records::commit`]; [`StoreError::Unavailable`] where others' entries get ahead every time.
    pub async fn map_commit(
        &self,
        tenant: &TenantId,
        drafts: Vec<Draft>,
        step: &MapStep,
        by: &By,
    ) -> Result<Revision, StoreError> {
        for _ in 0..TRIES {
            let mut whole = drafts.clone();
            whole.extend(self.map_entry(tenant, step, by).await?);
            match self.commit(whole).await {
                Err(StoreError::Conflict { kind }) if kind == MAP_HISTORY || kind == MAP_ENTRY => {}
                outcome => return outcome,
            }
        }
        Err(StoreError::Unavailable { cause: "others' changes get ahead of this one".to_owned() })
    }

    /// The records of an entry, to be written with what it is about. They conflict where another entry gets ahead.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn map_entry(
        &self,
        tenant: &TenantId,
        step: &MapStep,
        by: &By,
    ) -> Result<Vec<Draft>, StoreError> {
        let (head, expect) = self.map_head(tenant).await?;
        let entry = MapEntry {
            number: head.entries.saturating_add(1),
            tenant: tenant.clone(),
            at: by.at.micros(),
            who: by.who.clone(),
            step: step.clone(),
            reason: by.why.clone(),
            previous: head.last,
        };
        let (scope, id) = (Scope::from(tenant), numbered(entry.number));
        let head = Head { tenant: tenant.clone(), entries: entry.number, last: entry.name() };
        Ok(vec![
            Draft::put(&scope, MAP_ENTRY, &id, &entry)?.expect(Expect::Absent),
            Draft::put(&scope, MAP_HISTORY, HEAD_ID, &head)?.expect(expect),
        ])
    }

    /// Entries by ascending number, those after `after`. Each is what the next, or the record beside them, says it is.
    ///
    /// # Errors
    /// What the state refuses; [`StoreError::Tampered`] where an entry is missing or was rewritten.
    pub async fn map_list(&self, tenant: &TenantId, after: u64) -> Result<Vec<MapEntry>, StoreError> {
        let end = async {
            let (head, _) = self.map_head(tenant).await?;
            Ok(End { number: head.entries, name: head.last })
        };
        chain::list(self, tenant, after, limits::POLICY_PAGE, end).await
    }

    async fn map_head(&self, tenant: &TenantId) -> Result<(Head, Expect), StoreError> {
        match self.get::<Head>(&Scope::from(tenant), MAP_HISTORY, HEAD_ID).await? {
            None => Ok((Head { tenant: tenant.clone(), entries: 0, last: String::new() }, Expect::Absent)),
            Some(found) if found.value.tenant == *tenant => {
                Ok((found.value, Expect::Revision(found.revision)))
            }
            Some(_) => Err(StoreError::Tampered { kind: MAP_HISTORY.as_str().to_owned() }),
        }
    }
}

impl fmt::Display for MapStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserMade { user, name, roles } => {
                write!(f, "made user {name} ({user}) with {}", Roles(roles))
            }
            Self::UserDisabled { user } => write!(f, "disabled user {user}"),
            Self::UserEnabled { user } => write!(f, "enabled user {user}"),
            Self::PasswordChanged { user } => write!(f, "gave user {user} another password"),
            Self::ClientMade { client, machine: true, roles } => {
                write!(f, "made machine client {client} with {}", Roles(roles))
            }
            Self::ClientMade { client, .. } => write!(f, "made public client {client}"),
            Self::ClientDisabled { client } => write!(f, "disabled client {client}"),
            Self::MemberPut { member, roles } => write!(f, "gave {member} {}", Roles(roles)),
            Self::MemberEnded { member } => write!(f, "ended the membership of {member}"),
            Self::KeyMade { key } => write!(f, "made access key {key}"),
            Self::KeyEnded { key } => write!(f, "ended access key {key}"),
            Self::StoreSeeded { place } => write!(f, "made the policy store, in {place}"),
            Self::StoreMoveProposed { to } => write!(f, "proposed to move the policy store to {to}"),
            Self::StoreMoveBegun { to } => write!(f, "began to move the policy store to {to}"),
            Self::DataMoveBegun { to } => write!(f, "began to move its rows to the shape {to}"),
            Self::DataMoved { to } => write!(f, "moved its rows to the shape {to}"),
            Self::DataMoveStopped { to, why } => {
                write!(f, "did not move its rows to the shape {to}: {why}")
            }
            Self::DataMoveConfirmed { to } => {
                write!(f, "removed where its rows were before they were moved to the shape {to}")
            }
            Self::StoreMoved { to } => write!(f, "moved the policy store to {to}"),
            Self::StoreMoveStopped { to, why } => {
                write!(f, "stopped moving the policy store to {to}: {why}")
            }
        }
    }
}

/// Roles as a list of words.
struct Roles<'a>(&'a [Role]);

impl fmt::Display for Roles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no role"),
            [one] => write!(f, "role {one}"),
            several => {
                f.write_str("roles ")?;
                for (at, role) in several.iter().enumerate() {
                    write!(f, "{}{role}", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}
