//! Inputs nobody would write, and what must hold of each: a module for each target, which libFuzzer runs with ever other
//! inputs (`cargo xtask fuzz`) and `tests/seeds.rs` with those that are kept.

pub mod targets;
mod world;

pub use world::World;
