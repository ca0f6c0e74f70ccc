//! What there is to see: the dashboard that Grafana (10 and later) imports. Where Prometheus is, and which
//! Etcds are shown, is chosen in it.

use serde_json::{Value, json};

use super::OF_ETCD;

/// The panels of a row are so wide, in 24ths of the page.
const WIDTH: u32 = 8;
/// A panel is so high.
const HEIGHT: u32 = 7;
/// The version of the schema, that of Grafana 10.0.
const SCHEMA: u32 = 38;

/// The Etcds that are chosen.
const CHOSEN: &str = "etcd_namespace=~\"$etcd_namespace\",etcd=~\"$etcd\"";

/// How numbers are shown.
#[derive(Clone, Copy, Debug)]
enum Shown {
    /// The last one of each series, large.
    Number,
    /// All over time.
    Lines,
    /// The last one of each series, in a row of a table.
    Table,
}

struct Panel {
    title: &'static str,
    shown: Shown,
    /// As Grafana calls it.
    unit: &'static str,
    /// Expressions, and how each series is called. `CHOSEN` stands for what selects the Etcds, `OF` for the
    /// labels that tell one from another.
    series: Vec<(&'static str, &'static str)>,
}

fn panel(
    shown: Shown,
    title: &'static str,
    unit: &'static str,
    series: &[(&'static str, &'static str)],
) -> Panel {
    Panel {
        title,
        shown,
        unit,
        series: series.to_vec(),
    }
}

const ETCD: &str = "{{etcd_namespace}}/{{etcd}}";
const MEMBER: &str = "{{etcd_namespace}}/{{pod}}";

fn fleet() -> Vec<Panel> {
    vec![
        panel(
            Shown::Number,
            "Etcds",
            "none",
            &[
                (
                    "count(max by (OF) (druid_etcd_members{CHOSEN}) > 0) or vector(0)",
                    "running",
                ),
                (
                    "count(max by (OF) (druid_etcd_members{CHOSEN}) == 0) or vector(0)",
                    "hibernated",
                ),
            ],
        ),
        panel(
            Shown::Number,
            "Not as they should be",
            "none",
            &[
                (
                    "count(max by (OF) \
                        (druid_etcd_condition{CHOSEN,type=\"Ready\",status!=\"True\"})) or \
                        vector(0)",
                    "not ready",
                ),
                (
                    "count(max by (OF) \
                        (druid_etcd_condition{CHOSEN,type=\"BackupReady\",status!=\"True\"})) \
                        or vector(0)",
                    "without a backup as planned",
                ),
                (
                    "sum(max by (OF) (druid_upgrade_halted{CHOSEN})) or vector(0)",
                    "upgrade halted",
                ),
            ],
        ),
        panel(
            Shown::Number,
            "Operator",
            "none",
            &[
                ("sum(leader_election_master_status) or vector(0)", "leads"),
                ("count by (version) (etcddruid_build_info)", "{{version}}"),
            ],
        ),
    ]
}

fn of_the_operator() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Looks of the operator per second",
            "ops",
            &[
                (
                    "sum(rate(druid_etcd_looks_total[$__rate_interval]))",
                    "looks",
                ),
                (
                    "sum(rate(druid_etcd_looks_failed_total[$__rate_interval]))",
                    "failed",
                ),
            ],
        ),
        panel(
            Shown::Table,
            "Conditions that are not True",
            "none",
            &[(
                "max by (OF, type, status) \
                    (druid_etcd_condition{CHOSEN,type!=\"ClusterIDMismatch\",status!=\"True\"})",
                "",
            )],
        ),
        panel(
            Shown::Table,
            "Feature gates that are on",
            "none",
            &[("max by (name, stage) (kubernetes_feature_enabled) == 1", "")],
        ),
    ]
}

