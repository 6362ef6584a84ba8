//! What a store says, apart from whose it is: parsed once and shared by every tenant whose store says the same. What a tenant
//! of a shared store says beside it lies upon the shared store's content, which all of them have in common.
//!
//! It guarantees that what is shared is equal: things are found by the SHA-256 of the whole text they were made from,
//! each part preceded by its length. Nothing of a tenant is in a content, so none can reach another through it.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use cedar_policy::{Entities, EntityUid, Policy, PolicySet, Request, Response};
use ringfence_context::{key::sha256, tally::Hits};

use crate::{
    compile::{PolicyFault, Source},
    document::Text,
    shared::{SharedStore, TenantSlice},
    slice::{Slice, SlicedPolicies},
    vocabulary::Vocabulary,
};

/// Names a text by what it says.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// Of these parts, in this order.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut text = Vec::new();
        for part in parts {
            text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            text.extend_from_slice(part);
        }
        Self(sha256(&text))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// One that was told in hexadecimal.
    pub(crate) fn read(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// In hexadecimal.
    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

/// Schema and policies of a store, ready to answer.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) policies: SlicedPolicies,
    /// What its policies lie upon: a shared store's.
    pub(crate) base: Option<Arc<Self>>,
    pub(crate) names_resources: bool,
    /// Whether its policies read no further than stored entities are followed; found out where a tenant stores any.
    pub(crate) within_reach: OnceLock<bool>,
    /// How much memory it takes, in bytes, as if nothing of it were shared: an estimate, see [`weigh`].
    pub(crate) weight: u64,
}

/// What has to be evaluated of a content for one request.
#[derive(Debug)]
pub(crate) struct ContentSlice {
    own: Slice,
    base: Option<Slice>,
}

impl ContentSlice {
    /// How many expressions, at most.
    pub(crate) fn steps(&self) -> u64 {
        self.own.steps.saturating_add(self.base.as_ref().map_or(0, |base| base.steps))
    }
}

impl Content {
    /// Answers as Cedar does for all of its policies: those of the shared store, if there is one, and its own.
    pub(crate) fn is_authorized(&self, request: &Request, entities: &Entities) -> Response {
        self.is_authorized_by(&self.slice(request, entities), request, entities)
    }

    /// What has to be evaluated for a request.
    pub(crate) fn slice(&self, request: &Request, entities: &Entities) -> ContentSlice {
        let base = self.base.as_ref().map(|base| base.policies.slice(request, entities));
        ContentSlice { own: self.policies.slice(request, entities), base }
    }

    /// As [`Content::is_authorized`], with the slice of this very request.
    pub(crate) fn is_authorized_by(
        &self,
        slice: &ContentSlice,
        request: &Request,
        entities: &Entities,
    ) -> Response {
        let own = (&self.policies, &slice.own);
        match (&self.base, &slice.base) {
            (Some(base), Some(of_base)) => {
                SlicedPolicies::is_authorized_by(&[(&base.policies, of_base), own], request, entities)
            }
            _ => SlicedPolicies::is_authorized_by(&[own], request, entities),
        }
    }

    /// Whether every policy reads only what `rounds` rounds of references reach. What a policy does not find it takes for
    /// absent, so a `forbid` that reads further would not forbid.
    pub(crate) fn within_reach(&self, rounds: u32) -> bool {
        *self.within_reach.get_or_init(|| {
            let by_itself = |policy: &Arc<Policy>| match policy.template_id() {
                None => Some(policy.as_ref().clone()),
                Some(_) => Policy::from_json(Some(policy.id().clone()), policy.to_json().ok()?).ok(),
            };
            let policies: Option<Vec<Policy>> = self.policies.shared().map(by_itself).collect();
            let set = policies.and_then(|policies| PolicySet::from_policies(policies).ok());
            set.is_some_and(|set| !self.vocabulary.reaches_beyond(&set, rounds))
                && self.base.as_ref().is_none_or(|base| base.within_reach(rounds))
        })
    }
}

/// The contents in memory. Least used ones go when there are more than the budget; parts of contents live as long as a
/// content that has them.
#[derive(Debug)]
pub(crate) struct Contents {
    whole: quick_cache::sync::Cache<Digest, Arc<Content>, Weight>,
    vocabularies: Shared<Vocabulary>,
    policies: Shared<Policy>,
}

