//! The entity store: a tenant's own entities, so that askers need not send what is above and around a resource.
//!
//! It is optional: a tenant without entities pays one look at a field. Every entity is a sealed record of its tenant and
//! carries all its ancestors, worked out when something above it is written, so that a decision reads as many records
//! whether the hierarchy is one level deep or fifty (Airbnb's Himeji fans out on write for the same reason).
//!
//! It guarantees that `tenant` of a stored entity is its owner's and nobody's word; that what one decision reads is the
//! state at one revision; and that after a change has been answered the next decision on this node sees it.

mod decide;
mod explain;
mod fault;
mod list;
mod load;
mod merge;
mod record;
mod reference;
mod write;

pub use explain::{Asked, Explanation, Used};
pub use fault::EntityFault;
pub use list::{EntityView, Words};
#[cfg(test)]
pub(crate) use load::Loaded;
pub(crate) use load::{EntityCache, ROUNDS};
pub use record::{EntityForm, Uid};
pub(crate) use record::{HEAD, HEAD_ID, Head};
