//! When somebody has to look, and what to do first.
//!
//! What the operator knows tells of whole Etcds, and is silent about one that hibernates: it needs no
//! quorum, its conditions are not told, and where that is not enough a rule asks for members. What etcd and
//! the sidecar tell ends with their pods.

use serde_json::{Value, json};

use super::{OF_ETCD, metadata};

/// Who has to look, and when.
#[derive(Clone, Copy, Debug)]
enum Severity {
    /// At once.
    Critical,
    /// Within the working day.
    Warning,
}

/// A rule. In its texts `{etcd}` is `namespace/name`, `{of}` the arguments of kubectl that name it, and
/// `{LABEL}` a label.
struct Alert {
    name: &'static str,
    severity: Severity,
    /// For so long without a pause.
    lasts: &'static str,
    expression: String,
    /// One line.
    summary: &'static str,
    /// What it means.
    description: &'static str,
    /// What to do first.
    runbook: &'static str,
}

/// Of each Etcd.
fn each(aggregate: &str, series: &str) -> String {
    format!("{aggregate} by ({OF_ETCD}) ({series})")
}

/// That are to have members.
fn running() -> String {
    format!("{} > 0", each("max", "druid_etcd_members"))
}

fn upgrades() -> Vec<Alert> {
    vec![
        Alert {
            name: "EtcdUpgradeHalted",
            severity: Severity::Warning,
            lasts: "1m",
            expression: format!(
                "{} == 1 and {}",
                each("max", "druid_upgrade_halted"),
                running()
            ),
            summary: "The upgrade of Etcd {etcd} is halted",
            description: "The operator stopped in the middle of a roll and touches no further member until \
                a person says so: three snapshots failed, a member did not come up with the new release and \
                was put back, or data differed. All other members go on serving.",
            runbook: "See why: `kubectl druid upgrade status {of}`. Remove the cause; `kubectl druid \
                preflight {of}` says what still stands against it. Then go on: `kubectl druid upgrade \
                acknowledge {of}`. To go back instead, switch the gate or spec.upgrade.enabled off.",
        },
        Alert {
            name: "EtcdUpgradeStuck",
            severity: Severity::Warning,
            lasts: "1h",
            expression: format!(
                "{} == 1 and {}",
                each("max", "druid_upgrade_phase{phase=~\"Refused|Waiting\"}"),
                running()
            ),
            summary: "The upgrade of Etcd {etcd} does not go on",
            description: "For an hour the upgrade has been refused or has waited for something that should \
                be. Nothing is broken by that, and it goes on by itself once the reason is gone.",
            runbook: "See for what: `kubectl druid upgrade status {of}`, and `kubectl druid preflight {of}` \
                for what stands against it.",
        },
    ]
}

fn members() -> Vec<Alert> {
    let ready = each("max", "druid_etcd_members_ready");
    vec![
        Alert {
            name: "EtcdQuorumLost",
            severity: Severity::Critical,
            lasts: "1m",
            expression: format!(
                "{} == 1",
                each(
                    "max",
                    "druid_etcd_condition{type=\"Ready\",status=\"False\"}"
                )
            ),
            summary: "Etcd {etcd} has lost its quorum",
            description: "The majority of members is not ready: nothing can be written, and reads that have \
                to be current fail.",
            runbook: "See which members are missing: `kubectl druid list -n {etcd_namespace}` and `kubectl \
                get etcd {of} -o yaml` (status.members). Look at their pods, nodes and volumes. Delete no \
                volume: what a member holds may be needed to come back. If the data of a majority is gone \
                for good: `kubectl druid recover {of} --confirm`.",
        },
        Alert {
            name: "EtcdQuorumAtRisk",
            severity: Severity::Warning,
            lasts: "10m",
            expression: format!(
                "{ready} <= {} and {ready} < {}",
                each("max", "druid_etcd_members_quorum"),
                each("max", "druid_etcd_members")
            ),
            summary: "Etcd {etcd} cannot lose another member",
            description: "Members are missing for ten minutes, and no more are ready than it takes to serve, \
                or fewer. With the next failure writes stop. A restart of one member by a roll takes less.",
            runbook: "See which members are missing: `kubectl druid list -n {etcd_namespace}` and `kubectl \
                get etcd {of} -o yaml` (status.members). Drain no node with one of the others on it. Look \
                at the pods of those that are missing, their nodes and volumes.",
        },
        Alert {
            name: "EtcdMemberWithoutLeader",
            severity: Severity::Warning,
            lasts: "2m",
            expression: format!("min by ({OF_ETCD}, pod) (etcd_server_has_leader) == 0"),
            summary: "Member {pod} of Etcd {etcd} has no leader",
            description: "The member itself says so: it is cut off from the others, or the quorum is lost.",
            runbook: "If all members of the Etcd say so, the quorum is lost: see `kubectl druid list -n \
                {etcd_namespace}`. If it is this one alone, look at the network between its node and the \
                others, and at its log: `kubectl logs {pod} -c etcd -n {etcd_namespace}`.",
        },
    ]
}

