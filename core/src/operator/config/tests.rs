#![allow(clippy::too_many_lines, reason = "tables of cases")]

use serde_json::json;

use super::super::gates::Gate;
use super::*;

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn file(mut fields: Value) -> Value {
    fields["apiVersion"] = json!(API_VERSION);
    fields["kind"] = json!(KIND);
    fields
}

fn read(fields: Value) -> Config {
    let loaded = Config::read(file(fields)).unwrap();
    assert_eq!(loaded.warnings, []);
    loaded.config
}

fn problems(fields: Value) -> Vec<String> {
    let ConfigErrors(problems) = Config::read(file(fields)).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn warnings(fields: Value) -> Vec<String> {
    let warnings = Config::read(file(fields)).unwrap().warnings;
    warnings.iter().map(ToString::to_string).collect()
}

fn workers(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn without_a_word_everything_is_as_etcd_druid_has_it() {
    let expected = Config {
        client: Client {
            per_second: Some(100.0),
            burst: 150,
        },
        election: None,
        webhook_server: WebhookServer {
            listen: Listen {
                address: None,
                port: 9443,
            },
            certificates: "/etc/webhook-server-tls".to_owned(),
        },
        metrics: Listen {
            address: None,
            port: 8080,
        },
        without_lease_cache: false,
        etcd: EtcdController {
            workers: workers(3),
            auto_reconcile: false,
            without_token: false,
            sync_period: seconds(15),
            thresholds: Thresholds {
                unknown: seconds(60),
                not_ready: seconds(300),
            },
            max_upgrades: 5,
            snapshot_before_hibernation: false,
        },
        compaction: None,
        copy_task_workers: None,
        secret_workers: workers(10),
        ops_task: OpsTaskController {
            workers: workers(3),
            requeue: seconds(15),
        },
        protection: None,
        gates: Gates::default(),
        logging: Logging {
            level: LogLevel::Info,
            format: LogFormat::Json,
        },
    };
    assert_eq!(read(json!({})), expected);
    let empty = json!({
        "leaderElection": {}, "webhooks": {}, "featureGates": {}, "logging": null,
        "controllers": {"etcd": {"etcdMember": {}}, "compaction": {}},
        // As Go has it: a number that is zero is not there.
        "server": {"webhooks": null, "metrics": {"port": 0, "bindAddress": ""}},
        "clientConnection": {"qps": 0, "burst": 0},
    });
    assert_eq!(read(empty), expected);
}

/// Each field once.
fn everything() -> Value {
    json!({
        "clientConnection": {"qps": 12.5, "burst": 20, "contentType": "application/json"},
        "leaderElection": {
            "enabled": true, "leaseDuration": "40s", "renewDeadline": "30s", "retryPeriod": "5s",
            "resourceLock": "leases", "resourceName": "mine",
        },
        "server": {
            "webhooks": {"bindAddress": "::1", "port": 1, "serverCertDir": "/certs"},
            "metrics": {"bindAddress": "localhost", "port": 65535},
        },
        "controllers": {
            "disableLeaseCache": true,
            "etcd": {
                "concurrentSyncs": 7, "enableEtcdSpecAutoReconcile": true,
                "disableEtcdServiceAccountAutomount": true, "etcdStatusSyncPeriod": "1m30s",
                "etcdMember": {"notReadyThreshold": "6m", "unknownThreshold": "2m"},
                "maxConcurrentUpgrades": 0, "snapshotBeforeHibernation": true,
            },
            "compaction": {
                "enabled": true, "concurrentSyncs": 4, "eventsThreshold": 15,
                "triggerFullSnapshotThreshold": 45, "activeDeadlineDuration": "2h",
                "metricsScrapeWaitDuration": "30s",
            },
            "etcdCopyBackupsTask": {"enabled": true, "concurrentSyncs": 2},
            "secret": {"concurrentSyncs": 1},
            "etcdOpsTask": {"concurrentSyncs": 9, "requeueInterval": "1s"},
        },
        "webhooks": {"etcdComponentProtection": {
            "enabled": true, "serviceAccountInfo": {"name": "druid", "namespace": "kube"},
            "exemptServiceAccounts": ["system:serviceaccount:kube-system:collector"],
        }},
        "featureGates": {"UpgradeEtcdVersion": true, "UseEtcdWrapper": true},
        "logging": {"logLevel": "debug", "logFormat": "text"},
    })
}

#[test]
fn everything_that_is_said_is_followed() {
    let config = read(everything());
    assert_eq!(config.client.per_second, Some(12.5));
    assert_eq!(config.client.burst, 20);
    let election = config.election.unwrap();
    assert_eq!(election.lease, "mine");
    assert_eq!(election.terms.lease, seconds(40));
    assert_eq!(election.terms.deadline, seconds(30));
    assert_eq!(election.terms.retry, seconds(5));
    assert_eq!(
        config.webhook_server.listen.address,
        Some("::1".parse().unwrap())
    );
    assert_eq!(config.webhook_server.listen.port, 1);
    assert_eq!(config.webhook_server.certificates, "/certs");
    assert_eq!(config.metrics.address, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(config.metrics.port, 65535);
    assert!(config.without_lease_cache);
    let expected = EtcdController {
        workers: workers(7),
        auto_reconcile: true,
        without_token: true,
        sync_period: seconds(90),
        thresholds: Thresholds {
            unknown: seconds(120),
            not_ready: seconds(360),
        },
        max_upgrades: 0,
        snapshot_before_hibernation: true,
    };
    assert_eq!(config.etcd, expected);
    let expected = Compaction {
        workers: workers(4),
        events: 15,
        full_snapshot_events: 45,
        deadline: seconds(7200),
        metrics_wait: seconds(30),
    };
    assert_eq!(config.compaction, Some(expected));
    assert_eq!(config.copy_task_workers, Some(workers(2)));
    assert_eq!(config.secret_workers, workers(1));
    assert_eq!(config.ops_task.workers, workers(9));
    assert_eq!(config.ops_task.requeue, seconds(1));
    let protection = config.protection.unwrap();
    assert_eq!(
        protection.operator.to_string(),
        "system:serviceaccount:kube:druid"
    );
    assert_eq!(protection.exempt.len(), 1);
    assert!(config.gates.is_on(Gate::UpgradeEtcdVersion));
    assert_eq!(
        (config.logging.level, config.logging.format),
        (LogLevel::Debug, LogFormat::Text)
    );
}

/// The paths of a schema, or of what it is of.
fn paths(of: &Value, schema: bool, above: &str, into: &mut BTreeSet<String>) {
    let fields = if schema { &of["properties"] } else { of };
    match fields.as_object() {
        Some(fields) => {
            for (name, field) in fields {
                paths(field, schema, &format!("{above}.{name}"), into);
            }
        }
        None => {
            into.insert(above.to_owned());
        }
    }
}

#[test]
fn the_schema_has_each_field_and_no_other() {
    let (mut said, mut known) = (BTreeSet::new(), BTreeSet::new());
    paths(&everything(), false, "", &mut said);
    // It and `serviceAccountInfo` exclude each other.
    let protection = ".webhooks.etcdComponentProtection";
    said.insert(format!("{protection}.reconcilerServiceAccountFQDN"));
    said.insert(".clientConnection.acceptContentTypes".to_owned());
    let schema = Config::schema();
    paths(&schema, true, "", &mut known);
    assert_eq!(known, said);
    assert_eq!(schema["additionalProperties"], false);
    let etcd = &schema["properties"]["controllers"]["properties"]["etcd"];
    assert_eq!(etcd["additionalProperties"], false);
    assert_eq!(
        etcd["properties"]["concurrentSyncs"],
        json!({ "type": "integer", "minimum": 1, "maximum": 10_000 })
    );
    let level = &schema["properties"]["logging"]["properties"]["logLevel"];
    assert_eq!(level["enum"], json!(["debug", "info", "error"]));
    let gates = &schema["properties"]["featureGates"]["properties"];
    assert_eq!(gates["UseEtcdWrapper"], json!({ "const": true }));
    assert_eq!(gates["UpgradeEtcdVersion"], json!({ "type": "boolean" }));
}

#[test]
fn less_than_no_request_a_second_is_no_limit() {
    let client = read(json!({"clientConnection": {"qps": -1}})).client;
    assert_eq!(client.per_second, None);
}

#[test]
fn what_cannot_be_is_refused_with_field_and_remedy() {
    for (fields, expected) in [
        (
            json!({"controllers": 3}),
            "controllers: 3 is not a mapping: write a mapping",
        ),
        (
            json!({"controllers": {"etcd": {"concurrentSyncs": 0}}}),
            "controllers.etcd.concurrentSyncs: 0 cannot be: write a number from 1 to 10000",
        ),
        (
            json!({"controllers": {"secret": {"concurrentSyncs": "3"}}}),
            "controllers.secret.concurrentSyncs: \"3\" is not a whole number: write a whole number",
        ),
        (
            json!({"controllers": {"etcd": {"maxConcurrentUpgrades": -1}}}),
            "controllers.etcd.maxConcurrentUpgrades: -1 cannot be: write a number from 0 to 10000",
        ),
        (
            json!({"controllers": {"etcd": {"enableEtcdSpecAutoReconcile": "yes"}}}),
            "controllers.etcd.enableEtcdSpecAutoReconcile: \"yes\" is not true or false: write true \
             or false",
        ),
        (
            json!({"controllers": {"etcd": {"etcdStatusSyncPeriod": "15"}}}),
            "controllers.etcd.etcdStatusSyncPeriod: \"15\" is no length of time above zero: write \
             one like 10s, 5m or 1h30m",
        ),
        (
            json!({"controllers": {"etcdOpsTask": {"requeueInterval": "0s"}}}),
            "controllers.etcdOpsTask.requeueInterval: \"0s\" is no length of time above zero",
        ),
        (
            json!({"controllers": {"compaction": {"metricsScrapeWaitDuration": 30}}}),
            "controllers.compaction.metricsScrapeWaitDuration: \"30\" is no length",
        ),
        (
            json!({"controllers": {"compaction": {"eventsThreshold": 0}}}),
            "controllers.compaction.eventsThreshold: 0 cannot be: write a number from 1",
        ),
        (
            json!({"clientConnection": {"burst": -1}}),
            "clientConnection.burst: -1 cannot be",
        ),
        (
            json!({"clientConnection": {"qps": "9"}}),
            "clientConnection.qps: \"9\" is not a number",
        ),
        (
            json!({"server": {"metrics": {"port": 65536}}}),
            "server.metrics.port: 65536 cannot be: write a number from 0 to 65535",
        ),
        (
            json!({"server": {"webhooks": {"bindAddress": "here"}}}),
            "server.webhooks.bindAddress: \"here\" is not an IP address, or nothing for all of them",
        ),
        (
            json!({"leaderElection": {"enabled": true, "leaseDuration": "10s"}}),
            "leaderElection.leaseDuration: 10s is not longer than leaderElection.renewDeadline, \
             which is 10s: lengthen it, or shorten leaderElection.renewDeadline",
        ),
        (
            json!({"leaderElection": {"enabled": true, "retryPeriod": "10s"}}),
            "leaderElection.renewDeadline: 10s is not longer than leaderElection.retryPeriod",
        ),
        (
            json!({"leaderElection": {"enabled": true, "resourceLock": "endpoints"}}),
            "leaderElection.resourceLock: \"endpoints\" is not known: write leases",
        ),
        (
            json!({"logging": {"logLevel": "warn"}}),
            "logging.logLevel: \"warn\" is not known: write debug or info or error",
        ),
        (
            json!({"logging": {"logFormat": "xml"}}),
            "logging.logFormat: \"xml\" is not known",
        ),
        (
            json!({"featureGates": {"Nonsense": true}}),
            "featureGates: there is no feature gate \"Nonsense\": write one of UseEtcdWrapper, \
             UpgradeEtcdVersion",
        ),
        (
            json!({"featureGates": {"UseEtcdWrapper": false}}),
            "featureGates: feature gate UseEtcdWrapper is always on: leave it out",
        ),
        (
            json!({"featureGates": {"UpgradeEtcdVersion": "true"}}),
            "featureGates.UpgradeEtcdVersion: \"true\" is not true or false",
        ),
        (
            json!({"webhooks": {"etcdComponentProtection": {"exemptServiceAccounts": [1]}}}),
            "webhooks.etcdComponentProtection.exemptServiceAccounts: a list is not a list of texts",
        ),
    ] {
        let found = problems(fields);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let errors = Config::read(json!({
        "kind": "Configuration",
        "logging": {"logLevel": "warn"},
    }))
    .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "the operator's configuration cannot be used:\n  \
         apiVersion: it is missing: write config.druid.gardener.cloud/v1alpha1\n  \
         kind: \"Configuration\" is not known: write OperatorConfiguration\n  \
         logging.logLevel: \"warn\" is not known: write debug or info or error"
    );
    let errors = Config::read(json!([])).unwrap_err();
    assert!(
        errors
            .to_string()
            .contains("the file: a list is not a mapping")
    );
}

#[test]
fn the_operator_says_who_it_is_exactly_once() {
    let protection = |fields: Value| json!({"webhooks": {"etcdComponentProtection": fields}});
    let name = "system:serviceaccount:kube:druid";
    let info = json!({"name": "druid", "namespace": "kube"});
    let once = "webhooks.etcdComponentProtection.enabled: give exactly one of \
                webhooks.etcdComponentProtection.serviceAccountInfo and \
                webhooks.etcdComponentProtection.reconcilerServiceAccountFQDN to say who the \
                operator is";
    for (fields, expected) in [
        (json!({"enabled": true}), once),
        (
            json!({"enabled": true, "serviceAccountInfo": info,
                "reconcilerServiceAccountFQDN": name}),
            once,
        ),
        (
            json!({"enabled": true, "serviceAccountInfo": {"name": "druid"}}),
            "webhooks.etcdComponentProtection.serviceAccountInfo.namespace: it is missing: write the \
             namespace of the operator",
        ),
        (
            json!({"enabled": true, "reconcilerServiceAccountFQDN": "druid"}),
            "webhooks.etcdComponentProtection.reconcilerServiceAccountFQDN: \"druid\" is no service \
             account: write system:serviceaccount:NAMESPACE:NAME",
        ),
    ] {
        assert_eq!(problems(protection(fields)), [expected]);
    }
    let old = protection(json!({"enabled": true, "reconcilerServiceAccountFQDN": name}));
    let config = Config::read(file(old.clone())).unwrap().config;
    assert_eq!(config.protection.unwrap().operator.to_string(), name);
    assert_eq!(
        warnings(old),
        [
            "webhooks.etcdComponentProtection.reconcilerServiceAccountFQDN is deprecated: write \
          webhooks.etcdComponentProtection.serviceAccountInfo"
        ]
    );
    for text in [
        "system:serviceaccount:a",
        "system:serviceaccount::b",
        "system:serviceaccount:a:b:c",
    ] {
        assert_eq!(ServiceAccount::read(text), None);
    }
}

#[test]
fn what_is_hardly_meant_is_told_of() {
    for (fields, expected) in [
        (
            json!({"controllers": {"etcd": {"concurrentsyncs": 3}}}),
            "controllers.etcd.concurrentsyncs is no field of the operator's configuration and has no \
             effect: remove it",
        ),
        (json!({"whatever": {"a": 1}}), "whatever is no field"),
        (
            json!({"clientConnection": {"acceptContentTypes": "application/vnd.kubernetes.protobuf"}}),
            "clientConnection.acceptContentTypes has no effect: the operator and the API server talk \
             JSON",
        ),
        // As etcd-druid's own chart writes it.
        (
            json!({"clientConnection": {"acceptContentType": "application/json"}}),
            "clientConnection.acceptContentType is not the name of the field: write \
             clientConnection.acceptContentTypes",
        ),
        (
            json!({"logConfiguration": {"logLevel": "debug"}}),
            "logConfiguration is not the name of the field: write logging",
        ),
        (
            json!({"logConfiguration": {"logLevel": "error"}, "logging": {"logLevel": "debug"}}),
            "logConfiguration has no effect, since logging is there: remove it",
        ),
    ] {
        let found = warnings(fields);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
    for fields in [
        json!({"logConfiguration": {"logLevel": "debug"}}),
        json!({"logConfiguration": {"logLevel": "error"}, "logging": {"logLevel": "debug"}}),
    ] {
        let config = Config::read(file(fields)).unwrap().config;
        assert_eq!(config.logging.level, LogLevel::Debug);
    }
}

#[test]
fn what_is_switched_off_is_still_checked() {
    let config = read(json!({"controllers": {
        "compaction": {"enabled": false, "eventsThreshold": 5},
        "etcdCopyBackupsTask": {"enabled": false, "concurrentSyncs": 5},
    }}));
    assert_eq!((config.compaction, config.copy_task_workers), (None, None));
    let wrong = json!({"controllers": {"compaction": {"concurrentSyncs": 0}}});
    assert_eq!(problems(wrong).len(), 1);
    // The defaults of an election that is not held need not agree with what is said.
    assert_eq!(
        read(json!({"leaderElection": {"leaseDuration": "5s"}})).election,
        None
    );
}
