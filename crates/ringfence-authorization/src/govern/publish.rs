//! A step that is under way: what it writes, all of it or nothing; and the one way to change a serving store.

use std::collections::{BTreeMap, HashSet};

use ringfence_context::{TenantId, UnixTime};
use ringfence_store::{Draft, Expect, Records, Revision, Scope, StoreError, chain::Link};
use serde::Serialize;

use super::{
    AuditEntry, Author, Cause, Change, ChangeReason, Proposal, Step, TEXTS_KEPT, Version,
    record::{self, AUDIT, HEAD, HEAD_ID, Head, TEXT, VERSION, numbered},
};
use crate::{
    Standing, StoreDocument,
    canary::Ended,
    gate::{Publishable, Review},
    stores::{Stores, StoresError},
};

/// What took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Its number.
    pub version: u64,
    /// What is known of it.
    #[serde(flatten)]
    pub standing: Standing,
    /// The revision of the state from which on it is enforced.
    pub revision: Revision,
}

/// A step of a tenant's history that is not committed yet.
pub(crate) struct Pending {
    pub(super) head: Head,
    expect: Expect,
    drafts: Vec<Draft>,
    /// Texts to be kept, and names of those to be dropped.
    texts: BTreeMap<String, Option<StoreDocument>>,
}

impl Pending {
    pub(crate) async fn begin(records: &Records, tenant: &TenantId) -> Result<Self, StoreError> {
        let (head, expect) = record::head(records, tenant).await?;
        Ok(Self { head, expect, drafts: Vec::new(), texts: BTreeMap::new() })
    }

    fn scope(&self) -> Scope {
        Scope::from(&self.head.tenant)
    }

    /// Adds a version, and says so in the audit.
    fn version(&mut self, version: &Version, document: &StoreDocument) -> Result<(), StoreError> {
        let Version { number, author, publisher, reason, at, cause, content, .. } = version;
        let draft = Draft::put(&self.scope(), VERSION, &numbered(*number), version)?;
        self.drafts.push(draft.expect(Expect::Absent));
        self.head.versions = *number;
        self.head.content.clone_from(content);
        self.text_keep(content, document);
        let step = Step::Published { version: *number, cause: *cause, content: content.clone() };
        let who = publisher.as_ref().unwrap_or(author).clone();
        self.step(who, step, Some(reason.clone()), UnixTime::from_micros(*at))
    }

    /// What serves and is not the latest version becomes one, so that nothing that ever served is missing.
    pub(super) fn found(&mut self, before: &StoreDocument, now: UnixTime) -> Result<(), StoreError> {
        let content = before.digest().hex();
        if self.head.versions > 0 && self.head.content == content {
            return Ok(());
        }
        let version = Version {
            number: self.next(),
            tenant: self.head.tenant.clone(),
            author: Author::Plane,
            reviewer: None,
            publisher: None,
            reason: ChangeReason::of_plane("it was serving, and no version said so"),
            at: now.micros(),
            cause: Cause::Found,
            standing: Standing::Unproved("it was found".to_owned()),
            content,
        };
        self.version(&version, before)
    }

    fn next(&self) -> u64 {
        self.head.versions.saturating_add(1)
    }

    /// Adds an audit entry.
    pub(super) fn step(
        &mut self,
        who: Author,
        step: Step,
        reason: Option<ChangeReason>,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let entry = AuditEntry {
            number: self.head.entries.saturating_add(1),
            tenant: self.head.tenant.clone(),
            at: now.micros(),
            who,
            step,
            reason,
            previous: self.head.last.clone(),
        };
        let draft = Draft::put(&self.scope(), AUDIT, &numbered(entry.number), &entry)?;
        self.drafts.push(draft.expect(Expect::Absent));
        self.head.entries = entry.number;
        self.head.last = entry.name();
        Ok(())
    }

    pub(super) fn text_keep(&mut self, content: &str, document: &StoreDocument) {
        self.texts.insert(content.to_owned(), Some(document.clone()));
    }

