//! May they: a Cedar policy store per tenant.
//!
//! It guarantees that a question about one tenant is answered by that tenant's store and no other, that what is not
//! permitted is denied, and that a policy which can't be evaluated never counts as a permit. Semantics are Cedar's
//! (`cedar-policy`); what is believed of an answer is decided in the kernel (`ringfence_context::Permit::decide`).

pub mod avp;
pub mod bundle;
pub mod compile;
mod content;
pub mod document;
pub mod entities;
pub mod gate;
pub mod page;
pub mod proof;
pub mod question;
mod residents;
mod scope;
pub mod slice;
pub mod stores;
mod vocabulary;

pub use bundle::PolicyBundle;
pub use compile::{CompiledStore, PolicyFault};
pub use document::{StoreDocument, TemplateLink};
pub use entities::EntityFault;
pub use gate::{Gate, Publishable, Standing, WhenUnproved};
pub use proof::SolverSettings;
pub use question::{Facts, Principal, Question, Resource};
pub use slice::SlicedPolicies;
pub use stores::{Decide, Memory, Stores, StoresError, Warming};

#[cfg(test)]
mod tests;
