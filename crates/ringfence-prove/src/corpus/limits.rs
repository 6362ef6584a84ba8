//! The noisy neighbour: one tenant uses up everything it may, and the next must not notice.

use futures_util::future::join_all;
use ringfence_context::Layer;
use tokio::time::timeout;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    database::Session,
    http::{HASTE, PATIENCE, exchange},
    leak::Leak,
    outcome::Outcome,
    scene::VICTIM,
};

/// The flood: connections, and requests on each.
const FLOOD: (usize, usize) = (20, 100);

/// Transactions left open.
const TRANSACTIONS: usize = 64;

/// How often the victim tries before it counts as starved.
const TRIES: usize = 3;

/// Connections to the guard.
const SESSIONS: usize = 60;

pub(super) const FAMILY: Family = Family {
    name: "limits",
    attacks: &[
        attack!("limit-requests", "the own rate used up: the victim is still served", Routing, Last, |a| {
            let before = served(a).await;
            // Counted before it is routed, so that it is the gateway that is flooded.
            let one = a.mine("GET", "/nowhere").without("connection").bytes();
            let last = a.mine("GET", "/nowhere").bytes();
            let (connections, each) = FLOOD;
            let burst = [one.repeat(each), last].concat();
            let flood = join_all(
                (0..connections).map(|_| exchange(a.camp().gateway, &burst, PATIENCE, &a.transcript)),
            );
            let (flooded, served) = futures_util::future::join(flood, served(a)).await;
            let slowed = flooded.iter().any(|answer| {
                answer.status() == 429 || answer.following().iter().any(|next| next.status() == 429)
            });
            let outcome =
                if slowed { Outcome::stopped(Layer::Routing, "429") } else { Outcome::answered("403") };
            outcome.leaking(starved(before, served))
        }),
        attack!(
            "limit-sign-in",
            "the own sign-in guessed at until it slows down: the victim's still answers",
            Identity,
            Last,
            |a| {
                let app = &a.acme().app;
                let before = a.authorize(VICTIM, &a.globex().app, &[]).await.status();
                let name = format!("u{}", a.nonce());
                let hasty = a.hasty();
                let guesses = join_all((0..12).map(|_| hasty.sign_in("acme", app, &name, "wrong"))).await;
                let theirs = a.authorize(VICTIM, &a.globex().app, &[]).await.status();
                let status = guesses.iter().map(crate::http::Answer::status).max().unwrap_or(0);
                Outcome::stopped(Layer::Identity, status.to_string()).leaking(starved(before, theirs))
            }
        ),
        attack!(
            "limit-sessions",
            "as many database sessions as the guard gives: the victim is still served",
            Guard,
            Last,
            |a| {
                let before = served(a).await;
                let sessions = join_all((0..SESSIONS).map(|_| a.session())).await;
                let held = sessions.iter().filter(|session| session.is_ok()).count();
                let served = served(a).await;
                drop(sessions);
                Outcome::answered(format!("{held} sessions")).leaking(starved(before, served))
            }
        ),
        attack!(
            "limit-transactions",
            "as many open transactions as the guard gives: the victim is still served",
            Guard,
            Last,
            |a| {
                let before = queried(a).await;
                let held = join_all((0..TRANSACTIONS).map(|_| timeout(HASTE, held(a)))).await;
                let count = held.iter().filter(|held| matches!(held, Ok(Ok(_)))).count();
                let during = queried(a).await;
                drop(held);
                let starved = before.stopped_by.is_none() && during.stopped_by.is_some();
                let told = || Leak::oracle(format!("{count} held; the victim is told {}", during.told()));
                Outcome::answered(format!("{count} transactions")).leaking(starved.then(told))
            }
        ),
    ],
    controls: &[control!("the victim is served when nobody is noisy", |a| match served(a).await {
        200 => Ok(()),
        status => Err(format!("{status}")),
    })],
};

/// A transaction left open.
async fn held(a: &Attacker) -> Result<Session, Outcome> {
    let session = a.session().await?;
    match session.one("BEGIN; SELECT 1").await {
        Outcome { stopped_by: None, .. } => Ok(session),
        stopped => Err(stopped),
    }
}

/// How the victim's own machine is answered by the database.
async fn queried(a: &Attacker) -> Outcome {
    match a.victims_session().await {
        Ok(session) => session.one("SELECT 1").await,
        Err(outcome) => outcome,
    }
}

/// How the victim's own machine is served, apart from what the attacker receives.
async fn served(a: &Attacker) -> u16 {
    let token = a.loot().victims.clone().unwrap_or_default();
    let ask = a.theirs("GET", "/payments").bearer(&token).bytes();
    let mut status = 0;
    for _ in 0..TRIES {
        status = exchange(a.camp().gateway, &ask, PATIENCE, &<_>::default()).await.status();
        if status == 200 {
            break;
        }
    }
    status
}

/// Being refused for another's noise tells of the other, and is what limits are for. Who was not served before either
/// is refused for something else.
fn starved(before: u16, during: u16) -> Option<Leak> {
    let noticed = before == 200 && during != 200;
    noticed.then(|| Leak::oracle(format!("the victim was answered {during} meanwhile")))
}
