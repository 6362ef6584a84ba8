//! The guard, as the plane runs it.

use std::sync::Arc;

use ringfence_context::{Layer, Part, Record, Verdict};
use ringfence_guard::{
    Guard,
    proxy::{self, GuardSettings, ServerSettings},
};

use crate::{parts::Parts, plane::Plane};

/// The guard in front of the plane's database.
pub(crate) fn guard(plane: &Plane, parts: &Parts) -> Guard {
    let data = &plane.workflow.data;
    let (role, password) = data.app_role();
    let server = ServerSettings {
        endpoint: data.endpoint().clone(),
        database: data.database().clone(),
        role: role.clone(),
        password: password.cloned(),
        search_path: "public".to_owned(),
    };
    Guard::new(
        GuardSettings::new(server),
        Arc::clone(&parts.admit),
        Arc::clone(&parts.contexts),
        Arc::clone(&plane.clock),
        Arc::new(Verdicts(Arc::new(plane.log.clone()))),
    )
}

/// The guard's verdicts into the decision log.
struct Verdicts(Arc<dyn Record>);

impl proxy::Record for Verdicts {
    fn record(&self, found: proxy::Verdict) {
        let passed: &[Layer] = if found.reason.is_none() { &[Layer::Token, Layer::Guard] } else { &[] };
        let mut verdict = Verdict::passed(found.reference, found.at, Part::Guard, passed);
        verdict.tenant = found.tenant;
        verdict.refused = found.reason.map(|reason| (found.layer, reason));
        verdict.detail = found.detail.into();
        self.0.record(verdict);
    }
}
