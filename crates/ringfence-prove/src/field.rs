//! The field: every attack run against one range, side by side where they do not disturb each other, and what leaked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt};
use ringfence_context::Layer;
use tokio::time::timeout;

use crate::{
    attack::{Attack, Lane},
    attacker::{Attacker, Camp, Loot},
    corpus,
    error::ProveError,
    judge::{Fingerprint, Judge},
    outcome::Outcome,
};

/// How many attacks run side by side.
const TOGETHER: usize = 8;

/// How long one attack, with all its tries, may take.
const LONGEST: Duration = Duration::from_secs(60);

/// What came of every attack, by its id.
pub type Outcomes = BTreeMap<&'static str, Outcome>;

/// Runs the corpus; `done` is told of each attack that is over.
///
/// # Errors
/// [`ProveError::Judge`].
pub(crate) async fn attack(
    camp: &Arc<Camp>,
    loot: &Arc<Loot>,
    judge: &Judge,
    done: &(dyn Fn() + Sync),
) -> Result<Outcomes, ProveError> {
    let numbered: Vec<(usize, &Attack)> = corpus::attacks().map(|(_, attack)| attack).enumerate().collect();
    let of = |lane: Lane| numbered.iter().filter(move |(_, attack)| attack.lane == lane);
    let hands = |number: usize| Attacker::new(camp, loot, number);
    let mut outcomes = Outcomes::new();

    let untouched = judge.fingerprint().await?;
    let together = stream::iter(of(Lane::Together)).map(|(number, attack)| {
        let hands = hands(*number);
        async move {
            let outcome = one(attack, &hands).await;
            done();
            (attack.id, outcome)
        }
    });
    outcomes.extend(together.buffer_unordered(TOGETHER).collect::<Vec<_>>().await);
    // Somebody among them wrote who was not expected to: find out who, one by one.
    let blame = untouched.changed(&judge.fingerprint().await?).is_some();
    if blame {
        judge.restore().await?;
    }
    let alone = of(Lane::Together).filter(|_| blame).chain(of(Lane::Alone)).chain(of(Lane::Last));
    for (number, attack) in alone {
        let outcome = watched(attack, &hands(*number), judge, &untouched).await?;
        let before = outcomes.remove(attack.id).and_then(|before| before.leak);
        outcomes.insert(attack.id, outcome.leaking(before));
        if attack.lane != Lane::Together {
            done();
        }
        if attack.lane == Lane::Last {
            judge.roles_reset().await?;
        }
    }
    Ok(outcomes)
}

/// Runs one attack with the victims' rows watched.
async fn watched(
    attack: &Attack,
    hands: &Attacker,
    judge: &Judge,
    untouched: &Fingerprint,
) -> Result<Outcome, ProveError> {
    let outcome = one(attack, hands).await;
    let written = untouched.changed(&judge.fingerprint().await?);
    if written.is_some() {
        judge.restore().await?;
    }
    Ok(outcome.leaking(written))
}

/// Runs one attack and looks through everything it has received.
async fn one(attack: &Attack, hands: &Attacker) -> Outcome {
    let ended = timeout(LONGEST, (attack.run)(hands)).await;
    let outcome = ended.unwrap_or_else(|_| Outcome::stopped(Layer::Routing, "silent"));
    let canaries = &hands.camp().ground.canaries;
    outcome.leaking(hands.transcript.received().iter().find_map(|bytes| canaries.seen(bytes)))
}
