//! Probes: what the attacker sees of each layer from inside his own tenant, where nothing else stops him. A knock-out
//! that changes nothing of it has broken nothing.

use serde_json::json;

use crate::{
    attacker::Attacker,
    aws::outcome_of,
    corpus::injection::Way,
    error::ProveError,
    forge,
    http::Ask,
    judge::Judge,
    knockout::Knockout,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

/// A policy that stays inside the own tenant and can fail, which nobody could prove that it can't.
const CAN_FAIL: &str = "permit (principal, action == Ledger::Action::\"ViewPayment\", resource) \
    when { principal.tenant == resource.tenant && resource has amount && resource.amount * 2 > 7 };";

/// Headers that a strip takes off, more than an HTTP server reads beside those a gateway adds.
const MANY: usize = 96;

/// What is seen of a layer.
///
/// # Errors
/// [`ProveError::Judge`].
pub(crate) async fn sight(layer: Knockout, a: &Attacker, judge: &Judge) -> Result<String, ProveError> {
    let outcome = match layer {
        Knockout::Hook | Knockout::Membership => return Ok(tenants(a)),
        Knockout::Signature | Knockout::Gateway => Outcome::of(&a.send(raised(a)).await),
        Knockout::IssuerBinding => {
            let token = a.token("admin");
            Outcome::of(&a.send(a.theirs("GET", "/payments").bearer(&token)).await)
        }
        Knockout::Authorization => {
            let account = json!({ "name": "a", "currency": "EUR" });
            let ask = a.mine("POST", "/accounts").without("authorization").bearer(&a.token("viewer"));
            Outcome::of(&a.send(ask.json(&account)).await)
        }
        Knockout::StoreMap => Outcome::of(&a.send(a.mine("GET", "/payments")).await),
        Knockout::Gate => return Ok(published(a).await),
        Knockout::Guardrail => return Ok(determined(a).await),
        Knockout::Headers => {
            let many = |ask: Ask, number: usize| ask.header(&format!("X-Tenant-{number}"), VICTIM);
            Outcome::of(&a.send((0..MANY).fold(a.mine("GET", "/payments"), many)).await)
        }
        Knockout::Backend => Outcome::of(&a.backend(direct(a)).await),
        Knockout::Where => return filtered(a, judge).await,
        Knockout::Injection => return Ok(computed(a).await),
        Knockout::Guard => a.query_as(ATTACKER, "no~token", "SELECT 1 FROM payments").await,
        Knockout::Placement | Knockout::Rls => a.sql_any(&["SELECT * FROM payments"]).await,
    };
    let received = a.transcript.received();
    let foreign = received.iter().any(|bytes| a.camp().ground.canaries.seen(bytes).is_some());
    Ok(if foreign { format!("{}, with others' data", outcome.told()) } else { outcome.told() })
}

/// Whom the tokens are for that signing in gives.
fn tenants(a: &Attacker) -> String {
    let of = |token: &str| Some(forge::claims(token)?.get("tenant_id")?.as_str()?.to_owned());
    let mut tenants: Vec<String> = a.loot().issued.iter().filter_map(|(_, token)| of(token)).collect();
    tenants.sort();
    tenants.dedup();
    match tenants.is_empty() {
        true => "no token".to_owned(),
        false => format!("token for {}", tenants.join(", ")),
    }
}

/// The report, asked for with a viewer's token in which the role was raised.
fn raised(a: &Attacker) -> Ask {
    let token = forge::altered(&a.token("viewer"), &[("roles", json!(["admin"]))]).unwrap_or_default();
    a.mine("GET", "/reports/volume").without("authorization").bearer(&token)
}

/// The own list straight at the backend, with the own access token and what can be had of a Txn-Token.
fn direct(a: &Attacker) -> Ask {
    let database = a.loot().database.clone().unwrap_or_default();
    let (access, txn) = database.split_once('~').unwrap_or(("a.b.c", "a.b.c"));
    Ask::get("/payments", "backend")
        .bearer(access)
        .header("X-Tenant-Id", ATTACKER)
        .header("Txn-Token", txn)
        .header("Txn-Binding", "AAAA")
        .header("Ringfence-Reference", "r-1")
}

/// What becomes of a policy that is not proved.
async fn published(a: &Attacker) -> String {
    let (key, own) = (&a.acme().access_key, &a.acme().policy_store_id);
    let definition = json!({ "static": { "statement": CAN_FAIL } });
    let create = json!({ "policyStoreId": own, "definition": definition });
    let answer = a.avp(key, "CreatePolicy", create).await;
    if let Some(policy) = answer.text_member("policyId") {
        a.avp(key, "DeletePolicy", json!({ "policyStoreId": own, "policyId": policy })).await;
    }
    outcome_of(&answer).told()
}

/// What forbids the own people a resource that says it is another tenant's.
async fn determined(a: &Attacker) -> String {
    let question = json!({
        "subject": { "type": "user", "id": "anyone" },
        "action": { "name": "ViewPayment" },
        "resource": { "type": "Payment", "id": "p-1", "properties": { "tenant": VICTIM } },
    });
    let answer = a.evaluate_served(ATTACKER, &a.token("admin"), question).await;
    let determining = answer.member("context").and_then(|context| context.get("determining").cloned());
    match determining {
        Some(policies) => format!("forbidden by {policies}"),
        None => Outcome::of(&answer).told(),
    }
}

/// Whether the backend computes what only a statement of the request's own asks for.
async fn computed(a: &Attacker) -> String {
    let answer = a.pasted(&Way::Own, "SELECT 6 * 111").await;
    let how = if answer.text().contains("\"666\"") { "runs it" } else { "does not run it" };
    format!("{} and {how}", answer.status())
}

/// How the application asks for payments. Row security hides from everybody but the judge whether it filters.
async fn filtered(a: &Attacker, judge: &Judge) -> Result<String, ProveError> {
    let statement = judge.statement_seen(a.send(a.mine("GET", "/payments"))).await?;
    Ok(match statement {
        Some(statement) if names_tenant(&statement) => "asks with WHERE tenant_id".to_owned(),
        Some(_) => "asks without WHERE tenant_id".to_owned(),
        None => "no statement seen".to_owned(),
    })
}

fn names_tenant(statement: &str) -> bool {
    let text: String = statement.split_whitespace().collect();
    text.contains("tenant_id=$1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_from_none() {
        assert!(names_tenant("SELECT id, tenant_id FROM payments WHERE tenant_id = $1 ORDER BY id"));
        assert!(!names_tenant("SELECT id, tenant_id FROM payments WHERE $1::text IS NOT NULL"));
    }
}
