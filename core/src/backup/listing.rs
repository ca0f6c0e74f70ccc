//! Which objects of a store restore a cluster.
//!
//! The order is that of etcd-backup-restore: by last revision, then by time. Nothing else links
//! objects, so a chain is a full snapshot and deltas that follow each other without a hole. Where
//! that tool refuses and the data is all there (deltas that overlap after two writers, a snapshot
//! that holds more than its name says), a chain is found; where data is missing, the refusal names
//! what comes after the hole and gives the part that can be restored.

use jiff::SignedDuration;
use thiserror::Error;

use super::Revision;
use super::codec::Codec;
use super::names::{Key, Kind, NameError, Prefix, Suffix};

/// An object as a store lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key.
    pub key: Key,
    /// Its size in bytes. `None` where the listing does not say: Swift gives 0 for every object
    /// that was uploaded in parts.
    pub bytes: Option<u64>,
}

impl Object {
    fn last(&self) -> Revision {
        self.key.name.last()
    }

    /// Why it cannot be read, as far as the listing shows.
    pub fn flaw(&self) -> Option<Flaw> {
        match (self.key.name.suffix(), self.bytes) {
            (Suffix::Unknown(suffix), _) => Some(Flaw::Codec(suffix.to_string())),
            (Suffix::Known(_), Some(0)) => Some(Flaw::NoBytes),
            (Suffix::Known(_), Some(_) | None) => None,
        }
    }

    /// Whether it can be read, as far as the listing shows.
    pub fn readable(&self) -> bool {
        self.flaw().is_none()
    }

    /// How it is compressed, if that is known.
    pub fn codec(&self) -> Option<Codec> {
        match self.key.name.suffix() {
            Suffix::Known(codec) => Some(*codec),
            Suffix::Unknown(_) => None,
        }
    }
}

/// Why an object cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// Left by an upload that did not finish.
    #[error("it has no bytes")]
    NoBytes,
    /// Another program wrote it.
    #[error("its suffix {0} is of no known compression (gz, zlib, Z)")]
    Codec(String),
}

/// By so much the times of full snapshots of one history may contradict their revisions: clocks of
/// members differ, and etcd-backup-restore names a compaction for the time of its upload.
pub const ONE_HISTORY: SignedDuration = SignedDuration::from_hours(1);

/// By so much a delta of one history may be younger than a full snapshot that has its first
/// revision: two members write for some seconds when one takes over from the other, and their clocks
/// differ.
pub const HAND_OVER: SignedDuration = SignedDuration::from_mins(1);

/// Everything below a prefix, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    snapshots: Vec<Object>,
    parts: Vec<Object>,
    foreign: Vec<NameError>,
}

impl Listing {
    /// Sorts what a store lists, in whatever order it does. Keys that name no snapshot are kept
    /// apart and never guessed at.
    pub fn read<'a>(
        prefix: &Prefix,
        listed: impl IntoIterator<Item = (&'a str, Option<u64>)>,
    ) -> Self {
        let mut listing = Self::default();
        for (key, bytes) in listed {
            match Key::parse(prefix, key) {
                Ok(key) if key.part.is_some() => listing.parts.push(Object { key, bytes }),
                Ok(key) => listing.snapshots.push(Object { key, bytes }),
                Err(error) => listing.foreign.push(error),
            }
        }
        // The rest of the key makes the order total, so that a store's own order changes nothing.
        listing.snapshots.sort_by(|a, b| {
            let order = |it: &Object| (it.last(), it.key.name.created());
            order(a).cmp(&order(b)).then_with(|| a.cmp(b))
        });
        listing.parts.sort();
        listing.foreign.sort();
        listing
    }

    /// Snapshots, oldest first.
    pub fn snapshots(&self) -> &[Object] {
        &self.snapshots
    }

    /// Parts of uploads. Never restored from.
    pub fn parts(&self) -> &[Object] {
        &self.parts
    }

    /// Why each other key was passed over.
    pub fn foreign(&self) -> &[NameError] {
        &self.foreign
    }

