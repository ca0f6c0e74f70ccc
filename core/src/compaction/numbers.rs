//! The numbers for `/metrics`, under etcd-druid's names. Of what is counted for a namespace there, Jobs
//! that run are added up, and the events of each Etcd are told apart: one Etcd's would hide another's.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::outcome::{Conclusion, Failure, Outcome};
use crate::exposition::{Histogram, escaped, head, text};

const JOBS: &str = "etcddruid_compaction_jobs_total";
const FULL: &str = "etcddruid_compaction_full_snapshot_triggered_total";
const CURRENT: &str = "etcddruid_compaction_jobs_current";
const DURATION: &str = "etcddruid_compaction_job_duration_seconds";
const EVENTS: &str = "etcddruid_compaction_num_delta_events";
/// Seconds.
const BUCKETS: [f64; 6] = [60.0, 300.0, 600.0, 900.0, 1200.0, 1800.0];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OfJob {
    succeeded: bool,
    failure: &'static str,
    namespace: String,
}

impl fmt::Display for OfJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "succeeded=\"{}\",failureReason=\"{}\",etcd_namespace=\"{}\"",
            self.succeeded,
            self.failure,
            escaped(&self.namespace)
        )
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfEtcd {
    runs: bool,
    events: Option<u64>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    jobs: BTreeMap<OfJob, u64>,
    took: BTreeMap<OfJob, Histogram>,
    /// By success and namespace.
    full: BTreeMap<(bool, String), u64>,
    /// By namespace and name.
    etcds: BTreeMap<(String, String), OfEtcd>,
}

impl Numbers {
    /// This is so of an Etcd now. `events`: nothing if they are not known.
    pub fn tell(&mut self, namespace: &str, etcd: &str, runs: bool, events: Option<u64>) {
        let key = (namespace.to_owned(), etcd.to_owned());
        self.etcds.insert(key, OfEtcd { runs, events });
    }

    /// There is no such Etcd any more, or it has no backups.
    pub fn forget(&mut self, namespace: &str, etcd: &str) {
        let key = (namespace.to_owned(), etcd.to_owned());
        self.etcds.remove(&key);
    }

    /// This came of it.
    pub fn concluded(&mut self, namespace: &str, conclusion: &Conclusion) {
        match conclusion {
            Conclusion::Job(outcome) => self.ended(namespace, outcome),
            Conclusion::NotMade(_) => {}
            Conclusion::FullSnapshot(result) => {
                let key = (result.is_ok(), namespace.to_owned());
                *self.full.entry(key).or_default() += 1;
            }
        }
    }

    fn ended(&mut self, namespace: &str, outcome: &Outcome) {
        let of = OfJob {
            succeeded: outcome.failure.is_none(),
            failure: outcome.failure.map_or("none", Failure::label),
            namespace: namespace.to_owned(),
        };
        if let Some(took) = outcome.took {
            let fresh = || Histogram::over(&BUCKETS);
            self.took
                .entry(of.clone())
                .or_insert_with(fresh)
                .observe(took);
        }
        *self.jobs.entry(of).or_default() += 1;
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        text(|it| self.write(it))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut last = "";
        for (of, count) in &self.jobs {
            let help = "Compaction Jobs that have ended.";
            head(text, &mut last, JOBS, help, "counter")?;
            writeln!(text, "{JOBS}{{{of}}} {count}")?;
        }
        for ((succeeded, namespace), count) in &self.full {
            let help = "Full snapshots that were asked for instead of a compaction.";
            head(text, &mut last, FULL, help, "counter")?;
            let namespace = escaped(namespace);
            writeln!(
                text,
                "{FULL}{{succeeded=\"{succeeded}\",etcd_namespace=\"{namespace}\"}} {count}"
            )?;
        }
        let mut current: BTreeMap<&str, u64> = BTreeMap::new();
        for ((namespace, _), etcd) in &self.etcds {
            *current.entry(namespace).or_default() += u64::from(etcd.runs);
        }
        for (namespace, count) in current {
            let help = "Compaction Jobs that run.";
            head(text, &mut last, CURRENT, help, "gauge")?;
            let namespace = escaped(namespace);
            writeln!(text, "{CURRENT}{{etcd_namespace=\"{namespace}\"}} {count}")?;
        }
        for (of, histogram) in &self.took {
            let help = "Time from the start of a compaction Job to its end.";
            head(text, &mut last, DURATION, help, "histogram")?;
            histogram.write(text, DURATION, &of.to_string())?;
        }
        for ((namespace, etcd), of) in &self.etcds {
            let help = "Events of an Etcd since its last full snapshot.";
            let Some(events) = of.events else { continue };
            head(text, &mut last, EVENTS, help, "gauge")?;
            let (namespace, etcd) = (escaped(namespace), escaped(etcd));
            writeln!(
                text,
                "{EVENTS}{{etcd_namespace=\"{namespace}\",etcd=\"{etcd}\"}} {events}"
            )?;
        }
        Ok(())
    }
}
