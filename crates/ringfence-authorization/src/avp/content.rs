//! A store's whole content in memory, as of one revision.
//!
//! A tenant's serving store is one as well: its schema, policies, templates and links are those of the document its
//! requests are decided by, and only what the document has no place for (names, descriptions, times) stands beside it.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ringfence_store::{Records, Revision, Scope, StoreError};
use serde::de::DeserializeOwned;

use crate::{
    StoreDocument, TemplateLink,
    avp::{
        account::Account,
        error::{AvpError, Outcome},
        fit::{self, PolicyScope},
        record::{
            Body, EntityIdentifier, Head, Meta, POLICY, PolicyRecord, SCHEMA, SOURCE, STORE, SchemaRecord,
            SourceRecord, TEMPLATE, TemplateRecord,
        },
        time::Moment,
    },
};

/// Records read at once.
const PAGE: u32 = 500;

/// How often a store is read again that changes while it is read.
const TRIES: usize = 5;

/// A store.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) account: Account,
    pub(crate) head: Head,
    /// Of the head's last change: the store's.
    pub(crate) revision: Revision,
    /// What the tenant's requests are decided by, if this is the serving store.
    pub(crate) serving: Option<Serving>,
    pub(crate) schema: Option<Schema>,
    pub(crate) policies: BTreeMap<String, Arc<Policy>>,
    pub(crate) templates: BTreeMap<String, Arc<Template>>,
    pub(crate) sources: BTreeMap<String, Arc<SourceRecord>>,
}

/// The document of a serving store.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) document: Arc<StoreDocument>,
    pub(crate) revision: Revision,
}

/// A schema.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    /// In Cedar's JSON form.
    pub(crate) json: String,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
}

/// A policy.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) meta: Meta,
    pub(crate) body: Body,
    /// What a static policy's scope names, once somebody has asked. A linked policy's changes with its template.
    scope: OnceLock<PolicyScope>,
}

impl Policy {
    pub(crate) fn new(meta: Meta, body: Body) -> Self {
        Self { meta, body, scope: OnceLock::new() }
    }

    /// What its scope names; `content` is the store it is in, and `id` its id there.
    ///
    /// # Errors
    /// Where it does not parse, which it did when it was written.
    pub(crate) fn scope(&self, content: &Content, id: &str) -> Outcome<PolicyScope> {
        if let Some(scope) = self.scope.get() {
            return Ok(scope.clone());
        }
        let scope = fit::scope(&fit::alone(content, id, &self.body)?, id)?;
        if matches!(self.body, Body::Static { .. }) {
            let _ = self.scope.set(scope.clone());
        }
        Ok(scope)
    }
}

/// A template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) meta: Meta,
    pub(crate) statement: String,
}

impl Content {
    /// Reads a store whose head was found.
    ///
    /// # Errors
    /// Where the state can't be read, or a record of it is not what it should be.
    pub(crate) async fn load(
        records: &Records,
        account: &Account,
        head: Head,
        revision: Revision,
        serving: Option<Serving>,
    ) -> Outcome<Self> {
        let (mut head, mut revision) = (head, revision);
        for _ in 0..TRIES {
            let content = Self::read(records, account, head, revision, serving.clone()).await?;
            let scope = account.scope();
            let again = records.get::<Head>(&scope, STORE, content.head.id.as_str()).await?;
            match again {
                Some(again) if again.revision == content.revision => return Ok(content),
                Some(again) => (head, revision) = (again.value, again.revision),
                None => return Err(AvpError::internal("a store was deleted while it was read")),
            }
        }
        Err(AvpError::Throttling(
            "The policy store changes faster than it can be read; try again.".to_owned(),
        ))
    }

    async fn read(
        records: &Records,
        account: &Account,
        head: Head,
        revision: Revision,
        serving: Option<Serving>,
    ) -> Outcome<Self> {
        if head.tenant.as_ref() != account.tenant() {
            return Err(AvpError::internal("a store's head says it is another account's"));
        }
        let scope = account.scope();
        let store = head.id.as_str();
        let schema = records.get::<SchemaRecord>(&scope, SCHEMA, store).await?.map(|found| found.value);
        let policies = items::<PolicyRecord>(records, &scope, POLICY, store).await?;
        let templates = items::<TemplateRecord>(records, &scope, TEMPLATE, store).await?;
        let sources = items::<SourceRecord>(records, &scope, SOURCE, store).await?;
        let mut content = Self {
            account: account.clone(),
            revision,
            serving: None,
            schema: None,
            policies: BTreeMap::new(),
            templates: BTreeMap::new(),
            sources: sources.into_iter().map(|(id, source)| (id, Arc::new(source))).collect(),
            head,
        };
        match serving {
            Some(serving) => content.serve(serving, schema, policies, templates)?,
            None => content.own(schema, policies, templates)?,
        }
        Ok(content)
    }

