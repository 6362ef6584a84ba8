//! The attacker: proves that one tenant can't reach another by trying everything else.
//!
//! Black box: it speaks to a private range over sockets only and links nothing it attacks; tokens are forged, requests
//! smuggled and frames sent by code of its own. A *leak* is a canary of the victim's among received bytes, a changed hash
//! of the victim's rows, or an answer that differs where the victim's object exists. The *isolation depth* of an attack
//! is the smallest number of layers that must be broken together before it leaks.

mod attack;
mod attacker;
mod authzen;
mod aws;
mod corpus;
mod database;
mod dice;
mod error;
mod field;
mod forge;
mod h2;
mod http;
mod judge;
mod knockout;
mod leak;
mod outcome;
mod pg;
mod pitch;
mod probe;
mod progress;
mod range;
mod report;
mod run;
mod scene;
mod shelf;
mod sign_in;
mod stock;
mod table;
mod tap;

pub use error::ProveError;
pub use field::Outcomes;
pub use knockout::Knockout;
pub use leak::{Leak, LeakKind};
pub use outcome::Outcome;
pub use report::{DEEPER, Effect, Failed, Report, leaks};
pub use run::{Only, Options, prove};
