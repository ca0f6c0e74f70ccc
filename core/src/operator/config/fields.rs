//! What each field of the configuration is for, and what it is if it is not there.

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where.
    pub path: &'static str,
    /// What it is if it is not there, as one would write it; nothing where that is said in words.
    pub default: Option<&'static str>,
    /// What for.
    pub what: &'static str,
}

const fn field(path: &'static str, default: &'static str, what: &'static str) -> Field {
    Field {
        path,
        default: Some(default),
        what,
    }
}

const fn without(path: &'static str, what: &'static str) -> Field {
    Field {
        path,
        default: None,
        what,
    }
}

/// All of them, in the order of their paths. A test compares them with what is read.
pub const FIELDS: [Field; 43] = [
    without(
        "clientConnection.acceptContentTypes",
        "Has no effect: the operator and the API server talk JSON.",
    ),
    field(
        "clientConnection.burst",
        "150",
        "So many requests to the API server more than `qps` for a moment.",
    ),
    without(
        "clientConnection.contentType",
        "Has no effect: the operator and the API server talk JSON.",
    ),
    field(
        "clientConnection.qps",
        "100",
        "So many requests to the API server a second; below zero: no limit.",
    ),
    field(
        "controllers.compaction.activeDeadlineDuration",
        "3h",
        "How long a Job that compacts snapshots may take.",
    ),
    field(
        "controllers.compaction.concurrentSyncs",
        "3",
        "So many Etcds are worked on at once.",
    ),
    field(
        "controllers.compaction.enabled",
        "false",
        "Whether snapshots are compacted when there are many revisions since the last full one.",
    ),
    field(
        "controllers.compaction.eventsThreshold",
        "1000000",
        "So many revisions since the last full snapshot start a Job.",
    ),
    field(
        "controllers.compaction.metricsScrapeWaitDuration",
        "0s",
        "How long a Job stays when it is done, for its metrics to be read.",
    ),
    field(
        "controllers.compaction.triggerFullSnapshotThreshold",
        "3000000",
        "With so many revisions the sidecar takes a full snapshot instead.",
    ),
    field(
        "controllers.disableLeaseCache",
        "false",
        "Whether Leases are read from the API server each time, and not watched.",
    ),
    field(
        "controllers.etcd.concurrentSyncs",
        "3",
        "So many Etcds are worked on at once.",
    ),
    field(
        "controllers.etcd.disableEtcdServiceAccountAutomount",
        "false",
        "Whether the pods get no token of their service account.",
    ),
    field(
        "controllers.etcd.enableEtcdSpecAutoReconcile",
        "false",
        "Whether a change of a spec is followed without the annotation `gardener.cloud/operation: reconcile`.",
    ),
    field(
        "controllers.etcd.etcdMember.notReadyThreshold",
        "5m",
        "A member whose Lease is older than this counts as not ready.",
    ),
    field(
        "controllers.etcd.etcdMember.unknownThreshold",
        "1m",
        "A member whose Lease is older than this counts as unknown.",
    ),
    field(
        "controllers.etcd.etcdStatusSyncPeriod",
        "15s",
        "How often an Etcd is looked at even if nothing is heard of it.",
    ),
    field(
        "controllers.etcd.maxConcurrentUpgrades",
        "5",
        "So many upgrades are under way at once; 0: none begins.",
    ),
    field(
        "controllers.etcd.snapshotBeforeHibernation",
        "false",
        "Whether a full snapshot is taken before a cluster is hibernated.",
    ),
    field(
        "controllers.etcdCopyBackupsTask.concurrentSyncs",
        "3",
        "So many tasks are worked on at once.",
    ),
    field(
        "controllers.etcdCopyBackupsTask.enabled",
        "false",
        "Whether `EtcdCopyBackupsTask`s are worked on.",
    ),
    field(
        "controllers.etcdOpsTask.concurrentSyncs",
        "3",
        "So many tasks are looked at at once; the work itself runs beside that.",
    ),
    field(
        "controllers.etcdOpsTask.requeueInterval",
        "15s",
        "How often a task is looked at even if nothing is heard of it.",
    ),
    field(
        "controllers.secret.concurrentSyncs",
        "10",
        "So many Secrets are worked on at once.",
    ),
    without(
        "featureGates",
        "Feature gates by name, each `true` or `false`.",
    ),
    field(
        "leaderElection.enabled",
        "false",
        "Whether one of several operators is chosen by a Lease.",
    ),
    field(
        "leaderElection.leaseDuration",
        "15s",
        "So long a Lease that is not renewed keeps others waiting.",
    ),
    field(
        "leaderElection.renewDeadline",
        "10s",
        "An operator that could not renew its Lease for so long stops all work and stands for election anew.",
    ),
    field(
        "leaderElection.resourceLock",
        "leases",
        "What an operator is chosen by.",
    ),
    field(
        "leaderElection.resourceName",
        "druid-leader-election",
        "The name of the Lease.",
    ),
    field(
        "leaderElection.retryPeriod",
        "2s",
        "How often the Lease is renewed, or looked at.",
    ),
    field("logging.logFormat", "json", "How is logged."),
    field("logging.logLevel", "info", "What is logged."),
    without(
        "server.metrics.bindAddress",
        "The address where metrics and health are served; all of them if it is not there.",
    ),
    field(
        "server.metrics.port",
        "8080",
        "The port where metrics and health are served.",
    ),
    without(
        "server.webhooks.bindAddress",
        "The address where the webhook is served; all of them if it is not there.",
    ),
    field(
        "server.webhooks.port",
        "9443",
        "The port where the webhook is served.",
    ),
    field(
        "server.webhooks.serverCertDir",
        "/etc/webhook-server-tls",
        "The directory with `tls.crt` and `tls.key` of the webhook. Without it the operator makes them itself.",
    ),
    field(
        "webhooks.etcdComponentProtection.enabled",
        "false",
        "Whether nobody but the operator may change what belongs to an Etcd.",
    ),
    without(
        "webhooks.etcdComponentProtection.exemptServiceAccounts",
        "Who may, too: service accounts as the API server calls them, `system:serviceaccount:NAMESPACE:NAME`.",
    ),
    without(
        "webhooks.etcdComponentProtection.reconcilerServiceAccountFQDN",
        "Deprecated: write `serviceAccountInfo`.",
    ),
    without(
        "webhooks.etcdComponentProtection.serviceAccountInfo.name",
        "The service account of the operator; it has to be said if the protection is on.",
    ),
    without(
        "webhooks.etcdComponentProtection.serviceAccountInfo.namespace",
        "The namespace of that.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::{API_VERSION, Config, KIND};
    use super::*;

    fn paths(prefix: &str, schema: &Value, all: &mut BTreeSet<String>) {
        for (name, inner) in schema["properties"].as_object().unwrap() {
            let path = format!("{prefix}{name}");
            let section = inner["properties"].is_object() && path != "featureGates";
            if section {
                paths(&format!("{path}."), inner, all);
            } else {
                all.insert(path);
            }
        }
    }

    #[test]
    fn every_field_that_is_read_is_described_and_no_other() {
        let mut read = BTreeSet::new();
        paths("", &Config::schema(), &mut read);
        let described: Vec<_> = FIELDS.iter().map(|it| it.path.to_owned()).collect();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), described);
    }

    /// Everything is switched on that can be, so that nothing is left out.
    fn file() -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "leaderElection": { "enabled": true },
            "controllers": {
                "compaction": { "enabled": true },
                "etcdCopyBackupsTask": { "enabled": true },
            },
        })
    }

    #[test]
    fn a_default_is_what_a_field_is_without_it() {
        let without = Config::read(file()).unwrap();
        for Field { path, default, .. } in FIELDS {
            let Some(default) = default else { continue };
            if path.ends_with(".enabled") {
                assert_eq!(default, "false", "{path}");
                continue;
            }
            let value = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
            let mut file = file();
            let pointer = path.split('.').fold(&mut file, |at, name| &mut at[name]);
            *pointer = value;
            let with = Config::read(file).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(with.config, without.config, "{path}");
        }
    }
}
