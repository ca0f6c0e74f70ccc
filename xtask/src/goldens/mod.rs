//! `cargo xtask goldens DIR`: is what we render what etcd-druid rendered?
//!
//! The directory is laid out as `core/tests/goldens` is, whose `README.md` tells how.

mod case;
mod cli;
mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use druid_core::render::Difference;
use thiserror::Error;

pub use case::{Case, Objects, as_stored, rendered};
pub use cli::{Goldens, run};
pub use read::{ReadError, object};

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many objects were compared.
    pub objects: usize,
    /// How many cases had objects to be compared.
    pub cases: usize,
    /// What differs and is not meant to.
    pub differences: Vec<Found>,
    /// How often each difference that is meant was met, by kind and place.
    pub meant: BTreeMap<String, usize>,
}

/// A difference, and of which object.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The directory of the case.
    pub case: String,
    /// Kind and name.
    pub object: String,
    /// What differs.
    pub difference: Difference,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.case, self.object, self.difference)
    }
}

/// Why there is nothing to be compared.
#[derive(Debug, Error)]
pub enum GoldensError {
    /// A directory cannot be listed.
    #[error("cannot list {}: {source}", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is laid out otherwise.
    #[error("{} has no folder gate-off, gate-on, gate-off-copy or gate-on-copy with cases in it", .0.display())]
    Nothing(PathBuf),
    /// A case cannot be rendered at all.
    #[error("{case}: {why}")]
    Case {
        /// Which.
        case: String,
        /// Why.
        why: String,
    },
}

/// Compares every case in a directory.
///
/// # Errors
/// If something cannot be read. Differences are no error.
pub fn compare(directory: &Path) -> Result<Report, GoldensError> {
    let mut report = Report::default();
    for case in cases(directory)? {
        case.compare(&mut report);
    }
    Ok(report)
}

/// Reads and renders every case in a directory.
///
/// # Errors
/// If something cannot be read, or there is none.
pub fn cases(directory: &Path) -> Result<Vec<Case>, GoldensError> {
    let mut cases = Vec::new();
    for (folder, release) in case::FOLDERS {
        let path = directory.join(folder);
        if !path.is_dir() {
            continue;
        }
        for entry in listed(&path)? {
            if entry.is_dir() {
                let name = format!("{folder}/{}", file_name(&entry));
                cases.push(case::read(name, &entry, release)?);
            }
        }
    }
    if cases.is_empty() {
        return Err(GoldensError::Nothing(directory.to_owned()));
    }
    Ok(cases)
}

/// What is in a directory, in order.
fn listed(path: &Path) -> Result<Vec<PathBuf>, GoldensError> {
    let failed = |source| GoldensError::List {
        path: path.to_owned(),
        source,
    };
    let entries: Result<Vec<PathBuf>, std::io::Error> = std::fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort();
    Ok(entries)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
