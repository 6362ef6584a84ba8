//! The corpus: every family of attacks, one file each.

#![allow(unused_braces, reason = "rustfmt puts the bodies of attacks in braces")]

mod api;
mod authzen;
mod context;
mod direct;
mod entities;
mod guard;
mod hand_over;
mod headers;
mod hosts;
mod idor;
pub(crate) mod injection;
mod issuers;
mod jobs;
mod keys;
mod limits;
mod oracles;
mod paths;
mod places;
mod policies;
mod publishing;
mod residue;
mod rows;
mod settings;
mod shared;
mod sign_in;
mod smuggling;
mod stolen;
mod tokens;
mod writes;

use crate::attack::{Attack, Family};

/// Every family, in the order a request meets what they attack.
pub(crate) const FAMILIES: &[Family] = &[
    hosts::FAMILY,
    smuggling::FAMILY,
    paths::FAMILY,
    headers::FAMILY,
    sign_in::FAMILY,
    issuers::FAMILY,
    jobs::FAMILY,
    tokens::FAMILY,
    keys::FAMILY,
    idor::FAMILY,
    oracles::FAMILY,
    direct::FAMILY,
    api::FAMILY,
    authzen::FAMILY,
    policies::FAMILY,
    publishing::FAMILY,
    shared::FAMILY,
    entities::FAMILY,
    guard::FAMILY,
    places::FAMILY,
    rows::FAMILY,
    injection::FAMILY,
    settings::FAMILY,
    context::FAMILY,
    stolen::FAMILY,
    writes::FAMILY,
    residue::FAMILY,
    hand_over::FAMILY,
    limits::FAMILY,
];

/// Every attack with its family.
pub(crate) fn attacks() -> impl Iterator<Item = (&'static Family, &'static Attack)> {
    FAMILIES.iter().flat_map(|family| family.attacks.iter().map(move |attack| (family, attack)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn attacks_have_distinct_names_and_every_family_a_control() {
        let ids: HashSet<&str> = attacks().map(|(_, attack)| attack.id).collect();
        assert_eq!(ids.len(), attacks().count());
        assert!(ids.len() >= 90 && FAMILIES.len() >= 13, "{} in {}", ids.len(), FAMILIES.len());
        for family in FAMILIES {
            assert!(!family.attacks.is_empty() && !family.controls.is_empty(), "{}", family.name);
        }
    }
}
