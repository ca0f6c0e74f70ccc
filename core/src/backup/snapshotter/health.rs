//! What the snapshotter tells of itself.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::super::Revision;
use super::super::listing::Object;
use super::Diverged;

/// How backups stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Another member's sidecar takes them, or nobody knows who leads.
    Idle,
    /// Everything up to `age` ago is in the store, or nothing is yet and it was just begun.
    Healthy {
        /// How long ago; `None` before the first snapshot.
        age: Option<SignedDuration>,
    },
    /// The store is further behind than three periods.
    Late {
        /// How far.
        age: SignedDuration,
    },
    /// Something failed twice in a row.
    Failing {
        /// What and why.
        why: String,
    },
    /// Nothing is written.
    Diverged(Diverged),
}

/// Where the snapshotter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// How backups stand.
    pub health: Health,
    /// Whether it is this sidecar that takes them.
    pub active: bool,
    /// The newest full snapshot.
    pub base: Option<Object>,
    /// What the store covers.
    pub covered: Option<Revision>,
    /// Everything up to this time is in the store.
    pub as_of: Option<Timestamp>,
    /// The last revision of the newest delta.
    pub newest_delta: Option<Revision>,
    /// Bytes that wait to be cut into a delta, unpacked.
    pub spooled: u64,
    /// Deltas that wait to be uploaded.
    pub waiting: usize,
    /// Whether a full snapshot is being taken.
    pub full_running: bool,
}

impl Health {
    /// Whether nobody has to look.
    pub fn is_good(&self) -> bool {
        match self {
            Self::Idle | Self::Healthy { .. } => true,
            Self::Late { .. } | Self::Failing { .. } | Self::Diverged(_) => false,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle: this member does not lead"),
            Self::Healthy { age: None } => f.write_str("healthy: the first snapshot is under way"),
            Self::Healthy { age: Some(age) } => {
                write!(f, "healthy: covered up to {} s ago", age.as_secs())
            }
            Self::Late { age } => write!(
                f,
                "late: covered up to {} s ago; check the store and etcd",
                age.as_secs()
            ),
            Self::Failing { why } => write!(f, "failing: {why}"),
            Self::Diverged(diverged) => diverged.fmt(f),
        }
    }
}
