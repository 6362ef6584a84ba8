//! `ringfence_fuzz::targets::login`, by libFuzzer.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::{World, targets::login};

static WORLD: LazyLock<World> = LazyLock::new(World::start);

fuzz_target!(|input: &[u8]| login::run(&WORLD, input));
