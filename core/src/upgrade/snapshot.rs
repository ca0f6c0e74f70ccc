//! Snapshot first: taken for this attempt, verified, and at least as new as the cluster was before
//! it was asked for. Three that fail halt the attempt.

use super::{Act, Halt, Phase, Round, SnapshotState, Step, Why};
use crate::observed::SnapshotWork;
use crate::version::Direction;

impl Round<'_> {
    /// There is a verified snapshot, or none is needed: going down keeps the newer data, and a
    /// member that stays on its release reads what it wrote.
    pub(super) fn snapshotted(&mut self) -> Option<Step> {
        let up = self.record.direction() == Direction::Upgrade
            && self.on_another_release().next().is_some();
        if !self.want.snapshot || !up {
            return None;
        }
        match &self.record.snapshot.state {
            SnapshotState::Missing => Some(self.ask_for_snapshot()),
            SnapshotState::Asked { floor, at } => {
                let (floor, at) = (*floor, *at);
                let overdue = self.now.duration_since(at) > self.want.limits.snapshot;
                self.follow_snapshot(floor, overdue)
            }
            SnapshotState::Verified { at, .. } => {
                let age = self.now.duration_since(*at);
                let stale = !self.record.touched && age > self.want.limits.snapshot_age;
                stale.then(|| self.ask_for_snapshot())
            }
        }
    }

    fn ask_for_snapshot(&mut self) -> Step {
        self.record.phase = Phase::Snapshot;
        self.record.snapshot.tries += 1;
        let floor = self.seen.etcd.revision();
        self.record.snapshot.state = SnapshotState::Asked {
            floor,
            at: self.now,
        };
        Step::Act(Act::TakeSnapshot(self.record.snapshot_name()))
    }

    /// Asks for the same one: it has not begun, so that it will have what there is by now.
    fn ask_again(&mut self, floor: i64) -> Step {
        let floor = floor.max(self.seen.etcd.revision());
        if let SnapshotState::Asked { floor: asked, .. } = &mut self.record.snapshot.state {
            *asked = floor;
        }
        Step::Act(Act::TakeSnapshot(self.record.snapshot_name()))
    }

    fn follow_snapshot(&mut self, floor: i64, overdue: bool) -> Option<Step> {
        let name = self.record.snapshot_name();
        if self.seen.snapshot_name != name {
            // Seen before it was asked for: what it says is about another one.
            return Some(self.ask_again(floor));
        }
        match &self.seen.snapshot {
            SnapshotWork::Verified {
                revision, sha256, ..
            } if *revision >= floor => {
                self.record.snapshot.state = SnapshotState::Verified {
                    revision: *revision,
                    sha256: sha256.clone(),
                    at: self.now,
                };
                None
            }
            SnapshotWork::Verified { revision, .. } => Some(self.snapshot_failed(format!(
                "it ends at revision {revision}, and the cluster was at {floor} before"
            ))),
            SnapshotWork::Failed(why) | SnapshotWork::Damaged(why) => {
                let why = why.clone();
                Some(self.snapshot_failed(why))
            }
            SnapshotWork::Rejected(why) => {
                self.record.snapshot.state = SnapshotState::Missing;
                let why = why.clone();
                Some(self.wait(Why::SnapshotRejected { name, why }))
            }
            SnapshotWork::Absent
            | SnapshotWork::Taking
            | SnapshotWork::Taken
            | SnapshotWork::Verifying
                if overdue =>
            {
                Some(self.snapshot_failed("it was not there in time".to_owned()))
            }
            SnapshotWork::Absent => Some(self.ask_again(floor)),
            SnapshotWork::Taken => Some(Step::Act(Act::VerifySnapshot(name))),
            SnapshotWork::Taking => Some(self.wait(Why::SnapshotTaking(name))),
            SnapshotWork::Verifying => Some(self.wait(Why::SnapshotVerifying(name))),
        }
    }

    fn snapshot_failed(&mut self, why: String) -> Step {
        self.record.snapshot.failures += 1;
        self.record.snapshot.state = SnapshotState::Missing;
        let failures = self.record.snapshot.failures;
        if failures >= self.want.limits.snapshot_failures {
            return self.halt(Halt::SnapshotFailed {
                failures,
                last: why,
            });
        }
        self.ask_for_snapshot()
    }
}
