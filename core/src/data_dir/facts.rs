//! What a database says that matters beside its log.

use thiserror::Error;

use crate::backup::Revision;
use crate::mvcc::{RowKey, bucket, meta};
use crate::version::Minor;

/// What the rows of a database add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The newest revision in it. With entries in the log that it has not applied, the member's may
    /// be higher.
    pub revision: Revision,
    /// The last entry of raft's log that it has applied; 0 before the first.
    pub applied: u64,
    /// The release that its layout is of, as 3.6 writes it.
    pub storage_version: Option<Minor>,
    /// The cluster version, as 3.6 reads it.
    pub cluster_version: Option<Minor>,
}

impl Database {
    /// What is true without one, or of an empty file: etcd makes it anew and replays its log.
    pub fn none() -> Self {
        Self {
            revision: Revision::FIRST,
            applied: 0,
            storage_version: None,
            cluster_version: None,
        }
    }

    /// Whether nothing was ever written to it by a user.
    pub fn is_fresh(&self) -> bool {
        self.revision == Revision::FIRST
    }
}

/// A row that no release of etcd writes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RowDamage {
    /// In bucket `key`.
    #[error("its bucket `key` has a row that is no revision")]
    NotARevision,
    /// In bucket `meta` or `cluster`.
    #[error("its row `{0}` is malformed")]
    Malformed(&'static str),
}

/// Takes the rows of a database, and says what they add up to. Rows that do not matter here may be
/// left out: what does is the last row of bucket `key`, and all of `meta` and `cluster`.
#[derive(Clone, Debug)]
pub struct Rows(Database);

impl Default for Rows {
    fn default() -> Self {
        Self(Database::none())
    }
}

impl Rows {
    /// The next row, in any order.
    pub fn row(&mut self, bucket: &[u8], key: &[u8], value: &[u8]) -> Result<(), RowDamage> {
        let it = &mut self.0;
        let bad = |name| move || RowDamage::Malformed(name);
        match (bucket, key) {
            (bucket::KEY, key) => {
                let revision = revision(key).ok_or(RowDamage::NotARevision)?;
                it.revision = it.revision.max(revision);
            }
            // A compaction can remove the very last row, a deletion; the revision does not go back.
            (bucket::META, meta::FINISHED_COMPACTION) => {
                let mark = revision(value).ok_or_else(bad("finishedCompactRev"))?;
                it.revision = it.revision.max(mark);
            }
            (bucket::META, meta::SCHEDULED_COMPACTION) => {
                let mark = revision(value).ok_or_else(bad("scheduledCompactRev"))?;
                it.revision = it.revision.max(mark);
            }
            (bucket::META, meta::CONSISTENT_INDEX) => {
                let index = value.try_into().ok().map(u64::from_be_bytes);
                it.applied = index.ok_or_else(bad("consistent_index"))?;
            }
            (bucket::META, meta::STORAGE_VERSION) => {
                it.storage_version = Some(minor(value).ok_or_else(bad("storageVersion"))?);
            }
            (bucket::CLUSTER, b"clusterVersion") => {
                it.cluster_version = Some(minor(value).ok_or_else(bad("clusterVersion"))?);
            }
            _ => {}
        }
        Ok(())
    }

    /// After the last row.
    pub fn done(self) -> Database {
        self.0
    }
}

/// A compaction of a store to which nothing was written leaves a mark of revision 0 or 1.
fn revision(row: &[u8]) -> Option<Revision> {
    match RowKey::parse(row) {
        Some(key) => Some(key.main()),
        None => (row == [&[0; 8][..], b"_", &[0; 8]].concat()).then_some(Revision::FIRST),
    }
}

fn minor(text: &[u8]) -> Option<Minor> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt;

    fn facts(file: &[u8]) -> Database {
        let mut rows = Rows::default();
        bolt::walk(file, |row| rows.row(row.bucket, row.key, row.value)).unwrap();
        rows.done()
    }

    #[test]
    fn genuine_databases_are_read() {
        let old = facts(include_bytes!("../../tests/data/etcd-3.4.34.db"));
        let new = facts(include_bytes!("../../tests/data/etcd-3.5.27.db"));
        for database in [old, new] {
            assert!(database.revision.get() > 1 && database.applied > 1);
            assert!(!database.is_fresh());
            assert_eq!(database.storage_version, None);
        }
    }

    #[test]
    fn the_newest_of_rows_and_marks_of_compactions_is_the_revision() {
        let row = |main: u64| [&main.to_be_bytes()[..], b"_", &[0; 8]].concat();
        let mut rows = Rows::default();
        assert!(rows.clone().done().is_fresh());
        rows.row(b"key", &row(7), b"").unwrap();
        rows.row(b"key", &row(5), b"").unwrap();
        assert_eq!(rows.clone().done().revision.get(), 7);
        let mark = (b"finishedCompactRev", b"scheduledCompactRev");
        rows.row(b"meta", mark.0, &row(0)).unwrap();
        rows.row(b"meta", mark.0, &row(6)).unwrap();
        assert_eq!(rows.clone().done().revision.get(), 7);
        rows.row(b"meta", mark.1, &row(9)).unwrap();
        rows.row(b"meta", b"storageVersion", b"3.6.0").unwrap();
        rows.row(b"meta", b"consistent_index", &[0, 0, 0, 0, 0, 0, 1, 2])
            .unwrap();
        rows.row(b"cluster", b"clusterVersion", b"3.5.0").unwrap();
        let expected = Database {
            revision: Revision::new(9).unwrap(),
            applied: 258,
            storage_version: Some(Minor::new(3, 6)),
            cluster_version: Some(Minor::new(3, 5)),
        };
        assert_eq!(rows.done(), expected);
    }

    #[test]
    fn a_malformed_row_is_named() {
        for (bucket, key, said) in [
            (
                &b"key"[..],
                &b"abc"[..],
                "its bucket `key` has a row that is no revision",
            ),
            (
                b"meta",
                b"consistent_index",
                "its row `consistent_index` is malformed",
            ),
            (
                b"meta",
                b"finishedCompactRev",
                "its row `finishedCompactRev` is malformed",
            ),
            (
                b"meta",
                b"scheduledCompactRev",
                "its row `scheduledCompactRev` is malformed",
            ),
            (
                b"meta",
                b"storageVersion",
                "its row `storageVersion` is malformed",
            ),
            (
                b"cluster",
                b"clusterVersion",
                "its row `clusterVersion` is malformed",
            ),
        ] {
            let damage = Rows::default().row(bucket, key, b"x").unwrap_err();
            assert_eq!(damage.to_string(), said);
        }
        Rows::default().row(b"meta", b"confState", b"x").unwrap();
    }
}
