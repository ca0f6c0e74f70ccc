//! Whether watchers saw every write exactly once and in order, across all their reconnects.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ledger::{Contents, Ledger};
use super::{Change, Key};
use crate::member::MemberName;

/// How many of each kind of fault are described.
const DESCRIBED: usize = 10;

/// One event as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key that changed.
    pub key: Key,
    /// The revision that changed it.
    pub revision: i64,
    /// How it changed.
    pub change: Change,
}

/// What one watcher of [`super::LOAD_PREFIX`] received, in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watcher {
    /// Which one.
    pub name: String,
    /// It asked for everything after this revision.
    pub after: i64,
    /// What came.
    pub events: Vec<Event>,
    /// How often it had to open a new stream.
    pub reconnects: u64,
}

/// What the watchers' events were found to be, summed over all watchers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// How many watchers there were.
    pub watchers: usize,
    /// How often a stream had to be opened anew.
    pub reconnects: u64,
    /// Events received.
    pub events: u64,
    /// Writes that a watcher never heard of.
    pub missing: u64,
    /// Events that came a second time.
    pub duplicated: u64,
    /// Events that came after one of a later revision.
    pub out_of_order: u64,
    /// Events that no client's write explains.
    pub unwritten: u64,
    /// The first few faults, in words.
    pub faults: Vec<String>,
}

impl Watched {
    /// Set if every watcher saw everything once and in order, and nothing else.
    pub fn is_complete(&self) -> bool {
        self.missing == 0 && self.duplicated == 0 && self.out_of_order == 0 && self.unwritten == 0
    }
}

/// Compares what came with what was written. Every watcher has waited for revision `until`;
/// everything up to it must have come. A write that got no answer must have come if another
/// watcher or what a member holds show that it was done.
pub fn judge(
    watchers: &[Watcher],
    ledger: &Ledger,
    contents: &BTreeMap<MemberName, Contents>,
    until: i64,
) -> Watched {
    let expected = expected(watchers, ledger, contents);
    let mut watched = Watched {
        watchers: watchers.len(),
        ..Watched::default()
    };
    for watcher in watchers {
        watched.reconnects += watcher.reconnects;
        judge_one(watcher, &expected, until, &mut watched);
    }
    watched
}

type Expected<'a> = BTreeMap<(i64, &'a Key), Change>;

fn expected<'a>(
    watchers: &'a [Watcher],
    ledger: &'a Ledger,
    contents: &'a BTreeMap<MemberName, Contents>,
) -> Expected<'a> {
    let mut expected: Expected<'a> = ledger
        .acknowledged
        .iter()
        .map(|write| ((write.revision, &write.key), write.change))
        .collect();
    // Each of these happened at one revision if at all.
    let mut doubtful: BTreeSet<(&Key, Change)> = ledger
        .doubtful
        .iter()
        .map(|write| (&write.key, write.change))
        .collect();
    let held = contents
        .values()
        .flatten()
        .map(|(key, held)| (held.revision, key, Change::Put(held.tag)));
    let came = watchers.iter().flat_map(|watcher| &watcher.events);
    let came = came.map(|event| (event.revision, &event.key, event.change));
    for (revision, key, change) in held.chain(came) {
        if !expected.contains_key(&(revision, key)) && doubtful.remove(&(key, change)) {
            expected.insert((revision, key), change);
        }
    }
    expected
}

fn judge_one(from: &Watcher, expected: &Expected<'_>, until: i64, watched: &mut Watched) {
    let name = &from.name;
    let mut seen: BTreeSet<(i64, &Key)> = BTreeSet::new();
    let mut highest = from.after;
    for event in &from.events {
        let at = (event.revision, &event.key);
        watched.events += 1;
        let fault = if seen.contains(&at) {
            watched.duplicated += 1;
            Some("came again")
        } else if expected.get(&at) != Some(&event.change) {
            watched.unwritten += 1;
            Some("was written by nobody")
        } else if event.revision < highest {
            watched.out_of_order += 1;
            Some("came after a later one")
        } else {
            None
        };
        seen.insert(at);
        highest = highest.max(event.revision);
        if let Some(fault) = fault {
            describe(watched, name, at, event.change, fault);
        }
    }
    for ((revision, key), change) in expected {
        let at = (*revision, *key);
        if from.after < *revision && *revision <= until && !seen.contains(&at) {
            watched.missing += 1;
            describe(watched, name, at, *change, "never came");
        }
    }
}

