//! `ringfence policy stores`, `prove-store`, `publish-store`.

use clap::Args;
use http::Method;
use miette::Result;
use serde_json::{Map, Value, json};

use super::{super::Common, text::published};
use crate::{
    call::Caller,
    output::{card, print, table},
};

/// List a tenant's policy stores.
#[derive(Debug, Args)]
pub(crate) struct Stores {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Those after this one, 100 at most
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Prove another store of a tenant.
#[derive(Debug, Args)]
pub(crate) struct ProveStore {
    #[command(flatten)]
    named: Named,
}

/// Make another store's content decide the tenant's requests.
#[derive(Debug, Args)]
pub(crate) struct PublishStore {
    /// Why, for the record
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    named: Named,
}

/// One store, as it was looked at.
#[derive(Debug, Args)]
struct Named {
    /// The policy store's id
    store: String,
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Only if it says this: the content that `policy stores` shows
    #[arg(long, value_name = "HASH")]
    content: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl Stores {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, after, common } = self;
        let mut path = format!("/v1/tenants/{tenant}/policy-stores");
        if let Some(after) = after {
            path.push_str("?after=");
            path.extend(url::form_urlencoded::byte_serialize(after.as_bytes()));
        }
        let listed = caller.api(&common, Method::GET, &path, None).await?;
        print(common.json, &listed, |listed| {
            let columns = [
                "policy_store_id",
                "serving",
                "standing",
                "policies",
                "validation",
                "content",
                "description",
            ];
            table(listed, &columns)
        });
        Ok(())
    }
}

impl ProveStore {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let (common, proved) = self.named.call(caller, "prove", Map::new()).await?;
        print(common.json, &proved, card);
        Ok(())
    }
}

impl PublishStore {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let members = Map::from_iter([("reason".to_owned(), json!(self.reason))]);
        let (common, done) = self.named.call(caller, "publish", members).await?;
        print(common.json, &done, |done| match done.get("proposal").and_then(Value::as_u64) {
            Some(number) => format!(
                "proposed as proposal {number}: changes of this tenant's policies are published when another operator has approved them"
            ),
            None => published("published", done),
        });
        Ok(())
    }
}

impl Named {
    async fn call(
        self,
        caller: &Caller,
        step: &str,
        mut body: Map<String, Value>,
    ) -> Result<(Common, Value)> {
        let Self { store, tenant, content, common } = self;
        if let Some(content) = content {
            body.insert("content".to_owned(), json!(content));
        }
        let path = format!("/v1/tenants/{tenant}/policy-stores/{store}/{step}");
        let answer = caller.api(&common, Method::POST, &path, Some(Value::Object(body))).await?;
        Ok((common, answer))
    }
}
