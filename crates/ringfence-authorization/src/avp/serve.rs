//! From another store of a tenant to what decides its requests: proved, and published through the one gate.
//!
//! It guarantees that a store's content takes effect in no other way than every change of policies does: as a
//! [`Publishable`](crate::Publishable), as the tenant's next version with an author and a reason, and where the tier
//! demands a review, as a proposal. What is published is what was read: a store that has changed since is not.

use std::sync::Arc;

use cedar_policy::SchemaFragment;
use ringfence_context::{TenantId, id::StoreId};
use ringfence_store::{Draft, Expect, Revision, StoreError};

use crate::{
    Review, Standing, StoreDocument, StoresError, TemplateLink, Terms,
    avp::{
        Avp,
        account::Account,
        content::{Content, schema_json},
        decide::Deciding,
        edit::{head_put, text},
        error::AvpError,
        record::{Body, Head, ProofMark, STORE},
        schema::declares,
        standing::StoreOverview,
    },
    govern::{Author, Change, ChangeReason, GovernError, Governance, Proposal, Published, ReasonFault},
};

/// Stores listed at once.
const LISTED: u32 = 100;

/// Why a store is not listed, proved or published.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The tenant has none of this id, whoever else may.
    #[error("the tenant has no such policy store")]
    Missing,
    /// It is what serves.
    #[error("this policy store decides the tenant's requests already")]
    Serves,
    /// It says nothing that could serve.
    #[error("the policy store has no schema: put one that declares what requests are about")]
    NoSchema,
    /// Somebody has changed it since.
    #[error(
        "the policy store has changed since it was looked at: look at it again (`ringfence policy stores`)"
    )]
    Changed,
    /// Its reason, with the store's id, is not one line of what a reason may have.
    #[error(transparent)]
    Reason(#[from] ReasonFault),
    /// The service could not read it.
    #[error("{}", .0.body().get("message").and_then(|told| told.as_str()).unwrap_or("the policy store can't be read"))]
    Service(AvpError),
    /// It does not take effect.
    #[error(transparent)]
    Govern(#[from] GovernError),
}

impl From<AvpError> for ServeError {
    fn from(error: AvpError) -> Self {
        Self::Service(error)
    }
}

impl From<StoresError> for ServeError {
    fn from(error: StoresError) -> Self {
        Self::Govern(error.into())
    }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Changed,
            error => Self::Govern(error.into()),
        }
    }
}

/// What became of a store that was to serve.
#[derive(Debug)]
pub enum Took {
    /// It decides the tenant's requests from now on.
    Effect(Published),
    /// Another operator has to approve it first.
    Proposed(Box<Proposal>),
}

/// A store as it was read, and what would serve of it.
#[derive(Debug)]
pub struct Candidate {
    read: Arc<Deciding>,
    document: StoreDocument,
    /// Of what serves now.
    serving: Revision,
}

impl Avp {
    /// A tenant's stores by ascending id, those after `after`: 100 at most.
    ///
    /// # Errors
    /// [`ServeError::Service`].
    pub async fn overviews(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
    ) -> Result<Vec<StoreOverview>, ServeError> {
        let (account, now) = (Account::Tenant(tenant.clone()), self.clock.now());
        self.serving_store(&account, now).await?.ok_or(ServeError::Missing)?;
        let heads = self.records.list::<Head>(&account.scope(), STORE, after, LISTED).await?;
        let mut all = Vec::with_capacity(heads.len());
        for (_, head) in heads {
            // One that was deleted meanwhile is not listed.
            if let Some(deciding) = self.store_in(&account, &head.value.id, now).await? {
                all.push(self.overview(&deciding).await?);
            }
        }
        Ok(all)
    }

    /// Reads another store of a tenant, to be proved or published. With `content`, it must say just that.
    ///
    /// # Errors
    /// [`ServeError::Missing`]: another tenant's and nobody's alike. [`ServeError::Serves`], [`ServeError::NoSchema`],
    /// [`ServeError::Changed`].
    pub async fn candidate(
        &self,
        tenant: &TenantId,
        store: &str,
        content: Option<&str>,
    ) -> Result<Candidate, ServeError> {
        let id = StoreId::new(store).map_err(|_| ServeError::Missing)?;
        let account = Account::Tenant(tenant.clone());
        let read = self.store_in(&account, &id, self.clock.now()).await?.ok_or(ServeError::Missing)?;
        if read.content.serving.is_some() {
            return Err(ServeError::Serves);
        }
        if content.is_some_and(|content| content != read.content.digest().hex()) {
            return Err(ServeError::Changed);
        }
        let (document, serving) = self.stores.document(tenant).await?;
        let document = document_of(&read.content, document)?;
        Ok(Candidate { read, document, serving })
    }