fn backups() -> Vec<Alert> {
    vec![
        Alert {
            name: "EtcdBackupFailing",
            severity: Severity::Warning,
            lasts: "15m",
            expression: format!("{} == 0", each("min", "druid_backup_healthy")),
            summary: "Backups of Etcd {etcd} fail",
            description: "The sidecar that takes snapshots says that something failed twice in a row, that \
                the store is more than three periods of deltas behind, or that its history is another one. \
                What was written since is in no backup.",
            runbook: "Read why: the log of the leading member's sidecar, `kubectl logs -n {etcd_namespace} \
                -c backup-restore -l app.kubernetes.io/part-of={etcd_name} --prefix`. Most often the store \
                refuses: credentials, quota, network. Then see whether one succeeds: `kubectl druid \
                snapshot {of} --full --wait`.",
        },
        Alert {
            name: "EtcdBackupTooOld",
            severity: Severity::Critical,
            lasts: "30m",
            expression: format!(
                "{} == 1",
                each(
                    "max",
                    "druid_etcd_condition{type=\"BackupReady\",status!=\"True\"}"
                )
            ),
            summary: "The newest backup of Etcd {etcd} is too old",
            description: "By its Leases, no snapshot was taken for longer than the schedule of this Etcd \
                allows. If its data are lost now, so is everything that was written since.",
            runbook: "See since when: `kubectl druid list -n {etcd_namespace}`. Take one now: `kubectl druid \
                snapshot {of} --full --wait`; if that fails, it says why. If it is never begun, look at the \
                log of the sidecars: `kubectl logs -n {etcd_namespace} -c backup-restore -l \
                app.kubernetes.io/part-of={etcd_name} --prefix`.",
        },
        Alert {
            name: "EtcdSnapshotCompactionFailing",
            severity: Severity::Warning,
            lasts: "1h",
            expression: format!(
                "{} == 1",
                each(
                    "max",
                    "druid_etcd_condition{type=\"LastSnapshotCompactionSucceeded\",status=\"False\"}"
                )
            ),
            summary: "Snapshots of Etcd {etcd} are not compacted",
            description: "For an hour no compaction of its snapshots has succeeded, nor a full snapshot in \
                its place. Nothing is lost, but a restore has more and more deltas to read.",
            runbook: "See why: `kubectl get etcd {of} -o yaml` (the condition \
                LastSnapshotCompactionSucceeded). Try it now, and be told: `kubectl druid snapshot {of} \
                --compacted --wait`. Most often the Job has too little memory, time \
                (spec.backup.snapshotCompaction) or room for its pod.",
        },
    ]
}

