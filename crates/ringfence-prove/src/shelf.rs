//! What the victim keeps at the policy service, put there by the victim's own hands: a store with the canary all over it.

use serde_json::{Value, json};

use crate::{attacker::Attacker, http::Answer};

/// Names of the victim's own, which the attacker has learned; and a page token he has overheard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf {
    /// A store.
    pub(crate) store: String,
    /// Its alias.
    pub(crate) alias: String,
    /// A policy in it.
    pub(crate) policy: String,
    /// A template in it.
    pub(crate) template: String,
    /// A token for the second page of its policies.
    pub(crate) page: String,
}

impl Shelf {
    /// The victim fills it. What is broken may keep it empty: then no attack on it finds anything.
    pub(crate) async fn fill(victim: &Attacker) -> Self {
        let key = &victim.globex().access_key;
        let tag = &victim.camp().ground.tag;
        let text = |answer: Answer, member: &str| answer.text_member(member).unwrap_or_default();
        let create = json!({ "validationSettings": { "mode": "OFF" }, "description": tag });
        let store = text(victim.avp(key, "CreatePolicyStore", create).await, "policyStoreId");
        let alias = format!("policy-store-alias/books-{}", victim.nonce());
        let named = json!({ "aliasName": alias, "policyStoreId": store });
        victim.avp(key, "CreatePolicyStoreAlias", named).await;
        let mut policy = String::new();
        for user in ["first", "second"] {
            let statement =
                format!("permit (principal == User::\"{user}\", action, resource == Safe::\"{tag}\");");
            let definition = json!({ "static": { "statement": statement, "description": tag } });
            let create = json!({ "policyStoreId": store, "definition": definition });
            policy = text(victim.avp(key, "CreatePolicy", create).await, "policyId");
        }
        let statement = "permit (principal == ?principal, action, resource);";
        let create = json!({ "policyStoreId": store, "statement": statement, "description": tag });
        let template = text(victim.avp(key, "CreatePolicyTemplate", create).await, "policyTemplateId");
        let list = json!({ "policyStoreId": store, "maxResults": 1 });
        let page = text(victim.avp(key, "ListPolicies", list).await, "nextToken");
        Self { store, alias, policy, template, page }
    }

    /// Every question about a store, its policies and what else is in it, asked about the store `named` so.
    pub(crate) fn questions(&self, named: &str) -> Vec<(&'static str, Value)> {
        let entity = |kind: &str, id: &str| json!({ "entityType": kind, "entityId": id });
        let asked = json!({
            "policyStoreId": named,
            "principal": entity("User", "first"),
            "action": { "actionType": "Action", "actionId": "open" },
            "resource": entity("Safe", "s"),
        });
        let token = json!({ "policyStoreId": named, "accessToken": "e30.e30.e30" });
        let batch = json!({ "policyStoreId": named, "requests": [{ "principal": entity("User", "first") }] });
        let arn = format!("arn:aws:verifiedpermissions::globex:policy-store/{named}");
        vec![
            ("GetPolicyStore", json!({ "policyStoreId": named })),
            ("GetSchema", json!({ "policyStoreId": named })),
            ("ListPolicies", json!({ "policyStoreId": named })),
            ("ListPolicies", json!({ "policyStoreId": named, "nextToken": self.page })),
            ("ListPolicyTemplates", json!({ "policyStoreId": named })),
            ("ListIdentitySources", json!({ "policyStoreId": named })),
            ("GetPolicy", json!({ "policyStoreId": named, "policyId": self.policy })),
            ("GetPolicyTemplate", json!({ "policyStoreId": named, "policyTemplateId": self.template })),
            ("BatchGetPolicy", json!({ "requests": [{ "policyStoreId": named, "policyId": self.policy }] })),
            ("IsAuthorized", asked),
            ("BatchIsAuthorized", batch),
            ("IsAuthorizedWithToken", token),
            ("ListTagsForResource", json!({ "resourceArn": arn })),
        ]
    }
}
