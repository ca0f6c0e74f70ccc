//! What the snapshotter does, as numbers of `/metrics`.

use std::time::Duration;

use druid_core::agent::metrics::{Counter, Failure, Gauge, Kind, Metrics, Work};
use druid_core::backup::listing::Object;
use druid_core::backup::names;
use druid_core::backup::snapshotter::{Health, State};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::metrics::Numbers;
use crate::backup::collect::{Counted, Round};
use crate::backup::snapshots::Notice;

/// Counts until the snapshotter ends.
pub(crate) async fn count(
    numbers: Numbers,
    mut notices: broadcast::Receiver<Notice>,
    mut state: watch::Receiver<State>,
) {
    let mut tail = Tail::default();
    let mut diverged = false;
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => numbers.with(|it| tail.note(it, notice)),
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "not everything was counted");
                }
                Err(RecvError::Closed) => return,
            },
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = state.borrow_and_update().clone();
                numbers.with(|it| required(it, &now));
                let is = matches!(now.health, Health::Diverged(_));
                if is && !diverged {
                    numbers.with(|it| it.add(Counter::Failed(Failure::History), 1));
                }
                diverged = is;
            }
        }
    }
}

/// What follows the newest full snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tail {
    deltas: u64,
    revisions: i64,
}

impl Tail {
    fn note(&mut self, metrics: &mut Metrics, notice: Notice) {
        match notice {
            Notice::Surveyed { full, deltas } => {
                *self = Self::default();
                if let Some(full) = full {
                    newest(metrics, Kind::Full, &full);
                }
                for delta in &deltas {
                    self.add(delta);
                    newest(metrics, Kind::Incr, delta);
                }
            }
            Notice::SpoolLost => metrics.add(Counter::Failed(Failure::Disk), 1),
            Notice::Full { outcome, took } => {
                // One that was not needed took no time.
                let taken = outcome.as_ref().map(Option::as_ref);
                if let Ok(Some(full)) = taken {
                    *self = Self::default();
                    newest(metrics, Kind::Full, full);
                }
                if !matches!(taken, Ok(None)) {
                    over(metrics, Kind::Full, outcome.as_ref().err().copied(), took);
                }
            }
            Notice::Delta { outcome, took } => {
                if let Ok(delta) = &outcome {
                    self.add(delta);
                    newest(metrics, Kind::Incr, delta);
                }
                over(metrics, Kind::Incr, outcome.err(), took);
            }
            Notice::Collected(round) => collected(metrics, round.as_ref().ok()),
        }
        metrics.set(Gauge::Deltas, number(self.deltas));
        metrics.set(Gauge::DeltaRevisions, number(self.revisions.unsigned_abs()));
    }

    fn add(&mut self, delta: &Object) {
        let name = &delta.key.name;
        let names::Kind::Delta { start } = name.kind() else {
            return;
        };
        self.deltas += 1;
        self.revisions += name.last().get() - start.get() + 1;
    }
}

fn over(metrics: &mut Metrics, kind: Kind, failure: Option<Failure>, took: Duration) {
    metrics.took(Work::Snapshot(kind), failure.is_none(), took);
    if let Some(failure) = failure {
        metrics.add(Counter::Failed(failure), 1);
    }
}

fn newest(metrics: &mut Metrics, kind: Kind, object: &Object) {
    let name = &object.key.name;
    let last = name.last().get().unsigned_abs();
    metrics.set(Gauge::LatestRevision(kind), number(last));
    let created = name.created().time().as_duration().as_secs_f64();
    metrics.set(Gauge::LatestTimestamp(kind), created);
}

fn required(metrics: &mut Metrics, state: &State) {
    let full = state.active && (state.full_running || state.base.is_none());
    let delta = state.active && (state.spooled > 0 || state.waiting > 0);
    for (kind, wanted) in [(Kind::Full, full), (Kind::Incr, delta)] {
        let wanted = if wanted { 1.0 } else { 0.0 };
        metrics.set(Gauge::Required(kind), wanted);
    }
}

/// A round that found no listing deleted nothing.
fn collected(metrics: &mut Metrics, round: Option<&Round>) {
    let Some(round) = round else {
        metrics.add(Counter::Failed(Failure::Store), 1);
        return;
    };
    for (succeeded, counts) in [(true, &round.deleted), (false, &round.failed)] {
        for (counted, count) in counts {
            let kind = match counted {
                Counted::Full => Kind::Full,
                Counted::Delta => Kind::Incr,
                Counted::Part => Kind::Chunk,
            };
            metrics.add(Counter::Collected(kind, succeeded), *count);
        }
    }
}

/// As exact as the format is: whole up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers"
)]
fn number(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use druid_core::agent::metrics::Process;
    use druid_core::backup::names::{Key, Prefix};

    use super::*;

    fn object(name: &str) -> Object {
        let prefix = Prefix::parse("p").unwrap();
        Object {
            key: Key::parse(&prefix, &format!("p/v2/{name}")).unwrap(),
            bytes: Some(9),
        }
    }

    #[test]
    fn numbers_follow_what_is_in_the_store() {
        let (mut tail, mut metrics) = (Tail::default(), Metrics::default());
        let took = Duration::from_secs(1);
        tail.note(
            &mut metrics,
            Notice::Surveyed {
                full: Some(object("Full-00000000-00000101-10.gz")),
                deltas: vec![object("Incr-00000102-00000110-20.gz")],
            },
        );
        let outcome = Ok(object("Incr-00000111-00000120-30.gz"));
        tail.note(&mut metrics, Notice::Delta { outcome, took });
        let outcome = Err(Failure::Store);
        tail.note(&mut metrics, Notice::Delta { outcome, took });
        let text = metrics.text(Process::default());
        for line in [
            "etcdbr_snapshot_latest_revision{kind=\"Full\"} 101",
            "etcdbr_snapshot_latest_revision{kind=\"Incr\"} 120",
            "etcdbr_snapshot_latest_timestamp{kind=\"Incr\"} 30",
            "etcdbr_snapstore_latest_deltas_total 2",
            "etcdbr_snapstore_latest_deltas_revisions_total 19",
            "etcdbr_snapshotter_failure{error=\"store\"} 1",
            "etcdbr_snapshot_duration_seconds_count{kind=\"Incr\",succeeded=\"true\"} 1",
            "etcdbr_snapshot_duration_seconds_count{kind=\"Incr\",succeeded=\"false\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
        let outcome = Ok(Some(object("Full-00000000-00000120-40.gz")));
        tail.note(&mut metrics, Notice::Full { outcome, took });
        let text = metrics.text(Process::default());
        assert!(text.contains("etcdbr_snapstore_latest_deltas_total 0\n"));
        assert!(text.contains("etcdbr_snapshot_latest_timestamp{kind=\"Full\"} 40\n"));
    }

    #[test]
    fn what_was_deleted_is_counted_by_kind() {
        let mut metrics = Metrics::default();
        let round = Round {
            deleted: [(Counted::Full, 2), (Counted::Delta, 3)].into(),
            failed: [(Counted::Part, 1)].into(),
            ..Round::default()
        };
        Tail::default().note(&mut metrics, Notice::Collected(Ok(round)));
        let text = metrics.text(Process::default());
        for line in [
            "etcdbr_snapshot_gc_total{kind=\"Full\",succeeded=\"true\"} 2",
            "etcdbr_snapshot_gc_total{kind=\"Incr\",succeeded=\"true\"} 3",
            "etcdbr_snapshot_gc_total{kind=\"Chunk\",succeeded=\"false\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
    }
}
