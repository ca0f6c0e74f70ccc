//! `kubectl druid recover`.

use druid_core::cli::{Recover, recovery_task};

use super::args::RecoverArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::task;

pub(super) async fn run(cluster: &Cluster, args: &RecoverArgs) -> Result<(), KubectlError> {
    let (cluster, name) = cluster.of_one(&args.etcd);
    let etcd = cluster.etcd(&name).await?;
    if !args.confirm {
        return Err(KubectlError::Unconfirmed(etcd.name));
    }
    let wanted = Recover {
        allow_data_loss: args.allow_data_loss,
        remove_volumes: args.remove_volumes,
        stop: args.stop_timeout,
        pod: args.pod_timeout,
        whole: args.ready_timeout,
    };
    task::run(&cluster, &recovery_task(&etcd.name, &wanted), &args.waiting).await
}
