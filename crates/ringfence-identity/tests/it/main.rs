//! Attacks on identity, against the real router, a real store and, once, a real OpenID Connect client library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what a test does not expect fails it"
)]

mod bench;
mod codes;
mod directory;
mod hook;
mod jobs;
mod machines;
mod oidc_client;
mod requests;
mod sign_in;
