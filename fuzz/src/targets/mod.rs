//! What is fed, by name.

pub mod authzen;
pub mod avp;
pub mod entity;
pub mod foreign;
pub mod login;
pub mod pgoutput;
pub mod policy;
pub mod startup;
pub mod wire;

use crate::World;

/// One input.
pub type Target = fn(&World, &[u8]);

/// Every target, by its name: that of its folder of seeds too.
pub const ALL: [(&str, Target); 9] = [
    ("authzen", authzen::run),
    ("avp", avp::run),
    ("entity", entity::run),
    ("foreign", foreign::run),
    ("login", login::run),
    ("pgoutput", pgoutput::run),
    ("policy", policy::run),
    ("startup", startup::run),
    ("wire", wire::run),
];
