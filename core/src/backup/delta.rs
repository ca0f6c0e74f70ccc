//! What is in a delta: every change since the snapshot before it, as etcd-backup-restore writes and
//! reads it.
//!
//! Unpacked it is one JSON array without white space, an element for each event in the order of
//! revisions, and the SHA-256 of that array in 32 raw bytes. An element is Go's `encoding/json` of
//! `{etcdEvent: clientv3.Event, time}`: fields that are zero are left out, keys and values are
//! base64 with padding, `type` 1 is a delete and has only `key` and `mod_revision`. All events of
//! one revision are in one delta. The digest comes last, so what a [`Decoder`] gives out is proven
//! only when [`Decoder::finish`] says so.
//!
//! One field is ours: beside `time` stands `"leaseTTL":<seconds>` if the put has a lease and its
//! time to live is known. Without it a lease that is younger than the full snapshot would be restored
//! with a time that somebody made up. Go passes over fields that it does not know.
//!
//! Not in it: users and roles, alarms, members, compactions.

mod decode;
mod element;
mod encode;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use thiserror::Error;

pub use decode::Decoder;
pub use encode::Encoder;

use super::Revision;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The key; never empty.
    pub key: &'a [u8],
    /// Its revision.
    pub revision: Revision,
    /// What happened to it.
    pub change: Change<'a>,
    /// When the watcher saw it.
    pub time: Timestamp,
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It was written.
    Put {
        /// The revision that created it.
        created: Revision,
        /// How often it was written since, at least 1.
        version: i64,
        /// Its value.
        value: &'a [u8],
        /// Its lease; 0 is none.
        lease: i64,
        /// How long that lease lives from a renewal on, in seconds and at least 1, if it is known.
        lease_ttl: Option<i64>,
    },
    /// It was deleted.
    Delete,
}

/// What a whole delta covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The first revision.
    pub first: Revision,
    /// The last revision. Every one between is in it.
    pub last: Revision,
    /// How many events, at least 1.
    pub events: u64,
}

impl Summary {
    /// Whether it covers what its name says.
    pub fn check(&self, start: Revision, last: Revision) -> Result<(), DeltaDamage> {
        if (self.first, self.last) == (start, last) {
            return Ok(());
        }
        Err(DeltaDamage::OtherThanNamed {
            start,
            last,
            first: self.first,
            end: self.last,
        })
    }
}

/// What is wrong with a delta. Whoever knows its key puts that in front.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeltaDamage {
    /// It ends before an array and a digest could.
    #[error("it has only {bytes} bytes: it was cut")]
    Short {
        /// Its length, unpacked.
        bytes: u64,
    },
    /// Its digest is that of other bytes.
    #[error("its bytes do not match the digest at its end: it was cut or changed")]
    Digest,
    /// It is not one array of objects.
    #[error("byte {at} is not the {expected} that has to be there")]
    Syntax {
        /// Where, unpacked.
        at: u64,
        /// What should be there.
        expected: &'static str,
    },
    /// An element is not an event.
    #[error("the event at byte {at} cannot be read: {why}")]
    Event {
        /// Where it begins, unpacked.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// An element that no request to etcd could have made.
    #[error("the event at byte {at} is longer than {limit} bytes")]
    TooLong {
        /// Where it begins, unpacked.
        at: u64,
        /// The limit.
        limit: usize,
    },
    /// Revisions go back or one is missing.
    #[error("revision {found} comes after {after}: events are missing or out of order")]
    Disorder {
        /// The one before.
        after: Revision,
        /// The one that is not next.
        found: Revision,
    },
    /// An array of nothing; none is ever written.
    #[error("it has no events")]
    Empty,
    /// Whole, and not what its name says.
    #[error("it is named for revisions {start} to {last} and has {first} to {end}")]
    OtherThanNamed {
        /// Begin by name.
        start: Revision,
        /// End by name.
        last: Revision,
        /// Begin.
        first: Revision,
        /// End.
        end: Revision,
    },
    /// Bytes after an error or after the end.
    #[error("it was given up before its end")]
    GivenUp,
}

/// Holds events to their order: every revision follows the one before or is the same.
#[derive(Clone, Debug, Default)]
struct Sequence(Option<Summary>);

impl Sequence {
    fn admit(&mut self, found: Revision) -> Result<(), DeltaDamage> {
        let summary = self.0.get_or_insert(Summary {
            first: found,
            last: found,
            events: 0,
        });
        if found != summary.last && found != summary.last.next() {
            let after = summary.last;
            return Err(DeltaDamage::Disorder { after, found });
        }
        summary.last = found;
        summary.events += 1;
        Ok(())
    }
}

/// Length of the digest.
const DIGEST: usize = 32;
