//! The shared store: one physical store for the tenants of a tier for which one each would cost too much (SYSTEMS X-08 to
//!
//!
//! What all of them have in common, schema, policies and templates, is one record of the plane ([`SharedStore`]), named by
//! what it says. What a tenant has beside it is its slice ([`TenantSlice`]), a record of the tenant's own, sealed under its
//! own key. To everything above, the two together are the tenant's policy store: the same document, the same id, the same
//! answers, wherever it is kept ([`Held`]).
//!
//! It guarantees that an answer for a tenant is made from the shared store and that tenant's slice and nothing else; that a
//! slice holds nothing that could be meant for another tenant (`confine.rs`); that the tenant can neither change nor shadow
//! what is shared; and that the guardrail holds whatever either says. A tenant is moved between the two ways while it is
//! served (`moving.rs`), and is in exactly one of them at every moment.

mod beside;
mod confine;
mod held;
mod moving;
mod store;
mod tenant_slice;

pub use beside::Watch;
pub(crate) use beside::{Beside, Watches};
pub use confine::ConfinementFault;
pub use held::{
    Held, Mode, StoreMapRow, shared_create_unchecked, store_create, store_create_unchecked, store_delete,
    store_map_put,
};
pub(crate) use held::{Kept, KeptBody, POLICY_STORE, STORE_MAP, STORE_OWNER};
pub use moving::{Compared, MoveState, StoreMove};
pub use store::{SharedId, SharedStore};
pub(crate) use tenant_slice::POLICY_SLICE;
pub use tenant_slice::TenantSlice;
