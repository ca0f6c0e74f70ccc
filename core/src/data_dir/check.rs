//! Whether a database and a write-ahead log belong together, and which release may start with them.

use thiserror::Error;

use super::facts::Database;
use super::wal_read::{Pending, Tail};
use crate::backup::Revision;
use crate::version::Minor;

/// Why a member with this database and this log would not start, or would start and not work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// Entries between them are gone; etcd panics.
    #[error(
        "the database has applied raft's log up to {applied}, and the log begins after {start}: it \
         is lost, or another one's"
    )]
    Behind {
        /// By the database.
        applied: u64,
        /// Of the `.snap` file that is started from.
        start: u64,
    },
    /// What is written next would be taken for applied; writes hang.
    #[error(
        "the database has applied raft's log up to {applied}, and the log ends at {last}: it is \
         cut, or another one's"
    )]
    Ahead {
        /// By the database.
        applied: u64,
        /// The last entry.
        last: u64,
    },
}

/// The newest revision that a member with this database and this log may have: that of the database,
/// and [`Pending::revisions`]. `received` is whether `<index>.snap.db` is there, a database that came
/// from the leader: etcd puts it in the place of one that is behind.
pub fn newest_revision(
    database: &Database,
    log: &Tail,
    received: bool,
) -> Result<(Revision, Pending), Mismatch> {
    let (applied, start, last) = (database.applied, log.start(), log.last_index());
    if applied < start && !received {
        return Err(Mismatch::Behind { applied, start });
    }
    if applied > last {
        return Err(Mismatch::Ahead { applied, last });
    }
    let pending = log.pending(applied);
    let added = i64::try_from(pending.revisions).unwrap_or(i64::MAX);
    let newest = Revision::new(database.revision.get().saturating_add(added));
    Ok((newest.unwrap_or(database.revision), pending))
}

/// Why a release must not be started with a database.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TooNew {
    /// Its layout.
    #[error("the database is laid out for etcd {written}; start {written}, not {started}")]
    Layout {
        /// Its storage version.
        written: Minor,
        /// What is to be started.
        started: Minor,
    },
    /// Its cluster.
    #[error("the database is of a cluster of version {written}; start {written}, not {started}")]
    Cluster {
        /// Its cluster version.
        written: Minor,
        /// What is to be started.
        started: Minor,
    },
}

/// Whether a series may start with a database. Not every release refuses where this does, but none
/// is meant to go back.
pub fn may_start(database: &Database, started: Minor) -> Result<(), TooNew> {
    if let Some(written) = database.storage_version.filter(|it| *it > started) {
        return Err(TooNew::Layout { written, started });
    }
    if let Some(written) = database.cluster_version.filter(|it| *it > started) {
        return Err(TooNew::Cluster { written, started });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(applied: u64) -> Database {
        Database {
            revision: Revision::new(50).unwrap(),
            applied,
            ..Database::none()
        }
    }

    #[test]
    fn the_log_has_to_begin_before_and_end_after_what_was_applied() {
        // Entries 11 to 14; 13 does not write.
        let log = Tail::new(10, 12, vec![true, true, false, true]);
        for (index, expected) in [
            (10, Ok((53, 4, 2))),
            (11, Ok((52, 3, 1))),
            (12, Ok((51, 2, 0))),
            (13, Ok((51, 1, 0))),
            (14, Ok((50, 0, 0))),
            (
                15,
                Err(Mismatch::Ahead {
                    applied: 15,
                    last: 14,
                }),
            ),
            (
                9,
                Err(Mismatch::Behind {
                    applied: 9,
                    start: 10,
                }),
            ),
        ] {
            let found = newest_revision(&applied(index), &log, false);
            let found = found.map(|(newest, it)| (newest.get(), it.entries, it.committed));
            assert_eq!(found, expected);
        }
        let (newest, pending) = newest_revision(&applied(3), &log, true).unwrap();
        assert_eq!((newest.get(), pending.entries), (53, 4));
    }

    #[test]
    fn no_release_starts_with_what_a_later_one_wrote() {
        let [old, new] = [Minor::new(3, 5), Minor::new(3, 6)];
        let mut database = applied(1);
        assert_eq!(may_start(&database, old), Ok(()));
        database.cluster_version = Some(new);
        let said = may_start(&database, old).unwrap_err().to_string();
        assert_eq!(
            said,
            "the database is of a cluster of version 3.6; start 3.6, not 3.5"
        );
        database.storage_version = Some(new);
        let said = may_start(&database, old).unwrap_err().to_string();
        assert_eq!(
            said,
            "the database is laid out for etcd 3.6; start 3.6, not 3.5"
        );
        assert_eq!(may_start(&database, new), Ok(()));
    }
}
