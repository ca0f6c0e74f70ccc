//! The flags from before there was a file. They are read only without one.

use serde_json::{Map, Value, json};

use super::config::{API_VERSION, Config, ConfigErrors, KIND, Loaded};
use super::gates::pairs;
use super::reader::{ConfigProblem, ConfigWarning, Wrong};

/// A flag, its field in the file, and its value if it was given.
type Row = (&'static str, &'static str, Option<Value>);

/// Each flag with the field that it stands for.
macro_rules! flags {
    ($($field:ident: $kind:ty, $flag:literal => $path:literal;)*) => {
        /// What the flags say; nothing where one is not given.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct DeprecatedFlags {
            $(
                #[doc = concat!("`", $flag, "`: `", $path, "` of the file.")]
                pub $field: Option<$kind>,
            )*
            /// `--feature-gates`: `NAME=BOOL`, separated by commas.
            pub feature_gates: Option<String>,
        }

        impl DeprecatedFlags {
            fn rows(&self) -> Vec<Row> {
                vec![$(($flag, $path, self.$field.clone().map(Value::from)),)*]
            }
        }
    };
}

flags! {
    metrics_bind_address: String, "--metrics-bind-address" => "server.metrics.bindAddress";
    metrics_port: i64, "--metrics-port" => "server.metrics.port";
    webhook_server_bind_address: String,
        "--webhook-server-bind-address" => "server.webhooks.bindAddress";
    webhook_server_port: i64, "--webhook-server-port" => "server.webhooks.port";
    webhook_server_tls_server_cert_dir: String,
        "--webhook-server-tls-server-cert-dir" => "server.webhooks.serverCertDir";
    enable_leader_election: bool, "--enable-leader-election" => "leaderElection.enabled";
    leader_election_id: String, "--leader-election-id" => "leaderElection.resourceName";
    leader_election_resource_lock: String,
        "--leader-election-resource-lock" => "leaderElection.resourceLock";
    disable_lease_cache: bool, "--disable-lease-cache" => "controllers.disableLeaseCache";
    etcd_workers: i64, "--etcd-workers" => "controllers.etcd.concurrentSyncs";
    enable_etcd_spec_auto_reconcile: bool,
        "--enable-etcd-spec-auto-reconcile" => "controllers.etcd.enableEtcdSpecAutoReconcile";
    disable_etcd_serviceaccount_automount: bool,
        "--disable-etcd-serviceaccount-automount"
            => "controllers.etcd.disableEtcdServiceAccountAutomount";
    etcd_status_sync_period: String,
        "--etcd-status-sync-period" => "controllers.etcd.etcdStatusSyncPeriod";
    etcd_member_notready_threshold: String,
        "--etcd-member-notready-threshold" => "controllers.etcd.etcdMember.notReadyThreshold";
    etcd_member_unknown_threshold: String,
        "--etcd-member-unknown-threshold" => "controllers.etcd.etcdMember.unknownThreshold";
    enable_backup_compaction: bool,
        "--enable-backup-compaction" => "controllers.compaction.enabled";
    compaction_workers: i64, "--compaction-workers" => "controllers.compaction.concurrentSyncs";
    etcd_events_threshold: i64,
        "--etcd-events-threshold" => "controllers.compaction.eventsThreshold";
    active_deadline_duration: String,
        "--active-deadline-duration" => "controllers.compaction.activeDeadlineDuration";
    metrics_scrape_wait_duration: String,
        "--metrics-scrape-wait-duration" => "controllers.compaction.metricsScrapeWaitDuration";
    enable_etcd_copy_backups_task: bool,
        "--enable-etcd-copy-backups-task" => "controllers.etcdCopyBackupsTask.enabled";
    etcd_copy_backups_task_workers: i64,
        "--etcd-copy-backups-task-workers" => "controllers.etcdCopyBackupsTask.concurrentSyncs";
    etcd_ops_task_workers: i64,
        "--etcd-ops-task-workers" => "controllers.etcdOpsTask.concurrentSyncs";
    etcd_ops_task_requeue_interval: String,
        "--etcd-ops-task-requeue-interval" => "controllers.etcdOpsTask.requeueInterval";
    secret_workers: i64, "--secret-workers" => "controllers.secret.concurrentSyncs";
    enable_etcd_components_webhook: bool,
        "--enable-etcd-components-webhook" => "webhooks.etcdComponentProtection.enabled";
    reconciler_service_account: String,
        "--reconciler-service-account"
            => "webhooks.etcdComponentProtection.reconcilerServiceAccountFQDN";
    etcd_components_webhook_exempt_service_accounts: Vec<String>,
        "--etcd-components-webhook-exempt-service-accounts"
            => "webhooks.etcdComponentProtection.exemptServiceAccounts";
}

const GATES: &str = "--feature-gates";
const OPERATOR: &str = "--reconciler-service-account";

impl DeprecatedFlags {
    /// The configuration that they make.
    ///
    /// # Errors
    /// All that is wrong with them, by flag.
    pub fn config(&self) -> Result<Loaded, ConfigErrors> {
        let rows = self.rows();
        let mut file = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "controllers": { "etcdCopyBackupsTask": { "enabled": true } },
        });
        for (_, path, value) in &rows {
            if let Some(value) = value {
                put(&mut file, path, value.clone());
            }
        }
        let mut problems = Vec::new();
        match pairs(self.feature_gates.as_deref().unwrap_or_default()) {
            Ok(gates) => put(&mut file, "featureGates", json!(gates)),
            Err(errors) => problems.extend(errors.into_iter().map(|error| ConfigProblem {
                field: GATES.to_owned(),
                wrong: error.into(),
            })),
        }
        match Config::read(file) {
            // What it would rather have is a file.
            Ok(Loaded { config, .. }) if problems.is_empty() => Ok(Loaded {
                config,
                warnings: Vec::new(),
            }),
            Ok(_) => Err(ConfigErrors(problems)),
            Err(ConfigErrors(found)) => {
                problems.extend(found.into_iter().map(|problem| by_flag(&rows, problem)));
                Err(ConfigErrors(problems))
            }
        }
    }

    /// What to say of each one if there is a file.
    pub fn beside_a_file(&self) -> Vec<ConfigWarning> {
        let rows = self.rows().into_iter();
        let given = rows.filter_map(|(flag, _, value)| value.map(|_| flag));
        let gates = self.feature_gates.as_ref().map(|_| GATES);
        given
            .chain(gates)
            .map(|flag| ConfigWarning::Ignored {
                field: flag.to_owned(),
                why: "with --config, only the file counts",
            })
            .collect()
    }
}

/// The same problem, told of the flag.
fn by_flag(rows: &[Row], problem: ConfigProblem) -> ConfigProblem {
    let ConfigProblem { field, wrong } = problem;
    if matches!(wrong, Wrong::OneOf { .. }) {
        let wanted = "system:serviceaccount:NAMESPACE:NAME, the operator's own";
        return ConfigProblem {
            field: OPERATOR.to_owned(),
            wrong: Wrong::Missing { wanted },
        };
    }
    let flag = rows.iter().find(|(_, path, _)| *path == field);
    let flag = match &*field {
        "featureGates" => Some(GATES),
        _ => flag.map(|(flag, _, _)| *flag),
    };
    ConfigProblem {
        field: flag.map_or(field, str::to_owned),
        wrong,
    }
}

/// Puts a value where a path says.
fn put(mut at: &mut Value, path: &str, value: Value) {
    for field in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[field];
    }
    *at = value;
}

#[cfg(test)]
mod tests;