#[derive(Debug, Clone)]
struct Weight;

impl quick_cache::Weighter<Digest, Arc<Content>> for Weight {
    fn weight(&self, _: &Digest, content: &Arc<Content>) -> u64 {
        content.weight
    }
}

impl Contents {
    /// At most `budget` bytes of them.
    pub(crate) fn new(budget: u64) -> Self {
        let expected = usize::try_from(budget / weigh(20, 4096)).unwrap_or(usize::MAX).max(16);
        Self {
            whole: quick_cache::sync::Cache::with_weighter(expected, budget, Weight),
            vocabularies: Shared::default(),
            policies: Shared::default(),
        }
    }

    /// How often what a store says was in memory.
    pub(crate) fn hits(&self) -> Hits {
        Hits { found: self.whole.hits(), missed: self.whole.misses() }
    }

    /// A content that is in memory.
    pub(crate) fn held(&self, digest: &Digest) -> Option<Arc<Content>> {
        self.whole.get(digest)
    }

    /// What a text says, parsed and strictly validated now if it is not in memory; by one caller, while others wait.
    pub(crate) fn compile(&self, text: Text<'_>) -> Result<(Digest, Arc<Content>), PolicyFault> {
        self.made(text.digest(), || Source::new(text).compile(self, None))
    }

    /// The same of a shared store with what a tenant has beside it. Costs what the tenant has, once the shared store is in
    /// memory.
    pub(crate) fn compile_slice(
        &self,
        base: &SharedStore,
        slice: &TenantSlice,
    ) -> Result<(Digest, Arc<Content>), PolicyFault> {
        let shared = self.compile(base.text())?;
        if slice.is_empty() {
            return Ok(shared);
        }
        slice.check_names(base)?;
        let upon = Some((shared.1, &base.templates));
        self.made(slice.digest(), || Source::new(slice.text(base)).compile(self, upon))
    }

    fn made(
        &self,
        digest: Digest,
        make: impl FnOnce() -> Result<Content, PolicyFault>,
    ) -> Result<(Digest, Arc<Content>), PolicyFault> {
        let content = self.whole.get_or_insert_with(&digest, || make().map(Arc::new))?;
        // Who waited for another gets what it made, which may be before the other has put it where it is found.
        if self.whole.get(&digest).is_none() {
            self.whole.insert(digest, Arc::clone(&content));
        }
        Ok((digest, content))
    }

    /// The vocabulary of a schema.
    pub(crate) fn vocabulary(&self, namespace: &str, schema: &str) -> Result<Arc<Vocabulary>, PolicyFault> {
        let digest = Vocabulary::digest_of(namespace, schema);
        if let Some(found) = self.vocabularies.get(&digest) {
            return Ok(found);
        }
        let made = Vocabulary::new(namespace, schema).map_err(PolicyFault::schema)?;
        Ok(self.vocabularies.put(digest, Arc::new(made)))
    }

    /// Policies that have been parsed and found to fit the schema their digest names.
    pub(crate) fn policies(&self) -> &Shared<Policy> {
        &self.policies
    }
}

/// What is in use, by digest. Holds nothing in use itself.
#[derive(Debug)]
pub(crate) struct Shared<T>(Mutex<Held<T>>);

#[derive(Debug)]
struct Held<T> {
    known: HashMap<Digest, Weak<T>>,
    /// How many make a sweep worth its while.
    sweep_at: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::new(Held { known: HashMap::new(), sweep_at: 64 }))
    }
}

impl<T> Shared<T> {
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(digest)?.upgrade()
    }

    /// Shares what was just made; if somebody was faster, theirs.
    pub(crate) fn put(&self, digest: Digest, made: Arc<T>) -> Arc<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.known.get(&digest).and_then(Weak::upgrade) {
            return found;
        }
        held.known.insert(digest, Arc::downgrade(&made));
        if held.known.len() >= held.sweep_at {
            held.known.retain(|_, weak| weak.strong_count() > 0);
            held.sweep_at = (held.known.len() * 2).max(64);
        }
        made
    }
}

/// An upper estimate of a content's memory: for twenty policies and a schema about half as much again as the bench
/// measures (`cargo bench -p ringfence-authorization`, "alone").
pub(crate) fn weigh(policies: usize, text: usize) -> u64 {
    u64::try_from(policies.saturating_mul(2048).saturating_add(text.saturating_mul(25))).unwrap_or(u64::MAX)
}

