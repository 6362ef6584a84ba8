//! Bodies of AuthZEN requests, asked by a tenant's decision client: the first byte chooses the endpoint.

use crate::World;

const PATHS: [&str; 5] = ["evaluation", "evaluations", "search/subject", "search/resource", "search/action"];

/// Feeds one.
pub fn run(world: &World, input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    world.ask(PATHS[usize::from(*first) % PATHS.len()], body);
}
