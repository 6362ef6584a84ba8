//! What can be broken.

use clap::ValueEnum;

/// A layer, and how it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layer {
    /// The pre-token hook says the victim's tenant for whoever signs in at the attacker's pool
    Hook,
    /// The attackers' membership records say the victim's tenant
    Membership,
    /// No signature is checked, by any part
    Signature,
    /// Any issuer may speak for any tenant at any address, at every part
    IssuerBinding,
    /// Every policy store permits everything
    Authorization,
    /// The map leads from the attacker's tenant to the victim's store
    StoreMap,
    /// The gateway sends clients' headers on
    Headers,
    /// The gateway verifies nothing and decides nothing, but signs
    Gateway,
    /// The backend believes the tenant header and asks nobody
    Backend,
    /// The backend's queries name no tenant
    Where,
    /// The guard lets everyone in and everything through
    Guard,
    /// Row security is off on every table
    Rls,
}

/// The attacker's tenant.
pub(crate) const ATTACKER: &str = "acme";
/// The victim's.
pub(crate) const VICTIM: &str = "globex";
