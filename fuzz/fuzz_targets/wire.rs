//! `ringfence_fuzz::targets::wire`, by libFuzzer.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::{World, targets::wire};

static WORLD: LazyLock<World> = LazyLock::new(World::start);

fuzz_target!(|input: &[u8]| wire::run(&WORLD, input));
