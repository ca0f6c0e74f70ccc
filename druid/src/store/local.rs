//! A store in a directory.
//!
//! No library has what an object needs here: its file is written under another name, brought to the
//! disk, renamed, and the directory brought to the disk too. So a file with a snapshot's name is
//! whole, after a crash as well. A root that is not there is an empty store, as for
//! etcd-backup-restore; the first object makes it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use nix::fcntl::OFlag;
use tokio::sync::mpsc;

use super::backoff;
use super::{Answer, Body, ErrorKind, Listed, Piece, Store, StoreError};
use crate::clock;

/// What the name of a file begins with that is being written. Without a `-`, no program takes it for
/// a snapshot.
const UPLOAD: &str = ".upload~";

/// What follows: so many hexadecimal digits.
const UPLOAD_DIGITS: usize = 16;

/// An upload that was not touched for so long is one of a process that died.
const DEAD_UPLOAD: Duration = Duration::from_hours(1);

/// How long one answer of a file system may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// A directory.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    root: PathBuf,
    deadline: Duration,
}

impl Local {
    /// Everything below `root`. Nothing is made or read yet.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            deadline: DEADLINE,
        }
    }

    fn failed(&self, verb: &'static str, key: &str, kind: ErrorKind) -> StoreError {
        StoreError {
            verb,
            object: self
                .root
                .join(key.trim_start_matches('/'))
                .display()
                .to_string(),
            kind,
        }
    }

    /// Where an object is. A key that would mean another file as a path is none of ours.
    fn path(&self, verb: &'static str, key: &str) -> Result<PathBuf, StoreError> {
        let relative = key.trim_start_matches('/');
        let odd = |it: &str| matches!(it, "" | "." | "..") || it.contains('\0') || is_upload(it);
        if relative.split('/').any(odd) {
            let why = format!("the key {key:?} is not the name of a file");
            return Err(self.failed(verb, key, ErrorKind::Other(why)));
        }
        Ok(self.root.join(relative))
    }

    /// Runs what blocks on a thread that may.
    async fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        key: &str,
        blocking: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work = tokio::task::spawn_blocking(blocking);
        let kind = match tokio::time::timeout(self.deadline, work).await {
            Ok(Ok(Ok(done))) => return Ok(done),
            Ok(Ok(Err(error))) => of_io(&error),
            Ok(Err(died)) => ErrorKind::Other(died.to_string()),
            Err(_) => ErrorKind::TimedOut {
                seconds: self.deadline.as_secs(),
                tries: 1,
            },
        };
        Err(self.failed(verb, key, kind))
    }
}

impl Store for Local {
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        let (root, below) = (self.root.clone(), prefix.to_owned());
        Box::pin(self.run("list", prefix, move || walk(&root, &below)))
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>> {
        Box::pin(async move {
            let path = self.path("read", key)?;
            let found = self
                .run("read", key, move || fs::symlink_metadata(path))
                .await;
            match found {
                Ok(file) if file.is_file() => Ok(Some(listed(key.to_owned(), file.len()))),
                Ok(_) => Ok(None),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let path = self.path("read", key)?;
            self.run("read", key, move || read(&path, range)).await
        })
    }

    fn put<'a>(&'a self, key: &'a str, body: Body) -> Answer<'a, u64> {
        Box::pin(async move {
            let path = self.path("write", key)?;
            let root = self.root.clone();
            let given_up = GivenUp(Arc::new(AtomicBool::new(false)));
            let flag = Arc::clone(&given_up.0);
            let work = tokio::task::spawn_blocking(move || write(&root, &path, body.pieces, &flag));
            // No deadline: a write and a sync of the kernel cannot be called off, and how long the
            // bytes take to come is their writer's affair.
            match work.await {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(kind)) => Err(self.failed("write", key, kind)),
                Err(died) => Err(self.failed("write", key, ErrorKind::Other(died.to_string()))),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let path = self.path("delete", key)?;
            let gone = self.run("delete", key, move || {
                fs::remove_file(&path)?;
                path.parent().map_or(Ok(()), sync)
            });
            match gone.await {
                Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
                answer => answer,
            }
        })
    }
}

/// Tells the thread that writes when nobody waits for it any more.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn listed(key: String, bytes: u64) -> Listed {
    Listed {
        key,
        bytes: Some(bytes),
        immutable_until: None,
    }
}

fn of_io(error: &io::Error) -> ErrorKind {
    use io::ErrorKind as Io;
    let is = |kinds: &[Io]| kinds.contains(&error.kind());
    if is(&[Io::NotFound, Io::NotADirectory]) {
        ErrorKind::NotFound
    } else if is(&[Io::PermissionDenied, Io::ReadOnlyFilesystem]) {
        ErrorKind::Denied(error.to_string())
    } else if is(&[Io::StorageFull, Io::QuotaExceeded, Io::FileTooLarge]) {
        ErrorKind::Full
    } else {
        ErrorKind::Other(error.to_string())
    }
}

