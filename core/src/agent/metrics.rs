//! The numbers of `/metrics`, under etcd-backup-restore's names, as text that Prometheus reads
//! (format 0.0.4). Every combination of labels is there from the start, and labels have few values:
//! an error is told by its class, never by its text. Only how the backup stands is left out where that
//! is not known: no number would be true, and 0 would raise an alarm or hide one.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::exposition::{Histogram, escaped, head, text};

/// The kinds of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A full one.
    Full,
    /// A delta.
    Incr,
    /// A part of an upload.
    Chunk,
}

/// Why a snapshot failed, in classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// etcd did not give what it was asked for.
    Etcd,
    /// The store did not.
    Store,
    /// The local disk did not.
    Disk,
    /// The history does not fit what is in the store.
    History,
    /// It was cut short by our own end, or by losing the lead.
    Cancelled,
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restore {
    /// The only member, from the store.
    SingleNode,
    /// One of several, from the others.
    SingleMember,
}

/// Things that take time and can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Taking a snapshot.
    Snapshot(Kind),
    /// Looking at the data directory.
    Validation,
    /// Making a new one.
    Restoration(Restore),
    /// Adding this member as a learner.
    AddLearner,
    /// Removing a member.
    RemoveMember,
    /// Letting this member vote.
    Promote,
}

/// A single number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gauge {
    /// The last revision of the newest snapshot of a kind.
    LatestRevision(Kind),
    /// When it was taken, Unix seconds.
    LatestTimestamp(Kind),
    /// 1 while a snapshot of that kind is wanted.
    Required(Kind),
    /// How many deltas follow the newest full snapshot.
    Deltas,
    /// How many revisions are in them.
    DeltaRevisions,
    /// How many members the cluster has.
    ClusterSize,
    /// 1 while this member is a learner.
    IsLearner,
    /// Seconds since the newest state that is covered by the store. Left out where nobody knows.
    CoveredAge,
    /// 1 while that is within what was promised. Left out without a store.
    Healthy,
}

/// A number that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Objects that were deleted, or not.
    Collected(Kind, bool),
    /// Failed snapshots.
    Failed(Failure),
    /// How often this member was promoted, or not.
    Promoted(bool),
    /// Bytes that the pod's network sent.
    Transmitted,
    /// Bytes that it received.
    Received,
}

/// What the system says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system time, seconds.
    pub cpu_seconds: f64,
    /// Memory that is resident, bytes.
    pub resident_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// When it started, Unix seconds.
    pub started: f64,
}

/// All of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    gauges: BTreeMap<Gauge, f64>,
    counters: BTreeMap<Counter, u64>,
    work: BTreeMap<(Work, bool), Histogram>,
    /// By endpoint: there are as many as members.
    defragmentations: BTreeMap<(String, bool), Histogram>,
}

const KINDS: [Kind; 2] = [Kind::Full, Kind::Incr];
const ALL_KINDS: [Kind; 3] = [Kind::Full, Kind::Incr, Kind::Chunk];
const FAILURES: [Failure; 5] = [
    Failure::Etcd,
    Failure::Store,
    Failure::Disk,
    Failure::History,
    Failure::Cancelled,
];
const OUTCOMES: [bool; 2] = [false, true];

impl Default for Metrics {
    fn default() -> Self {
        let mut gauges = vec![
            Gauge::Deltas,
            Gauge::DeltaRevisions,
            Gauge::ClusterSize,
            Gauge::IsLearner,
        ];
        let mut counters = vec![Counter::Transmitted, Counter::Received];
        counters.extend(FAILURES.map(Counter::Failed));
        counters.extend(OUTCOMES.map(Counter::Promoted));
        let mut work = vec![
            Work::Validation,
            Work::Restoration(Restore::SingleNode),
            Work::Restoration(Restore::SingleMember),
            Work::AddLearner,
            Work::RemoveMember,
            Work::Promote,
        ];
        for kind in KINDS {
            gauges.extend([
                Gauge::LatestRevision(kind),
                Gauge::LatestTimestamp(kind),
                Gauge::Required(kind),
            ]);
            work.push(Work::Snapshot(kind));
        }
        for kind in ALL_KINDS {
            counters.extend(OUTCOMES.map(|succeeded| Counter::Collected(kind, succeeded)));
        }
        let both = |work: Work| OUTCOMES.map(|ok| ((work, ok), Histogram::default()));
        Self {
            gauges: gauges.into_iter().map(|gauge| (gauge, 0.0)).collect(),
            counters: counters.into_iter().map(|counter| (counter, 0)).collect(),
            work: work.into_iter().flat_map(both).collect(),
            defragmentations: BTreeMap::new(),
        }
    }
}

