//! The guard, as the plane runs it: how it meets its clients, how many, and what each tenant may take of it.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ringfence_context::Secret;
use ringfence_guard::{
    Guard, cluster,
    proxy::{self, Caps, Plaintext},
    tls::Identity,
};
use ringfence_sdk::GuardTls;
use serde::Deserialize;

use crate::{
    parts::Parts,
    plane::Plane,
    settings::{Settings, SettingsError, read},
};

/// Most connections to a managed Postgres, which has some more for the plane itself.
const MANAGED: usize = cluster::MAX_CONNECTIONS - 20;

/// Most clients.
const CLIENTS: u64 = 100_000;

/// The longest that a transaction may wait for a connection, in seconds.
const WAIT: u64 = 600;

/// The longest that a transaction may take, in seconds: a day.
const LONGEST: u64 = 86_400;

/// How long one may take where nothing else is said.
const TRANSACTION: Duration = Duration::from_secs(300);

/// `[guard]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardSettings {
    /// A file with its certificate, and those that lead to an authority, in PEM. It is read when the plane starts.
    pub certificate_file: Option<PathBuf>,
    /// A file with the certificate's private key.
    pub key_file: Option<PathBuf>,
    /// The name in the certificate by which backends know the guard.
    pub name: Option<String>,
    /// A file with the authorities that may vouch for it to backends, in PEM; by default those browsers believe.
    pub ca_file: Option<PathBuf>,
    /// Whose tokens it takes without TLS: `"never"`, `"loopback"` or `"always"`.
    pub plaintext: Plaintext,
    /// Most connections to Postgres, all databases and tenants together.
    pub connections: NonZeroUsize,
    /// Most clients.
    pub clients: u64,
    /// How long a transaction waits for a connection, in seconds.
    pub wait_seconds: u64,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            certificate_file: None,
            key_file: None,
            name: None,
            ca_file: None,
            plaintext: Plaintext::default(),
            connections: const { NonZeroUsize::new(20).unwrap() },
            clients: 1000,
            wait_seconds: 10,
        }
    }
}

/// What each tenant of a tier may take of the guard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TierGuard {
    /// Most connections to Postgres that one holds at a time; by default half of the guard's.
    pub connections: Option<NonZeroUsize>,
    /// How long each transaction may take, in seconds; by default 300.
    pub transaction_seconds: Option<u64>,
}

impl GuardSettings {
    /// Who the guard is, where it has a certificate.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub(crate) fn identity(&self, folder: &Path) -> Result<Option<Identity>, SettingsError> {
        let (certificate, key) = match (&self.certificate_file, &self.key_file, &self.name) {
            (Some(certificate), Some(key), Some(_)) => (folder.join(certificate), folder.join(key)),
            (None, None, None) => return Ok(None),
            (certificate, key, _) => {
                let path = certificate.as_ref().or(key.as_ref()).cloned().unwrap_or_default();
                let what = "[guard] wants certificate_file, key_file and name, or none of them".to_owned();
                return Err(SettingsError::Form { path, what });
            }
        };
        let (chain, secret) = (read(&certificate)?, Secret::new(read(&key)?));
        let identity = Identity::new(chain.as_bytes(), secret.reveal().as_bytes());
        identity.map(Some).map_err(|error| SettingsError::Form { path: certificate, what: error.to_string() })
    }

    /// How backends know the guard, where it has a certificate.
    ///
    /// # Errors
    /// Where a file can't be read.
    pub(crate) fn known_by(&self, folder: &Path) -> Result<Option<GuardTls>, SettingsError> {
        let Some(name) = self.name.clone() else { return Ok(None) };
        let authorities = self.ca_file.as_ref().map(|file| read(&folder.join(file))).transpose()?;
        Ok(Some(GuardTls { name, authorities }))
    }
}

impl TierGuard {
    /// What each may take, of so many connections.
    fn caps(self, of: usize) -> Caps {
        Caps {
            connections: self.connections.map_or(of.div_ceil(2), NonZeroUsize::get),
            transaction: self.transaction_seconds.map_or(TRANSACTION, Duration::from_secs),
        }
    }
}

/// What each tier's tenants may take.
pub(crate) fn caps(settings: &Settings) -> BTreeMap<String, Caps> {
    let of = settings.guard.connections.get();
    settings.tiers.iter().map(|(name, tier)| (name.clone(), tier.guard.caps(of))).collect()
}

/// What is wrong with how many and how long, and what to write.
pub(crate) fn fault(settings: &Settings) -> Option<String> {
    let GuardSettings { connections, clients, wait_seconds, .. } = settings.guard;
    let outside = |key: &str, value, range: RangeInclusive<u64>| {
        (!range.contains(&value)).then(|| format!("{key} is from {} to {}", range.start(), range.end()))
    };
    if settings.postgres.server.is_none() && connections.get() > MANAGED {
        return Some(format!("connections in [guard] is at most {MANAGED} with a managed Postgres"));
    }
    if let Some(told) =
        outside("clients", clients, 1..=CLIENTS).or(outside("wait_seconds", wait_seconds, 1..=WAIT))
    {
        return Some(format!("[guard]: {told}"));
    }
    caps(settings).into_iter().find_map(|(tier, Caps { connections: own, transaction })| {
        let time = outside("transaction_seconds", transaction.as_secs(), 1..=LONGEST);
        let told = time.or_else(|| {
            (own > connections.get()).then(|| format!("connections is at most the {connections} of [guard]"))
        })?;
        Some(format!("guard in [tiers.{tier}]: {told}"))
    })
}

/// The guard in front of the plane's database.
///
/// # Errors
/// What is wrong with its certificate.
pub(crate) fn guard(plane: &Plane, parts: &Parts) -> Result<Guard, SettingsError> {
    let own = &plane.settings.guard;
    let settings = proxy::GuardSettings {
        identity: own.identity(&plane.settings.folder)?,
        plaintext: own.plaintext,
        connections: own.connections.get(),
        clients: usize::try_from(own.clients).unwrap_or(usize::MAX),
        wait: Duration::from_secs(own.wait_seconds),
        caps: TierGuard::default().caps(own.connections.get()),
        ..proxy::GuardSettings::new(plane.workflow.data.database().clone())
    };
    Ok(Guard::new(
        settings,
        Arc::clone(&parts.placements),
        Arc::clone(&parts.admit),
        Arc::clone(&parts.contexts),
        Arc::clone(&plane.clock),
        Arc::new(plane.log.clone()),
    ))
}
