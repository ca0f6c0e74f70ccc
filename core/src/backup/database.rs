//! The rows of an etcd database on their way from one file into another, each one checked.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Revision;
use crate::bolt::{BoltDamage, ReadAt, Reader, Row, Sink, WalkError};
use crate::mvcc::{KeyValue, RowKey, WireError, bucket, compaction_mark};
use crate::snapshot_file::hex;

/// Why rows were not copied. `R` is what the source says, `W` what the sink says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CopyError<R, W> {
    /// The database that is read is malformed.
    #[error("its database is damaged: {0}")]
    Damage(#[from] BoltDamage),
    /// It could not be read.
    #[error("{0}")]
    Read(R),
    /// A row could not be written.
    #[error("{0}")]
    Write(W),
    /// A database of somebody else.
    #[error("it has no bucket `key`: it is no database of etcd")]
    NotEtcd,
    /// A row of bucket `key` whose key is no revision.
    #[error("its bucket `key` has a row that is no revision: {key}")]
    NotARevision {
        /// The row's key, in hexadecimal.
        key: String,
    },
    /// A row that etcd would not start with.
    #[error("row {key} of its bucket `{bucket}` cannot be read: {why}")]
    Record {
        /// The bucket.
        bucket: String,
        /// The row's key, in hexadecimal.
        key: String,
        /// What is wrong.
        why: WireError,
    },
}

impl<R, W> CopyError<R, W> {
    pub(super) fn record(row: &Row<'_>, why: WireError) -> Self {
        Self::Record {
            bucket: String::from_utf8_lossy(row.bucket).into_owned(),
            key: hex(row.key),
            why,
        }
    }
}

impl<R, W> From<WalkError<R, Self>> for CopyError<R, W> {
    fn from(error: WalkError<R, Self>) -> Self {
        match error {
            WalkError::Damage(damage) => Self::Damage(damage),
            WalkError::Read(error) => Self::Read(error),
            WalkError::Visit(error) => error,
        }
    }
}

/// Opens what has to be a database of etcd.
pub(super) fn open<S: ReadAt, W>(source: S) -> Result<Reader<S>, CopyError<S::Error, W>> {
    let reader = Reader::open::<CopyError<S::Error, W>>(source)?;
    if reader.has(bucket::KEY) {
        Ok(reader)
    } else {
        Err(CopyError::NotEtcd)
    }
}

/// Visits the history.
pub(super) fn history<S: ReadAt, W>(
    reader: &mut Reader<S>,
    mut visit: impl FnMut(RowKey, &KeyValue<'_>, &Row<'_>) -> Result<(), CopyError<S::Error, W>>,
) -> Result<(), CopyError<S::Error, W>> {
    reader.rows(bucket::KEY, |row: Row<'_>| {
        let key = RowKey::parse(row.key);
        let key = key.ok_or_else(|| CopyError::NotARevision { key: hex(row.key) })?;
        let record = KeyValue::decode(row.value);
        let record = record.map_err(|why| CopyError::record(&row, why))?;
        visit(key, &record, &row)
    })?;
    Ok(())
}

/// Copies a bucket as it is.
pub(super) fn copy<S: ReadAt, K: Sink>(
    reader: &mut Reader<S>,
    name: &[u8],
    sink: &mut K,
) -> Result<(), CopyError<S::Error, K::Error>> {
    sink.bucket(name).map_err(CopyError::Write)?;
    reader.rows(name, |row: Row<'_>| {
        sink.row(row.key, row.value).map_err(CopyError::Write)
    })?;
    Ok(())
}

/// Rows that are few.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is in bucket `meta`, and the revision that the store is not below: that of the marks of
/// compactions.
pub(super) fn meta<S: ReadAt, W>(
    reader: &mut Reader<S>,
) -> Result<(Rows, Revision), CopyError<S::Error, W>> {
    let (mut rows, mut least) = (Rows::new(), Revision::FIRST);
    reader.rows(bucket::META, |row: Row<'_>| {
        least = least.max(compaction_mark(row.key, row.value).unwrap_or(least));
        rows.insert(row.key.to_vec(), row.value.to_vec());
        Ok::<(), CopyError<_, _>>(())
    })?;
    Ok((rows, least))
}

/// Writes a bucket.
pub(super) fn write<R, K: Sink>(
    name: &[u8],
    rows: &Rows,
    sink: &mut K,
) -> Result<(), CopyError<R, K::Error>> {
    sink.bucket(name).map_err(CopyError::Write)?;
    for (key, value) in rows {
        sink.row(key, value).map_err(CopyError::Write)?;
    }
    Ok(())
}
