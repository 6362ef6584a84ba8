//! What two stores allow differently: for every kind of request, one that is gained and one that is lost, or the proof
//! that there is none.
//!
//! Compared is what is enforced: a tenant's own policies with the platform's guardrail. It guarantees that a request is
//! shown only after Cedar's own authorizer has decided it differently by the two, and that they are called equivalent only
//! where the solver has proved it for every kind of request of one and the same schema, and that no policy of either can
//! err: a request on which one does is refused.

use cedar_policy::{PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, solver::LocalSolver};
use serde::{Deserialize, Serialize};

use super::{
    Counterexample, Proof, Prover, SolverSettings, Unproved,
    apart::{Done, Task},
    claim::{filled_in, unproved},
};
use crate::{
    PolicyFault, StoreDocument,
    compile::own_policies,
    guardrail::{GUARDRAIL, GUARDRAIL_ID},
    text,
};

/// How many times as long as one proof a whole comparison may take.
pub(super) const ALL: u32 = 3;

/// What is known of two stores, the second compared with the first.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// In one word.
    pub verdict: Likeness,
    /// Kinds of requests that were compared.
    pub compared: usize,
    /// Those whose answers differ or may differ.
    pub differing: Vec<KindOfRequest>,
    /// What else must be known to read this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Whether two stores answer alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Likeness {
    /// Proved: there is no request they answer differently.
    Equivalent,
    /// There are requests they answer differently.
    Different,
    /// None was found, and that there is none is not proved.
    Unknown,
}

/// One kind of request: types of principal and resource, and an action.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KindOfRequest {
    /// The principal's type.
    pub principal: String,
    /// The action.
    pub action: String,
    /// The resource's type.
    pub resource: String,
    /// What is allowed by the second and not by the first.
    pub gains: Finding,
    /// What is allowed by the first and not by the second.
    pub loses: Finding,
}

/// What was found in one direction.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// Proved: there is none.
    Nothing,
    /// Such a request.
    Example(Box<Counterexample>),
    /// Why it is not known.
    Unknown(String),
}

impl Finding {
    const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// Two stores, ready to be compared.
pub(super) struct Pair {
    schema: Schema,
    before: PolicySet,
    after: PolicySet,
}

impl Prover {
    /// Compares a store with another.
    ///
    /// # Errors
    /// [`PolicyFault`] where one of them is not valid.
    pub async fn difference(
        &self,
        before: &StoreDocument,
        after: &StoreDocument,
    ) -> Result<Difference, PolicyFault> {
        let same_schema = before.schema == after.schema;
        let task = Task::Compare(Box::new((before.clone(), after.clone())));
        let (compared, differing) = match self.apart(&before.tenant, task).await {
            Ok(Done::Compared(compared, differing)) => (compared, differing),
            Ok(Done::Invalid(what)) => return Err(PolicyFault::told(what)),
            Ok(Done::Proof(_)) => (0, vec![KindOfRequest::unknown("every", &Unproved::Unknown)]),
            Err(why) => (0, vec![KindOfRequest::unknown("every", &why)]),
        };
        let mut notes = Vec::new();
        let mut proved = true;
        for (which, document) in [("first", before), ("second", after)] {
            match self.prove(document).await? {
                Proof::Proved => continue,
                Proof::Refuted(found) => {
                    notes.push(format!("the {which} is not safe, so it can't be published: {found}"))
                }
                Proof::Unproved(why) => notes.push(format!("the {which} is not proved safe: {why}")),
            }
            // A request on which a policy fails is refused, whatever Cedar says of the others.
            proved = false;
        }
        if !same_schema {
            notes.push("the schemas differ: both were compared by the second's".to_owned());
        }
        let example = |finding: &Finding| matches!(finding, Finding::Example(_));
        let verdict = if differing.iter().any(|kind| example(&kind.gains) || example(&kind.loses)) {
            Likeness::Different
        } else if differing.is_empty() && same_schema && proved {
            Likeness::Equivalent
        } else {
            Likeness::Unknown
        };
        Ok(Difference { verdict, compared, differing, notes })
    }
}

impl Pair {
    pub(super) fn read(before: &StoreDocument, after: &StoreDocument) -> Result<Self, PolicyFault> {
        let schema = crate::text::schema(&after.schema).map_err(PolicyFault::schema)?;
        Ok(Self { schema, before: enforced(before)?, after: enforced(after)? })
    }

