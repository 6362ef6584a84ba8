//! The two claims, asked of the solver for every kind of request the schema has.

use std::sync::Arc;

use cedar_policy::{Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicy, CompiledPolicySet, err::Error, solver::LocalSolver,
};

use super::{Counterexample, Proof, SolverSettings, Unproved};

/// What is allowed of a principal and a resource of one tenant: everything, and nothing else.
const ONE_TENANT: &str = "permit (principal, action, resource) when { principal.tenant == resource.tenant };";

type Asked = Result<Option<Counterexample>, Unproved>;

/// Decides both claims about a tenant's own policies.
pub(super) async fn decide(settings: &SolverSettings, schema: &Schema, policies: &PolicySet) -> Proof {
    match counterexample(settings, schema, policies).await {
        Ok(None) => Proof::Proved,
        Ok(Some(found)) => Proof::Refuted(Arc::new(found)),
        Err(unproved) => Proof::Unproved(unproved),
    }
}

async fn counterexample(settings: &SolverSettings, schema: &Schema, policies: &PolicySet) -> Asked {
    let policies = &filled_in(policies).map_err(|error| Unproved::OutOfFragment(error.to_string()))?;
    let solver = settings.start().map_err(Unproved::NoSolver)?;
    let mut compiler = CedarSymCompiler::new(solver).map_err(unproved)?;
    let one_tenant = one_tenant()?;
    for environment in schema.request_envs() {
        let goal = CompiledPolicySet::compile(&one_tenant, &environment, schema)
            .map_err(|_| Unproved::NoTenant(shown(&environment)))?;
        if let Some(found) = crossing(&mut compiler, schema, policies, &environment, &goal).await? {
            return Ok(Some(found));
        }
    }
    for policy in policies.policies() {
        for environment in policy.get_valid_request_envs(schema) {
            if let Some(found) = erring(&mut compiler, schema, policy, &environment).await? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

async fn crossing(
    compiler: &mut CedarSymCompiler<LocalSolver>,
    schema: &Schema,
    policies: &PolicySet,
    environment: &RequestEnv,
    goal: &CompiledPolicySet,
) -> Asked {
    let compiled = CompiledPolicySet::compile(policies, environment, schema).map_err(unproved)?;
    let found = compiler.check_implies_with_counterexample_opt(&compiled, goal).await.map_err(unproved)?;
    let Some(env) = found else { return Ok(None) };
    Counterexample::crossing(&env, policies).map(Some).ok_or(Unproved::NotReplayed)
}

async fn erring(
    compiler: &mut CedarSymCompiler<LocalSolver>,
    schema: &Schema,
    policy: &Policy,
    environment: &RequestEnv,
) -> Asked {
    let compiled = CompiledPolicy::compile(policy, environment, schema).map_err(unproved)?;
    let found = compiler.check_never_errors_with_counterexample_opt(&compiled).await.map_err(unproved)?;
    let Some(env) = found else { return Ok(None) };
    let alone = PolicySet::from_policies([policy.clone()])
        .map_err(|error| Unproved::OutOfFragment(error.to_string()))?;
    Counterexample::erring(&env, &alone, policy.id().as_ref()).map(Some).ok_or(Unproved::NotReplayed)
}

/// The policies that are evaluated, each by itself: a link is its template with the slots filled in.
pub(super) fn filled_in(policies: &PolicySet) -> Result<PolicySet, Box<dyn std::error::Error>> {
    let mut set = PolicySet::new();
    for policy in policies.policies() {
        set.add(match policy.template_id() {
            None => policy.clone(),
            Some(_) => Policy::from_json(Some(policy.id().clone()), policy.to_json()?)?,
        })?;
    }
    Ok(set)
}

fn one_tenant() -> Result<PolicySet, Unproved> {
    let failed = |error: String| Unproved::Failed(error);
    let policy = crate::text::policy("one-tenant", ONE_TENANT).map_err(|error| failed(error.to_string()))?;
    PolicySet::from_policies([policy]).map_err(|error| failed(error.to_string()))
}

pub(super) fn unproved(error: Error) -> Unproved {
    match error {
        Error::SolverUnknown => Unproved::Unknown,
        // The solver's own limit of time ends the process.
        Error::SolverError(error) => Unproved::Failed(error.to_string()),
        other => Unproved::OutOfFragment(other.to_string()),
    }
}

fn shown(environment: &RequestEnv) -> String {
    format!("{} or {}", environment.principal(), environment.resource())
}
