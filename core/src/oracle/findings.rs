//! A load's record, and everything that can be said of it in one value.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Key;
use super::fill::FillFindings;
use super::gaps::{self, Bucket, Gaps, Window};
use super::ledger::{Contents, Held, Ledger, Loss};
use super::watch::{self, Watched, Watcher};
use crate::linearizability::{self, Operation, Verdict};
use crate::member::MemberName;

/// A linearizable read of a key that had been acknowledged before the read was sent, and did not
/// find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StaleRead {
    /// Whose read.
    pub client: u16,
    /// Of what.
    pub key: Key,
    /// The revision that the key was acknowledged with.
    pub revision: i64,
    /// What the read found.
    pub found: Option<Held>,
    /// When it was sent, nanoseconds.
    pub call: u64,
}

/// What a load did and saw up to some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The clients below this number do nothing but write.
    pub writers: u16,
    /// What was written. A write that was under way at that moment is doubtful.
    pub ledger: Ledger,
    /// Writes that certainly were not done.
    pub failed: u64,
    /// What was done to the registers.
    pub history: Vec<Operation>,
    /// Linearizable reads that were answered, of registers and others.
    pub reads: u64,
    /// Those of them that were wrong on their own; registers are judged by their history.
    pub stale: Vec<StaleRead>,
    /// What the watchers received.
    pub watchers: Vec<Watcher>,
    /// When the load began, nanoseconds.
    pub began: u64,
    /// When it was told to stop, or else that moment, nanoseconds.
    pub ended: u64,
}

/// A record and what to hold against it. The order in which it is gathered matters: first
/// `until` by a linearizable read, then every watcher reaches it, then the record is taken; the
/// contents are read at that very revision, at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What the load did.
    pub record: Record,
    /// The revision of the store to judge at.
    pub until: i64,
    /// What each member holds at that revision.
    pub contents: BTreeMap<MemberName, Contents>,
    /// The members that could not be asked, and why.
    pub unread: BTreeMap<MemberName, String>,
    /// The data that was there before the load, if it was looked at.
    pub fill: Option<FillFindings>,
}

/// What the writes came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// Acknowledged by etcd.
    pub acknowledged: u64,
    /// Acknowledged and gone: must be 0.
    pub lost: u64,
    /// Which those are, for each member that misses them.
    pub losses: Vec<Loss>,
    /// Keys that hold what nobody wrote: must be none.
    pub unwritten: Vec<(Key, Held)>,
    /// Without an answer: done or not.
    pub ambiguous: u64,
    /// Certainly not done.
    pub failed: u64,
    /// Over the whole run.
    #[serde(flatten)]
    pub gaps: Gaps,
}

/// What the reads came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reads {
    /// Answered.
    pub answered: u64,
    /// Wrong: must be none.
    pub stale: Vec<StaleRead>,
}

/// Everything that can be said of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Of the writes.
    pub writes: Writes,
    /// Of the reads.
    pub reads: Reads,
    /// Of the watchers.
    pub watch: Watched,
    /// Of the history of the registers.
    pub linearizable: Verdict,
    /// How many operations that history has.
    pub operations: usize,
    /// The members whose contents were compared.
    pub members_read: Vec<MemberName>,
    /// Those that could not be asked, and why.
    pub members_unread: BTreeMap<MemberName, String>,
    /// Of the data that was there before the load, if it was looked at.
    pub fill: Option<FillFindings>,
    /// Writes over time.
    pub series: Vec<Bucket>,
}

impl Record {
    /// How long writing stood still within a window, one roll for instance.
    pub fn gaps(&self, window: Window) -> Gaps {
        gaps::measure(&self.ledger.acknowledged, self.writers, window)
    }
}

impl Evidence {
    /// Says what can be said. `bound` is for [`linearizability::check`].
    pub fn judge(&self, bound: u64) -> Findings {
        let record = &self.record;
        let ledger = self.ledger();
        let (losses, unwritten) = self.kept(&ledger);
        let lost: BTreeSet<&Key> = losses.iter().map(|loss| &loss.key).collect();
        Findings {
            writes: Writes {
                acknowledged: record.ledger.acknowledged.len() as u64,
                lost: lost.len() as u64,
                losses,
                unwritten,
                ambiguous: record.ledger.doubtful.len() as u64,
                failed: record.failed,
                gaps: record.gaps(Window {
                    from: record.began,
                    to: record.ended,
                }),
            },
            reads: Reads {
                answered: record.reads,
                stale: record.stale.clone(),
            },
            watch: watch::judge(&self.watchers(), &ledger, &self.contents, self.until),
            linearizable: linearizability::check(&record.history, bound),
            operations: record.history.len(),
            members_read: self.contents.keys().cloned().collect(),
            members_unread: self.unread.clone(),
            fill: self.fill.clone(),
            series: gaps::series(&record.ledger.acknowledged, record.ended),
        }
    }

