//! The data directory of an etcd member: what a restore writes into it, and what is true of one
//! that is found. Names, frames, checksums and fields are as etcd 3.4 to 3.6 have them.
//!
//! ```text
//! <data-dir>/member/snap/db                                      the database (bbolt)
//! <data-dir>/member/snap/<term>-<index>.snap                     members as of an index
//! <data-dir>/member/wal/<number>-<index>.wal                     the write-ahead log, in segments
//! ```
//!
//! Reading order: [`identity`] (who is restored), [`members`], [`wal`] and [`snap_file`] (what is
//! written), [`wal_read`] and [`facts`] (what is found), [`check`] (do log and database fit?), [`alone`] (a member
//! without the others).

pub mod alone;
pub mod check;
pub mod facts;
pub mod identity;
pub mod members;
mod proto;
pub mod snap_file;
pub mod wal;
pub mod wal_read;

pub use identity::{ClusterId, Identity, IdentityError, InitialCluster, NewMember};

/// The term of everything that a restore writes.
const TERM: u64 = 1;
