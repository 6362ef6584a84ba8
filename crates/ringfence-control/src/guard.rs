//! The guard, as the plane runs it.

use std::sync::Arc;

use ringfence_guard::{Guard, proxy::GuardSettings};

use crate::{parts::Parts, plane::Plane, settings::SettingsError};

/// The guard in front of the plane's database.
///
/// # Errors
/// What is wrong with its certificate.
pub(crate) fn guard(plane: &Plane, parts: &Parts) -> Result<Guard, SettingsError> {
    let own = &plane.settings.guard;
    let settings = GuardSettings {
        identity: own.identity(&plane.settings.folder)?,
        plaintext: own.plaintext,
        ..GuardSettings::new(plane.workflow.data.database().clone())
    };
    Ok(Guard::new(
        settings,
        Arc::clone(&parts.placements),
        Arc::clone(&parts.admit),
        Arc::clone(&parts.contexts),
        Arc::clone(&plane.clock),
        Arc::new(plane.log.clone()),
    ))
}
