//! What it takes to prove a store before it is published, by the number of its policies.

use ringfence_authorization::{Gate, SolverSettings, Standing, WhenUnproved};
use serde::Serialize;

use crate::{
    fixture::{document, tenant},
    median,
    policies::scoped,
};

/// One size of store.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) policies: usize,
    /// Milliseconds, compilation and all, with nothing known from an earlier proof.
    pub(crate) milliseconds: f64,
    /// Milliseconds for the same content again.
    pub(crate) known: f64,
    /// Whether it was proved; what is not is refused.
    pub(crate) proved: bool,
}

/// Only policies that can be proved: what stays inside the tenant.
fn inside(number: usize) -> String {
    scoped(number).replace(';', "").replace(" when {", " when { principal.tenant == resource.tenant } when {")
        + ";"
}

pub(crate) async fn run() -> Vec<Row> {
    let gate = Gate::new(SolverSettings::default()).await;
    let mut rows = Vec::new();
    for policies in [4, 20, 100, 500] {
        eprintln!("proof of {policies} policies");
        let (mut times, mut again, mut proved) = (vec![], vec![], true);
        for round in 0..3 {
            let mut document = document(&tenant("acme"));
            // Another content each round, so that none is known.
            document.policies.extend(
                (0..policies)
                    .map(|number| (format!("p{round}-{number:04}"), inside(number + round * policies))),
            );
            for kept in [&mut times, &mut again] {
                let start = std::time::Instant::now();
                let checked = gate.check(document.clone(), WhenUnproved::Accept).await.unwrap();
                kept.push(start.elapsed().as_secs_f64() * 1e3);
                proved &= matches!(checked.standing(), Standing::Proved(_));
            }
        }
        rows.push(Row { policies, milliseconds: median(times), known: median(again), proved });
    }
    rows
}

pub(crate) fn print(rows: &[Row]) {
    println!("\nproof before publishing, ms (median of 3, beside the policies every store has)");
    println!("  policies      proof   known again   proved");
    for Row { policies, milliseconds, known, proved } in rows {
        println!("  {policies:>8}  {milliseconds:>9.0}  {known:>12.1}   {proved}");
    }
}