impl Metrics {
    /// Nothing yet. `endpoints`: those of the members, for what is counted by endpoint.
    pub fn new<'a>(endpoints: impl IntoIterator<Item = &'a str>) -> Self {
        let both = |endpoint: &str| {
            let endpoint = endpoint.to_owned();
            OUTCOMES.map(|ok| ((endpoint.clone(), ok), Histogram::default()))
        };
        Self {
            defragmentations: endpoints.into_iter().flat_map(both).collect(),
            ..Self::default()
        }
    }

    /// This number is so now.
    pub fn set(&mut self, gauge: Gauge, value: f64) {
        self.gauges.insert(gauge, value);
    }

    /// Nobody knows this number: it is left out.
    pub fn leave_out(&mut self, gauge: Gauge) {
        self.gauges.remove(&gauge);
    }

    /// So many more.
    pub fn add(&mut self, counter: Counter, more: u64) {
        let value = self.counters.entry(counter).or_default();
        *value = value.saturating_add(more);
    }

    /// It is counted elsewhere, and stands there.
    pub fn stands_at(&mut self, counter: Counter, value: u64) {
        self.counters.insert(counter, value);
    }

    /// Something was done, or failed, and took so long.
    pub fn took(&mut self, work: Work, succeeded: bool, time: Duration) {
        self.work
            .entry((work, succeeded))
            .or_default()
            .observe(time);
    }

    /// A member was defragmented.
    pub fn defragmented(&mut self, endpoint: &str, succeeded: bool, time: Duration) {
        let key = (endpoint.to_owned(), succeeded);
        self.defragmentations.entry(key).or_default().observe(time);
    }

    /// The text.
    pub fn text(&self, process: Process) -> String {
        text(|it| self.write(it, process))
    }

    fn write(&self, text: &mut String, process: Process) -> fmt::Result {
        let mut last = "";
        for (gauge, value) in &self.gauges {
            let (name, help, kind) = gauge.describe();
            head(text, &mut last, name, help, "gauge")?;
            writeln!(text, "{name}{} {value}", kind_label(kind))?;
        }
        for (counter, value) in &self.counters {
            let (name, help, labels) = counter.describe();
            head(text, &mut last, name, help, "counter")?;
            writeln!(text, "{name}{labels} {value}")?;
        }
        for ((work, succeeded), histogram) in &self.work {
            let (name, help, label) = work.describe();
            head(text, &mut last, name, help, "histogram")?;
            histogram.write(text, name, &format!("{label}succeeded=\"{succeeded}\""))?;
        }
        let name = "etcdbr_defragmentation_duration_seconds";
        for ((endpoint, succeeded), histogram) in &self.defragmentations {
            head(
                text,
                &mut last,
                name,
                "Time that a member's defragmentation took.",
                "histogram",
            )?;
            let endpoint = escaped(endpoint);
            let labels = format!("endpoint=\"{endpoint}\",succeeded=\"{succeeded}\"");
            histogram.write(text, name, &labels)?;
        }
        process.write(text)
    }
}

fn kind_label(kind: Option<Kind>) -> String {
    kind.map_or(String::new(), |kind| format!("{{kind=\"{kind}\"}}"))
}

impl Process {
    fn write(self, text: &mut String) -> fmt::Result {
        let mut one = |name: &str, help: &str, kind: &str, value: String| {
            writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            )
        };
        let cpu = self.cpu_seconds.to_string();
        one(
            "process_cpu_seconds_total",
            "User and system time.",
            "counter",
            cpu,
        )?;
        let bytes = self.resident_bytes.to_string();
        one(
            "process_resident_memory_bytes",
            "Resident memory.",
            "gauge",
            bytes,
        )?;
        one(
            "process_open_fds",
            "Open files.",
            "gauge",
            self.open_files.to_string(),
        )?;
        let started = self.started.to_string();
        one(
            "process_start_time_seconds",
            "When it started, Unix time.",
            "gauge",
            started,
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "Full",
            Self::Incr => "Incr",
            Self::Chunk => "Chunk",
        })
    }
}

