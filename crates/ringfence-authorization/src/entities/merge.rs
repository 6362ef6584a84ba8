//! A question in Cedar's terms where entities are stored, or where it is about somebody else than who asks: what is stated
//! and what is stored, put together.
//!
//! It guarantees that a statement adds to what is stored and never contradicts it unnoticed: the two must agree where both
//! speak, and on the tenant above all.

use std::collections::HashSet;

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression};
use cedar_policy_core::ast;
use ringfence_context::{
    Layer, Reason, Refusal, TenantId,
    id::{JobName, Role},
};
use serde_json::Value;

use crate::{
    entities::{
        Uid,
        load::{Loaded, Stored},
        record::read,
        reference,
    },
    question::{Facts, OF_JOB, Question, Resource},
    vocabulary::{Kind, Vocabulary},
};

/// What is asked, whoever asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) tenant: &'a TenantId,
    /// The principal's type, id, roles and what is stated of it.
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) roles: &'a [Role],
    pub(crate) stated: Option<&'a Facts>,
    /// The job for which the principal acts, where who asks is the principal.
    pub(crate) job: Option<&'a JobName>,
    pub(crate) action: &'a str,
    pub(crate) resource: &'a Resource,
    pub(crate) facts: &'a Facts,
}

/// Why a question can't be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A type, action or attribute the schema does not know, or knows otherwise.
    Unfit,
    /// What is stated is not what is stored.
    Disagree(&'static str),
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        let (reason, detail) = match misfit {
            Misfit::Unfit => (Reason::PolicyError, "the question does not fit the store's schema"),
            Misfit::Disagree(detail) => (Reason::SourcesDisagree, detail),
        };
        Self::new(Layer::Authorization, reason, detail)
    }
}

/// A question whose entities are still to be loaded.
pub(crate) struct Prepared<'a> {
    terms: Terms<'a>,
    vocabulary: &'a Vocabulary,
    asker: &'a Kind,
    owned: &'a Kind,
    roles: Vec<EntityUid>,
    request: Request,
    pub(crate) principal: EntityUid,
    pub(crate) resource: EntityUid,
    /// What is stated of the principal and of the resource, as far as it counts.
    stated: (Facts, Facts),
}

/// Principal and resource, with what is stated and stored of them.
pub(crate) struct Merged {
    principal: Entity,
    /// Nothing where the resource is the principal.
    resource: Option<Entity>,
    /// Both are of forms that are known to fit the schema, and so are the roles that are not stored.
    conform: bool,
}

impl<'a> Question<'a> {
    pub(crate) fn terms(&self) -> Terms<'a> {
        let (context, named) = (self.context, self.principal);
        let own = if context.is_machine() { "Client" } else { "User" };
        Terms {
            tenant: context.tenant(),
            kind: named.map_or(own, |named| &named.kind),
            id: named.map_or(context.subject().as_str(), |named| &named.id),
            roles: named.map_or(context.roles(), |named| &named.roles),
            stated: named.map(|named| &named.attributes),
            job: context.job().filter(|_| named.is_none()).map(|job| &job.name),
            action: self.action,
            resource: self.resource,
            facts: self.facts,
        }
    }
}

