//! The text that Prometheus reads (format 0.0.4).
//!
//! The format is small and the names are given: those of several counters of etcd-backup-restore and
//! etcd-druid do not end in `_total`, as the newer `OpenMetrics` format demands, so this is written here.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// Upper bounds of the buckets of durations, seconds; a full snapshot of a large database takes
/// minutes.
const BUCKETS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0,
];

/// The text that something writes.
pub(crate) fn text(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text);
    text
}

/// What goes before the first line of a name.
pub(crate) fn head<'a>(
    text: &mut String,
    last: &mut &'a str,
    name: &'a str,
    help: &str,
    kind: &str,
) -> fmt::Result {
    if *last != name {
        *last = name;
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
    }
    Ok(())
}

/// A label's value, as it stands between quotes.
pub(crate) fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// How often something took how long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    /// Upper bounds of the buckets, seconds.
    bounds: &'static [f64],
    /// How many were in each bucket; not cumulated. The last has the rest.
    counts: Vec<u64>,
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::over(&BUCKETS)
    }
}

impl Histogram {
    /// With buckets of one's own.
    pub(crate) fn over(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    pub(crate) fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        let last = self.counts.len() - 1;
        if let Some(count) = self.counts.get_mut(bucket.unwrap_or(last)) {
            *count += 1;
        }
        self.sum += seconds;
    }

    pub(crate) fn write(&self, text: &mut String, name: &str, labels: &str) -> fmt::Result {
        let mut total = 0;
        let bounds = self
            .bounds
            .iter()
            .map(ToString::to_string)
            .chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&self.counts) {
            total += count;
            writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}")?;
        }
        writeln!(text, "{name}_sum{{{labels}}} {}", self.sum)?;
        writeln!(text, "{name}_count{{{labels}}} {total}")
    }
}
