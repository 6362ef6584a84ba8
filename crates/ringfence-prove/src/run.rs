//! The run: the range intact, then with each layer broken, then with each pair of them.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use ringfence_context::Clock;

use crate::{
    attacker::{Attacker, Camp, Loot},
    corpus::{self, FAMILIES},
    dice::Dice,
    error::ProveError,
    field::{self, Outcomes},
    judge::Judge,
    knockout::Knockout,
    pitch, probe,
    progress::Progress,
    range::Seedling,
    report::{Effect, Failed, Report},
};

/// How many ranges run at once: one per core of a small machine.
const AT_ONCE: usize = 3;

/// Rows of the attacker's own: few, because every list of his has them all.
const OWN: usize = 8;

/// Which configurations are run. The intact one always is: the others are compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Only {
    /// Intact, single and pairs.
    #[default]
    All,
    /// The intact range.
    Intact,
    /// Each knock-out alone.
    Single,
    /// Each pair of knock-outs.
    Pairs,
}

/// What to prove, and with what.
#[derive(Clone)]
pub struct Options {
    /// The range's program.
    pub range_binary: PathBuf,
    /// Which configurations.
    pub only: Only,
    /// Repeats a run's canaries, ids and keys.
    pub seed: u64,
    /// Whether a progress bar is drawn on standard error.
    pub progress: bool,
    /// The time: forged tokens carry it.
    pub clock: Arc<dyn Clock>,
}

/// What one configuration came to.
pub(crate) struct Findings {
    pub(crate) broken: Vec<Knockout>,
    pub(crate) outcomes: Outcomes,
    pub(crate) sights: BTreeMap<Knockout, String>,
    pub(crate) failed: Vec<Failed>,
}

/// Runs the proof.
///
/// # Errors
/// Where a range can't be started or judged. A leak is no error: see [`Report::holds`].
pub async fn prove(options: Options) -> Result<Report, ProveError> {
    let wanted: Vec<Vec<Knockout>> = match options.only {
        Only::Intact => Vec::new(),
        Only::Single => singles().collect(),
        Only::Pairs => Knockout::pairs().map(Vec::from).collect(),
        Only::All => singles().chain(Knockout::pairs().map(Vec::from)).collect(),
    };
    let attacks = corpus::attacks().count();
    let progress = Progress::new(options.progress, wanted.len().saturating_add(1), attacks);
    let seedling = Seedling::grow(&options.range_binary).await?;
    let intact = configuration(&options, &seedling, Vec::new(), &progress).await?;
    let others = stream::iter(wanted).map(|broken| configuration(&options, &seedling, broken, &progress));
    let others: Vec<Findings> = others.buffer_unordered(AT_ONCE).try_collect().await?;
    progress.end();
    Ok(report(options.seed, intact, others))
}

fn singles() -> impl Iterator<Item = Vec<Knockout>> {
    Knockout::ALL.iter().map(|one| vec![*one])
}

async fn configuration(
    options: &Options,
    seedling: &Seedling,
    broken: Vec<Knockout>,
    progress: &Progress,
) -> Result<Findings, ProveError> {
    let names: Vec<&str> = broken.iter().map(|one| one.name()).collect();
    progress.begins(&names);
    let range = seedling.start(&broken).await?;
    let dice = Dice::new(options.seed, &names.join("+"));
    let judge = Judge::seat(&range.scene).await?;
    let attacks = corpus::attacks().count();
    let ground = judge.plant(&range.scene, &dice, attacks, OWN).await?;
    let camp = Arc::new(Camp::pitch(range.scene.clone(), ground, Arc::clone(&options.clock), dice)?);
    let loot = Arc::new(pitch::loot(&camp).await);

    let mut failed = Vec::new();
    if broken.is_empty() {
        judge.plain_make().await?;
        failed = fail(&camp, &loot, attacks).await;
        judge.plain_drop().await?;
    }
    let layers: &[Knockout] = match broken.as_slice() {
        [] => Knockout::ALL,
        [one] => std::slice::from_ref(one),
        _ => &[],
    };
    let mut sights = BTreeMap::new();
    for layer in layers {
        let hands = Attacker::new(&camp, &loot, 0);
        sights.insert(*layer, probe::sight(*layer, &hands, &judge).await?);
    }
    judge.restore().await?;
    let outcomes = field::attack(&camp, &loot, &judge, &|| progress.attack_over()).await?;
    drop(range.end().await);
    progress.configuration_over();
    Ok(Findings { broken, outcomes, sights, failed })
}

/// The controls that fail.
async fn fail(camp: &Arc<Camp>, loot: &Arc<Loot>, from: usize) -> Vec<Failed> {
    let mut failed = Vec::new();
    let controls =
        FAMILIES.iter().flat_map(|family| family.controls.iter().map(move |control| (family, control)));
    for (number, (family, control)) in controls.enumerate() {
        let hands = Attacker::new(camp, loot, from.saturating_add(number));
        if let Err(instead) = (control.run)(&hands).await {
            failed.push(Failed { family: family.name, title: control.title, instead });
        }
    }
    failed
}

fn report(seed: u64, intact: Findings, others: Vec<Findings>) -> Report {
    let mut knockouts = Vec::new();
    let mut pairs = Vec::new();
    for findings in others {
        match findings.broken.as_slice() {
            [one] => {
                let sight =
                    |sights: &BTreeMap<Knockout, String>| sights.get(one).cloned().unwrap_or_default();
                let (before, after) = (sight(&intact.sights), sight(&findings.sights));
                knockouts.push(Effect {
                    layer: *one,
                    intact: before,
                    broken: after,
                    outcomes: findings.outcomes,
                });
            }
            [one, other] => pairs.push(([*one, *other], findings.outcomes)),
            _ => {}
        }
    }
    knockouts.sort_by_key(|effect| effect.layer);
    pairs.sort_by_key(|(layers, _)| *layers);
    Report { seed, intact: intact.outcomes, failed: intact.failed, knockouts, pairs }
}
