//! Pitching camp: what the attacker gets by the front door, once for all attacks, because hashing passwords is slow.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::{
    attacker::{Attacker, Camp, Loot},
    forge,
    http::Answer,
    outcome::Outcome,
    scene::{ALLY, ATTACKER, VICTIM},
    shelf::Shelf,
    stock::Stock,
};

/// Roles the attacker has a user of.
const ROLES: [&str; 4] = ["admin", "approver", "clerk", "viewer"];

/// A password in the form of a database token.
const NO_TOKEN: &str = "no~token";

/// Signs in as everybody he can. What is broken may keep him from it: then he has less.
pub(crate) async fn loot(camp: &Arc<Camp>) -> Loot {
    let bare = Attacker::new(camp, &Arc::default(), 0);
    let acme = bare.acme().clone();
    let signing_in = join_all(ROLES.map(|role| granted(&bare, role)));
    let machine = bare.machine(ATTACKER, &acme.client.client_id, &acme.client.client_secret);
    let theirs = bare.globex().client.clone();
    let victim = bare.machine(VICTIM, &theirs.client_id, &theirs.client_secret);
    let (signed_in, machine, victim) = futures_util::future::join3(signing_in, machine, victim).await;
    let asks = [ATTACKER, ALLY, VICTIM].map(|tenant| decision_client(&bare, tenant));
    let [decisions, ally_decisions, victims_decisions] =
        <[_; 3]>::try_from(join_all(asks).await).unwrap_or_default();
    let ally = bare.machine(ALLY, &bare.hooli().client.client_id, &bare.hooli().client.client_secret).await;

    let ally = ally.text_member("access_token");
    let ally_database = bare.exchange_token(ALLY, ally.as_deref().unwrap_or_default()).await;

    let own = machine.text_member("access_token").unwrap_or_default();
    let job = bare.enqueue(ATTACKER, &own, &acme.client.client_id).await;
    let victims_own = victim.text_member("access_token").unwrap_or_default();
    let victims_job = bare.victim().enqueue(VICTIM, &victims_own, &theirs.client_id).await;

    let id_token = signed_in.first().and_then(|answer| answer.text_member("id_token"));
    let roles = ROLES.into_iter().chain(["service"]);
    let tokens = roles.zip(signed_in.iter().chain([&machine]));
    let issued: Vec<(String, String)> = tokens
        .filter_map(|(role, answer)| Some((role.to_owned(), answer.text_member("access_token")?)))
        .collect();
    let said = |token: &String| Some(forge::claims(token)?.get("aud")?.as_str()?.to_owned());
    let audience = issued.iter().find_map(|(_, token)| said(token));
    let audience = audience.unwrap_or_else(|| camp.scene.gateway.clone());
    let loot =
        Loot { issued, id_token, audience, victims: victim.text_member("access_token"), ..<_>::default() };

    let entitled = Attacker::new(camp, &Arc::new(loot.clone()), 0);
    let exchanged = entitled.exchange_token(ATTACKER, &entitled.token("admin")).await;
    let victims = bare.exchange_token(VICTIM, loot.victims.as_deref().unwrap_or_default()).await;
    Loot {
        database: door(&entitled, exchanged.text_member("access_token")).await,
        exchange: Outcome::of(&exchanged),
        victims_database: victims.text_member("access_token"),
        stock: Stock::fill(&bare.victim(), victims_decisions.as_deref()).await,
        ally,
        ally_database: ally_database.text_member("access_token"),
        decisions,
        ally_decisions,
        job: job.text_member("access_token"),
        victims_job: victims_job.text_member("access_token"),
        victims_decisions,
        shelf: Shelf::fill(&bare.victim()).await,
        ..loot
    }
}

async fn decision_client(a: &Attacker, tenant: &str) -> Option<String> {
    let client = &a.tenant(tenant).decision_client;
    a.machine(tenant, &client.client_id, &client.client_secret).await.text_member("access_token")
}

/// The password that opens a session with rows to see: his own database token where it does, and no token at all where
/// that is the better one.
async fn door(a: &Attacker, own: Option<String>) -> Option<String> {
    for password in own.iter().map(String::as_str).chain([NO_TOKEN]) {
        let seen = a.query_as(ATTACKER, password, "SELECT FROM payments").await;
        if seen.stopped_by.is_none() {
            return Some(password.to_owned());
        }
    }
    own
}

async fn granted(a: &Attacker, role: &str) -> Answer {
    let acme = a.acme();
    let Ok(user) = acme.user(role) else { return Answer::default() };
    match a.code(acme, user).await {
        Some(code) => a.redeem(ATTACKER, &acme.app, &code, &[]).await,
        None => Answer::default(),
    }
}
