//! Sign-in: users, codes, tickets and redirects of one tenant, tried at another (RFC 9700).

use ringfence_context::Layer;

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Answer,
    leak::{Leak, differing},
    outcome::Outcome,
    scene::{ATTACKER, User, VICTIM},
    sign_in::{VERIFIER, sent, ticket},
};

pub(super) const FAMILY: Family = Family {
    name: "sign-in",
    attacks: &[
        attack!(
            "sign-in-own-user-there",
            "an own user with his password at the victim's sign-in",
            Identity,
            Together,
            |a| {
                let Some(user) = someone(a) else { return nobody() };
                let answer = a.sign_in(VICTIM, &a.globex().app, &user.username, &user.password).await;
                with_code(a, &answer).await
            }
        ),
        attack!(
            "sign-in-usernames",
            "which user names the victim has, by how a wrong password is answered",
            Identity,
            Together,
            |a| {
                let Some(known) = a.globex().users.first() else { return nobody() };
                let unknown = format!("u{}", a.nonce());
                let (found, missing) = (
                    a.sign_in(VICTIM, &a.globex().app, &known.username, "not the password").await,
                    a.sign_in(VICTIM, &a.globex().app, &unknown, "not the password").await,
                );
                Outcome::of(&found).leaking(differing(&found, &missing, (&[&known.username], &[&unknown])))
            }
        ),
        attack!(
            "sign-in-clients",
            "which machine clients the victim has, by how a wrong secret is answered",
            Identity,
            Together,
            |a| {
                let known = &a.globex().client.client_id;
                let unknown = format!("c{}", a.nonce());
                let (found, missing) =
                    (a.machine(VICTIM, known, "wrong").await, a.machine(VICTIM, &unknown, "wrong").await);
                Outcome::of(&found).leaking(differing(&found, &missing, (&[known], &[&unknown])))
            }
        ),
        attack!(
            "sign-in-names-as-code",
            "names that are SQL, wildcards, paths or the victim's with a suffix",
            Identity,
            Together,
            |a| {
                let mut tries = Vec::new();
                for name in ["' OR '1'='1' --", "%", "../globex/admin", "admin\u{202e}"] {
                    let answer = a.sign_in(VICTIM, &a.globex().app, name, "' OR '1'='1").await;
                    tries.push(with_code(a, &answer).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "sign-in-ticket-across",
            "a ticket of the own sign-in page at the victim's, and the other way",
            Identity,
            Together,
            |a| {
                let Some(user) = someone(a) else { return nobody() };
                let own = ticket(&a.authorize(ATTACKER, &a.acme().app, &[]).await.text()).unwrap_or_default();
                let theirs =
                    ticket(&a.authorize(VICTIM, &a.globex().app, &[]).await.text()).unwrap_or_default();
                let there = a.password(VICTIM, &own, &user.username, &user.password).await;
                let here = a.password(ATTACKER, &theirs, &user.username, &user.password).await;
                Outcome::furthest([with_code(a, &there).await, with_code(a, &here).await])
            }
        ),
        attack!(
            "sign-in-code-across",
            "a code of the own tenant at the victim's token endpoint",
            Identity,
            Together,
            |a| {
                let Some(code) = own_code(a).await else { return nobody() };
                let answer = a.redeem(VICTIM, &a.globex().app, &code, &[]).await;
                granted(a, &answer).await
            }
        ),
        attack!("sign-in-code-replay", "a code used twice", Identity, Together, |a| {
            let Some(code) = own_code(a).await else { return nobody() };
            let first = a.redeem(ATTACKER, &a.acme().app, &code, &[]).await;
            let second = a.redeem(ATTACKER, &a.acme().app, &code, &[]).await;
            if first.status() == 200 { Outcome::of(&second) } else { Outcome::of(&first) }
        }),
        attack!(
            "sign-in-code-other-client",
            "a code with another client, redirect URI or verifier",
            Identity,
            Together,
            |a| {
                let mut tries = Vec::new();
                let Some(code) = own_code(a).await else { return nobody() };
                let other = a.acme().client.client_id.as_str();
                for change in [
                    ("client_id", other),
                    ("redirect_uri", "http://127.0.0.1/other"),
                    ("code_verifier", "another-verifier-that-is-long-enough-to-be-one-4"),
                    ("code_verifier", ""),
                    ("client_id", ""),
                ] {
                    tries.push(Outcome::of(&a.redeem(ATTACKER, &a.acme().app, &code, &[change]).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "sign-in-pkce-downgrade",
            "authorization without PKCE, or with plain",
            Identity,
            Together,
            |a| {
                let mut tries = Vec::new();
                for change in [
                    ("code_challenge", ""),
                    ("code_challenge_method", "plain"),
                    ("code_challenge_method", ""),
                    ("code_challenge", VERIFIER),
                ] {
                    let page = a.authorize(ATTACKER, &a.acme().app, &[change]).await;
                    tries.push(page_shown(&page));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "sign-in-redirects",
            "redirect URIs that look registered and are not",
            Identity,
            Together,
            |a| {
                let own = a.acme().app.redirect_uri.clone();
                let mut tries = Vec::new();
                for uri in [
                    "https://evil.example/callback".to_owned(),
                    format!("{own}.evil.example"),
                    format!("{own}/../evil"),
                    format!("{own}?x"),
                    format!("{own}#x"),
                    own.replace("127.0.0.1", "127.0.0.1@evil.example"),
                    own.replace("127.0.0.1", "127.0.0.1.evil.example"),
                    own.replace("127.0.0.1", "localhost"),
                    "javascript:alert(1)".to_owned(),
                    format!("//{own}"),
                    own.to_uppercase(),
                ] {
                    tries.push(page_shown(
                        &a.authorize(VICTIM, &a.globex().app, &[("redirect_uri", &uri)]).await,
                    ));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "sign-in-own-client-there",
            "clients of the own tenant at the victim's sign-in",
            Identity,
            Together,
            |a| {
                page_shown(
                    &a.authorize(VICTIM, &a.globex().app, &[("client_id", &a.acme().client.client_id)]).await,
                )
            }
        ),
        attack!(
            "sign-in-parameters-twice",
            "client and redirect URI given twice, or in the query of a form",
            Identity,
            Together,
            |a| {
                let own = crate::sign_in::asking(&a.acme().app, &[]);
                let base = format!("/t/{ATTACKER}/authorize?{own}");
                let tries = [
                    a.issuer(a.base("GET", &format!("{base}&redirect_uri=https%3A%2F%2Fevil.example%2F")))
                        .await,
                    a.issuer(a.base("GET", &format!("{base}&client%5fid=other"))).await,
                    a.issuer(
                        a.base("POST", &format!("/t/{ATTACKER}/sign-in?ticket=x"))
                            .form(&[("username", "a"), ("password", "b")]),
                    )
                    .await,
                ];
                Outcome::furthest(tries.iter().map(page_shown))
            }
        ),
        attack!(
            "sign-in-login-csrf",
            "the victim's browser made to end an attacker's sign-in: no password without the own page's \
             ticket",
            Identity,
            Together,
            |a| {
                let Some(user) = someone(a) else { return nobody() };
                let mut tries = Vec::new();
                for forged in ["", "AAAA.AAAA", "e30.AAAA", "."] {
                    let answer = a.password(VICTIM, forged, &user.username, &user.password).await;
                    tries.push(with_code(a, &answer).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "sign-in-ticket-altered",
            "the own ticket with the redirect URI or client exchanged",
            Identity,
            Together,
            |a| {
                let Some(user) = someone(a) else { return nobody() };
                let own = ticket(&a.authorize(ATTACKER, &a.acme().app, &[]).await.text()).unwrap_or_default();
                let (text, tag) = own.split_once('.').unwrap_or_default();
                use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
                let said = URL_SAFE_NO_PAD
                    .decode(text)
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                    .unwrap_or_default();
                let evil = said.replace(&a.acme().app.redirect_uri, "https://evil.example/callback");
                let forged = format!("{}.{tag}", crate::forge::base64url(evil.as_bytes()));
                Outcome::of(&a.password(ATTACKER, &forged, &user.username, &user.password).await)
            }
        ),
    ],
    controls: &[
        control!("a user signs in, and the code gives tokens", |a| {
            let code = own_code(a).await.ok_or("no code")?;
            let answer = a.redeem(ATTACKER, &a.acme().app, &code, &[]).await;
            expect(&answer, 200)?;
            answer.text_member("id_token").map(drop).ok_or("no ID token".to_owned())
        }),
        control!("the victim's own user could sign in where the attacker's can't", |a| {
            expect(&a.authorize(VICTIM, &a.globex().app, &[]).await, 200)
        }),
    ],
};

fn someone(a: &Attacker) -> Option<&User> {
    // A user whose attempts no other attack counts on.
    a.acme().users.last()
}

fn nobody() -> Outcome {
    Outcome::stopped(Layer::Identity, "no sign-in")
}

async fn own_code(a: &Attacker) -> Option<String> {
    let user = someone(a)?;
    a.code(a.acme(), user).await
}

/// A code that should not have been sent is used; everything else is refused by the page that is shown again.
async fn with_code(a: &Attacker, answer: &Answer) -> Outcome {
    let Some(code) = sent(answer, "code") else { return Outcome::of(answer) };
    let mut tries = Vec::new();
    for at in [VICTIM, ATTACKER] {
        let redeemed = a.redeem(at, &a.globex().app, &code, &[]).await;
        tries.push(granted(a, &redeemed).await);
    }
    Outcome::furthest(tries)
}

async fn granted(a: &Attacker, answer: &Answer) -> Outcome {
    match answer.text_member("access_token") {
        Some(token) => a.pose(&token).await,
        None => Outcome::of(answer),
    }
}

/// A request that must not end in a sign-in page, and must not be sent on to where it asks.
fn page_shown(answer: &Answer) -> Outcome {
    let told = answer.header("location").unwrap_or_default();
    let turned = told.contains("evil.example") || told.starts_with("javascript:");
    let leak = turned.then(|| Leak::oracle(format!("redirected to {told}")));
    let shown = ticket(&answer.text()).is_some();
    let outcome = match Outcome::of(answer) {
        Outcome { stopped_by: None, status, .. } if !shown => Outcome::stopped(Layer::Identity, status),
        outcome => outcome,
    };
    outcome.leaking(leak)
}
