//! Writing: a whole database from rows that come in order, each page once and for good. In memory
//! are one page for each level of the tree and what was not taken yet.

use std::collections::BTreeMap;

use thiserror::Error;

use super::grow::{Item, Pages, Tree, header, length};
use super::{FORMAT, HEADER, IS_BUCKET, MAGIC, META, META_PAGE, NO_FREELIST, fnv1a};

/// Why a row was not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// A row before any bucket.
    #[error("a row belongs into a bucket, and none was begun")]
    NoBucket,
    /// A bucket that was written before.
    #[error("bucket {bucket} was begun twice")]
    BucketTwice {
        /// Its name.
        bucket: String,
    },
    /// A key that is not greater than the one before it.
    #[error("a row of bucket {bucket} is out of order")]
    Order {
        /// The bucket.
        bucket: String,
    },
    /// bbolt takes 1 to 32768 bytes.
    #[error("bucket {bucket} cannot have a key of {length} bytes")]
    KeyLength {
        /// The bucket.
        bucket: String,
        /// Bytes of the key.
        length: usize,
    },
    /// bbolt takes less than 2 GiB.
    #[error("bucket {bucket} cannot have a value of {length} bytes")]
    ValueLength {
        /// The bucket.
        bucket: String,
        /// Bytes of the value.
        length: usize,
    },
}

const LONGEST_KEY: usize = 32768;
const LONGEST_VALUE: usize = (1 << 31) - 2;

/// How many bytes a page has: a power of two from 1 KiB to 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(usize);

impl PageSize {
    /// What etcd uses on amd64; every host reads it.
    pub const DEFAULT: Self = Self(4096);

    /// `None` if it is none.
    pub fn new(bytes: usize) -> Option<Self> {
        let possible = bytes.is_power_of_two() && (1024..=65536).contains(&bytes);
        possible.then_some(Self(bytes))
    }

    /// As a number.
    pub fn bytes(self) -> u64 {
        self.0 as u64
    }
}

/// Takes the rows of a new database.
pub trait Sink {
    /// Why it did not take them.
    type Error;

    /// Begins a bucket and ends the one before. Buckets come in any order.
    fn bucket(&mut self, name: &[u8]) -> Result<(), Self::Error>;

    /// Appends a row to the bucket. Keys ascend.
    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;
}

/// Writes a database. What is in [`Self::out`] belongs into the file after what was taken from it
/// before; the first of it is page 2. Pages 0 and 1 come last, from [`Self::finish`].
#[derive(Debug)]
pub struct Writer {
    size: usize,
    pages: Pages,
    buckets: BTreeMap<Vec<u8>, Vec<u8>>,
    current: Option<(Vec<u8>, Tree)>,
}

/// The end of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The first two pages. Until they are at the start of the file it is no database.
    pub metas: Vec<u8>,
    /// How long the file is.
    pub bytes: u64,
}

impl Writer {
    /// One without buckets.
    pub fn new(size: PageSize) -> Self {
        let PageSize(size) = size;
        Self {
            size,
            pages: Pages {
                size,
                next: 2,
                out: Vec::new(),
            },
            buckets: BTreeMap::new(),
            current: None,
        }
    }

