//! The gateway over sockets: real tokens, real policy stores, an application that says what reached it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod application;
mod connections;
mod http2;
mod remembered;
mod sizes;
mod world;
