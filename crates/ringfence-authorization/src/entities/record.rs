//! One stored entity: what its writer says, what is kept, and what becomes of it in Cedar's terms.

use std::{fmt, str::FromStr};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, Schema};
use ringfence_context::{TenantId, limits};
use ringfence_store::Kind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    content::Digest,
    entities::{EntityFault, reference},
    question::Facts,
    vocabulary::{self, Vocabulary},
};

/// Entities, by [`Uid::record_id`].
pub(crate) const ENTITY: Kind = Kind::new("entity");

/// For every entity and each of its parents a record `{parent}.{child}`, to find who is below.
pub(crate) const CHILD: Kind = Kind::new("entity_child");

/// For every entity and each of those it refers to a record `{referred}.{referrer}`.
pub(crate) const REFERRER: Kind = Kind::new("entity_referrer");

/// What every change of a tenant's entities touches: its revision is theirs.
pub(crate) const HEAD: Kind = Kind::new("entity_head");

/// The id of the one [`Head`].
pub(crate) const HEAD_ID: &str = "head";

/// Names an entity, as Cedar's JSON does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uid {
    /// Its full type, with namespace.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// An entity as it is written: Cedar's entity JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityForm {
    /// Its name.
    pub uid: Uid,
    /// Its attributes. `tenant` and `subject` are set by the plane.
    #[serde(default)]
    pub attrs: Facts,
    /// What is directly above it.
    #[serde(default)]
    pub parents: Vec<Uid>,
}

/// An entity as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntityRecord {
    /// Whose it is, once more inside: the record is sealed under the same tenant's key.
    pub(crate) tenant: TenantId,
    pub(crate) uid: Uid,
    /// What its writer said of it, without `tenant` and `subject`.
    pub(crate) attrs: Facts,
    pub(crate) parents: Vec<Uid>,
    /// All that is above it, parents included, in order.
    pub(crate) ancestors: Vec<Uid>,
    /// The entities its attributes refer to, in order.
    pub(crate) references: Vec<Uid>,
}

/// An entity that fits the schema, with what it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Fitting {
    pub(crate) form: EntityForm,
    pub(crate) references: Vec<Uid>,
}

/// How many entities a tenant stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) tenant: TenantId,
    pub(crate) count: u64,
}

impl Uid {
    /// The same name in Cedar's terms.
    pub(crate) fn to_cedar(&self) -> Option<EntityUid> {
        let kind: EntityTypeName = self.kind.parse().ok()?;
        Some(EntityUid::from_type_name_and_id(kind, EntityId::new(&self.id)))
    }

    /// Where its record is: by type, then by name, both hashed with the tenant, for ids outlive their records and may be
    /// somebody's name.
    pub(crate) fn record_id(&self, tenant: &TenantId) -> String {
        let whole = Digest::of([tenant.as_str(), &self.kind, &self.id].map(str::as_bytes));
        format!("{}{}", kind_prefix(tenant, &self.kind), hex(whole.bytes()))
    }

    /// Where the record is that leads from it to another that names it.
    pub(crate) fn link_id(&self, tenant: &TenantId, other: &Self) -> String {
        format!("{}{}", self.link_prefix(tenant), other.record_id(tenant))
    }

    /// What the ids of its [`CHILD`] and [`REFERRER`] records begin with.
    pub(crate) fn link_prefix(&self, tenant: &TenantId) -> String {
        format!("{}.", self.record_id(tenant))
    }
}

/// What the ids of a type's entities begin with.
pub(crate) fn kind_prefix(tenant: &TenantId, kind: &str) -> String {
    let digest = Digest::of([tenant.as_str(), kind].map(str::as_bytes));
    let short: String = hex(digest.bytes()).chars().take(16).collect();
    format!("{short}.")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_cedar() {
            Some(uid) => uid.fmt(f),
            None => write!(f, "{}::{:?}", self.kind, self.id),
        }
    }
}

impl From<&EntityUid> for Uid {
    fn from(uid: &EntityUid) -> Self {
        Self { kind: uid.type_name().to_string(), id: AsRef::<str>::as_ref(uid.id()).to_owned() }
    }
}

impl FromStr for Uid {
    type Err = EntityFault;

    /// Reads `Type::"id"`.
    fn from_str(text: &str) -> Result<Self, EntityFault> {
        let uid = EntityUid::from_str(text);
        uid.map(|uid| Self::from(&uid)).map_err(|_| EntityFault::Name(text.to_owned()))
    }
}

