//! What is wanted of decisions, and whether it is so. A missed target is said and fails nothing.

use serde::Serialize;

use crate::{policies, tenants};

/// One target.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    what: &'static str,
    found: f64,
    at_most: f64,
    met: bool,
}

pub(crate) fn of(policies: &[policies::Row], tenants: &[tenants::Row]) -> Vec<Target> {
    let (few, many) = (&policies[0], policies.iter().max_by_key(|row| row.policies).unwrap());
    let (first, last) = (&tenants[0], &tenants[tenants.len() - 1]);
    let target = |what, found: f64, at_most| Target { what, found, at_most, met: found <= at_most };
    vec![
        target("10,000 policies to 20, time of a decision", many.ringfence / few.ringfence, 2.0),
        target("20 policies, time of a decision to Cedar's own", few.ringfence / few.cedar, 1.0),
        target("memory with all tenants registered, MiB", last.registered_mib.max(last.asked_mib), 4096.0),
        target("a cold tenant's first decision, worst, ms", last.cold_worst / 1e3, 5.0),
        target("a warm decision, us", last.warm_median, 25.0),
        target(
            "a warm decision with all tenants to one with few",
            last.warm_median / first.warm_median,
            1.25,
        ),
    ]
}

pub(crate) fn print(targets: &[Target]) {
    println!();
    for Target { what, found, at_most, met } in targets {
        println!("{}  {what}: {found:.2}, target at most {at_most:.2}", if *met { "met " } else { "MISS" });
    }
}