fn tasks() -> Vec<Alert> {
    let of = format!("max by ({OF_ETCD}, type, state)");
    let and_running = format!("and on ({OF_ETCD}) {}", running());
    vec![
        Alert {
            name: "EtcdTaskFailed",
            severity: Severity::Warning,
            lasts: "1m",
            expression: format!(
                "{of} (etcddruid_operator_tasks{{state=\"Failed\"}}) > 0 {and_running}"
            ),
            summary: "A task of Etcd {etcd} has failed: {type}",
            description: "What somebody, or the operator itself, asked for with an EtcdOpsTask was tried as often \
                as is sensible, and could not be done. This ends when the task is deleted, which happens by \
                itself after spec.ttlSecondsAfterFinished.",
            runbook: "See why: `kubectl get etcdopstasks -n {etcd_namespace}`, and status.lastErrors of the one \
                that is Failed. Each says what to do about it. Then make a new task.",
        },
        Alert {
            name: "EtcdTaskStuck",
            severity: Severity::Warning,
            lasts: "10m",
            expression: format!(
                "time() - min by ({OF_ETCD}, type, state) \
                (etcddruid_operator_task_waiting_since_timestamp_seconds) > 2 * 3600 {and_running}"
            ),
            summary: "A task of Etcd {etcd} does not end: {type} is {state}",
            description: "For two hours a task has waited for its turn, or has been at work. As long as it has \
                the turn, no other task of the Etcd begins, and no upgrade takes its snapshot.",
            runbook: "See what it does: `kubectl get etcdopstasks -n {etcd_namespace} -o yaml` \
                (status.lastOperation), and the log of the operator: `kubectl logs -n druid-system \
                deployment/druid`. One that is needed by nobody is given up when it is deleted.",
        },
    ]
}

fn databases() -> Vec<Alert> {
    let size = "etcd_mvcc_db_total_size_in_bytes";
    let used = "etcd_mvcc_db_total_size_in_use_in_bytes";
    let quota = "etcd_server_quota_backend_bytes";
    let member = format!("max by ({OF_ETCD}, pod)");
    vec![
        Alert {
            name: "EtcdDatabaseFragmented",
            severity: Severity::Warning,
            lasts: "1h",
            expression: format!(
                "{member} (({size} - {used}) / {size} > 0.5 and {size} / {quota} > 0.25)"
            ),
            summary: "More than half of the database of {pod} of Etcd {etcd} is free",
            description: "The file is mostly holes, and takes more than a quarter of the quota. The quota \
                counts holes, too, and a snapshot of the file is as large.",
            runbook: "Defragment, one member after the other: `kubectl druid defrag {of} --wait`. The sidecars do \
                it at the slots of spec.etcd.defragmentationSchedule. If it is set and the file stays as it is, the log of the leading \
                member's sidecar says why: `kubectl logs -n {etcd_namespace} -c backup-restore -l \
                app.kubernetes.io/part-of={etcd_name} --prefix`. If it is not, set it.",
        },
        Alert {
            name: "EtcdDatabaseNearQuota",
            severity: Severity::Critical,
            lasts: "15m",
            expression: format!("{member} ({size} / {quota}) > 0.85"),
            summary: "The database of {pod} of Etcd {etcd} is near its quota",
            description: "At the quota etcd raises the alarm NOSPACE and takes no more writes until somebody \
                disarms it. No upgrade begins then either.",
            runbook: "If much of the file is free (see the dashboard), defragment: `kubectl druid defrag {of} \
                --wait`. If it is full of history, compact that, too: `kubectl druid compact {of} --defrag \
                --wait`. If not, find out what writes so much, or raise \
                spec.etcd.quota: members are restarted one at a time for that. `kubectl druid preflight \
                {of}` says whether it stands against an upgrade.",
        },
    ]
}

fn certificates() -> Vec<Alert> {
    let left = "min by (etcd_namespace, etcd, secret, key) \
        (druid_certificate_expiry_timestamp_seconds) - time()";
    let expires = |name, severity, lasts, days: u32| Alert {
        name,
        severity,
        lasts,
        expression: format!("{left} < {days} * 86400 and on ({OF_ETCD}) {}", running()),
        summary: "A certificate of Etcd {etcd} expires: Secret {secret}",
        description: "Key {key} of the Secret. Once it has expired, members, sidecars, clients or the \
            operator do not trust each other any more, and the Etcd serves nobody. Of several authorities \
            in one place the last to expire counts, of a chain the first.",
        runbook: "See when: `kubectl get secret {secret} -n {etcd_namespace} -o yaml`. Have whoever issued it \
            renew it in the same Secret; pods read it again by themselves, and the operator sees it within \
            an hour. If it was renewed, and this goes on: `kubectl annotate etcd {of} \
            druid.gardener.cloud/operation=reconcile`.",
    };
    vec![
        expires("EtcdCertificateExpiresSoon", Severity::Warning, "1h", 14),
        expires("EtcdCertificateExpires", Severity::Critical, "10m", 3),
    ]
}