/// Of a directory that is not there and cannot be.
fn of_make(directory: &Path, error: &io::Error) -> ErrorKind {
    let kind = of_io(error);
    if matches!(kind, ErrorKind::NotFound | ErrorKind::Other(_)) {
        let directory = directory.display();
        return ErrorKind::Other(format!(
            "the directory {directory} cannot be made ({error}); check --store-container"
        ));
    }
    kind
}

/// Every file whose key begins with `prefix`. Links are not followed: what is behind one may be
/// anywhere, and listed twice.
fn walk(root: &Path, prefix: &str) -> io::Result<Vec<Listed>> {
    let slash = if prefix.starts_with('/') { "/" } else { "" };
    let relative = prefix.trim_start_matches('/');
    let mut found = Vec::new();
    // Only the directory that the prefix ends in has to be walked.
    let start = relative
        .rsplit_once('/')
        .map_or("", |(directory, _)| directory);
    if start.split('/').any(|it| matches!(it, "." | "..")) {
        return Ok(found);
    }
    let mut to_do = vec![start.to_owned()];
    while let Some(directory) = to_do.pop() {
        let entries = match fs::read_dir(root.join(&directory)) {
            Ok(entries) => entries,
            // Gone since it was listed, or never there: an empty store.
            Err(error) if of_io(&error) == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = if directory.is_empty() {
                name.clone()
            } else {
                format!("{directory}/{name}")
            };
            let file = match entry.metadata() {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if file.is_dir() {
                to_do.push(path);
            } else if file.is_file() && path.starts_with(relative) && !is_upload(&name) {
                found.push(listed(format!("{slash}{path}"), file.len()));
            }
        }
    }
    Ok(found)
}

fn read(path: &Path, range: Range<u64>) -> io::Result<Bytes> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    let there = file.metadata()?.len().saturating_sub(range.start);
    let wanted = range.end.saturating_sub(range.start).min(there);
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Writes the whole object beside its name, then gives it the name.
fn write(
    root: &Path,
    path: &Path,
    pieces: mpsc::Receiver<Piece>,
    given_up: &AtomicBool,
) -> Result<u64, ErrorKind> {
    let directory = path.parent().unwrap_or(root);
    make(directory).map_err(|error| of_make(directory, &error))?;
    // Tidying is for later runs too; that it failed says nothing about this object.
    let _ = remove_dead_uploads(directory, clock::now().into());
    let beside = directory.join(format!(
        "{UPLOAD}{:0width$x}",
        backoff::random_number(),
        width = UPLOAD_DIGITS
    ));
    let written = write_to(&beside, pieces, given_up).and_then(|bytes| {
        let named = fs::rename(&beside, path).and_then(|()| sync(directory));
        named.map_err(|error| of_io(&error))?;
        Ok(bytes)
    });
    if written.is_err() {
        // The error to tell is the first one.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_to(
    beside: &Path,
    mut pieces: mpsc::Receiver<Piece>,
    given_up: &AtomicBool,
) -> Result<u64, ErrorKind> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside);
    let mut file = opened.map_err(|error| of_io(&error))?;
    let mut bytes = 0;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(piece)) => {
                file.write_all(&piece).map_err(|error| of_io(&error))?;
                bytes += piece.len() as u64;
            }
            Some(Piece::End) if !given_up.load(Ordering::Relaxed) => break,
            Some(Piece::End) | None => return Err(ErrorKind::Abandoned),
        }
    }
    file.sync_all().map_err(|error| of_io(&error))?;
    Ok(bytes)
}

/// Makes a directory and those above it, each on the disk before it is used.
fn make(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory) {
        Ok(it) if it.is_dir() => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let above = directory.parent().filter(|it| !it.as_os_str().is_empty());
    if let Some(above) = above {
        make(above)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => above.map_or(Ok(()), sync),
    }
}

/// Brings what a directory says of its files to the disk.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Whether a file is one that is being written, or was: exactly our pattern and nothing else.
fn is_upload(name: &str) -> bool {
    let digit = |it: char| it.is_ascii_digit() || ('a'..='f').contains(&it);
    name.strip_prefix(UPLOAD)
        .is_some_and(|it| it.len() == UPLOAD_DIGITS && it.chars().all(digit))
}

/// Removes what processes that died left in a directory.
fn remove_dead_uploads(directory: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_upload) {
            continue;
        }
        let file = entry.metadata()?;
        let age = now.duration_since(file.modified()?).unwrap_or_default();
        if file.is_file() && age > DEAD_UPLOAD {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