    pub(super) fn also(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    /// Drops the text of this name, if no version that keeps its text and no open proposal has it.
    pub(super) async fn text_drop(&mut self, records: &Records, content: &str) -> Result<(), StoreError> {
        if !self.in_use(records).await?.contains(content) {
            self.texts.entry(content.to_owned()).or_insert(None);
        }
        Ok(())
    }

    /// Drops the texts of versions that are too old to keep theirs, of those from `before` on.
    async fn expire(&mut self, records: &Records, before: u64) -> Result<(), StoreError> {
        let oldest = |latest: u64| latest.saturating_sub(TEXTS_KEPT);
        if oldest(self.head.versions) == 0 {
            return Ok(());
        }
        let in_use = self.in_use(records).await?;
        for number in oldest(before).max(1)..=oldest(self.head.versions) {
            let found = record::one::<Version>(records, &self.head.tenant, number).await?;
            if let Some(found) = found.filter(|found| !in_use.contains(&found.value.content)) {
                self.texts.entry(found.value.content).or_insert(None);
            }
        }
        Ok(())
    }

    async fn in_use(&self, records: &Records) -> Result<HashSet<String>, StoreError> {
        let tenant = &self.head.tenant;
        let from = self.head.versions.saturating_sub(TEXTS_KEPT);
        let most = u32::try_from(TEXTS_KEPT).unwrap_or(u32::MAX);
        let versions = record::several::<Version>(records, tenant, from, most).await?;
        let mut in_use: HashSet<String> = versions.into_iter().map(|version| version.content).collect();
        for number in &self.head.open {
            let found = record::one::<Proposal>(records, tenant, *number).await?;
            in_use.extend(found.map(|found| found.value.content));
        }
        in_use.extend(self.texts.iter().filter(|(_, text)| text.is_some()).map(|(name, _)| name.clone()));
        in_use.insert(self.head.content.clone());
        Ok(in_use)
    }

    /// Everything to be written.
    pub(super) fn drafts(self) -> Result<Vec<Draft>, StoreError> {
        let scope = self.scope();
        let Self { head, expect, mut drafts, texts } = self;
        for (content, text) in texts {
            drafts.push(match text {
                Some(document) => Draft::put(&scope, TEXT, &content, &document)?,
                None => Draft::delete(&scope, TEXT, &content),
            });
        }
        drafts.push(Draft::put(&scope, HEAD, HEAD_ID, &head)?.expect(expect));
        Ok(drafts)
    }
}

/// The records of a new tenant's first version, to be written with its store.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn first(publishable: &Publishable, change: Change, now: UnixTime) -> Result<Vec<Draft>, StoreError> {
    let document = publishable.document();
    let head = Head::new(document.tenant.clone());
    let mut pending = Pending { head, expect: Expect::Absent, drafts: Vec::new(), texts: BTreeMap::new() };
    pending.version(&Version::of(publishable, 1, change, now), document)?;
    pending.drafts()
}

impl Stores {
    /// Replaces the tenant's store if it is still at `revision`, as its next version. Enforced from the next question on.
    ///
    /// # Errors
    /// [`StoresError::Unreviewed`] where somebody else must have approved it; a conflict where the store has changed
    /// since.
    pub async fn document_put(
        &self,
        publishable: &Publishable,
        revision: Revision,
        change: Change,
    ) -> Result<Published, StoresError> {
        self.document_put_with(publishable, revision, change, Vec::new()).await
    }

    /// As [`Stores::document_put`], with other records in the same commit.
    ///
    /// # Errors
    /// As [`Stores::document_put`].
    pub async fn document_put_with(
        &self,
        publishable: &Publishable,
        revision: Revision,
        change: Change,
        also: Vec<Draft>,
    ) -> Result<Published, StoresError> {
        let pending = Pending::begin(&self.records, &publishable.document().tenant).await?;
        self.publish(publishable, revision, change, pending, also).await
    }

    /// The one way to change a serving store.
    pub(super) async fn publish(
        &self,
        publishable: &Publishable,
        revision: Revision,
        change: Change,
        mut pending: Pending,
        also: Vec<Draft>,
    ) -> Result<Published, StoresError> {
        let document = publishable.document();
        match (publishable.review(), &change.reviewer) {
            (_, Some(reviewer)) if *reviewer == change.author => return Err(StoresError::Unreviewed),
            (Review::Required, None) => return Err(StoresError::Unreviewed),
            (Review::None, _) | (Review::Required, Some(_)) => {}
        }
        let (before, at) = self.document(&document.tenant).await?;
        if at != revision {
            let kind = "policy_store".to_owned();
            return Err(StoreError::Conflict { kind }.into());
        }
        let (now, latest) = (self.clock.now(), pending.head.versions);
        pending.found(&before, now)?;
        let who = change.publisher.as_ref().unwrap_or(&change.author).clone();
        let version = Version::of(publishable, pending.next(), change, now);
        pending.version(&version, document)?;
        pending.expire(&self.records, latest).await?;
        // What decides for a share was begun on the version before.
        pending.share_end(&self.records, |_| true, who, Ended::BaseChanged, now).await?;
        let mut drafts = pending.drafts()?;
        drafts.extend(also);
        let revision = self.document_write(publishable, revision, drafts).await?;
        Ok(Published { version: version.number, standing: version.standing, revision })
    }
}
