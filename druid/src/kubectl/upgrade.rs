//! `kubectl druid upgrade status`.

use std::process::ExitCode;

use druid_core::cli::{Progress, bars};

use super::args::StatusArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, show, tell};
use super::several::told;
use super::watch;
use crate::clock;

pub(super) async fn status(cluster: &Cluster, args: &StatusArgs) -> Result<ExitCode, KubectlError> {
    let targets = args.etcds.given().to_look(&cluster.namespace);
    let sighted = cluster.found(&targets).await?;
    let failed = told(&sighted.failed);
    if args.watch {
        if failed {
            return Ok(ExitCode::FAILURE);
        }
        return Ok(watch::run(cluster, &targets, sighted.found, args.output).await);
    }
    let all = Progress::all(&sighted.found);
    show(&all, args.output, || bars(&all, clock::now(), colours()));
    if failed {
        return Ok(ExitCode::FAILURE);
    }
    if all.is_empty() {
        tell(&targets.nothing());
    }
    Ok(ExitCode::SUCCESS)
}
