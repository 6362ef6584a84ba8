//! `ringfence_fuzz::targets::authzen`, by libFuzzer.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::{World, targets::authzen};

static WORLD: LazyLock<World> = LazyLock::new(World::start);

fuzz_target!(|input: &[u8]| authzen::run(&WORLD, input));