fn upgrades() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Etcds by the phase of their upgrade",
            "none",
            &[(
                "count by (phase) (max by (OF, phase) (druid_upgrade_phase{CHOSEN}))",
                "{{phase}}",
            )],
        ),
        panel(
            Shown::Table,
            "Under way",
            "none",
            &[(
                "max by (OF, phase) (druid_upgrade_phase{CHOSEN,phase!=\"Succeeded\"})",
                "",
            )],
        ),
        panel(
            Shown::Lines,
            "Halted",
            "none",
            &[("max by (OF) (druid_upgrade_halted{CHOSEN})", ETCD)],
        ),
    ]
}

fn members() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Ready members beyond the quorum",
            "none",
            &[(
                "max by (OF) (druid_etcd_members_ready{CHOSEN}) - max by (OF) \
                    (druid_etcd_members_quorum{CHOSEN})",
                ETCD,
            )],
        ),
        panel(
            Shown::Lines,
            "Members that are not ready",
            "none",
            &[(
                "max by (OF) (druid_etcd_members{CHOSEN}) - max by (OF) \
                    (druid_etcd_members_ready{CHOSEN})",
                ETCD,
            )],
        ),
        panel(
            Shown::Lines,
            "Members without a leader",
            "none",
            &[("sum by (OF) (1 - etcd_server_has_leader{CHOSEN})", ETCD)],
        ),
        panel(
            Shown::Lines,
            "Changes of the leader within an hour",
            "none",
            &[(
                "max by (OF) (increase(etcd_server_leader_changes_seen_total{CHOSEN}[1h]))",
                ETCD,
            )],
        ),
        panel(
            Shown::Lines,
            "Slowest fsync of the log (99 %)",
            "s",
            &[(
                "histogram_quantile(0.99, sum by (etcd_namespace, pod, le) \
                    (rate(etcd_disk_wal_fsync_duration_seconds_bucket{CHOSEN}[$__rate_interval])))",
                MEMBER,
            )],
        ),
        panel(
            Shown::Lines,
            "Proposals that failed, per second",
            "ops",
            &[(
                "sum by (etcd_namespace, pod) \
                    (rate(etcd_server_proposals_failed_total{CHOSEN}[$__rate_interval]))",
                MEMBER,
            )],
        ),
    ]
}

fn backups() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Age of the newest state in the store",
            "s",
            &[(
                "max by (OF) (druid_backup_covered_age_seconds{CHOSEN})",
                ETCD,
            )],
        ),
        panel(
            Shown::Lines,
            "Backups as they were promised",
            "none",
            &[("min by (OF) (druid_backup_healthy{CHOSEN})", ETCD)],
        ),
        panel(
            Shown::Lines,
            "Age of the newest full snapshot",
            "s",
            &[(
                "time() - max by (OF) (etcdbr_snapshot_latest_timestamp{CHOSEN,kind=\"Full\"} > 0)",
                ETCD,
            )],
        ),
        panel(
            Shown::Lines,
            "Time that a full snapshot takes (90 %)",
            "s",
            &[(
                "histogram_quantile(0.9, sum by (OF, le) \
                    (increase(etcdbr_snapshot_duration_seconds_bucket{CHOSEN,kind=\"Full\",succeeded=\"true\"}[1d])))",
                ETCD,
            )],
        ),
        panel(
            Shown::Lines,
            "Failures within an hour, by what failed",
            "none",
            &[(
                "sum by (OF, error) (increase(etcdbr_snapshotter_failure{CHOSEN}[1h])) > 0",
                "{{etcd_namespace}}/{{etcd}}: {{error}}",
            )],
        ),
        panel(
            Shown::Lines,
            "Deltas after the newest full snapshot",
            "none",
            &[(
                "max by (OF) (etcdbr_snapstore_latest_deltas_total{CHOSEN})",
                ETCD,
            )],
        ),
    ]
}

