//! When a snapshot is taken, and what is done when that fails: a state machine. It is told what
//! happened and when, and says what to do; it does nothing itself.
//!
//! The rules:
//!
//! * Whoever becomes leader lists the store first and asks etcd for its revision. If etcd is behind
//!   the store, the two have different histories: nothing is written until a person decides.
//! * A full snapshot is due at its slot, and at the start if there is none to build on, the newest
//!   is final or older than the window, a slot went by, or the last one failed. The watch does not
//!   wait for it: it goes on, and no delta spans the revision that the full snapshot is named for.
//! * That revision is asked for before the stream begins, and once more after, so that the content
//!   lies between the two. The first delta after it begins where the name ends and is not cut before
//!   the second, because etcd-backup-restore cannot restore it otherwise.
//! * A delta is cut every period, at the limit of bytes, when asked for, and before the end. Each of
//!   these but the limit asks etcd for its revision first and waits until the watch has come so far,
//!   so that what was acknowledged before is in it. The same answer shows a watch that hangs and an
//!   etcd that went back.
//! * A delta is uploaded only where it connects to what the store covers, one at a time, in order.
//!   One that failed is kept and tried again.
//! * All that fails is tried again by one policy of waiting longer each time. A request does not wait
//!   for that: what it needs is tried now, once.
//! * A request is always answered: with the snapshot, with nothing new, or with the reason.

mod backoff;
mod health;
mod machine;
mod running;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

pub use backoff::Backoff;
pub use health::{Health, State};
pub use machine::Snapshotter;
pub use view::StoreView;

use super::Revision;
use super::listing::Object;
use super::names::Key;

/// When full snapshots are due.
pub trait Schedule {
    /// The first slot after a time; `None` if there is none.
    fn next_after(&self, time: Timestamp) -> Option<Timestamp>;

    /// How old the newest full snapshot may be at the start.
    fn window(&self) -> SignedDuration;
}

/// How to take snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// `--delta-snapshot-period`; `None` takes no deltas.
    pub delta_period: Option<SignedDuration>,
    /// `--delta-snapshot-memory-limit`: a delta with so many bytes, unpacked, is cut.
    pub delta_limit: u64,
    /// `--garbage-collection-period`; `None` collects nothing.
    pub collection_period: Option<SignedDuration>,
    /// How to wait before another try.
    pub backoff: Backoff,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time passed.
    Tick,
    /// Our member leads.
    Led,
    /// Another member leads.
    Deposed,
    /// Nobody can say who leads.
    LeaderUnknown,
    /// The answer to [`Action::Survey`]; the store was listed before etcd was asked.
    Surveyed {
        /// What the store has.
        store: Box<StoreView>,
        /// etcd's revision.
        etcd: Revision,
    },
    /// It failed.
    SurveyFailed(String),
    /// The answer to [`Action::AskRevision`].
    AtRevision(Revision),
    /// It failed.
    RevisionFailed(String),
    /// What is in the spool now.
    Spooled(Spool),
    /// The answer to [`Action::Seal`]; `None` if the spool was empty.
    Sealed(Option<Sealed>),
    /// The spool was cut because of [`Action::SplitAfter`].
    Split(Sealed),
    /// The watch is over; the spool stays.
    WatchEnded(WatchEnd),
    /// The spool is lost; the watch is over.
    SpoolFailed(String),
    /// A full snapshot has its name. The watch is held back until the answer to this.
    FullBegan {
        /// etcd's revision before the stream began.
        named: Revision,
    },
    /// Its stream has begun.
    FullBound {
        /// etcd's revision after: its content is not newer.
        upper: Revision,
    },
    /// It is in the store.
    FullDone(Object),
    /// It is not needed, as [`Action::TakeFull`] said it might.
    FullUnneeded,
    /// It failed, and nothing of it is in the store.
    FullFailed(String),
    /// A delta is in the store.
    DeltaDone {
        /// [`Sealed::id`].
        id: u64,
        /// What was written.
        object: Object,
    },
    /// It is not.
    DeltaFailed {
        /// [`Sealed::id`].
        id: u64,
        /// Why not.
        why: String,
    },
    /// A round of garbage collection is over, however it went.
    Collected,
    /// Somebody wants a snapshot.
    Asked {
        /// Comes back with the answer.
        id: u64,
        /// Of which kind.
        wanted: Wanted,
        /// When the answer has to be there.
        by: Timestamp,
    },
    /// Flush and end.
    Stop {
        /// When it has to be over.
        by: Timestamp,
    },
}

/// Events that wait to be cut into a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The first revision.
    pub start: Revision,
    /// The last revision, all of it.
    pub to: Revision,
    /// Bytes, unpacked.
    pub bytes: u64,
}

