//! `kubectl druid defrag` and `kubectl druid compact`.

use druid_core::cli::{CompactTo, maintenance_task};

use super::args::{CompactArgs, DefragArgs, MaintenanceArgs};
use super::connect::Cluster;
use super::error::KubectlError;
use super::task;

pub(super) async fn defrag(cluster: &Cluster, args: &DefragArgs) -> Result<(), KubectlError> {
    run(cluster, &args.common, None, true).await
}

pub(super) async fn compact(cluster: &Cluster, args: &CompactArgs) -> Result<(), KubectlError> {
    let to = match (args.revision, args.age) {
        (Some(revision), _) => CompactTo::Revision(revision),
        (None, Some(age)) => CompactTo::Age(age),
        (None, None) => CompactTo::Covered,
    };
    run(cluster, &args.common, Some(to), args.defrag).await
}

async fn run(
    cluster: &Cluster,
    args: &MaintenanceArgs,
    compact: Option<CompactTo>,
    defragment: bool,
) -> Result<(), KubectlError> {
    let (cluster, name) = cluster.of_one(&args.etcd);
    let etcd = cluster.etcd(&name).await?;
    let seconds = i64::try_from(args.limit.0.as_secs()).unwrap_or(i64::MAX);
    let task = maintenance_task(&etcd.name, compact, defragment, seconds);
    task::run(&cluster, &task, &args.waiting).await
}
