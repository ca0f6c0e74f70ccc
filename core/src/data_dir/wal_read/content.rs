//! What is in a record, and what an entry does to the store.

use super::super::identity::ClusterId;
use super::super::snap_file::Position;
use super::super::wal::{entry, kind};
use super::{BadRecord, HardState};
use crate::member::MemberId;
use crate::mvcc::wire::{Fields, WireError};

/// What a record says, apart from whose it is.
pub(in crate::data_dir) enum Record {
    Entry(Entry),
    State(HardState),
    Snapshot(Position),
}

pub(in crate::data_dir) struct Entry {
    pub(in crate::data_dir) at: Position,
    pub(super) may_add: bool,
    pub(in crate::data_dir) members: Members,
}

/// What an entry does to the member list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data_dir) enum Members {
    Stay,
    /// Raft's `ConfChange` of one member.
    Change {
        kind: u64,
        member: MemberId,
    },
    /// Raft's `ConfChangeV2`, which no release of etcd up to 3.6 writes, or one that is malformed.
    Unknown,
}

/// From the record that each segment begins with.
pub(super) fn whose(metadata: &[u8]) -> Option<(MemberId, ClusterId)> {
    let [member, cluster] = numbers(metadata).ok()?;
    (member != 0).then_some((MemberId(member), ClusterId(cluster)))
}

/// `None` for a record that says nothing of its own.
pub(super) fn record(kind: u64, data: &[u8]) -> Result<Option<Record>, BadRecord> {
    let record = match kind {
        kind::CRC => return Ok(None),
        kind::ENTRY => entry_of(data).map(Record::Entry),
        kind::STATE => numbers(data)
            .map(|[term, vote, commit]| Record::State(HardState { term, vote, commit })),
        kind::SNAPSHOT => {
            numbers(data).map(|[index, term]| Record::Snapshot(Position { term, index }))
        }
        other => return Err(BadRecord::Kind(other)),
    };
    record.map(Some).map_err(|_| BadRecord::Malformed)
}

/// The first fields of a message, which are numbers; absent ones are 0.
fn numbers<const N: usize>(message: &[u8]) -> Result<[u64; N], WireError> {
    let mut numbers = [0; N];
    let mut fields = Fields::of(message);
    while let Some(field) = fields.next()? {
        let place = usize::try_from(field.number).ok();
        let slot = place.and_then(|it| numbers.get_mut(it.checked_sub(1)?));
        if let Some(slot) = slot {
            *slot = field.unsigned()?;
        }
    }
    Ok(numbers)
}

fn entry_of(data: &[u8]) -> Result<Entry, WireError> {
    let (mut kind, mut at, mut request) = (entry::NORMAL, Position::default(), &[][..]);
    let mut fields = Fields::of(data);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => kind = field.unsigned()?,
            2 => at.term = field.unsigned()?,
            3 => at.index = field.unsigned()?,
            4 => request = field.bytes()?,
            _ => {}
        }
    }
    let members = match kind {
        entry::CONF_CHANGE => match numbers(request) {
            Ok([_, kind, member]) => Members::Change {
                kind,
                member: MemberId(member),
            },
            Err(_) => Members::Unknown,
        },
        entry::CONF_CHANGE_V2 => Members::Unknown,
        _ => Members::Stay,
    };
    // A kind that nobody knows may do anything.
    let may_add = members == Members::Stay && may_add(request);
    Ok(Entry {
        at,
        may_add,
        members,
    })
}

/// What is in a request of the v3 store, by the numbers of its fields.
mod request {
    pub(super) const V2_METHOD: u64 = 2;
    pub(super) const PUT: u64 = 4;
    pub(super) const DELETE_RANGE: u64 = 5;
    pub(super) const TXN: u64 = 6;
    pub(super) const LEASE_REVOKE: u64 = 9;
    pub(super) const HEADER: u64 = 100;
}

/// The methods of the v2 store, with which 3.4 and 3.5 publish members and the cluster's version.
const V2_METHODS: [&[u8]; 6] = [b"PUT", b"POST", b"DELETE", b"GET", b"QGET", b"SYNC"];

/// Whether a request may make a revision. One that cannot be read may.
pub(super) fn may_add(request: &[u8]) -> bool {
    let (mut v2, mut v3, mut writes) = (false, false, false);
    let mut fields = Fields::of(request);
    loop {
        let field = match fields.next() {
            Ok(Some(field)) => field,
            Ok(None) => return writes && (v3 || !v2),
            Err(_) => return true,
        };
        match field.number {
            request::HEADER => v3 = true,
            request::V2_METHOD => v2 = field.bytes().is_ok_and(|it| V2_METHODS.contains(&it)),
            request::PUT | request::DELETE_RANGE | request::TXN | request::LEASE_REVOKE => {
                writes = true;
            }
            _ => {}
        }
    }
}