    pub(super) async fn compare(&self, settings: &SolverSettings) -> (usize, Vec<KindOfRequest>) {
        let (mut compared, mut differing) = (0_usize, Vec::new());
        let mut over = false;
        let all = tokio::time::sleep(settings.time.saturating_mul(ALL));
        tokio::pin!(all);
        for environment in self.schema.request_envs() {
            compared = compared.saturating_add(1);
            let asked = if over {
                Err(Unproved::TooSlow)
            } else {
                let asked = tokio::time::timeout(settings.time, self.ask(settings, &environment));
                tokio::select! {
                    asked = asked => asked.unwrap_or(Err(Unproved::TooSlow)),
                    () = &mut all => {
                        over = true;
                        Err(Unproved::TooSlow)
                    }
                }
            };
            let (gains, loses) = match asked {
                Ok(found) => found,
                Err(why) => (Finding::Unknown(why.to_string()), Finding::Unknown(why.to_string())),
            };
            if !gains.is_nothing() || !loses.is_nothing() {
                differing.push(KindOfRequest {
                    principal: environment.principal().to_string(),
                    action: environment.action().to_string(),
                    resource: environment.resource().to_string(),
                    gains,
                    loses,
                });
            }
        }
        differing.sort_by(|one, other| one.name().cmp(&other.name()));
        (compared, differing)
    }

    async fn ask(
        &self,
        settings: &SolverSettings,
        environment: &RequestEnv,
    ) -> Result<(Finding, Finding), Unproved> {
        let compile =
            |policies| CompiledPolicySet::compile(policies, environment, &self.schema).map_err(unproved);
        let (before, after) = (compile(&self.before)?, compile(&self.after)?);
        // A process for each: its limit of time is for its whole life.
        let solver = settings.start().map_err(Unproved::NoSolver)?;
        let mut compiler = CedarSymCompiler::new(solver).map_err(unproved)?;
        if compiler.check_equivalent_opt(&before, &after).await.map_err(unproved)? {
            return Ok((Finding::Nothing, Finding::Nothing));
        }
        let gains = only(&mut compiler, (&after, &self.after), (&before, &self.before)).await;
        let loses = only(&mut compiler, (&before, &self.before), (&after, &self.after)).await;
        Ok((gains, loses))
    }
}

/// A request that the first allows and the second does not.
async fn only(
    compiler: &mut CedarSymCompiler<LocalSolver>,
    (first, allowing): (&CompiledPolicySet, &PolicySet),
    (second, denying): (&CompiledPolicySet, &PolicySet),
) -> Finding {
    match compiler.check_implies_with_counterexample_opt(first, second).await.map_err(unproved) {
        Ok(None) => Finding::Nothing,
        Ok(Some(env)) => match Counterexample::differing(&env, allowing, denying) {
            Some(example) => Finding::Example(Box::new(example)),
            None => Finding::Unknown(Unproved::NotReplayed.to_string()),
        },
        Err(why) => Finding::Unknown(why.to_string()),
    }
}

impl KindOfRequest {
    fn name(&self) -> (&str, &str, &str) {
        (&self.action, &self.principal, &self.resource)
    }

    fn unknown(what: &str, why: &Unproved) -> Self {
        let (what, why) = (what.to_owned(), Finding::Unknown(why.to_string()));
        Self { principal: what.clone(), action: what.clone(), resource: what, gains: why.clone(), loses: why }
    }
}

/// What is enforced of a store: its own policies, links filled in, and the guardrail.
fn enforced(document: &StoreDocument) -> Result<PolicySet, PolicyFault> {
    let mut set = filled_in(&own_policies(document)?).map_err(PolicyFault::syntax)?;
    let guardrail = text::policy(GUARDRAIL_ID, GUARDRAIL).map_err(PolicyFault::syntax)?;
    set.add(guardrail).map_err(PolicyFault::syntax)?;
    Ok(set)
}
