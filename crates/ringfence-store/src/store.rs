//! The seam between the plane and where its state is kept. What a store must do is defined by the conformance suite.

use std::{pin::Pin, sync::Arc};

use crate::{
    error::StoreError,
    record::{Change, Record, RecordKey, Revision, Scope},
};

/// What a store answers with, in a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Tells of commits that others may have made.
pub trait Listen: Send {
    /// Waits until there may be something new. It may say so without reason, and it may miss something: whoever waits
    /// looks for itself from time to time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: listen again.
    fn told(&mut self) -> Answer<'_, ()>;
}

/// Keeps records. Every commit is atomic and gets the next revision; revisions are dense and become visible in order.
pub trait Store: Send + Sync {
    /// The record of this key.
    fn get<'a>(&'a self, key: &'a RecordKey) -> Answer<'a, Option<Record>>;

    /// Records of one scope and kind by ascending id (in byte order), those after `after`, at most `limit`.
    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        kind: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Vec<Record>>;

    /// Makes all changes or none, durably, and says at which revision.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where a record is not as its change expects. After [`StoreError::Unavailable`] the
    /// commit may have happened: ask again.
    fn commit(&self, changes: Vec<Change>) -> Answer<'_, Revision>;

    /// Which records have changed after revision `after`, each with its latest change, by ascending revision. Whole
    /// revisions: about `limit` changes, and more where one revision has more, so that going on from the last revision
    /// returned misses nothing.
    fn changes(&self, after: Revision, limit: u32) -> Answer<'_, Vec<(Revision, RecordKey)>>;

    /// The latest revision.
    fn revision(&self) -> Answer<'_, Revision>;

    /// Whoever tells of others' commits as they are made, where the store has a way to.
    fn listen(&self) -> Answer<'_, Option<Box<dyn Listen>>>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn get<'a>(&'a self, key: &'a RecordKey) -> Answer<'a, Option<Record>> {
        (**self).get(key)
    }

    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        kind: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Vec<Record>> {
        (**self).list(scope, kind, after, limit)
    }

    fn commit(&self, changes: Vec<Change>) -> Answer<'_, Revision> {
        (**self).commit(changes)
    }

    fn changes(&self, after: Revision, limit: u32) -> Answer<'_, Vec<(Revision, RecordKey)>> {
        (**self).changes(after, limit)
    }

    fn revision(&self) -> Answer<'_, Revision> {
        (**self).revision()
    }

    fn listen(&self) -> Answer<'_, Option<Box<dyn Listen>>> {
        (**self).listen()
    }
}
