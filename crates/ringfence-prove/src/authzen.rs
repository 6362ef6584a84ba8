//! AuthZEN as a decision client and a backend speak it, and the control API's stored entities.

use ringfence_context::Layer;
use serde_json::{Value, json};

use crate::{
    attacker::Attacker,
    forge,
    http::{Answer, Ask},
    leak::Leak,
    outcome::Outcome,
    scene::VICTIM,
};

/// Every endpoint of a decision point.
pub(crate) const ENDPOINTS: [&str; 5] =
    ["evaluation", "evaluations", "search/subject", "search/resource", "search/action"];

/// More than is read on threads that serve, in bytes.
const LARGE: usize = 40_000;

/// A question about a payment, that every endpoint takes.
pub(crate) fn question(subject: &str, payment: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": subject },
        "action": { "name": "ViewPayment" },
        "resource": { "type": "Payment", "id": payment },
    })
}

/// A question with one more member, at a JSON pointer's place.
pub(crate) fn with(mut question: Value, place: &str, name: &str, value: Value) -> Value {
    if let Some(members) = question.pointer_mut(place).and_then(Value::as_object_mut) {
        members.insert(name.to_owned(), value);
    }
    question
}

impl Attacker {
    /// A request to a tenant's decision point.
    pub(crate) fn asking(&self, at: &str, endpoint: &str, token: &str) -> Ask {
        Ask::new("POST", &format!("/t/{at}/access/v1/{endpoint}"), self.scene().api_host()).bearer(token)
    }

    /// Asks a tenant's decision point.
    pub(crate) async fn authzen(&self, at: &str, token: &str, endpoint: &str, question: &Value) -> Answer {
        self.api(self.asking(at, endpoint, token).json(question)).await
    }

    /// Asks the own decision point as its own decision client, about something of the victim's and about something that
    /// is not there, at every endpoint, and compares.
    pub(crate) async fn authzen_compare(
        &self,
        at: &str,
        token: &str,
        exists: &str,
        ask: impl Fn(&str) -> Value,
    ) -> Outcome {
        let mut tries = Vec::new();
        for endpoint in ENDPOINTS {
            let asked = self.compare(exists, |id| {
                let question = ask(id);
                async move { self.authzen(at, token, endpoint, &question).await }
            });
            tries.push(asked.await);
        }
        // A large one goes another way to the same decision.
        let large = self.compare(exists, |id| {
            let body = format!("{}{}", ask(id), " ".repeat(LARGE));
            let asked = self.asking(at, "evaluation", token).body("application/json", body);
            async move { self.api(asked).await }
        });
        tries.push(large.await);
        Outcome::furthest(tries)
    }

    /// Asks as a backend does that serves the bearer of `access`, at a tenant's decision point.
    pub(crate) async fn evaluate_served(&self, at: &str, access: &str, mut question: Value) -> Answer {
        let said = forge::claims(access).unwrap_or_default();
        if let (Some(subject), Some(sub)) = (question.get_mut("subject"), said.get("sub")) {
            *subject = json!({ "type": "user", "id": sub });
        }
        let exchanged = self.exchange_token(at, access).await.text_member("access_token");
        let ask = self.asking(at, "evaluation", access);
        let ask = match exchanged.as_ref().and_then(|token| token.split('~').nth(1)) {
            Some(txn) => ask.header("Txn-Token", txn).header("Ringfence-Reference", "r-1"),
            None => ask,
        };
        self.api(ask.json(&question)).await
    }

    /// The own decision client's token.
    pub(crate) fn decisions(&self) -> String {
        let made = || self.made(&self.claims(crate::scene::ATTACKER, "decisions"));
        self.loot().decisions.clone().unwrap_or_else(made)
    }

    /// The subject of a token.
    pub(crate) fn subject_of(token: &str) -> String {
        let said = forge::claims(token);
        said.and_then(|claims| Some(claims.get("sub")?.as_str()?.to_owned())).unwrap_or_default()
    }

    /// What is asked of a tenant's stored entities, with any token.
    pub(crate) fn stored(&self, method: &str, tenant: &str, rest: &str, token: &str) -> Ask {
        let path = format!("/v1/tenants/{tenant}/entities{rest}");
        Ask::new(method, &path, self.scene().api_host()).bearer(token)
    }

    /// Stores an entity of a tenant's, as an operator does who takes from each tenant what it says of itself.
    pub(crate) async fn entity_put(&self, tenant: &str, entity: &Value) -> Answer {
        let ask = self.stored("PUT", tenant, "", &self.scene().operator.token);
        self.api(ask.json(entity)).await
    }

    /// Deletes one, likewise.
    pub(crate) async fn entity_delete(&self, tenant: &str, kind: &str, id: &str) -> Answer {
        let place = format!("/{}/{}", encoded(kind), encoded(id));
        self.api(self.stored("DELETE", tenant, &place, &self.scene().operator.token)).await
    }

    /// What the victim has stored and what is decided by it, through the victim's own hands.
    pub(crate) async fn victims_entities(&self) -> String {
        let victim = self.victim();
        let (stock, token) = (&self.loot().stock, &victim.scene().operator.token);
        let mut seen = victim.api(victim.stored("GET", VICTIM, "", token)).await.text();
        for action in ["ViewPayment", "RefundPayment"] {
            let mut asked = question(&stock.user, &stock.payment);
            if let Some(name) = asked.pointer_mut("/action/name") {
                *name = action.into();
            }
            let decisions = self.loot().victims_decisions.clone().unwrap_or_default();
            let answer = victim.authzen(VICTIM, &decisions, "evaluation", &asked).await;
            seen.push_str(&format!("{action} {:?}", answer.member("decision")));
        }
        seen
    }

    /// The furthest of several tries at the API, which refuses what is no request of its own without naming a layer.
    pub(crate) fn furthest_at_api(tries: impl IntoIterator<Item = Outcome>) -> Outcome {
        let outcome = Outcome::furthest(tries);
        let layer =
            outcome.stopped_by.map(|layer| if layer == Layer::Backend { Layer::Routing } else { layer });
        Outcome { stopped_by: layer, ..outcome }
    }

    /// A leak where what the victim has is not what it was.
    pub(crate) fn changed(before: &str, after: &str, what: &str) -> Option<Leak> {
        let write = || Leak { kind: crate::leak::LeakKind::Write, evidence: format!("{what} changed") };
        (before != after).then(write)
    }
}

/// Percent-encoded, every byte that is not a letter or digit.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_put_where_it_is_meant_to_be() {
        let asked = with(question("u", "p"), "/resource", "properties", json!({ "tenant": "globex" }));
        assert_eq!(asked.pointer("/resource/properties/tenant"), Some(&json!("globex")));
        assert_eq!(with(question("u", "p"), "", "tenant", json!(1)).get("tenant"), Some(&json!(1)));
        assert_eq!(encoded("A::B/é"), "A%3A%3AB%2F%C3%A9");
    }
}