/// Entities of these types say who asks and what for, never which resource.
pub(crate) fn names_resources<'a>(text: Text<'_>, policies: impl IntoIterator<Item = &'a Policy>) -> bool {
    let kinds = ["User", "Client", "Role", "Action"].map(|name| format!("{}::{name}", text.namespace));
    let asker = |uid: &EntityUid| kinds.contains(&uid.type_name().to_string());
    // The entity in a link's slot is not among the linked policy's literals.
    text.links.values().any(|link| link.resource.is_some())
        || policies.into_iter().any(|policy| policy.entity_literals().iter().any(|uid| !asker(uid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StoreDocument, TemplateLink, tests::document};

    #[test]
    fn what_says_the_same_is_held_once_and_what_differs_shares_its_parts() {
        let contents = Contents::new(1 << 30);
        let (one, two) = (document("acme"), document("globex"));
        let (digest, acme) = contents.compile(one.text()).unwrap();
        let (same, globex) = contents.compile(two.text()).unwrap();
        assert!(digest == same && Arc::ptr_eq(&acme, &globex), "whose it is, is not part of what it says");
        let mut own = document("initech");
        own.policies.insert("own".to_owned(), "permit (principal, action, resource);".to_owned());
        let (other, initech) = contents.compile(own.text()).unwrap();
        assert!(other != digest && Arc::ptr_eq(&acme.vocabulary, &initech.vocabulary));
        assert_eq!(initech.policies.len(), acme.policies.len() + 1);
        let shared = |policy: &Arc<Policy>| initech.policies.shared().any(|p| Arc::ptr_eq(p, policy));
        assert!(acme.policies.shared().all(shared));
    }

    #[test]
    fn what_was_compiled_is_held_for_all_who_waited_for_it() {
        for round in 0..200 {
            let contents = Contents::new(1 << 30);
            let mut document = document("acme");
            document.schema.push_str(&"\n".repeat(round));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let (digest, _) = contents.compile(document.text()).unwrap();
                        assert!(contents.held(&digest).is_some());
                    });
                }
            });
        }
    }

    #[test]
    fn a_digest_tells_every_difference() {
        let base = document("acme");
        let digests: Vec<Digest> = [
            |_: &mut StoreDocument| {},
            |d: &mut StoreDocument| d.schema.push(' '),
            |d: &mut StoreDocument| d.namespace.push('x'),
            |d: &mut StoreDocument| drop(d.policies.insert("ab".into(), "c".into())),
            |d: &mut StoreDocument| drop(d.policies.insert("a".into(), "bc".into())),
            |d: &mut StoreDocument| drop(d.templates.insert("a".into(), "bc".into())),
            |d: &mut StoreDocument| drop(d.links.insert("a".into(), link(None, None))),
            |d: &mut StoreDocument| drop(d.links.insert("a".into(), link(Some("x"), None))),
            |d: &mut StoreDocument| drop(d.links.insert("a".into(), link(None, Some("x")))),
            |d: &mut StoreDocument| drop(d.links.insert("a".into(), link(None, Some("")))),
        ]
        .map(|change| {
            let mut document = base.clone();
            change(&mut document);
            document.digest()
        })
        .into();
        for (place, digest) in digests.iter().enumerate() {
            assert_eq!(digests.iter().position(|other| other == digest), Some(place));
        }
    }

    fn link(principal: Option<&str>, resource: Option<&str>) -> TemplateLink {
        let [principal, resource] = [principal, resource].map(|slot| slot.map(str::to_owned));
        TemplateLink { template: "t".to_owned(), principal, resource }
    }

    #[test]
    fn parts_of_a_content_go_with_it() {
        let contents = Contents::new(0);
        let (_, held) = contents.compile(document("acme").text()).unwrap();
        let digest = Digest::of([held.policies.len().to_string().as_bytes()]);
        let policy = contents
            .policies()
            .put(digest, Arc::new(held.policies.shared().next().unwrap().as_ref().clone()));
        assert!(contents.policies().get(&digest).is_some());
        drop(policy);
        assert!(contents.policies().get(&digest).is_none(), "sharing keeps nothing alive");
    }
}
