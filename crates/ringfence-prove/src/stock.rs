//! What the victims have stored of their entities, put there on their own behalf: canaries among their names and attributes.

use serde_json::{Value, json};

use crate::{
    attacker::Attacker,
    authzen::question,
    scene::{BYSTANDER, VICTIM},
};

/// Names of the victim's own, which the attacker has learned, and what he has overheard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stock {
    /// A payment.
    pub(crate) payment: String,
    /// A user.
    pub(crate) user: String,
    /// A role, which is stored as an entity.
    pub(crate) role: String,
    /// A user of the bystander's.
    pub(crate) bystander: String,
    /// A token for the second page of a search of the victim's.
    pub(crate) page: String,
    /// What that search was.
    pub(crate) search: Value,
    /// A consistency token that the victim was told.
    pub(crate) revision: String,
}

impl Stock {
    /// The victims fill it. What is broken may keep it empty: then no attack on it finds anything.
    pub(crate) async fn fill(victim: &Attacker, decisions: Option<&str>) -> Self {
        let tag = &victim.camp().ground.tag;
        let other = victim.tenant(BYSTANDER).planted.clone().unwrap_or_default();
        let [payment, user, role, bystander] = [0; 4].map(|_| victim.nobody().to_string());
        let viewer = json!([{ "type": "Ledger::Role", "id": "viewer" }]);
        for (tenant, kind, id, attributes, parents) in [
            (VICTIM, "Role", &role, json!({}), json!([])),
            (VICTIM, "Payment", &payment, json!({ "created_by": tag }), json!([])),
            (VICTIM, "Payment", &format!("{tag}-payment"), json!({ "status": tag }), json!([])),
            (VICTIM, "User", &user, json!({}), viewer.clone()),
            (VICTIM, "User", &format!("{tag}-user"), json!({}), viewer.clone()),
            (BYSTANDER, "User", &bystander, json!({}), viewer.clone()),
            (BYSTANDER, "User", &format!("{other}-user"), json!({}), viewer.clone()),
        ] {
            let named = json!({ "type": format!("Ledger::{kind}"), "id": id });
            let entity = json!({ "uid": named, "attrs": attributes, "parents": parents });
            victim.entity_put(tenant, &entity).await;
        }
        let mut search = question("anyone", &payment);
        if let Some(members) = search.as_object_mut() {
            members.insert("subject".to_owned(), json!({ "type": "User" }));
        }
        let mut first = search.clone();
        if let Some(members) = first.as_object_mut() {
            members.insert("page".to_owned(), json!({ "limit": 1 }));
        }
        let asked = victim.authzen(VICTIM, decisions.unwrap_or_default(), "search/subject", &first).await;
        let page = asked.member("page").and_then(|page| Some(page.get("next_token")?.as_str()?.to_owned()));
        let revision = asked.header("ringfence-revision").unwrap_or_default().to_owned();
        Self { payment, user, role, bystander, page: page.unwrap_or_default(), search, revision }
    }
}
