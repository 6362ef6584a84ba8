//! Life of a tenant, and the plane put together.
//!
//! It guarantees that onboarding and off-boarding are steps that can be resumed, that a tenant's id is never used twice,
//! and that the plane is composed in one place ([`plane`]) from the parts each layer defines.

pub mod access_key;
pub mod api;
pub mod application;
pub mod clock;
pub mod credential;
pub mod data;
pub mod data_move;
mod decision_log;
pub mod fault;
mod follow;
pub mod foreign;
mod guard;
pub mod keys;
pub mod operator;
pub mod parts;
pub mod plane;
pub mod private_file;
pub mod prover;
pub mod sample;
pub mod schedule;
pub mod serve;
pub mod settings;
pub mod store_move;
pub mod store_place;
pub mod tenant;
pub mod trust;
pub mod workflow;

pub use clock::SystemClock;
pub use decision_log::DecisionLog;
pub use fault::PlaneError;
pub use parts::Parts;
pub use plane::Plane;
pub use serve::{Running, serve};
pub use settings::Settings;
pub use tenant::{Tenant, TenantStatus, Tenants};
