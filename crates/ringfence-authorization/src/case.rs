//! A question as somebody writes it down, of a made-up asker: for truth tables and for replaying what was decided.
//!
//! It proves nothing of anybody and decides nothing for anybody: its answer is not a [`ringfence_context::StoreAnswer`],
//! so no permit can be made of it.

use cedar_policy::{Context, Decision, Entities, EntityUid, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{CompiledStore, Facts};

/// A question.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Who asks.
    pub principal: CasePrincipal,
    /// What for: an action's name.
    pub action: String,
    /// What about.
    pub resource: CaseResource,
    /// What else is known of the request.
    #[serde(default)]
    pub context: Facts,
}

/// Who asks. Types and roles are of the store's namespace unless they name another.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CasePrincipal {
    /// Its type.
    #[serde(default = "user", rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Attributes beside `tenant` and `subject`, which are what they are on a real request unless they are given here.
    #[serde(default)]
    pub attributes: Facts,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseResource {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    #[serde(default = "any")]
    pub id: String,
    /// Attributes; its `tenant` is the store's unless it is given here.
    #[serde(default)]
    pub attributes: Facts,
}

fn user() -> String {
    "User".to_owned()
}

fn any() -> String {
    "any".to_owned()
}

/// What a store makes of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseAnswer {
    /// Whether a real request would be let through: a policy permits, none forbids, none fails.
    pub allow: bool,
    /// The policies that determined it.
    pub by: Vec<String>,
    /// The policies that failed, and how.
    pub errors: Vec<String>,
}

impl CompiledStore {
    /// Answers a question of a made-up asker.
    ///
    /// # Errors
    /// Where the question does not fit the store's schema, in words.
    pub fn answer_case(&self, namespace: &str, case: &Case) -> Result<CaseAnswer, String> {
        let (request, entities) = self.read_case(namespace, case)?;
        let response = self.content.is_authorized(&request, &entities);
        let mut by: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        by.sort_unstable();
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        Ok(CaseAnswer { allow: response.decision() == Decision::Allow && errors.is_empty(), by, errors })
    }

    fn read_case(&self, namespace: &str, case: &Case) -> Result<(Request, Entities), String> {
        let schema = self.content.vocabulary.schema();
        let whole = |name: &str| {
            if name.contains("::") || namespace.is_empty() {
                name.to_owned()
            } else {
                format!("{namespace}::{name}")
            }
        };
        let Case { principal, action, resource, context } = case;
        let uid = |kind: &str, id: &str| json!({ "type": whole(kind), "id": id });
        let (asker, asked) = (uid(&principal.kind, &principal.id), uid(&resource.kind, &resource.id));
        let tenant = json!(self.tenant.as_str());
        let mut attributes = Facts::from_iter([
            ("tenant".to_owned(), tenant.clone()),
            ("subject".to_owned(), json!(principal.id)),
        ]);
        attributes.extend(principal.attributes.clone());
        let roles: Vec<Value> = principal.roles.iter().map(|role| uid("Role", role)).collect();
        let bare = |uid: &Value| json!({ "uid": uid, "attrs": {}, "parents": [] });
        let mut entities: Vec<Value> = roles.iter().map(bare).collect();
        if asker == asked {
            // Who asks about themselves is one entity.
            attributes.extend(resource.attributes.clone());
        } else {
            let mut owned = Facts::from_iter([("tenant".to_owned(), tenant)]);
            owned.extend(resource.attributes.clone());
            entities.push(json!({ "uid": asked, "attrs": owned, "parents": [] }));
        }
        entities.push(json!({ "uid": asker, "attrs": attributes, "parents": roles }));
        let entities =
            Entities::from_json_value(Value::Array(entities), Some(schema)).map_err(|e| words(&e))?;
        let read = |uid: Value| EntityUid::from_json(uid).map_err(|e| words(&e));
        let (asker, asked, action) = (read(asker)?, read(asked)?, read(uid("Action", action))?);
        let context = Context::from_json_value(Value::Object(context.clone()), Some((schema, &action)))
            .map_err(|e| words(&e))?;
        let request = Request::new(asker, action, asked, context, Some(schema)).map_err(|e| words(&e))?;
        Ok((request, entities))
    }
}

/// What an error says, and what is behind it.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        text.push_str(": ");
        text.push_str(&error.to_string());
        behind = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::document;

    fn check(case: Value, expected: Result<(bool, &[&str]), &str>) {
        let store = CompiledStore::compile(&document("acme"), 1).unwrap();
        let read: Case = serde_json::from_value(case.clone()).unwrap();
        match (store.answer_case("Ledger", &read), expected) {
            (Ok(answer), Ok((allow, by))) => {
                assert_eq!(
                    (answer.allow, answer.by),
                    (allow, by.iter().map(|by| (*by).to_owned()).collect()),
                    "{case}"
                );
            }
            (Err(told), Err(words)) => assert!(told.contains(words), "{case}: {told}"),
            (answer, _) => panic!("{case}: {answer:?}"),
        }
    }

    #[test]
    fn a_question_written_down_is_answered_as_a_real_one() {
        let clerk = json!({ "id": "u-1", "roles": ["clerk"] });
        let pay = |amount: i64, resource: Value| json!({ "principal": clerk, "action": "CreatePayment", "resource": resource, "context": { "amount": amount } });
        let book = json!({ "type": "Book" });
        check(pay(1_000_000, book.clone()), Ok((true, &["clerks-enter"])));
        check(pay(1_000_001, book.clone()), Ok((false, &["large-payments-need-an-approver"])));
        let foreign = json!({ "type": "Book", "attributes": { "tenant": "globex" } });
        check(pay(1, foreign), Ok((false, &["own-tenant-only", "ringfence:guardrail"])));
        let nobody = json!({ "principal": { "id": "u-1" }, "action": "ListPayments", "resource": book });
        check(nobody, Ok((false, &[])));
    }

    #[test]
    fn a_question_that_does_not_fit_says_what_does_not() {
        let ask = |action: &str, kind: &str, roles: &[&str]| json!({ "principal": { "id": "u-1", "roles": roles }, "action": action, "resource": { "type": kind } });
        check(ask("NoSuchAction", "Book", &["clerk"]), Err("NoSuchAction"));
        check(ask("ListPayments", "NoSuchType", &["clerk"]), Err("NoSuchType"));
        check(ask("ListPayments", "Payment", &["clerk"]), Err("Payment"));
    }
}
