//! The report as a person reads it.

use std::fmt;

use ringfence_context::Layer;

use crate::{
    attack::Family,
    corpus::{self, FAMILIES},
    outcome::LAYERS,
    report::{Report, leaks},
};

/// Width of the first column.
const NAME: usize = 28;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.families(f)?;
        self.intact_leaks(f)?;
        self.knockouts(f)?;
        self.pairs(f)?;
        self.controls(f)?;
        self.verdict(f)
    }
}

impl Report {
    fn families(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Attacks by the first layer that stops them, nothing broken (seed {})\n", self.seed)?;
        write!(f, "{:NAME$}", "family")?;
        for layer in LAYERS {
            write!(f, "{:>14}", layer.name())?;
        }
        writeln!(f, "{:>9}{:>8}", "attacks", "depth")?;
        for family in FAMILIES {
            self.family(f, family)?;
        }
        writeln!(f)
    }

    /// A row of the table; an attack that was answered with nothing of the victim's counts for the layer that made it
    /// harmless, which is the one expected to.
    fn family(&self, f: &mut fmt::Formatter<'_>, family: &Family) -> fmt::Result {
        let run: Vec<(Layer, &str)> = family
            .attacks
            .iter()
            .filter_map(|attack| {
                let outcome = self.intact.get(attack.id)?;
                Some((outcome.stopped_by.unwrap_or(attack.expected), attack.id))
            })
            .collect();
        if run.is_empty() {
            return Ok(());
        }
        write!(f, "{:NAME$}", family.name)?;
        for layer in LAYERS {
            match run.iter().filter(|(by, _)| *by == layer).count() {
                0 => write!(f, "{:>14}", "·")?,
                count => write!(f, "{count:>14}")?,
            }
        }
        let depth = self.depth();
        let tried = self.tried();
        let smallest = run.iter().filter_map(|(_, id)| depth.get(id)).min().copied();
        writeln!(
            f,
            "{:>9}{:>8}",
            run.len(),
            shown(smallest.unwrap_or_else(|| tried.saturating_add(1)), tried)
        )
    }

    fn intact_leaks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, leak) in leaks(&self.intact) {
            writeln!(f, "LEAK with nothing broken: {id} ({}): {}", title(id), leak.evidence)?;
        }
        Ok(())
    }

    fn knockouts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.knockouts.is_empty() {
            return Ok(());
        }
        writeln!(f, "One layer broken: what its probe sees, intact and broken\n")?;
        for effect in &self.knockouts {
            let leaks = leaks(&effect.outcomes).count();
            let effective = if effect.effective() { "broken" } else { "NO EFFECT" };
            let seen = format!("{} -> {}", effect.intact, effect.broken);
            writeln!(f, "{:NAME$}{effective:<11}{:>3} leaks   {seen}", effect.layer.name(), leaks)?;
        }
        for effect in &self.knockouts {
            for (id, leak) in leaks(&effect.outcomes) {
                let without = effect.layer.name();
                writeln!(f, "LEAK without {without}: {id} ({}): {}", title(id), leak.evidence)?;
            }
        }
        writeln!(f)
    }

    fn pairs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pairs.is_empty() {
            return Ok(());
        }
        let leaking: Vec<_> = self
            .pairs
            .iter()
            .map(|(layers, outcomes)| (layers, leaks(outcomes).map(|(id, _)| id).collect::<Vec<_>>()))
            .filter(|(_, ids)| !ids.is_empty())
            .collect();
        writeln!(f, "Two layers broken: {} of {} pairs leak\n", leaking.len(), self.pairs.len())?;
        for ([one, other], ids) in &leaking {
            let names = format!("{} + {}", one.name(), other.name());
            let some = ids.iter().take(4).copied().collect::<Vec<_>>().join(", ");
            let more = if ids.len() > 4 { ", …" } else { "" };
            writeln!(f, "{names:NAME$}{:>3} leaks   {some}{more}", ids.len())?;
        }
        writeln!(f)
    }

    fn controls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run: usize = FAMILIES.iter().map(|family| family.controls.len()).sum();
        writeln!(
            f,
            "Controls: {} of {run} legitimate uses of the same tools work",
            run.saturating_sub(self.failed.len())
        )?;
        for failed in &self.failed {
            writeln!(f, "FAILED {}: {}: {}", failed.family, failed.title, failed.instead)?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried =
            if self.knockouts.is_empty() { "with nothing broken" } else { "with at most one layer broken" };
        if self.holds() {
            writeln!(f, "\nIsolation holds: {} attacks, no leak {tried}.", self.intact.len())
        } else {
            writeln!(f, "\nIsolation is NOT proved: see LEAK, NO EFFECT and FAILED above.")
        }
    }
}

/// What an attack tries.
fn title(id: &str) -> &'static str {
    corpus::attacks().find(|(_, attack)| attack.id == id).map_or("", |(_, attack)| attack.title)
}

/// A depth, or what it is more than: what was not tried is not claimed.
fn shown(depth: u8, tried: u8) -> String {
    if depth > tried { format!(">{tried}") } else { depth.to_string() }
}

#[cfg(test)]
mod tests {
    use super::shown;
    use crate::report::{
        Failed,
        tests::{outcomes, report},
    };

    #[test]
    fn what_was_not_tried_is_not_claimed() {
        assert_eq!([shown(1, 0), shown(2, 1), shown(3, 2)], [">0", ">1", ">2"]);
        assert_eq!([shown(0, 2), shown(1, 1), shown(2, 2)], ["0", "1", "2"]);
    }

    #[test]
    fn the_table_reads_so() {
        let expected = "\
Attacks by the first layer that stops them, nothing broken (seed 7)

family                             routing      identity         token authorization       backend         guard      database  attacks   depth
forged tokens                            ·             ·             1             ·             ·             ·             ·        1      >2
SQL reads                                ·             ·             1             ·             ·             ·             ·        1       2

One layer broken: what its probe sees, intact and broken

signature                   broken       0 leaks   401 token -> 200
rls                         broken       0 leaks   401 token -> RF004 database

Two layers broken: 1 of 2 pairs leak

guard + rls                   1 leaks   rows-no-where

";
        let told = report().to_string();
        assert!(told.starts_with(expected), "{told}");
        assert!(
            told.ends_with("Isolation holds: 2 attacks, no leak with at most one layer broken.\n"),
            "{told}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut report = report();
        report.intact = outcomes(&["rows-no-where"]);
        report.knockouts[0].broken = "401 token".to_owned();
        report.failed.push(Failed { family: "limits", title: "served", instead: "503".to_owned() });
        let told = report.to_string();
        for line in [
            "LEAK with nothing broken: rows-no-where (every table without a filter): received a row\n",
            "signature                   NO EFFECT    0 leaks   401 token -> 401 token\n",
            "FAILED limits: served: 503\n",
            "Isolation is NOT proved: see LEAK, NO EFFECT and FAILED above.\n",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
    }
}
