//! What developer commands and tests share: a real Kubernetes on this machine, the container image, the
//! manifests of the operator, promtool, and the comparison of what we render with what etcd-druid rendered.

pub mod cluster;
pub mod debian;
pub mod deploy;
pub mod goldens;
pub mod image;
pub mod promtool;

use std::path::PathBuf;

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
