//! Which rows: the last line of defence, in front of Postgres and inside it.
//!
//! It guarantees that no statement sees a row unless a tenant was proved for the transaction it runs in, three times
//! over: the [`proxy`] admits a client only with two signatures that agree ([`admission`]); it passes nothing to a connection
//! without a context only the guard's key can mint and only the tenant's own key can justify; and Postgres ([`install`])
//! verifies that context itself, and keeps it where no client can write. What the context is and what it withstands:
//! `docs/concepts/database-context.md`.
//!
//! [`lint`] looks a database over for what lets rows out; [`canary`] tries to get some out. [`tenant_move`] brings a tenant's rows elsewhere
//! while it is served. [`cluster`] runs the installed Postgres for those who bring none.

pub mod admission;
pub mod adopt;
pub mod bar;
pub mod canary;
pub mod cluster;
mod connect;
pub mod credential;
pub mod install;
pub mod lint;
pub mod migrate;
pub mod own;
pub mod proxy;
pub mod role;
pub mod structure;
pub mod tenant_move;
pub mod tls;

pub use admission::{Admission, Admit, Contexts, MintContexts};
pub use cluster::{Binaries, Cluster};
pub use connect::connect;
pub use proxy::Guard;
pub use role::{RoleName, SchemaName};
