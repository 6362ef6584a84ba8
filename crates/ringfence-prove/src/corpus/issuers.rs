//! Mix-up of issuers and tenants: what is genuine at one tenant, presented at another.

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    http::Ask,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "issuer mix-up",
    attacks: &[
        attack!(
            "issuer-own-token-their-host",
            "tokens exactly as issued, at the victim's API",
            Token,
            Together,
            |a| {
                let mut tries = Vec::new();
                for (_, token) in &a.loot().issued {
                    tries.push(a.pose(token).await);
                }
                tries.push(a.pose(&a.token("viewer")).await);
                Outcome::furthest(tries)
            }
        ),
        attack!("issuer-userinfo", "an own token at the victim's userinfo", Token, Together, |a| {
            let userinfo = format!("/t/{VICTIM}/userinfo");
            let token = a.token("admin");
            let tries = [
                a.issuer(a.base("GET", &userinfo).bearer(&token)).await,
                a.issuer(a.base("POST", &userinfo).bearer(&token).form(&[])).await,
                a.issuer(a.base("GET", &format!("{userinfo}?access_token={token}"))).await,
            ];
            Outcome::furthest(tries.iter().map(Outcome::of))
        }),
        attack!(
            "issuer-exchange",
            "an own token exchanged at the victim's token endpoint",
            Token,
            Together,
            |a| {
                let mut tries = Vec::new();
                for (_, token) in a.loot().issued.iter().chain([&(String::new(), a.token("admin"))]) {
                    let exchanged = a.exchange_token(VICTIM, token).await;
                    tries.push(match exchanged.text_member("access_token") {
                        Some(database) => a.query_as(VICTIM, &database, "SELECT * FROM payments").await,
                        None => Outcome::of(&exchanged),
                    });
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "issuer-revoke",
            "revoking at the victim's issuer, with own and with the victim's client",
            Identity,
            Alone,
            |a| {
                let token = a.made(&a.claims(ATTACKER, "viewer"));
                let (mine, theirs) = (&a.acme().client, &a.globex().app);
                let own = [
                    ("token", token.as_str()),
                    ("client_id", &mine.client_id),
                    ("client_secret", &mine.client_secret),
                ];
                let public = [("token", token.as_str()), ("client_id", &theirs.client_id)];
                let revoke = format!("/t/{VICTIM}/revoke");
                let tries = [
                    a.issuer(a.base("POST", &revoke).form(&own)).await,
                    a.issuer(a.base("POST", &revoke).form(&public)).await,
                ];
                Outcome::furthest(tries.iter().map(Outcome::of))
            }
        ),
        attack!(
            "issuer-machine",
            "an own machine client at the victim's token endpoint",
            Identity,
            Together,
            |a| {
                let client = &a.acme().client;
                let answer = a.machine(VICTIM, &client.client_id, &client.client_secret).await;
                match answer.text_member("access_token") {
                    Some(token) => a.pose(&token).await,
                    None => Outcome::of(&answer),
                }
            }
        ),
        attack!(
            "issuer-machine-guessed",
            "the victim's machine client with secrets that are not its own",
            Identity,
            Together,
            |a| {
                let id = &a.globex().client.client_id;
                let mut tries = Vec::new();
                for secret in [a.acme().client.client_secret.as_str(), "", "secret", "' OR '1'='1"] {
                    tries.push(Outcome::of(&a.machine(VICTIM, id, secret).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "issuer-metadata-host",
            "discovery asked with another host, to be given other endpoints",
            Routing,
            Together,
            |a| {
                let path = format!("/t/{VICTIM}/.well-known/openid-configuration");
                let mut tries = Vec::new();
                for ask in [
                    Ask::get(&path, "evil.example"),
                    Ask::get(&path, &a.acme().host),
                    a.base("GET", &path)
                        .header("X-Forwarded-Host", "evil.example")
                        .header("Forwarded", "host=evil.example"),
                ] {
                    let answer = a.issuer(ask).await;
                    let outcome = Outcome::of(&answer);
                    let turned = answer.text().contains("evil.example");
                    let leak = turned.then(|| {
                        crate::leak::Leak::oracle(
                            "an issuer's metadata names a host a client chose".to_owned(),
                        )
                    });
                    tries.push(outcome.leaking(leak));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "issuer-path-tricks",
            "paths that lead from the own issuer to the victim's",
            Routing,
            Together,
            |a| {
                let client = &a.acme().client;
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client.client_id.as_str()),
                    ("client_secret", &client.client_secret),
                ];
                let mut tries = Vec::new();
                for path in [
                    format!("/t/{ATTACKER}/../{VICTIM}/token"),
                    format!("/t/{ATTACKER}%2f..%2f{VICTIM}/token"),
                    "/t/%67lobex/token".to_owned(),
                    format!("/t//{VICTIM}/token"),
                    format!("/t/{VICTIM};{ATTACKER}/token"),
                    format!("/T/{VICTIM}/token"),
                    format!("/t/{VICTIM}/token/"),
                ] {
                    let answer = a.issuer(a.base("POST", &path).form(&form)).await;
                    tries.push(match answer.text_member("access_token") {
                        Some(token) => a.pose(&token).await,
                        None => Outcome::of(&answer),
                    });
                }
                Outcome::furthest(tries)
            }
        ),
    ],
    controls: &[
        control!("an own token at the own userinfo", |a| {
            let token = a.loot().issued.first().map(|(_, token)| token.clone()).unwrap_or_default();
            expect(&a.issuer(a.base("GET", &format!("/t/{ATTACKER}/userinfo")).bearer(&token)).await, 200)
        }),
        control!("an own token exchanged at the own issuer", |a| expect(
            &a.exchange_token(ATTACKER, &a.token("admin")).await,
            200
        )),
        control!("the own machine at the own issuer", |a| {
            let client = &a.acme().client;
            expect(&a.machine(ATTACKER, &client.client_id, &client.client_secret).await, 200)
        }),
    ],
};
