//! Key confusion: everything that can be said with a key that was really stolen, the attacker's own tenant's.

use serde_json::{Value, json};

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    forge::{Signer, header, token},
    outcome::Outcome,
    scene::{ATTACKER, BYSTANDER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "key confusion",
    attacks: &[
        attack!("key-own-issuer-their-tenant", "own issuer, the victim's tenant_id", Token, Together, |a| {
            say(a, &[("iss", a.acme().issuer.as_str().into())]).await
        }),
        attack!(
            "key-their-issuer-their-tenant",
            "the victim's issuer and tenant_id, own key",
            Token,
            Together,
            |a| { say(a, &[]).await }
        ),
        attack!("key-their-issuer-own-tenant", "the victim's issuer, own tenant_id", Token, Together, |a| {
            say(a, &[("tenant_id", ATTACKER.into())]).await
        }),
        attack!(
            "key-own-token-their-subject",
            "an own token with a subject and client of the victim's",
            Token,
            Together,
            |a| {
                let claims = changed(
                    a.claims(ATTACKER, "admin"),
                    &[
                        ("sub", a.globex().client.client_id.as_str().into()),
                        ("client_id", a.globex().client.client_id.as_str().into()),
                    ],
                );
                a.pose(&a.made(&claims)).await
            }
        ),
        attack!("key-their-kid", "own key, labelled with the victim's key id", Token, Together, |a| {
            let keys = a.issuer(a.base("GET", &format!("/t/{VICTIM}/jwks"))).await;
            let kid =
                keys.member("keys").and_then(|keys| Some(keys.get(0)?.get("kid")?.as_str()?.to_owned()));
            let kid = kid.unwrap_or_default();
            let mut tries = Vec::new();
            for iss in [&a.globex().issuer, &a.acme().issuer] {
                let claims = changed(a.claims(VICTIM, "admin"), &[("iss", iss.as_str().into())]);
                tries
                    .push(a.pose(&token(&header(&kid), &claims, &Signer::Key(&a.camp().keys.signing))).await);
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "key-own-seal-of-their-tenant",
            "own issuer and tenant, a seal made for the victim",
            Token,
            Together,
            |a| {
                let claims = a.claims(ATTACKER, "admin");
                let (jti, exp) =
                    (text(&claims, "jti"), claims.get("exp").and_then(Value::as_u64).unwrap_or(0));
                let claims = changed(claims, &[("seal", a.camp().keys.seal(VICTIM, &jti, exp).into())]);
                a.pose(&a.made(&claims)).await
            }
        ),
        attack!(
            "key-issuer-lookalikes",
            "issuers that are spelled almost like the victim's, or lead from one to the other",
            Token,
            Together,
            |a| {
                let (acme, globex) = (&a.acme().issuer, &a.globex().issuer);
                let base = &a.scene().gateway;
                let mut tries = Vec::new();
                for iss in [
                    format!("{globex}/"),
                    globex.to_uppercase(),
                    format!("{acme}/../{VICTIM}"),
                    format!("{globex}?x={acme}"),
                    format!("{globex}#{acme}"),
                    format!("{acme}#{globex}"),
                    base.replace("127.0.0.1", "localhost") + "/t/globex",
                    format!("{acme}%2f..%2f{VICTIM}"),
                    format!("{base}@{acme}"),
                    format!("{acme} {globex}"),
                    String::new(),
                ] {
                    tries.push(say(a, &[("iss", iss.into())]).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "key-tenant-lookalikes",
            "tenant ids that are spelled almost like the victim's, or are no text",
            Token,
            Together,
            |a| {
                let mut tries = Vec::new();
                let lookalikes = [
                    json!("Globex"),
                    json!("globex "),
                    json!(" globex"),
                    json!("globex\u{0}"),
                    json!(["globex"]),
                    json!({"0": "globex"}),
                    json!("*"),
                    json!("acme,globex"),
                    json!("acme/../globex"),
                    json!("%67lobex"),
                    json!(null),
                ];
                for tenant in lookalikes {
                    tries.push(
                        say(a, &[("iss", a.acme().issuer.as_str().into()), ("tenant_id", tenant)]).await,
                    );
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "key-bystander",
            "own key for the third tenant, at the victim's address",
            Token,
            Together,
            |a| { a.pose(&a.made(&a.claims(BYSTANDER, "admin"))).await }
        ),
        attack!(
            "key-own-token-elsewhere",
            "own issuer, key and tenant, presented at the victim's address",
            Token,
            Together,
            |a| { a.pose(&a.made(&a.claims(ATTACKER, "admin"))).await }
        ),
    ],
    controls: &[
        control!("what the stolen key signs for its own tenant is believed there, with any role", |a| {
            let token = a.made(&a.claims(ATTACKER, "admin"));
            expect(
                &a.send(a.mine("GET", "/reports/volume").without("authorization").bearer(&token)).await,
                200,
            )
        }),
        control!("what the stolen database key seals opens a session of its own tenant", |a| {
            let exchanged = a.exchange_token(ATTACKER, &a.made(&a.claims(ATTACKER, "admin"))).await;
            let token =
                exchanged.text_member("access_token").ok_or(format!("no exchange: {}", exchanged.text()))?;
            match a.query_as(ATTACKER, &token, "SELECT id FROM payments").await {
                Outcome { stopped_by: None, .. } => Ok(()),
                stopped => Err(stopped.told()),
            }
        }),
    ],
};

/// Claims for the victim, some of them changed, signed with the stolen key.
async fn say(a: &Attacker, changes: &[(&str, Value)]) -> Outcome {
    a.pose(&a.made(&changed(a.claims(VICTIM, "admin"), changes))).await
}

fn changed(mut claims: Value, changes: &[(&str, Value)]) -> Value {
    if let Some(members) = claims.as_object_mut() {
        for (name, value) in changes {
            members.insert((*name).to_owned(), value.clone());
        }
    }
    claims
}

fn text(claims: &Value, name: &str) -> String {
    claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
