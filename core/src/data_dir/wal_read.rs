//! Reads the write-ahead log of a member as etcd 3.5 and 3.6 do at their start, trusting no byte of
//! it and changing none. Segments are streamed: what is held is one record, and one byte per entry.
//!
//! A log whose last record was being written when the machine stopped is *torn*: etcd cuts that
//! record off and starts. Anything else that is wrong is damage, with which etcd does not start. The
//! rules are etcd's: torn is what ends with the file, and what fails its checks in the last segment
//! while a sector of it is all zeros, because it never reached the disk.
//!
//! etcd reads twice, and so does this: [`overview`] everything, to find the `.snap` file to start
//! from; [`tail`] what comes after that.

use std::fmt;
use std::io::{self, Read};

use super::identity::ClusterId;
use super::snap_file::{Position, two_numbers};
use super::wal::{kind, segment_name};
use crate::member::MemberId;

mod content;
mod error;
mod records;

pub(super) use content::{Members, Record};
use content::{record, whose};
pub use error::{BadRecord, WalDamage, WalError};
use records::{Next, Segment};

/// A segment's file name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// Counted from 0.
    pub number: u64,
    /// The first entry that may be in it.
    pub index: u64,
}

impl SegmentName {
    /// `None` if it is no name of a segment.
    pub fn parse(name: &str) -> Option<Self> {
        let (number, index) = two_numbers(name.strip_suffix(".wal")?)?;
        Some(Self { number, index })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&segment_name(self.number, self.index))
    }
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After a whole record.
    Clean,
    /// In a record that was being written; etcd cuts it off.
    Torn {
        /// Where.
        segment: SegmentName,
        /// The end of the last whole record, bytes from the start of the file.
        offset: u64,
    },
}

/// What raft has to remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The term.
    pub term: u64,
    /// For whom was voted in it.
    pub vote: u64,
    /// The last entry that is known to be committed. More may be.
    pub commit: u64,
}

/// What all segments say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Whose log it is.
    pub member: MemberId,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// The last one written.
    pub state: HardState,
    /// For which positions `.snap` files were made, in the order in which that was recorded. The
    /// first is before all entries.
    pub snapshots: Vec<Position>,
    /// Its end.
    pub end: End,
}

impl Overview {
    /// Whether etcd would start from a `.snap` file of this position: it is recorded and committed.
    pub fn may_start_from(&self, position: Position) -> bool {
        position.index <= self.state.commit && self.snapshots.contains(&position)
    }
}

/// The entries after the place to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    start: u64,
    commit: u64,
    may_add: Vec<bool>,
}

/// Entries that a database has not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// How many.
    pub entries: u64,
    /// How many of them are known to be committed.
    pub committed: u64,
    /// How many revisions they add at most.
    ///
    /// One for each entry that can write, because an entry makes one revision or, for example if it
    /// deletes what is not there, none. Entries that may not be committed count too. Both err to the
    /// side where data that may be complete is kept: to put an older backup in its place would lose
    /// writes that were acknowledged, while data that is not complete is only as old as it is.
    pub revisions: u64,
}

impl Tail {
    #[cfg(test)]
    pub(super) fn new(start: u64, commit: u64, may_add: Vec<bool>) -> Self {
        Self {
            start,
            commit,
            may_add,
        }
    }

    /// The index that it begins after.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The index of the last entry, or that of the start if none follows it.
    pub fn last_index(&self) -> u64 {
        self.start.saturating_add(self.may_add.len() as u64)
    }

    /// Those after `applied`, the `consistent_index` of a database.
    pub fn pending(&self, applied: u64) -> Pending {
        let from = applied.max(self.start);
        let skip = usize::try_from(from - self.start).unwrap_or(usize::MAX);
        let rest = self.may_add.get(skip..).unwrap_or_default();
        let entries = rest.len() as u64;
        Pending {
            entries,
            committed: self.commit.saturating_sub(from).min(entries),
            revisions: rest.iter().filter(|may_add| **may_add).count() as u64,
        }
    }
}

/// Segments of a log and how to open one.
#[derive(Debug)]
pub struct Segments<F> {
    names: Vec<SegmentName>,
    open: F,
}

impl<F> Segments<F> {
    /// In any order. `open` gives a segment's bytes, and how many there are.
    pub fn new<R>(mut names: Vec<SegmentName>, open: F) -> Result<Self, WalDamage>
    where
        R: Read,
        F: Fn(SegmentName) -> io::Result<(R, u64)>,
    {
        names.sort_unstable();
        if names.is_empty() {
            return Err(WalDamage::NoSegment);
        }
        for (&before, &after) in names.iter().zip(names.iter().skip(1)) {
            if before.number.checked_add(1) != Some(after.number) {
                return Err(WalDamage::SegmentGap { before, after });
            }
        }
        Ok(Self { names, open })
    }

    /// Those with the entries after `start`.
    fn after(&self, start: Position) -> Result<&[SegmentName], WalDamage> {
        let from = self
            .names
            .iter()
            .rposition(|name| name.index <= start.index);
        if let Some(from) = from {
            return Ok(&self.names[from..]);
        }
        let first = self.names.first().copied().ok_or(WalDamage::NoSegment)?;
        let from = start.index;
        Err(WalDamage::SegmentsMissing { first, from })
    }
}

