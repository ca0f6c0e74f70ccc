//! What etcd keeps in its database: which buckets, and what a row of each is.
//!
//! The rows of bucket `key` are the history: the key is a [`RowKey`], the value a [`KeyValue`].
//! In their order they are in the order of history.

mod alarm;
mod key_value;
mod lease;
mod row_key;
#[cfg(test)]
mod tests;
mod wire;

pub use alarm::{Alarm, AlarmKind};
pub use key_value::KeyValue;
pub use lease::Lease;
pub use row_key::{RowKey, RowKeyBytes};
pub use wire::WireError;

use crate::backup::Revision;

/// The names of buckets.
pub mod bucket {
    /// The history: every change that no compaction removed.
    pub const KEY: &[u8] = b"key";
    /// The leases: 8 bytes, big-endian, and a [`super::Lease`].
    pub const LEASE: &[u8] = b"lease";
    /// Whether a login is needed.
    pub const AUTH: &[u8] = b"auth";
    /// The users.
    pub const AUTH_USERS: &[u8] = b"authUsers";
    /// The roles.
    pub const AUTH_ROLES: &[u8] = b"authRoles";
    /// The alarms that are raised: a [`super::Alarm`] and nothing.
    pub const ALARM: &[u8] = b"alarm";
    /// The members: id in hexadecimal without leading zeros, and JSON.
    pub const MEMBERS: &[u8] = b"members";
    /// The members that were removed.
    pub const MEMBERS_REMOVED: &[u8] = b"members_removed";
    /// The cluster version, and a downgrade that was asked for.
    pub const CLUSTER: &[u8] = b"cluster";
    /// What the member knows of itself; see [`super::meta`].
    pub const META: &[u8] = b"meta";

    /// All that etcd needs, by name.
    pub const ALL: [&[u8]; 10] = [
        ALARM,
        AUTH,
        AUTH_ROLES,
        AUTH_USERS,
        CLUSTER,
        KEY,
        LEASE,
        MEMBERS,
        MEMBERS_REMOVED,
        META,
    ];
}

/// The keys of bucket `meta`.
pub mod meta {
    /// The raft index of the last entry that was applied: `u64`, big-endian.
    pub const CONSISTENT_INDEX: &[u8] = b"consistent_index";
    /// The term of that entry: `u64`, big-endian; since 3.5.
    pub const TERM: &[u8] = b"term";
    /// Who votes, as JSON; since 3.5.
    pub const CONF_STATE: &[u8] = b"confState";
    /// The release that the schema is of; since 3.6. An older one does not start with it.
    pub const STORAGE_VERSION: &[u8] = b"storageVersion";
    /// The revision that a compaction was begun at, 17 bytes.
    pub const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
    /// The revision that a compaction was completed at, 17 bytes.
    pub const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";
}

/// The revision that a row of bucket `meta` says that nothing older is kept than; `None` if it is no
/// mark of a compaction. The revision of a store is never below it.
pub fn compaction_mark(key: &[u8], value: &[u8]) -> Option<Revision> {
    let is_mark = key == meta::SCHEDULED_COMPACTION || key == meta::FINISHED_COMPACTION;
    is_mark
        .then(|| RowKey::parse(value))
        .flatten()
        .map(RowKey::main)
}