/// A delta that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number, never used twice.
    pub id: u64,
    /// The first revision.
    pub start: Revision,
    /// The last revision.
    pub last: Revision,
}

/// Why a watch is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The next revision is no longer to be had.
    Compacted,
    /// The next event is not of the next revision.
    Gap {
        /// The last one.
        after: Revision,
        /// What came instead.
        found: Revision,
    },
    /// Something else.
    Failed(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A full snapshot.
    Full {
        /// The last one before the cluster moves elsewhere.
        is_final: bool,
    },
    /// What happened since the last.
    Delta,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// List the store, and then ask etcd for its revision.
    Survey,
    /// Ask etcd for its revision; linearizable.
    AskRevision,
    /// Watch all keys, into the spool that is there.
    OpenWatch {
        /// The first revision.
        from: Revision,
    },
    /// Close the watch and drop the spool.
    CloseWatch,
    /// Read no more of the watch for now.
    Pause,
    /// Read on.
    Resume,
    /// Cut the spool before the first event above this revision, and hold the watch back no more.
    SplitAfter(Revision),
    /// Hold the watch back no more.
    Release,
    /// Cut the spool now.
    Seal,
    /// Drop a delta that was cut.
    Discard {
        /// Which.
        id: u64,
    },
    /// Upload a delta.
    Upload {
        /// Which.
        id: u64,
    },
    /// Hold the watch back, ask for the revision, and take a full snapshot.
    TakeFull {
        /// Why.
        why: Why,
        /// Whether its name says that it is final.
        is_final: bool,
        /// At this revision it is not needed.
        unless: Option<Revision>,
    },
    /// Stop taking it; nothing of it may appear.
    CancelFull,
    /// Say in a lease what the store has.
    Renew(Lease),
    /// Delete what is no longer to be kept.
    Collect,
    /// Answer a request.
    Answer {
        /// Which.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// Stop all of the above that is under way and drop spool and deltas.
    Abandon,
    /// It is over; nothing more will come.
    Finish,
}

/// What a lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// After a full snapshot.
    Full {
        /// `holderIdentity`.
        last: Revision,
        /// `renewTime`.
        created: Timestamp,
    },
    /// After a delta, and every period.
    Delta {
        /// `holderIdentity`; "0" if there is none.
        last: Option<Revision>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This is the snapshot.
    Taken(Box<Object>),
    /// Nothing happened since the last one.
    Nothing,
    /// There is none.
    Refused(Denial),
}

/// Why a request gets no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// Another member's sidecar takes them.
    #[error("this member does not lead; ask the sidecar of the leader")]
    NotLeading,
    /// Nobody takes them.
    #[error("etcd has no leader, or does not answer; try again when it does")]
    LeaderUnknown,
    /// Deltas are switched off.
    #[error("deltas are disabled; set --delta-snapshot-period to 1s or more")]
    DeltasDisabled,
    /// See there.
    #[error(transparent)]
    Diverged(Diverged),
    /// It was tried.
    #[error("the snapshot failed: {0}")]
    Failed(String),
    /// It took too long.
    #[error("no snapshot in the time given; it goes on, ask for the latest later{last_failure}")]
    TimedOut {
        /// What failed last, with a separator in front; may be empty.
        last_failure: String,
    },
    /// We are about to end.
    #[error("the snapshotter is stopping; ask again when it runs")]
    Stopping,
}

/// etcd and store do not have the same history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "etcd is at revision {etcd} and the store has {store} ({object}): they do not have the same \
     history, so nothing is written; restore etcd from the store, or give it another \
     --store-prefix"
)]
pub struct Diverged {
    /// etcd's revision.
    pub etcd: Revision,
    /// The store's.
    pub store: Revision,
    /// The object that is newer.
    pub object: Box<Key>,
}

/// Why a full snapshot is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    NoBase,
    /// The newest is final.
    FinalBase,
    /// The newest is too old.
    Old,
    /// A slot went by since the newest.
    SlotMissed,
    /// The newest chain has a hole or an object that cannot be read.
    Broken(String),
    /// The last one failed.
    Failed,
    /// Revisions that the next delta needs cannot be had.
    Missed(String),
    /// etcd was behind the store: the store's deltas are not of its history.
    Diverged,
    /// Its slot has come.
    Scheduled,
    /// Somebody asked for it.
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBase => "there is none",
            Self::FinalBase => "the newest is final",
            Self::Old => "the newest is older than the window of the schedule",
            Self::SlotMissed => "a slot of the schedule went by without one",
            Self::Broken(why) => return write!(f, "the newest chain is broken: {why}"),
            Self::Failed => "the last one failed",
            Self::Missed(why) => return write!(f, "revisions are in no delta: {why}"),
            Self::Diverged => "etcd was behind the store",
            Self::Scheduled => "its slot has come",
            Self::Asked => "it was asked for",
        })
    }
}
