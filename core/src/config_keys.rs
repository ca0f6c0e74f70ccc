//! Which keys a configuration file may have. etcd never reads its file strictly: what it does not
//! know, or no longer knows, it ignores without a word. So these tables do the reading.
//!
//! Source: `etcd --help` and the field names in the binaries of 3.4.34, 3.5.27 and 3.6.15. Flags
//! that a file cannot set (TLS, which is nested there, and a few others) are not in here.

use std::collections::{BTreeMap, BTreeSet};

use crate::refusal::Refusal;
use crate::version::{Minor, Version};

/// A configuration file: every scalar as text under its key, nested keys joined with a dot, lists
/// joined with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(pub BTreeMap<String, String>);

/// In every series.
const ALWAYS: &[&str] = &[
    "advertise-client-urls",
    "auth-token",
    "auth-token-ttl",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "backend-batch-interval",
    "backend-batch-limit",
    "bcrypt-cost",
    "cipher-suites",
    "client-transport-security.auto-tls",
    "client-transport-security.cert-file",
    "client-transport-security.client-cert-auth",
    "client-transport-security.key-file",
    "client-transport-security.trusted-ca-file",
    "cors",
    "data-dir",
    "discovery",
    "discovery-fallback",
    "discovery-proxy",
    "discovery-srv",
    "discovery-srv-name",
    "election-timeout",
    "enable-grpc-gateway",
    "enable-pprof",
    "experimental-compaction-batch-limit",
    "experimental-corrupt-check-time",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-initial-corrupt-check",
    "experimental-warning-apply-duration",
    "experimental-watch-progress-notify-interval",
    "force-new-cluster",
    "grpc-keepalive-interval",
    "grpc-keepalive-min-time",
    "grpc-keepalive-timeout",
    "heartbeat-interval",
    "host-whitelist",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-election-tick-advance",
    "listen-client-http-urls",
    "listen-client-urls",
    "listen-metrics-urls",
    "listen-peer-urls",
    "log-level",
    "log-outputs",
    "logger",
    "max-concurrent-streams",
    "max-request-bytes",
    "max-snapshots",
    "max-txn-ops",
    "max-wals",
    "metrics",
    "name",
    "peer-transport-security.auto-tls",
    "peer-transport-security.cert-file",
    "peer-transport-security.client-cert-auth",
    "peer-transport-security.key-file",
    "peer-transport-security.trusted-ca-file",
    "pre-vote",
    "quota-backend-bytes",
    "snapshot-count",
    "strict-reconfig-check",
    "tls-max-version",
    "tls-min-version",
    "unsafe-no-fsync",
    "wal-dir",
];

/// In 3.4 and 3.5.
const UNTIL_3_5: &[&str] = &[
    "enable-v2",
    "experimental-enable-v2v3",
    "proxy",
    "proxy-dial-timeout",
    "proxy-failure-wait",
    "proxy-read-timeout",
    "proxy-refresh-interval",
    "proxy-write-timeout",
];

/// In 3.4 alone.
const ONLY_3_4: &[&str] = &[
    "debug",
    FREELIST_3_4,
    "log-output",
    "log-package-levels",
    COMPATIBLE,
];

/// In 3.5 and 3.6.
const SINCE_3_5: &[&str] = &[
    FREELIST_3_5,
    "client-transport-security.allowed-cn",
    "client-transport-security.allowed-hostname",
    "client-transport-security.client-cert-file",
    "client-transport-security.client-key-file",
    "enable-log-rotation",
    "experimental-bootstrap-defrag-threshold-megabytes",
    "experimental-compact-hash-check-enabled",
    "experimental-compact-hash-check-time",
    "experimental-compaction-sleep-interval",
    "experimental-distributed-tracing-address",
    "experimental-distributed-tracing-instance-id",
    "experimental-distributed-tracing-sampling-rate",
    "experimental-distributed-tracing-service-name",
    "experimental-downgrade-check-time",
    "experimental-enable-distributed-tracing",
    "experimental-memory-mlock",
    "experimental-snapshot-catch-up-entries",
    "experimental-stop-grpc-service-on-defrag",
    "experimental-txn-mode-write-with-shared-buffer",
    "log-rotation-config-json",
    "peer-transport-security.allowed-cn",
    "peer-transport-security.allowed-hostname",
    "peer-transport-security.client-cert-file",
    "peer-transport-security.client-key-file",
    "self-signed-cert-validity",
    "socket-options.reuse-address",
    "socket-options.reuse-port",
    "v2-deprecation",
];

