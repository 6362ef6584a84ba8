//! What is fed, by name.

pub mod authzen;
pub mod avp;
pub mod entity;
pub mod foreign;
pub mod policy;
pub mod wire;

use crate::World;

/// One input.
pub type Target = fn(&World, &[u8]);

/// Every target, by its name: that of its folder of seeds too.
pub const ALL: [(&str, Target); 6] = [
    ("authzen", authzen::run),
    ("avp", avp::run),
    ("entity", entity::run),
    ("foreign", foreign::run),
    ("policy", policy::run),
    ("wire", wire::run),
];
