//! The numbers of `/metrics`, shared by whoever counts.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use druid_core::agent::metrics::{Counter, Metrics, Process};
use jiff::Timestamp;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    metrics: Arc<Mutex<Metrics>>,
    started: Timestamp,
}

/// What Linux counts CPU time in, whatever the machine: `USER_HZ`.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE: u64 = 4096;

impl Numbers {
    /// `endpoints`: the members'.
    pub(crate) fn new<'a>(endpoints: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            metrics: Arc::new(Mutex::new(Metrics::new(endpoints))),
            started: crate::clock::now(),
        }
    }

    /// Counts.
    pub(crate) fn with(&self, count: impl FnOnce(&mut Metrics)) {
        count(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The text of now.
    pub(crate) fn text(&self) -> String {
        let network = network(&fs::read_to_string("/proc/self/net/dev").unwrap_or_default());
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.stands_at(Counter::Received, network.0);
        metrics.stands_at(Counter::Transmitted, network.1);
        metrics.text(self.process())
    }

    fn process(&self) -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = memory.split(' ').nth(1).and_then(|text| text.parse().ok());
        Process {
            cpu_seconds: cpu_ticks(&stat) / TICKS_PER_SECOND,
            resident_bytes: pages.unwrap_or(0_u64) * PAGE,
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            started: self.started.as_duration().as_secs_f64(),
        }
    }
}

/// User and system time of `/proc/PID/stat`. The name of the program comes before, and may contain
/// anything.
fn cpu_ticks(stat: &str) -> f64 {
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let field = |index: usize| -> f64 {
        let text = after.split(' ').nth(index);
        text.and_then(|text| text.parse().ok()).unwrap_or(0.0)
    };
    field(11) + field(12)
}

/// Bytes received and sent by all interfaces but the loopback.
fn network(dev: &str) -> (u64, u64) {
    let mut total = (0_u64, 0_u64);
    for line in dev.lines() {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .filter_map(|text| text.parse().ok())
            .collect();
        if let (Some(received), Some(sent)) = (numbers.first(), numbers.get(8)) {
            total = (total.0 + received, total.1 + sent);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_tables_are_read() {
        let dev = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    \
            lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 200 3 0 0 0 0 0 0\n";
        assert_eq!(network(dev), (100, 200));
        let stat = "7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 150 50 0 0 20 0 3 0 1 2 3";
        assert!((cpu_ticks(stat) - 200.0).abs() < f64::EPSILON);
        assert!(cpu_ticks("").abs() < f64::EPSILON);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let process = Numbers::new([]).process();
        assert!(process.resident_bytes > 1 << 20 && process.open_files > 0);
    }
}
