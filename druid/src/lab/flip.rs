//! The fault `diverged-member`: one byte of one value in a stopped member's database is changed.
//! etcd does not notice; only a comparison of hashes does.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use druid_core::bolt::{BoltDamage, Row, WalkError, walk};
use druid_core::mvcc::{RowKey, bucket};
use thiserror::Error;

use crate::read_at::FileAt;

/// Why nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum FlipError {
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The database.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database cannot be understood.
    #[error("{path}: {source}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// Why.
        source: BoltDamage,
    },
    /// No key has a value.
    #[error("{path} holds no key with a value; write some first")]
    Nothing {
        /// The database.
        path: PathBuf,
    },
}

/// Changes the last byte of the newest value. The newest row is the one that no compaction removes
/// before somebody looks.
pub(crate) fn flip_one_value(data: &Path) -> Result<(), FlipError> {
    let path = data.join("member/snap/db");
    let io = |source| FlipError::Io {
        path: path.clone(),
        source,
    };
    let database = FileAt::open(&path).map_err(io)?;
    let at = match newest_value(&database) {
        Ok(Some(at)) => at,
        Ok(None) => return Err(FlipError::Nothing { path }),
        Err(WalkError::Damage(source)) => return Err(FlipError::Damaged { path, source }),
        Err(WalkError::Read(source)) => return Err(io(source)),
        Err(WalkError::Visit(never)) => match never {},
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(io)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).map_err(io)?;
    file.write_all_at(&[byte[0] ^ 1], at).map_err(io)?;
    file.sync_all().map_err(io)
}

/// Where the last byte of the newest non-empty value is.
fn newest_value(database: &FileAt) -> Result<Option<u64>, WalkError<io::Error, Infallible>> {
    let mut found = None;
    walk(database, |row: Row<'_>| {
        if row.bucket == bucket::KEY
            && RowKey::parse(row.key).is_some()
            && let Some(end) = value_end(row.value)
        {
            found = Some(row.value_at + end as u64 - 1);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Where field 5, the user's value, of an `mvccpb.KeyValue` ends; `None` if it is absent or empty.
fn value_end(message: &[u8]) -> Option<usize> {
    const VARINT: u64 = 0;
    const BYTES: u64 = 2;
    let mut at = 0;
    while at < message.len() {
        let tag = varint(message, &mut at)?;
        match tag & 7 {
            VARINT => {
                varint(message, &mut at)?;
            }
            BYTES => {
                let length = usize::try_from(varint(message, &mut at)?).ok()?;
                at = at.checked_add(length).filter(|end| *end <= message.len())?;
                if tag >> 3 == 5 {
                    return (length > 0).then_some(at);
                }
            }
            _ => return None,
        }
    }
    None
}

fn varint(message: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
