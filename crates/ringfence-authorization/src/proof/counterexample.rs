//! A request that shows what is wrong, as a person reads it, after Cedar's own authorizer has agreed that it does.

use std::fmt;

use cedar_policy::{Authorizer, Decision, Entities, EntityUid, PolicySet, Request, Response};
use cedar_policy_symcc::Env;
use serde::{Deserialize, Serialize};

/// A request that must not be as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counterexample {
    wrong: Wrong,
    principal: String,
    action: String,
    resource: String,
    context: String,
    entities: Vec<String>,
}

/// What is wrong about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wrong {
    /// Policies, by name, that allow it across tenants.
    Crosses(Vec<String>),
    /// A policy that errors, and how.
    Errs(String, String),
    /// Policies of one store that allow it, and those of another that forbid it; none, where nothing there permits it.
    Differs {
        /// What allows it.
        allowed: Vec<String>,
        /// What forbids it.
        denied: Vec<String>,
    },
}

impl Counterexample {
    /// Replays a request that `policies` are said to allow across tenants.
    pub(super) fn crossing(env: &Env, policies: &PolicySet) -> Option<Self> {
        let response = Authorizer::new().is_authorized(&env.request, policies, &env.entities);
        let tenant = |uid: Option<&EntityUid>| tenant(&env.entities, uid?);
        let (principal, resource) = (tenant(env.request.principal()), tenant(env.request.resource()));
        if response.decision() != Decision::Allow || principal == resource {
            return None;
        }
        let allowing = response.diagnostics().reason().map(ToString::to_string).collect();
        Some(Self::of(env, Wrong::Crosses(allowing)))
    }

    /// Replays a request on which one of `policies` is said to err.
    pub(super) fn erring(env: &Env, policies: &PolicySet, name: &str) -> Option<Self> {
        let response = Authorizer::new().is_authorized(&env.request, policies, &env.entities);
        let error = response.diagnostics().errors().next()?;
        Some(Self::of(env, Wrong::Errs(name.to_owned(), error.to_string())))
    }

    /// Replays a request that one store is said to allow and another is said not to.
    pub(super) fn differing(env: &Env, allowing: &PolicySet, denying: &PolicySet) -> Option<Self> {
        let decide = |policies| Authorizer::new().is_authorized(&env.request, policies, &env.entities);
        let (allowed, denied) = (decide(allowing), decide(denying));
        if (allowed.decision(), denied.decision()) != (Decision::Allow, Decision::Deny) {
            return None;
        }
        let by = |response: &Response| {
            let mut names: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
            names.sort();
            names
        };
        Some(Self::of(env, Wrong::Differs { allowed: by(&allowed), denied: by(&denied) }))
    }

    fn of(env: &Env, wrong: Wrong) -> Self {
        let Env { request, entities } = env;
        let shown = |uid: Option<&EntityUid>| uid.map(ToString::to_string).unwrap_or_default();
        Self {
            wrong,
            principal: shown(request.principal()),
            action: shown(request.action()),
            resource: shown(request.resource()),
            context: context(request),
            entities: said_of(entities),
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wrong {
            Wrong::Crosses(policies) => {
                writeln!(f, "a principal of one tenant is allowed a resource of another")?;
                writeln!(f, "  by         {}", policies.join(", "))?;
            }
            Wrong::Errs(policy, error) => {
                writeln!(f, "policy \"{policy}\" can't be evaluated on some request")?;
                writeln!(f, "  error      {error}")?;
            }
            Wrong::Differs { allowed, denied } => {
                let denied =
                    if denied.is_empty() { "nothing permits it".to_owned() } else { denied.join(", ") };
                writeln!(f, "a request is decided differently")?;
                writeln!(f, "  allowed by {}", allowed.join(", "))?;
                writeln!(f, "  denied by  {denied}")?;
            }
        }
        writeln!(f, "  principal  {}", self.principal)?;
        writeln!(f, "  action     {}", self.action)?;
        writeln!(f, "  resource   {}", self.resource)?;
        if !self.context.is_empty() {
            writeln!(f, "  context    {}", self.context)?;
        }
        write!(f, "  where      {}", self.entities.join("\n             "))
    }
}

/// `tenant` of an entity, where it has one.
fn tenant(entities: &Entities, uid: &EntityUid) -> Option<String> {
    Some(entities.get(uid)?.attr("tenant")?.ok()?.to_string())
}

fn context(request: &Request) -> String {
    let json = request.context().and_then(|context| context.to_json_value().ok());
    json.filter(|json| json.as_object().is_some_and(|map| !map.is_empty()))
        .map(|json| json.to_string())
        .unwrap_or_default()
}

/// Each entity on a line, with its attributes and groups.
fn said_of(entities: &Entities) -> Vec<String> {
    let mut lines: Vec<String> = entities
        .iter()
        .filter_map(|entity| {
            let json = entity.to_json_value().ok()?;
            let (attributes, parents) = (json.get("attrs")?, json.get("parents")?.as_array()?);
            let groups: Vec<String> = parents
                .iter()
                .filter_map(|parent| {
                    Some(format!("{}::{}", parent.get("type")?.as_str()?, parent.get("id")?))
                })
                .collect();
            let within = if groups.is_empty() { String::new() } else { format!(" in {}", groups.join(", ")) };
            let says = attributes.as_object().is_some_and(|map| !map.is_empty()) || !groups.is_empty();
            says.then(|| format!("{}{within} has {attributes}", entity.uid()))
        })
        .collect();
    lines.sort();
    lines
}
