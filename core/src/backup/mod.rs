//! Backups as etcd-backup-restore keeps them, so that either program reads what the other wrote:
//! a store holds full snapshots of etcd and, between them, deltas of the changes since. The names
//! are the whole catalogue; there is no index.
//!
//! Reading order: [`codec`] and [`names`] (one object), [`listing`] (which objects restore a cluster),
//! [`restorable`] (and if some are damaged?), [`delta`] (what is in one), [`replay`] and [`compaction`]
//! (a new database from them), [`inventory`] and [`copying`] (the store as a whole), [`retention`]
//! (which may go), [`initialize`] (what a member does with its data and the store before etcd starts).

pub mod codec;
pub mod compaction;
pub mod copying;
pub mod database;
pub mod delta;
pub mod initialize;
pub mod inventory;
pub mod leftovers;
pub mod listing;
pub mod names;
pub mod replay;
pub mod restorable;
pub mod retention;
pub mod snapshotter;
pub mod versions;

use std::fmt;

pub use database::CopyError;

/// A revision of etcd's store. The first write of a new cluster makes 2, so no object is about one
/// below 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

impl Revision {
    /// The revision of a store to which nothing was ever written.
    pub const FIRST: Self = Self(1);

    /// `None` below 1.
    pub fn new(revision: i64) -> Option<Self> {
        (revision >= 1).then_some(Self(revision))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The next one; the last one that there is has itself.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
