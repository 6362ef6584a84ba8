//! Insecure direct object references: the victim's ids in path, query, body and batch of otherwise legitimate requests.

use serde_json::{Value, json};

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Answer,
    outcome::Outcome,
    scene::VICTIM,
};

pub(super) const FAMILY: Family = Family {
    name: "object references",
    attacks: &[
        attack!("idor-view", "the victim's payment viewed", Backend, Together, |a| {
            Outcome::of(&a.send(a.mine("GET", &format!("/payments/{}", a.target.payment))).await)
        }),
        attack!(
            "idor-view-as-each",
            "the victim's payment viewed by every role the attacker has",
            Backend,
            Together,
            |a| {
                let path = format!("/payments/{}", a.target.payment);
                let mut tries = Vec::new();
                for role in ["viewer", "clerk", "approver", "admin", "service"] {
                    tries.push(Outcome::of(
                        &a.send(a.mine("GET", &path).without("authorization").bearer(&a.token(role))).await,
                    ));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("idor-refund", "the victim's payment refunded", Backend, Alone, |a| {
            Outcome::of(&a.send(a.mine("POST", &format!("/payments/{}/refund", a.target.payment))).await)
        }),
        attack!("idor-account", "a payment from the victim's account", Database, Alone, |a| {
            Outcome::of(&pay(a, payment(a, "account_id", a.target.account.to_string().into())).await)
        }),
        attack!("idor-beneficiary", "a payment to the victim's beneficiary", Database, Alone, |a| {
            Outcome::of(&pay(a, payment(a, "beneficiary_id", a.target.beneficiary.to_string().into())).await)
        }),
        attack!(
            "idor-tenant-in-body",
            "tenant_id of the victim in the body, at every depth",
            Backend,
            Alone,
            |a| {
                let mut tries = Vec::new();
                for name in ["tenant_id", "tenantId", "tenant", "__proto__"] {
                    tries.push(Outcome::of(&pay(a, payment(a, name, VICTIM.into())).await));
                }
                let account = json!({ "name": "a", "currency": "EUR", "tenant_id": VICTIM });
                tries.push(Outcome::of(&a.send(a.mine("POST", "/accounts").json(&account)).await));
                Outcome::furthest(tries)
            }
        ),
        attack!("idor-id-in-body", "an id of the victim's for a new object", Backend, Alone, |a| {
            Outcome::of(&pay(a, payment(a, "id", a.target.payment.to_string().into())).await)
        }),
        attack!(
            "idor-batch",
            "a batch of own payments with one from the victim's account among them",
            Database,
            Alone,
            |a| {
                let theirs = payment(a, "account_id", a.target.account.to_string().into());
                let batch = json!({ "payments": [own(a), theirs, own(a)] });
                Outcome::of(&a.send(a.mine("POST", "/payments/batch").json(&batch)).await)
            }
        ),
        attack!("idor-query", "the victim's ids and tenant in the query", Authorization, Together, |a| {
            let (payment, account) = (a.target.payment, a.target.account);
            let mut tries = Vec::new();
            for query in [
                format!("id={payment}"),
                format!("account_id={account}&tenant_id={VICTIM}"),
                format!("filter=tenant_id%3D'{VICTIM}'"),
                "limit=100000&offset=0".to_owned(),
                format!("tenant[]={VICTIM}"),
            ] {
                for path in ["/payments", "/accounts", "/beneficiaries", "/reports/volume"] {
                    tries.push(Outcome::of(&a.send(a.mine("GET", &format!("{path}?{query}"))).await));
                }
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "idor-remembered",
            "what the victim was answered a moment ago, asked for in the same words",
            Token,
            Together,
            |a| { remembered(a).await }
        ),
        attack!(
            "idor-duplicate-members",
            "a body that names account and amount twice",
            Routing,
            Alone,
            |a| {
                let text = own(a).to_string();
                let twice = text.replacen(
                    '{',
                    &format!("{{\"account_id\":\"{}\",\"amount\":1,", a.target.account),
                    1,
                );
                Outcome::of(&a.send(a.mine("POST", "/payments").body("application/json", twice)).await)
            }
        ),
        attack!("idor-injection", "SQL in ids, names and memos", Backend, Alone, |a| {
            let mut tries = Vec::new();
            for text in [
                "' OR '1'='1",
                "x'); UPDATE payments SET memo = 'x'; --",
                "' UNION SELECT memo FROM payments --",
            ] {
                tries.push(Outcome::of(&pay(a, payment(a, "memo", text.into())).await));
                tries.push(Outcome::of(&pay(a, payment(a, "account_id", text.into())).await));
                let encoded = url::form_urlencoded::byte_serialize(text.as_bytes())
                    .collect::<String>()
                    .replace('+', "%20");
                tries.push(Outcome::of(&a.send(a.mine("GET", &format!("/payments/{encoded}"))).await));
            }
            Outcome::furthest(tries)
        }),
    ],
    controls: &[
        control!("the victim is answered, twice alike", |a| {
            let (victim, theirs) = (a.victim(), a.loot().victims.clone().unwrap_or_default());
            let path = format!("/payments/{}", a.target.payment);
            for _ in 0..2 {
                expect(&victim.send(victim.theirs("GET", &path).bearer(&theirs)).await, 200)?;
            }
            Ok(())
        }),
        control!("the own payment viewed", |a| {
            expect(&a.send(a.mine("GET", &format!("/payments/{}", a.own.payment))).await, 200)
        }),
        control!("an own payment made, alone and in a batch", |a| {
            expect(&pay(a, own(a)).await, 201)?;
            let batch = json!({ "payments": [own(a), own(a)] });
            expect(&a.send(a.mine("POST", "/payments/batch").json(&batch)).await, 201)
        }),
        control!("an own payment refunded", |a| {
            expect(&a.send(a.mine("POST", &format!("/payments/{}/refund", a.own.payment))).await, 200)
        }),
    ],
};

/// The victim asks twice, so that whatever is remembered is; then the attacker asks at his own host and at the victim's, with his
/// token, with none, and as one who has an answer already.
async fn remembered(a: &Attacker) -> Outcome {
    let (victim, theirs) = (a.victim(), a.loot().victims.clone().unwrap_or_default());
    let mut tries = Vec::new();
    for path in
        ["/payments".to_owned(), format!("/payments/{}", a.target.payment), "/reports/volume".to_owned()]
    {
        let mut tag = String::new();
        for _ in 0..2 {
            let answer = victim.send(victim.theirs("GET", &path).bearer(&theirs)).await;
            tag = answer.header("etag").unwrap_or("\"0\"").to_owned();
        }
        for ask in [
            a.mine("GET", &path),
            a.mine("GET", &path).header("If-None-Match", &tag),
            a.mine("GET", &path).header("Cache-Control", "only-if-cached"),
            a.mine("HEAD", &path),
            a.theirs("GET", &path).bearer(&a.token("admin")),
            a.theirs("GET", &path).header("Cache-Control", "only-if-cached"),
        ] {
            tries.push(Outcome::of(&a.send(ask).await));
        }
    }
    Outcome::furthest(tries)
}

fn own(a: &Attacker) -> Value {
    json!({
        "account_id": a.own.account,
        "beneficiary_id": a.own.beneficiary,
        "amount": 100,
        "currency": "EUR",
        "memo": "own",
    })
}

fn payment(a: &Attacker, name: &str, value: Value) -> Value {
    let mut payment = own(a);
    if let Some(members) = payment.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    payment
}

async fn pay(a: &Attacker, payment: Value) -> Answer {
    a.send(a.mine("POST", "/payments").json(&payment)).await
}
