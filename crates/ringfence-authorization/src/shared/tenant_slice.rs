//! What one tenant has beside a shared store: its own policies, templates and links.
//!
//! It guarantees that a document is cut only where it loses nothing: it says all that the shared store says, word for word,
//! what it says beyond that is the tenant's slice, and both together are the document again.

use std::collections::BTreeMap;

use ringfence_context::{TenantId, id::StoreId};
use ringfence_store::Kind;
use serde::{Deserialize, Serialize};

use crate::{
    PolicyFault, StoreDocument, TemplateLink,
    content::Digest,
    document::Text,
    shared::{ConfinementFault, SharedId, SharedStore, confine},
};

/// Slices, by the id of the store they are the tenant's part of.
pub(crate) const POLICY_SLICE: Kind = Kind::new("policy_slice");

/// One tenant's slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSlice {
    /// The id of the tenant's store, as the tenant knows it.
    pub id: StoreId,
    /// Whose it is. Answers carry it, and the kernel compares it with the token's tenant.
    pub tenant: TenantId,
    /// The shared store it lies upon. Compared with what the map of tenants to stores says.
    pub base: SharedId,
    /// Its own policies by id.
    pub policies: BTreeMap<String, String>,
    /// Its own templates by id.
    pub templates: BTreeMap<String, String>,
    /// Its own links by id.
    pub links: BTreeMap<String, TemplateLink>,
}

impl TenantSlice {
    /// What a document says beyond a shared store.
    ///
    /// # Errors
    /// Where it changes, lacks or shadows what is shared, or says something that is not confined to its tenant.
    pub fn of(document: &StoreDocument, base: &SharedStore) -> Result<Self, ConfinementFault> {
        let StoreDocument { id, tenant, namespace, schema, policies, templates, links } = document;
        if *namespace != base.namespace || *schema != base.schema {
            return Err(ConfinementFault::schema());
        }
        let own = |kind: &str, all: &BTreeMap<String, String>, shared: &BTreeMap<String, String>| {
            if let Some((name, _)) = shared.iter().find(|(name, text)| all.get(*name) != Some(*text)) {
                return Err(ConfinementFault::shared(kind, name));
            }
            let own = all.iter().filter(|(name, _)| !shared.contains_key(*name));
            Ok(own.map(|(name, text)| (name.clone(), text.clone())).collect::<BTreeMap<_, _>>())
        };
        let slice = Self {
            id: id.clone(),
            tenant: tenant.clone(),
            base: base.id(),
            policies: own("policy", policies, &base.policies)?,
            templates: own("template", templates, &base.templates)?,
            links: links.clone(),
        };
        if let Some(name) = slice.names().find(|name| base.has(name)) {
            return Err(ConfinementFault::shared("policy", name));
        }
        confine::check(&slice)?;
        Ok(slice)
    }

    /// The tenant's store, whole.
    pub fn document(self, base: &SharedStore) -> StoreDocument {
        let Self { id, tenant, base: _, mut policies, mut templates, links } = self;
        let SharedStore { namespace, schema, policies: shared, templates: shared_templates } = base.clone();
        policies.extend(shared);
        templates.extend(shared_templates);
        StoreDocument { id, tenant, namespace, schema, policies, templates, links }
    }