impl<'a> Terms<'a> {
    /// Finds its words in the schema.
    pub(crate) fn prepare(self, vocabulary: &'a Vocabulary) -> Result<Prepared<'a>, Misfit> {
        let lenient = self.stated.is_some();
        let found = |name| vocabulary.kind_said(name).filter(|(known, _)| lenient || *known == name);
        if lenient {
            self.check_tenant()?;
        }
        let (local, asker) = found(self.kind).ok_or(Misfit::Unfit)?;
        let (_, owned) = found(&self.resource.kind).ok_or(Misfit::Unfit)?;
        let action = vocabulary.action(self.action).ok_or(Misfit::Unfit)?;
        // Only the pool's own types have roles of the pool.
        let mut roles = Vec::new();
        if ["User", "Client"].contains(&local) && !self.roles.is_empty() {
            let role = vocabulary.kind("Role").ok_or(Misfit::Unfit)?;
            roles.extend(self.roles.iter().map(|name| role.uid(name.as_str())));
        }
        let declared = |kind: &Kind, facts: &Facts| {
            let mut facts = facts.clone();
            facts.retain(|name, value| !lenient || (kind.declares(name) && !value.is_null()));
            facts
        };
        let empty = Facts::new();
        let mut stated =
            (declared(asker, self.stated.unwrap_or(&empty)), declared(owned, &self.resource.attributes));
        // A resource's tenant is a field of its own, and a principal's is not the asker's to state.
        for facts in [&mut stated.0, &mut stated.1] {
            facts.remove("tenant");
        }
        if stated.0.remove("subject").is_some_and(|said| said != self.id) {
            return Err(Misfit::Disagree("the properties name another subject"));
        }
        let (principal, resource) = (asker.uid(self.id), owned.uid(&self.resource.id));
        let request = self.request(vocabulary, &principal, action, &resource, lenient)?;
        Ok(Prepared { terms: self, vocabulary, asker, owned, roles, request, principal, resource, stated })
    }

    /// Whom and what it is about is the asker's own tenant's, whatever is stated.
    fn check_tenant(&self) -> Result<(), Misfit> {
        let own = Value::from(self.tenant.as_str());
        let said = [self.stated, Some(&self.resource.attributes)];
        let mut said = said.into_iter().flatten().filter_map(|facts| facts.get("tenant"));
        if self.resource.tenant != *self.tenant || said.any(|said| *said != own) {
            return Err(Misfit::Disagree("another tenant is named than the one that asks"));
        }
        Ok(())
    }

    fn request(
        &self,
        vocabulary: &Vocabulary,
        principal: &EntityUid,
        action: &EntityUid,
        resource: &EntityUid,
        lenient: bool,
    ) -> Result<Request, Misfit> {
        let mut facts = self.facts.clone();
        if lenient {
            let known = vocabulary.context_names(action);
            facts.retain(|name, value| known.contains(name.as_str()) && !value.is_null());
        }
        let schema = vocabulary.schema();
        let context = Context::from_json_value(Value::Object(facts), Some((schema, action)));
        let context = context.map_err(|_| Misfit::Unfit)?;
        let (principal, action, resource) = (principal.clone(), action.clone(), resource.clone());
        Request::new(principal, action, resource, context, Some(schema)).map_err(|_| Misfit::Unfit)
    }
}

impl Prepared<'_> {
    /// The entities it names.
    pub(crate) fn roots(&self) -> Vec<EntityUid> {
        let mut roots = vec![self.principal.clone(), self.resource.clone()];
        roots.extend(self.roles.iter().cloned());
        roots.extend(reference::of_context(&self.request));
        roots
    }

    /// Principal and resource, with what is stored of them.
    pub(crate) fn merge(&self, loaded: &Loaded) -> Result<Merged, Misfit> {
        let Self { terms, asker, owned, roles, principal, resource, stated, .. } = self;
        let mut given = Facts::new();
        let named = terms.stated.is_some();
        if !named || asker.declares("tenant") {
            given.insert("tenant".to_owned(), terms.tenant.as_str().into());
        }
        if !named || asker.declares("subject") {
            given.insert("subject".to_owned(), terms.id.into());
        }
        let job = terms.job.filter(|_| asker.declares(OF_JOB));
        if let Some(job) = job {
            given.insert(OF_JOB.to_owned(), job.as_str().into());
        }
        let stored_roles = roles.iter().filter_map(|role| loaded.get(role));
        let mut above: HashSet<EntityUid> = stored_roles.flat_map(|role| role.above()).collect();
        above.extend(roles.iter().cloned());
        let stored = loaded.get(principal).map(AsRef::as_ref);
        let who = self.entity(principal, stored, &stated.0, given, above)?;
        let own_tenant = terms.resource.tenant == *terms.tenant;
        let bare_roles = roles.iter().all(|role| !loaded.contains_key(role));
        let roles_fit = roles.is_empty() || (bare_roles && self.bare_role_fits());
        let mut conform = roles_fit
            && stated.0.is_empty()
            && stated.1.is_empty()
            && job.is_none()
            && (asker.asks || (stored.is_some() && roles.is_empty()));
        if resource == principal && stated.1.is_empty() && own_tenant {
            return Ok(Merged { principal: who, resource: None, conform });
        }
        let stored = loaded.get(resource).map(AsRef::as_ref);
        if stored.is_some() && !own_tenant {
            return Err(Misfit::Disagree("the resource is stored as another tenant's than is stated"));
        }
        let mut given = Facts::new();
        if !named || owned.declares("tenant") {
            given.insert("tenant".to_owned(), terms.resource.tenant.as_str().into());
        }
        if stored.is_some() && owned.declares("subject") {
            given.insert("subject".to_owned(), terms.resource.id.as_str().into());
        }
        conform &= stored.is_some() || owned.owned;
        let what = self.entity(resource, stored, &stated.1, given, HashSet::new())?;
        Ok(Merged { principal: who, resource: Some(what), conform })
    }

