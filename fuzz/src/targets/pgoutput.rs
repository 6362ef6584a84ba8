//! What a slot says of a tenant's changes while it is moved.

use crate::World;

/// Feeds one.
///
/// # Panics
/// Where a change is made of it that must not be: see `ringfence_guard::tenant_move::follow`.
pub fn run(_: &World, input: &[u8]) {
    ringfence_guard::tenant_move::follow(input);
}
