//! What a server says while the guard logs in: authentication, parameters, its key, and what it calls the backend.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use crate::World;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

/// Feeds one.
///
/// # Panics
/// Where something is believed that must not be: see `ringfence_guard::proxy::log_in`.
pub fn run(_: &World, input: &[u8]) {
    reported(input);
}

/// What the server reported to a guard that it let in.
pub fn reported(input: &[u8]) -> Option<Vec<(String, String)>> {
    RUNTIME.block_on(ringfence_guard::proxy::log_in(input))
}
