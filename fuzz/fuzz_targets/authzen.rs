//! Bodies of AuthZEN requests, asked by a tenant's decision client: the first byte chooses the endpoint.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::World;

static WORLD: LazyLock<World> = LazyLock::new(World::start);

const PATHS: [&str; 5] = ["evaluation", "evaluations", "search/subject", "search/resource", "search/action"];

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    WORLD.ask(PATHS[usize::from(*first) % PATHS.len()], body);
});
