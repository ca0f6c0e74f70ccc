//! Reads every object of a listing and says of each whether it is whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use druid_core::backup::Revision;
use druid_core::backup::listing::{Listing, Object};
use druid_core::backup::names::{Key, Kind};
use druid_core::backup::restorable::Known;
use thiserror::Error;
use tokio::runtime::Handle;

use super::read::{self, ReadError};
use crate::store::location::Location;

/// Why nothing is known of an object.
#[derive(Debug, Error)]
pub(crate) enum SurveyError {
    /// It could not be read.
    #[error("{object}: {error}")]
    Object {
        /// Which.
        object: Key,
        /// Why.
        error: ReadError,
    },
    /// What was unpacked could not be kept.
    #[error("{}: {source}; give another --temp-dir, with room for the database", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// So many objects are read at once: unpacking one is the work of one core.
const AT_ONCE: usize = 2;

/// What one object turned out to be.
enum Found {
    Whole(Option<Revision>),
    Damaged(String),
}

/// Reads them all, from a thread that may block. `progress` is told the size of each when it is done.
pub(crate) fn survey(
    runtime: &Handle,
    location: &Location,
    listing: &Listing,
    directory: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Known, Box<SurveyError>> {
    let todo = Mutex::new(listing.snapshots().iter());
    let known = Mutex::new(Ok(Known::default()));
    let work = || {
        loop {
            let next = todo.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(object) = next else { return };
            let found = read_one(runtime, location, object, directory);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut known, object, found, directory);
            if known.is_err() {
                return;
            }
            progress(object.bytes.unwrap_or(0));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    known.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn note(
    known: &mut Result<Known, Box<SurveyError>>,
    object: &Object,
    found: Result<Found, ReadError>,
    directory: &Path,
) {
    let key = object.key.clone();
    match (known.as_mut(), found) {
        (Ok(known), Ok(Found::Whole(Some(holds)))) => {
            known.holds.insert(key, holds);
        }
        (Ok(known), Ok(Found::Damaged(why))) => {
            known.damaged.insert(key, why);
        }
        (Ok(_), Err(ReadError::Spool(source))) => {
            let path = directory.to_owned();
            *known = Err(Box::new(SurveyError::Directory { path, source }));
        }
        (Ok(_), Err(error @ (ReadError::Damaged(_) | ReadError::Store(_)))) => {
            *known = Err(Box::new(SurveyError::Object { object: key, error }));
        }
        (Ok(_), Ok(Found::Whole(None))) | (Err(_), _) => {}
    }
}

fn read_one(
    runtime: &Handle,
    location: &Location,
    object: &Object,
    directory: &Path,
) -> Result<Found, ReadError> {
    let read = match object.key.name.kind() {
        Kind::Full => read::base(runtime, location, object, directory, |_| ())
            .map(|base| Found::Whole(Some(base.holds))),
        Kind::Delta { .. } => {
            read::delta(runtime, location, object, |_| ()).map(|_| Found::Whole(None))
        }
    };
    match read {
        Err(ReadError::Damaged(why)) => Ok(Found::Damaged(why)),
        read => read,
    }
}