    /// Full snapshots, newest first: what to try in turn when the newest does not verify.
    pub fn bases(&self) -> impl Iterator<Item = &Object> {
        let is_full = |it: &&Object| it.key.name.kind() == Kind::Full;
        self.snapshots.iter().rev().filter(is_full)
    }

    /// The newest full snapshot, and the deltas that reach beyond it, in order: what the names say,
    /// whether it can be restored or not. Without a full snapshot, all deltas.
    pub fn tail(&self) -> (Option<&Object>, &[Object]) {
        let full = self.bases().next();
        let covered = |it: &Object| full.is_some_and(|full| it.last() <= full.last());
        let covered = self.snapshots.partition_point(covered);
        (full, self.snapshots.get(covered..).unwrap_or_default())
    }

    /// The same without some.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&Key) -> bool) -> Self {
        let stays = |it: &&Object| !gone(&it.key);
        Self {
            snapshots: self.snapshots.iter().filter(stays).cloned().collect(),
            parts: self.parts.clone(),
            foreign: self.foreign.clone(),
        }
    }

    /// What was made well after the newest full snapshot by revision, and begins below it: a full
    /// snapshot more than [`ONE_HISTORY`] later, or a delta more than [`HAND_OVER`] later. etcd went
    /// on from an earlier revision, or a clock is wrong; restoring the newest chain would not bring the
    /// latest data.
    pub fn younger_but_lower(&self) -> impl Iterator<Item = &Object> {
        let newest = self.bases().next().map(|it| &it.key.name);
        self.snapshots.iter().filter(move |it| {
            let name = &it.key.name;
            newest.is_some_and(|newest| {
                let later = name
                    .created()
                    .time()
                    .duration_since(newest.created().time());
                match name.kind() {
                    Kind::Full => name.last() < newest.last() && later > ONE_HISTORY,
                    Kind::Delta { start } => start <= newest.last() && later > HAND_OVER,
                }
            })
        })
    }

    /// The newest chain, by what the names say.
    pub fn newest(&self) -> Result<Chain, Refusal> {
        let Some(base) = self.bases().next() else {
            return Err(match self.snapshots.first() {
                None => Refusal::Empty {
                    foreign: self.foreign.len(),
                    parts: self.parts.len(),
                },
                Some(first) => Refusal::NoFull {
                    deltas: self.snapshots.len(),
                    first: Box::new(first.key.clone()),
                },
            });
        };
        self.chain(base, base.last())
    }

    /// The chain on a base whose content is known to reach `holds`, which may be more than its
    /// name says and is what its deltas have to connect to. On an older base, newer full snapshots
    /// do not count: the chain ends where its deltas do.
    pub fn chain(&self, base: &Object, holds: Revision) -> Result<Chain, Refusal> {
        if let Some(flaw) = base.flaw() {
            let object = Box::new(base.key.clone());
            return Err(Refusal::Base { object, flaw });
        }
        if holds < base.last() {
            return Err(Refusal::BaseHoldsLess {
                object: Box::new(base.key.clone()),
                named: base.last(),
                holds,
            });
        }
        let above = |it: &&Object| it.last() > holds && it.key.name.kind() != Kind::Full;
        let deltas: Vec<&Object> = self.snapshots.iter().filter(above).collect();
        let mut chain = Chain {
            base: base.clone(),
            deltas: Vec::new(),
            superfluous: Vec::new(),
            from: holds,
            to: holds,
        };
        while let Some(next) = furthest(&deltas, chain.to, |it| it.flaw().is_none()) {
            chain.deltas.push(Delta {
                object: next.clone(),
                after: chain.to,
            });
            chain.to = next.last();
        }
        let used = |it: &&Object| chain.deltas.iter().any(|delta| delta.object == **it);
        let reached = |it: &&Object| it.last() <= chain.to;
        let superfluous = deltas
            .iter()
            .copied()
            .filter(reached)
            .filter(|it| !used(it));
        chain.superfluous = superfluous.cloned().collect();
        broken(&deltas, chain)
    }
}