impl Failure {
    fn word(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Store => "store",
            Self::Disk => "disk",
            Self::History => "history",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Gauge {
    fn describe(self) -> (&'static str, &'static str, Option<Kind>) {
        match self {
            Self::LatestRevision(kind) => (
                "etcdbr_snapshot_latest_revision",
                "Last revision of the newest snapshot.",
                Some(kind),
            ),
            Self::LatestTimestamp(kind) => (
                "etcdbr_snapshot_latest_timestamp",
                "When the newest snapshot was taken, Unix time.",
                Some(kind),
            ),
            Self::Required(kind) => (
                "etcdbr_snapshot_required",
                "1 while a snapshot is wanted.",
                Some(kind),
            ),
            Self::Deltas => (
                "etcdbr_snapstore_latest_deltas_total",
                "Deltas after the newest full snapshot.",
                None,
            ),
            Self::DeltaRevisions => (
                "etcdbr_snapstore_latest_deltas_revisions_total",
                "Revisions in the deltas after the newest full snapshot.",
                None,
            ),
            Self::ClusterSize => ("etcdbr_cluster_size", "Members of the cluster.", None),
            Self::IsLearner => (
                "etcdbr_is_learner",
                "1 while this member is a learner.",
                None,
            ),
            Self::CoveredAge => (
                "druid_backup_covered_age_seconds",
                "Age of the newest state that the store covers.",
                None,
            ),
            Self::Healthy => (
                "druid_backup_healthy",
                "1 while the store covers what the schedule promises.",
                None,
            ),
        }
    }
}

impl Counter {
    fn describe(self) -> (&'static str, &'static str, String) {
        match self {
            Self::Collected(kind, succeeded) => (
                "etcdbr_snapshot_gc_total",
                "Snapshots that garbage collection deleted.",
                format!("{{kind=\"{kind}\",succeeded=\"{succeeded}\"}}"),
            ),
            Self::Failed(failure) => (
                "etcdbr_snapshotter_failure",
                "Snapshots that failed.",
                format!("{{error=\"{}\"}}", failure.word()),
            ),
            Self::Promoted(succeeded) => (
                "etcdbr_is_learner_count_total",
                "Times that this member was a learner to be promoted.",
                format!("{{succeeded=\"{succeeded}\"}}"),
            ),
            Self::Transmitted => (
                "etcdbr_network_transmitted_bytes",
                "Bytes that the pod sent.",
                String::new(),
            ),
            Self::Received => (
                "etcdbr_network_received_bytes",
                "Bytes that the pod received.",
                String::new(),
            ),
        }
    }
}

impl Work {
    /// Name, help, and labels that end in a comma.
    fn describe(self) -> (&'static str, &'static str, String) {
        let bare = |name, help| (name, help, String::new());
        match self {
            Self::Snapshot(kind) => (
                "etcdbr_snapshot_duration_seconds",
                "Time that a snapshot took.",
                format!("kind=\"{kind}\","),
            ),
            Self::Validation => bare(
                "etcdbr_validation_duration_seconds",
                "Time that the check of the data directory took.",
            ),
            Self::Restoration(restore) => {
                let word = match restore {
                    Restore::SingleNode => "single_node",
                    Restore::SingleMember => "single_member",
                };
                (
                    "etcdbr_restoration_duration_seconds",
                    "Time that a restoration took.",
                    format!("restore=\"{word}\","),
                )
            }
            Self::AddLearner => bare(
                "etcdbr_add_learner_duration_seconds",
                "Time that adding this member as a learner took.",
            ),
            Self::RemoveMember => bare(
                "etcdbr_member_remove_duration_seconds",
                "Time that removing a member took.",
            ),
            Self::Promote => bare(
                "etcdbr_member_promote_duration_seconds",
                "Time that promoting this member took.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("metrics/golden.txt");

    #[test]
    fn the_text_is_the_golden_one() {
        let mut metrics = Metrics::new(["http://a:2379"]);
        metrics.set(Gauge::LatestRevision(Kind::Full), 12_345_678.0);
        metrics.add(Counter::Collected(Kind::Full, true), 2);
        metrics.add(Counter::Failed(Failure::Store), 1);
        metrics.stands_at(Counter::Received, 77);
        metrics.set(Gauge::CoveredAge, 12.5);
        metrics.set(Gauge::Healthy, 1.0);
        let full = Work::Snapshot(Kind::Full);
        metrics.took(full, true, Duration::from_millis(300));
        metrics.took(full, true, Duration::from_secs(10));
        metrics.took(full, true, Duration::from_hours(2));
        metrics.defragmented("http://a:2379", false, Duration::from_secs(1));
        let process = Process {
            cpu_seconds: 1.5,
            resident_bytes: 9_000_000,
            open_files: 12,
            started: 1_795_355_041.25,
        };
        let text = metrics.text(process);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/metrics/golden.txt");
            std::fs::write(path, &text).unwrap();
        }
        assert!(
            text == GOLDEN,
            "read the difference: UPDATE_GOLDEN=1\n{text}"
        );
    }

    #[test]
    fn every_series_is_there_from_the_start_and_none_twice() {
        let text = Metrics::new([]).text(Process::default());
        let mut series: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap().0)
            .collect();
        let count = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), count);
        let mut heads: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .collect();
        let count = heads.len();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), count, "a name has one block");
        for name in [
            "etcdbr_snapshotter_failure{error=\"store\"} 0",
            "etcdbr_snapshot_gc_total{kind=\"Chunk\",succeeded=\"false\"} 0",
            "etcdbr_restoration_duration_seconds_count{restore=\"single_member\",succeeded=\"true\"} 0",
            "etcdbr_network_transmitted_bytes 0",
        ] {
            assert!(text.contains(&format!("{name}\n")), "{name}");
        }
    }

    #[test]
    fn how_the_backup_stands_is_left_out_where_nobody_knows() {
        let mut metrics = Metrics::new([]);
        let told = |metrics: &Metrics| metrics.text(Process::default()).contains("druid_backup");
        assert!(!told(&metrics));
        metrics.set(Gauge::CoveredAge, 1.0);
        assert!(told(&metrics));
        metrics.leave_out(Gauge::CoveredAge);
        assert!(!told(&metrics));
    }

    #[test]
    fn what_a_label_may_not_contain_is_escaped() {
        let mut metrics = Metrics::default();
        metrics.defragmented("a\"b\\c\nd", true, Duration::ZERO);
        let text = metrics.text(Process::default());
        assert!(text.contains("endpoint=\"a\\\"b\\\\c\\nd\""));
    }
}
