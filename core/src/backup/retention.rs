//! Which objects of a store may go, and why.
//!
//! The two policies of etcd-backup-restore as they are documented. Its Exponential as coded slides
//! its windows every day, so that nothing ever gets older than nine days; here hours, days and ISO
//! weeks are those of the calendar, UTC, and what is newest in one stays so:
//!
//! * every full snapshot of the current hour,
//! * the newest of each of the 24 hours before,
//! * the newest of each of the 7 days before today,
//! * the newest of each of the 5 weeks before this one, so that there are always 4 whole weeks of
//!   history; the code of etcd-backup-restore means to end at 35 days.
//!
//! Whatever the policy: nothing goes while there is no full snapshot that can be read, the newest of
//! those and all above it stay, and so does what lies in the future (a clock went back). Deltas below
//! stay for `--delta-snapshot-retention-period`. Parts of uploads are not looked at here.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use jiff::{SignedDuration, Timestamp, tz::Offset};

use super::listing::{Listing, Object};
use super::names::{Key, Kind};

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which full snapshots.
    pub fulls: Fulls,
    /// How long deltas stay that are not of the newest chain.
    pub deltas: SignedDuration,
}

/// `--garbage-collection-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fulls {
    /// Fewer the older they are.
    Exponential,
    /// The newest so many: `--max-backups`.
    LimitBased(NonZeroUsize),
}

/// An object to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its key.
    pub key: Key,
    /// Why.
    pub why: Why,
}

/// Why an object may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are as many newer full snapshots as are wanted.
    BeyondLimit {
        /// How many.
        limit: NonZeroUsize,
    },
    /// It is not the newest of any hour, day or week that is kept.
    Superseded,
    /// A delta below the newest full snapshot, and older than such are kept.
    DeltaExpired {
        /// How long they are.
        kept: SignedDuration,
    },
}

/// Decides. Deletions are in the order to carry them out: deltas before full snapshots, so that what
/// an interruption leaves can still be restored; newest first among deltas, so that none is left
/// behind a hole.
pub fn decide(listing: &Listing, policy: &Policy, now: Timestamp) -> Vec<Deletion> {
    let readable = |it: &&Object| it.readable();
    let fulls: Vec<&Object> = listing.bases().filter(readable).collect();
    let Some(newest) = fulls.first().copied() else {
        return Vec::new();
    };
    let below = |it: &&Object| it.key.name.last() < newest.key.name.last() && created(it) <= now;
    let kept = match policy.fulls {
        Fulls::LimitBased(limit) => fulls.iter().take(limit.get()).map(|it| &it.key).collect(),
        Fulls::Exponential => exponential(&fulls, now),
    };
    let deltas = listing.snapshots().iter().rev().filter(below);
    let deltas = deltas.filter(|it| it.key.name.kind() != Kind::Full);
    let expired = |it: &&Object| now.duration_since(created(it)) > policy.deltas;
    let deltas = deltas.filter(expired).map(|it| Deletion {
        key: it.key.clone(),
        why: Why::DeltaExpired {
            kept: policy.deltas,
        },
    });
    let gone = listing
        .bases()
        .filter(below)
        .filter(|it| !kept.contains(&it.key));
    let gone = gone.map(|it| Deletion {
        key: it.key.clone(),
        why: match policy.fulls {
            Fulls::LimitBased(limit) => Why::BeyondLimit { limit },
            Fulls::Exponential => Why::Superseded,
        },
    });
    deltas.chain(gone).collect()
}

fn created(object: &Object) -> Timestamp {
    object.key.name.created().time()
}

/// The newest of each hour, day and week that counts.
fn exponential<'a>(fulls: &[&'a Object], now: Timestamp) -> BTreeSet<&'a Key> {
    let now = Ages::of(now);
    let mut newest_first: Vec<&Object> = fulls.to_vec();
    newest_first.sort_by_key(|it| std::cmp::Reverse((created(it), it.key.name.last())));
    let mut seen = BTreeSet::new();
    let mut kept = BTreeSet::new();
    for full in newest_first {
        let at = Ages::of(created(full));
        let buckets = [
            (0, at.hour, (1..=24).contains(&(now.hour - at.hour))),
            (1, at.day, (1..=7).contains(&(now.day - at.day))),
            (2, at.week, (1..=5).contains(&(now.week - at.week))),
        ];
        let mut wanted = at.hour == now.hour;
        for (unit, number, counts) in buckets {
            wanted |= seen.insert((unit, number)) && counts;
        }
        if wanted {
            kept.insert(&full.key);
        }
    }
    kept
}

/// Hours, days and weeks since 1970, UTC. A week begins on Monday.
struct Ages {
    hour: i64,
    day: i64,
    week: i64,
}

impl Ages {
    fn of(time: Timestamp) -> Self {
        let second = time.as_second();
        let day = second.div_euclid(86_400);
        // So that day 0 of the count is the Monday on or before 1970-01-01.
        let since_monday = Offset::UTC.to_datetime(Timestamp::UNIX_EPOCH).weekday();
        let since_monday = i64::from(since_monday.to_monday_zero_offset());
        Self {
            hour: second.div_euclid(3600),
            day,
            week: (day + since_monday).div_euclid(7),
        }
    }
}

#[cfg(test)]
mod tests;
