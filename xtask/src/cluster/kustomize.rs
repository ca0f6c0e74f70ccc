//! `kubectl kustomize`, which reaches no cluster.

use std::process::Command;

use super::tools::{Tools, ToolsError};

/// Prints what comes of a kustomization: its directory is the next argument.
///
/// # Errors
/// kubectl is not built, and cannot be.
pub fn kustomize() -> Result<Command, ToolsError> {
    let mut kubectl = Command::new(Tools::control_plane()?.kubectl());
    kubectl.env("KUBERC", "off").arg("kustomize");
    Ok(kubectl)
}
