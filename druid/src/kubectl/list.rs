//! `kubectl druid list`.

use std::process::ExitCode;

use druid_core::cli::{Row, list};

use super::args::ListArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, show, tell};
use super::several::told;
use crate::clock;

pub(super) async fn run(cluster: &Cluster, args: &ListArgs) -> Result<ExitCode, KubectlError> {
    let targets = args.etcds.given().to_look(&cluster.namespace);
    let sighted = cluster.found(&targets).await?;
    let mut sets = Vec::new();
    for namespace in targets.namespaces() {
        match cluster.stateful_sets(namespace.as_deref()).await {
            Ok(found) => sets.extend(found),
            Err(error) => tell(&format!("warning: some versions are not known: {error}")),
        }
    }
    let rows = Row::all(&sighted.found, &sets);
    show(&rows, args.output, || list(&rows, clock::now(), colours()));
    if told(&sighted.failed) {
        return Ok(ExitCode::FAILURE);
    }
    if rows.is_empty() {
        tell(&targets.nothing());
    }
    Ok(ExitCode::SUCCESS)
}