fn operator() -> Vec<Alert> {
    vec![Alert {
        name: "DruidOperatorAbsent",
        severity: Severity::Warning,
        lasts: "10m",
        expression: "absent(etcddruid_build_info) or sum(leader_election_master_status) == 0"
            .to_owned(),
        summary: "No operator looks after Etcds",
        description: "No operator runs, or none leads. Etcds go on serving and backing up, but nobody heals or \
            upgrades them, and most of these alerts are silent.",
        runbook: "`kubectl get pods -n druid-system`, then `kubectl logs -n druid-system deployment/druid`. \
            Who holds the Lease: `kubectl get lease -n druid-system`.",
    }]
}

fn webhook() -> Vec<Alert> {
    vec![
        Alert {
            name: "DruidWebhookFailing",
            severity: Severity::Warning,
            lasts: "10m",
            expression: "sum(rate(etcddruid_webhook_requests_total{decision=\"failed\"}[5m])) > 0"
                .to_owned(),
            summary: "The webhook that protects what belongs to Etcds has no answers",
            description: "Requests to change or delete such objects are refused without a verdict, those of \
                Kubernetes' own controllers, too.",
            runbook: "See why: `kubectl logs -n druid-system deployment/druid | grep 'no answer'`. If \
                somebody is blocked who should not be, and it cannot be mended soon, take the webhook away: \
                `kubectl delete validatingwebhookconfiguration druid-webhook`. Etcds are served on, without that \
                protection.",
        },
        Alert {
            name: "DruidWebhookCertificateExpires",
            severity: Severity::Critical,
            lasts: "10m",
            expression:
                "min(etcddruid_webhook_certificate_expiry_timestamp_seconds) - time() < 3 * 86400"
                    .to_owned(),
            summary: "The certificate of the webhook that protects what belongs to Etcds expires",
            description: "Once it has expired, nobody can change or delete such objects. One of the operator's \
                own is renewed a month before; the files in server.webhooks.serverCertDir are their \
                issuer's to renew.",
            runbook: "`kubectl logs -n druid-system deployment/druid | grep certificate` says what stands \
                against it. An own certificate is made anew when its Secret is deleted.",
        },
    ]
}

/// The `PrometheusRule`.
pub fn rules() -> Value {
    let groups = [
        ("druid-upgrades", upgrades()),
        ("druid-members", members()),
        ("druid-backups", backups()),
        ("druid-tasks", tasks()),
        ("druid-databases", databases()),
        ("druid-certificates", certificates()),
        ("druid-operator", operator()),
        ("druid-webhook", webhook()),
    ];
    let groups: Vec<_> = groups
        .into_iter()
        .map(|(name, alerts)| {
            let rules: Vec<_> = alerts.iter().map(Alert::rule).collect();
            json!({ "name": name, "rules": rules })
        })
        .collect();
    json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
        "metadata": metadata("druid"),
        "spec": { "groups": groups },
    })
}

impl Alert {
    fn rule(&self) -> Value {
        let severity = match self.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        };
        json!({
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasts,
            "labels": { "severity": severity },
            "annotations": {
                "summary": filled_in(self.summary),
                "description": filled_in(self.description),
                "runbook": filled_in(self.runbook),
            },
        })
    }
}

/// A text with the labels in their places.
fn filled_in(text: &str) -> String {
    let label = |name: &str| format!("{{{{ $labels.{name} }}}}");
    let (namespace, etcd) = (label("etcd_namespace"), label("etcd"));
    text.replace("{etcd}", &format!("{namespace}/{etcd}"))
        .replace("{of}", &format!("{etcd} -n {namespace}"))
        .replace("{etcd_namespace}", &namespace)
        .replace("{etcd_name}", &etcd)
        .replace("{type}", &label("type"))
        .replace("{state}", &label("state"))
        .replace("{pod}", &label("pod"))
        .replace("{secret}", &label("secret"))
        .replace("{key}", &label("key"))
}