fn databases() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Size of the database",
            "bytes",
            &[(
                "max by (etcd_namespace, pod) (etcd_mvcc_db_total_size_in_bytes{CHOSEN})",
                MEMBER,
            )],
        ),
        panel(
            Shown::Lines,
            "Share of the quota",
            "percentunit",
            &[(
                "max by (etcd_namespace, pod) (etcd_mvcc_db_total_size_in_bytes{CHOSEN} / \
                    etcd_server_quota_backend_bytes{CHOSEN})",
                MEMBER,
            )],
        ),
        panel(
            Shown::Lines,
            "Share of it that is free",
            "percentunit",
            &[(
                "max by (etcd_namespace, pod) (1 - \
                    etcd_mvcc_db_total_size_in_use_in_bytes{CHOSEN} / \
                    etcd_mvcc_db_total_size_in_bytes{CHOSEN})",
                MEMBER,
            )],
        ),
        panel(
            Shown::Lines,
            "Keys",
            "none",
            &[("max by (OF) (etcd_debugging_mvcc_keys_total{CHOSEN})", ETCD)],
        ),
        panel(
            Shown::Lines,
            "Defragmentations within a day",
            "none",
            &[(
                "sum by (OF, succeeded) \
                    (increase(etcdbr_defragmentation_duration_seconds_count{CHOSEN}[1d]))",
                "{{etcd_namespace}}/{{etcd}}: succeeded {{succeeded}}",
            )],
        ),
        panel(
            Shown::Lines,
            "Slowest commit of the database (99 %)",
            "s",
            &[(
                "histogram_quantile(0.99, sum by (etcd_namespace, pod, le) \
                    (rate(etcd_disk_backend_commit_duration_seconds_bucket{CHOSEN}[$__rate_interval])))",
                MEMBER,
            )],
        ),
    ]
}

fn tasks() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Tasks that ended within an hour",
            "none",
            &[(
                "sum by (type, state) (increase(etcddruid_operator_tasks_total{CHOSEN}[1h]))",
                "{{type}}: {{state}}",
            )],
        ),
        panel(
            Shown::Lines,
            "Time that a task takes (90 %)",
            "s",
            &[(
                "histogram_quantile(0.9, sum by (type, le) \
                    (increase(etcddruid_operator_task_duration_seconds_bucket{CHOSEN}[1d])))",
                "{{type}}",
            )],
        ),
        panel(
            Shown::Table,
            "Tasks that did not succeed within a day",
            "none",
            &[(
                "sum by (OF, type, state) \
                    (increase(etcddruid_operator_tasks_total{CHOSEN,state!=\"Succeeded\"}[1d])) \
                    > 0",
                "",
            )],
        ),
    ]
}

fn certificates() -> Vec<Panel> {
    let left = "sort(min by (OF, secret, key) \
        (druid_certificate_expiry_timestamp_seconds{CHOSEN}) - time())";
    vec![panel(
        Shown::Table,
        "Time until certificates expire",
        "s",
        &[(left, "")],
    )]
}

fn compaction() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Events since the last full snapshot",
            "none",
            &[(
                "max by (OF) (etcddruid_compaction_num_delta_events{CHOSEN})",
                ETCD,
            )],
        ),
        panel(
            Shown::Lines,
            "Compactions that ended within an hour",
            "none",
            &[
                (
                    "sum by (failureReason) (increase(etcddruid_compaction_jobs_total\
                        {etcd_namespace=~\"$etcd_namespace\"}[1h]))",
                    "by a Job, failure: {{failureReason}}",
                ),
                (
                    "sum by (succeeded) (increase(etcddruid_compaction_full_snapshot_triggered_total\
                        {etcd_namespace=~\"$etcd_namespace\"}[1h]))",
                    "by a full snapshot, succeeded: {{succeeded}}",
                ),
            ],
        ),
        panel(
            Shown::Lines,
            "Time that a compaction takes (90 %)",
            "s",
            &[(
                "histogram_quantile(0.9, sum by (etcd_namespace, le) \
                    (increase(etcddruid_compaction_job_duration_seconds_bucket\
                    {etcd_namespace=~\"$etcd_namespace\",succeeded=\"true\"}[1d])))",
                "{{etcd_namespace}}",
            )],
        ),
    ]
}

