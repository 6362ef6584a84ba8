//! The whole chain in one process, from the parts that serve: real sockets, a real Postgres, the sample app behind the
//! gateway. Parts are wrapped to count what is asked of them; none is replaced.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what a test does not expect fails it"
)]

mod avp;
mod backend;
mod bench;
mod counting;
mod decisions;
mod duties;
mod entities;
mod foreign;
mod govern;
mod issuer_server;
mod maps;
mod policies;
mod settings;
mod shared;
mod stores;
mod tenants;
