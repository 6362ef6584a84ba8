//! A tenant's pool: its signing keys, and the key its database believes it by.
//!
//! One sealed record per tenant, under the tenant's own record key. Private keys are read for each token and not kept:
//! the gateway's memory holds public keys only (see [`crate::directory`]).

use std::fmt;

use ringfence_context::{
    Secret, TenantId, UnixTime,
    key::{self, KeyError, MacKey, PublicKey, SigningKey},
};
use ringfence_store::{Draft, Expect, Kind, Records, Scope, StoreError, Stored};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::IdentityError;

/// The pool's record, one per tenant.
pub const POOL: Kind = Kind::new("pool");

/// The plane's list of pools: record ids are tenant ids. It says who is to be asked, and decides nothing.
pub const POOL_INDEX: Kind = Kind::new("pool_index");

const ID: &str = "pool";

/// How long a replaced key's tokens are still believed, in seconds: longer than any access token lives.
const KEY_GRACE_SECONDS: u64 = 3600;

/// Longest display name, in bytes.
const NAME_BYTES: usize = 120;

/// Pools, and all that is in them. Clones share the state.
#[derive(Debug, Clone)]
pub struct Pools {
    pub(crate) records: Records,
}

/// A pool of users.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Whose it is.
    pub tenant: TenantId,
    /// Shown on the sign-in page.
    pub display_name: String,
    /// Whether anyone signs in here.
    pub active: bool,
    /// The newest key first: it signs.
    keys: Vec<PoolKey>,
    database_key: KeyBytes,
    /// What names of users and tickets are authenticated with.
    inner_key: KeyBytes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolKey {
    pkcs8: KeyBytes,
    /// Until when its signatures are believed, in seconds since the epoch; the signing key has no end.
    until: Option<u64>,
}

/// Key material inside a sealed record: as base64url in the record, never shown.
#[derive(Clone)]
struct KeyBytes(Secret<Vec<u8>>);

impl Pool {
    /// The key that signs.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] where there is none.
    pub fn signing_key(&self) -> Result<SigningKey, KeyError> {
        let newest = self.keys.first().ok_or(KeyError::Malformed)?;
        SigningKey::from_pkcs8(&newest.pkcs8.0)
    }

    /// The keys whose signatures are believed at `now`.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn public_keys(&self, now: UnixTime) -> Result<Vec<PublicKey>, KeyError> {
        let live = |key: &&PoolKey| key.until.is_none_or(|until| until > now.seconds());
        self.keys
            .iter()
            .filter(live)
            .map(|key| Ok(SigningKey::from_pkcs8(&key.pkcs8.0)?.public().clone()))
            .collect()
    }

    /// When the next of the believed keys stops being so, in seconds since the epoch.
    pub(crate) fn first_key_end(&self, now: UnixTime) -> Option<u64> {
        self.keys.iter().filter_map(|key| key.until).filter(|until| *until > now.seconds()).min()
    }

    /// The key by which the tenant's rows in the database believe its issuer.
    pub fn database_key(&self) -> MacKey {
        MacKey::from_bytes(&self.database_key.0)
    }

    /// A key for one purpose inside this pool.
    pub(crate) fn key_for(&self, purpose: &str) -> MacKey {
        MacKey::from_bytes(&self.inner_key.0).derive(purpose)
    }
}

impl Pools {
    /// The pools of this state.
    pub fn new(records: Records) -> Self {
        Self { records }
    }

    /// Makes a tenant's pool with fresh keys. The tenant must have its record key: [`Records::tenant_add`] comes first.
    ///
    /// # Errors
    /// [`IdentityError::Exists`], [`IdentityError::Invalid`], [`StoreError::TenantUnknown`].
    pub async fn pool_create(&self, tenant: &TenantId, display_name: &str) -> Result<(), IdentityError> {
        check_display_name(display_name)?;
        let pool = Pool {
            tenant: tenant.clone(),
            display_name: display_name.to_owned(),
            active: true,
            keys: vec![PoolKey { pkcs8: KeyBytes(SigningKey::generate()?.1), until: None }],
            database_key: KeyBytes(MacKey::generate()?.bytes().clone()),
            inner_key: KeyBytes(MacKey::generate()?.bytes().clone()),
        };
        let index = Draft::put(&Scope::Plane, POOL_INDEX, tenant.as_str(), tenant)?;
        let drafts = vec![Draft::put(&tenant.into(), POOL, ID, &pool)?.expect(Expect::Absent), index];
        exists("pool", self.records.commit(drafts).await)
    }