/// In 3.6 alone.
const SINCE_3_6: &[&str] = &[
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "experimental-warning-unary-request-duration",
    "feature-gates",
    "log-format",
    "max-learners",
    "memory-mlock",
    "peer-transport-security.skip-client-san-verification",
    "snapshot-catchup-entries",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "watch-progress-notify-interval",
];

/// Lets a 3.4 member run in a cluster that has agreed on 3.5.
const COMPATIBLE: &str = "next-cluster-version-compatible";
/// How 3.4 spells the type of the freelist.
const FREELIST_3_4: &str = "experimental-backend-bbolt-freelist-type";
/// How 3.5 and later spell it.
const FREELIST_3_5: &str = "backend-bbolt-freelist-type";

const V3_4: Minor = Minor::new(3, 4);
const V3_5: Minor = Minor::new(3, 5);
const V3_6: Minor = Minor::new(3, 6);

/// The keys that a series reads; `None` if there is no table for it.
pub fn keys(series: Minor) -> Option<BTreeSet<&'static str>> {
    let parts: &[&[&str]] = match series {
        V3_4 => &[ALWAYS, UNTIL_3_5, ONLY_3_4],
        V3_5 => &[ALWAYS, UNTIL_3_5, SINCE_3_5],
        V3_6 => &[ALWAYS, SINCE_3_5, SINCE_3_6],
        _ => return None,
    };
    Some(parts.iter().flat_map(|part| part.iter().copied()).collect())
}

/// What a configuration file does on the way from one release to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why not.
    pub refusals: Vec<Refusal>,
    /// What could not be judged.
    pub unknowns: Vec<String>,
    /// What to know.
    pub warnings: Vec<String>,
}

/// Judges a configuration file that is to serve both releases, so that a restart at any time, in
/// either direction, is safe.
pub fn judge(config: &Config, from: Version, to: Version) -> Findings {
    let mut found = Findings::default();
    let (Some(before), Some(after)) = (keys(from.minor), keys(to.minor)) else {
        let no_table = format!(
            "no table of configuration keys for {} or {}",
            from.minor, to.minor
        );
        found.unknowns.push(no_table);
        return found;
    };
    for key in config.0.keys().map(String::as_str) {
        if bridges(key, config) {
            continue;
        }
        match (before.contains(key), after.contains(key)) {
            (true, true) => {}
            (false, false) => found.refusals.push(unknown(key, from, to)),
            (true, false) => found.refusals.push(gone(key, to)),
            (false, true) => found.warnings.push(format!(
                "configuration key `{key}`: etcd {} ignores it, so it stops working on the way back",
                from.minor
            )),
        }
    }
    found.refusals.extend(capnslog(config, to));
    found.refusals.extend(compatible(config, from, to));
    found.warnings.extend(freelist(config, from, to));
    found.warnings.extend(v2(config, to));
    found
}

/// Whether a key, where a release ignores it, is there for the sake of another.
fn bridges(key: &str, config: &Config) -> bool {
    match key {
        COMPATIBLE => true,
        FREELIST_3_4 => config.0.contains_key(FREELIST_3_5),
        FREELIST_3_5 => config.0.contains_key(FREELIST_3_4),
        _ => false,
    }
}

