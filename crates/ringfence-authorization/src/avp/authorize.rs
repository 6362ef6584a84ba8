//! `IsAuthorized`: one decision about what the caller says of principal, action, resource, context and entities.

use std::sync::Arc;

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression};
use serde::{Deserialize, Serialize};

use crate::{
    avp::{
        Avp, Call,
        content::Content,
        decide::{Decided, Deciding, Ready},
        entities::{
            ContextDefinition, EntitiesDefinition, ancestors_check, count_check, is_action, together, uid,
            without_actions,
        },
        error::{AvpError, Outcome},
        record::EntityIdentifier,
    },
    bulkhead::{Bulkhead, LONG},
    slice::Slice,
};

/// Entities, and policies that have to be parsed first, above which deciding begins off the threads that serve.
const MANY: usize = 500;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IsAuthorized {
    policy_store_id: String,
    #[serde(flatten)]
    question: Question,
    entities: Option<EntitiesDefinition>,
}

/// What is asked; the model leaves every part open, a decision needs all but the context.
#[derive(Deserialize)]
pub(crate) struct Question {
    pub(crate) principal: Option<EntityIdentifier>,
    pub(crate) action: Option<ActionIdentifier>,
    pub(crate) resource: Option<EntityIdentifier>,
    pub(crate) context: Option<ContextDefinition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActionIdentifier {
    action_type: String,
    action_id: String,
}

/// A decision.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionAnswer {
    decision: &'static str,
    determining_policies: Vec<DeterminingPolicy>,
    errors: Vec<EvaluationError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeterminingPolicy {
    policy_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EvaluationError {
    error_description: String,
}

/// A question in Cedar's terms.
pub(crate) struct Asked {
    pub(crate) principal: EntityUid,
    pub(crate) action: EntityUid,
    pub(crate) resource: EntityUid,
    pub(crate) context: Context,
}

impl Avp {
    pub(crate) async fn is_authorized(
        &self,
        call: &Call<'_>,
        asked: IsAuthorized,
    ) -> Outcome<DecisionAnswer> {
        let deciding = self.store(call, &asked.policy_store_id).await?;
        let entities = asked.entities.map(EntitiesDefinition::read).transpose()?.unwrap_or_default();
        without_actions(&entities)?;
        let question = asked.question.read("")?;
        let mut decided = decide(self.stores.long(), deciding, vec![question], entities).await?;
        decided.pop().map(DecisionAnswer::from).ok_or_else(|| AvpError::internal("no decision"))
    }
}

/// Decides about all of `asked`, with one set of entities; where that may take long, on a thread of `apart`.
pub(crate) async fn decide(
    apart: &Bulkhead,
    deciding: Arc<Deciding>,
    asked: Vec<Asked>,
    entities: Vec<Entity>,
) -> Outcome<Vec<Decided>> {
    let types = asked.iter().flat_map(|asked| [asked.principal.type_name(), asked.resource.type_name()]);
    count_check(&entities, types)?;
    let whose = deciding.content.account.tenant().cloned();
    let unread = if deciding.is_ready() { 0 } else { deciding.content.policies.len() };
    if unread.saturating_add(entities.len()) > MANY {
        return apart
            .run(whose.as_ref(), move || Ok(Sliced::of(&deciding, asked, entities)?.decide()))
            .await?;
    }
    let sliced = Sliced::of(&deciding, asked, entities)?;
    if sliced.steps() <= LONG {
        return Ok(sliced.decide());
    }
    Ok(apart.run(whose.as_ref(), move || sliced.decide()).await?)
}

/// Questions with what has to be evaluated for each.
struct Sliced {
    ready: Arc<Ready>,
    entities: Entities,
    requests: Vec<(Request, Slice)>,
}

impl Sliced {
    fn of(deciding: &Deciding, asked: Vec<Asked>, mut entities: Vec<Entity>) -> Outcome<Self> {
        let ready = deciding.ready()?;
        entities.extend(own(&deciding.content, &asked, &entities)?);
        entities.extend(ready.actions.iter().cloned());
        let entities: Entities = together(entities)?;
        let mut requests = Vec::with_capacity(asked.len());
        for Asked { principal, action, resource, context } in asked {
            ancestors_check(&entities, &principal)?;
            ancestors_check(&entities, &resource)?;
            let request = Request::new(principal, action, resource, context, None);
            let request = request.map_err(|error| AvpError::invalid("context", error.to_string()))?;
            let slice = ready.policies.slice(&request, &entities);
            requests.push((request, slice));
        }
        Ok(Self { ready, entities, requests })
    }

    fn steps(&self) -> u64 {
        self.requests.iter().map(|(_, slice)| slice.steps).sum()
    }

    fn decide(&self) -> Vec<Decided> {
        let decide = |(request, slice): &(Request, Slice)| self.ready.decide(slice, request, &self.entities);
        self.requests.iter().map(decide).collect()
    }
}

/// At a serving store, principals and resources that `entities` do not describe are the store's tenant's, as they are
/// where the gateway asks. What is described must name its tenant itself, or the guardrail forbids.
fn own(content: &Content, asked: &[Asked], entities: &[Entity]) -> Outcome<Vec<Entity>> {
    let (Some(tenant), true) = (content.account.tenant(), content.serving.is_some()) else {
        return Ok(Vec::new());
    };
    let mut bare: Vec<EntityUid> = Vec::new();
    for uid in asked.iter().flat_map(|asked| [&asked.principal, &asked.resource]) {
        if !bare.contains(uid) && !entities.iter().any(|entity| entity.uid() == *uid) {
            bare.push(uid.clone());
        }
    }
    let entity = |uid: EntityUid| {
        let tenant = RestrictedExpression::new_string(tenant.to_string());
        Entity::new(uid, [("tenant".to_owned(), tenant)].into(), <_>::default())
            .map_err(|error| AvpError::internal(error.to_string()))
    };
    bare.into_iter().map(entity).collect()
}

impl Question {
    /// The question in Cedar's terms.
    pub(crate) fn read(self, path: &str) -> Outcome<Asked> {
        let principal = self.principal.as_ref().ok_or_else(|| needed(path, "principal"))?;
        let principal = uid(principal, &format!("{path}principal"))?;
        let action = action(self.action.as_ref(), path)?;
        let resource = resource(self.resource.as_ref(), path)?;
        let context = self
            .context
            .map_or_else(|| Ok(Context::empty()), |given| given.read(&format!("{path}context")))?;
        Ok(Asked { principal, action, resource, context })
    }
}

/// An action in Cedar's terms.
pub(crate) fn action(action: Option<&ActionIdentifier>, path: &str) -> Outcome<EntityUid> {
    let ActionIdentifier { action_type, action_id } = action.ok_or_else(|| needed(path, "action"))?;
    let named = EntityIdentifier { entity_type: action_type.clone(), entity_id: action_id.clone() };
    let path = format!("{path}action.actionType");
    let uid = named.uid().filter(|uid| is_action(uid.type_name()));
    uid.ok_or_else(|| AvpError::invalid(&path, "is not the name of a type of actions"))
}

/// A resource in Cedar's terms.
pub(crate) fn resource(resource: Option<&EntityIdentifier>, path: &str) -> Outcome<EntityUid> {
    uid(resource.ok_or_else(|| needed(path, "resource"))?, &format!("{path}resource"))
}

fn needed(path: &str, member: &str) -> AvpError {
    AvpError::invalid(&format!("{path}{member}"), "is needed for a decision")
}

impl From<Decided> for DecisionAnswer {
    fn from(decided: Decided) -> Self {
        let Decided { allow, determining, errors } = decided;
        Self {
            decision: if allow { "ALLOW" } else { "DENY" },
            determining_policies: determining
                .into_iter()
                .map(|policy_id| DeterminingPolicy { policy_id })
                .collect(),
            errors: errors
                .into_iter()
                .map(|error_description| EvaluationError { error_description })
                .collect(),
        }
    }
}
