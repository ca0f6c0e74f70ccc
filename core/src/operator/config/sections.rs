//! The sections of the file.

use jiff::SignedDuration;

use super::{
    API_VERSION, Client, Compaction, Config, Election, EtcdController, KIND, Listen, LogFormat,
    LogLevel, Logging, OpsTaskController, Protection, ServiceAccount, WebhookServer,
};
use crate::duration::GoDuration;
use crate::election::Terms;
use crate::operator::gates::Gates;
use crate::operator::reader::{ConfigWarning, Notes, Section, Wrong};
use crate::status::Thresholds;

const fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// The whole file but for what says that it is one.
pub(super) fn config(root: &mut Section, notes: &mut Notes) -> Config {
    let client = client(root, notes);
    let election = election(root, notes);
    let (webhook_server, metrics) = servers(root, notes);
    let mut controllers = root.section("controllers", notes);
    let without_lease_cache = controllers.flag("disableLeaseCache", notes);
    let etcd = etcd(&mut controllers, notes);
    let compaction = compaction(&mut controllers, notes);
    let mut copy = controllers.section("etcdCopyBackupsTask", notes);
    let copies = copy.flag("enabled", notes);
    let copy_task_workers = copy.workers("concurrentSyncs", 3, notes);
    copy.end(notes);
    let mut secret = controllers.section("secret", notes);
    let secret_workers = secret.workers("concurrentSyncs", 10, notes);
    secret.end(notes);
    let mut task = controllers.section("etcdOpsTask", notes);
    let ops_task = OpsTaskController {
        workers: task.workers("concurrentSyncs", 3, notes),
        requeue: task.duration("requeueInterval", seconds(15), notes),
    };
    task.end(notes);
    controllers.end(notes);
    Config {
        client,
        election,
        webhook_server,
        metrics,
        without_lease_cache,
        etcd,
        compaction,
        copy_task_workers: copies.then_some(copy_task_workers),
        secret_workers,
        ops_task,
        protection: protection(root, notes),
        gates: gates(root, notes),
        logging: logging(root, notes),
    }
}

/// Is it such a file at all?
pub(super) fn identified(root: &mut Section, notes: &mut Notes) {
    for (field, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match root.text(field, notes) {
            None => notes.wrong(field, Wrong::Missing { wanted }),
            Some(found) if found == wanted => {}
            Some(found) => {
                let allowed = vec![wanted];
                notes.wrong(field, Wrong::Word { found, allowed });
            }
        }
    }
}

/// As in Go, 0 is as good as nothing, and less is no limit.
fn client(root: &mut Section, notes: &mut Notes) -> Client {
    let mut client = root.section("clientConnection", notes);
    client.rename("acceptContentType", "acceptContentTypes", notes);
    let qps = client.float("qps", notes).filter(|qps| *qps != 0.0);
    let qps = qps.unwrap_or(100.0);
    let burst = client.number("burst", (0, i32::MAX.into()), notes);
    let burst = burst.and_then(|it| u32::try_from(it).ok());
    for field in ["contentType", "acceptContentTypes"] {
        if client
            .text(field, notes)
            .is_some_and(|it| it != "application/json")
        {
            let field = client.path(field);
            let why = "the operator and the API server talk JSON";
            notes.warnings.push(ConfigWarning::Ignored { field, why });
        }
    }
    client.end(notes);
    Client {
        per_second: (qps > 0.0).then_some(qps),
        burst: burst.filter(|burst| *burst > 0).unwrap_or(150),
    }
}

fn election(root: &mut Section, notes: &mut Notes) -> Option<Election> {
    let mut section = root.section("leaderElection", notes);
    let enabled = section.flag("enabled", notes);
    let terms = Terms {
        lease: section.duration("leaseDuration", seconds(15), notes),
        deadline: section.duration("renewDeadline", seconds(10), notes),
        retry: section.duration("retryPeriod", seconds(2), notes),
    };
    if enabled {
        let longer = [
            (
                "leaseDuration",
                terms.lease,
                "renewDeadline",
                terms.deadline,
            ),
            ("renewDeadline", terms.deadline, "retryPeriod", terms.retry),
        ];
        for (field, length, other, than) in longer {
            if length <= than {
                let other = section.path(other);
                let (found, than) = (
                    GoDuration(length.unsigned_abs()),
                    GoDuration(than.unsigned_abs()),
                );
                notes.wrong(section.path(field), Wrong::NotLonger { found, other, than });
            }
        }
    }
    section.word("resourceLock", &[("leases", ())], (), notes);
    let lease = section.text("resourceName", notes);
    section.end(notes);
    enabled.then(|| Election {
        terms,
        lease: lease.unwrap_or_else(|| "druid-leader-election".to_owned()),
    })
}

fn servers(root: &mut Section, notes: &mut Notes) -> (WebhookServer, Listen) {
    let mut server = root.section("server", notes);
    let mut webhooks = server.section("webhooks", notes);
    let listen = Listen {
        address: webhooks.address("bindAddress", notes),
        port: webhooks.port("port", 9443, notes),
    };
    let certificates = webhooks.text("serverCertDir", notes);
    webhooks.end(notes);
    let mut metrics = server.section("metrics", notes);
    let served = Listen {
        address: metrics.address("bindAddress", notes),
        port: metrics.port("port", 8080, notes),
    };
    metrics.end(notes);
    server.end(notes);
    let webhook = WebhookServer {
        listen,
        certificates: certificates.unwrap_or_else(|| "/etc/webhook-server-tls".to_owned()),
    };
    (webhook, served)
}

