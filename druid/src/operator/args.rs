//! The command line: etcd-druid's flags, and where the API server is.

use std::path::PathBuf;

use clap::ArgAction::Set;
use druid_core::operator::DeprecatedFlags;

/// Bring every Etcd of a Kubernetes cluster to what its spec asks for, and do what its tasks ask for.
///
/// Takes the place of etcd-druid: the same custom resources, configuration file, flags, image vector
/// and lease. The custom resources have to be defined first: druid crds | kubectl apply --server-side
/// -f -
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
With leaderElection.enabled, several may run: one works, the others stand by and are ready. Who leads \
and cannot renew the lease stops at once, begins anew, and stands by. SIGTERM ends it in order: the lease is given \
back, and another takes over without a wait.

/healthz, /readyz and /metrics are served on server.metrics.port (8080).

Environment:
  IMAGEVECTOR_OVERWRITE  a file that says which images are run, instead of those that are built in
  KUBECONFIG             where the API server is; not needed in a pod
  POD_NAME, POD_NAMESPACE  who leads, and where the lease is
  RUST_LOG               how much is logged, instead of logging.logLevel

Exit codes: 0 ended as asked, 1 something is not as it must be to begin, or a part of it failed, 2 the \
configuration cannot be used: all that is wrong with it is printed, 64 the command line makes no sense.

A configuration file:
  apiVersion: config.druid.gardener.cloud/v1alpha1
  kind: OperatorConfiguration
  leaderElection: { enabled: true }
  controllers:
    etcd: { enableEtcdSpecAutoReconcile: true, maxConcurrentUpgrades: 1 }
  featureGates: { UpgradeEtcdVersion: true }   # from etcd 3.4.34 to 3.5.27, and back if it is false again

Examples:
  druid operator --config operator.yaml
  druid operator --config operator.yaml --namespace shoot--a--b --kubeconfig ~/.kube/config")]
pub(crate) struct Args {
    /// The configuration, YAML. With it, the deprecated flags have no effect.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Only this namespace; all of them if not given.
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// Where the API server is and who we are; KUBECONFIG says it too. In a pod it is known.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    #[command(
        flatten,
        next_help_heading = "Deprecated: what the file says, without one"
    )]
    flags: Flags,
}

impl Args {
    /// What the deprecated flags say.
    pub(super) fn deprecated(&self) -> DeprecatedFlags {
        self.flags.clone().into()
    }
}

/// The deprecated flags. What each stands for is in its help, in the words of the file.
macro_rules! flags {
    (
        values { $($value:ident: $kind:ty, $name:literal, $stands:literal;)* }
        switches { $($switch:ident, $says:literal;)* }
        lists { $($list:ident, $lists:literal;)* }
    ) => {
        #[derive(Clone, Debug, clap::Args)]
        struct Flags {
            $(
                #[doc = $stands]
                #[arg(long, value_name = $name, hide_short_help = true, allow_negative_numbers = true)]
                $value: Option<$kind>,
            )*
            $(
                #[doc = $says]
                #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
                    action = Set, value_name = "BOOL", hide_short_help = true)]
                $switch: Option<bool>,
            )*
            $(
                #[doc = $lists]
                #[arg(long, value_delimiter = ',', value_name = "NAME,...", hide_short_help = true)]
                $list: Option<Vec<String>>,
            )*
        }

        impl From<Flags> for DeprecatedFlags {
            fn from(flags: Flags) -> Self {
                Self {
                    $($value: flags.$value,)*
                    $($switch: flags.$switch,)*
                    $($list: flags.$list,)*
                }
            }
        }
    };
}

flags! {
    values {
        metrics_bind_address: String, "ADDRESS", "server.metrics.bindAddress";
        metrics_port: i64, "PORT", "server.metrics.port";
        webhook_server_bind_address: String, "ADDRESS", "server.webhooks.bindAddress";
        webhook_server_port: i64, "PORT", "server.webhooks.port";
        webhook_server_tls_server_cert_dir: String, "DIRECTORY", "server.webhooks.serverCertDir";
        leader_election_id: String, "NAME", "leaderElection.resourceName";
        leader_election_resource_lock: String, "KIND", "leaderElection.resourceLock";
        etcd_workers: i64, "NUMBER", "controllers.etcd.concurrentSyncs";
        etcd_status_sync_period: String, "DURATION", "controllers.etcd.etcdStatusSyncPeriod";
        etcd_member_notready_threshold: String, "DURATION",
            "controllers.etcd.etcdMember.notReadyThreshold";
        etcd_member_unknown_threshold: String, "DURATION",
            "controllers.etcd.etcdMember.unknownThreshold";
        compaction_workers: i64, "NUMBER", "controllers.compaction.concurrentSyncs";
        etcd_events_threshold: i64, "NUMBER", "controllers.compaction.eventsThreshold";
        active_deadline_duration: String, "DURATION",
            "controllers.compaction.activeDeadlineDuration";
        metrics_scrape_wait_duration: String, "DURATION",
            "controllers.compaction.metricsScrapeWaitDuration";
        etcd_copy_backups_task_workers: i64, "NUMBER",
            "controllers.etcdCopyBackupsTask.concurrentSyncs";
        etcd_ops_task_workers: i64, "NUMBER", "controllers.etcdOpsTask.concurrentSyncs";
        etcd_ops_task_requeue_interval: String, "DURATION",
            "controllers.etcdOpsTask.requeueInterval";
        secret_workers: i64, "NUMBER", "controllers.secret.concurrentSyncs";
        reconciler_service_account: String, "ACCOUNT",
            "webhooks.etcdComponentProtection.reconcilerServiceAccountFQDN";
        feature_gates: String, "GATE=BOOL,...", "featureGates";
    }
    switches {
        enable_leader_election, "leaderElection.enabled";
        disable_lease_cache, "controllers.disableLeaseCache";
        enable_etcd_spec_auto_reconcile, "controllers.etcd.enableEtcdSpecAutoReconcile";
        disable_etcd_serviceaccount_automount,
            "controllers.etcd.disableEtcdServiceAccountAutomount";
        enable_backup_compaction, "controllers.compaction.enabled";
        enable_etcd_copy_backups_task, "controllers.etcdCopyBackupsTask.enabled";
        enable_etcd_components_webhook, "webhooks.etcdComponentProtection.enabled";
    }
    lists {
        etcd_components_webhook_exempt_service_accounts,
            "webhooks.etcdComponentProtection.exemptServiceAccounts";
    }
}
