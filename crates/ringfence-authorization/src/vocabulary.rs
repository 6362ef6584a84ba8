//! What a schema lets a question speak about, looked up once, so that a question needs no parsing and no JSON.
//!
//! It guarantees that what it lets pass conforms to the schema: each form an entity can have in a question is tried on
//! Cedar's own checker when the schema is read, and what can't be settled then Cedar checks on every question.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{
    Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, RestrictedExpression, Schema,
    ValidationMode, Validator, entities_errors::EntitiesError,
};
use cedar_policy_core::{
    ast,
    entities::{
        EntityTypeDescription as _, NoEntitiesSchema, Schema as _, TCComputation,
        conformance::EntitySchemaConformanceChecker,
    },
    extensions::Extensions,
    validator::{CoreSchema, EntityTypeDescription, ValidatorSchema, types::Type},
};

use crate::content::Digest;

/// A schema, and its names in one namespace.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    digest: Digest,
    validator: Validator,
    kinds: HashMap<Box<str>, Kind>,
    actions: HashMap<Box<str>, EntityUid>,
    action_entities: Entities,
}

/// An entity type, and which forms of it need no further check.
#[derive(Debug)]
pub(crate) struct Kind {
    name: EntityTypeName,
    description: EntityTypeDescription,
    /// Ids are free and declared here, so that conformance is a matter of attributes and ancestors.
    open: bool,
    /// With `tenant` and `subject`, in roles: a principal.
    pub(crate) asks: bool,
    /// With nothing: a role.
    pub(crate) bare: bool,
    /// With `tenant` alone: a resource nobody has loaded.
    pub(crate) owned: bool,
}

impl Vocabulary {
    /// Reads a schema.
    pub(crate) fn new(namespace: &str, source: &str) -> Result<Self, SchemaFault> {
        let schema = crate::text::schema(source)?;
        let local = |name: &str| {
            Some(Box::<str>::from(
                name.strip_prefix(namespace)?.strip_prefix("::").filter(|n| !n.is_empty())?,
            ))
        };
        let core = CoreSchema::new(schema.as_ref());
        let role: Option<EntityTypeName> = format!("{namespace}::Role").parse().ok();
        let mut kinds = HashMap::new();
        for name in schema.entity_types() {
            if let (Some(local), Some(description)) =
                (local(&name.to_string()), core.entity_type(name.as_ref()))
            {
                kinds.insert(local, Kind::new(name, description, &core, role.as_ref()));
            }
        }
        let action_type = format!("{namespace}::Action");
        let actions = schema.actions().filter(|uid| uid.type_name().to_string() == action_type);
        let actions = actions.map(|uid| (Box::from(AsRef::<str>::as_ref(uid.id())), uid.clone())).collect();
        let action_entities = Entities::from_entities([], Some(&schema)).map_err(Box::new)?;
        let digest = Self::digest_of(namespace, source);
        Ok(Self { digest, validator: Validator::new(schema), kinds, actions, action_entities })
    }

    /// What names a schema's vocabulary.
    pub(crate) fn digest_of(namespace: &str, text: &str) -> Digest {
        Digest::of([namespace.as_bytes(), text.as_bytes()])
    }

    /// Names it: what was read by one vocabulary is nothing to another.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The schema.
    pub(crate) fn schema(&self) -> &Schema {
        self.validator.schema()
    }

