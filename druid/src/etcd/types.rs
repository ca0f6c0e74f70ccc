//! What etcd is asked with and answers, without the wire.

use druid_core::member::{MemberId, MemberName};
use druid_core::observed::{Alarm, AlarmKind};

use super::pb;

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kv {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// Its value; empty where only keys were asked for.
    pub(crate) value: Vec<u8>,
    /// The revision of its last change.
    pub(crate) mod_revision: i64,
    /// The revision that it was created at.
    pub(crate) create_revision: i64,
    /// How often it was written since it was created.
    pub(crate) version: i64,
    /// Its lease, 0 for none.
    pub(crate) lease: i64,
}

/// What keys to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys<'a> {
    /// One.
    One(&'a [u8]),
    /// All that begin so; the empty prefix is every key.
    Prefix(&'a [u8]),
    /// From the first up to and without the second.
    Range(&'a [u8], &'a [u8]),
}

/// How to read a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeOptions {
    /// At most so many keys; 0 for all.
    pub(crate) limit: i64,
    /// At this revision; 0 for the latest.
    pub(crate) revision: i64,
    /// From the member's own state, without asking the others.
    pub(crate) serializable: bool,
    /// Without the values.
    pub(crate) keys_only: bool,
    /// Without the keys.
    pub(crate) count_only: bool,
}

/// The answer to a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// In the order of their keys.
    pub(crate) kvs: Vec<Kv>,
    /// How many there are, whatever the limit.
    pub(crate) count: i64,
    /// Whether the limit cut some off.
    pub(crate) more: bool,
    /// The revision of the store when it was read.
    pub(crate) revision: i64,
}

/// The outcome of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cas {
    /// Whether the key had the expected value, and so has the new one now.
    pub(crate) succeeded: bool,
    /// The revision of the store after it.
    pub(crate) revision: i64,
    /// What the key had instead, if it did not succeed.
    pub(crate) current: Option<Vec<u8>>,
}

/// `Maintenance.Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberStatus {
    /// The member that answered.
    pub(crate) id: MemberId,
    /// Its cluster's number.
    pub(crate) cluster: u64,
    /// Its release, as text.
    pub(crate) version: String,
    /// Whom it takes for the leader.
    pub(crate) leader: MemberId,
    /// Its raft term.
    pub(crate) term: u64,
    /// The last raft entry that it knows to be committed.
    pub(crate) raft_index: u64,
    /// The last raft entry that it applied.
    pub(crate) raft_applied_index: u64,
    /// The revision of its store.
    pub(crate) revision: i64,
    /// Bytes of its database file.
    pub(crate) db_size: u64,
    /// The part of them that holds data.
    pub(crate) db_size_in_use: u64,
    /// Whether it is a learner.
    pub(crate) learner: bool,
    /// What it complains of.
    pub(crate) errors: Vec<String>,
}

/// A line of the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its number.
    pub(crate) id: MemberId,
    /// Its name; empty while it has never started.
    pub(crate) name: MemberName,
    /// Where its peers reach it.
    pub(crate) peer_urls: Vec<String>,
    /// Where clients reach it; empty while it has never started.
    pub(crate) client_urls: Vec<String>,
    /// Whether it is a learner.
    pub(crate) learner: bool,
}

/// The answer to `HashKV`. Only pairs with the same `compact_revision` can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashKv {
    /// The hash of all that is left of the store up to the revision asked for.
    pub(crate) hash: u32,
    /// The compaction that decided what is left.
    pub(crate) compact_revision: i64,
    /// The revision of the store when it was asked.
    pub(crate) revision: i64,
}

impl Keys<'_> {
    /// `key` and `range_end` as etcd takes them.
    pub(super) fn bounds(self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::One(key) => (key.to_vec(), Vec::new()),
            Self::Prefix([]) => (vec![0], vec![0]),
            Self::Prefix(prefix) => (prefix.to_vec(), after(prefix)),
            Self::Range(first, end) => (first.to_vec(), end.to_vec()),
        }
    }
}

/// The first key after all that begin with the prefix; a lone zero byte stands for no end.
fn after(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX);
    kept.map_or_else(
        || vec![0],
        |last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        },
    )
}

pub(super) fn alarm_of(alarm: pb::AlarmMember) -> Alarm {
    let kind = match pb::AlarmType::try_from(alarm.alarm) {
        Ok(pb::AlarmType::Nospace) => AlarmKind::NoSpace,
        Ok(pb::AlarmType::Corrupt) => AlarmKind::Corrupt,
        Ok(pb::AlarmType::None) | Err(_) => AlarmKind::Unknown,
    };
    Alarm {
        member: MemberId(alarm.member_id),
        kind,
    }
}

impl From<pb::KeyValue> for Kv {
    fn from(kv: pb::KeyValue) -> Self {
        Self {
            key: kv.key,
            value: kv.value,
            mod_revision: kv.mod_revision,
            create_revision: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}

impl From<pb::Member> for Member {
    fn from(member: pb::Member) -> Self {
        Self {
            id: MemberId(member.id),
            name: MemberName(member.name),
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
            learner: member.is_learner,
        }
    }
}