fn unknown(key: &str, from: Version, to: Version) -> Refusal {
    Refusal::ConfigKeyUnsupported {
        key: key.to_owned(),
        why: format!(
            "neither etcd {} nor {} knows it; both ignore it",
            from.minor, to.minor
        ),
        remedy: format!("correct the spelling of `{key}`, or remove it"),
    }
}

fn gone(key: &str, to: Version) -> Refusal {
    let remedy = match key {
        FREELIST_3_4 => format!("write `{FREELIST_3_5}` with the same value beside it"),
        FREELIST_3_5 => format!("write `{FREELIST_3_4}` with the same value beside it"),
        "debug" | "log-package-levels" => "write `log-level` instead".to_owned(),
        "log-output" => "write `log-outputs` instead".to_owned(),
        _ => format!("remove `{key}`"),
    };
    Refusal::ConfigKeyUnsupported {
        key: key.to_owned(),
        why: format!("etcd {} does not know it and ignores it", to.minor),
        remedy,
    }
}

fn capnslog(config: &Config, to: Version) -> Option<Refusal> {
    let refused = to.minor >= V3_5 && config.0.get("logger").is_some_and(|v| v == "capnslog");
    refused.then(|| Refusal::ConfigKeyUnsupported {
        key: "logger".to_owned(),
        why: format!("etcd {} does not start with `capnslog`", to.minor),
        remedy: "write `logger: zap`".to_owned(),
    })
}

fn compatible(config: &Config, from: Version, to: Version) -> Option<Refusal> {
    let crosses = [(V3_4, V3_5), (V3_5, V3_4)].contains(&(from.minor, to.minor));
    let set = config.0.get(COMPATIBLE).is_some_and(|v| v == "true");
    (crosses && !set).then(|| Refusal::ConfigKeyUnsupported {
        key: COMPATIBLE.to_owned(),
        why: "without it a 3.4 member does not start in a cluster that has agreed on 3.5: there \
              is no way back"
            .to_owned(),
        remedy: format!("write `{COMPATIBLE}: true` and keep it there; 3.5 ignores it in a file"),
    })
}

fn freelist(config: &Config, from: Version, to: Version) -> Option<String> {
    let crosses = (from.minor == V3_4) != (to.minor == V3_4);
    let pinned = config.0.contains_key(FREELIST_3_4) || config.0.contains_key(FREELIST_3_5);
    (crosses && !pinned).then(|| {
        format!(
            "the type of the freelist changes with the release (array in 3.4, map later) and with \
             it the size of the database file; pin it with `{FREELIST_3_4}: array` and \
             `{FREELIST_3_5}: array`"
        )
    })
}