fn etcd(controllers: &mut Section, notes: &mut Notes) -> EtcdController {
    let mut etcd = controllers.section("etcd", notes);
    let mut member = etcd.section("etcdMember", notes);
    let default = Thresholds::default();
    let thresholds = Thresholds {
        unknown: member.duration("unknownThreshold", default.unknown, notes),
        not_ready: member.duration("notReadyThreshold", default.not_ready, notes),
    };
    member.end(notes);
    let upgrades = etcd.number("maxConcurrentUpgrades", (0, 10_000), notes);
    let upgrades = upgrades.and_then(|it| u32::try_from(it).ok());
    let read = EtcdController {
        workers: etcd.workers("concurrentSyncs", 3, notes),
        auto_reconcile: etcd.flag("enableEtcdSpecAutoReconcile", notes),
        without_token: etcd.flag("disableEtcdServiceAccountAutomount", notes),
        sync_period: etcd.duration("etcdStatusSyncPeriod", seconds(15), notes),
        thresholds,
        max_upgrades: upgrades.unwrap_or(5),
        snapshot_before_hibernation: etcd.flag("snapshotBeforeHibernation", notes),
    };
    etcd.end(notes);
    read
}

fn compaction(controllers: &mut Section, notes: &mut Notes) -> Option<Compaction> {
    let mut section = controllers.section("compaction", notes);
    let enabled = section.flag("enabled", notes);
    let mut events = |field, default| {
        let number = section.number(field, (1, i64::MAX), notes);
        number.unwrap_or(default)
    };
    let (events, full_snapshot_events) = (
        events("eventsThreshold", 1_000_000),
        events("triggerFullSnapshotThreshold", 3_000_000),
    );
    let read = Compaction {
        workers: section.workers("concurrentSyncs", 3, notes),
        events,
        full_snapshot_events,
        deadline: section.duration("activeDeadlineDuration", seconds(3 * 3600), notes),
        metrics_wait: section.any_duration("metricsScrapeWaitDuration", seconds(0), notes),
    };
    section.end(notes);
    enabled.then_some(read)
}

fn protection(root: &mut Section, notes: &mut Notes) -> Option<Protection> {
    let mut webhooks = root.section("webhooks", notes);
    let mut section = webhooks.section("etcdComponentProtection", notes);
    let enabled = section.flag("enabled", notes);
    let fields = [
        section.path("serviceAccountInfo"),
        section.path("reconcilerServiceAccountFQDN"),
    ];
    let by_parts = account_by_parts(&mut section, notes);
    let by_name = account_by_name(&mut section, notes);
    let exempt = section.texts("exemptServiceAccounts", notes);
    let path = section.path("enabled");
    section.end(notes);
    webhooks.end(notes);
    match (enabled, by_parts, by_name) {
        (false, _, _) | (true, Given::Wrong, _) | (true, _, Given::Wrong) => None,
        (true, Given::Account(operator), Given::Nothing)
        | (true, Given::Nothing, Given::Account(operator)) => Some(Protection {
            operator,
            exempt: exempt.into_iter().collect(),
        }),
        (true, Given::Nothing, Given::Nothing) | (true, Given::Account(_), Given::Account(_)) => {
            notes.wrong(path, Wrong::OneOf { fields });
            None
        }
    }
}

/// A service account in the file.
enum Given {
    Nothing,
    Account(ServiceAccount),
    /// Noted.
    Wrong,
}

fn account_by_parts(section: &mut Section, notes: &mut Notes) -> Given {
    let given = section.has("serviceAccountInfo");
    let mut info = section.section("serviceAccountInfo", notes);
    let mut part = |field, wanted| {
        let text = info.text(field, notes);
        if given && text.is_none() {
            notes.wrong(info.path(field), Wrong::Missing { wanted });
        }
        text
    };
    let name = part("name", "the name of the operator's service account");
    let namespace = part("namespace", "the namespace of the operator");
    info.end(notes);
    match (given, namespace, name) {
        (false, _, _) => Given::Nothing,
        (true, Some(namespace), Some(name)) => Given::Account(ServiceAccount { namespace, name }),
        (true, None, _) | (true, _, None) => Given::Wrong,
    }
}

fn account_by_name(section: &mut Section, notes: &mut Notes) -> Given {
    let field = section.path("reconcilerServiceAccountFQDN");
    let Some(found) = section.text("reconcilerServiceAccountFQDN", notes) else {
        return Given::Nothing;
    };
    let Some(account) = ServiceAccount::read(&found) else {
        notes.wrong(field, Wrong::Account { found });
        return Given::Wrong;
    };
    let instead = section.path("serviceAccountInfo");
    notes
        .warnings
        .push(ConfigWarning::Deprecated { field, instead });
    Given::Account(account)
}

fn gates(root: &mut Section, notes: &mut Notes) -> Gates {
    let set = root.switches("featureGates", notes);
    Gates::new(&set).unwrap_or_else(|errors| {
        for error in errors {
            notes.wrong("featureGates", error);
        }
        Gates::default()
    })
}

fn logging(root: &mut Section, notes: &mut Notes) -> Logging {
    root.rename("logConfiguration", "logging", notes);
    let mut logging = root.section("logging", notes);
    let levels = [
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("error", LogLevel::Error),
    ];
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let read = Logging {
        level: logging.word("logLevel", &levels, LogLevel::Info, notes),
        format: logging.word("logFormat", &formats, LogFormat::Json, notes),
    };
    logging.end(notes);
    read
}
