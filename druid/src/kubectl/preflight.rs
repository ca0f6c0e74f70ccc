//! `kubectl druid preflight`.

use std::process::ExitCode;

use druid_core::cli::{Looked, judge};

use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, say};

pub(super) async fn run(cluster: &Cluster, name: &str) -> Result<ExitCode, KubectlError> {
    let etcd = cluster.etcd(name).await?;
    let (stateful_set, pods) = tokio::join!(cluster.stateful_set(name), cluster.pods(name));
    let judged = judge(&Looked {
        etcd,
        stateful_set,
        pods,
    });
    // Nobody reads it: the exit code still tells.
    let _ = say(&judged.text(colours()));
    Ok(if judged.is_clear() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
