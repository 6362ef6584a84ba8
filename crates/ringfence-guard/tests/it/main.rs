//! The attacks, against a real Postgres: first on the SQL alone, as if nothing stood in front of it, then through the
//! guard with real clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable,
    reason = "a test fails by panicking"
)]

mod admission;
mod adopt;
mod adopted;
mod canary;
mod cluster;
mod context;
mod credential;
mod doors;
mod drivers;
mod fixture;
mod holes;
mod kept;
mod lint;
mod migrate;
mod oracles;
mod own;
mod placement;
mod pooling;
mod posture;
mod protocol;
mod raw;
mod robustness;
mod rows;
mod shape;
mod stored;
mod structure;
mod tenant_column;
mod tenant_move;
mod tls;
mod token_use;
mod tools;
