//! Policies: made, changed, deleted. What is written fits the schema where the store asks for it, or nothing changes.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::avp::{
    Avp, Call,
    content::{Content, Policy},
    edit::Edit,
    error::{AvpError, Outcome, ResourceType},
    fit::{self, PolicyScope},
    once::Once,
    policy_form::PolicyAnswer,
    quota::Quotas,
    record::{Body, EntityIdentifier, Meta},
    store::made_id,
    time::Moment,
};

/// What the name of a policy or template begins with.
const NAME_PREFIX: &str = "name/";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatePolicy {
    policy_store_id: String,
    definition: PolicyDefinition,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum PolicyDefinition {
    Static(StaticDefinition),
    #[serde(rename_all = "camelCase")]
    TemplateLinked {
        policy_template_id: String,
        principal: Option<EntityIdentifier>,
        resource: Option<EntityIdentifier>,
    },
}

#[derive(Deserialize)]
struct StaticDefinition {
    description: Option<String>,
    statement: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdatePolicy {
    policy_store_id: String,
    policy_id: String,
    definition: Option<UpdateDefinition>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum UpdateDefinition {
    Static(StaticDefinition),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletePolicy {
    policy_store_id: String,
    policy_id: String,
}

impl Avp {
    pub(crate) async fn policy_create(&self, call: &Call<'_>, new: CreatePolicy) -> Outcome<Value> {
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let once =
            match Once::begin(&self.records, &content.account, call.operation, call.input, call.now).await? {
                Once::Done(answer) => return Ok(answer),
                Once::Todo(once) => once,
            };
        let (description, body) = match new.definition {
            PolicyDefinition::Static(StaticDefinition { description, statement }) => {
                (description, Body::Static { statement })
            }
            PolicyDefinition::TemplateLinked { policy_template_id: named, principal, resource } => {
                let found = content.template(&named);
                let (template, _) =
                    found.ok_or_else(|| AvpError::missing(ResourceType::PolicyTemplate, &named))?;
                (None, Body::Linked { template: template.clone(), principal, resource })
            }
        };
        let id = made_id(if matches!(body, Body::Static { .. }) { "SP" } else { "TP" })?;
        let scope = self.policy_fit(content, &id, &body).await?;
        let mut meta = Meta { description, ..Meta::since(Moment(call.now)) };
        meta.name = policy_name(content, &id, new.name.as_deref())?;
        let policy = Policy::new(meta, body);
        let answered = super::answer(PolicyAnswer::new(content, &id, &policy, scope))?;
        let mut edit = Edit::of(content, call.now);
        edit.policy_put(&id, policy)?;
        edit.also(once.drafts(&answered)?);
        self.commit(edit, call).await?;
        Ok(answered)
    }

    pub(crate) async fn policy_update(&self, call: &Call<'_>, new: UpdatePolicy) -> Outcome<PolicyAnswer> {
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let missing = || AvpError::missing(ResourceType::Policy, &new.policy_id);
        let (id, found) = content.policy(&new.policy_id).ok_or_else(missing)?;
        let mut policy = found.as_ref().clone();
        let before = policy.scope(content, id)?;
        let mut scope = before.clone();
        if let Some(UpdateDefinition::Static(StaticDefinition { description, statement })) = new.definition {
            if !matches!(policy.body, Body::Static { .. }) {
                let message = "is of a template-linked policy: change its template instead";
                return Err(AvpError::invalid("definition.static", message));
            }
            policy = Policy::new(policy.meta, Body::Static { statement });
            scope = self.policy_fit(content, id, &policy.body).await?;
            unchanged(content, id, (&found.body, &before), (&policy.body, &scope))?;
            if let Some(description) = description {
                policy.meta.description = Some(description).filter(|text| !text.is_empty());
            }
        }
        if let Some(name) = &new.name {
            policy.meta.name = policy_name(content, id, Some(name))?;
        }
        policy.meta.updated = Moment(call.now);
        let answered = PolicyAnswer::new(content, id, &policy, scope);
        let mut edit = Edit::of(content, call.now);
        edit.policy_put(id, policy)?;
        self.commit(edit, call).await?;
        Ok(answered)
    }

    pub(crate) async fn policy_delete(&self, call: &Call<'_>, gone: DeletePolicy) -> Outcome<Value> {
        let deciding = self.store(call, &gone.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &gone.policy_store_id).await?;
        let Some((id, _)) = deciding.content.policy(&gone.policy_id) else { return Ok(json!({})) };
        let mut edit = Edit::of(&deciding.content, call.now);
        edit.policy_delete(id);
        self.commit(edit, call).await?;
        Ok(json!({}))
    }

    /// Whether a policy may stand in a store: it parses, it fits the schema, and the quotas have room for it. Says what its
    /// scope names.
    async fn policy_fit(&self, content: &Content, id: &str, body: &Body) -> Outcome<PolicyScope> {
        let quotas = self.quotas(&content.account).await;
        if let Body::Static { statement } = body {
            size_check(statement, "definition.static.statement", &quotas)?;
        }
        let set = fit::alone(content, id, body)?;
        fit::check(content.head.mode, content.schema.as_ref(), &set)?;
        let scope = fit::scope(&set, id)?;
        let exceeded = |message: String, code| AvpError::ServiceQuotaExceeded {
            message,
            id: Some(content.head.id.to_string()),
            kind: ResourceType::Policy,
            code,
        };
        let most = quotas.policies_per_store;
        if !content.policies.contains_key(id) && content.policies.len() >= most {
            return Err(exceeded(
                format!("A policy store has at most {most} policies."),
                "policies-per-store",
            ));
        }
        let most = quotas.policy_bytes_per_resource;
        let others =
            content.policies.iter().filter(|(other, _)| *other != id).map(|(_, policy)| bytes(&policy.body));
        // Cheap first: which resource a policy is about matters only where all together are too many.
        if others.sum::<usize>().saturating_add(bytes(body)) > most
            && bytes_about(content, id, scope.resource.as_ref())?.saturating_add(bytes(body)) > most
        {
            let message = format!("Policies about one resource have at most {most} bytes together.");
            return Err(exceeded(message, "policy-bytes-per-resource"));
        }
        Ok(scope)
    }
}

/// Refuses a text over its quota.
pub(crate) fn size_check(statement: &str, path: &str, quotas: &Quotas) -> Outcome<()> {
    if statement.len() > quotas.policy_bytes {
        return Err(AvpError::invalid(path, format!("must have at most {} bytes", quotas.policy_bytes)));
    }
    Ok(())
}

/// A name as it is kept: none, or one no other policy of the store has.
fn policy_name(content: &Content, id: &str, name: Option<&str>) -> Outcome<Option<String>> {
    let Some(name) = name_check(name)? else { return Ok(None) };
    match content.policy(name) {
        Some((other, _)) if other != id => Err(AvpError::Conflict {
            message: "Another policy of the store has this name.".to_owned(),
            resources: vec![(other.clone(), ResourceType::Policy)],
        }),
        _ => Ok(Some(name.to_owned())),
    }
}

/// A name of the form names have; an empty one is none.
pub(crate) fn name_check(name: Option<&str>) -> Outcome<Option<&str>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    if name.strip_prefix(NAME_PREFIX).is_none_or(str::is_empty) {
        return Err(AvpError::invalid("name", format!("must begin with {NAME_PREFIX} and go on")));
    }
    Ok(Some(name))
}

/// An update may change a policy's action and conditions only.
fn unchanged(
    content: &Content,
    id: &str,
    before: (&Body, &PolicyScope),
    after: (&Body, &PolicyScope),
) -> Outcome<()> {
    let path = "definition.static.statement";
    if before.1.effect != after.1.effect {
        return Err(AvpError::invalid(path, "must keep the policy's effect"));
    }
    let (old, new) = (fit::alone(content, id, before.0)?, fit::alone(content, id, after.0)?);
    let id = cedar_policy::PolicyId::new(id);
    let (Some(old), Some(new)) = (old.policy(&id), new.policy(&id)) else {
        return Err(AvpError::internal("a policy is not in its set"));
    };
    if old.principal_constraint() != new.principal_constraint() {
        return Err(AvpError::invalid(path, "must keep the policy's principal"));
    }
    if old.resource_constraint() != new.resource_constraint() {
        return Err(AvpError::invalid(path, "must keep the policy's resource"));
    }
    Ok(())
}

fn bytes(body: &Body) -> usize {
    let entity = |entity: &Option<EntityIdentifier>| {
        entity.as_ref().map_or(0, |entity| entity.entity_id.len().saturating_add(entity.entity_type.len()))
    };
    match body {
        Body::Static { statement } => statement.len(),
        Body::Linked { principal, resource, .. } => entity(principal).saturating_add(entity(resource)),
    }
}

/// Bytes of the other policies about the same resource, or about none.
fn bytes_about(content: &Content, id: &str, resource: Option<&EntityIdentifier>) -> Outcome<usize> {
    let mut sum = 0_usize;
    for (other, policy) in &content.policies {
        if other == id {
            continue;
        }
        let about = match &policy.body {
            Body::Linked { resource: Some(about), .. } => Some(about.clone()),
            _ => policy.scope(content, other)?.resource,
        };
        if about.is_none() || about.as_ref() == resource {
            sum = sum.saturating_add(bytes(&policy.body));
        }
    }
    Ok(sum)
}
