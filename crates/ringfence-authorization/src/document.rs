//! A policy store as it is kept: schema, static policies, templates and links, and whose it is.

use std::collections::BTreeMap;

use ringfence_context::{TenantId, id::StoreId};
use serde::{Deserialize, Serialize};

use crate::content::Digest;

/// One tenant's policy store. Policies are data: this is the store of record, Cedar's parsed form is derived from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreDocument {
    /// Its id.
    pub id: StoreId,
    /// The tenant it belongs to. Answers carry it, and the kernel compares it with the token's tenant.
    pub tenant: TenantId,
    /// The namespace of its schema: `User`, `Client` and `Role` are looked up in it.
    pub namespace: String,
    /// The schema, in Cedar's own syntax.
    pub schema: String,
    /// Static policies by id, each in Cedar's own syntax.
    pub policies: BTreeMap<String, String>,
    /// Templates by id.
    pub templates: BTreeMap<String, String>,
    /// Template-linked policies by id.
    pub links: BTreeMap<String, TemplateLink>,
}

/// What a store says, or a part of one, wherever it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) schema: &'a str,
    pub(crate) policies: &'a BTreeMap<String, String>,
    pub(crate) templates: &'a BTreeMap<String, String>,
    pub(crate) links: &'a BTreeMap<String, TemplateLink>,
}

impl StoreDocument {
    /// What it says, whoever's it is.
    pub(crate) fn text(&self) -> Text<'_> {
        let Self { id: _, tenant: _, namespace, schema, policies, templates, links } = self;
        Text { namespace, schema, policies, templates, links }
    }

    /// Names what it says, whoever's it is.
    pub(crate) fn digest(&self) -> Digest {
        self.text().digest()
    }
}

impl Text<'_> {
    /// Names what it says.
    pub(crate) fn digest(&self) -> Digest {
        let Self { namespace, schema, policies, templates, links } = self;
        let mut parts: Vec<&[u8]> = vec![namespace.as_bytes(), schema.as_bytes()];
        for (kind, texts) in [("policy", policies), ("template", templates)] {
            for (name, text) in *texts {
                parts.extend([kind.as_bytes(), name.as_bytes(), text.as_bytes()]);
            }
        }
        for (name, TemplateLink { template, principal, resource }) in *links {
            parts.extend([b"link".as_slice(), name.as_bytes(), template.as_bytes()]);
            for (slot, uid) in [("principal", principal), ("resource", resource)] {
                if let Some(uid) = uid {
                    parts.extend([slot.as_bytes(), uid.as_bytes()]);
                }
            }
        }
        Digest::of(parts)
    }
}

/// A policy made from a template by filling its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateLink {
    /// The template's id.
    pub template: String,
    /// The entity for `?principal`, as `Type::"id"`.
    pub principal: Option<String>,
    /// The entity for `?resource`, as `Type::"id"`.
    pub resource: Option<String>,
}