    /// What was written and not taken. Take all of it and leave it empty.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.pages.out
    }

    /// Ends the last bucket and writes the root. There may be more to take from `out`.
    pub fn finish(&mut self) -> Finish {
        self.end_bucket();
        let mut root = Tree::new(IS_BUCKET);
        for (name, value) in std::mem::take(&mut self.buckets) {
            root.add(0, &Item::leaf(IS_BUCKET, &name, &value), &mut self.pages);
        }
        let root = root.finish(&mut self.pages);
        let mut metas = Vec::with_capacity(2 * self.size);
        for (page, txid) in [(0, 2), (1, 3)] {
            self.meta(page, txid, root, &mut metas);
        }
        Finish {
            metas,
            bytes: self.pages.next * self.size as u64,
        }
    }

    /// Both metas tell of the same root, as in a snapshot that etcd streams.
    fn meta(&self, page: u64, txid: u64, root: u64, into: &mut Vec<u8>) {
        let start = into.len();
        header(into, page, META_PAGE, 0, 0);
        for word in [MAGIC, FORMAT, length(self.size), 0] {
            into.extend(word.to_le_bytes());
        }
        for word in [root, 0, NO_FREELIST, self.pages.next, txid] {
            into.extend(word.to_le_bytes());
        }
        let sum = fnv1a(into.get(start + HEADER..).unwrap_or_default());
        into.extend(sum.to_le_bytes());
        debug_assert_eq!(into.len() - start, HEADER + META);
        into.resize(start + self.size, 0);
    }

    fn end_bucket(&mut self) {
        let Some((name, tree)) = self.current.take() else {
            return;
        };
        let mut value = vec![0; HEADER];
        match tree.only_leaf() {
            Some(leaf) if leaf.length() <= self.size / 4 => leaf.print(0, 0, &mut value),
            Some(_) | None => {
                let root = tree.finish(&mut self.pages);
                value.splice(..8, root.to_le_bytes());
            }
        }
        self.buckets.insert(name, value);
    }
}

impl Sink for Writer {
    type Error = WriteError;

    fn bucket(&mut self, name: &[u8]) -> Result<(), WriteError> {
        self.end_bucket();
        let bucket = || String::from_utf8_lossy(name).into_owned();
        if name.is_empty() || name.len() > LONGEST_KEY {
            return Err(WriteError::KeyLength {
                bucket: bucket(),
                length: name.len(),
            });
        }
        if self.buckets.contains_key(name) {
            return Err(WriteError::BucketTwice { bucket: bucket() });
        }
        self.current = Some((name.to_vec(), Tree::new(0)));
        Ok(())
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let Some((name, tree)) = &mut self.current else {
            return Err(WriteError::NoBucket);
        };
        let bucket = || String::from_utf8_lossy(name).into_owned();
        if key.is_empty() || key.len() > LONGEST_KEY {
            return Err(WriteError::KeyLength {
                bucket: bucket(),
                length: key.len(),
            });
        }
        if value.len() > LONGEST_VALUE {
            return Err(WriteError::ValueLength {
                bucket: bucket(),
                length: value.len(),
            });
        }
        if key <= tree.last.as_slice() {
            return Err(WriteError::Order { bucket: bucket() });
        }
        tree.last.clear();
        tree.last.extend_from_slice(key);
        tree.add(0, &Item::leaf(0, key, value), &mut self.pages);
        Ok(())
    }
}

/// Why a row was not taken: of the row, or of whoever takes the pages.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DrainError<E> {
    /// The row.
    #[error(transparent)]
    Row(#[from] WriteError),
    /// What the taker says.
    #[error("{0}")]
    Drain(E),
}

/// A writer whose pages are taken whenever there are enough. The taker leaves the buffer empty.
#[derive(Debug)]
pub struct Drained<F> {
    writer: Writer,
    drain: F,
    /// Bytes to gather first.
    pub at_least: usize,
}

impl<F> Drained<F> {
    /// Gathers 1 MiB at a time.
    pub fn new<E>(size: PageSize, drain: F) -> Self
    where
        F: FnMut(&mut Vec<u8>) -> Result<(), E>,
    {
        Self {
            writer: Writer::new(size),
            drain,
            at_least: 1 << 20,
        }
    }

    /// Ends the database; all but its first two pages is taken then.
    pub fn finish<E>(mut self) -> Result<Finish, E>
    where
        F: FnMut(&mut Vec<u8>) -> Result<(), E>,
    {
        let finish = self.writer.finish();
        (self.drain)(self.writer.out())?;
        Ok(finish)
    }
}

impl<E, F: FnMut(&mut Vec<u8>) -> Result<(), E>> Sink for Drained<F> {
    type Error = DrainError<E>;

    fn bucket(&mut self, name: &[u8]) -> Result<(), DrainError<E>> {
        Ok(self.writer.bucket(name)?)
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), DrainError<E>> {
        self.writer.row(key, value)?;
        if self.writer.out().len() >= self.at_least {
            (self.drain)(self.writer.out()).map_err(DrainError::Drain)?;
        }
        Ok(())
    }
}
