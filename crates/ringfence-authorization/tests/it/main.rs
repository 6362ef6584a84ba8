//! The policy engine against Cedar itself, and the stores against their state.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test does not expect fails it"
)]

mod agreement;
mod corpus;
mod entities;
mod entity_limits;
mod entity_world;
mod fixture;
mod govern;
mod jobs;
mod schedule;
mod shared;
mod shared_agreement;
mod shared_move;
mod shared_world;
mod stores;
mod trials;
mod types;
