//! `kubectl druid preflight`.

use std::process::ExitCode;

use druid_core::cli::{Looked, judge};

use super::args::{Format, One};
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, show};

pub(super) async fn run(
    cluster: &Cluster,
    etcd: &One,
    output: Format,
) -> Result<ExitCode, KubectlError> {
    let (cluster, name) = cluster.of_one(etcd);
    let etcd = cluster.etcd(&name).await?;
    let (stateful_set, pods) = tokio::join!(cluster.stateful_set(&name), cluster.pods(&name));
    let judged = judge(&Looked {
        etcd,
        stateful_set,
        pods,
    });
    show(&judged, output, || judged.text(colours()));
    Ok(if judged.is_clear() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
