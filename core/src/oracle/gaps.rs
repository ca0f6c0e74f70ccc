//! How long writing stood still.
//!
//! A *gap* is a time in which no write of any client was acknowledged: from one acknowledgement to
//! the next, whoever they belong to. A *stall* is the same for one client alone: after a change of
//! leader a client whose write was dropped waits for its own timeout while the others go on. The
//! edges of the window count as acknowledgements, so that writing that stops for good shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ledger::Acknowledged;

const MS: u64 = 1_000_000;

/// A gap longer than this is counted.
pub const LONG_GAP_MS: u64 = 100;

/// The width of a [`Bucket`].
pub const BUCKET_MS: u64 = 100;

/// A stretch of time, nanoseconds; its end is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Window {
    /// When it begins.
    pub from: u64,
    /// When it ends.
    pub to: u64,
}

/// How long writing stood still within a window. Milliseconds are rounded up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    /// Writes acknowledged within it.
    pub acknowledged: u64,
    /// The longest gap.
    pub longest_gap_ms: u64,
    /// When it began, since the load's origin.
    pub longest_gap_at_ms: u64,
    /// How many gaps were longer than [`LONG_GAP_MS`].
    pub gaps_over_100ms: u64,
    /// The sum of those.
    pub gaps_over_100ms_total_ms: u64,
    /// The longest stall of a client.
    pub longest_stall_ms: u64,
    /// How long the writes took that were acknowledged.
    pub latency: Latency,
}

/// Times from sending a write to its acknowledgement, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half took no longer.
    pub p50_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// None took longer.
    pub max_us: u64,
}

/// What happened in a tenth of a second, for a chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// When it begins, since the load's origin.
    pub at_ms: u64,
    /// Writes acknowledged.
    pub acknowledged: u32,
    /// The longest time that one of them took; 0 if there was none.
    pub max_latency_us: u64,
}

/// Measures `writes`, in any order, within `window`. Stalls are measured for the clients numbered
/// below `clients`, those that do nothing but write.
pub fn measure(writes: &[Acknowledged], clients: u16, window: Window) -> Gaps {
    let mut within: Vec<&Acknowledged> = writes
        .iter()
        .filter(|write| (window.from..window.to).contains(&write.ack))
        .collect();
    within.sort_unstable_by_key(|write| write.ack);
    let mut gaps = Gaps {
        acknowledged: within.len() as u64,
        latency: latency(&within),
        ..Gaps::default()
    };
    let times: Vec<u64> = within.iter().map(|write| write.ack).collect();
    let mut longest = 0;
    for (from, to) in silences(&times, window) {
        let length = to - from;
        if length > longest {
            longest = length;
            gaps.longest_gap_at_ms = from / MS;
        }
        if length > LONG_GAP_MS * MS {
            gaps.gaps_over_100ms += 1;
            gaps.gaps_over_100ms_total_ms += length.div_ceil(MS);
        }
    }
    gaps.longest_gap_ms = longest.div_ceil(MS);
    let mut by_client: BTreeMap<u16, Vec<u64>> =
        (0..clients).map(|client| (client, Vec::new())).collect();
    for write in within {
        if let Some(times) = by_client.get_mut(&write.writer) {
            times.push(write.ack);
        }
    }
    let stalls = by_client
        .values()
        .flat_map(|times| silences(times, window))
        .map(|(from, to)| to - from);
    gaps.longest_stall_ms = stalls.max().unwrap_or(0).div_ceil(MS);
    gaps
}

/// One bucket after the other, from the origin to `until`.
pub fn series(writes: &[Acknowledged], until: u64) -> Vec<Bucket> {
    let width = BUCKET_MS * MS;
    let mut buckets: Vec<Bucket> = (0..until.div_ceil(width))
        .map(|at| Bucket {
            at_ms: at * BUCKET_MS,
            ..Bucket::default()
        })
        .collect();
    for write in writes {
        let at = usize::try_from(write.ack / width).unwrap_or(usize::MAX);
        if let Some(bucket) = buckets.get_mut(at) {
            let took = write.ack.saturating_sub(write.call) / 1_000;
            bucket.acknowledged += 1;
            bucket.max_latency_us = bucket.max_latency_us.max(took);
        }
    }
    buckets
}

