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
    /// The map leads from the attacker's tenants to the victims' stores, of their own and shared
    StoreMap,
    /// Every change of policies is published without being looked at
    Gate,
    /// The platform's guardrail is not evaluated
    Guardrail,
    /// The gateway sends clients' headers on
    Headers,
    /// The gateway verifies nothing and decides nothing, but signs
    Gateway,
    /// The backend believes the tenant header and asks nobody
    Backend,
    /// The backend's queries name no tenant
    Where,
    /// The backend runs the SQL that a request asks for, at the guard as whom it likes, or past the guard
    Injection,
    /// The guard lets everyone in and everything through
    Guard,
    /// The map leads the attacker's tenants to a victim's schema, as the victim's role
    Placement,
    /// Row security is off on every table
    Rls,
}

/// The attacker's tenant.
pub(crate) const ATTACKER: &str = "acme";
/// The victim's.
pub(crate) const VICTIM: &str = "globex";
/// Another tenant of the attacker's, whose policies are in the shared store that the bystander's are in.
pub(crate) const ALLY: &str = "hooli";
/// Another victim.
pub(crate) const BYSTANDER: &str = "initech";
