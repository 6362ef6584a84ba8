//! Straight to the backend, past the gateway: with nothing, with invented headers, and with real ones copied.

use serde_json::json;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    forge::{Signer, token},
    http::Ask,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "direct to backend",
    attacks: &[
        attack!("direct-nothing", "no headers at all", Backend, Together, |a| {
            let mut tries = Vec::new();
            for path in ["/payments", "/accounts", "/beneficiaries", "/reports/volume", "/"] {
                tries.push(Outcome::of(&a.backend(Ask::get(path, &a.globex().host)).await));
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "direct-invented",
            "X-Tenant-Id of the victim and words for tokens",
            Backend,
            Together,
            |a| {
                sent(
                    a,
                    &[
                        ("X-Tenant-Id", VICTIM),
                        ("Txn-Token", "a.b.c"),
                        ("Txn-Binding", "AAAA"),
                        ("Authorization", "Bearer a.b.c"),
                        ("Ringfence-Reference", "r-1"),
                    ],
                )
                .await
            }
        ),
        attack!(
            "direct-own-access",
            "the own access token with X-Tenant-Id of the victim",
            Backend,
            Together,
            |a| {
                sent(
                    a,
                    &[
                        ("X-Tenant-Id", VICTIM),
                        ("Authorization", &bearer(a)),
                        ("Txn-Token", &txn(a)),
                        ("Txn-Binding", "AAAA"),
                        ("Ringfence-Reference", "r-1"),
                    ],
                )
                .await
            }
        ),
        attack!(
            "direct-own-tokens-own-tenant",
            "both own tokens, a database session's Txn-Token, for the own tenant",
            Backend,
            Together,
            |a| {
                sent(
                    a,
                    &[
                        ("X-Tenant-Id", ATTACKER),
                        ("Authorization", &bearer(a)),
                        ("Txn-Token", &txn(a)),
                        ("Txn-Binding", "AAAA"),
                        ("Ringfence-Reference", "r-1"),
                    ],
                )
                .await
            }
        ),
        attack!(
            "direct-forged-access",
            "a real Txn-Token with an access token forged for the victim",
            Backend,
            Together,
            |a| {
                let forged = format!("Bearer {}", a.made(&a.claims(VICTIM, "admin")));
                sent(
                    a,
                    &[
                        ("X-Tenant-Id", VICTIM),
                        ("Authorization", &forged),
                        ("Txn-Token", &txn(a)),
                        ("Txn-Binding", "AAAA"),
                        ("Ringfence-Reference", "r-1"),
                    ],
                )
                .await
            }
        ),
        attack!(
            "direct-forged-txn",
            "a Txn-Token forged with the stolen and with an unknown key",
            Backend,
            Together,
            |a| {
                let mut tries = Vec::new();
                for key in [&a.camp().keys.signing, &a.camp().stranger] {
                    let access = a.made(&a.claims(VICTIM, "admin"));
                    let txn = forged_txn(a, &access, key);
                    let bearer = format!("Bearer {access}");
                    tries.push(
                        sent(
                            a,
                            &[
                                ("X-Tenant-Id", VICTIM),
                                ("Authorization", &bearer),
                                ("Txn-Token", &txn),
                                ("Txn-Binding", "AAAA"),
                                ("Ringfence-Reference", "r-1"),
                            ],
                        )
                        .await,
                    );
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("direct-header-twice", "each of the gateway's headers twice", Backend, Together, |a| {
            let (bearer, txn) = (bearer(a), txn(a));
            sent(
                a,
                &[
                    ("X-Tenant-Id", ATTACKER),
                    ("X-Tenant-Id", VICTIM),
                    ("Authorization", &bearer),
                    ("Authorization", &bearer),
                    ("Txn-Token", &txn),
                    ("Txn-Token", &txn),
                    ("Txn-Binding", "AAAA"),
                    ("Ringfence-Reference", "r-1"),
                ],
            )
            .await
        }),
        attack!("direct-write", "a refund and a payment straight at the backend", Backend, Alone, |a| {
            let headers = [
                ("X-Tenant-Id", VICTIM),
                ("Authorization", &*bearer(a)),
                ("Txn-Token", &*txn(a)),
                ("Txn-Binding", "AAAA"),
                ("Ringfence-Reference", "r-1"),
            ];
            let add = |ask: Ask| headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
            let payment = json!({
                "account_id": a.target.account,
                "beneficiary_id": a.target.beneficiary,
                "amount": 1,
                "currency": "EUR",
            });
            let refund = format!("/payments/{}/refund", a.target.payment);
            let tries = [
                a.backend(add(Ask::new("POST", &refund, &a.globex().host))).await,
                a.backend(add(Ask::new("POST", "/payments", &a.globex().host)).json(&payment)).await,
            ];
            Outcome::furthest(tries.iter().map(Outcome::of))
        }),
        attack!("direct-spellings", "the gateway's headers in other spellings", Backend, Together, |a| {
            sent(
                a,
                &[
                    ("X_Tenant_Id", VICTIM),
                    ("Txn_Token", &txn(a)),
                    ("Txn_Binding", "AAAA"),
                    ("Authorization", &bearer(a)),
                    ("Ringfence_Reference", "r-1"),
                ],
            )
            .await
        }),
        attack!(
            "direct-oracle",
            "a payment of the victim's and none, straight at the backend",
            Backend,
            Together,
            |a| {
                let (bearer, txn) = (bearer(a), txn(a));
                a.compare(&a.target.payment.to_string(), |id| {
                    a.backend(
                        Ask::get(&format!("/payments/{id}"), "backend")
                            .header("X-Tenant-Id", ATTACKER)
                            .header("Authorization", &bearer)
                            .header("Txn-Token", &txn)
                            .header("Txn-Binding", "AAAA")
                            .header("Ringfence-Reference", "r-1"),
                    )
                })
                .await
            }
        ),
    ],
    controls: &[control!("the backend is reached, and says itself that it refuses", |a| {
        let answer = a.backend(Ask::get("/payments", "backend")).await;
        match answer.text_member("layer").as_deref() {
            Some("backend") => Ok(()),
            _ => Err(format!("{} {}", answer.status(), answer.text())),
        }
    })],
};

fn bearer(a: &Attacker) -> String {
    format!("Bearer {}", access(a))
}

/// The access token the real Txn-Token is about.
fn access(a: &Attacker) -> String {
    let of = a.loot().database.as_ref().and_then(|token| token.split('~').next());
    of.map_or_else(|| a.token("admin"), str::to_owned)
}

fn txn(a: &Attacker) -> String {
    let of = a.loot().database.as_ref().and_then(|token| token.split('~').nth(1));
    of.unwrap_or("a.b.c").to_owned()
}

/// A Txn-Token for the victim, as like the real one as can be.
pub(super) fn forged_txn(a: &Attacker, access: &str, key: &crate::forge::Key) -> String {
    let mut claims =
        crate::forge::claims(&txn(a)).map(serde_json::Value::Object).unwrap_or_else(|| json!({}));
    let said = crate::forge::claims(access).unwrap_or_default();
    if let Some(members) = claims.as_object_mut() {
        members.insert("tenant_id".to_owned(), VICTIM.into());
        members.insert("sub".to_owned(), said.get("sub").cloned().unwrap_or_default());
        members.insert(
            "ath".to_owned(),
            crate::forge::base64url(&crate::forge::sha256(access.as_bytes())).into(),
        );
        members.insert("iat".to_owned(), a.now().into());
        members.insert("exp".to_owned(), a.now().saturating_add(10).into());
    }
    let header = json!({ "typ": "txntoken+jwt", "alg": "EdDSA", "kid": key.kid() });
    token(&header, &claims, &Signer::Key(key))
}

/// Everything that can be read, with these headers.
async fn sent(a: &Attacker, headers: &[(&str, &str)]) -> Outcome {
    let one = format!("/payments/{}", a.target.payment);
    let mut tries = Vec::new();
    for path in ["/payments", "/accounts", "/reports/volume", &one] {
        let ask = Ask::get(path, &a.globex().host);
        let ask = headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
        tries.push(Outcome::of(&a.backend(ask).await));
    }
    Outcome::furthest(tries)
}