    /// The tenant's pool.
    ///
    /// # Errors
    /// [`IdentityError::Missing`]; [`StoreError::Tampered`] where it does not authenticate or is another tenant's.
    pub async fn pool_get(&self, tenant: &TenantId) -> Result<Pool, IdentityError> {
        Ok(self.pool_stored(tenant).await?.value)
    }

    /// Tenants that have a pool, by ascending id, those after `after`.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn pool_list(&self, after: Option<&TenantId>, limit: u32) -> Result<Vec<TenantId>, StoreError> {
        let after = after.map(TenantId::as_str);
        let listed = self.records.list::<TenantId>(&Scope::Plane, POOL_INDEX, after, limit).await?;
        Ok(listed.into_iter().map(|(_, stored)| stored.value).collect())
    }

    /// Stops all sign-in, and with it every token of the pool.
    ///
    /// # Errors
    /// As [`Pools::pool_get`].
    pub async fn pool_suspend(&self, tenant: &TenantId) -> Result<(), IdentityError> {
        self.pool_change(tenant, |pool| {
            pool.active = false;
            Ok(())
        })
        .await
    }

    /// Lets people sign in again.
    ///
    /// # Errors
    /// As [`Pools::pool_get`].
    pub async fn pool_resume(&self, tenant: &TenantId) -> Result<(), IdentityError> {
        self.pool_change(tenant, |pool| {
            pool.active = true;
            Ok(())
        })
        .await
    }

    /// Takes the pool away: nobody signs in, no issuer is served. Its users go with [`Records::tenant_shred`].
    ///
    /// # Errors
    /// What the store answers.
    pub async fn pool_delete(&self, tenant: &TenantId) -> Result<(), IdentityError> {
        let index = Draft::delete(&Scope::Plane, POOL_INDEX, tenant.as_str());
        let pool = Draft::delete(&tenant.into(), POOL, ID);
        match self.records.commit(vec![pool, index]).await {
            // Shredded before: what is left is the list's entry.
            Err(StoreError::TenantUnknown) => {
                let index = Draft::delete(&Scope::Plane, POOL_INDEX, tenant.as_str());
                self.records.commit(vec![index]).await?;
            }
            outcome => {
                outcome?;
            }
        }
        Ok(())
    }

    /// Signs with a new key from now on; tokens of the old one are believed until the last of them has expired.
    ///
    /// # Errors
    /// As [`Pools::pool_get`].
    pub async fn key_rotate(&self, tenant: &TenantId, now: UnixTime) -> Result<(), IdentityError> {
        self.pool_change(tenant, |pool| {
            pool.keys.retain(|key| key.until.is_none_or(|until| until > now.seconds()));
            for key in &mut pool.keys {
                key.until.get_or_insert(now.seconds().saturating_add(KEY_GRACE_SECONDS));
            }
            pool.keys.insert(0, PoolKey { pkcs8: KeyBytes(SigningKey::generate()?.1), until: None });
            Ok(())
        })
        .await
    }

    async fn pool_stored(&self, tenant: &TenantId) -> Result<Stored<Pool>, IdentityError> {
        let stored = self.records.get::<Pool>(&tenant.into(), POOL, ID).await?;
        let stored = stored.ok_or(IdentityError::Missing("pool"))?;
        if stored.value.tenant != *tenant {
            return Err(StoreError::Tampered { kind: POOL.to_string() }.into());
        }
        Ok(stored)
    }

    async fn pool_change(
        &self,
        tenant: &TenantId,
        change: impl FnOnce(&mut Pool) -> Result<(), IdentityError> + Send,
    ) -> Result<(), IdentityError> {
        let Stored { mut value, revision } = self.pool_stored(tenant).await?;
        change(&mut value)?;
        let draft = Draft::put(&tenant.into(), POOL, ID, &value)?.expect(Expect::Revision(revision));
        self.records.commit(vec![draft]).await?;
        Ok(())
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(redacted)")
    }
}

impl Serialize for KeyBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&key::base64url(self.0.reveal()))
    }
}

impl<'de> Deserialize<'de> for KeyBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = key::base64url_decode(&text).map_err(|_| de::Error::custom("not a key"))?;
        Ok(Self(Secret::new(bytes)))
    }
}

/// Turns the conflict of a creation into what it means.
pub(crate) fn exists<T>(what: &'static str, outcome: Result<T, StoreError>) -> Result<(), IdentityError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict { .. }) => Err(IdentityError::Exists(what)),
        Err(error) => Err(error.into()),
    }
}

/// A display name: printable, not empty, not long.
pub(crate) fn check_display_name(name: &str) -> Result<(), IdentityError> {
    if name.trim().is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        return Err(IdentityError::Invalid("a display name is 1 to 120 bytes of printable text"));
    }
    Ok(())
}
