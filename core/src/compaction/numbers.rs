//! The numbers for `/metrics`, under etcd-druid's names and with its labels. It tells the Etcds of a namespace
//! not apart, so that one hides another; here each has the label `etcd` besides.

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
    of: Named,
}

/// An Etcd: its namespace and its name. Prints as labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named(String, String);

impl Named {
    fn new(namespace: &str, etcd: &str) -> Self {
        Self(namespace.to_owned(), etcd.to_owned())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, etcd) = (escaped(&self.0), escaped(&self.1));
        write!(f, "etcd_namespace=\"{namespace}\",etcd=\"{etcd}\"")
    }
}

impl fmt::Display for OfJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "succeeded=\"{}\",failureReason=\"{}\",{}",
            self.succeeded, self.failure, self.of
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
    /// By success.
    full: BTreeMap<(bool, Named), u64>,
    etcds: BTreeMap<Named, OfEtcd>,
}

impl Numbers {
    /// This is so of an Etcd now. `events`: nothing if they are not known.
    pub fn tell(&mut self, namespace: &str, etcd: &str, runs: bool, events: Option<u64>) {
        let named = Named::new(namespace, etcd);
        self.etcds.insert(named, OfEtcd { runs, events });
    }

    /// There is no such Etcd any more, or it has no backups.
    pub fn forget(&mut self, namespace: &str, etcd: &str) {
        let named = Named::new(namespace, etcd);
        self.jobs.retain(|it, _| it.of != named);
        self.took.retain(|it, _| it.of != named);
        self.full.retain(|(_, it), _| *it != named);
        self.etcds.remove(&named);
    }

    /// This came of it.
    pub fn concluded(&mut self, namespace: &str, etcd: &str, conclusion: &Conclusion) {
        let named = Named::new(namespace, etcd);
        match conclusion {
            Conclusion::Job(outcome) => self.ended(named, outcome),
            Conclusion::NotMade(_) => {}
            Conclusion::FullSnapshot(result) => {
                *self.full.entry((result.is_ok(), named)).or_default() += 1;
            }
        }
    }

    fn ended(&mut self, named: Named, outcome: &Outcome) {
        let of = OfJob {
            succeeded: outcome.failure.is_none(),
            failure: outcome.failure.map_or("none", Failure::label),
            of: named,
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
        for ((succeeded, named), count) in &self.full {
            let help = "Full snapshots that were asked for instead of a compaction.";
            head(text, &mut last, FULL, help, "counter")?;
            writeln!(text, "{FULL}{{succeeded=\"{succeeded}\",{named}}} {count}")?;
        }
        for (named, etcd) in &self.etcds {
            let help = "Compaction Jobs that run.";
            head(text, &mut last, CURRENT, help, "gauge")?;
            let runs = u8::from(etcd.runs);
            writeln!(text, "{CURRENT}{{{named}}} {runs}")?;
        }
        for (of, histogram) in &self.took {
            let help = "Time from the start of a compaction Job to its end.";
            head(text, &mut last, DURATION, help, "histogram")?;
            histogram.write(text, DURATION, &of.to_string())?;
        }
        for (named, of) in &self.etcds {
            let help = "Events of an Etcd since its last full snapshot.";
            let Some(events) = of.events else { continue };
            head(text, &mut last, EVENTS, help, "gauge")?;
            writeln!(text, "{EVENTS}{{{named}}} {events}")?;
        }
        Ok(())
    }
}
