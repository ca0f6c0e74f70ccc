//! Helm: for charts alone, and for what is installed in a cluster.

use std::path::Path;
use std::process::Command;

use super::layout::Layout;
use super::tools::{Tools, ToolsError};

/// Helm, which reaches no cluster. It keeps what it remembers in a directory, leaves nothing in the home
/// directory and takes nothing from there or from the environment.
///
/// # Errors
/// It is not built, and cannot be.
pub fn helm(keeps: &Path) -> Result<Command, ToolsError> {
    let mut helm = Command::new(Tools::helm()?.program("helm"));
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"HELM_") {
            helm.env_remove(variable);
        }
    }
    helm.env("HELM_CACHE_HOME", keeps.join("cache"))
        .env("HELM_CONFIG_HOME", keeps.join("config"))
        .env("HELM_DATA_HOME", keeps.join("data"))
        .env("KUBECONFIG", keeps.join("no-kubeconfig"));
    Ok(helm)
}

/// Helm as the administrator of a cluster.
///
/// # Errors
/// It is not built, and cannot be.
pub fn helm_in(layout: &Layout) -> Result<Command, ToolsError> {
    let mut helm = helm(&layout.helm())?;
    helm.env("KUBECONFIG", layout.kubeconfig())
        .env("KUBECACHEDIR", layout.kubectl_cache());
    Ok(helm)
}