    /// Proves a store, and marks it so while it says what it says now.
    ///
    /// # Errors
    /// What the gate says: a counterexample, or what is not valid. [`ServeError::Changed`] where it has changed since.
    pub async fn prove(&self, candidate: Candidate, terms: Terms) -> Result<StoreOverview, ServeError> {
        let Candidate { read, document, .. } = candidate;
        let publishable = self.gate.check(document, terms).await?;
        let Content { account, head, .. } = &*read.content;
        if let Some(mark) = marked(&read.content, publishable.standing())? {
            self.records.commit(vec![mark]).await?;
            self.forget(account, &head.id);
        }
        let again = self.store_in(account, &head.id, self.clock.now()).await?;
        self.overview(&again.ok_or(ServeError::Missing)?).await.map_err(ServeError::from)
    }

    /// Puts a store's content into effect as the tenant's next version; where the tier demands a review, proposes it.
    ///
    /// # Errors
    /// What the gate says; [`ServeError::Changed`] where the store, or what serves, has changed since.
    pub async fn publish(
        &self,
        candidate: Candidate,
        terms: Terms,
        author: Author,
        reason: &ChangeReason,
    ) -> Result<Took, ServeError> {
        let Candidate { read, document, serving } = candidate;
        let id = &read.content.head.id;
        let reason = ChangeReason::new(&format!("{reason} (policy store {id})"))?;
        if terms.review == Review::Required {
            let governance = Governance::new(Arc::clone(&self.stores), Arc::clone(&self.gate));
            let proposal = governance.propose_text(document, terms, author, reason).await?;
            return Ok(Took::Proposed(Box::new(proposal)));
        }
        if document == self.stores.document(&document.tenant).await?.0 {
            return Err(GovernError::Same.into());
        }
        let publishable = self.gate.check(document, terms).await?;
        // In the commit that publishes, the store it came from is still what was read.
        let mark = match marked(&read.content, publishable.standing())? {
            Some(mark) => mark,
            None => still(&read.content, read.content.head.clone())?,
        };
        let change = Change::now(author, reason);
        let published = self.stores.document_put_with(&publishable, serving, change, vec![mark]).await;
        self.forget(&read.content.account, id);
        match published {
            Err(StoresError::Store(StoreError::Conflict { .. })) => Err(ServeError::Changed),
            published => Ok(Took::Effect(published?)),
        }
    }
}

/// The head with the mark, if it was proved.
fn marked(content: &Content, standing: &Standing) -> Result<Option<Draft>, StoreError> {
    let Standing::Proved(solver) = standing else { return Ok(None) };
    let mark = ProofMark { content: content.digest().hex(), solver: solver.clone() };
    still(content, Head { proved: Some(mark), ..content.head.clone() }).map(Some)
}

/// A head that is written where the store is as it was read.
fn still(content: &Content, head: Head) -> Result<Draft, StoreError> {
    Ok(head_put(&content.account.scope(), &head)?.expect(Expect::Revision(content.revision)))
}

/// What would serve: all the store says, as the tenant's. Names, descriptions and identity sources are not a part of it.
fn document_of(content: &Content, serving: StoreDocument) -> Result<StoreDocument, ServeError> {
    let json = &content.schema.as_ref().ok_or(ServeError::NoSchema)?.json;
    declares(&serving.namespace, json)?;
    let mut document = StoreDocument {
        schema: schema_text(json, serving.schema)?,
        policies: <_>::default(),
        templates: <_>::default(),
        links: <_>::default(),
        ..serving
    };
    for (id, template) in &content.templates {
        document.templates.insert(id.clone(), template.statement.clone());
    }
    for (id, policy) in &content.policies {
        match &policy.body {
            Body::Static { statement } => {
                document.policies.insert(id.clone(), statement.clone());
            }
            Body::Linked { template, principal, resource } => {
                let (principal, resource) = (text(principal.as_ref()), text(resource.as_ref()));
                let link = TemplateLink { template: template.clone(), principal, resource };
                document.links.insert(id.clone(), link);
            }
        }
    }
    Ok(document)
}

/// The schema in Cedar's own syntax: the text that serves, where both say the same.
fn schema_text(json: &str, serving: String) -> Result<String, ServeError> {
    let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
    if read(json)
        .is_some_and(|schema| schema_json(&serving).ok().and_then(|json| read(&json)) == Some(schema))
    {
        return Ok(serving);
    }
    let unreadable = |error: &dyn std::fmt::Display| AvpError::internal(format!("a stored schema: {error}"));
    let fragment = SchemaFragment::from_json_str(json).map_err(|error| unreadable(&error))?;
    Ok(fragment.to_cedarschema().map_err(|error| unreadable(&error))?)
}