fn describe(watched: &mut Watched, name: &str, at: (i64, &Key), change: Change, fault: &str) {
    if watched.faults.len() < DESCRIBED {
        let (revision, key) = at;
        watched.faults.push(format!(
            "{name}: {change} of {key} at revision {revision} {fault}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tag;
    use super::super::ledger::{Acknowledged, Doubtful, Held};
    use super::*;

    fn tag(seq: u32) -> Tag {
        Tag { writer: 1, seq }
    }

    fn event(seq: u32, revision: i64) -> Event {
        Event {
            key: Key::Unique(tag(seq)),
            revision,
            change: Change::Put(tag(seq)),
        }
    }

    /// Writes 1, 2, 3 were acknowledged at revisions 11, 12, 13; write 4 has no answer.
    fn ledger() -> Ledger {
        let acknowledged = |seq: u32| Acknowledged {
            writer: 1,
            key: Key::Unique(tag(seq)),
            change: Change::Put(tag(seq)),
            revision: i64::from(seq) + 10,
            call: 0,
            ack: 0,
        };
        Ledger {
            acknowledged: [1, 2, 3].map(acknowledged).to_vec(),
            doubtful: vec![Doubtful {
                writer: 1,
                key: Key::Unique(tag(4)),
                change: Change::Put(tag(4)),
                call: 0,
            }],
        }
    }

    fn judged(streams: &[&[Event]], contents: &Contents) -> [u64; 5] {
        let watchers: Vec<_> = streams
            .iter()
            .map(|events| Watcher {
                name: "m".into(),
                after: 10,
                events: events.to_vec(),
                reconnects: 0,
            })
            .collect();
        let contents = BTreeMap::from([(MemberName::from("m"), contents.clone())]);
        let found = judge(&watchers, &ledger(), &contents, 14);
        let faults = found.missing + found.duplicated + found.out_of_order + found.unwritten;
        assert_eq!(found.faults.len() as u64, faults);
        assert_eq!(found.is_complete(), faults == 0);
        [
            found.events,
            found.missing,
            found.duplicated,
            found.out_of_order,
            found.unwritten,
        ]
    }

    #[test]
    fn everything_once_and_in_order_is_complete() {
        let all = [event(1, 11), event(2, 12), event(3, 13)];
        assert_eq!(judged(&[&all], &Contents::new()), [3, 0, 0, 0, 0]);
        let with_doubtful = [event(1, 11), event(2, 12), event(3, 13), event(4, 14)];
        assert_eq!(judged(&[&with_doubtful], &Contents::new()), [4, 0, 0, 0, 0]);
    }

    #[test]
    fn each_fault_is_counted_as_itself() {
        let gap = [event(1, 11), event(3, 13)];
        assert_eq!(judged(&[&gap], &Contents::new()), [2, 1, 0, 0, 0]);
        let again = [event(1, 11), event(2, 12), event(2, 12), event(3, 13)];
        assert_eq!(judged(&[&again], &Contents::new()), [4, 0, 1, 0, 0]);
        let swapped = [event(2, 12), event(1, 11), event(3, 13)];
        assert_eq!(judged(&[&swapped], &Contents::new()), [3, 0, 0, 1, 0]);
        let stranger = [event(1, 11), event(2, 12), event(3, 13), event(9, 14)];
        assert_eq!(judged(&[&stranger], &Contents::new()), [4, 0, 0, 0, 1]);
        // The wrong value: the right one is not "missing" as well.
        let mut wrong = [event(1, 11), event(2, 12), event(3, 13)];
        wrong[1].change = Change::Put(tag(9));
        assert_eq!(judged(&[&wrong], &Contents::new()), [3, 0, 0, 0, 1]);
        let mut deleted = [event(1, 11), event(2, 12), event(3, 13)];
        deleted[1].change = Change::Delete;
        assert_eq!(judged(&[&deleted], &Contents::new()), [3, 0, 0, 0, 1]);
        // An event from before the watch began.
        let mut early = [event(1, 11), event(2, 12), event(3, 13)];
        early[0].revision = 9;
        assert_eq!(judged(&[&early], &Contents::new()), [3, 1, 0, 0, 1]);
    }

    #[test]
    fn what_lies_outside_the_watched_revisions_is_not_missed() {
        let all = Watcher {
            after: 11,
            events: vec![event(2, 12)],
            ..Watcher::default()
        };
        let found = judge(&[all], &ledger(), &BTreeMap::new(), 12);
        assert!(found.is_complete(), "{found:?}");
    }

    #[test]
    fn a_doubtful_write_that_was_done_must_reach_everyone_once() {
        let with = [event(1, 11), event(2, 12), event(3, 13), event(4, 14)];
        let without = &with[..3];
        assert_eq!(judged(&[&with, without], &Contents::new()), [7, 1, 0, 0, 0]);
        let held = Held {
            tag: tag(4),
            revision: 14,
        };
        let contents = Contents::from([(Key::Unique(tag(4)), held)]);
        assert_eq!(judged(&[without], &contents), [3, 1, 0, 0, 0]);
        let twice = [
            event(1, 11),
            event(2, 12),
            event(3, 13),
            event(4, 14),
            event(4, 15),
        ];
        assert_eq!(judged(&[&twice], &Contents::new()), [5, 0, 0, 0, 1]);
    }
}
