//! Tags of policy stores.

use std::collections::BTreeMap;

use ringfence_context::{TenantId, id::StoreId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::avp::{
    Avp, Call,
    account::{Account, Caller, store_of_arn},
    decide::Deciding,
    edit::Edit,
    error::{AvpError, Outcome, ResourceType},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TagResource {
    resource_arn: String,
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTagsForResource {
    resource_arn: String,
}

#[derive(Serialize)]
pub(crate) struct Tags {
    tags: BTreeMap<String, String>,
}

impl Avp {
    pub(crate) async fn tag_put(&self, call: &Call<'_>, new: TagResource) -> Outcome<Value> {
        let found = self.tagged(call, &new.resource_arn).await?;
        let _turn = self.turn(&found.content.account).await?;
        let found = self.tagged(call, &new.resource_arn).await?;
        let most = self.quotas(&found.content.account).await.tags_per_store;
        let mut edit = Edit::of(&found.content, call.now);
        let tags = &mut edit.head().tags;
        tags.extend(new.tags);
        if tags.len() > most {
            let message = format!("A policy store has at most {most} tags; remove some with UntagResource.");
            return Err(AvpError::TooManyTags { message, arn: new.resource_arn });
        }
        self.commit(edit, call).await?;
        Ok(json!({}))
    }

    pub(crate) async fn tag_delete(&self, call: &Call<'_>, gone: UntagResource) -> Outcome<Value> {
        let found = self.tagged(call, &gone.resource_arn).await?;
        let _turn = self.turn(&found.content.account).await?;
        let found = self.tagged(call, &gone.resource_arn).await?;
        let mut edit = Edit::of(&found.content, call.now);
        edit.head().tags.retain(|name, _| !gone.tag_keys.contains(name));
        self.commit(edit, call).await?;
        Ok(json!({}))
    }

    pub(crate) async fn tag_list(&self, call: &Call<'_>, asked: ListTagsForResource) -> Outcome<Tags> {
        let found = self.tagged(call, &asked.resource_arn).await?;
        Ok(Tags { tags: found.content.head.tags.clone() })
    }

    /// The store an ARN names, if the caller reaches it and it is in the account the ARN says.
    async fn tagged(&self, call: &Call<'_>, arn: &str) -> Outcome<Arc<Deciding>> {
        let missing = || AvpError::missing(ResourceType::PolicyStore, arn);
        let (account, id) = store_of_arn(arn).ok_or_else(missing)?;
        let id = StoreId::new(id).map_err(|_| missing())?;
        let account = match (call.caller, account) {
            (caller, name) if caller.account().name() == name => caller.account(),
            (Caller::Operator(_), name) => Account::Tenant(TenantId::new(name).map_err(|_| missing())?),
            (Caller::Tenant(_), _) => return Err(missing()),
        };
        self.store_in(&account, &id, call.now).await?.ok_or_else(missing)
    }
}
