//! `ringfence_fuzz::targets::pgoutput`, by libFuzzer.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::{World, targets::pgoutput};

static WORLD: LazyLock<World> = LazyLock::new(World::start);

fuzz_target!(|input: &[u8]| pgoutput::run(&WORLD, input));
