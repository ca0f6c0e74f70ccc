//! Every reason why nothing is done.

use thiserror::Error;

/// Why nothing is done now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Why {
    /// The Etcd is being deleted.
    #[error("the Etcd is being deleted")]
    Leaves,
    /// It has no backups.
    #[error("the Etcd has no backups that leases tell of")]
    NoBackups,
    /// Nothing can be made from it.
    #[error("the Etcd cannot be used: {0}")]
    Unusable(String),
    /// There is no full snapshot to begin with.
    #[error("lease {0} tells of no full snapshot yet")]
    NoFullSnapshot(String),
    /// A lease that says something else.
    #[error("lease {lease} is held by {holder:?}, which is no revision")]
    Odd {
        /// Which.
        lease: String,
        /// What it says.
        holder: String,
    },
    /// There is little to be gained.
    #[error("{events} events since the last full snapshot, {threshold} make a compaction")]
    FewEvents {
        /// Since the last full snapshot.
        events: u64,
        /// From how many on.
        threshold: u64,
    },
    /// It is being done.
    #[error("the Job runs")]
    JobRuns,
    /// It is being done for a task.
    #[error("the Job of a task runs")]
    JobOfTask,
    /// The last one is not gone yet.
    #[error("the Job is being deleted")]
    JobLeaves,
    /// Somebody else does it.
    #[error("the Job under that name is somebody else's")]
    JobTaken,
    /// A full snapshot is being taken.
    #[error("the leading sidecar was asked for a full snapshot")]
    SnapshotRuns,
    /// Nobody is there to be asked.
    #[error("a full snapshot is due, and the Etcd has no members at present")]
    Hibernated,
    /// An upgrade goes on.
    #[error("an upgrade restarts members")]
    Rolling,
    /// A task goes on.
    #[error("task {0} is under way")]
    Task(String),
    /// It has failed not long ago.
    #[error("the last attempt failed, and is repeated later")]
    Failed,
    /// It has succeeded not long ago.
    #[error("the leases have not told yet of what was done last")]
    Settles,
}
