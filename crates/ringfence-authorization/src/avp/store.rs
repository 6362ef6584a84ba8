//! Policy stores: made, shown, listed, changed, deleted.

use std::collections::BTreeMap;

use ringfence_context::{TenantId, id::StoreId, key};
use ringfence_store::{Draft, Expect, Records, Scope, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    avp::{
        Avp, Call,
        account::Account,
        edit::{Edit, deletions, head_put},
        error::{AvpError, Outcome, ResourceType},
        once::Once,
        page::Listing,
        record::{ALIAS, AliasRecord, Head, Mode, Protection, STORE},
        time::{Moment, iso},
    },
    stores::STORE_OWNER,
};

/// Records looked at at once.
const PAGE: u32 = 500;

#[derive(Deserialize)]
pub(crate) struct ValidationSettings {
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatePolicyStore {
    validation_settings: ValidationSettings,
    description: Option<String>,
    deletion_protection: Option<Protection>,
    encryption_settings: Option<Value>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdatePolicyStore {
    policy_store_id: String,
    validation_settings: ValidationSettings,
    deletion_protection: Option<Protection>,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetPolicyStore {
    policy_store_id: String,
    #[serde(default)]
    tags: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletePolicyStore {
    policy_store_id: String,
}

/// The members of lists are read where lists are cut into pages.
#[derive(Deserialize)]
pub(crate) struct ListPolicyStores {}

/// A store, as its changes answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoreAnswer {
    policy_store_id: StoreId,
    arn: String,
    #[serde(serialize_with = "iso")]
    created_date: Moment,
    #[serde(serialize_with = "iso")]
    last_updated_date: Moment,
}

/// A store, as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoreShown {
    #[serde(flatten)]
    store: StoreAnswer,
    validation_settings: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    deletion_protection: Protection,
    encryption_state: Value,
    cedar_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
}

/// A store, as it is listed.
#[derive(Serialize)]
struct StoreItem {
    #[serde(flatten)]
    store: StoreAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StorePage {
    policy_stores: Vec<StoreItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Avp {
    pub(crate) async fn store_create(&self, call: &Call<'_>, new: CreatePolicyStore) -> Outcome<Value> {
        if new
            .encryption_settings
            .as_ref()
            .is_some_and(|settings| settings.get("kmsEncryptionSettings").is_some())
        {
            let message =
                "must be default: there is no KMS here; every record is sealed under its tenant's own key";
            return Err(AvpError::invalid("encryptionSettings", message));
        }
        let account = call.caller.account();
        let _turn = self.turn(&account).await?;
        let once = match Once::begin(&self.records, &account, call.operation, call.input, call.now).await? {
            Once::Done(answer) => return Ok(answer),
            Once::Todo(once) => once,
        };
        let quotas = self.quotas(&account).await;
        if new.tags.len() > quotas.tags_per_store {
            let message = format!("a policy store has at most {} tags", quotas.tags_per_store);
            return Err(AvpError::invalid("tags", message));
        }
        self.store_quota(&account, quotas.policy_stores).await?;
        let now = Moment(call.now);
        let head = Head {
            id: StoreId::new(&made_id("PS")?).map_err(|_| AvpError::internal("a store's id"))?,
            tenant: account.tenant().cloned(),
            mode: new.validation_settings.mode,
            description: new.description,
            protection: new.deletion_protection.unwrap_or(Protection::Disabled),
            tags: new.tags,
            created: now,
            updated: now,
            proved: None,
        };
        let answered = super::answer(answer(&account, &head))?;
        let mut drafts = vec![head_put(&account.scope(), &head)?.expect(Expect::Absent)];
        if let Some(tenant) = account.tenant() {
            let owner = Draft::put(&Scope::Plane, STORE_OWNER, head.id.as_str(), tenant)?;
            drafts.push(owner.expect(Expect::Absent));
        }
        drafts.extend(once.drafts(&answered)?);
        self.records.commit(drafts).await?;
        Ok(answered)
    }

    pub(crate) async fn store_get(&self, call: &Call<'_>, asked: GetPolicyStore) -> Outcome<StoreShown> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let content = &deciding.content;
        let Head { mode, description, protection, tags, .. } = content.head.clone();
        Ok(StoreShown {
            store: answer(&content.account, &content.head),
            validation_settings: json!({ "mode": mode }),
            description,
            deletion_protection: protection,
            encryption_state: json!({ "default": {} }),
            cedar_version: "CEDAR_4",
            tags: (asked.tags == Some(true)).then_some(tags),
        })
    }

    pub(crate) async fn store_list(&self, call: &Call<'_>, _: ListPolicyStores) -> Outcome<StorePage> {
        let account = call.caller.account();
        let listing = Listing {
            key: &self.page_key,
            account: &account,
            operation: call.operation,
            store: "",
            input: call.input,
        };
        self.serving_store(&account, call.now).await?;
        let (after, limit) = (listing.after()?, listing.limit(10));
        let more = u32::try_from(limit).unwrap_or(PAGE).saturating_add(1);
        let found = self.records.list::<Head>(&account.scope(), STORE, after.as_deref(), more).await?;
        let shown = |head: Head| StoreItem { store: answer(&account, &head), description: head.description };
        let found = found.into_iter().map(|(id, head)| (id, shown(head.value))).collect();
        let (policy_stores, next_token) = listing.page(found, limit);
        Ok(StorePage { policy_stores, next_token })
    }

    pub(crate) async fn store_update(&self, call: &Call<'_>, new: UpdatePolicyStore) -> Outcome<StoreAnswer> {
        let deciding = self.store(call, &new.policy_store_id).await?;
        let _turn = self.turn(&deciding.content.account).await?;
        let deciding = self.store(call, &new.policy_store_id).await?;
        let content = &deciding.content;
        let mode = new.validation_settings.mode;
        if content.serving.is_some() {
            let refused = |path, message: &str| Err(AvpError::invalid(path, message));
            if mode == Mode::Off {
                return refused(
                    "validationSettings.mode",
                    "is always STRICT for the store that decides requests",
                );
            }
            if new.deletion_protection == Some(Protection::Disabled) {
                return refused(
                    "deletionProtection",
                    "is always ENABLED for the store that decides requests",
                );
            }
        }
        if mode == Mode::Strict && content.head.mode == Mode::Off {
            self.fits(&deciding, mode, content.schema.clone()).await?;
        }
        let mut edit = Edit::of(content, call.now);
        let head = edit.head();
        head.mode = mode;
        head.protection = new.deletion_protection.unwrap_or(head.protection);
        if let Some(description) = new.description {
            head.description = Some(description).filter(|text| !text.is_empty());
        }
        let changed = self.commit(edit, call).await?;
        Ok(answer(&changed.content.account, &changed.content.head))
    }

    pub(crate) async fn store_delete(&self, call: &Call<'_>, gone: DeletePolicyStore) -> Outcome<Value> {
        let Some(found) = self.store_without_alias(call, &gone.policy_store_id).await? else {
            return Ok(json!({}));
        };
        let account = found.content.account.clone();
        let _turn = self.turn(&account).await?;
        let Some(found) = self.store_by_id(call, &found.content.head.id).await? else { return Ok(json!({})) };
        let content = &found.content;
        if content.serving.is_some() {
            let message =
                "This policy store decides the tenant's requests; it goes when the tenant is removed.";
            return Err(AvpError::InvalidState(message.to_owned()));
        }
        if content.head.protection == Protection::Enabled {
            let message = "Deletion protection is enabled; disable it with UpdatePolicyStore first.";
            return Err(AvpError::InvalidState(message.to_owned()));
        }
        let (scope, id) = (account.scope(), &content.head.id);
        let mut drafts = vec![
            Draft::delete(&scope, STORE, id.as_str()).expect(Expect::Revision(content.revision)),
            Draft::delete(&Scope::Plane, STORE_OWNER, id.as_str()),
        ];
        drafts.extend(deletions(content));
        for (name, alias) in self.aliases(&account).await? {
            if alias.store == *id {
                drafts.push(Draft::delete(&scope, ALIAS, &name));
            }
        }
        self.records.commit(drafts).await?;
        self.forget(&account, id);
        Ok(json!({}))
    }

    /// Every alias of an account.
    pub(crate) async fn aliases(&self, account: &Account) -> Outcome<Vec<(String, AliasRecord)>> {
        let mut all: Vec<(String, AliasRecord)> = Vec::new();
        loop {
            let after = all.last().map(|(name, _)| name.clone());
            let page =
                self.records.list::<AliasRecord>(&account.scope(), ALIAS, after.as_deref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().map(|(name, stored)| (name, stored.value)));
        }
    }

    async fn store_quota(&self, account: &Account, most: usize) -> Outcome<()> {
        let (mut count, mut after) = (0_usize, None::<String>);
        loop {
            let page = self.records.list::<Head>(&account.scope(), STORE, after.as_deref(), PAGE).await?;
            count = count.saturating_add(page.len());
            if count >= most {
                return Err(AvpError::ServiceQuotaExceeded {
                    message: format!("An account has at most {most} policy stores."),
                    id: None,
                    kind: ResourceType::PolicyStore,
                    code: "policy-stores",
                });
            }
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Ok(()),
            }
        }
    }
}

/// The plane's rows that say which tenant the stores of this tenant are of, to be removed with it.
///
/// # Errors
/// What the state refuses.
pub async fn owner_rows(records: &Records, tenant: &TenantId) -> Result<Vec<Draft>, StoreError> {
    let (mut rows, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = records.list::<Head>(&Scope::from(tenant), STORE, after.as_deref(), PAGE).await?;
        rows.extend(page.iter().map(|(id, _)| Draft::delete(&Scope::Plane, STORE_OWNER, id)));
        match page.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok(rows),
        }
    }
}

/// A new id: what it is of, and 128 random bits.
pub(crate) fn made_id(prefix: &str) -> Outcome<String> {
    let bytes = key::random::<16>().map_err(|_| AvpError::internal("no randomness"))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{prefix}{digits}"))
}

fn answer(account: &Account, head: &Head) -> StoreAnswer {
    StoreAnswer {
        policy_store_id: head.id.clone(),
        arn: account.store_arn(&head.id),
        created_date: head.created,
        last_updated_date: head.updated,
    }
}
