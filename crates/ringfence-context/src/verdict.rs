//! Verdicts: what each part of the chain found about one request, for the decision log. What logs carry may not decide.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    access::TenantContext,
    id::{JobName, Reference, Role, Subject, TenantId},
    refusal::{Layer, Reason, Refusal},
    time::UnixTime,
};

/// Which running part judged; it may stand for several layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A tenant's issuer.
    Issuer,
    /// The gateway.
    Gateway,
    /// A backend, of what it refused by itself.
    Backend,
    /// The decision API, asked by a backend.
    Api,
    /// The Postgres proxy.
    Guard,
}

/// What else of a question is on record, so that it can be asked of other policies later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Whether a machine asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub machine: bool,
    /// The roles it had.
    #[serde(default, skip_serializing_if = "nothing")]
    pub roles: Arc<[Role]>,
    /// Whether something else went into the decision, which is not on record: values of the request or of the row,
    /// or the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

impl Asked {
    /// Of this proved asker.
    pub fn by(context: &TenantContext, more: bool) -> Self {
        let more = more || context.job().is_some();
        Self { machine: context.is_machine(), roles: context.shared_roles(), more }
    }
}

/// One part's verdict on one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Names the request.
    pub reference: Reference,
    /// When, microseconds since the epoch.
    pub at: u64,
    /// Who judged.
    pub part: Part,
    /// The layers that let it through, in order.
    pub passed: Cow<'static, [Layer]>,
    /// The layer that refused, and why; absent where it was let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<(Layer, Reason)>,
    /// For which tenant: proved, or where the issuer or the guard refused, the one addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Who asked, as far as it is proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The job that asked, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// About whom, `Type::"id"`, where that is not who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// What was asked: the action's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Cow<'static, str>>,
    /// What about, `Type::"id"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What else of the question is on record, where the tenant's policies were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The policies that determined it.
    #[serde(default, skip_serializing_if = "nothing")]
    pub policies: Arc<[String]>,
    /// The finding, in words.
    pub detail: Cow<'static, str>,
}

impl Verdict {
    /// Let through by `layers`.
    pub fn passed(reference: Reference, at: UnixTime, part: Part, layers: &'static [Layer]) -> Self {
        Self {
            reference,
            at: at.micros(),
            part,
            passed: Cow::Borrowed(layers),
            refused: None,
            tenant: None,
            subject: None,
            job: None,
            principal: None,
            action: None,
            resource: None,
            asked: None,
            policies: Arc::default(),
            detail: Cow::Borrowed(""),
        }
    }

    /// Refused, after `layers` had let it through.
    #[must_use]
    pub fn refused(self, refusal: &Refusal) -> Self {
        Self { refused: Some((refusal.layer, refusal.reason)), detail: Cow::Borrowed(refusal.detail), ..self }
    }

    /// About this proved tenant and subject.
    #[must_use]
    pub fn of(self, context: &TenantContext) -> Self {
        Self {
            tenant: Some(context.tenant().clone()),
            subject: Some(context.subject().clone()),
            job: context.job().map(|job| job.name.clone()),
            ..self
        }
    }
}

fn nothing<T>(list: &Arc<[T]>) -> bool {
    list.is_empty()
}

/// Where verdicts go. Must not block: it is called on the request path.
pub trait Record: Send + Sync {
    /// Takes one verdict.
    fn record(&self, verdict: Verdict);
}
