//! Where: the gateway in front of the application.
//!
//! It guarantees that a request reaches the application only with a proved tenant, a permit of that tenant's own policy
//! store, within the tenant's rate, stripped of everything a client could use to speak as the gateway, and as exactly
//! the bytes that were decided on. Everything else is refused here, and the application is not touched.

pub mod admission;
mod connection;
pub mod consistency;
pub mod exchange;
pub mod facts;
pub mod forward;
pub mod gateway;
pub mod host;
pub mod limit;
pub mod reference;
pub mod refuse;
pub mod route;
pub mod serve;
pub mod strip;
pub mod target;
pub mod txn;
pub mod workers;

pub use gateway::{Gateway, GatewayParts};
pub use route::{RouteFault, RouteTable};
pub use strip::{HeaderStrip, Strip};
