//! `ringfence_fuzz::targets::startup`, by libFuzzer.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::{World, targets::startup};

static WORLD: LazyLock<World> = LazyLock::new(World::start);

fuzz_target!(|input: &[u8]| startup::run(&WORLD, input));
