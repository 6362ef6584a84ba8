//! Forged access tokens: what RFC 8725 warns of, and what RFC 9068 leaves to get wrong.

use ringfence_context::Layer;
use serde_json::{Value, json};

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    forge::{Signer, altered, header, token, token_of},
    http::Answer,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "forged tokens",
    attacks: &[
        attack!("token-alg-none", "alg none, no signature", Token, Together, |a| {
            let mut tries = Vec::new();
            for alg in ["none", "None", "NONE", "nOnE", ""] {
                let forged = token(
                    &with(&theirs(a).await, "alg", alg.into()),
                    &a.claims(VICTIM, "admin"),
                    &Signer::Nothing,
                );
                tries.push(a.pose(&forged).await);
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "token-hs256-public-key",
            "HS256 with the issuer's public key as the secret",
            Token,
            Together,
            |a| {
                let jwk = victims_key(a).await;
                let x = jwk.get("x").and_then(Value::as_str).unwrap_or_default().to_owned();
                let header = with(&theirs(a).await, "alg", "HS256".into());
                let mut tries = Vec::new();
                for secret in [x.as_bytes().to_vec(), jwk.to_string().into_bytes(), decoded(&x)] {
                    tries.push(
                        a.pose(&token(&header, &a.claims(VICTIM, "admin"), &Signer::Hmac(&secret))).await,
                    );
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "token-other-key",
            "signed by a key nobody knows, under the victim's kid",
            Token,
            Together,
            |a| {
                a.pose(&token(&theirs(a).await, &a.claims(VICTIM, "admin"), &Signer::Key(&a.camp().stranger)))
                    .await
            }
        ),
        attack!("token-garbage-signature", "a signature of 64 equal bytes", Token, Together, |a| {
            a.pose(&token(&theirs(a).await, &a.claims(VICTIM, "admin"), &Signer::Garbage)).await
        }),
        attack!("token-no-signature", "EdDSA with an empty signature", Token, Together, |a| {
            a.pose(&token(&theirs(a).await, &a.claims(VICTIM, "admin"), &Signer::Nothing)).await
        }),
        attack!("token-kid-path", "kid that is a path", Token, Together, |a| {
            kids(a, &["../../../../dev/null", "/dev/null", "file:///dev/null", "..%2f..%2facme"]).await
        }),
        attack!("token-kid-sql", "kid that is SQL", Token, Together, |a| {
            kids(a, &["' OR '1'='1", "x' UNION SELECT 'AAAA' --", "'; DROP TABLE pool; --"]).await
        }),
        attack!(
            "token-kid-of-own-issuer",
            "the attacker's own kid under the victim's issuer",
            Token,
            Together,
            |a| { kids(a, &[&a.camp().keys.signing.kid()]).await }
        ),
        attack!("token-header-jwk", "the key to verify with in the header", Token, Together, |a| {
            let key = &a.camp().stranger;
            let header = with(&header(&key.kid()), "jwk", key.jwk());
            a.pose(&token(&header, &a.claims(VICTIM, "admin"), &Signer::Key(key))).await
        }),
        attack!("token-header-jku", "an address to fetch the key from in the header", Token, Together, |a| {
            urls(a, "jku", &format!("{}/jwks", a.acme().issuer)).await
        }),
        attack!(
            "token-header-x5u",
            "an address to fetch a certificate from in the header",
            Token,
            Together,
            |a| { urls(a, "x5u", &format!("{}/jwks", a.acme().issuer)).await }
        ),
        attack!(
            "token-header-crit",
            "a critical extension nobody knows, and unencoded payload",
            Token,
            Together,
            |a| {
                let crit = with(&with(&theirs(a).await, "crit", json!(["b64"])), "b64", json!(false));
                a.pose(&token(&crit, &a.claims(VICTIM, "admin"), &Signer::Key(&a.camp().stranger))).await
            }
        ),
        attack!(
            "token-duplicate-claims",
            "tenant_id and iss twice, the last or the first of them the victim's",
            Token,
            Together,
            |a| {
                let claims = a.claims(ATTACKER, "admin").to_string();
                let rest = claims.trim_start_matches('{').trim_end_matches('}');
                let issuer = &a.globex().issuer;
                let key = &a.camp().keys.signing;
                let mut tries = Vec::new();
                for text in [
                    format!(r#"{{{rest},"tenant_id":"{VICTIM}"}}"#),
                    format!(r#"{{"tenant_id":"{VICTIM}",{rest}}}"#),
                    format!(r#"{{{rest},"iss":"{issuer}","tenant_id":"{VICTIM}"}}"#),
                    format!(r#"{{{rest},"tenant\u005fid":"{VICTIM}"}}"#),
                ] {
                    tries.push(
                        a.pose(&token_of(&header(&key.kid()).to_string(), &text, &Signer::Key(key))).await,
                    );
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "token-altered-tenant",
            "an own token with tenant_id altered, its signature kept",
            Token,
            Together,
            |a| { alter(a, &[("tenant_id", VICTIM.into())]).await }
        ),
        attack!(
            "token-altered-issuer",
            "an own token with tenant_id and iss altered, its signature kept",
            Token,
            Together,
            |a| {
                alter(a, &[("tenant_id", VICTIM.into()), ("iss", a.globex().issuer.as_str().into())]).await
            }
        ),
        attack!(
            "token-altered-roles",
            "a viewer's token with the role admin, at his own tenant",
            Token,
            Together,
            |a| {
                let raised = altered(&a.token("viewer"), &[("roles", json!(["admin"]))]).unwrap_or_default();
                let report = a.mine("GET", "/reports/volume").without("authorization").bearer(&raised);
                Outcome::of(&a.send(report).await)
            }
        ),
        attack!("token-expired", "tokens that are over", Token, Together, |a| {
            at_own(a, &[json!({ "exp": a.now().saturating_sub(10), "iat": a.now().saturating_sub(300) })])
                .await
        }),
        attack!("token-far-future", "tokens that live for years, or begin later", Token, Together, |a| {
            let far = a.now().saturating_add(400_000_000);
            at_own(
                a,
                &[
                    json!({ "exp": far }),
                    json!({ "iat": a.now().saturating_add(3000), "exp": far }),
                    json!({ "exp": u64::MAX }),
                ],
            )
            .await
        }),
        attack!("token-no-exp", "tokens without exp, or with one that is no number", Token, Together, |a| {
            at_own(
                a,
                &[
                    json!({ "exp": null }),
                    json!({ "exp": "9999999999" }),
                    json!({ "exp": -1 }),
                    json!({ "exp": 1e30 }),
                ],
            )
            .await
        }),
        attack!("token-other-audience", "tokens for another audience", Token, Together, |a| {
            at_own(
                a,
                &[
                    json!({ "aud": "https://elsewhere.example" }),
                    json!({ "aud": ["x", a.loot().audience] }),
                    json!({ "aud": "" }),
                ],
            )
            .await
        }),
        attack!(
            "token-truncated",
            "tokens cut short, with a segment more, or padded",
            Token,
            Together,
            |a| {
                let own = a.token("admin");
                let cut = own.rsplit_once('.').map(|(message, _)| message.to_owned()).unwrap_or_default();
                let mut tries = Vec::new();
                for bad in [
                    cut.clone(),
                    format!("{cut}."),
                    format!("{own}.{own}"),
                    format!("{own}=="),
                    own.replace('.', ".."),
                    format!("{own}A"),
                ] {
                    tries.push(Outcome::of(&own_list(a, &bad).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "token-reencoded",
            "the same token in another spelling: cached or revoked under one, used under the other",
            Token,
            Together,
            |a| {
                let own = a.token("admin");
                let (message, signature) = own.rsplit_once('.').unwrap_or_default();
                let mut tries = Vec::new();
                // The last character of 64 bytes in base64url carries four bits that do not count.
                for last in ["B", "C", "P"] {
                    let twin = format!("{message}.{}{last}", signature.get(..85).unwrap_or_default());
                    if twin != own {
                        tries.push(Outcome::of(&own_list(a, &twin).await));
                    }
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("token-typ-id-token", "an ID token as an access token", Token, Together, |a| {
            let id_token = a.loot().id_token.clone().unwrap_or_else(|| {
                let key = &a.camp().keys.signing;
                token(
                    &with(&header(&key.kid()), "typ", "JWT".into()),
                    &a.claims(ATTACKER, "admin"),
                    &Signer::Key(key),
                )
            });
            Outcome::of(&own_list(a, &id_token).await)
        }),
        attack!(
            "token-typ-swapped",
            "a Txn-Token, a logout token and an untyped token as access tokens",
            Token,
            Together,
            |a| {
                let key = &a.camp().keys.signing;
                let txn = a
                    .loot()
                    .database
                    .as_ref()
                    .and_then(|token| token.split('~').nth(1))
                    .unwrap_or("a.b.c")
                    .to_owned();
                let mut tries = vec![Outcome::of(&own_list(a, &txn).await)];
                for typ in ["logout+jwt", "txntoken+jwt", "application/at+jwt", "JWT"] {
                    let forged = token(
                        &with(&header(&key.kid()), "typ", typ.into()),
                        &a.claims(ATTACKER, "admin"),
                        &Signer::Key(key),
                    );
                    tries.push(Outcome::of(&own_list(a, &forged).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "token-huge",
            "a token of a hundred thousand bytes, and one nested a thousand deep",
            Token,
            Together,
            |a| {
                let key = &a.camp().keys.signing;
                let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
                let claims =
                    a.claims(ATTACKER, "admin").to_string().replacen('{', &format!("{{\"x\":{deep},"), 1);
                let tries = [
                    Outcome::of(&own_list(a, &"a".repeat(100_000)).await),
                    Outcome::of(
                        &own_list(a, &token_of(&header(&key.kid()).to_string(), &claims, &Signer::Key(key)))
                            .await,
                    ),
                ];
                Outcome::furthest(tries)
            }
        ),
    ],
    controls: &[
        control!("an own token opens the own API", |a| expect(&own_list(a, &a.token("admin")).await, 200)),
        control!("a token made with the stolen key opens the own API: the forger makes what verifies", |a| {
            expect(&own_list(a, &a.made(&a.claims(ATTACKER, "admin"))).await, 200)
        }),
    ],
};

/// Whether an answer has a status.
pub(super) fn expect(answer: &Answer, status: u16) -> Result<(), String> {
    if answer.status() == status {
        Ok(())
    } else {
        let told: String = answer.text().chars().take(200).collect();
        Err(format!("{} instead of {status}: {told}", answer.status()))
    }
}

/// The list of payments of the attacker's own tenant, asked for with this token.
pub(super) async fn own_list(a: &Attacker, token: &str) -> Answer {
    a.send(a.mine("GET", "/payments").without("authorization").bearer(token)).await
}

fn with(header: &Value, name: &str, value: Value) -> Value {
    let mut header = header.clone();
    if let Some(members) = header.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    header
}

/// The header of a token of the victim's issuer.
async fn theirs(a: &Attacker) -> Value {
    let key = victims_key(a).await;
    header(key.get("kid").and_then(Value::as_str).unwrap_or("unknown"))
}

async fn victims_key(a: &Attacker) -> Value {
    let keys = a.issuer(a.base("GET", &format!("/t/{VICTIM}/jwks"))).await;
    keys.member("keys").and_then(|keys| keys.get(0).cloned()).unwrap_or_default()
}

fn decoded(x: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(x).unwrap_or_default()
}

async fn kids(a: &Attacker, kids: &[&str]) -> Outcome {
    let mut tries = Vec::new();
    for kid in kids {
        let claims = a.claims(VICTIM, "admin");
        tries.push(a.pose(&token(&header(kid), &claims, &Signer::Key(&a.camp().keys.signing))).await);
        tries.push(
            a.pose(&token(&with(&header(kid), "alg", "HS256".into()), &claims, &Signer::Hmac(b""))).await,
        );
    }
    Outcome::furthest(tries)
}

async fn urls(a: &Attacker, member: &str, own: &str) -> Outcome {
    let key = &a.camp().keys.signing;
    let mut tries = Vec::new();
    for url in [own, "http://127.0.0.1:9/keys", "file:///etc/passwd"] {
        let header = with(&header(&key.kid()), member, url.into());
        tries.push(a.pose(&token(&header, &a.claims(VICTIM, "admin"), &Signer::Key(key))).await);
    }
    Outcome::furthest(tries)
}

async fn alter(a: &Attacker, changes: &[(&str, Value)]) -> Outcome {
    match altered(&a.token("admin"), changes) {
        Some(forged) => a.pose(&forged).await,
        None => Outcome::stopped(Layer::Token, "no token"),
    }
}

/// Tokens of his own tenant, signed with its real key, with claims changed (or left out, where null).
async fn at_own(a: &Attacker, changes: &[Value]) -> Outcome {
    let mut tries = Vec::new();
    for change in changes {
        let mut claims = a.claims(ATTACKER, "admin");
        if let (Some(members), Some(change)) = (claims.as_object_mut(), change.as_object()) {
            for (name, value) in change {
                if value.is_null() {
                    members.shift_remove(name);
                } else {
                    members.insert(name.clone(), value.clone());
                }
            }
        }
        tries.push(Outcome::of(&own_list(a, &a.made(&claims)).await));
    }
    Outcome::furthest(tries)
}