impl EntityForm {
    /// Looks at it before it is kept: it fits the schema, and claims no other tenant.
    ///
    /// # Errors
    /// [`EntityFault`].
    pub(crate) fn check(
        mut self,
        vocabulary: &Vocabulary,
        tenant: &TenantId,
    ) -> Result<Fitting, EntityFault> {
        let kind =
            vocabulary.kind_named(&self.uid.kind).ok_or_else(|| EntityFault::Kind(self.uid.kind.clone()))?;
        if self.uid.id.is_empty() || self.uid.id.len() > limits::AUTHZEN_NAME_BYTES {
            return Err(EntityFault::Name(self.uid.id));
        }
        match self.attrs.remove("tenant") {
            Some(Value::String(said)) if said == tenant.as_str() => {}
            Some(_) => return Err(EntityFault::OtherTenant),
            None => {}
        }
        match self.attrs.remove("subject") {
            Some(Value::String(said)) if said == self.uid.id => {}
            Some(_) => return Err(EntityFault::Unfit("`subject` is the entity's own id".to_owned())),
            None => {}
        }
        self.parents.sort_unstable();
        self.parents.dedup();
        if self.parents.len() > limits::ENTITY_PARENTS {
            return Err(EntityFault::TooMany("parents", limits::ENTITY_PARENTS));
        }
        let uid = self.uid.to_cedar().ok_or_else(|| EntityFault::Name(self.uid.to_string()))?;
        let said = json_of(&uid, said(kind, tenant, &uid, &self.attrs), self.parents.iter());
        let entity = Entity::from_json_value(said, Some(vocabulary.schema())).map_err(EntityFault::unfit)?;
        let mut references: Vec<Uid> = reference::of_entity(&entity).iter().map(Uid::from).collect();
        references.sort_unstable();
        if references.len() > limits::ENTITY_REFERENCES {
            return Err(EntityFault::TooMany("references to entities", limits::ENTITY_REFERENCES));
        }
        Ok(Fitting { form: self, references })
    }
}

impl EntityRecord {
    /// The entity in Cedar's terms, with all ancestors as its parents: then that is all there is to know of them.
    ///
    /// # Errors
    /// [`EntityFault::Unfit`] where the schema has changed so that it fits no more.
    pub(crate) fn to_cedar(&self, vocabulary: &Vocabulary) -> Result<Entity, EntityFault> {
        let kind =
            vocabulary.kind_named(&self.uid.kind).ok_or_else(|| EntityFault::Kind(self.uid.kind.clone()))?;
        let uid = self.uid.to_cedar().ok_or_else(|| EntityFault::Name(self.uid.to_string()))?;
        let said = json_of(&uid, said(kind, &self.tenant, &uid, &self.attrs), self.ancestors.iter());
        Entity::from_json_value(said, Some(vocabulary.schema())).map_err(EntityFault::unfit)
    }

    /// Whether it is what was asked for: its seal says where it was put, and so does it.
    pub(crate) fn is_of(&self, tenant: &TenantId, uid: &Uid) -> bool {
        self.tenant == *tenant && self.uid == *uid
    }
}

/// The attributes with those the plane sets, where the type has them.
fn said(kind: &vocabulary::Kind, tenant: &TenantId, uid: &EntityUid, attrs: &Facts) -> Facts {
    let mut attrs = attrs.clone();
    if kind.declares("tenant") {
        attrs.insert("tenant".to_owned(), tenant.as_str().into());
    }
    if kind.declares("subject") {
        attrs.insert("subject".to_owned(), AsRef::<str>::as_ref(uid.id()).into());
    }
    attrs
}

/// Cedar's JSON of an entity.
pub(crate) fn json_of<'a>(uid: &EntityUid, attrs: Facts, parents: impl Iterator<Item = &'a Uid>) -> Value {
    let parents: Vec<&Uid> = parents.collect();
    json!({ "uid": Uid::from(uid), "attrs": attrs, "parents": parents })
}

/// Reads an entity.
///
/// # Errors
/// As Cedar's, where it does not fit.
pub(crate) fn read(
    uid: &EntityUid,
    attrs: Facts,
    parents: &[Uid],
    schema: &Schema,
) -> Result<Entity, EntityFault> {
    Entity::from_json_value(json_of(uid, attrs, parents.iter()), Some(schema)).map_err(EntityFault::unfit)
}
