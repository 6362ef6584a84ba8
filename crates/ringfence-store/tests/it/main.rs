//! The drivers against the definition of a store, and records against whoever can write to the database.

mod cluster;
mod faults;
mod master_key;
mod postgres;
mod records;
mod sqlite;