fn webhook() -> Vec<Panel> {
    vec![
        panel(
            Shown::Lines,
            "Requests per second, by the answer",
            "ops",
            &[(
                "sum by (decision, code) \
                    (rate(etcddruid_webhook_requests_total[$__rate_interval]))",
                "{{decision}} ({{code}})",
            )],
        ),
        panel(
            Shown::Number,
            "Time until its certificate expires",
            "s",
            &[(
                "min(etcddruid_webhook_certificate_expiry_timestamp_seconds) - time()",
                "webhook",
            )],
        ),
    ]
}

/// The dashboard.
pub fn dashboard() -> Value {
    let rows = [
        (
            "Fleet",
            [fleet(), of_the_operator()].into_iter().flatten().collect(),
        ),
        ("Upgrades", upgrades()),
        ("Members and quorum", members()),
        ("Backups", backups()),
        ("Size of the database and fragmentation", databases()),
        ("Tasks", tasks()),
        ("Compaction of snapshots", compaction()),
        ("Certificates", certificates()),
        ("Webhook", webhook()),
    ];
    let (mut panels, mut y) = (Vec::new(), 0);
    for (title, row) in rows {
        let id = panels.len() + 1;
        panels.push(json!({
            "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 },
        }));
        y += 1;
        for three in row.chunks(3) {
            for (x, panel) in (0..).step_by(8).zip(three) {
                panels.push(panel.json(panels.len() + 1, x, y));
            }
            y += HEIGHT;
        }
    }
    json!({
        "uid": "druid", "title": "Etcds (druid)", "tags": ["etcd"],
        "schemaVersion": SCHEMA, "version": 1, "editable": true,
        "time": { "from": "now-6h", "to": "now" }, "refresh": "1m",
        "templating": { "list": variables() },
        "panels": panels,
    })
}

fn variables() -> Value {
    let chosen = |name: &str, label: &str, of: &str| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(),
            "query": { "query": of, "refId": name }, "definition": of,
            "multi": true, "includeAll": true, "allValue": ".*", "refresh": 2, "sort": 1,
            "current": { "text": "All", "value": "$__all" },
        })
    };
    json!([
        {
            "name": "datasource", "label": "Prometheus", "type": "datasource",
            "query": "prometheus",
        },
        chosen(
            "etcd_namespace",
            "Namespace",
            "label_values(druid_etcd_members, etcd_namespace)",
        ),
        chosen(
            "etcd",
            "Etcd",
            "label_values(druid_etcd_members{etcd_namespace=~\"$etcd_namespace\"}, etcd)",
        ),
    ])
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

impl Panel {
    fn json(&self, id: usize, x: u32, y: u32) -> Value {
        let kind = match self.shown {
            Shown::Number => "stat",
            Shown::Lines => "timeseries",
            Shown::Table => "table",
        };
        let is_table = matches!(self.shown, Shown::Table);
        let targets: Vec<_> = ('A'..)
            .zip(&self.series)
            .map(|(name, (expression, legend))| {
                json!({
                    "refId": name.to_string(), "datasource": datasource(),
                    "expr": expression.replace("OF", OF_ETCD).replace("CHOSEN", CHOSEN), "legendFormat": legend,
                    "instant": !matches!(self.shown, Shown::Lines),
                    "range": matches!(self.shown, Shown::Lines),
                    "format": if is_table { "table" } else { "time_series" },
                })
            })
            .collect();
        let mut panel = json!({
            "id": id, "type": kind, "title": self.title, "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": WIDTH, "h": HEIGHT },
            "fieldConfig": { "defaults": { "unit": self.unit }, "overrides": [] },
            "targets": targets,
        });
        if is_table {
            let hidden = json!({ "excludeByName": { "Time": true } });
            panel["transformations"] = json!([{ "id": "organize", "options": hidden }]);
        }
        panel
    }
}
