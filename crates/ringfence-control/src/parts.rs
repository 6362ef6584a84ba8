//! The parts the plane is put together from, one per layer's seam.
//!
//! [`Parts::serving`] is the composition that serves. A range that attacks the chain replaces parts of it with broken
//! ones of its own; none of those is in this crate or in the binary that serves.

use std::sync::Arc;

use ringfence_authorization::{Decide, canary::Staged, shadow::Shadowed};
use ringfence_context::{AccessVerifier, VerifyAccess, txn::VerifyTxn};
use ringfence_gateway::{HeaderStrip, Strip};
use ringfence_guard::{Admission, Admit, Contexts, MintContexts, proxy::Placements};
use ringfence_identity::{MembershipHook, PreTokenHook};

use crate::plane::Plane;

/// One part for each seam.
#[derive(Clone)]
pub struct Parts {
    /// The pre-token hook.
    pub hook: Arc<dyn PreTokenHook>,
    /// Verification of access tokens at the issuers' own endpoints and at the API.
    pub access: Arc<dyn VerifyAccess>,
    /// Verification of access tokens at the gateway.
    pub gateway_access: Arc<dyn VerifyAccess>,
    /// Decisions of the gateway.
    pub gateway_decide: Arc<dyn Decide>,
    /// Decisions of the API.
    pub decide: Arc<dyn Decide>,
    /// The strip.
    pub strip: Arc<dyn Strip>,
    /// Verification of `Txn-Token`s at the API.
    pub txn: Arc<dyn VerifyTxn>,
    /// Where tenants' rows are.
    pub placements: Arc<dyn Placements>,
    /// The guard's admission.
    pub admit: Arc<dyn Admit>,
    /// The guard's contexts.
    pub contexts: Arc<dyn Contexts>,
}

impl Parts {
    /// The composition that serves.
    pub fn serving(plane: &Plane) -> Self {
        let access: Arc<dyn VerifyAccess> = Arc::new(AccessVerifier);
        let txn: Arc<dyn VerifyTxn> = Arc::new(plane.txn_verifier());
        let stores: Arc<dyn Decide> = Arc::clone(&plane.workflow.stores) as _;
        let staged = Arc::new(Staged::new(stores, Arc::clone(&plane.canaries)));
        let decide: Arc<dyn Decide> = Arc::new(Shadowed::new(staged, Arc::clone(&plane.shadows)));
        Self {
            hook: Arc::new(MembershipHook::new(plane.workflow.pools.clone())),
            gateway_access: Arc::clone(&access),
            gateway_decide: Arc::clone(&decide),
            decide,
            strip: Arc::new(HeaderStrip),
            placements: Arc::clone(plane.workflow.data.places()) as _,
            admit: Arc::new(Admission {
                issuers: Arc::clone(&plane.workflow.directory) as _,
                access: Arc::clone(&access),
                txn: Arc::clone(&txn),
            }),
            contexts: Arc::new(MintContexts::new(plane.keys.guard.clone())),
            access,
            txn,
        }
    }
}
