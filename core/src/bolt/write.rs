//! Writing: a whole database from rows that come in order, each page once and for good. In memory
//! are one page for each level of the tree and what was not taken yet.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{
    BRANCH, ELEMENT, FORMAT, HEADER, IS_BUCKET, LEAF, MAGIC, META, META_PAGE, NO_FREELIST, fnv1a,
};

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
/// The count is a `u16` whose last number means something else on other pages.
const MOST_ELEMENTS: usize = 65534;

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

/// The pages that are written.
#[derive(Debug)]
struct Pages {
    size: usize,
    next: u64,
    out: Vec<u8>,
}

impl Pages {
    fn append(&mut self, node: &Node) -> u64 {
        let (id, count) = (self.next, node.pages(self.size));
        self.next += count as u64;
        let end = self.out.len() + count * self.size;
        node.print(id, count - 1, &mut self.out);
        self.out.resize(end, 0);
        id
    }
}

/// A tree that grows to the right: an unfinished page for each level, leaves first.
#[derive(Debug)]
struct Tree {
    levels: Vec<Node>,
    /// The last key.
    last: Vec<u8>,
    flags: u32,
}

impl Tree {
    fn new(flags: u32) -> Self {
        Self {
            levels: vec![Node::new(LEAF)],
            last: Vec::new(),
            flags,
        }
    }

    /// The tree, if it is one unfinished leaf; a bucket of buckets is never one.
    fn only_leaf(&self) -> Option<&Node> {
        match self.levels.as_slice() {
            [leaf] if self.flags == 0 => Some(leaf),
            _ => None,
        }
    }

    fn add(&mut self, level: usize, item: &Item<'_>, pages: &mut Pages) {
        let Some(node) = self.levels.get_mut(level) else {
            let mut node = Node::new(BRANCH);
            node.push(item);
            return self.levels.push(node);
        };
        if node.is_full_for(item, pages.size) {
            self.close(level, pages);
        }
        if let Some(node) = self.levels.get_mut(level) {
            node.push(item);
        }
    }

    /// Writes the unfinished page of a level and tells the level above.
    fn close(&mut self, level: usize, pages: &mut Pages) {
        let Some(node) = self.levels.get_mut(level) else {
            return;
        };
        let id = pages.append(node);
        let key = std::mem::take(&mut node.first);
        node.clear();
        self.add(level + 1, &Item::branch(&key, id), pages);
    }

    /// Writes what is unfinished; the last page that is written is the root.
    fn finish(mut self, pages: &mut Pages) -> u64 {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.close(level, pages);
            level += 1;
        }
        self.levels.pop().map_or(0, |top| pages.append(&top))
    }
}

/// An element with its data.
struct Item<'a> {
    key: &'a [u8],
    value: &'a [u8],
    flags: u32,
    child: u64,
}

impl<'a> Item<'a> {
    fn leaf(flags: u32, key: &'a [u8], value: &'a [u8]) -> Self {
        Self {
            key,
            value,
            flags,
            child: 0,
        }
    }

    fn branch(key: &'a [u8], child: u64) -> Self {
        Self {
            key,
            value: &[],
            flags: 0,
            child,
        }
    }

    fn length(&self) -> usize {
        ELEMENT + self.key.len() + self.value.len()
    }
}

/// A page before it is written.
#[derive(Debug)]
struct Node {
    kind: u16,
    first: Vec<u8>,
    /// Flags, length of the key, length of the value, child.
    elements: Vec<(u32, u32, u32, u64)>,
    data: Vec<u8>,
}

impl Node {
    fn new(kind: u16) -> Self {
        Self {
            kind,
            first: Vec::new(),
            elements: Vec::new(),
            data: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.first.clear();
        self.elements.clear();
        self.data.clear();
    }

    fn length(&self) -> usize {
        HEADER + self.elements.len() * ELEMENT + self.data.len()
    }

    fn pages(&self, size: usize) -> usize {
        self.length().div_ceil(size)
    }

    /// Whether the item would begin one more page of overflow. A branch has at least two children,
    /// or the levels would have no end.
    fn is_full_for(&self, item: &Item<'_>, size: usize) -> bool {
        let least = if self.kind == LEAF { 1 } else { 2 };
        let with = (self.length() + item.length()).div_ceil(size);
        let count = self.elements.len();
        count == MOST_ELEMENTS || count >= least && with > self.pages(size)
    }

    fn push(&mut self, item: &Item<'_>) {
        if self.elements.is_empty() {
            self.first.extend_from_slice(item.key);
        }
        let lengths = (length(item.key.len()), length(item.value.len()));
        self.elements
            .push((item.flags, lengths.0, lengths.1, item.child));
        self.data.extend_from_slice(item.key);
        self.data.extend_from_slice(item.value);
    }

    fn print(&self, id: u64, overflow: usize, out: &mut Vec<u8>) {
        let count = u16::try_from(self.elements.len()).unwrap_or(u16::MAX);
        header(out, id, self.kind, count, length(overflow));
        let mut position = length(self.elements.len() * ELEMENT);
        for (flags, key, value, child) in &self.elements {
            if self.kind == LEAF {
                for word in [flags, &position, key, value] {
                    out.extend(word.to_le_bytes());
                }
            } else {
                out.extend(position.to_le_bytes());
                out.extend(key.to_le_bytes());
                out.extend(child.to_le_bytes());
            }
            // The next element is nearer to its data.
            position = position + key + value - length(ELEMENT);
        }
        out.extend_from_slice(&self.data);
    }
}

fn header(out: &mut Vec<u8>, id: u64, flags: u16, count: u16, overflow: u32) {
    out.extend(id.to_le_bytes());
    out.extend(flags.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(overflow.to_le_bytes());
}

/// Keys, values and pages are shorter than 4 GiB by what is taken.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
