//! For backends: the tenant of a request, verified again, and a database session that can't leave it.
//!
//! It guarantees that a handler runs only for a request that carries two signatures which agree: the tenant issuer's on
//! the access token and the gateway's on the `Txn-Token`, bound to this very request. A [`Permit`] comes from asking the
//! tenant's policy store again; a database session opens only with one.
//!
//! [`Permit`]: ringfence_context::Permit

pub mod ask;
pub mod client;
pub mod database;
pub mod issuers;
pub mod jobs;
pub mod layer;
pub mod migration;
pub mod replay;
pub mod report;
pub mod session;
pub mod trust;
pub mod verify;

pub use database::{Database, DatabaseError, TenantDatabase};
pub use jobs::{Jobs, Worker};
pub use layer::TenantLayer;
pub use migration::{Migration, Stage};
pub use report::Report;
pub use ringfence_context as context;
pub use session::TenantSession;
pub use trust::{GuardTls, Trust};
pub use verify::{Recheck, Verify};
