//! What makes a member that has lost the others a cluster of its own, with all that its log holds.
//!
//! etcd's own `--force-new-cluster` cuts off every entry that the member does not know to be
//! committed. It learns that with the message after the entry, so a write that was acknowledged to a
//! client just before the others were lost would be cut off, too. This commits the whole log instead,
//! and then removes the others, as that flag does: an entry for each of them, and a state of raft that
//! says that all is committed. etcd does the rest at its next start, as if it had always been so.
//!
//! It is only added to the log, in one piece whose last record is the one that counts: an interrupted
//! one changes nothing, and is done again from the start.

use std::collections::BTreeSet;
use std::io::{self, Read};

use thiserror::Error;

use super::identity::ClusterId;
use super::members::Stored;
use super::proto::Message;
use super::snap_file::Position;
use super::wal::{Records, entry, kind};
use super::wal_read::{
    BadRecord, HardState, Members, Record, SegmentName, Segments, WalError, visit_after,
};
use crate::member::MemberId;

/// Raft's kinds of changes of the member list.
mod change {
    pub(super) const ADD: u64 = 0;
    pub(super) const REMOVE: u64 = 1;
    pub(super) const UPDATE: u64 = 2;
    pub(super) const ADD_LEARNER: u64 = 3;
}

/// A log, as far as it tells who is up to date and who the others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub member: MemberId,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// The last entry, committed or not.
    pub last: Position,
    /// Whether this member has a vote.
    pub votes: bool,
    others: BTreeSet<MemberId>,
    state: HardState,
    next: (SegmentName, u64),
    crc: u32,
}

/// What is to be written into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Into which segment: the last one.
    pub segment: SegmentName,
    /// Where: the end of its last whole record, bytes from the start of the file. What is behind is to
    /// be zeros.
    pub offset: u64,
    /// The records.
    pub bytes: Vec<u8>,
    /// Who is removed. Some may have been removed before; etcd passes over those.
    pub removed: Vec<MemberId>,
}

/// Why a member cannot go on alone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAlone {
    /// A learner may lack what was acknowledged, and raft gives it no vote.
    #[error("member {0} is a learner: its data may be far behind; choose another one")]
    Learner(MemberId),
}

/// Reads the entries after `start`, the position of the `.snap` file that etcd would start from.
/// `stored`: the members in the database.
///
/// # Errors
/// If the log is damaged, or changes members in a way that no release of etcd does.
pub fn standing<R, F>(
    segments: &Segments<F>,
    start: Position,
    stored: &[Stored],
) -> Result<Standing, WalError>
where
    R: Read,
    F: Fn(SegmentName) -> io::Result<(R, u64)>,
{
    let (mut last, mut state) = (start, HardState::default());
    let mut changes: Vec<(u64, u64, MemberId)> = Vec::new();
    let whole = visit_after(segments, start, |record| {
        match record {
            Record::Entry(it) if it.at.index > start.index => {
                last = it.at;
                // It replaces one of that index, and what followed that.
                changes.retain(|(index, _, _)| *index < last.index);
                match it.members {
                    Members::Stay => {}
                    Members::Change { kind, member } => changes.push((last.index, kind, member)),
                    Members::Unknown => return Err(BadRecord::Malformed),
                }
            }
            Record::State(found) => state = found,
            Record::Entry(_) | Record::Snapshot(_) => {}
        }
        Ok(())
    })?;
    let own = whole.member;
    let mut votes = stored.iter().any(|it| it.id == own && it.votes);
    // Who may have been a member at any time: to remove one twice does no harm, to forget one does.
    let mut others: BTreeSet<MemberId> = stored.iter().map(|it| it.id).collect();
    for (_, kind, member) in changes {
        match kind {
            change::ADD if member == own => votes = true,
            change::REMOVE | change::ADD_LEARNER if member == own => votes = false,
            change::ADD | change::ADD_LEARNER | change::UPDATE | change::REMOVE => {
                others.insert(member);
            }
            _ => {}
        }
    }
    others.remove(&own);
    Ok(Standing {
        member: own,
        cluster: whole.cluster,
        last,
        votes,
        others,
        state,
        next: whole.next,
        crc: whole.crc,
    })
}

impl Standing {
    /// What makes it a cluster of its own.
    ///
    /// # Errors
    /// If it has no vote.
    pub fn alone(&self) -> Result<Addition, NotAlone> {
        if !self.votes {
            return Err(NotAlone::Learner(self.member));
        }
        let term = self.state.term.max(self.last.term);
        let mut records = Records::after(self.crc);
        let mut index = self.last.index;
        for member in &self.others {
            index += 1;
            let change = Message::default()
                .number(1, 0)
                .number(2, change::REMOVE)
                .number(3, member.0);
            let entry = Message::default()
                .number(1, entry::CONF_CHANGE)
                .number(2, term)
                .number(3, index)
                .bytes(4, &change.done());
            records.record(kind::ENTRY, &entry.done());
        }
        let state = Message::default()
            .number(1, term)
            .number(2, self.state.vote)
            .number(3, index);
        records.record(kind::STATE, &state.done());
        let (segment, offset) = self.next;
        Ok(Addition {
            segment,
            offset,
            bytes: records.done(),
            removed: self.others.iter().copied().collect(),
        })
    }
}

#[cfg(test)]
#[path = "alone_tests.rs"]
mod tests;
