//! Policies: shown one by one, in a batch, and listed by what they are about.

use serde::{Deserialize, Serialize};

use crate::avp::{
    Avp, Call,
    content::{Content, Policy},
    error::{AvpError, Outcome, ResourceType},
    page::Listing,
    policy_form::{PolicyOfBatch, PolicyShown, kind},
    record::{Body, EntityIdentifier},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetPolicy {
    policy_store_id: String,
    policy_id: String,
}

#[derive(Deserialize)]
pub(crate) struct BatchGetPolicy {
    requests: Vec<GetPolicy>,
}

/// What was found, and what was not, in the order asked.
#[derive(Serialize)]
pub(crate) struct PolicyBatch {
    results: Vec<PolicyOfBatch>,
    errors: Vec<BatchError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchError {
    code: &'static str,
    policy_store_id: String,
    policy_id: String,
    message: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListPolicies {
    policy_store_id: String,
    filter: Option<PolicyFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyFilter {
    principal: Option<EntityReference>,
    resource: Option<EntityReference>,
    policy_type: Option<String>,
    policy_template_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum EntityReference {
    Unspecified(bool),
    Identifier(EntityIdentifier),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyPage {
    policies: Vec<PolicyShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Avp {
    pub(crate) async fn policy_get(&self, call: &Call<'_>, asked: GetPolicy) -> Outcome<PolicyShown> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let missing = || AvpError::missing(ResourceType::Policy, &asked.policy_id);
        let (id, policy) = deciding.content.policy(&asked.policy_id).ok_or_else(missing)?;
        PolicyShown::new(&deciding.content, id, policy, true)
    }

    pub(crate) async fn batch_get_policy(
        &self,
        call: &Call<'_>,
        asked: BatchGetPolicy,
    ) -> Outcome<PolicyBatch> {
        let mut batch = PolicyBatch { results: Vec::new(), errors: Vec::new() };
        for GetPolicy { policy_store_id, policy_id } in asked.requests {
            let found = self.store(call, &policy_store_id).await;
            let (code, message) = match &found {
                Ok(deciding) => match deciding.content.policy(&policy_id) {
                    Some((id, policy)) => {
                        batch.results.push(PolicyOfBatch::new(&deciding.content, id, policy));
                        continue;
                    }
                    None => ("POLICY_NOT_FOUND", "There is no such policy."),
                },
                Err(AvpError::ResourceNotFound { kind: ResourceType::PolicyStoreAlias, .. }) => {
                    ("POLICY_STORE_ALIAS_NOT_FOUND", "There is no such policy store alias.")
                }
                Err(AvpError::ResourceNotFound { .. }) => {
                    ("POLICY_STORE_NOT_FOUND", "There is no such policy store.")
                }
                Err(error) => return Err(error.clone()),
            };
            batch.errors.push(BatchError { code, policy_store_id, policy_id, message });
        }
        Ok(batch)
    }

    pub(crate) async fn policy_list(&self, call: &Call<'_>, asked: ListPolicies) -> Outcome<PolicyPage> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let content = &deciding.content;
        let listing = Listing {
            key: &self.page_key,
            account: &content.account,
            operation: call.operation,
            store: content.head.id.as_str(),
            input: call.input,
        };
        let (after, limit) = (listing.after()?, listing.limit(10));
        let mut found = Vec::new();
        for (id, policy) in &content.policies {
            let shown = after.as_ref().is_none_or(|after| id > after);
            if !shown || !asked.filter.as_ref().is_none_or(|filter| filter.admits(content, id, policy)) {
                continue;
            }
            found.push((id.clone(), PolicyShown::new(content, id, policy, false)?));
            if found.len() > limit {
                break;
            }
        }
        let (policies, next_token) = listing.page(found, limit);
        Ok(PolicyPage { policies, next_token })
    }
}

impl PolicyFilter {
    fn admits(&self, content: &Content, id: &str, policy: &Policy) -> bool {
        if self.policy_type.as_ref().is_some_and(|wanted| wanted != kind(&policy.body)) {
            return false;
        }
        if let Some(wanted) = &self.policy_template_id {
            let named = content.template(wanted).map(|(id, _)| id);
            if !matches!(&policy.body, Body::Linked { template, .. } if Some(template) == named) {
                return false;
            }
        }
        if self.principal.is_none() && self.resource.is_none() {
            return true;
        }
        let Ok(scope) = policy.scope(content, id) else { return false };
        let admits = |wanted: &Option<EntityReference>, found: Option<&EntityIdentifier>| match wanted {
            None => true,
            Some(EntityReference::Unspecified(unspecified)) => *unspecified == found.is_none(),
            Some(EntityReference::Identifier(wanted)) => found == Some(wanted),
        };
        admits(&self.principal, scope.principal.as_ref()) && admits(&self.resource, scope.resource.as_ref())
    }
}