    /// Whether the tenant has nothing of its own.
    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.templates.is_empty() && self.links.is_empty()
    }

    /// What it says, in the words of the shared store's schema.
    pub(crate) fn text<'a>(&'a self, base: &'a SharedStore) -> Text<'a> {
        self.text_in(&base.namespace, &base.schema)
    }

    fn text_in<'a>(&'a self, namespace: &'a str, schema: &'a str) -> Text<'a> {
        let Self { id: _, tenant: _, base: _, policies, templates, links } = self;
        Text { namespace, schema, policies, templates, links }
    }

    /// Names what it says upon what, whoever's it is. Where it says nothing, that is what the shared store says.
    pub(crate) fn digest(&self) -> Digest {
        if let Some(shared) = Digest::read(self.base.as_str()).filter(|_| self.is_empty()) {
            return shared;
        }
        let own = self.text_in("", "").digest();
        Digest::of([b"slice".as_slice(), self.base.as_str().as_bytes(), own.bytes()])
    }

    /// No name of it is one of the shared store's. It was so when it was written; a slice that says otherwise now was not
    /// written here.
    ///
    /// # Errors
    /// [`PolicyFault`].
    pub(crate) fn check_names(&self, base: &SharedStore) -> Result<(), PolicyFault> {
        match self.names().find(|name| base.has(name)) {
            Some(name) => Err(PolicyFault::duplicate(name)),
            None => Ok(()),
        }
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.policies.keys().chain(self.templates.keys()).chain(self.links.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::document;

    const OWN: &str = "permit (principal, action == Ledger::Action::\"ViewReport\", resource);";

    fn check(change: impl FnOnce(&mut StoreDocument), expected: Result<(usize, usize), &str>) {
        let mut changed = document("acme");
        let base = SharedStore::of(&changed).unwrap();
        change(&mut changed);
        match (TenantSlice::of(&changed, &base), expected) {
            (Ok(slice), Ok((policies, templates))) => {
                assert_eq!((slice.policies.len(), slice.templates.len()), (policies, templates));
                assert_eq!(slice.clone().document(&base), changed, "nothing is lost");
                slice.check_names(&base).unwrap();
            }
            (Err(fault), Err(words)) => assert!(fault.to_string().contains(words), "{fault}"),
            (outcome, expected) => panic!("{outcome:?}, not {expected:?}"),
        }
    }

    fn put(name: &str, text: &str) -> impl FnOnce(&mut StoreDocument) {
        move |document| drop(document.policies.insert(name.to_owned(), text.to_owned()))
    }

    #[test]
    fn x08_what_is_shared_is_neither_changed_nor_shadowed_and_the_rest_is_the_tenants() {
        check(|_| {}, Ok((0, 0)));
        check(put("own", OWN), Ok((1, 0)));
        check(put("own-tenant-only", OWN), Err("\"own-tenant-only\""));
        check(|document| drop(document.policies.remove("own-tenant-only")), Err("\"own-tenant-only\""));
        check(|document| document.schema.push(' '), Err("schema"));
        check(|document| document.namespace.push('x'), Err("schema"));
        let template = "permit (principal == ?principal, action, resource);";
        let shadow = move |name: &str| {
            let name = name.to_owned();
            move |document: &mut StoreDocument| {
                drop(document.templates.insert(name, template.to_owned()));
            }
        };
        check(shadow("mine"), Ok((0, 1)));
        check(shadow("own-tenant-only"), Err("\"own-tenant-only\""));
        let link = |document: &mut StoreDocument| {
            shadow("mine")(document);
            let link = TemplateLink {
                template: "mine".to_owned(),
                principal: Some("Ledger::User::\"u-1\"".to_owned()),
                resource: None,
            };
            document.links.insert("everyone-reads".to_owned(), link);
        };
        check(link, Err("\"everyone-reads\""));
    }

    #[test]
    fn a_shared_store_is_named_by_what_it_says_and_nothing_else() {
        let base = SharedStore::of(&document("acme")).unwrap();
        assert_eq!(base.id(), SharedStore::of(&document("globex")).unwrap().id());
        for change in [
            |base: &mut SharedStore| base.schema.push(' '),
            |base: &mut SharedStore| base.namespace.push('x'),
            |base: &mut SharedStore| drop(base.policies.remove("own-tenant-only")),
            |base: &mut SharedStore| drop(base.templates.insert("t".to_owned(), String::new())),
        ] {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(other.id(), base.id());
        }
        let other = |text: &str| serde_json::from_value::<SharedId>(text.into());
        assert!(other(base.id().as_str()).is_ok());
        for bad in ["", "x", &base.id().as_str().to_uppercase(), &format!("{} ", base.id())] {
            assert!(other(bad).is_err(), "{bad}");
        }
    }
}
