//! Templates: made, shown, listed, changed, deleted with the policies linked to them.

use std::sync::Arc;

use ringfence_context::id::StoreId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::avp::{
    Avp, Call,
    content::{Content, Template},
    edit::Edit,
    error::{AvpError, Outcome, ResourceType},
    fit,
    once::Once,
    page::Listing,
    policy::{name_check, size_check},
    record::{Body, Meta},
    store::made_id,
    time::{Moment, iso},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatePolicyTemplate {
    policy_store_id: String,
    description: Option<String>,
    statement: String,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdatePolicyTemplate {
    policy_store_id: String,
    policy_template_id: String,
    description: Option<String>,
    statement: String,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamedTemplate {
    policy_store_id: String,
    policy_template_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListPolicyTemplates {
    policy_store_id: String,
}

/// A template, as its change answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateAnswer {
    policy_store_id: StoreId,
    policy_template_id: String,
    #[serde(serialize_with = "iso")]
    created_date: Moment,
    #[serde(serialize_with = "iso")]
    last_updated_date: Moment,
}

/// A template, as it is shown or listed; where listed, without its text.
#[derive(Serialize)]
pub(crate) struct TemplateShown {
    #[serde(flatten)]
    answer: TemplateAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplatePage {
    policy_templates: Vec<TemplateShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Avp {
    pub(crate) async fn template_create(&self, call: &Call<'_>, new: CreatePolicyTemplate) -> Outcome<Value> {
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let once =
            match Once::begin(&self.records, &content.account, call.operation, call.input, call.now).await? {
                Once::Done(answer) => return Ok(answer),
                Once::Todo(once) => once,
            };
        let quotas = self.quotas(&content.account).await;
        if content.templates.len() >= quotas.templates_per_store {
            return Err(AvpError::ServiceQuotaExceeded {
                message: format!(
                    "A policy store has at most {} policy templates.",
                    quotas.templates_per_store
                ),
                id: Some(content.head.id.to_string()),
                kind: ResourceType::PolicyTemplate,
                code: "templates-per-store",
            });
        }
        size_check(&new.statement, "statement", &quotas)?;
        let id = made_id("PT")?;
        let mut meta = Meta::since(Moment(call.now));
        meta.description = new.description;
        meta.name = template_name(content, &id, new.name.as_deref())?;
        let template = Template { meta, statement: new.statement };
        let mut edit = Edit::of(content, call.now);
        edit.template_put(&id, template.clone())?;
        fits(&edit.next, &id)?;
        let answered = super::answer(answer(content, &id, &template))?;
        edit.also(once.drafts(&answered)?);
        self.commit(edit, call).await?;
        Ok(answered)
    }

    pub(crate) async fn template_get(&self, call: &Call<'_>, asked: NamedTemplate) -> Outcome<TemplateShown> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let (id, template) = found(&deciding.content, &asked.policy_template_id)?;
        Ok(shown(&deciding.content, id, template, true))
    }

    pub(crate) async fn template_list(
        &self,
        call: &Call<'_>,
        asked: ListPolicyTemplates,
    ) -> Outcome<TemplatePage> {
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
        let rest = content.templates.iter().filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after));
        let found = rest.map(|(id, template)| (id.clone(), shown(content, id, template, false)));
        let (policy_templates, next_token) = listing.page(found.collect(), limit);
        Ok(TemplatePage { policy_templates, next_token })
    }

    pub(crate) async fn template_update(
        &self,
        call: &Call<'_>,
        new: UpdatePolicyTemplate,
    ) -> Outcome<TemplateAnswer> {
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let (id, before) = found(content, &new.policy_template_id)?;
        size_check(&new.statement, "statement", &self.quotas(&content.account).await)?;
        unchanged(id, &before.statement, &new.statement)?;
        let mut template = before.as_ref().clone();
        template.statement = new.statement;
        if let Some(description) = new.description {
            template.meta.description = Some(description).filter(|text| !text.is_empty());
        }
        if let Some(name) = &new.name {
            template.meta.name = template_name(content, id, Some(name))?;
        }
        template.meta.updated = Moment(call.now);
        let answered = answer(content, id, &template);
        let mut edit = Edit::of(content, call.now);
        edit.template_put(id, template)?;
        fits(&edit.next, id)?;
        self.commit(edit, call).await?;
        Ok(answered)
    }

    pub(crate) async fn template_delete(&self, call: &Call<'_>, gone: NamedTemplate) -> Outcome<Value> {
        let deciding = self.store(call, &gone.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &gone.policy_store_id).await?;
        let (id, _) = found(&deciding.content, &gone.policy_template_id)?;
        let mut edit = Edit::of(&deciding.content, call.now);
        edit.template_delete(id);
        self.commit(edit, call).await?;
        Ok(json!({}))
    }
}

fn found<'a>(content: &'a Content, named: &str) -> Outcome<(&'a String, &'a Arc<Template>)> {
    content.template(named).ok_or_else(|| AvpError::missing(ResourceType::PolicyTemplate, named))
}

/// Checks a template as it will be, with every policy that is linked to it.
fn fits(next: &Content, id: &str) -> Outcome<()> {
    let mut only = next.clone();
    only.templates.retain(|other, _| other == id);
    only.policies.retain(|_, policy| matches!(&policy.body, Body::Linked { template, .. } if template == id));
    let set = fit::all(&only)?;
    fit::check(next.head.mode, next.schema.as_ref(), &set)
}

/// An update may change a template's action and conditions only.
fn unchanged(id: &str, before: &str, after: &str) -> Outcome<()> {
    let (old, new) = (fit::template(id, before)?, fit::template(id, after)?);
    let kept = [
        (old.effect() == new.effect(), "effect"),
        (old.principal_constraint() == new.principal_constraint(), "principal"),
        (old.resource_constraint() == new.resource_constraint(), "resource"),
    ];
    match kept.iter().find(|(kept, _)| !kept) {
        Some((_, what)) => Err(AvpError::invalid("statement", format!("must keep the template's {what}"))),
        None => Ok(()),
    }
}

fn template_name(content: &Content, id: &str, name: Option<&str>) -> Outcome<Option<String>> {
    let Some(name) = name_check(name)? else { return Ok(None) };
    match content.template(name) {
        Some((other, _)) if other != id => Err(AvpError::Conflict {
            message: "Another template of the store has this name.".to_owned(),
            resources: vec![(other.clone(), ResourceType::PolicyTemplate)],
        }),
        _ => Ok(Some(name.to_owned())),
    }
}

fn answer(content: &Content, id: &str, template: &Template) -> TemplateAnswer {
    TemplateAnswer {
        policy_store_id: content.head.id.clone(),
        policy_template_id: id.to_owned(),
        created_date: template.meta.created,
        last_updated_date: template.meta.updated,
    }
}

fn shown(content: &Content, id: &str, template: &Template, text: bool) -> TemplateShown {
    TemplateShown {
        answer: answer(content, id, template),
        description: template.meta.description.clone(),
        statement: text.then(|| template.statement.clone()),
        name: template.meta.name.clone(),
    }
}
