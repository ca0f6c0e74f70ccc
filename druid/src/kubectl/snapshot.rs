//! `kubectl druid snapshot`.

use druid_core::cli::{SnapshotKind, snapshot_task};

use super::args::SnapshotArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::task;

pub(super) async fn run(cluster: &Cluster, args: &SnapshotArgs) -> Result<(), KubectlError> {
    let (cluster, name) = cluster.of_one(&args.etcd);
    // Without it, a task would be made that is rejected at once.
    let etcd = cluster.etcd(&name).await?;
    let kind = match (args.full, args.is_final, args.compacted) {
        (true, true, _) => SnapshotKind::Final,
        (true, false, _) => SnapshotKind::Full,
        (false, _, true) => SnapshotKind::Compacted,
        (false, _, false) => SnapshotKind::Delta,
    };
    task::run(&cluster, &snapshot_task(&etcd.name, kind), &args.waiting).await
}
