//! Host confusion (RFC 9112 section 3.2, RFC 9113 section 8.3.1): a request that names two hosts, one for each reader.

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Ask,
    outcome::Outcome,
};

pub(super) const FAMILY: Family = Family {
    name: "host confusion",
    attacks: &[
        attack!(
            "host-twice",
            "two Host headers, own and the victim's in both orders",
            Routing,
            Together,
            |a| {
                let (own, theirs) = (a.acme().host.clone(), a.globex().host.clone());
                let tries = [
                    a.send(list(a, &own).header("Host", &theirs)).await,
                    a.send(list(a, &theirs).header("Host", &own)).await,
                    a.send(list(a, &own).header("host", &own)).await,
                ];
                Outcome::furthest(tries.iter().map(Outcome::of))
            }
        ),
        attack!(
            "host-absolute-form",
            "an absolute target against the Host header, both ways",
            Routing,
            Together,
            |a| {
                let (own, theirs) = (&a.acme().host, &a.globex().host);
                let tries = [
                    a.send(Ask::get(&format!("http://{theirs}/payments"), own).bearer(&a.token("admin")))
                        .await,
                    a.send(Ask::get(&format!("http://{own}/payments"), theirs).bearer(&a.token("admin")))
                        .await,
                ];
                Outcome::furthest(tries.iter().map(Outcome::of))
            }
        ),
        attack!("host-userinfo", "user names in an authority", Routing, Together, |a| {
            let (own, theirs) = (a.acme().host.clone(), a.globex().host.clone());
            each(a, &[format!("{own}@{theirs}"), format!("{theirs}@{own}"), format!("acme:{theirs}")]).await
        }),
        attack!("host-ports", "other ports, none, and bad ones", Routing, Together, |a| {
            let bare = a.globex().host.split(':').next().unwrap_or_default().to_owned();
            each(
                a,
                &[
                    bare.clone(),
                    format!("{bare}:80"),
                    format!("{bare}:"),
                    format!("{bare}:99999"),
                    format!("{bare}:0x50"),
                ],
            )
            .await
        }),
        attack!(
            "host-spellings",
            "dots, labels, lists and escapes around the victim's name",
            Routing,
            Together,
            |a| {
                let theirs = a.globex().host.clone();
                each(
                    a,
                    &[
                        format!("{}.", theirs),
                        format!("acme.{theirs}"),
                        theirs.replacen('.', "..", 1),
                        theirs.replacen('.', ".acme.", 1),
                        format!("{}, {}", a.acme().host, theirs),
                        theirs.replacen("globex", "%67lobex", 1),
                        theirs.replacen("globex", "globex_", 1),
                        format!("{theirs}/x"),
                        format!("{theirs}#"),
                        "[::1]".to_owned(),
                        String::new(),
                    ],
                )
                .await
            }
        ),
        attack!(
            "host-own-token-their-host",
            "the own token at the victim's host, in several cases",
            Token,
            Together,
            |a| {
                let theirs = a.globex().host.clone();
                each(a, &[theirs.clone(), theirs.to_uppercase(), theirs.replacen("globex", "GlobeX", 1)])
                    .await
            }
        ),
        attack!(
            "host-h2-authority",
            "HTTP/2 with an authority and a Host that differ, both ways",
            Routing,
            Together,
            |a| {
                let (own, theirs) = (&a.acme().host, &a.globex().host);
                let mut tries = Vec::new();
                for (authority, host) in [(own, theirs), (theirs, own)] {
                    let request = ::http::Request::get(format!("http://{authority}/payments"))
                        .header("host", host)
                        .header("authorization", format!("Bearer {}", a.token("admin")));
                    tries.push(Outcome::of(&a.h2(request).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "host-h2-victim",
            "HTTP/2 at the victim's authority with the own token and believed headers",
            Token,
            Together,
            |a| {
                let request = ::http::Request::get(format!("http://{}/payments", a.globex().host))
                    .header("authorization", format!("Bearer {}", a.token("admin")))
                    .header("x-tenant-id", "globex")
                    .header("x-forwarded-host", &a.acme().host);
                Outcome::of(&a.h2(request).await)
            }
        ),
        attack!(
            "host-of-issuers",
            "the API asked for at the issuers' host, the issuers at a tenant's",
            Routing,
            Together,
            |a| {
                let token = a.token("admin");
                let tries = [
                    a.send(a.base("GET", "/payments").bearer(&token)).await,
                    a.send(a.theirs("GET", "/t/globex/userinfo").bearer(&token)).await,
                    a.send(a.theirs("GET", "/t/acme/userinfo").bearer(&token)).await,
                ];
                Outcome::furthest(tries.iter().map(Outcome::of))
            }
        ),
    ],
    controls: &[
        control!("the own host in capitals", |a| expect(
            &a.send(list(a, &a.acme().host.to_uppercase())).await,
            200
        )),
        control!("the own API over HTTP/2", |a| {
            let request = ::http::Request::get(format!("http://{}/payments", a.acme().host))
                .header("authorization", format!("Bearer {}", a.token("admin")));
            expect(&a.h2(request).await, 200)
        }),
    ],
};

fn list(a: &Attacker, host: &str) -> Ask {
    Ask::get("/payments", host).bearer(&a.token("admin"))
}

async fn each(a: &Attacker, hosts: &[String]) -> Outcome {
    let mut tries = Vec::new();
    for host in hosts {
        tries.push(Outcome::of(&a.send(list(a, host)).await));
    }
    Outcome::furthest(tries)
}
