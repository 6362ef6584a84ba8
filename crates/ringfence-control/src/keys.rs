//! The plane's own keys: the gateway's signature, the guard's key, the backend's MAC. Made once, kept sealed.

use ringfence_context::{
    Secret,
    key::{KeyError, MacKey, SigningKey},
};
use ringfence_store::{Draft, Expect, Kind, Records, Scope, StoreError};
use serde::{Deserialize, Serialize};

const PLANE_KEYS: Kind = Kind::new("plane_keys");

/// Keys of the plane.
#[derive(Debug)]
pub struct PlaneKeys {
    /// The gateway's.
    pub gateway: SigningKey,
    gateway_pkcs8: Secret<Vec<u8>>,
    /// The guard's, which Postgres knows as well.
    pub guard: MacKey,
    /// The one the backend shares with the gateway.
    pub binding: MacKey,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    gateway: Vec<u8>,
    guard: Vec<u8>,
    binding: Vec<u8>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum PlaneKeysError {
    /// The state refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl PlaneKeys {
    /// Reads the keys, or makes them where there are none yet.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn open(records: &Records) -> Result<Self, PlaneKeysError> {
        if let Some(kept) = records.get::<Kept>(&Scope::Plane, PLANE_KEYS, "current").await? {
            return Ok(Self::read(kept.value)?);
        }
        let (_, gateway) = SigningKey::generate()?;
        let kept = Kept {
            gateway: gateway.reveal().clone(),
            guard: MacKey::generate()?.bytes().reveal().clone(),
            binding: MacKey::generate()?.bytes().reveal().clone(),
        };
        let draft = Draft::put(&Scope::Plane, PLANE_KEYS, "current", &kept)?.expect(Expect::Absent);
        match records.commit(vec![draft]).await {
            Ok(_) => Ok(Self::read(kept)?),
            // Another node was first: its keys are the plane's.
            Err(StoreError::Conflict { .. }) => {
                let kept = records.get::<Kept>(&Scope::Plane, PLANE_KEYS, "current").await?;
                Ok(Self::read(kept.ok_or(KeyError::Malformed)?.value)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The gateway's signature, to be handed to the gateway.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] never, for a key that was read.
    pub fn gateway_signer(&self) -> Result<SigningKey, KeyError> {
        SigningKey::from_pkcs8(&self.gateway_pkcs8)
    }

    fn read(kept: Kept) -> Result<Self, KeyError> {
        let gateway_pkcs8 = Secret::new(kept.gateway);
        Ok(Self {
            gateway: SigningKey::from_pkcs8(&gateway_pkcs8)?,
            gateway_pkcs8,
            guard: MacKey::from_bytes(&Secret::new(kept.guard)),
            binding: MacKey::from_bytes(&Secret::new(kept.binding)),
        })
    }
}
