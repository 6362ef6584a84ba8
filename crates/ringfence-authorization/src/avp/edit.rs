//! A change of one store: the content as it will be, and the records that make it so. All of them are written, or none.

use std::{collections::BTreeMap, sync::Arc};

use ringfence_context::UnixTime;
use ringfence_store::{Draft, Expect, Kind, Revision, Scope, StoreError};
use serde::Serialize;

use crate::{
    StoreDocument, TemplateLink,
    avp::{
        content::{Content, Policy, Schema, Serving, Template},
        error::Outcome,
        record::{
            Body, EntityIdentifier, Head, POLICY, PolicyRecord, SCHEMA, SOURCE, STORE, SchemaRecord,
            SourceRecord, TEMPLATE, TemplateRecord,
        },
        time::Moment,
    },
};

/// A change that is not committed yet.
pub(crate) struct Edit {
    /// The store as it will be.
    pub(crate) next: Content,
    drafts: BTreeMap<(KindName, String), Draft>,
    also: Vec<Draft>,
    /// The serving store's document as it will be, where it changes.
    document: Option<StoreDocument>,
}

/// Everything an edit writes.
pub(crate) struct EditParts {
    /// The store as it will be, still at the revision it was read at.
    pub(crate) next: Content,
    pub(crate) drafts: Vec<Draft>,
    /// The serving store's document, if it changes, with its revision before.
    pub(crate) document: Option<(StoreDocument, Revision)>,
}

/// A kind, in an order: the last change of one record is the one that is written.
type KindName = &'static str;

impl Edit {
    /// A change of this store.
    pub(crate) fn of(content: &Content, now: UnixTime) -> Self {
        let mut next = content.clone();
        next.head.updated = Moment(now);
        Self { next, drafts: BTreeMap::new(), also: Vec::new(), document: None }
    }

    /// Writes a policy.
    pub(crate) fn policy_put(&mut self, id: &str, policy: Policy) -> Outcome<()> {
        let body = if let Some(document) = self.document() {
            match &policy.body {
                Body::Static { statement } => {
                    document.policies.insert(id.to_owned(), statement.clone());
                }
                Body::Linked { template, principal, resource } => {
                    let (principal, resource) = (text(principal.as_ref()), text(resource.as_ref()));
                    let link = TemplateLink { template: template.clone(), principal, resource };
                    document.links.insert(id.to_owned(), link);
                }
            }
            None
        } else {
            Some(policy.body.clone())
        };
        self.put(POLICY, id, &PolicyRecord { meta: policy.meta.clone(), body })?;
        self.next.policies.insert(id.to_owned(), Arc::new(policy));
        Ok(())
    }

    /// Deletes a policy.
    pub(crate) fn policy_delete(&mut self, id: &str) {
        if let Some(document) = self.document() {
            document.policies.remove(id);
            document.links.remove(id);
        }
        self.delete(POLICY, id);
        self.next.policies.remove(id);
    }

    /// Writes a template.
    pub(crate) fn template_put(&mut self, id: &str, template: Template) -> Outcome<()> {
        let statement = if let Some(document) = self.document() {
            document.templates.insert(id.to_owned(), template.statement.clone());
            None
        } else {
            Some(template.statement.clone())
        };
        self.put(TEMPLATE, id, &TemplateRecord { meta: template.meta.clone(), statement })?;
        self.next.templates.insert(id.to_owned(), Arc::new(template));
        Ok(())
    }

    /// Deletes a template, and the policies linked to it.
    pub(crate) fn template_delete(&mut self, id: &str) {
        let linked =
            |policy: &Policy| matches!(&policy.body, Body::Linked { template, .. } if template == id);
        let linked: Vec<String> = self
            .next
            .policies
            .iter()
            .filter(|(_, policy)| linked(policy))
            .map(|(id, _)| id.clone())
            .collect();
        for policy in linked {
            self.policy_delete(&policy);
        }
        if let Some(document) = self.document() {
            document.templates.remove(id);
        }
        self.delete(TEMPLATE, id);
        self.next.templates.remove(id);
    }

