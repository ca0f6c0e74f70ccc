//! Which snapshots are copied from one store to another, and in which order.
//!
//! A stream is a full snapshot and the deltas up to the next one. Streams may be copied side by side;
//! inside one it is full snapshot first, then deltas in order, so that whatever an interruption
//! leaves at the destination can be restored.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::listing::{Listing, Object};
use super::names::{Key, Kind, Name, Prefix};

/// What to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `--max-backups-to-copy`: so many streams, the newest ones.
    pub streams: Option<usize>,
    /// `--max-backup-age`: nothing that is older.
    pub age: Option<SignedDuration>,
}

/// An object to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What.
    pub from: Object,
    /// Where to; in the flat layout.
    pub to: Key,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The newest stream first.
    pub streams: Vec<Vec<Copy>>,
    /// How many objects are at the destination already.
    pub present: usize,
    /// How many the limits leave out.
    pub left_out: usize,
}

/// Decides. An object of the same name and size is not copied again; an object of another size is a
/// copy that did not end, or damaged, and is.
pub fn plan(
    source: &Listing,
    destination: &Listing,
    to: &Prefix,
    limits: Limits,
    now: Timestamp,
) -> Plan {
    let present: BTreeSet<(&Name, Option<u64>)> = destination
        .snapshots()
        .iter()
        .map(|it| (&it.key.name, it.bytes))
        .collect();
    let mut plan = Plan::default();
    let mut streams = streams(source);
    streams.reverse();
    for (number, stream) in streams.into_iter().enumerate() {
        let mut copies = Vec::new();
        for object in stream {
            let name = &object.key.name;
            let old = limits
                .age
                .is_some_and(|age| now.duration_since(name.created().time()) > age);
            if old || limits.streams.is_some_and(|most| number >= most) {
                plan.left_out += 1;
            } else if present.contains(&(name, object.bytes)) {
                plan.present += 1;
            } else {
                copies.push(Copy {
                    from: object.clone(),
                    to: Key::new(to, name.clone()),
                });
            }
        }
        if !copies.is_empty() {
            plan.streams.push(copies);
        }
    }
    plan
}

/// Oldest first. Deltas before any full snapshot are a stream of their own.
fn streams(listing: &Listing) -> Vec<Vec<&Object>> {
    let mut streams: Vec<Vec<&Object>> = Vec::new();
    for object in listing.snapshots() {
        match (object.key.name.kind(), streams.last_mut()) {
            (Kind::Delta { .. }, Some(stream)) => stream.push(object),
            (Kind::Full, _) | (Kind::Delta { .. }, None) => streams.push(vec![object]),
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(prefix: &str, names: &[(&str, u64)]) -> Listing {
        let key = |name: &str| format!("{prefix}/v2/{name}");
        let keys: Vec<_> = names
            .iter()
            .map(|(name, bytes)| (key(name), *bytes))
            .collect();
        let prefix = Prefix::parse(prefix).unwrap();
        Listing::read(
            &prefix,
            keys.iter().map(|(key, bytes)| (key.as_str(), Some(*bytes))),
        )
    }

    const OLD: (&str, u64) = ("Full-00000000-00000050-1000.gz", 1);
    const OLD_DELTA: (&str, u64) = ("Incr-00000051-00000100-2000.gz", 1);
    const NEW: (&str, u64) = ("Full-00000000-00000100-100000.gz", 1);
    const A: (&str, u64) = ("Incr-00000101-00000110-110000.gz", 1);
    const B: (&str, u64) = ("Incr-00000111-00000120-120000.gz", 1);

    fn planned(there: &[(&str, u64)], limits: Limits) -> (Vec<Vec<String>>, usize, usize) {
        let source = listing("from", &[B, OLD_DELTA, NEW, A, OLD]);
        let now = Timestamp::from_second(130_000).unwrap();
        let to = Prefix::parse("to").unwrap();
        let plan = plan(&source, &listing("to", there), &to, limits, now);
        let keys = |stream: &Vec<Copy>| stream.iter().map(|it| it.to.to_string()).collect();
        (
            plan.streams.iter().map(keys).collect(),
            plan.present,
            plan.left_out,
        )
    }

    fn to(name: (&str, u64)) -> String {
        format!("to/v2/{}", name.0)
    }

    #[test]
    fn the_newest_stream_goes_first_and_each_in_the_order_of_its_restore() {
        let expected = vec![vec![to(NEW), to(A), to(B)], vec![to(OLD), to(OLD_DELTA)]];
        assert_eq!(planned(&[], Limits::default()), (expected, 0, 0));
    }

    #[test]
    fn what_is_there_whole_is_not_copied_again() {
        let there = [NEW, (A.0, 77)];
        let expected = vec![vec![to(A), to(B)], vec![to(OLD), to(OLD_DELTA)]];
        assert_eq!(planned(&there, Limits::default()), (expected, 1, 0));
    }

    #[test]
    fn limits_leave_out_the_old() {
        let newest = vec![vec![to(NEW), to(A), to(B)]];
        let one = Limits {
            streams: Some(1),
            age: None,
        };
        assert_eq!(planned(&[], one), (newest.clone(), 0, 2));
        let young = Limits {
            streams: None,
            age: Some(SignedDuration::from_secs(50_000)),
        };
        assert_eq!(planned(&[], young), (newest, 0, 2));
    }
}