    /// The type of this name within the namespace.
    pub(crate) fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }

    /// The type of this name; `user` and `client` are the pool's where the schema has no type of that name.
    pub(crate) fn kind_said(&self, name: &str) -> Option<(&str, &Kind)> {
        let pools = match name {
            "user" => Some("User"),
            "client" => Some("Client"),
            _ => None,
        };
        let found = self.kinds.get_key_value(name).or_else(|| self.kinds.get_key_value(pools?));
        found.map(|(name, kind)| (name.as_ref(), kind))
    }

    /// The type with this full name.
    pub(crate) fn kind_named(&self, full: &str) -> Option<&Kind> {
        self.kinds.values().find(|kind| kind.name.to_string() == full)
    }

    /// What the schema declares of the context of an action.
    pub(crate) fn context_names(&self, action: &EntityUid) -> HashSet<&str> {
        match self.schema().as_ref().context_type(action.as_ref()) {
            Some(Type::Record { attrs, .. }) => attrs.keys().map(AsRef::as_ref).collect(),
            _ => HashSet::new(),
        }
    }

    /// The names of the actions that apply to a principal and a resource of these types, in order.
    pub(crate) fn actions_of(&self, principal: &Kind, resource: &Kind) -> Vec<&str> {
        let schema: &ValidatorSchema = self.schema().as_ref();
        let applies = |uid: &EntityUid| {
            schema.get_action_id(uid.as_ref()).is_some_and(|action| {
                action.is_applicable_principal_type(principal.name.as_ref())
                    && action.is_applicable_resource_type(resource.name.as_ref())
            })
        };
        let mut names: Vec<&str> =
            self.actions.iter().filter(|(_, uid)| applies(uid)).map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names
    }

    /// The action of this name.
    pub(crate) fn action(&self, name: &str) -> Option<&EntityUid> {
        self.actions.get(name)
    }

    /// The first thing in these policies that does not fit the schema, in Cedar's strict mode.
    pub(crate) fn unfit(&self, policies: &PolicySet) -> Option<String> {
        let result = self.validator.validate(policies, ValidationMode::Strict);
        result.validation_errors().next().map(ToString::to_string)
    }

    /// Whether one of these policies reads an attribute or an ancestor further than `rounds` references beyond what a
    /// question names (Cedar's RFC 76), or of an entity it names itself.
    pub(crate) fn reaches_beyond(&self, policies: &PolicySet, rounds: u32) -> bool {
        let level = rounds.saturating_add(1);
        let result = self.validator.validate_with_level(policies, ValidationMode::Strict, level);
        !result.validation_passed()
    }

    /// Whether an entity with these attributes conforms; it has no parents.
    pub(crate) fn conforms(&self, kind: &Kind, entity: &Entity) -> bool {
        let core = CoreSchema::new(self.schema().as_ref());
        let entity: &ast::Entity = entity.as_ref();
        kind.open
            && EntitySchemaConformanceChecker::new(&core, Extensions::all_available())
                .validate_entity_attributes(entity.uid(), entity.attrs(), &kind.description)
                .is_ok()
    }

    /// These entities and the schema's actions. The caller has made sure that they conform and that the parents of each
    /// are all ancestors it has.
    pub(crate) fn entities_flat(&self, entities: Vec<Entity>) -> Option<Entities> {
        let actions: &cedar_policy_core::entities::Entities = self.action_entities.as_ref();
        let entities =
            entities.into_iter().map(|entity| Arc::new(AsRef::<ast::Entity>::as_ref(&entity).clone()));
        let added = actions.clone().add_entities(
            entities,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        );
        added.ok().map(Into::into)
    }

    /// These entities, checked by Cedar, and the schema's actions.
    pub(crate) fn entities_checked(&self, entities: Vec<Entity>) -> Option<Entities> {
        Entities::from_entities(entities, Some(self.schema())).ok()
    }
}

impl Kind {
    fn new(
        name: &EntityTypeName,
        description: EntityTypeDescription,
        schema: &CoreSchema<'_>,
        role: Option<&EntityTypeName>,
    ) -> Self {
        let open = !description.is_external() && description.enum_entity_eids().is_none();
        let checker = EntitySchemaConformanceChecker::new(schema, Extensions::all_available());
        let any =
            |name: &EntityTypeName| EntityUid::from_type_name_and_id(name.clone(), EntityId::new("any"));
        let conforms = |attributes: &[&str], parent: Option<&EntityTypeName>| {
            let text = |name: &&str| ((*name).to_owned(), RestrictedExpression::new_string(String::new()));
            let entity = Entity::new_with_tags(any(name), attributes.iter().map(text), parent.map(any), []);
            open && entity.is_ok_and(|entity| checker.validate_entity(entity.as_ref()).is_ok())
        };
        Self {
            asks: role.is_some() && conforms(&["tenant", "subject"], role),
            bare: conforms(&[], None),
            owned: conforms(&["tenant"], None),
            name: name.clone(),
            description,
            open,
        }
    }

    /// Whether the schema declares an attribute of this name.
    pub(crate) fn declares(&self, attribute: &str) -> bool {
        self.description.attr_type(attribute).is_some()
    }

    /// Its full name.
    pub(crate) fn name(&self) -> &EntityTypeName {
        &self.name
    }

    /// The entity of this type with this id.
    pub(crate) fn uid(&self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.name.clone(), EntityId::new(id))
    }
}

/// Why a schema can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaFault {
    #[error(transparent)]
    Text(#[from] crate::text::TextFault),
    #[error(transparent)]
    Actions(#[from] Box<EntitiesError>),
}
