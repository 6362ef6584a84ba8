//! The Postgres wire protocol, both sides of it: a client and a server that say anything at all to the guard between them.

use crate::World;

/// Feeds one.
///
/// # Panics
/// Where something passes that must not: see `ringfence_guard::proxy::converse`.
pub fn run(_: &World, input: &[u8]) {
    ringfence_guard::proxy::converse(input);
}
