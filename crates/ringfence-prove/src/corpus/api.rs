//! The decision and control API: another tenant's decisions, and an operator's powers with a tenant's token.

use serde_json::{Value, json};

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Ask,
    leak::Leak,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "decision and control API",
    attacks: &[
        attack!(
            "api-evaluation-there",
            "the victim's policies asked with the own token",
            Token,
            Together,
            |a| {
                let mut tries = Vec::new();
                for token in [a.token("admin"), a.made(&a.claims(VICTIM, "admin"))] {
                    tries.push(decisions(a, VICTIM, &token).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "api-evaluation-foreign-resource",
            "the own policies asked about a resource of the victim's",
            Authorization,
            Together,
            |a| { decisions(a, ATTACKER, &a.token("admin")).await }
        ),
        attack!(
            "api-evaluation-path",
            "path tricks from the own policies to the victim's",
            Routing,
            Together,
            |a| {
                let mut tries = Vec::new();
                for path in [
                    format!("/t/{ATTACKER}/../{VICTIM}/access/v1/evaluation"),
                    format!("/t/{ATTACKER}%2f..%2f{VICTIM}/access/v1/evaluation"),
                    "/t/%67lobex/access/v1/evaluation".to_owned(),
                    "/access/v1/evaluation".to_owned(),
                ] {
                    let ask = Ask::new("POST", &path, a.scene().api_host())
                        .bearer(&a.token("admin"))
                        .header("X-Tenant-Id", VICTIM);
                    tries.push(Outcome::of(&a.api(ask.json(&question(VICTIM, "Book", VICTIM))).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "api-operator",
            "operator's endpoints with a tenant's token, none, and guesses",
            Identity,
            Alone,
            |a| {
                let mut tries = Vec::new();
                for token in [
                    a.token("admin"),
                    "rfo_AAAA".to_owned(),
                    String::new(),
                    "' OR '1'='1".to_owned(),
                    a.acme().client.client_secret.clone(),
                ] {
                    for (method, path) in [
                        ("GET", "/v1/tenants".to_owned()),
                        ("GET", format!("/v1/tenants/{VICTIM}")),
                        ("GET", format!("/v1/tenants/{VICTIM}/users")),
                        ("GET", format!("/v1/tenants/{VICTIM}/maps/audit")),
                        ("GET", format!("/v1/tenants/{VICTIM}/types?language=rust")),
                        ("DELETE", format!("/v1/tenants/{VICTIM}")),
                        ("POST", format!("/v1/tenants/{VICTIM}/suspend")),
                        ("PUT", format!("/v1/tenants/{VICTIM}/policies")),
                        ("POST", format!("/v1/tenants/{VICTIM}/store-move/approve")),
                        ("GET", format!("/v1/tenants/{VICTIM}/data-move")),
                        ("DELETE", format!("/v1/tenants/{VICTIM}/data-move")),
                        ("POST", format!("/v1/tenants/{VICTIM}/data-move/confirm")),
                        ("POST", format!("/v1/tenants/{VICTIM}/data-move/undo")),
                    ] {
                        let answer =
                            a.api(Ask::new(method, &path, a.scene().api_host()).bearer(&token)).await;
                        let done = (200..300).contains(&answer.status());
                        let leak = done
                            .then(|| Leak::oracle(format!("{method} {path} answered {}", answer.status())));
                        tries.push(Outcome::of(&answer).leaking(leak));
                    }
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("api-explain", "the verdicts on the victim's requests", Identity, Together, |a| {
            // The victim's own request, made by his machine; only its reference is the attacker's to know.
            let theirs = a.loot().victims.clone().unwrap_or_default();
            let answer = crate::http::exchange(
                a.camp().gateway,
                &a.theirs("GET", "/accounts?explained=1").bearer(&theirs).bytes(),
                crate::http::PATIENCE,
                &<_>::default(),
            )
            .await;
            let reference = answer.header("ringfence-reference").unwrap_or("r-1").to_owned();
            a.compare(&reference, |reference| {
                let path = format!("/v1/explain/{reference}");
                a.api(Ask::get(&path, a.scene().api_host()).bearer(&a.token("admin")))
            })
            .await
        }),
        attack!("api-through-gateway", "the API's paths through the gateway", Authorization, Together, |a| {
            let mut tries = Vec::new();
            for path in [
                "/v1/tenants",
                "/t/globex/access/v1/evaluation",
                "/access/v1/evaluation",
                "/metrics",
                "/healthz",
                "/admin",
            ] {
                tries.push(Outcome::of(&a.send(a.mine("GET", path)).await));
                tries.push(Outcome::of(&a.send(a.base("GET", path).bearer(&a.token("admin"))).await));
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "api-batch-and-search",
            "other AuthZEN endpoints, at the victim's path",
            Token,
            Together,
            |a| {
                let mut tries = Vec::new();
                for endpoint in ["evaluations", "search/subject", "search/resource", "search/action"] {
                    let path = format!("/t/{VICTIM}/access/v1/{endpoint}");
                    let ask = Ask::new("POST", &path, a.scene().api_host()).bearer(&a.token("admin"));
                    tries.push(Outcome::of(&a.api(ask.json(&question(VICTIM, "Book", VICTIM))).await));
                }
                Outcome::furthest(tries)
            }
        ),
    ],
    controls: &[
        control!("the operator's token lists the tenants", |a| {
            expect(
                &a.api(Ask::get("/v1/tenants", a.scene().api_host()).bearer(&a.scene().operator.token)).await,
                200,
            )
        }),
        control!("the own policies asked with both own tokens", |a| {
            let own = question(ATTACKER, "Book", ATTACKER);
            let answer = a.evaluate_served(ATTACKER, &a.token("admin"), own).await;
            match answer.member("decision") {
                Some(Value::Bool(true)) => Ok(()),
                _ => Err(format!("{} {}", answer.status(), answer.text())),
            }
        }),
    ],
};

fn question(tenant: &str, kind: &str, id: &str) -> Value {
    let action = if kind == "Book" { "ConnectDatabase" } else { "ViewPayment" };
    json!({
        "subject": { "type": "user", "id": "anyone" },
        "action": { "name": action },
        "resource": { "type": kind, "id": id, "properties": { "tenant": tenant } },
        "context": {},
    })
}

/// A decision about what is not one's own is no leak by itself: no row of the victim's is in it. What leaks is a
/// decision that depends on one, and a canary among the names of policies.
async fn decisions(a: &Attacker, at: &str, access: &str) -> Outcome {
    let exists = a.target.payment.to_string();
    a.compare(&exists, |id| a.evaluate_served(at, access, question(VICTIM, "Payment", id))).await
}
