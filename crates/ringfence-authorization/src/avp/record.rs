//! What is kept of stores, under the record key of whose they are. Items of a store are named `store/item`.
//!
//! Every change of anything in a store also writes the store's head at the revision it was read at: so two changes of one
//! store never cross, and the head's revision is the store's.

use std::collections::BTreeMap;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use ringfence_context::{TenantId, id::StoreId};
use ringfence_store::Kind;
use serde::{Deserialize, Serialize};

use crate::avp::{identity_source_form::Configuration, time::Moment};

pub(crate) const STORE: Kind = Kind::new("avp_store");
pub(crate) const SCHEMA: Kind = Kind::new("avp_schema");
pub(crate) const POLICY: Kind = Kind::new("avp_policy");
pub(crate) const TEMPLATE: Kind = Kind::new("avp_template");
pub(crate) const SOURCE: Kind = Kind::new("avp_identity_source");
pub(crate) const ALIAS: Kind = Kind::new("avp_alias");

/// Whether policies must fit the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Mode {
    Off,
    Strict,
}

/// Whether a store may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Protection {
    Enabled,
    Disabled,
}

/// A store's head.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) id: StoreId,
    /// Whose; nobody's is the plane's. Compared with whose records it was found among.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) mode: Mode,
    pub(crate) description: Option<String>,
    pub(crate) protection: Protection,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    /// What was proved of it last, if anything was. It holds while the store still says what was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proved: Option<ProofMark>,
}

/// That a store was proved safe, as what it said then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofMark {
    /// Names what it said.
    pub(crate) content: String,
    /// By whom.
    pub(crate) solver: String,
}

/// A store's schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaRecord {
    /// Cedar's JSON form. Absent in a serving store, whose document has it.
    pub(crate) json: Option<String>,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
}

/// An entity, as the API names one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EntityIdentifier {
    pub(crate) entity_type: String,
    pub(crate) entity_id: String,
}

impl EntityIdentifier {
    /// In Cedar's terms, if its type is one.
    pub(crate) fn uid(&self) -> Option<EntityUid> {
        let kind: EntityTypeName = self.entity_type.parse().ok()?;
        Some(EntityUid::from_type_name_and_id(kind, EntityId::new(&self.entity_id)))
    }
}

impl From<&EntityUid> for EntityIdentifier {
    fn from(uid: &EntityUid) -> Self {
        let id: &str = uid.id().as_ref();
        Self { entity_type: uid.type_name().to_string(), entity_id: id.to_owned() }
    }
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Body {
    /// Its own text.
    Static { statement: String },
    /// A template's, with its slots filled.
    Linked { template: String, principal: Option<EntityIdentifier>, resource: Option<EntityIdentifier> },
}

/// What is known of a policy or template beside its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
}

impl Meta {
    /// Of something that is as old as this.
    pub(crate) fn since(created: Moment) -> Self {
        Self { name: None, description: None, created, updated: created }
    }
}

/// A policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyRecord {
    pub(crate) meta: Meta,
    /// Absent in a serving store's record, whose document has it.
    pub(crate) body: Option<Body>,
}

/// A template.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateRecord {
    pub(crate) meta: Meta,
    /// Absent in a serving store's record, whose document has it.
    pub(crate) statement: Option<String>,
}

/// An identity source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceRecord {
    pub(crate) principal_type: String,
    /// The configuration, as the model's shapes have it.
    pub(crate) configuration: Configuration,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
}

/// An alias of a store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AliasRecord {
    pub(crate) store: StoreId,
    pub(crate) pending_deletion: bool,
    pub(crate) created: Moment,
}
