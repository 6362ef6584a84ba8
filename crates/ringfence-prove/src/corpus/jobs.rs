//! Job tokens: one's own at the victim's, the victim's own found in a queue, and ones that say what they like.

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    forge,
    http::Answer,
    outcome::Outcome,
    scene::{ATTACKER, MachineClient, VICTIM},
    sign_in::{ACCESS_TOKEN, DATABASE_TOKEN},
};

const ALL: &str = "SELECT * FROM payments";

pub(super) const FAMILY: Family = Family {
    name: "job tokens",
    attacks: &[
        attack!(
            "job-their-endpoint",
            "an own job token at the victim's token endpoint",
            Identity,
            Together,
            |a| {
                let (own, theirs) = (&a.acme().client, &a.globex().client);
                let job = a.loot().job.clone().unwrap_or_default();
                let mixed = MachineClient {
                    client_id: theirs.client_id.clone(),
                    client_secret: own.client_secret.clone(),
                };
                let public = MachineClient { client_id: a.globex().app.client_id.clone(), ..<_>::default() };
                let mut tries = Vec::new();
                for worker in [own, &mixed, &public] {
                    tries.push(run(a, VICTIM, &job, worker).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "job-found",
            "the victim's job token, found in a queue, by everybody but its worker",
            Identity,
            Together,
            |a| {
                let own = &a.acme().client;
                let job = a.loot().victims_job.clone().unwrap_or_default();
                let nobody = MachineClient::default();
                let guessed = MachineClient {
                    client_id: a.globex().client.client_id.clone(),
                    client_secret: "secret".to_owned(),
                };
                let public = MachineClient { client_id: a.globex().app.client_id.clone(), ..<_>::default() };
                let mut tries = vec![run(a, ATTACKER, &job, own).await];
                for worker in [own, &nobody, &guessed, &public] {
                    tries.push(run(a, VICTIM, &job, worker).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("job-as-access", "job tokens as access tokens at the gateway", Token, Together, |a| {
            let mut tries = Vec::new();
            for job in [&a.loot().job, &a.loot().victims_job] {
                tries.push(a.pose(job.as_deref().unwrap_or_default()).await);
            }
            Outcome::furthest(tries)
        }),
        attack!("job-at-guard", "job tokens as half of a database token", Guard, Together, |a| {
            let database = a.loot().database.clone().unwrap_or_default();
            let (access, txn) = database.split_once('~').unwrap_or_default();
            let mut tries = Vec::new();
            for job in [&a.loot().job, &a.loot().victims_job] {
                let job = job.as_deref().unwrap_or_default();
                for word in [
                    format!("{job}~{txn}"),
                    format!("{access}~{job}"),
                    format!("{job}~{job}"),
                    job.to_owned(),
                ] {
                    tries.push(a.query_as(VICTIM, &word, ALL).await);
                }
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "job-tenant-changed",
            "an own job token with the victim's tenant in it, changed and signed anew with stolen and unknown keys",
            Identity,
            Together,
            |a| {
                let own = a.loot().job.clone().unwrap_or_default();
                let (acme, globex) = (a.acme(), a.globex());
                let said = [("tenant_id", VICTIM.into())];
                let both = [("tenant_id", VICTIM.into()), ("iss", globex.issuer.clone().into())];
                let mut jobs: Vec<String> = [&said[..], &both[..]]
                    .into_iter()
                    .filter_map(|said| forge::altered(&own, said))
                    .collect();
                // The victim's machine has the same name as the own one: what runs as it would run as the victim's.
                let subject = &globex.client.client_id;
                for key in [&a.camp().keys.signing, &a.camp().stranger] {
                    for issuer in [&acme.issuer, &globex.issuer] {
                        jobs.push(a.job_made(VICTIM, issuer, subject, key));
                    }
                }
                let mut tries = Vec::new();
                for job in &jobs {
                    for at in [ATTACKER, VICTIM] {
                        tries.push(run(a, at, job, &acme.client).await);
                    }
                }
                Outcome::furthest(tries)
            }
        ),
    ],
    controls: &[
        control!("an own job token gives its worker an access token", |a| {
            let answer = own(a, ACCESS_TOKEN).await;
            expect(&answer, 200)?;
            let token = answer.text_member("access_token").unwrap_or_default();
            expect(&super::tokens::own_list(a, &token).await, 200)
        }),
        control!("a job made with the stolen keys is as good as one of the issuer's", |a| {
            let acme = a.acme();
            let job = a.job_made(ATTACKER, &acme.issuer, &acme.client.client_id, &a.camp().keys.signing);
            expect(&a.run_job(ATTACKER, &job, &acme.client, ACCESS_TOKEN).await, 200)
        }),
        control!("the victim's worker runs the victim's job", |a| {
            let (job, victim) = (a.loot().victims_job.clone().unwrap_or_default(), a.victim());
            expect(&victim.run_job(VICTIM, &job, &a.globex().client, ACCESS_TOKEN).await, 200)
        }),
    ],
};

async fn own(a: &Attacker, wanted: &str) -> Answer {
    let job = a.loot().job.clone().unwrap_or_default();
    a.run_job(ATTACKER, &job, &a.acme().client, wanted).await
}

/// Exchanges a job token, and uses whatever it gives against the victim.
async fn run(a: &Attacker, at: &str, job: &str, worker: &MachineClient) -> Outcome {
    let answer = a.run_job(at, job, worker, ACCESS_TOKEN).await;
    let access = match answer.text_member("access_token") {
        Some(token) => a.pose(&token).await,
        None => Outcome::of(&answer),
    };
    let answer = a.run_job(at, job, worker, DATABASE_TOKEN).await;
    let database = match answer.text_member("access_token") {
        Some(token) => a.query_as(VICTIM, &token, ALL).await,
        None => Outcome::of(&answer),
    };
    Outcome::furthest([access, database])
}
