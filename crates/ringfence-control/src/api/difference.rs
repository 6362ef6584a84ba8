//! What two texts of a tenant's policies decide differently, for operators: as proved, and on what was really asked.

use axum::{
    Json,
    extract::{Path, State},
};
use ringfence_authorization::{
    CompiledStore, StoreDocument,
    case::{Case, CasePrincipal, CaseResource},
    govern::Side,
    proof::Difference,
};
use ringfence_context::{Layer, Reason, Refusal, TenantId, Verdict};
use serde::{Deserialize, Serialize};

use crate::api::{Api, body::Body, caller::Reader, failure::ApiFailure};

/// How many differing decisions are shown.
const SHOWN: usize = 20;

/// What is compared: the second with the first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sides {
    from: Side,
    to: Side,
}

/// What differs.
#[derive(Debug, Serialize)]
pub struct Compared {
    #[serde(flatten)]
    proved: Difference,
    recorded: Replayed,
}

/// What becomes of recorded decisions.
#[derive(Debug, Default, Serialize)]
pub struct Replayed {
    /// Decisions of the tenant's policies that were looked at, the latest ones.
    looked_at: usize,
    /// Those of which all that went into them is on record.
    replayable: usize,
    /// Those that went into with values of the request or the row, which are not on record.
    with_more: usize,
    /// Those without the asker's roles on record, or whose form one of the two does not know.
    unreadable: usize,
    /// Replayable ones that the two decide differently.
    differing: usize,
    /// The latest of them.
    examples: Vec<Example>,
}

/// A recorded decision that the two decide differently.
#[derive(Debug, Serialize)]
struct Example {
    reference: String,
    principal: String,
    roles: Vec<String>,
    action: String,
    resource: String,
    /// Whether the second allows it; the first does otherwise.
    allowed: bool,
}

/// `POST /v1/tenants/{tenant}/difference`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn compare(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
    Body(Sides { from, to }): Body<Sides>,
) -> Result<Json<Compared>, ApiFailure> {
    let governance = &api.workflow.governance;
    let (from, to) = (governance.side(&tenant, from).await?, governance.side(&tenant, to).await?);
    let proved = api.workflow.gate.difference(&from, &to).await?;
    let log = api.log.clone();
    // Reads files.
    let replayed = tokio::task::spawn_blocking(move || {
        let decisions = log.decisions(&tenant).map_err(|_| unreadable())?;
        replay(&decisions, &from, &to)
    });
    let recorded = replayed.await.map_err(|_| unreadable())??;
    Ok(Json(Compared { proved, recorded }))
}

fn unreadable() -> ApiFailure {
    Refusal::new(Layer::Routing, Reason::DependencyUnavailable, "the decision log can't be read").into()
}

fn replay(decisions: &[Verdict], from: &StoreDocument, to: &StoreDocument) -> Result<Replayed, ApiFailure> {
    let compile = |document: &StoreDocument| {
        CompiledStore::compile(document, 0).map_err(|fault| ApiFailure::invalid(fault.to_string()))
    };
    let (first, second) = (compile(from)?, compile(to)?);
    let mut replayed = Replayed { looked_at: decisions.len(), ..Replayed::default() };
    for verdict in decisions {
        let count = |counter: &mut usize| *counter = counter.saturating_add(1);
        if verdict.asked.as_ref().is_some_and(|asked| asked.more) {
            count(&mut replayed.with_more);
            continue;
        }
        let Some(case) = case(verdict) else {
            count(&mut replayed.unreadable);
            continue;
        };
        let answers = (first.answer_case(&from.namespace, &case), second.answer_case(&to.namespace, &case));
        let (Ok(before), Ok(after)) = answers else {
            count(&mut replayed.unreadable);
            continue;
        };
        count(&mut replayed.replayable);
        if before.allow == after.allow {
            continue;
        }
        count(&mut replayed.differing);
        if replayed.examples.len() < SHOWN {
            replayed.examples.push(Example {
                reference: verdict.reference.to_string(),
                principal: case.principal.id,
                roles: case.principal.roles,
                action: case.action,
                resource: verdict.resource.clone().unwrap_or_default(),
                allowed: after.allow,
            });
        }
    }
    Ok(replayed)
}

/// The question a verdict is about, as far as it is on record.
fn case(verdict: &Verdict) -> Option<Case> {
    let asked = verdict.asked.as_ref()?;
    let (kind, id) = verdict.resource.as_ref()?.split_once("::\"")?;
    let attributes = <_>::default();
    Some(Case {
        principal: CasePrincipal {
            kind: if asked.machine { "Client" } else { "User" }.to_owned(),
            id: verdict.subject.as_ref()?.to_string(),
            roles: asked.roles.iter().map(ToString::to_string).collect(),
            attributes: <_>::default(),
        },
        action: verdict.action.as_ref()?.to_string(),
        resource: CaseResource { kind: kind.to_owned(), id: id.strip_suffix('"')?.to_owned(), attributes },
        context: <_>::default(),
    })
}
