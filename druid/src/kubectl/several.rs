//! Several Etcds.

use druid_core::cli::{Found, Key, Targets};

use super::connect::Cluster;
use super::error::KubectlError;
use super::output::tell;

/// Their names, in order. Of those that were named it is not known yet whether they are there.
pub(super) async fn keys(cluster: &Cluster, targets: &Targets) -> Result<Vec<Key>, KubectlError> {
    match targets {
        Targets::Named(keys) => Ok(keys.clone()),
        Targets::Found(_) => {
            let sighted = cluster.found(targets).await?;
            let mut keys: Vec<_> = sighted.found.iter().map(Found::key).collect();
            keys.sort();
            if keys.is_empty() {
                tell(&targets.nothing());
            }
            Ok(keys)
        }
    }
}

/// Says why some are not there; whether that is so.
pub(super) fn told(failed: &[KubectlError]) -> bool {
    for error in failed {
        tell(&format!("error: {error}"));
    }
    !failed.is_empty()
}
