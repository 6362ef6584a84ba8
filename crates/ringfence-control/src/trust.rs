//! The trust file: what the application behind the gateway must know to verify for itself.

use std::path::{Path, PathBuf};

use ringfence_sdk::Trust;

use crate::{fault::PlaneError, plane::Plane, private_file};

/// File name, below the state folder.
pub const TRUST: &str = "trust.json";

/// Writes the trust file of a plane, readable by its owner alone.
///
/// # Errors
/// Where it can't be written.
pub fn trust_write(plane: &Plane) -> Result<PathBuf, PlaneError> {
    let path = plane.dir.join(TRUST);
    let text =
        serde_json::to_string_pretty(&trust(plane)?).map_err(|_| PlaneError::Inside("the trust file"))?;
    private_file::write(&path, &text).map_err(|error| PlaneError::folder(&path, error))?;
    Ok(absolute(&path))
}

/// What a backend of this plane believes.
///
/// # Errors
/// [`PlaneError::Inside`] where a listener has no address.
pub fn trust(plane: &Plane) -> Result<Trust, PlaneError> {
    let unbound = |_| PlaneError::Inside("a listener without address");
    let addresses = plane.addresses();
    Ok(Trust::new(
        addresses.base_url.clone(),
        addresses.audience.clone(),
        addresses.base_url.clone(),
        plane.trust_domain(),
        plane.gateway_keys(),
        plane.listeners.api.local_addr().map_err(unbound)?,
        plane.listeners.guard.local_addr().map_err(unbound)?,
        plane.settings.guard.known_by(&plane.settings.folder)?,
        plane.workflow.data.database().to_string(),
        &plane.keys.binding,
    ))
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
