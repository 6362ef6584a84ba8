//! While a tenant's store is moved: every question is answered by what serves, and asked of the copy too.
//!
//! It guarantees that nobody is answered by the copy, and that the first difference is kept and ends the comparing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cedar_policy::Request;
use ringfence_context::{StoreAnswer, TenantId};
use ringfence_store::Revision;
use tokio::sync::Notify;

use crate::content::Content;

/// What has been compared on this node since it knows of a move.
#[derive(Debug, Default)]
pub struct Watch {
    asked: AtomicU64,
    different: AtomicU64,
    first: OnceLock<String>,
    changed: Notify,
}

/// A copy that is compared.
#[derive(Debug)]
pub(crate) struct Beside {
    content: Arc<Content>,
    watch: Arc<Watch>,
}

/// The moves this node knows of: by tenant, and by the revision of the row that says so.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<HashMap<TenantId, (Revision, Arc<Watch>)>>);

impl Beside {
    pub(crate) fn new(content: Arc<Content>, watch: Arc<Watch>) -> Self {
        Self { content, watch }
    }

    /// What the copy says.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// Compares what serves with the copy.
    pub(crate) fn compare(&self, serving: &StoreAnswer, copy: &StoreAnswer, request: &Request) {
        let said = |answer: &StoreAnswer| {
            let decision = if answer.allow { "allow" } else { "deny" };
            format!("{decision} by {:?} with {} errors", answer.determining, answer.errors.len())
        };
        let alike = serving.allow == copy.allow
            && serving.determining == copy.determining
            && serving.errors == copy.errors;
        if alike {
            self.watch.asked.fetch_add(1, Ordering::AcqRel);
            self.watch.changed.notify_one();
        } else {
            self.watch.differs(|| format!("{request}: {}, and the copy {}", said(serving), said(copy)));
        }
    }
}

impl Watch {
    /// How many questions were asked of both.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// How many of them were answered differently.
    pub fn different(&self) -> u64 {
        self.different.load(Ordering::Acquire)
    }

    /// The first difference.
    pub fn first(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }

    /// Waits until so many questions were asked of both, or one was answered differently.
    pub async fn enough(&self, questions: u64) {
        while self.asked() < questions && self.different() == 0 {
            self.changed.notified().await;
        }
    }

    pub(crate) fn differs(&self, how: impl FnOnce() -> String) {
        self.first.get_or_init(how);
        self.asked.fetch_add(1, Ordering::AcqRel);
        self.different.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
    }
}

impl Watches {
    /// The watch of the move that the row of this revision says.
    pub(crate) fn of(&self, tenant: &TenantId, row: Revision) -> Arc<Watch> {
        let mut known = self.known();
        match known.get(tenant) {
            Some((of, watch)) if *of == row => Arc::clone(watch),
            _ => {
                let watch = Arc::new(Watch::default());
                known.insert(tenant.clone(), (row, Arc::clone(&watch)));
                watch
            }
        }
    }

    /// The watch of a tenant's move, if this node knows of one.
    pub(crate) fn get(&self, tenant: &TenantId) -> Option<Arc<Watch>> {
        self.known().get(tenant).map(|(_, watch)| Arc::clone(watch))
    }

    /// The tenant's store is not being moved, as of this revision of its row.
    pub(crate) fn end(&self, tenant: &TenantId, row: Revision) {
        let mut known = self.known();
        if known.get(tenant).is_some_and(|(of, _)| *of <= row) {
            known.remove(tenant);
        }
    }

    /// Tenants whose copies have answered differently here.
    pub(crate) fn different(&self) -> Vec<TenantId> {
        let known = self.known();
        let different = known.iter().filter(|(_, (_, watch))| watch.different() > 0);
        different.map(|(tenant, _)| tenant.clone()).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TenantId, (Revision, Arc<Watch>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
