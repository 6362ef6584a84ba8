//! The report: what leaked, how many layers had to fail for it, and whether the proof was one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    corpus::{self, FAMILIES},
    field::Outcomes,
    knockout::Knockout,
    leak::Leak,
};

/// The isolation depth that says: no leak with up to two layers broken, and every pair was tried.
pub const DEEPER: u8 = 3;

/// What the run found.
pub struct Report {
    /// Repeats it.
    pub seed: u64,
    /// With nothing broken.
    pub intact: Outcomes,
    /// Controls that did not work.
    pub failed: Vec<Failed>,
    /// With one layer broken.
    pub knockouts: Vec<Effect>,
    /// With two.
    pub pairs: Vec<([Knockout; 2], Outcomes)>,
}

/// A control that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its family.
    pub family: &'static str,
    /// What was done.
    pub title: &'static str,
    /// What came instead.
    pub instead: String,
}

/// What one knock-out changed.
pub struct Effect {
    /// The layer.
    pub layer: Knockout,
    /// What its probe saw of the intact range.
    pub intact: String,
    /// What it saw with the layer broken.
    pub broken: String,
    /// The attacks.
    pub outcomes: Outcomes,
}

impl Effect {
    /// Whether the layer was really broken.
    pub fn effective(&self) -> bool {
        self.intact != self.broken
    }
}

/// The leaks among outcomes, by attack.
pub fn leaks(outcomes: &Outcomes) -> impl Iterator<Item = (&'static str, &Leak)> {
    outcomes.iter().filter_map(|(id, outcome)| Some((*id, outcome.leak.as_ref()?)))
}

impl Report {
    /// How many layers were broken at once, at most: nothing is said of more.
    pub fn tried(&self) -> u8 {
        match (self.knockouts.is_empty(), self.pairs.is_empty()) {
            (_, false) => 2,
            (false, true) => 1,
            (true, true) => 0,
        }
    }

    /// The smallest number of broken layers at which each attack leaked; one more than [`Report::tried`] where it did
    /// not, so [`DEEPER`] only where pairs were.
    pub fn depth(&self) -> BTreeMap<&'static str, u8> {
        let leaked =
            |outcomes: &Outcomes, id: &str| outcomes.get(id).is_some_and(|outcome| outcome.leak.is_some());
        let of = |id: &'static str| match id {
            _ if leaked(&self.intact, id) => 0,
            _ if self.knockouts.iter().any(|effect| leaked(&effect.outcomes, id)) => 1,
            _ if self.pairs.iter().any(|(_, outcomes)| leaked(outcomes, id)) => 2,
            _ => self.tried().saturating_add(1),
        };
        self.intact.keys().map(|id| (*id, of(id))).collect()
    }

    /// Whether the claim holds as far as it was tried: nothing leaks with at most one layer broken, every knock-out
    /// broke its layer, and every control worked.
    pub fn holds(&self) -> bool {
        leaks(&self.intact).next().is_none()
            && self.failed.is_empty()
            && self
                .knockouts
                .iter()
                .all(|effect| effect.effective() && leaks(&effect.outcomes).next().is_none())
    }

    /// The exit status that says so.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.holds())
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let count = |outcomes: &Outcomes| leaks(outcomes).count();
        let controls: usize = FAMILIES.iter().map(|family| family.controls.len()).sum();
        let knockouts = self.knockouts.iter().map(|effect| {
            json!({ "layer": effect.layer, "effective": effect.effective(), "leaks": count(&effect.outcomes) })
        });
        let pairs =
            self.pairs.iter().map(|(layers, outcomes)| json!({ "layers": layers, "leaks": count(outcomes) }));
        json!({
            "attacks": corpus::attacks().count(),
            "families": FAMILIES.len(),
            "controls": { "run": controls, "failed": self.failed.len() },
            "intact": { "leaks": count(&self.intact) },
            "knockouts": knockouts.collect::<Vec<_>>(),
            "pairs": pairs.collect::<Vec<_>>(),
            "depth": self.depth(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{leak::LeakKind, outcome::Outcome};
    use ringfence_context::Layer;

    pub(crate) fn outcomes(leaking: &[&'static str]) -> Outcomes {
        let outcome = |id: &&'static str| {
            let leak = leaking
                .contains(id)
                .then(|| Leak { kind: LeakKind::Read, evidence: "received a row".to_owned() });
            (*id, Outcome::stopped(Layer::Token, "401").leaking(leak))
        };
        ["token-alg-none", "rows-no-where"].iter().map(outcome).collect()
    }

    pub(crate) fn report() -> Report {
        let effect = |layer, broken: &str| Effect {
            layer,
            intact: "401 token".to_owned(),
            broken: broken.to_owned(),
            outcomes: outcomes(&[]),
        };
        Report {
            seed: 7,
            intact: outcomes(&[]),
            failed: Vec::new(),
            knockouts: vec![effect(Knockout::Signature, "200"), effect(Knockout::Rls, "RF004 database")],
            pairs: vec![
                ([Knockout::Hook, Knockout::Rls], outcomes(&[])),
                ([Knockout::Guard, Knockout::Rls], outcomes(&["rows-no-where"])),
            ],
        }
    }

    #[test]
    fn depth_is_the_smallest_number_of_broken_layers() {
        let mut report = report();
        assert_eq!(report.depth(), BTreeMap::from([("rows-no-where", 2), ("token-alg-none", DEEPER)]));
        report.knockouts[1].outcomes = outcomes(&["token-alg-none"]);
        assert_eq!(report.depth()["token-alg-none"], 1);
        report.intact = outcomes(&["token-alg-none"]);
        assert_eq!(report.depth()["token-alg-none"], 0);
    }

    #[test]
    fn the_claim_fails_with_a_leak_a_dull_knock_out_or_a_failed_control() {
        assert_eq!(report().exit_status(), 0);
        let fails = |change: fn(&mut Report)| {
            let mut report = report();
            change(&mut report);
            assert_eq!(report.exit_status(), 1);
        };
        fails(|report| report.intact = outcomes(&["rows-no-where"]));
        fails(|report| report.knockouts[0].outcomes = outcomes(&["rows-no-where"]));
        fails(|report| report.knockouts[0].broken = "401 token".to_owned());
        fails(|report| report.failed.push(Failed { family: "f", title: "t", instead: "403".to_owned() }));
    }

    #[test]
    fn the_json_has_exactly_its_members() {
        let json = report().json();
        let members: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(members, ["attacks", "families", "controls", "intact", "knockouts", "pairs", "depth"]);
        assert_eq!(json["knockouts"][0], json!({ "layer": "signature", "effective": true, "leaks": 0 }));
        assert_eq!(json["pairs"][1], json!({ "layers": ["guard", "rls"], "leaks": 1 }));
        assert_eq!(json["depth"]["rows-no-where"], 2);
    }
}
