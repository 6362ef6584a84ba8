//! The kernel: the only place where a tenant can be proved.
//!
//! It guarantees that a [`TenantContext`], a [`Permit`] and a [`DatabaseContext`] exist only where the check that
//! justifies them has passed: each step consumes or borrows the one before, has private fields, and one constructor
//! that stands in the same file as the check.
//!
//! ```text
//! RawToken ─verify─► VerifiedToken ─bind─► TenantContext ─decide─► Permit ─mint─► DatabaseContext
//! ```
//!
//! No I/O, no async, no HTTP, no SQL, no clock: time and keys are parameters.

pub mod access;
pub mod author;
#[cfg(feature = "range")]
pub mod broken;
pub mod database;
pub mod foreign;
pub mod id;
pub mod job;
pub mod key;
pub mod limits;
pub mod operator;
pub mod permit;
pub mod refusal;
pub mod secret;
pub mod strict_json;
pub mod tally;
pub mod time;
pub mod token;
pub mod txn;
pub mod verdict;

pub use access::{
    AccessClaims, AccessVerifier, IssuerKeys, Issuers, TenantContext, VerifiedToken, VerifyAccess,
};
pub use author::{Author, By, ChangeReason, ReasonFault};
pub use database::{DatabaseContext, DatabaseToken, Seal};
pub use id::{IdError, Reference, TenantId, TokenId};
pub use job::{Job, JobClaim, JobClaims, VerifiedJob, VerifyJob};
pub use operator::{Duty, OperatorContext, OperatorRole};
pub use permit::{Permit, StoreAnswer};
pub use refusal::{Layer, Reason, Refusal};
pub use secret::Secret;
pub use time::{Clock, UnixTime};
pub use token::RawToken;
pub use verdict::{Asked, Part, Record, Verdict};
