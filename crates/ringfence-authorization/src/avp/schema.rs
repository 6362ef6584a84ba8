//! Schemas: put and shown, in Cedar's JSON form.
//!
//! A schema is put whole and only where everything in the store still fits it: stricter than the service it is like,
//! which leaves policies behind that no longer fit.

use cedar_policy::SchemaFragment;
use ringfence_context::id::StoreId;
use serde::{Deserialize, Serialize};

use crate::avp::{
    Avp, Call,
    content::{Content, Schema},
    edit::Edit,
    entities::strict,
    error::{AvpError, Outcome, ResourceType},
    fit,
    record::Mode,
    time::{Moment, iso},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutSchema {
    policy_store_id: String,
    definition: SchemaDefinition,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaDefinition {
    cedar_json: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetSchema {
    policy_store_id: String,
}

/// A schema, as its change answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SchemaAnswer {
    policy_store_id: StoreId,
    namespaces: Vec<String>,
    #[serde(serialize_with = "iso")]
    created_date: Moment,
    #[serde(serialize_with = "iso")]
    last_updated_date: Moment,
}

/// A schema, as it is shown.
#[derive(Serialize)]
pub(crate) struct SchemaShown {
    #[serde(flatten)]
    answer: SchemaAnswer,
    schema: String,
}

impl Avp {
    pub(crate) async fn schema_put(&self, call: &Call<'_>, new: PutSchema) -> Outcome<SchemaAnswer> {
        let json = new.definition.cedar_json;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let most = self.quotas(&content.account).await.schema_bytes;
        if json.len() > most {
            return Err(AvpError::ServiceQuotaExceeded {
                message: format!("A schema has at most {most} bytes."),
                id: Some(content.head.id.to_string()),
                kind: ResourceType::Schema,
                code: "schema-bytes",
            });
        }
        let created = content.schema.as_ref().map_or(Moment(call.now), |schema| schema.created);
        let schema = Schema { json, created, updated: Moment(call.now) };
        let mut edit = Edit::of(content, call.now);
        if is_empty(&schema.json) {
            if content.serving.is_some() || content.head.mode == Mode::Strict && has_policies(content) {
                let message = "can't be deleted while policies must fit it";
                return Err(AvpError::invalid("definition.cedarJson", message));
            }
            edit.schema_delete();
            self.commit(edit, call).await?;
            return Ok(answer(&content.head.id, Vec::new(), &schema));
        }
        // No member twice, whatever Cedar would make of it.
        strict(&schema.json, "definition.cedarJson")?;
        let fragment = SchemaFragment::from_json_str(&schema.json)
            .map_err(|error| fit::cedar("definition.cedarJson", &error))?;
        fit::schema(&schema.json)?;
        serving_check(content, &schema)?;
        if has_policies(content) {
            self.fits(&deciding, content.head.mode, Some(schema.clone())).await?;
        }
        let cedar = fragment.to_cedarschema().map_err(|error| fit::cedar("definition.cedarJson", &error))?;
        let namespaces = namespaces(&fragment);
        edit.schema_put(schema.clone(), cedar)?;
        self.commit(edit, call).await?;
        Ok(answer(&content.head.id, namespaces, &schema))
    }

    pub(crate) async fn schema_get(&self, call: &Call<'_>, asked: GetSchema) -> Outcome<SchemaShown> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let content = &deciding.content;
        let missing = || AvpError::missing(ResourceType::Schema, &asked.policy_store_id);
        let schema = content.schema.as_ref().ok_or_else(missing)?;
        let fragment = SchemaFragment::from_json_str(&schema.json)
            .map_err(|error| AvpError::internal(format!("a stored schema: {error}")))?;
        let answer = answer(&content.head.id, namespaces(&fragment), schema);
        Ok(SchemaShown { answer, schema: schema.json.clone() })
    }
}

/// What the gateway asks about must stay in the schema of the store it asks: a schema without it would refuse every
/// request of the tenant, and one with it under another meaning is what the guardrail stands against.
fn serving_check(content: &Content, schema: &Schema) -> Outcome<()> {
    content.serving.as_ref().map_or(Ok(()), |serving| declares(&serving.document.namespace, &schema.json))
}

/// Whether a schema has what the gateway asks about.
pub(crate) fn declares(namespace: &str, json: &str) -> Outcome<()> {
    let parsed = fit::schema(json)?;
    for kind in ["User", "Client", "Role"] {
        let wanted = format!("{namespace}::{kind}");
        if !parsed.entity_types().any(|known| known.to_string() == wanted) {
            let message = format!("must declare {wanted}: requests of this tenant are decided with it");
            return Err(AvpError::invalid("definition.cedarJson", message));
        }
    }
    Ok(())
}

fn has_policies(content: &Content) -> bool {
    !content.policies.is_empty() || !content.templates.is_empty()
}

fn is_empty(json: &str) -> bool {
    json.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}")
}

fn namespaces(fragment: &SchemaFragment) -> Vec<String> {
    let mut names: Vec<String> =
        fragment.namespaces().map(|name| name.map_or_else(String::new, |name| name.to_string())).collect();
    names.sort();
    names
}

fn answer(id: &StoreId, namespaces: Vec<String>, schema: &Schema) -> SchemaAnswer {
    SchemaAnswer {
        policy_store_id: id.clone(),
        namespaces,
        created_date: schema.created,
        last_updated_date: schema.updated,
    }
}
