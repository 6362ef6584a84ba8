//! The layers that can be broken on purpose, by the names the range knows them by.

use serde::{Deserialize, Serialize};

macro_rules! knockouts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $what:literal;)+) => {
        /// One layer broken on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Knockout {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Knockout {
            /// All of them, from the outermost layer inwards.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name, for the range's `--broken` and for reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What is broken, in a few words.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)+ }
            }
        }
    };
}

knockouts! {
    /// The pre-token hook lies.
    Hook = "hook", "the pre-token hook puts the victim's tenant_id into the attacker's tokens";
    /// The membership record lies.
    Membership = "membership", "the attacker's membership names the victim";
    /// Nobody checks signatures.
    Signature = "signature", "no signature is checked anywhere";
    /// Nobody binds an issuer to a tenant.
    IssuerBinding = "issuer-binding", "any issuer may speak for any tenant at any address";
    /// Every policy store says yes.
    Authorization = "authorization", "every decision is a permit";
    /// The map from tenant to policy store is wrong.
    StoreMap = "store-map", "the attacker's map rows name the victims' stores, of their own and shared";
    /// Policies are published unseen.
    Gate = "gate", "every change of policies is published without being looked at";
    /// The platform's own policy is not evaluated.
    Guardrail = "guardrail", "the platform's guardrail is not evaluated";
    /// Headers pass the gateway.
    Headers = "headers", "client headers are not stripped";
    /// The gateway believes what it is told.
    Gateway = "gateway", "the gateway verifies nothing and signs what it is told";
    /// The backend believes the tenant header.
    Backend = "backend", "the backend believes X-Tenant-Id and checks nothing";
    /// The application forgot its filter.
    Where = "where", "the application's queries have no WHERE tenant_id";
    /// The application's backend is the attacker's.
    Injection = "injection", "the backend runs the SQL that a request asks for, as whom it likes, and past the guard too";
    /// The Postgres proxy lets everybody in.
    Guard = "guard", "the guard admits everybody, without a context where tokens are bad";
    /// The map of places is wrong.
    Placement = "placement", "the attacker's tenants are led to a victim's schema, as the victim's role";
    /// Row level security is off.
    Rls = "rls", "row level security is disabled on every tenant table";
}

impl Knockout {
    /// Every unordered pair.
    pub fn pairs() -> impl Iterator<Item = [Self; 2]> {
        let rest = |at: usize| Self::ALL.iter().skip(at.saturating_add(1));
        Self::ALL.iter().enumerate().flat_map(move |(at, one)| rest(at).map(move |other| [*one, *other]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn sixteen_layers_make_a_hundred_and_twenty_pairs() {
        let pairs: HashSet<[Knockout; 2]> = Knockout::pairs().collect();
        assert_eq!((Knockout::ALL.len(), pairs.len()), (16, 120));
        assert!(pairs.iter().all(|[one, other]| one < other));
    }
}
