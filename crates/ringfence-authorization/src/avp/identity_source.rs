//! Identity sources: made, shown, listed, changed, deleted.

use cedar_policy::EntityTypeName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::avp::{
    Avp, Call,
    content::Content,
    edit::Edit,
    error::{AvpError, Outcome, ResourceType},
    fit,
    identity_source_form::{Configuration, SourceAnswer, SourceShown},
    once::Once,
    page::Listing,
    record::SourceRecord,
    store::made_id,
    time::Moment,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateIdentitySource {
    policy_store_id: String,
    configuration: Configuration,
    principal_entity_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateIdentitySource {
    policy_store_id: String,
    identity_source_id: String,
    update_configuration: Configuration,
    principal_entity_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamedIdentitySource {
    policy_store_id: String,
    identity_source_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListIdentitySources {
    policy_store_id: String,
    #[serde(default)]
    filters: Vec<IdentitySourceFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentitySourceFilter {
    principal_entity_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourcePage {
    identity_sources: Vec<SourceShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Avp {
    pub(crate) async fn identity_source_create(
        &self,
        call: &Call<'_>,
        new: CreateIdentitySource,
    ) -> Outcome<Value> {
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let once =
            match Once::begin(&self.records, &content.account, call.operation, call.input, call.now).await? {
                Once::Done(answer) => return Ok(answer),
                Once::Todo(once) => once,
            };
        let most = self.quotas(&content.account).await.identity_sources_per_store;
        if content.sources.len() >= most {
            return Err(AvpError::ServiceQuotaExceeded {
                message: format!("A policy store has at most {most} identity sources."),
                id: Some(content.head.id.to_string()),
                kind: ResourceType::IdentitySource,
                code: "identity-sources-per-store",
            });
        }
        let source = SourceRecord {
            principal_type: new.principal_entity_type.unwrap_or_else(|| principal_type(content)),
            configuration: new.configuration.whole(),
            created: Moment(call.now),
            updated: Moment(call.now),
        };
        types_check(&source, "configuration")?;
        let id = made_id("IS")?;
        let answered = super::answer(SourceAnswer::new(&content.head.id, &id, &source))?;
        let mut edit = Edit::of(content, call.now);
        edit.source_put(&id, source)?;
        edit.also(once.drafts(&answered)?);
        self.commit(edit, call).await?;
        Ok(answered)
    }

    pub(crate) async fn identity_source_get(
        &self,
        call: &Call<'_>,
        asked: NamedIdentitySource,
    ) -> Outcome<SourceShown> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let source = found(&deciding.content, &asked.identity_source_id)?;
        Ok(SourceShown::new(&deciding.content.head.id, &asked.identity_source_id, source))
    }

    pub(crate) async fn identity_source_list(
        &self,
        call: &Call<'_>,
        asked: ListIdentitySources,
    ) -> Outcome<SourcePage> {
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
        let wanted: Vec<&String> =
            asked.filters.iter().filter_map(|filter| filter.principal_entity_type.as_ref()).collect();
        let found = content.sources.iter().filter(|(id, source)| {
            after.as_ref().is_none_or(|after| *id > after)
                && (wanted.is_empty() || wanted.contains(&&source.principal_type))
        });
        let found = found.map(|(id, source)| (id.clone(), SourceShown::new(&content.head.id, id, source)));
        let (identity_sources, next_token) = listing.page(found.collect(), limit);
        Ok(SourcePage { identity_sources, next_token })
    }

    pub(crate) async fn identity_source_update(
        &self,
        call: &Call<'_>,
        new: UpdateIdentitySource,
    ) -> Outcome<SourceAnswer> {
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let before = found(content, &new.identity_source_id)?;
        let source = SourceRecord {
            principal_type: new.principal_entity_type.unwrap_or_else(|| before.principal_type.clone()),
            configuration: new.update_configuration.whole(),
            created: before.created,
            updated: Moment(call.now),
        };
        types_check(&source, "updateConfiguration")?;
        let answered = SourceAnswer::new(&content.head.id, &new.identity_source_id, &source);
        let mut edit = Edit::of(content, call.now);
        edit.source_put(&new.identity_source_id, source)?;
        self.commit(edit, call).await?;
        Ok(answered)
    }

    pub(crate) async fn identity_source_delete(
        &self,
        call: &Call<'_>,
        gone: NamedIdentitySource,
    ) -> Outcome<Value> {
        let deciding = self.store(call, &gone.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &gone.policy_store_id).await?;
        found(&deciding.content, &gone.identity_source_id)?;
        let mut edit = Edit::of(&deciding.content, call.now);
        edit.source_delete(&gone.identity_source_id);
        self.commit(edit, call).await?;
        Ok(json!({}))
    }
}

fn found<'a>(content: &'a Content, id: &str) -> Outcome<&'a SourceRecord> {
    let source = content.sources.get(id);
    source.map(|source| &**source).ok_or_else(|| AvpError::missing(ResourceType::IdentitySource, id))
}

/// The type of principals where none is named: `User`, in the schema's namespace if it has one only.
fn principal_type(content: &Content) -> String {
    if let Some(serving) = &content.serving {
        return format!("{}::User", serving.document.namespace);
    }
    let schema = content.schema.as_ref().and_then(|schema| fit::schema(&schema.json).ok());
    let mut named: Vec<String> = schema
        .iter()
        .flat_map(|schema| schema.entity_types())
        .filter(|kind| kind.basename() == "User")
        .map(ToString::to_string)
        .collect();
    match (named.pop(), named.is_empty()) {
        (Some(only), true) => only,
        _ => "User".to_owned(),
    }
}

fn types_check(source: &SourceRecord, path: &str) -> Outcome<()> {
    let named = |text: &str| text.parse::<EntityTypeName>().is_ok();
    if !named(&source.principal_type) {
        return Err(AvpError::invalid("principalEntityType", "is not the name of an entity type"));
    }
    match source.configuration.group_type() {
        Some(group) if group == source.principal_type => {
            Err(AvpError::invalid(path, "must have another type for groups than for principals"))
        }
        _ => Ok(()),
    }
}
