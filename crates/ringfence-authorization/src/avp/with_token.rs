//! `IsAuthorizedWithToken` and its batch: decisions about the principal a verified token proves.
//!
//! The token alone says who asks and what groups they are in: entities of those types are refused, from whomever.

use cedar_policy::{Context, Entity, RestrictedExpression};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::avp::{
    Avp, Call,
    authorize::{ActionIdentifier, Asked, DecisionAnswer, action, decide, resource},
    batch::{DecisionItem, items, size_check},
    entities::{ContextDefinition, EntitiesDefinition, is_action},
    error::{AvpError, Outcome},
    principal::{Principal, Tokens},
    read,
    record::EntityIdentifier,
};

/// Where an access token's claims are, in the context.
const TOKEN: &str = "token";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IsAuthorizedWithToken {
    policy_store_id: String,
    identity_token: Option<String>,
    access_token: Option<String>,
    entities: Option<EntitiesDefinition>,
    #[serde(flatten)]
    question: TokenQuestion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchIsAuthorizedWithToken {
    policy_store_id: String,
    identity_token: Option<String>,
    access_token: Option<String>,
    entities: Option<EntitiesDefinition>,
    requests: Vec<Value>,
}

#[derive(Deserialize)]
struct TokenQuestion {
    action: Option<ActionIdentifier>,
    resource: Option<EntityIdentifier>,
    context: Option<ContextDefinition>,
}

/// A decision, with the principal it is about.
#[derive(Serialize)]
pub(crate) struct TokenDecision {
    #[serde(flatten)]
    decision: DecisionAnswer,
    principal: EntityIdentifier,
}

#[derive(Serialize)]
pub(crate) struct TokenBatch {
    principal: EntityIdentifier,
    results: Vec<DecisionItem>,
}

impl Avp {
    pub(crate) async fn is_authorized_with_token(
        &self,
        call: &Call<'_>,
        asked: IsAuthorizedWithToken,
    ) -> Outcome<TokenDecision> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let tokens = Tokens { identity: asked.identity_token, access: asked.access_token };
        let principal = self.principal(&deciding.content, tokens).await?;
        let entities = entities(asked.entities, &principal)?;
        let question = asked.question.read("", &principal)?;
        let mut decided = decide(self.stores.long(), deciding, vec![question], entities).await?;
        let decision = decided.pop().ok_or_else(|| AvpError::internal("no decision"))?.into();
        Ok(TokenDecision { decision, principal: EntityIdentifier::from(&principal.uid) })
    }

    pub(crate) async fn batch_is_authorized_with_token(
        &self,
        call: &Call<'_>,
        asked: BatchIsAuthorizedWithToken,
    ) -> Outcome<TokenBatch> {
        size_check(&asked.requests)?;
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let tokens = Tokens { identity: asked.identity_token, access: asked.access_token };
        let principal = self.principal(&deciding.content, tokens).await?;
        let entities = entities(asked.entities, &principal)?;
        let mut questions = Vec::with_capacity(asked.requests.len());
        for (at, request) in asked.requests.iter().enumerate() {
            let question = read::<TokenQuestion>(request)?;
            questions.push(question.read(&format!("requests[{at}]."), &principal)?);
        }
        let decided = decide(self.stores.long(), deciding, questions, entities).await?;
        let results = items(asked.requests, decided.into_iter().map(DecisionAnswer::from));
        Ok(TokenBatch { principal: EntityIdentifier::from(&principal.uid), results })
    }
}

impl TokenQuestion {
    fn read(self, path: &str, principal: &Principal) -> Outcome<Asked> {
        let given = self
            .context
            .map_or_else(|| Ok(Context::empty()), |given| given.read(&format!("{path}context")))?;
        if given.get(TOKEN).is_some() {
            let path = format!("{path}context");
            return Err(AvpError::invalid(&path, "can't have a member `token`: it is what the token says"));
        }
        let token = principal.token.clone().map(|token| (TOKEN.to_owned(), token));
        let token = token_context(token)?;
        let context = given.merge(token).map_err(|error| AvpError::internal(error.to_string()))?;
        Ok(Asked {
            principal: principal.uid.clone(),
            action: action(self.action.as_ref(), path)?,
            resource: resource(self.resource.as_ref(), path)?,
            context,
        })
    }
}

fn token_context(token: Option<(String, RestrictedExpression)>) -> Outcome<Context> {
    Context::from_pairs(token).map_err(|error| AvpError::internal(error.to_string()))
}

/// The caller's entities and the token's. The caller's may name actions, to no effect: they are the schema's.
fn entities(given: Option<EntitiesDefinition>, principal: &Principal) -> Outcome<Vec<Entity>> {
    let mut all = given.map(EntitiesDefinition::read).transpose()?.unwrap_or_default();
    if all.iter().any(|entity| principal.types.contains(entity.uid().type_name())) {
        return Err(AvpError::invalid(
            "entities",
            "can't have principals or groups: the token alone says who asks",
        ));
    }
    all.retain(|entity| !is_action(entity.uid().type_name()));
    all.extend(principal.entities.iter().cloned());
    Ok(all)
}
