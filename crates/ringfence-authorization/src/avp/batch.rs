//! `BatchIsAuthorized`: up to thirty decisions about one principal or one resource.

use ringfence_context::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::avp::{
    Avp, Call,
    authorize::{DecisionAnswer, Question, decide},
    entities::{EntitiesDefinition, without_actions},
    error::{AvpError, Outcome},
    read,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchIsAuthorized {
    policy_store_id: String,
    entities: Option<EntitiesDefinition>,
    requests: Vec<Value>,
}

/// One decision, beside the request it is about as it was sent.
#[derive(Serialize)]
pub(crate) struct DecisionItem {
    request: Value,
    #[serde(flatten)]
    decision: DecisionAnswer,
}

#[derive(Serialize)]
pub(crate) struct DecisionBatch {
    results: Vec<DecisionItem>,
}

impl Avp {
    pub(crate) async fn batch_is_authorized(
        &self,
        call: &Call<'_>,
        asked: BatchIsAuthorized,
    ) -> Outcome<DecisionBatch> {
        size_check(&asked.requests)?;
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let entities = asked.entities.map(EntitiesDefinition::read).transpose()?.unwrap_or_default();
        without_actions(&entities)?;
        let mut questions = Vec::with_capacity(asked.requests.len());
        for (at, request) in asked.requests.iter().enumerate() {
            questions.push(read::<Question>(request)?.read(&format!("requests[{at}]."))?);
        }
        let (first, rest) = questions.split_first().ok_or_else(|| AvpError::internal("an empty batch"))?;
        if !rest.iter().all(|other| other.principal == first.principal)
            && !rest.iter().all(|other| other.resource == first.resource)
        {
            return Err(AvpError::invalid("requests", "must all have one principal, or all one resource"));
        }
        let decided = decide(self.stores.long(), deciding, questions, entities).await?;
        Ok(DecisionBatch { results: items(asked.requests, decided.into_iter().map(DecisionAnswer::from)) })
    }
}

/// Refuses a batch of more requests than one may have.
pub(crate) fn size_check(requests: &[Value]) -> Outcome<()> {
    if requests.len() > limits::AVP_BATCH_REQUESTS {
        let message = format!("must have at most {} items", limits::AVP_BATCH_REQUESTS);
        return Err(AvpError::invalid("requests", message));
    }
    Ok(())
}

/// Decisions beside their requests.
pub(crate) fn items(
    requests: Vec<Value>,
    decisions: impl Iterator<Item = DecisionAnswer>,
) -> Vec<DecisionItem> {
    requests
        .into_iter()
        .zip(decisions)
        .map(|(request, decision)| DecisionItem { request, decision })
        .collect()
}
