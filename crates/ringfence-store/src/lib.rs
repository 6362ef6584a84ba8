//! State of the plane: authenticated records with a revision, on SQLite or Postgres.
//!
//! Two floors. Below, a [`Store`] keeps opaque bytes under a [`RecordKey`] and gives every commit a revision; its
//! definition is the conformance suite. Above, [`Records`] seals every value under the record key of the tenant it
//! belongs to, so that whoever can write to the database still can't read, alter or move a record.
//!
//! It does not guarantee freshness against someone who can put an *older* state of the database back: that is a
//! restored backup, and looks like one.

pub mod chain;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod conformance;
pub mod consistency;
pub mod error;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod faulty;
pub mod feed;
pub mod maps;
pub mod master;
mod migration;
pub mod postgres;
pub mod record;
pub mod records;
mod seal;
mod sql;
pub mod sqlite;
pub mod store;

pub use error::StoreError;
pub use feed::{Apply, Follower, Follows, News};
pub use maps::{MapEntry, MapStep};
pub use master::MasterKey;
pub use postgres::PostgresStore;
pub use record::{Change, Expect, Kind, Record, RecordKey, Revision, Scope};
pub use records::{Draft, Records, Stored, TENANT_KEY};
pub use sqlite::SqliteStore;
pub use store::{Answer, Listen, Store};
