//! What can be wrong with a log.

use std::io;

use thiserror::Error;

use super::SegmentName;

/// Why a log could not be read to its end.
#[derive(Debug, Error)]
pub enum WalError {
    /// It was read, and etcd would not start with it.
    #[error(transparent)]
    Damage(#[from] WalDamage),
    /// It could not be read, which says nothing of what is in it.
    #[error("{segment}: {source}")]
    Read {
        /// Where.
        segment: SegmentName,
        /// What the system says.
        source: io::Error,
    },
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WalDamage {
    /// Nothing there.
    #[error("there is no segment of the write-ahead log")]
    NoSegment,
    /// One is missing.
    #[error("the segment between {before} and {after} is missing")]
    SegmentGap {
        /// The one before.
        before: SegmentName,
        /// The one after.
        after: SegmentName,
    },
    /// The first ones are missing.
    #[error("the segments before {first} are missing, and they are needed from index {from} on")]
    SegmentsMissing {
        /// The first that there is.
        first: SegmentName,
        /// Where reading begins.
        from: u64,
    },
    /// A record that is neither right nor torn.
    #[error("{segment}, offset {offset}: {what}")]
    Record {
        /// Where.
        segment: SegmentName,
        /// The beginning of its frame, bytes from the start of the file.
        offset: u64,
        /// What is wrong with it.
        what: BadRecord,
    },
    /// No member's number in it.
    #[error("the write-ahead log does not say whose it is")]
    NoMetadata,
    /// The place to start from is not in it.
    #[error("the write-ahead log has no record of the snapshot at index {0}")]
    NoSnapshot(u64),
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRecord {
    /// It is cut, and more segments follow.
    #[error("the record is cut, in a segment that is not the last")]
    Cut,
    /// It is no message.
    #[error("the record is malformed")]
    Malformed,
    /// Its bytes are other ones than were written.
    #[error("the record does not match its checksum")]
    Checksum,
    /// A kind that no release writes.
    #[error("the record is of an unknown kind, {0}")]
    Kind(u64),
    /// Segments of two members.
    #[error("the record names another member or cluster than the first one does")]
    OtherMember,
    /// Entries are missing.
    #[error("the entry has index {found}, and the one after {last} is expected")]
    EntryGap {
        /// The last one before it.
        last: u64,
        /// Its own.
        found: u64,
    },
    /// The snapshot of another history.
    #[error("the snapshot at index {index} is of term {found}, and the file of term {expected}")]
    SnapshotTerm {
        /// Its index.
        index: u64,
        /// That of the file.
        expected: u64,
        /// That in the log.
        found: u64,
    },
}
