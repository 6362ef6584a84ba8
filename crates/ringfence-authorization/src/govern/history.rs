//! Looking back, and going back: versions, their texts, the audit, and a roll-back to a version.

use ringfence_context::{TenantId, limits};
use ringfence_store::{
    Records, StoreError,
    chain::{self, End},
};
use serde::Deserialize;

use super::{
    AuditEntry, Author, Cause, Change, ChangeReason, GovernError, Governance, Proposal, Published, StoreEdit,
    Version, record,
};
use crate::{Standing, StoreDocument, gate::Terms};

/// One text of a tenant's store, by what somebody calls it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What serves.
    Serving,
    /// A version.
    Version(u64),
    /// A proposal.
    Proposal(u64),
    /// What serves, changed so.
    Edit(StoreEdit),
}

impl Governance {
    /// Changes what serves, at once.
    ///
    /// # Errors
    /// What is wrong with the result, or that it must be reviewed: then nothing changes.
    pub async fn change(
        &self,
        tenant: &TenantId,
        edit: impl FnOnce(&mut StoreDocument) -> Result<(), GovernError>,
        terms: Terms,
        change: Change,
    ) -> Result<Published, GovernError> {
        let (mut document, revision) = self.stores.document(tenant).await?;
        edit(&mut document)?;
        let publishable = self.gate.check(document, terms).await?;
        Ok(self.stores.document_put(&publishable, revision, change).await?)
    }

    /// Puts an earlier version's text into effect, as a new version. It passes the gate again.
    ///
    /// # Errors
    /// [`GovernError::NoVersion`], [`GovernError::TextGone`], or what is wrong with that text by now.
    pub async fn rollback(
        &self,
        tenant: &TenantId,
        to: u64,
        terms: Terms,
        author: Author,
        reason: ChangeReason,
    ) -> Result<Published, GovernError> {
        let (serving, revision) = self.stores.document(tenant).await?;
        let document = self.version_text(tenant, to).await?;
        if document == serving {
            return Err(GovernError::Same);
        }
        let publishable = self.gate.check(document, terms).await?;
        let change = Change { cause: Cause::Rollback(to), ..Change::now(author, reason) };
        Ok(self.stores.document_put(&publishable, revision, change).await?)
    }

    /// The latest version's number; zero where there is no history yet.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn version_latest(&self, tenant: &TenantId) -> Result<u64, GovernError> {
        Ok(record::head(&self.stores.records, tenant).await?.0.versions)
    }

    /// What is known of the text that serves, if it is the latest version's.
    ///
    /// # Errors
    /// What the state refuses; a record that is not what its place says.
    pub(crate) async fn serving_standing(
        records: &Records,
        document: &StoreDocument,
    ) -> Result<Option<Standing>, StoreError> {
        let (head, _) = record::head(records, &document.tenant).await?;
        if head.content != document.digest().hex() {
            return Ok(None);
        }
        let version = record::one::<Version>(records, &document.tenant, head.versions).await?;
        Ok(version.map(|version| version.value.standing))
    }

    /// Versions by ascending number, those after `after`.
    ///
    /// # Errors
    /// What the state refuses; a record that is not what its place says.
    pub async fn version_list(&self, tenant: &TenantId, after: u64) -> Result<Vec<Version>, GovernError> {
        self.stores.document(tenant).await?;
        Ok(record::several(&self.stores.records, tenant, after, limits::POLICY_PAGE).await?)
    }

    /// One version.
    ///
    /// # Errors
    /// [`GovernError::NoVersion`].
    pub async fn version_get(&self, tenant: &TenantId, number: u64) -> Result<Version, GovernError> {
        let found = record::one::<Version>(&self.stores.records, tenant, number).await?;
        Ok(found.ok_or(GovernError::NoVersion(number))?.value)
    }

    /// The text of a version.
    ///
    /// # Errors
    /// [`GovernError::NoVersion`], [`GovernError::TextGone`].
    pub async fn version_text(&self, tenant: &TenantId, number: u64) -> Result<StoreDocument, GovernError> {
        let version = self.version_get(tenant, number).await?;
        let text = record::text(&self.stores.records, tenant, &version.content).await?;
        text.ok_or(GovernError::TextGone(number))
    }

    /// One text of a tenant's store.
    ///
    /// # Errors
    /// As what it is asked for by.
    pub async fn side(&self, tenant: &TenantId, side: Side) -> Result<StoreDocument, GovernError> {
        match side {
            Side::Serving => Ok(self.stores.document(tenant).await?.0),
            Side::Version(number) => self.version_text(tenant, number).await,
            Side::Proposal(number) => {
                let Proposal { content, .. } = self.proposal_get(tenant, number).await?;
                let text = record::text(&self.stores.records, tenant, &content).await?;
                text.ok_or(GovernError::NoProposal(number))
            }
            Side::Edit(edit) => {
                let mut document = self.stores.document(tenant).await?.0;
                edit.apply(&mut document)?;
                Ok(document)
            }
        }
    }

    /// Audit entries by ascending number, those after `after`. Each is what the next, or the history, says it is.
    ///
    /// # Errors
    /// What the state refuses; [`ringfence_store::StoreError::Tampered`] where an entry is missing or was rewritten.
    pub async fn audit_list(&self, tenant: &TenantId, after: u64) -> Result<Vec<AuditEntry>, GovernError> {
        let records = &self.stores.records;
        self.stores.document(tenant).await?;
        let end = async {
            let (head, _) = record::head(records, tenant).await?;
            Ok(End { number: head.entries, name: head.last })
        };
        Ok(chain::list(records, tenant, after, limits::POLICY_PAGE, end).await?)
    }
}
