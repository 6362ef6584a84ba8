//! May they: a Cedar policy store per tenant.
//!
//! It guarantees that a question about one tenant is answered by that tenant's store and no other, that what is not
//! permitted is denied, and that a policy which can't be evaluated never counts as a permit. Semantics are Cedar's
//! (`cedar-policy`); what is believed of an answer is decided in the kernel (`ringfence_context::Permit::decide`).

pub mod avp;
#[cfg(feature = "range")]
pub mod broken;
pub mod bulkhead;
pub mod bundle;
pub mod canary;
pub mod case;
pub mod compile;
mod content;
pub mod cores;
mod credit;
pub mod document;
pub mod entities;
pub mod gate;
pub mod govern;
mod guardrail;
pub mod lag;
mod nesting;
pub mod page;
pub mod proof;
pub mod question;
mod residents;
mod scope;
pub mod shadow;
pub mod shared;
pub mod slice;
pub mod stores;
mod text;
pub mod trials;
mod turns;
pub mod types;
mod vocabulary;

pub use bundle::PolicyBundle;
pub use compile::{CompiledStore, PolicyFault};
pub use document::{StoreDocument, TemplateLink};
pub use entities::EntityFault;
pub use gate::{Gate, Publishable, Review, Standing, Terms, WhenUnproved};
pub use govern::Governance;
pub use proof::SolverSettings;
pub use question::{Facts, Principal, Question, Resource};
pub use shared::{Mode, SharedStore};
pub use slice::SlicedPolicies;
pub use stores::{Decide, Memory, Stores, StoresError, Warming};
pub use trials::Trials;

#[cfg(test)]
mod tests;