/// Of the deltas that connect to `to` and go past it, the one that goes furthest; of equals the
/// shortest, then the newest.
fn furthest<'a>(
    deltas: &[&'a Object],
    to: Revision,
    wanted: impl Fn(&Object) -> bool,
) -> Option<&'a Object> {
    let connects = |it: &&Object| start(it) <= to.next() && it.last() > to && wanted(it);
    let reach = |it: &&Object| (it.last(), start(it), it.key.name.created());
    deltas.iter().copied().filter(connects).max_by_key(reach)
}

fn start(delta: &Object) -> Revision {
    match delta.key.name.kind() {
        Kind::Full => Revision::FIRST,
        Kind::Delta { start } => start,
    }
}

/// Whether there is anything past the end of a chain, and why that does not connect.
fn broken(deltas: &[&Object], chain: Chain) -> Result<Chain, Refusal> {
    if let Some(unreadable) = furthest(deltas, chain.to, |_| true)
        && let Some(flaw) = unreadable.flaw()
    {
        return Err(Refusal::Delta {
            object: Box::new(unreadable.key.clone()),
            flaw,
            reach: Box::new(chain),
        });
    }
    let beyond = deltas.iter().filter(|it| it.last() > chain.to);
    match beyond.min_by_key(|it| (start(it), it.last())) {
        None => Ok(chain),
        Some(next) => Err(Refusal::Hole {
            missing_from: chain.to.next(),
            start: start(next),
            next: Box::new(next.key.clone()),
            reach: Box::new(chain),
        }),
    }
}

/// A full snapshot and what follows it, without a hole by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The full snapshot.
    pub base: Object,
    /// What follows, in the order to apply.
    pub deltas: Vec<Delta>,
    /// Deltas that bring nothing that the others do not; left by a second writer.
    pub superfluous: Vec<Object>,
    /// What the base reaches.
    pub from: Revision,
    /// What all of it reaches.
    pub to: Revision,
}

/// A delta of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The object.
    pub object: Object,
    /// Its events up to this revision are there already and are to be skipped.
    pub after: Revision,
}

/// Why there is no chain to the newest revision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No snapshot at all. Not a proof that there never was one.
    #[error(
        "no snapshot is listed ({foreign} other objects, {parts} parts of uploads): check \
         --store-container and --store-prefix"
    )]
    Empty {
        /// Keys that name no snapshot.
        foreign: usize,
        /// Parts of uploads.
        parts: usize,
    },
    /// Deltas and nothing to apply them to.
    #[error(
        "there is no full snapshot, only {deltas} deltas from {first} on: take a full snapshot"
    )]
    NoFull {
        /// How many.
        deltas: usize,
        /// The first.
        first: Box<Key>,
    },
    /// The full snapshot cannot be read.
    #[error("{object}: {flaw}; restore from an older full snapshot")]
    Base {
        /// Which.
        object: Box<Key>,
        /// Why.
        flaw: Flaw,
    },
    /// The full snapshot is not what its name says.
    #[error(
        "{object} is named for revision {named} and reaches only {holds}; restore from an older \
         full snapshot"
    )]
    BaseHoldsLess {
        /// Which.
        object: Box<Key>,
        /// What its name says.
        named: Revision,
        /// What is in it.
        holds: Revision,
    },
    /// A delta cannot be read and no other covers the same.
    #[error("{object}: {flaw}; everything up to revision {} can be restored", reach.to)]
    Delta {
        /// Which.
        object: Box<Key>,
        /// Why.
        flaw: Flaw,
        /// What can be restored.
        reach: Box<Chain>,
    },
    /// Something is missing.
    #[error(
        "no object has the revisions {missing_from} to {}: the next, {next}, begins at {start}; \
         everything up to revision {} can be restored",
        start.get() - 1,
        reach.to
    )]
    Hole {
        /// The first revision that is in no object.
        missing_from: Revision,
        /// Where the next delta begins.
        start: Revision,
        /// The next delta.
        next: Box<Key>,
        /// What can be restored.
        reach: Box<Chain>,
    },
}

#[cfg(test)]
mod tests;
