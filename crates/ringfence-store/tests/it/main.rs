//! The drivers against the definition of a store, and records against whoever can write to the database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect fails it"
)]

mod cluster;
mod faults;
mod feed;
mod maps;
mod master_key;
mod postgres;
mod records;
mod sqlite;