    fn kept(&self, ledger: &Ledger) -> (Vec<Loss>, Vec<(Key, Held)>) {
        let mut losses = Vec::new();
        let mut unwritten = BTreeMap::new();
        for (member, contents) in &self.contents {
            let kept = ledger.verify(member, contents);
            losses.extend(kept.lost);
            unwritten.extend(kept.unwritten);
        }
        (losses, unwritten.into_iter().collect())
    }

    /// What had happened by the revision that is judged at.
    fn ledger(&self) -> Ledger {
        let mut ledger = self.record.ledger.clone();
        ledger
            .acknowledged
            .retain(|write| write.revision <= self.until);
        ledger
    }

    fn watchers(&self) -> Vec<Watcher> {
        let mut watchers = self.record.watchers.clone();
        for watcher in &mut watchers {
            watcher.events.retain(|event| event.revision <= self.until);
        }
        watchers
    }
}

impl Findings {
    /// Everything that must not be, in words; empty if all is well.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = Vec::new();
        faults.extend(
            self.writes
                .losses
                .iter()
                .map(|loss| format!("lost: {loss}")),
        );
        for (key, Held { tag, revision }) in &self.writes.unwritten {
            faults.push(format!(
                "{key}: holds {tag} of revision {revision}, which nobody wrote"
            ));
        }
        for stale in &self.reads.stale {
            let found = stale
                .found
                .map_or("nothing".to_owned(), |held| held.tag.to_string());
            faults.push(format!(
                "stale read of {} by client {}: found {found}, acknowledged at revision {}",
                stale.key, stale.client, stale.revision
            ));
        }
        if self.members_read.is_empty() {
            faults.push("no member could be asked what it holds".to_owned());
        }
        if !self.watch.is_complete() {
            faults.push(format!(
                "watch: {} missing, {} duplicated, {} out of order, {} written by nobody",
                self.watch.missing,
                self.watch.duplicated,
                self.watch.out_of_order,
                self.watch.unwritten
            ));
            faults.extend(self.watch.faults.iter().cloned());
        }
        if self.linearizable != Verdict::Linearizable {
            faults.push(self.linearizable.to_string());
        }
        if let Some(fill) = &self.fill {
            let wrong = fill.wrong.iter();
            faults.extend(wrong.map(|(key, wrong)| format!("{key}: {wrong}")));
            let gone = fill.leases_gone.iter();
            faults.extend(gone.map(|lease| format!("lease {lease:x} is gone")));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::super::fill::Wrong;
    use super::super::ledger::{Acknowledged, Doubtful};
    use super::super::watch::Event;
    use super::super::{Change, Tag};
    use super::*;
    use crate::linearizability::{Action, BOUND, End};

    const TAG: Tag = Tag { writer: 0, seq: 1 };
    const KEY: Key = Key::Unique(TAG);
    const HELD: Held = Held {
        tag: TAG,
        revision: 5,
    };

    fn record() -> Record {
        Record {
            writers: 1,
            ledger: Ledger {
                acknowledged: vec![Acknowledged {
                    writer: 0,
                    key: KEY,
                    change: Change::Put(TAG),
                    revision: 5,
                    call: 1_000_000,
                    ack: 2_000_000,
                }],
                doubtful: vec![Doubtful {
                    writer: 0,
                    key: Key::Register(1),
                    change: Change::Put(TAG),
                    call: 3_000_000,
                }],
            },
            failed: 1,
            history: vec![Operation {
                client: 1,
                register: 1,
                call: 1,
                end: End::Known {
                    returned: 2,
                    action: Action::Read(None),
                },
            }],
            reads: 1,
            stale: Vec::new(),
            watchers: vec![Watcher {
                name: "m1".into(),
                after: 0,
                events: vec![Event {
                    key: KEY,
                    revision: 5,
                    change: Change::Put(TAG),
                }],
                reconnects: 2,
            }],
            began: 1_000_000,
            ended: 10_000_000,
        }
    }

    fn evidence(record: Record, contents: Contents) -> Evidence {
        Evidence {
            record,
            until: 5,
            contents: [("m1".into(), contents)].into(),
            unread: BTreeMap::new(),
            fill: Some(FillFindings::default()),
        }
    }

    #[test]
    fn a_clean_record_has_no_faults() {
        let contents = Contents::from([(KEY, HELD)]);
        let findings = evidence(record(), contents).judge(BOUND);
        assert_eq!(findings.faults(), [""; 0]);
        assert_eq!(findings.writes.acknowledged, 1);
        assert_eq!((findings.writes.ambiguous, findings.writes.failed), (1, 1));
        assert_eq!(findings.writes.gaps.longest_gap_ms, 8);
        assert_eq!(findings.watch.events, 1);
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["writes"]["lost"], 0);
        assert_eq!(json["writes"]["longest_gap_ms"], 8);
        assert_eq!(json["watch"]["missing"], 0);
        assert_eq!(json["linearizable"]["verdict"], "linearizable");
    }