/// Visits every record of the segments with the entries after `start`.
pub(super) fn visit_after<R, F>(
    segments: &Segments<F>,
    start: Position,
    visit: impl FnMut(Record) -> Result<(), BadRecord>,
) -> Result<Whole, WalError>
where
    R: Read,
    F: Fn(SegmentName) -> io::Result<(R, u64)>,
{
    read(segments.after(start)?, &segments.open, visit)
}

/// Segments that were read to their end.
pub(super) struct Whole {
    pub(super) member: MemberId,
    pub(super) cluster: ClusterId,
    end: End,
    /// The segment that the next record belongs into, and where in it.
    pub(super) next: (SegmentName, u64),
    /// Of all records.
    pub(super) crc: u32,
}

/// Reads every segment.
pub fn overview<R, F>(segments: &Segments<F>) -> Result<Overview, WalError>
where
    R: Read,
    F: Fn(SegmentName) -> io::Result<(R, u64)>,
{
    let mut state = HardState::default();
    let mut snapshots = Vec::new();
    let read = read(&segments.names, &segments.open, |record| {
        match record {
            Record::Entry(_) => {}
            Record::State(found) => state = found,
            Record::Snapshot(position) => snapshots.push(position),
        }
        Ok(())
    })?;
    Ok(Overview {
        member: read.member,
        cluster: read.cluster,
        state,
        snapshots,
        end: read.end,
    })
}

/// Reads the entries after `start`: the position of the `.snap` file that is used, or the position
/// before all entries if there is none.
pub fn tail<R, F>(segments: &Segments<F>, start: Position) -> Result<Tail, WalError>
where
    R: Read,
    F: Fn(SegmentName) -> io::Result<(R, u64)>,
{
    let names = segments.after(start)?;
    let mut commit = 0;
    let mut may_add: Vec<bool> = Vec::new();
    let mut recorded = false;
    read(names, &segments.open, |record| {
        match record {
            Record::Entry(it) => {
                let index = it.at.index;
                let place = index
                    .checked_sub(start.index)
                    .and_then(|n| n.checked_sub(1));
                let Some(place) = place else {
                    return Ok(());
                };
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                if place > may_add.len() {
                    return Err(BadRecord::EntryGap {
                        last: start.index.saturating_add(may_add.len() as u64),
                        found: index,
                    });
                }
                // It replaces one of that index, and what followed that.
                may_add.truncate(place);
                may_add.push(it.may_add);
            }
            Record::State(state) => commit = state.commit,
            Record::Snapshot(found) if found.index == start.index => {
                if found.term != start.term {
                    return Err(BadRecord::SnapshotTerm {
                        index: start.index,
                        expected: start.term,
                        found: found.term,
                    });
                }
                recorded = true;
            }
            Record::Snapshot(_) => {}
        }
        Ok(())
    })?;
    if !recorded {
        return Err(WalDamage::NoSnapshot(start.index).into());
    }
    Ok(Tail {
        start: start.index,
        commit,
        may_add,
    })
}

/// Reads segments from their first to their last.
fn read<R: Read>(
    names: &[SegmentName],
    open: &impl Fn(SegmentName) -> io::Result<(R, u64)>,
    mut visit: impl FnMut(Record) -> Result<(), BadRecord>,
) -> Result<Whole, WalError> {
    let mut metadata: Option<Vec<u8>> = None;
    let mut crc = 0;
    let mut end = End::Clean;
    let mut next = None;
    for (place, &name) in names.iter().enumerate() {
        let last = place + 1 == names.len();
        let failed = |source| WalError::Read {
            segment: name,
            source,
        };
        let (bytes, length) = open(name).map_err(failed)?;
        let mut segment = Segment::new(bytes, length, last, crc);
        loop {
            let offset = segment.offset();
            let bad = |what| WalDamage::Record {
                segment: name,
                offset,
                what,
            };
            let (kind, data) = match segment.next().map_err(failed)? {
                Next::Record { kind, data } => (kind, data),
                Next::End => break,
                Next::Torn => {
                    end = End::Torn {
                        segment: name,
                        offset,
                    };
                    break;
                }
                Next::Bad(what) => return Err(bad(what).into()),
            };
            if kind != kind::METADATA {
                let record = record(kind, data).map_err(bad)?;
                record.map_or(Ok(()), &mut visit).map_err(bad)?;
                continue;
            }
            match &metadata {
                Some(first) if first.as_slice() == data => {}
                Some(_) => return Err(bad(BadRecord::OtherMember).into()),
                None => metadata = Some(data.to_vec()),
            }
        }
        crc = segment.crc();
        next = Some((name, segment.offset()));
    }
    let whose = metadata.and_then(|metadata| whose(&metadata));
    let (member, cluster) = whose.ok_or(WalDamage::NoMetadata)?;
    Ok(Whole {
        member,
        cluster,
        end,
        next: next.ok_or(WalDamage::NoSegment)?,
        crc,
    })
}

#[cfg(test)]
mod tests;
