//! Aliases: names for stores, unique in their account.
//!
//! A deleted alias is pending until it is deleted for good: its name can't be used for anything meanwhile. Which store an
//! alias names is one record, so every request sees the one or the other.

use ringfence_context::id::StoreId;
use ringfence_store::{Draft, Expect, StoreError, Stored};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::avp::{
    Avp, Call,
    account::Account,
    error::{AvpError, Outcome, ResourceType},
    open::ALIAS_PREFIX,
    page::Listing,
    record::{ALIAS, AliasRecord},
    time::{Moment, iso},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatePolicyStoreAlias {
    alias_name: String,
    policy_store_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetPolicyStoreAlias {
    alias_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletePolicyStoreAlias {
    alias_name: String,
    deletion_mode: Option<DeletionMode>,
}

#[derive(Deserialize, PartialEq, Eq)]
enum DeletionMode {
    #[serde(rename = "SoftDelete")]
    Soft,
    #[serde(rename = "HardDelete")]
    Hard,
}

#[derive(Deserialize)]
pub(crate) struct ListPolicyStoreAliases {
    filter: Option<AliasFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AliasFilter {
    policy_store_id: Option<String>,
}

/// An alias, as its creation answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AliasAnswer {
    alias_name: String,
    policy_store_id: StoreId,
    alias_arn: String,
    #[serde(serialize_with = "iso")]
    created_at: Moment,
}

/// An alias, as it is shown.
#[derive(Serialize)]
pub(crate) struct AliasShown {
    #[serde(flatten)]
    alias: AliasAnswer,
    state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AliasPage {
    policy_store_aliases: Vec<AliasShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Avp {
    /// The alias of this name in an account.
    pub(crate) async fn alias(&self, account: &Account, name: &str) -> Outcome<Option<Stored<AliasRecord>>> {
        match self.records.get::<AliasRecord>(&account.scope(), ALIAS, name).await {
            Err(StoreError::TenantUnknown) => Ok(None),
            found => Ok(found?),
        }
    }

    pub(crate) async fn alias_create(
        &self,
        call: &Call<'_>,
        new: CreatePolicyStoreAlias,
    ) -> Outcome<AliasAnswer> {
        let CreatePolicyStoreAlias { alias_name: name, policy_store_id } = new;
        name_check(&name)?;
        let account = call.caller.account();
        let _turn = self.turn(&account).await?;
        let store = self.store_without_alias(call, &policy_store_id).await?;
        // An operator reaches tenants' stores by id, but an alias names a store of its own account.
        let store = store.filter(|store| store.content.account == account);
        let store = store.ok_or_else(|| AvpError::missing(ResourceType::PolicyStore, &policy_store_id))?;
        let store = store.content.head.id.clone();
        if let Some(found) = self.alias(&account, &name).await? {
            let AliasRecord { store: named, pending_deletion, .. } = &found.value;
            if !pending_deletion && *named == store {
                return Ok(answer(&account, &name, &found.value));
            }
            let state = if *pending_deletion { "is pending deletion" } else { "names another policy store" };
            return Err(AvpError::Conflict {
                message: format!("The alias {state}."),
                resources: vec![(name, ResourceType::PolicyStoreAlias)],
            });
        }
        let most = self.quotas(&account).await.policy_store_aliases;
        if self.aliases(&account).await?.len() >= most {
            return Err(AvpError::ServiceQuotaExceeded {
                message: format!("An account has at most {most} policy store aliases."),
                id: None,
                kind: ResourceType::PolicyStoreAlias,
                code: "policy-store-aliases",
            });
        }
        let alias = AliasRecord { store, pending_deletion: false, created: Moment(call.now) };
        let draft = Draft::put(&account.scope(), ALIAS, &name, &alias)?.expect(Expect::Absent);
        self.records.commit(vec![draft]).await?;
        Ok(answer(&account, &name, &alias))
    }

    pub(crate) async fn alias_get(&self, call: &Call<'_>, asked: GetPolicyStoreAlias) -> Outcome<AliasShown> {
        let account = call.caller.account();
        name_check(&asked.alias_name)?;
        let found = self.alias(&account, &asked.alias_name).await?;
        let missing = || AvpError::missing(ResourceType::PolicyStoreAlias, &asked.alias_name);
        Ok(shown(&account, &asked.alias_name, &found.ok_or_else(missing)?.value))
    }

    pub(crate) async fn alias_delete(&self, call: &Call<'_>, gone: DeletePolicyStoreAlias) -> Outcome<Value> {
        let DeletePolicyStoreAlias { alias_name: name, deletion_mode } = gone;
        name_check(&name)?;
        let account = call.caller.account();
        let _turn = self.turn(&account).await?;
        let Some(Stored { value, revision }) = self.alias(&account, &name).await? else {
            return Ok(json!({}));
        };
        let scope = account.scope();
        let draft = if deletion_mode == Some(DeletionMode::Hard) {
            Draft::delete(&scope, ALIAS, &name)
        } else {
            Draft::put(&scope, ALIAS, &name, &AliasRecord { pending_deletion: true, ..value })?
        };
        self.records.commit(vec![draft.expect(Expect::Revision(revision))]).await?;
        Ok(json!({}))
    }

    pub(crate) async fn alias_list(
        &self,
        call: &Call<'_>,
        asked: ListPolicyStoreAliases,
    ) -> Outcome<AliasPage> {
        let account = call.caller.account();
        let listing = Listing {
            key: &self.page_key,
            account: &account,
            operation: call.operation,
            store: "",
            input: call.input,
        };
        let (after, limit) = (listing.after()?, listing.limit(5));
        let wanted = asked.filter.and_then(|filter| filter.policy_store_id);
        let found = self.aliases(&account).await?.into_iter().filter(|(name, alias)| {
            after.as_ref().is_none_or(|after| name > after)
                && wanted.as_ref().is_none_or(|wanted| alias.store.as_str() == wanted)
        });
        let found = found.map(|(name, alias)| (name.clone(), shown(&account, &name, &alias)));
        let (policy_store_aliases, next_token) = listing.page(found.collect(), limit);
        Ok(AliasPage { policy_store_aliases, next_token })
    }
}

fn name_check(name: &str) -> Outcome<()> {
    if name.strip_prefix(ALIAS_PREFIX).is_some_and(|rest| !rest.is_empty()) {
        return Ok(());
    }
    Err(AvpError::invalid("aliasName", format!("must begin with {ALIAS_PREFIX} and go on")))
}

fn answer(account: &Account, name: &str, alias: &AliasRecord) -> AliasAnswer {
    AliasAnswer {
        alias_name: name.to_owned(),
        policy_store_id: alias.store.clone(),
        alias_arn: account.alias_arn(name),
        created_at: alias.created,
    }
}

fn shown(account: &Account, name: &str, alias: &AliasRecord) -> AliasShown {
    let state = if alias.pending_deletion { "PendingDeletion" } else { "Active" };
    AliasShown { alias: answer(account, name, alias), state }
}