    fn bare_role_fits(&self) -> bool {
        self.vocabulary.kind("Role").is_some_and(|role| role.bare)
    }

    /// One entity: what is stored of it and what else is stated, and what the plane says of it.
    fn entity(
        &self,
        uid: &EntityUid,
        stored: Option<&Stored>,
        stated: &Facts,
        given: Facts,
        above: HashSet<EntityUid>,
    ) -> Result<Entity, Misfit> {
        if stated.is_empty() && !given.contains_key(OF_JOB) {
            return unstated(uid, stored, given, above);
        }
        let schema = self.vocabulary.schema();
        let kept = stored.map(|stored| stored.attrs.clone()).unwrap_or_default();
        let above = above.into_iter().chain(stored.into_iter().flat_map(Stored::above));
        let above: Vec<Uid> = above.map(|uid| Uid::from(&uid)).collect();
        let read = |facts: Facts| read(uid, facts, &above, schema).map_err(|_| Misfit::Unfit);
        let whole =
            |layers: [&Facts; 3]| layers.into_iter().flat_map(|facts| facts.clone()).collect::<Facts>();
        let entity = read(whole([stated, &kept, &given]))?;
        let both: Vec<&String> = stated.keys().filter(|name| kept.contains_key(*name)).collect();
        if !both.is_empty() {
            // Compared as Cedar reads them: a set has no order, and an address has several spellings.
            let as_stated = read(whole([&kept, stated, &given]))?;
            let value = |entity: &Entity, name: &str| AsRef::<ast::Entity>::as_ref(entity).get(name).cloned();
            if both.into_iter().any(|name| value(&entity, name) != value(&as_stated, name)) {
                return Err(Misfit::Disagree("an attribute is stated otherwise than it is stored"));
            }
        }
        Ok(entity)
    }

    /// The whole question.
    pub(crate) fn finish(self, merged: Merged, loaded: &Loaded) -> Result<(Request, Entities), Misfit> {
        let Merged { principal, resource, conform } = merged;
        let mut entities: Vec<Entity> = vec![principal];
        entities.extend(resource);
        let both: HashSet<EntityUid> = entities.iter().map(Entity::uid).collect();
        let others = loaded.iter().filter(|(uid, _)| !both.contains(uid));
        entities.extend(others.map(|(_, stored)| stored.entity.clone()));
        let bare = self.roles.iter().filter(|role| !loaded.contains_key(*role));
        entities.extend(bare.map(|role| Entity::new_no_attrs(role.clone(), HashSet::new())));
        // What is stored was checked when it was read, and says all that is above it.
        let entities = if conform {
            self.vocabulary.entities_flat(entities)
        } else {
            self.vocabulary.entities_checked(entities)
        };
        Ok((self.request, entities.ok_or(Misfit::Unfit)?))
    }
}

/// An entity of which nothing is stated: what is stored of it, or else what the plane says. Whether it fits the schema is
/// found out with all others.
fn unstated(
    uid: &EntityUid,
    stored: Option<&Stored>,
    given: Facts,
    above: HashSet<EntityUid>,
) -> Result<Entity, Misfit> {
    let Some(stored) = stored else {
        let given = given.into_iter().filter_map(|(name, value)| {
            Some((name, RestrictedExpression::new_string(value.as_str()?.to_owned())))
        });
        return Entity::new_with_tags(uid.clone(), given, above, []).map_err(|_| Misfit::Unfit);
    };
    let mut entity: ast::Entity = AsRef::<ast::Entity>::as_ref(&stored.entity).clone();
    above.into_iter().for_each(|uid| entity.add_parent(uid.into()));
    Ok(entity.into())
}

impl Merged {
    /// The entities that what is stated refers to, which are not loaded.
    pub(crate) fn wanted(&self, loaded: &Loaded) -> Vec<EntityUid> {
        let both = std::iter::once(&self.principal).chain(&self.resource);
        let mut wanted: HashSet<EntityUid> = both.flat_map(reference::of_entity).collect();
        wanted.retain(|uid| !loaded.contains_key(uid));
        wanted.into_iter().collect()
    }
}