    fn own(
        &mut self,
        schema: Option<SchemaRecord>,
        policies: BTreeMap<String, PolicyRecord>,
        templates: BTreeMap<String, TemplateRecord>,
    ) -> Outcome<()> {
        let hollow = || AvpError::internal("a record of a store has no content");
        self.schema = match schema {
            Some(SchemaRecord { json, created, updated }) => {
                Some(Schema { json: json.ok_or_else(hollow)?, created, updated })
            }
            None => None,
        };
        for (id, PolicyRecord { meta, body }) in policies {
            self.policies.insert(id, Arc::new(Policy::new(meta, body.ok_or_else(hollow)?)));
        }
        for (id, TemplateRecord { meta, statement }) in templates {
            self.templates.insert(id, Arc::new(Template { meta, statement: statement.ok_or_else(hollow)? }));
        }
        Ok(())
    }

    fn serve(
        &mut self,
        serving: Serving,
        schema: Option<SchemaRecord>,
        mut policies: BTreeMap<String, PolicyRecord>,
        mut templates: BTreeMap<String, TemplateRecord>,
    ) -> Outcome<()> {
        let document = &serving.document;
        let since = Meta::since(self.head.created);
        let (created, updated) =
            schema.map_or((since.created, since.created), |kept| (kept.created, kept.updated));
        self.schema = Some(Schema { json: schema_json(&document.schema)?, created, updated });
        let mut policy = |id: &String, body| {
            let meta = policies.remove(id).map_or_else(|| since.clone(), |record| record.meta);
            (id.clone(), Arc::new(Policy::new(meta, body)))
        };
        for (id, statement) in &document.policies {
            let (id, policy) = policy(id, Body::Static { statement: statement.clone() });
            self.policies.insert(id, policy);
        }
        for (id, link) in &document.links {
            let (id, policy) = policy(id, linked(link)?);
            self.policies.insert(id, policy);
        }
        for (id, statement) in &document.templates {
            let meta = templates.remove(id).map_or_else(|| since.clone(), |record| record.meta);
            self.templates.insert(id.clone(), Arc::new(Template { meta, statement: statement.clone() }));
        }
        self.serving = Some(serving);
        Ok(())
    }

    /// The policy of this id, or of this `name/…`.
    pub(crate) fn policy(&self, id: &str) -> Option<(&String, &Arc<Policy>)> {
        if id.starts_with("name/") {
            return self.policies.iter().find(|(_, policy)| policy.meta.name.as_deref() == Some(id));
        }
        self.policies.get_key_value(id)
    }

    /// The template of this id, or of this `name/…`.
    pub(crate) fn template(&self, id: &str) -> Option<(&String, &Arc<Template>)> {
        if id.starts_with("name/") {
            return self.templates.iter().find(|(_, template)| template.meta.name.as_deref() == Some(id));
        }
        self.templates.get_key_value(id)
    }
}

async fn items<T: DeserializeOwned>(
    records: &Records,
    scope: &Scope,
    kind: ringfence_store::Kind,
    store: &str,
) -> Result<BTreeMap<String, T>, StoreError> {
    let prefix = format!("{store}/");
    let (mut after, mut all) = (prefix.clone(), BTreeMap::new());
    loop {
        let page = records.list::<T>(scope, kind, Some(&after), PAGE).await?;
        let whole = page.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        for (id, stored) in page {
            let Some(item) = id.strip_prefix(&prefix) else { return Ok(all) };
            all.insert(item.to_owned(), stored.value);
            after = id;
        }
        if !whole {
            return Ok(all);
        }
    }
}

/// Cedar's JSON form of a schema in Cedar's own syntax.
pub(crate) fn schema_json(source: &str) -> Outcome<String> {
    let unreadable = |what: String| AvpError::internal(format!("a serving store's schema: {what}"));
    let fragment = crate::text::schema_fragment(source).map_err(|error| unreadable(error.to_string()))?;
    fragment.to_json_string().map_err(|error| unreadable(error.to_string()))
}

fn linked(link: &TemplateLink) -> Outcome<Body> {
    let entity = |text: &Option<String>| -> Outcome<Option<EntityIdentifier>> {
        let Some(text) = text else { return Ok(None) };
        let uid =
            text.parse().map_err(|_| AvpError::internal("a link of a serving store names no entity"))?;
        Ok(Some(EntityIdentifier::from(&uid)))
    };
    Ok(Body::Linked {
        template: link.template.clone(),
        principal: entity(&link.principal)?,
        resource: entity(&link.resource)?,
    })
}