    /// Writes the schema; `cedar` is the same in Cedar's own syntax.
    pub(crate) fn schema_put(&mut self, schema: Schema, cedar: String) -> Outcome<()> {
        let json = if let Some(document) = self.document() {
            document.schema = cedar;
            None
        } else {
            Some(schema.json.clone())
        };
        let record = SchemaRecord { json, created: schema.created, updated: schema.updated };
        let (scope, id) = (self.next.account.scope(), self.next.head.id.to_string());
        self.drafts.insert((SCHEMA.as_str(), id.clone()), Draft::put(&scope, SCHEMA, &id, &record)?);
        self.next.schema = Some(schema);
        Ok(())
    }

    /// Takes the schema away. A serving store keeps its own: see the caller.
    pub(crate) fn schema_delete(&mut self) {
        let (scope, id) = (self.next.account.scope(), self.next.head.id.to_string());
        self.drafts.insert((SCHEMA.as_str(), id.clone()), Draft::delete(&scope, SCHEMA, &id));
        self.next.schema = None;
    }

    /// Writes an identity source.
    pub(crate) fn source_put(&mut self, id: &str, source: SourceRecord) -> Outcome<()> {
        self.put(SOURCE, id, &source)?;
        self.next.sources.insert(id.to_owned(), Arc::new(source));
        Ok(())
    }

    /// Deletes an identity source.
    pub(crate) fn source_delete(&mut self, id: &str) {
        self.delete(SOURCE, id);
        self.next.sources.remove(id);
    }

    /// The head, to be changed.
    pub(crate) fn head(&mut self) -> &mut Head {
        &mut self.next.head
    }

    /// Writes these in the same commit.
    pub(crate) fn also(&mut self, drafts: Vec<Draft>) {
        self.also.extend(drafts);
    }

    /// Everything to be written.
    pub(crate) fn parts(self) -> Result<EditParts, StoreError> {
        let Self { mut next, drafts, also, document, .. } = self;
        let scope = next.account.scope();
        let head = head_put(&scope, &next.head)?.expect(Expect::Revision(next.revision));
        let mut all = vec![head];
        all.extend(drafts.into_values());
        all.extend(also);
        let before = next.serving.as_ref().map(|serving| serving.revision);
        let document = document.zip(before);
        if let (Some((document, revision)), Some(serving)) = (&document, &mut next.serving) {
            *serving = Serving { document: Arc::new(document.clone()), revision: *revision };
        }
        Ok(EditParts { next, drafts: all, document })
    }

    /// The serving store's document, if this is one: from here on it changes.
    fn document(&mut self) -> Option<&mut StoreDocument> {
        let serving = self.next.serving.as_ref()?;
        Some(self.document.get_or_insert_with(|| serving.document.as_ref().clone()))
    }

    fn put<T: Serialize>(&mut self, kind: Kind, item: &str, value: &T) -> Outcome<()> {
        let id = format!("{}/{item}", self.next.head.id);
        let draft = Draft::put(&self.next.account.scope(), kind, &id, value)?;
        self.drafts.insert((kind.as_str(), id), draft);
        Ok(())
    }

    fn delete(&mut self, kind: Kind, item: &str) {
        let id = format!("{}/{item}", self.next.head.id);
        let draft = Draft::delete(&self.next.account.scope(), kind, &id);
        self.drafts.insert((kind.as_str(), id), draft);
    }
}

/// The record of a store's head.
pub(crate) fn head_put(scope: &Scope, head: &Head) -> Result<Draft, StoreError> {
    Draft::put(scope, STORE, head.id.as_str(), head)
}

/// Every record of a store, to be deleted with it.
pub(crate) fn deletions(content: &Content) -> Vec<Draft> {
    let (scope, store) = (content.account.scope(), content.head.id.as_str());
    let item = |kind, id: &String| Draft::delete(&scope, kind, &format!("{store}/{id}"));
    let mut drafts = vec![Draft::delete(&scope, SCHEMA, store)];
    drafts.extend(content.policies.keys().map(|id| item(POLICY, id)));
    drafts.extend(content.templates.keys().map(|id| item(TEMPLATE, id)));
    drafts.extend(content.sources.keys().map(|id| item(SOURCE, id)));
    drafts
}

/// An entity as a document's links name it.
pub(crate) fn text(entity: Option<&EntityIdentifier>) -> Option<String> {
    entity.and_then(EntityIdentifier::uid).map(|uid| uid.to_string())
}
