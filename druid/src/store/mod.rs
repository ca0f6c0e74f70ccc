//! Where backups are kept: five verbs, whatever the provider.
//!
//! A key is the whole path of an object, `<prefix>/v2/<name>`; only `druid_core::backup::names` knows
//! what a key means. Every implementation puts a deadline on each request, retries what can succeed
//! when tried again, and never shows an object that was not written to its end.
//!
//! [`flags`] and [`credentials`] say which store, [`location`] opens it; [`read`] and [`upload`] are
//! the ways in and out for code that blocks.

pub(crate) mod backoff;
pub(crate) mod credentials;
pub(crate) mod digests;
pub(crate) mod flags;
mod http;
mod keystone;
pub(crate) mod local;
pub(crate) mod location;
mod parts;
mod providers;
pub(crate) mod read;
mod refused;
mod remote;
pub(crate) mod renewing;
mod retention;
mod swift;
#[cfg(test)]
pub(crate) mod test_faults;
#[cfg(test)]
mod test_locked;
#[cfg(test)]
mod test_providers;
#[cfg(test)]
#[path = "../../tests/common_stores/mod.rs"]
pub(crate) mod test_servers;
#[cfg(test)]
mod tests;
pub(crate) mod upload;
mod versions;

use std::fmt;
use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::mpsc;

/// What a store answers, some time.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Every object whose key begins with these bytes, in any order. One page or many: all of it or
    /// an error, never a part. A directory that is not there is an empty store, as it is for
    /// etcd-backup-restore; a bucket that is not there is [`ErrorKind::NoContainer`].
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>>;

    /// What is known of an object; `None` if there is none, or no bucket.
    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>>;

    /// Bytes of an object. Fewer than asked for only if it ends before.
    fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes>;

    /// Writes an object as its bytes come. It is there, whole, when this has succeeded, and not at
    /// all when the body did not come to [`Piece::End`]. Returns how many bytes it has.
    fn put<'a>(&'a self, key: &'a str, body: Body) -> Answer<'a, u64>;

    /// Removes an object. That there is none is no error.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
}

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its key.
    pub(crate) key: String,
    /// Its size. `None` where the store does not say.
    pub(crate) bytes: Option<u64>,
    /// Until when it cannot be deleted, if the store says so.
    pub(crate) immutable_until: Option<Timestamp>,
}

/// The bytes of an object to come.
#[derive(Debug)]
pub(crate) struct Body {
    /// In order. A channel that closes before [`Piece::End`] is a writer that gave up.
    pub(crate) pieces: mpsc::Receiver<Piece>,
    /// How many bytes there will be at most, where that is known: some stores allow only so many
    /// parts, so that the size of a part follows from it.
    pub(crate) at_most: Option<u64>,
}

/// A piece of a body. The end is said, so that a writer that dies is not taken for one that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The next bytes.
    Bytes(Bytes),
    /// There are no more.
    End,
}

/// Why a store did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot {verb} {object}: {kind}")]
pub(crate) struct StoreError {
    /// What was asked for: `list`, `read`, `write`, `delete`.
    pub(crate) verb: &'static str,
    /// The object, or what was listed, with the store's own address in front.
    pub(crate) object: String,
    /// Why not.
    pub(crate) kind: ErrorKind,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ErrorKind {
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// There is no such bucket, container or directory.
    #[error("the container {0:?} does not exist; create it, or check --store-container")]
    NoContainer(String),
    /// The credentials are wrong or do not suffice.
    #[error("access denied ({0}); check the store's credentials and what they allow")]
    Denied(String),
    /// It may not be deleted or overwritten yet.
    #[error("it is immutable ({0}); it can be deleted when its retention ends")]
    Immutable(String),
    /// The store did not answer in time, tried as often as is sensible.
    #[error("no answer within {seconds} s, tries: {tries}; check the endpoint and the network")]
    TimedOut {
        /// How long each try was given.
        seconds: u64,
        /// How often it was tried.
        tries: u32,
    },
    /// The store answered that it cannot now, or could not be reached.
    #[error("the store is not available ({why}), tries: {tries}; it may be later")]
    Unavailable {
        /// What it said.
        why: String,
        /// How often it was tried.
        tries: u32,
    },
    /// No space left.
    #[error("the disk is full; free some space")]
    Full,
    /// Whoever was to give the bytes gave up; nothing was written.
    #[error("the writer gave up before its end; nothing was written")]
    Abandoned,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl StoreError {
    /// Whether the same may succeed later without anybody changing anything.
    #[cfg(test)]
    pub(crate) fn is_temporary(&self) -> bool {
        match self.kind {
            ErrorKind::TimedOut { .. } | ErrorKind::Unavailable { .. } | ErrorKind::Full => true,
            ErrorKind::NotFound
            | ErrorKind::NoContainer(_)
            | ErrorKind::Denied(_)
            | ErrorKind::Immutable(_)
            | ErrorKind::Abandoned
            | ErrorKind::Other(_) => false,
        }
    }
}
