//! Settings that are wrong are found before anything is made.

use std::fs;

use ringfence_control::Settings;

use crate::bench::{FILES, scratch};

#[test]
fn a_tiers_policies_are_compiled_when_they_are_read() {
    let folder = scratch("settings");
    for (name, text) in FILES {
        fs::write(folder.join(name), text).unwrap();
    }
    let settings = || Settings::load(&folder.join("ringfence.toml")).unwrap();
    settings().bundles().unwrap();
    settings().upstream_check().unwrap();
    fs::write(folder.join("ledger.cedar"), "permit (principal, action, resource").unwrap();
    let wrong = settings().bundles().unwrap_err().to_string();
    assert!(wrong.contains("ledger.cedar") && wrong.contains("[tiers.standard]"), "{wrong}");
}