    #[test]
    fn every_fault_is_told() {
        let mut record = record();
        record.stale.push(StaleRead {
            client: 3,
            key: KEY,
            revision: 5,
            found: None,
            call: 0,
        });
        record.watchers[0].events.clear();
        record.history[0].end = End::Known {
            returned: 2,
            action: Action::Read(Some(TAG)),
        };
        let fill = FillFindings {
            keys: 1,
            wrong: [("x".to_owned(), Wrong::Gone)].into(),
            leases_gone: vec![255],
        };
        let contents = Contents::from([(Key::Foreign("y".into()), HELD)]);
        let mut evidence = evidence(record, contents);
        evidence.fill = Some(fill);
        let findings = evidence.judge(BOUND);
        let faults = findings.faults();
        for (at, beginning) in [
            "lost: rehearse/load/u/000/00000001: put w0#1 was acknowledged at revision 5, m1 holds nothing",
            "y: holds w0#1 of revision 5, which nobody wrote",
            "stale read of rehearse/load/u/000/00000001 by client 3: found nothing",
            "watch: 1 missing, 0 duplicated, 0 out of order, 0 written by nobody",
            "m1: put w0#1 of rehearse/load/u/000/00000001 at revision 5 never came",
            "not linearizable: nothing explains",
            "x: it is gone",
            "lease ff is gone",
        ]
        .iter()
        .enumerate()
        {
            assert!(faults[at].starts_with(beginning), "{at}: {}", faults[at]);
        }
        assert_eq!(faults.len(), 8);
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["linearizable"]["verdict"], "not_linearizable");
    }

    #[test]
    fn what_came_after_the_revision_that_is_judged_at_does_not_count() {
        let mut record = record();
        let later = Tag { writer: 0, seq: 2 };
        let mut write = record.ledger.acknowledged[0].clone();
        write.key = Key::Unique(later);
        write.change = Change::Put(later);
        write.revision = 6;
        record.watchers[0].events.push(Event {
            key: write.key.clone(),
            revision: 7,
            change: Change::Delete,
        });
        record.ledger.acknowledged.push(write);
        let mut evidence = evidence(record, Contents::from([(KEY, HELD)]));
        let findings = evidence.judge(BOUND);
        assert_eq!(findings.faults(), [""; 0]);
        assert_eq!(findings.writes.acknowledged, 2);
        evidence.until = 7;
        assert_eq!(evidence.judge(BOUND).writes.lost, 1);
    }

    #[test]
    fn a_loss_on_one_member_is_one_and_nobody_to_ask_is_a_fault() {
        let mut evidence = evidence(record(), Contents::from([(KEY, HELD)]));
        evidence.contents.insert("m2".into(), Contents::new());
        evidence.contents.insert("m3".into(), Contents::new());
        let findings = evidence.judge(BOUND);
        assert_eq!((findings.writes.lost, findings.writes.losses.len()), (1, 2));
        evidence.contents.clear();
        assert_eq!(
            evidence.judge(BOUND).faults(),
            ["no member could be asked what it holds"]
        );
    }
}
