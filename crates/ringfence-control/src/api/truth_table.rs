//! Truth tables, for operators: who may do what, asked of what serves, of a version or of a proposal.

use axum::{
    Json,
    extract::{Path, State},
};
use ringfence_authorization::{
    CompiledStore, Facts,
    case::{Case, CasePrincipal, CaseResource},
    govern::Side,
};
use ringfence_context::{TenantId, limits};
use serde::{Deserialize, Serialize};

use crate::api::{Api, body::Body, caller::Reader, failure::ApiFailure};

/// A table, and what it is asked of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(default = "serving")]
    of: Side,
    rows: Vec<Row>,
}

fn serving() -> Side {
    Side::Serving
}

/// One row: a question, and what must become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    #[serde(default)]
    name: String,
    principal: CasePrincipal,
    action: String,
    resource: CaseResource,
    #[serde(default)]
    context: Facts,
    expect: Expected,
    /// The policies that must determine it, if that matters.
    by: Option<Vec<String>>,
}

/// What must become of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It is allowed.
    Allow,
    /// It is not.
    Deny,
}

/// What became of a row.
#[derive(Debug, Serialize)]
pub struct Checked {
    row: usize,
    name: String,
    passed: bool,
    expected: Expected,
    got: Option<Expected>,
    by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// What became of a table.
#[derive(Debug, Serialize)]
pub struct Report {
    passed: usize,
    failed: usize,
    rows: Vec<Checked>,
}

/// `POST /v1/tenants/{tenant}/truth-table`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn check(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
    Body(table): Body<Table>,
) -> Result<Json<Report>, ApiFailure> {
    if table.rows.len() > limits::POLICY_TEST_ROWS {
        let told = format!("a table has at most {} rows", limits::POLICY_TEST_ROWS);
        return Err(ApiFailure::invalid(told));
    }
    let document = api.workflow.governance.side(&tenant, table.of).await?;
    // A table may be large: not on a thread that serves.
    let checked = tokio::task::spawn_blocking(move || {
        let store =
            CompiledStore::compile(&document, 0).map_err(|fault| ApiFailure::invalid(fault.to_string()))?;
        let rows = table.rows.into_iter().enumerate();
        Ok::<Vec<_>, ApiFailure>(rows.map(|(at, row)| row.check(at, &store, &document.namespace)).collect())
    });
    let rows = checked.await.map_err(|_| ApiFailure::invalid("the table could not be evaluated"))??;
    let passed = rows.iter().filter(|row| row.passed).count();
    Ok(Json(Report { passed, failed: rows.len().saturating_sub(passed), rows }))
}

impl Row {
    fn check(self, at: usize, store: &CompiledStore, namespace: &str) -> Checked {
        let Self { name, principal, action, resource, context, expect, by } = self;
        let case = Case { principal, action, resource, context };
        let row = at.saturating_add(1);
        let answer = match store.answer_case(namespace, &case) {
            Ok(answer) => answer,
            Err(problem) => {
                let (got, by) = (None, Vec::new());
                return Checked {
                    row,
                    name,
                    passed: false,
                    expected: expect,
                    got,
                    by,
                    problem: Some(problem),
                };
            }
        };
        let got = if answer.allow { Expected::Allow } else { Expected::Deny };
        let wanted = by.map(|mut by| {
            by.sort_unstable();
            by
        });
        let by_others = wanted.as_ref().filter(|wanted| **wanted != answer.by);
        let problem = match (answer.errors.is_empty(), by_others) {
            (false, _) => Some(answer.errors.join("; ")),
            (true, Some(wanted)) => Some(format!("not determined by {}", wanted.join(", "))),
            (true, None) => None,
        };
        let passed = got == expect && by_others.is_none();
        Checked { row, name, passed, expected: expect, got: Some(got), by: answer.by, problem }
    }
}
