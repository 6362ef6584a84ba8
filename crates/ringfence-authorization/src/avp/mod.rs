//! The policy service: the operations of Amazon Verified Permissions over the plane's state, without HTTP.
//!
//! Wire-compatible with API version 2021-12-01, and stricter where that is loose (`docs/reference/avp.md` says where).
//! It guarantees that a tenant's caller reaches its own account only, that what is another's and what never existed
//! answer the same bytes, that every operation changes all of what it changes or nothing, and that decisions are Cedar's.

pub mod account;
mod alias;
mod authorize;
mod batch;
mod content;
mod decide;
mod edit;
mod entities;
pub mod error;
mod fit;
mod identity_source;
mod identity_source_form;
pub mod model;
mod once;
mod open;
mod page;
mod policy;
mod policy_form;
mod policy_get;
mod principal;
mod quota;
mod record;
mod schema;
mod serve;
mod standing;
mod store;
mod tag;
mod template;
mod time;
mod token;
mod with_token;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quick_cache::sync::Cache;
use ringfence_context::{Clock, TenantId, UnixTime, id::StoreId, limits, tally::Hits};
use ringfence_store::{Records, Revision, StoreError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    Gate,
    avp::{decide::Deciding, open::Known},
    bulkhead::Bulkhead,
    gate::Terms,
    page::PageKey,
    stores::Stores,
    turns::Turns,
};

pub use account::{Account, Caller};
pub use error::{AvpError, Fault, Outcome, ResourceType};
pub use model::Model;
pub use quota::Quotas;
pub use serve::{Candidate, ServeError, Took};
pub use standing::{StoreOverview, StoreStanding};
pub use store::owner_rows;
pub use token::{Claims, ForeignFault, VerifyToken};

/// An answer in a while.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the service has to know of tenants.
pub trait Tiers: Send + Sync {
    /// What a tenant may have, by its tier.
    fn quotas<'a>(&'a self, tenant: &'a TenantId) -> Later<'a, Quotas>;

    /// What is asked of a change to a tenant's serving store, by its tier.
    fn terms<'a>(&'a self, tenant: &'a TenantId) -> Later<'a, Terms>;
}

/// How many stores are kept in memory.
const STORES_KEPT: usize = 2_000;

/// How many accounts' large inputs are read and answered at once.
const LARGE_AT_ONCE: usize = 8;

/// How much of the processor an account's may take at once: one of the largest. Reading JSON lets nobody go first.
const LARGE_TIME_AT_ONCE: Duration = Duration::from_millis(100);

/// The service.
pub struct Avp {
    records: Records,
    /// The tenants' serving stores.
    stores: Arc<Stores>,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    model: Model,
    tiers: Arc<dyn Tiers>,
    tokens: Arc<dyn VerifyToken>,
    page_key: PageKey,
    known: Cache<(Account, StoreId), Arc<Known>>,
    seen: watch::Receiver<Revision>,
    writing: Turns<Account>,
    large: Bulkhead,
}

/// What the service stands on.
pub struct AvpParts {
    /// The state.
    pub records: Records,
    /// The tenants' serving stores.
    pub stores: Arc<Stores>,
    /// What stands in front of every change to a serving store.
    pub gate: Arc<Gate>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What tenants may have.
    pub tiers: Arc<dyn Tiers>,
    /// Verification of tokens.
    pub tokens: Arc<dyn VerifyToken>,
}

/// One call, as the operations see it.
pub(crate) struct Call<'a> {
    caller: &'a Caller,
    operation: &'static str,
    /// The input as it came.
    input: &'a Value,
    now: UnixTime,
    /// The one store it is about, once that was found, as it is after the last change.
    about: Mutex<Option<Arc<Deciding>>>,
}

impl Call<'_> {
    /// It is about this store.
    fn is_about(&self, deciding: &Arc<Deciding>) {
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(deciding));
    }
}

/// What an operation answers.
#[derive(Debug)]
pub struct Answered {
    /// Its output.
    pub output: Value,
    /// What is known of the one store it was about.
    pub standing: Option<StoreStanding>,
}