fn v2(config: &Config, to: Version) -> Option<String> {
    let enabled = config.0.get("enable-v2").is_some_and(|v| v == "true");
    (enabled && to.minor < V3_6).then(|| {
        "`enable-v2` is on; data written through the v2 API keeps etcd 3.6 from starting later"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version::new(3, 4, 34);
    const NEW: Version = Version::new(3, 5, 27);
    const GOOD: &[(&str, &str)] = &[
        ("name", "m0"),
        ("logger", "zap"),
        (COMPATIBLE, "true"),
        (FREELIST_3_4, "array"),
        (FREELIST_3_5, "array"),
    ];

    fn with(change: &[(&str, &str)]) -> Config {
        let pairs = GOOD.iter().chain(change);
        Config(
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    fn without(keys: &[&str]) -> Config {
        let mut config = with(&[]);
        config.0.retain(|key, _| !keys.contains(&key.as_str()));
        config
    }

    fn refused(config: &Config, from: Version, to: Version) -> Vec<String> {
        let refusals = judge(config, from, to).refusals;
        assert!(
            refusals
                .iter()
                .all(|refusal| refusal.code() == "ConfigKeyUnsupported")
        );
        let messages = refusals.iter().map(ToString::to_string);
        messages
            .map(|text| text.split('`').nth(1).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_file_for_both_releases_passes_in_both_directions() {
        assert_eq!(judge(&with(&[]), OLD, NEW), Findings::default());
        assert_eq!(judge(&with(&[]), NEW, OLD), Findings::default());
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused() {
        let typo = with(&[("quota-backend-byte", "1")]);
        assert_eq!(refused(&typo, OLD, NEW), ["quota-backend-byte"]);
        assert_eq!(refused(&typo, NEW, NEW), ["quota-backend-byte"]);
        let flag_style = with(&[("peer-cert-file", "/x")]);
        assert_eq!(refused(&flag_style, OLD, NEW), ["peer-cert-file"]);
    }

    #[test]
    fn a_key_that_the_target_dropped_is_refused() {
        for key in ["debug", "log-output", "log-package-levels"] {
            assert_eq!(refused(&with(&[(key, "x")]), OLD, NEW), [key]);
        }
        assert_eq!(
            refused(&with(&[("socket-options.reuse-port", "true")]), NEW, OLD).len(),
            1
        );
    }

    #[test]
    fn a_key_that_only_the_target_knows_is_a_warning() {
        let found = judge(&with(&[("v2-deprecation", "not-yet")]), OLD, NEW);
        assert_eq!((found.refusals.len(), found.warnings.len()), (0, 1));
    }

    #[test]
    fn the_old_logger_is_refused_where_it_is_gone() {
        let old_logger = with(&[("logger", "capnslog")]);
        assert_eq!(refused(&old_logger, OLD, NEW), ["logger"]);
        assert!(refused(&old_logger, OLD, Version::new(3, 4, 45)).is_empty());
    }

    #[test]
    fn the_way_back_has_to_be_configured() {
        for config in [without(&[COMPATIBLE]), with(&[(COMPATIBLE, "false")])] {
            assert_eq!(refused(&config, OLD, NEW), [COMPATIBLE]);
            assert_eq!(refused(&config, NEW, OLD), [COMPATIBLE]);
        }
        let alone = without(&[COMPATIBLE, FREELIST_3_4]);
        assert!(refused(&alone, NEW, Version::new(3, 5, 34)).is_empty());
    }

    #[test]
    fn half_a_pin_is_refused_and_none_is_a_warning() {
        assert_eq!(refused(&without(&[FREELIST_3_5]), OLD, NEW), [FREELIST_3_4]);
        assert_eq!(refused(&without(&[FREELIST_3_4]), NEW, OLD), [FREELIST_3_5]);
        let unpinned = without(&[FREELIST_3_4, FREELIST_3_5]);
        let across = judge(&unpinned, OLD, NEW);
        assert_eq!((across.refusals.len(), across.warnings.len()), (0, 1));
        let within = judge(&unpinned, NEW, Version::new(3, 5, 34));
        assert_eq!(within, Findings::default());
    }

    #[test]
    fn v2_data_is_a_warning_until_its_key_is_gone() {
        let on = with(&[("enable-v2", "true")]);
        assert_eq!(judge(&on, OLD, NEW).warnings.len(), 1);
        let off = with(&[("enable-v2", "false")]);
        assert!(judge(&off, OLD, NEW).warnings.is_empty());
        let last = judge(&on, NEW, Version::new(3, 6, 15));
        assert_eq!((last.refusals.len(), last.warnings.len()), (1, 0));
    }

    #[test]
    fn a_series_without_a_table_is_unknown() {
        let found = judge(&with(&[]), NEW, Version::new(3, 7, 0));
        assert_eq!((found.refusals.len(), found.unknowns.len()), (0, 1));
    }

    #[test]
    fn no_key_is_in_two_tables() {
        let tables = [ALWAYS, UNTIL_3_5, ONLY_3_4, SINCE_3_5, SINCE_3_6];
        let all: Vec<_> = tables.concat();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
    }
}