/// The stretches between sorted `times` within the window, and between them and its edges.
fn silences(times: &[u64], window: Window) -> Vec<(u64, u64)> {
    let ends = times.iter().copied().chain([window.to.max(window.from)]);
    let mut from = window.from;
    ends.map(|to| (std::mem::replace(&mut from, to), to))
        .collect()
}

fn latency(writes: &[&Acknowledged]) -> Latency {
    let mut took: Vec<u64> = writes
        .iter()
        .map(|write| write.ack.saturating_sub(write.call) / 1_000)
        .collect();
    took.sort_unstable();
    let rank = |percent: usize| {
        let at = (took.len() * percent).div_ceil(100).saturating_sub(1);
        took.get(at).copied().unwrap_or(0)
    };
    Latency {
        p50_us: rank(50),
        p99_us: rank(99),
        max_us: rank(100),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Key, Tag};
    use super::*;

    fn acknowledged(writer: u16, call_ms: u64, ack_ms: u64) -> Acknowledged {
        let tag = Tag { writer, seq: 1 };
        Acknowledged {
            writer,
            key: Key::Unique(tag),
            change: Change::Put(tag),
            revision: 1,
            call: call_ms * MS,
            ack: ack_ms * MS,
        }
    }

    fn window(from_ms: u64, to_ms: u64) -> Window {
        Window {
            from: from_ms * MS,
            to: to_ms * MS,
        }
    }

    #[test]
    fn a_gap_is_everybodys_silence_and_a_stall_is_one_writers() {
        let mut writes: Vec<_> = (0..100)
            .map(|at| acknowledged(0, at * 10, at * 10 + 5))
            .collect();
        writes.extend([acknowledged(1, 0, 5), acknowledged(1, 10, 900)]);
        let gaps = measure(&writes, 2, window(0, 1_000));
        assert_eq!(gaps.acknowledged, 102);
        assert_eq!((gaps.longest_gap_ms, gaps.gaps_over_100ms), (10, 0));
        assert_eq!(gaps.longest_stall_ms, 895);
        assert_eq!(gaps.latency.p50_us, 5_000);
        assert_eq!(gaps.latency.max_us, 890_000);
        // Writer 1 is not one of those that only write: its silence is no stall.
        assert_eq!(measure(&writes, 1, window(0, 1_000)).longest_stall_ms, 10);
        // One that never gets through stalls all along.
        assert_eq!(
            measure(&writes, 3, window(0, 1_000)).longest_stall_ms,
            1_000
        );
    }

    #[test]
    fn the_edges_of_the_window_count_and_what_is_outside_does_not() {
        let writes = [
            acknowledged(0, 90, 95),
            acknowledged(0, 250, 260),
            acknowledged(0, 300, 310),
            acknowledged(0, 700, 710),
        ];
        let gaps = measure(&writes, 1, window(100, 600));
        assert_eq!(gaps.acknowledged, 2);
        assert_eq!((gaps.longest_gap_ms, gaps.longest_gap_at_ms), (290, 310));
        assert_eq!(gaps.gaps_over_100ms, 2);
        assert_eq!(gaps.gaps_over_100ms_total_ms, 160 + 290);
        assert_eq!(measure(&[], 1, window(0, 50)).longest_gap_ms, 50);
        let exactly = [acknowledged(0, 0, 100)];
        assert_eq!(measure(&exactly, 1, window(0, 200)).gaps_over_100ms, 0);
    }

    #[test]
    fn a_chart_has_a_bucket_for_every_tenth_of_a_second() {
        let writes = [
            acknowledged(0, 0, 10),
            acknowledged(0, 20, 99),
            acknowledged(0, 100, 250),
        ];
        let chart = series(&writes, 301 * MS);
        let shown: Vec<_> = chart
            .iter()
            .map(|b| (b.at_ms, b.acknowledged, b.max_latency_us))
            .collect();
        assert_eq!(
            shown,
            [(0, 2, 79_000), (100, 0, 0), (200, 1, 150_000), (300, 0, 0)]
        );
    }
}