impl Avp {
    /// The service over this state.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn open(parts: AvpParts) -> Result<Self, StoreError> {
        let AvpParts { records, stores, gate, clock, tiers, tokens } = parts;
        let model = Model::read().map_err(|_| StoreError::Invalid("the service model of this build"))?;
        let page_key = PageKey::open(&records).await?;
        Ok(Self {
            seen: records.subscribe(),
            known: Cache::new(STORES_KEPT),
            writing: Turns::new(limits::AVP_WRITES_WAITING),
            large: Bulkhead::with(LARGE_AT_ONCE, LARGE_TIME_AT_ONCE),
            records,
            stores,
            gate,
            clock,
            model,
            tiers,
            tokens,
            page_key,
        })
    }

    /// How often the store that was asked about was in memory.
    pub fn hits(&self) -> Hits {
        Hits { found: self.known.hits(), missed: self.known.misses() }
    }

    /// How often an account was turned away because as much of its own was waiting as may.
    pub fn crowded(&self) -> u64 {
        self.writing.crowded().saturating_add(self.large.crowded())
    }

    /// The threads on which large inputs are read and answered: whatever an input says, it takes long where it is large.
    pub fn large(&self) -> &Bulkhead {
        &self.large
    }

    /// The interface.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Calls an operation by its name.
    ///
    /// # Errors
    /// [`AvpError`], as the model lists for each operation.
    pub async fn call(&self, caller: &Caller, operation: &str, input: &Value) -> Outcome<Value> {
        Ok(self.answered(caller, operation, input).await?.output)
    }

    /// As [`Avp::call`], with what is known of the store it was about.
    ///
    /// # Errors
    /// As [`Avp::call`].
    pub async fn answered(&self, caller: &Caller, operation: &str, input: &Value) -> Outcome<Answered> {
        let operation =
            *OPERATIONS.iter().find(|known| **known == operation).ok_or(AvpError::UnknownOperation)?;
        let own_issuer = caller.account().tenant().map(|tenant| self.tokens.own_issuer(tenant));
        let fields = self.model.input_check(operation, input, own_issuer.as_deref());
        if let Some(first) = fields.first() {
            let message = format!(
                "{} {}",
                if first.path.is_empty() { "The input" } else { &first.path },
                first.message
            );
            return Err(AvpError::Validation { message, fields });
        }
        let input = &present(input);
        let call = Call { caller, operation, input, now: self.clock.now(), about: Mutex::default() };
        let output = self.dispatch(&call).await?;
        let about = call.about.into_inner().unwrap_or_else(PoisonError::into_inner);
        let standing = match (operation, about) {
            // A new store says nothing yet, and one that is gone says nothing more.
            ("CreatePolicyStore", _) => Some(StoreStanding::Unproved),
            ("DeletePolicyStore", _) | (_, None) => None,
            (_, Some(deciding)) => Some(self.standing(&deciding).await?),
        };
        Ok(Answered { output, standing })
    }

    /// What an account may have.
    async fn quotas(&self, account: &Account) -> Quotas {
        match account.tenant() {
            Some(tenant) => self.tiers.quotas(tenant).await,
            None => Quotas::default(),
        }
    }
}

macro_rules! operations {
    ($($name:ident => $method:ident;)+) => {
        /// Every operation, by its name on the wire.
        pub const OPERATIONS: &[&str] = &[$(stringify!($name),)+];

        impl Avp {
            async fn dispatch(&self, call: &Call<'_>) -> Outcome<Value> {
                match call.operation {
                    $(stringify!($name) => answer(Box::pin(self.$method(call, read(call.input)?)).await?),)+
                    _ => Err(AvpError::UnknownOperation),
                }
            }
        }
    };
}

operations! {
    BatchGetPolicy => batch_get_policy;
    BatchIsAuthorized => batch_is_authorized;
    BatchIsAuthorizedWithToken => batch_is_authorized_with_token;
    CreateIdentitySource => identity_source_create;
    CreatePolicy => policy_create;
    CreatePolicyStore => store_create;
    CreatePolicyStoreAlias => alias_create;
    CreatePolicyTemplate => template_create;
    DeleteIdentitySource => identity_source_delete;
    DeletePolicy => policy_delete;
    DeletePolicyStore => store_delete;
    DeletePolicyStoreAlias => alias_delete;
    DeletePolicyTemplate => template_delete;
    GetIdentitySource => identity_source_get;
    GetPolicy => policy_get;
    GetPolicyStore => store_get;
    GetPolicyStoreAlias => alias_get;
    GetPolicyTemplate => template_get;
    GetSchema => schema_get;
    IsAuthorized => is_authorized;
    IsAuthorizedWithToken => is_authorized_with_token;
    ListIdentitySources => identity_source_list;
    ListPolicies => policy_list;
    ListPolicyStoreAliases => alias_list;
    ListPolicyStores => store_list;
    ListPolicyTemplates => template_list;
    ListTagsForResource => tag_list;
    PutSchema => schema_put;
    TagResource => tag_put;
    UntagResource => tag_delete;
    UpdateIdentitySource => identity_source_update;
    UpdatePolicy => policy_update;
    UpdatePolicyStore => store_update;
    UpdatePolicyTemplate => template_update;
}

/// An input the model has accepted, in its own type.
fn read<T: DeserializeOwned>(input: &Value) -> Outcome<T> {
    T::deserialize(input).map_err(|error| AvpError::internal(format!("an input the model accepts: {error}")))
}

/// The input without its nulls, which is how JSON says that a member is absent.
fn present(input: &Value) -> Value {
    match input {
        Value::Object(members) => {
            let given = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(name, value)| (name.clone(), present(value))).collect())
        }
        Value::Array(items) => items.iter().map(present).collect(),
        other => other.clone(),
    }
}

fn answer<T: Serialize>(output: T) -> Outcome<Value> {
    serde_json::to_value(output).map_err(|error| AvpError::internal(format!("an answer: {error}")))
}

impl std::fmt::Debug for Avp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Avp({} stores in memory)", self.known.len())
    }
}

#[cfg(test)]
mod tests;
