//! What is known of a store: proved safe, or not.
//!
//! It guarantees that standing is a matter of what a store says. A store that was proved is so while it says what was
//! looked at, no longer, and again once it says it again; no input of any operation writes it. It is a mark: nothing is
//! served by it, for whatever takes effect passes the gate.

use std::sync::Arc;

use ringfence_context::id::StoreId;
use serde::Serialize;

use crate::{
    Standing,
    avp::{
        Avp,
        content::Content,
        decide::Deciding,
        error::Outcome,
        record::{Body, Mode},
        time::{Moment, iso},
    },
    content::Digest,
    govern::Governance,
};

/// What is known of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreStanding {
    /// As it is now, it was proved safe.
    Proved,
    /// It was not.
    Unproved,
}

impl StoreStanding {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Unproved => "unproved",
        }
    }
}

/// A store, as those see it who may make it serve.
#[derive(Debug, Clone, Serialize)]
pub struct StoreOverview {
    policy_store_id: StoreId,
    /// Whether the tenant's requests are decided by it.
    serving: bool,
    standing: StoreStanding,
    validation: Mode,
    description: Option<String>,
    policies: usize,
    templates: usize,
    /// Names what it says.
    content: String,
    #[serde(serialize_with = "iso")]
    updated: Moment,
}

impl Content {
    /// Names what the store says: schema, policies, templates and links. Nothing else goes into a proof.
    pub(crate) fn digest(&self) -> Digest {
        let mut parts: Vec<&[u8]> = vec![b"avp-store"];
        if let Some(schema) = &self.schema {
            parts.extend([b"schema".as_slice(), schema.json.as_bytes()]);
        }
        for (id, template) in &self.templates {
            parts.extend([b"template".as_slice(), id.as_bytes(), template.statement.as_bytes()]);
        }
        for (id, policy) in &self.policies {
            match &policy.body {
                Body::Static { statement } => {
                    parts.extend([b"policy".as_slice(), id.as_bytes(), statement.as_bytes()]);
                }
                Body::Linked { template, principal, resource } => {
                    parts.extend([b"link".as_slice(), id.as_bytes(), template.as_bytes()]);
                    for (slot, entity) in [("principal", principal), ("resource", resource)] {
                        if let Some(entity) = entity {
                            let (kind, id) = (entity.entity_type.as_bytes(), entity.entity_id.as_bytes());
                            parts.extend([slot.as_bytes(), kind, id]);
                        }
                    }
                }
            }
        }
        Digest::of(parts)
    }

    /// What the mark in its head is worth, if it is no serving store.
    fn marked(&self) -> StoreStanding {
        match &self.head.proved {
            Some(mark) if mark.content == self.digest().hex() => StoreStanding::Proved,
            _ => StoreStanding::Unproved,
        }
    }
}

impl Avp {
    /// What is known of a store as it is held here.
    pub(crate) async fn standing(&self, deciding: &Deciding) -> Outcome<StoreStanding> {
        if let Some(known) = deciding.standing.get() {
            return Ok(*known);
        }
        let standing = match &deciding.content.serving {
            None => deciding.content.marked(),
            Some(serving) => match Governance::serving_standing(&self.records, &serving.document).await? {
                Some(Standing::Proved(_)) => StoreStanding::Proved,
                Some(Standing::Unproved(_)) | None => StoreStanding::Unproved,
            },
        };
        Ok(*deciding.standing.get_or_init(|| standing))
    }

    /// A store, as those see it who may make it serve.
    pub(crate) async fn overview(&self, deciding: &Arc<Deciding>) -> Outcome<StoreOverview> {
        let content = &deciding.content;
        Ok(StoreOverview {
            policy_store_id: content.head.id.clone(),
            serving: content.serving.is_some(),
            standing: self.standing(deciding).await?,
            validation: content.head.mode,
            description: content.head.description.clone(),
            policies: content.policies.len(),
            templates: content.templates.len(),
            content: content.digest().hex(),
            updated: content.head.updated,
        })
    }
}
