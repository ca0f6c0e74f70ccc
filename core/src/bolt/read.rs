//! Reading: whatever the bytes, the answer is rows or a [`BoltDamage`], never a panic. In memory
//! are one page, the numbers of the pages that are still to be visited and a bit for each page.

use thiserror::Error;

use super::tree::{Element, Page};
use super::{BoltDamage, FORMAT, HEADER, IS_BUCKET, LEAF, MAGIC, META, fnv1a, u32_at, u64_at};

/// Bytes that can be read at any place: a file, or what is in memory.
pub trait ReadAt {
    /// Why it could not be read.
    type Error;

    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes at `offset`. Fewer than asked for is an error.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Self::Error>;
}

/// What was asked for is not all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are no {length} bytes at {offset}")]
pub struct PastEnd {
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl ReadAt for [u8] {
    type Error = PastEnd;

    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), PastEnd> {
        let length = into.len();
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(length)?))
            .ok_or(PastEnd {
                offset,
                length: length as u64,
            })?;
        into.copy_from_slice(found);
        Ok(())
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    type Error = S::Error;

    fn size(&self) -> u64 {
        S::size(self)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), S::Error> {
        S::read_at(self, offset, into)
    }
}

/// Why a walk ended before its end. `R` is what the source says, `V` what the visitor says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WalkError<R, V> {
    /// The file is malformed.
    #[error(transparent)]
    Damage(#[from] BoltDamage),
    /// It could not be read.
    #[error("{0}")]
    Read(R),
    /// The visitor had enough.
    #[error("{0}")]
    Visit(V),
}

/// How many bytes the pages of a file need, by its first bytes. With pages of 64 KiB, the largest that
/// there are, 128 KiB of them tell; the file may have more pages, which were never in use.
pub fn length(head: &[u8]) -> Result<u64, BoltDamage> {
    match Meta::latest(&head) {
        Ok(Some(meta)) => Ok(meta.length()),
        Ok(None) | Err(PastEnd { .. }) => Err(BoltDamage::NoMeta),
    }
}

/// One row of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The bucket that it is in.
    pub bucket: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Where the value begins, bytes from the start of the file.
    pub value_at: u64,
}

/// Visits every row of every bucket, buckets by name and rows by key. Rows that were visited before
/// damage was found are not undone.
pub fn walk<S: ReadAt, V>(
    source: S,
    mut visit: impl FnMut(Row<'_>) -> Result<(), V>,
) -> Result<(), WalkError<S::Error, V>> {
    let mut reader = Reader::open(source)?;
    for name in reader.names() {
        reader.rows(&name, &mut visit)?;
    }
    Ok(())
}

/// An open database. Its buckets are known; each may be visited when it is needed.
#[derive(Debug)]
pub struct Reader<S> {
    source: S,
    meta: Meta,
    buckets: Vec<Bucket>,
    claimed: Pages,
    buffer: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Bucket {
    name: Vec<u8>,
    body: Body,
    /// Whether the pages of its tree are claimed.
    visited: bool,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Tree {
        root: u64,
    },
    /// A leaf page inside the value, which is on this page.
    Inline {
        page: u64,
        at: u64,
        length: usize,
    },
}

impl<S: ReadAt> Reader<S> {
    /// Reads the metas and the names of the buckets.
    pub fn open<V>(source: S) -> Result<Self, WalkError<S::Error, V>> {
        let meta = Meta::latest(&source).map_err(WalkError::Read)?;
        let meta = meta.ok_or(BoltDamage::NoMeta)?;
        let have = source.size();
        let need = meta.length();
        if have < need {
            return Err(BoltDamage::Truncated { have, need }.into());
        }
        let mut reader = Self {
            source,
            meta,
            buckets: Vec::new(),
            claimed: Pages::new(meta.pages),
            buffer: Vec::new(),
        };
        reader.buckets = reader.read_buckets()?;
        Ok(reader)
    }

    /// The buckets, by name.
    pub fn names(&self) -> Vec<Vec<u8>> {
        self.buckets.iter().map(|it| it.name.clone()).collect()
    }

    /// Whether there is such a bucket.
    pub fn has(&self, bucket: &[u8]) -> bool {
        self.buckets.iter().any(|it| it.name == bucket)
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> usize {
        self.meta.page_size
    }

    /// Bytes of the pages that were met so far. When all buckets were visited, the rest of the
    /// file is free.
    pub fn bytes_in_use(&self) -> u64 {
        let metas = 2;
        (self.claimed.count + metas).saturating_mul(self.meta.page_size as u64)
    }

    /// Visits the rows of one bucket in the order of their keys; none if there is no such bucket.
    pub fn rows<V>(
        &mut self,
        bucket: &[u8],
        mut visit: impl FnMut(Row<'_>) -> Result<(), V>,
    ) -> Result<(), WalkError<S::Error, V>> {
        let Some(found) = self.buckets.iter_mut().find(|it| it.name == bucket) else {
            return Ok(());
        };
        let (body, again) = (found.body, found.visited);
        found.visited = true;
        let mut row = |element: Element<'_>| {
            if element.flags & IS_BUCKET != 0 {
                return Err(WalkError::Damage(BoltDamage::NestedBucket {
                    page: element.page,
                    element: element.number,
                }));
            }
            visit(Row {
                bucket,
                key: element.key,
                value: element.value,
                value_at: element.value_at,
            })
            .map_err(WalkError::Visit)
        };
        match body {
            Body::Inline { page, at, length } => {
                let bytes = filled(&mut self.buffer, length);
                let read = self.source.read_at(at, bytes);
                read.map_err(WalkError::Read)?;
                let leaf = Page::new(bytes, page, at)?.expect_leaf()?;
                leaf.elements(&[], &mut row).map(drop)
            }
            Body::Tree { root } if again => {
                // Its pages are claimed by itself; a loop is still one.
                let mut claimed = Pages::new(self.meta.pages);
                std::mem::swap(&mut self.claimed, &mut claimed);
                let done = self.tree(root, row);
                self.claimed = claimed;
                done
            }
            Body::Tree { root } => self.tree(root, row),
        }
    }

    /// The last key of a bucket; `None` if there is no such bucket, or nothing on its last page. Only
    /// that page is read, and those that lead to it.
    pub fn last_key<V>(
        &mut self,
        bucket: &[u8],
    ) -> Result<Option<Vec<u8>>, WalkError<S::Error, V>> {
        let found = self.buckets.iter().find(|it| it.name == bucket);
        let mut id = match found.map(|it| it.body) {
            Some(Body::Tree { root }) => root,
            Some(Body::Inline { .. }) => {
                let mut last = None;
                self.rows(bucket, |row| {
                    last = Some(row.key.to_vec());
                    Ok(())
                })?;
                return Ok(last);
            }
            None => return Ok(None),
        };
        // What was claimed before stays so; a loop is still one.
        let mut claimed = Pages::new(self.meta.pages);
        std::mem::swap(&mut self.claimed, &mut claimed);
        let last = loop {
            let found = self.claimed.claim(id).map_err(WalkError::Damage);
            match found.and_then(|()| self.last_of_page(id)) {
                Ok(Last::Child(child)) => id = child,
                Ok(Last::Key(key)) => break Ok(key),
                Err(error) => break Err(error),
            }
        };
        self.claimed = claimed;
        last
    }

    fn last_of_page<V>(&mut self, id: u64) -> Result<Last, WalkError<S::Error, V>> {
        let page = self.page(id)?;
        if page.flags == LEAF {
            let last = page.elements(&[], &mut |_| Ok::<(), WalkError<S::Error, V>>(()))?;
            return Ok(Last::Key(last.map(<[u8]>::to_vec)));
        }
        let mut children = Vec::new();
        page.children(&mut children)?;
        let none = BoltDamage::EmptyBranch { page: id };
        Ok(Last::Child(children.pop().ok_or(none)?))
    }

    fn read_buckets<V>(&mut self) -> Result<Vec<Bucket>, WalkError<S::Error, V>> {
        let mut buckets = Vec::new();
        self.tree(self.meta.root, |element| {
            let body = bucket_body(&element)?;
            buckets.push(Bucket {
                name: element.key.to_vec(),
                body,
                visited: false,
            });
            Ok(())
        })?;
        Ok(buckets)
    }

    /// Visits the leaf elements of a tree in order. No recursion: a chain of pages may be as long
    /// as the file. What is to do is claimed, so it is never more than there are pages.
    fn tree<V>(
        &mut self,
        root: u64,
        mut visit: impl FnMut(Element<'_>) -> Result<(), WalkError<S::Error, V>>,
    ) -> Result<(), WalkError<S::Error, V>> {
        self.claimed.claim(root)?;
        let mut todo = vec![root];
        let mut last = Vec::new();
        while let Some(id) = todo.pop() {
            let page = self.page(id)?;
            if page.flags == LEAF {
                if let Some(key) = page.elements(&last, &mut visit)? {
                    last.clear();
                    last.extend_from_slice(key);
                }
            } else {
                let from = todo.len();
                page.children(&mut todo)?;
                let children = todo.get_mut(from..).unwrap_or_default();
                for child in &*children {
                    self.claimed.claim(*child)?;
                }
                children.reverse();
            }
        }
        Ok(())
    }

    /// Reads a page that was claimed, with what it overflows into.
    fn page<V>(&mut self, id: u64) -> Result<Page<'_>, WalkError<S::Error, V>> {
        let too_long = BoltDamage::PageLength { page: id };
        let (size, pages) = (self.meta.page_size, self.meta.pages);
        // `id < pages`, and pages * size fits in the file.
        let at = id * size as u64;
        let read = self.source.read_at(at, filled(&mut self.buffer, size));
        read.map_err(WalkError::Read)?;
        let overflow = u32_at(&self.buffer, 12).unwrap_or(u32::MAX);
        let whole = (overflow as usize)
            .checked_add(1)
            .and_then(|count| count.checked_mul(size))
            .filter(|whole| u64::from(overflow) < pages - id && *whole <= LARGEST_PAGE);
        let whole = whole.ok_or(too_long)?;
        for more in 1..=u64::from(overflow) {
            self.claimed.claim(id + more)?;
        }
        let bytes = filled(&mut self.buffer, whole);
        if let Some(rest) = bytes.get_mut(size..).filter(|it| !it.is_empty()) {
            let read = self.source.read_at(at + size as u64, rest);
            read.map_err(WalkError::Read)?;
        }
        let page = Page::new(bytes, id, at)?;
        match u64_at(bytes, 0) {
            Some(found) if found == id => Ok(page),
            found => {
                let found = found.unwrap_or(0);
                Err(BoltDamage::PageId { page: id, found }.into())
            }
        }
    }
}

/// The last of a page.
enum Last {
    Key(Option<Vec<u8>>),
    Child(u64),
}

/// More than raft carries in a message, so no row is so long. A page that says so is damaged, and
/// is not worth the memory.
const LARGEST_PAGE: usize = 1 << 30;

/// The first bytes of a buffer that only grows.
fn filled(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    buffer.get_mut(..length).unwrap_or_default()
}

/// A bucket's value begins with the page of its tree and a sequence number; page 0 means that the
/// rest of the value is itself a leaf page.
fn bucket_body(element: &Element<'_>) -> Result<Body, BoltDamage> {
    let Element { page, number, .. } = *element;
    let root = u64_at(element.value, 0);
    let root = root.filter(|_| element.flags & IS_BUCKET != 0 && element.value.len() >= HEADER);
    match root {
        Some(0) => Ok(Body::Inline {
            page,
            at: element.value_at + HEADER as u64,
            length: element.value.len() - HEADER,
        }),
        Some(root) => Ok(Body::Tree { root }),
        None => Err(BoltDamage::NotABucket {
            page,
            element: number,
        }),
    }
}

/// A bit for each page: whether something refers to it.
#[derive(Debug)]
struct Pages {
    end: u64,
    bits: Vec<u64>,
    count: u64,
}

impl Pages {
    /// Pages below `end` are in the file, so the bits are a small part of it.
    fn new(end: u64) -> Self {
        let words = usize::try_from(end.div_ceil(64)).unwrap_or(0);
        Self {
            end,
            bits: vec![0; words],
            count: 0,
        }
    }

    fn claim(&mut self, page: u64) -> Result<(), BoltDamage> {
        let word = usize::try_from(page / 64).unwrap_or(usize::MAX);
        let no_such = BoltDamage::NoSuchPage {
            page,
            pages: self.end,
        };
        if page < 2 || page >= self.end {
            return Err(no_such);
        }
        let word = self.bits.get_mut(word).ok_or(no_such)?;
        let bit = 1 << (page % 64);
        if *word & bit != 0 {
            return Err(BoltDamage::PageTwice { page });
        }
        *word |= bit;
        self.count += 1;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Meta {
    page_size: usize,
    root: u64,
    /// The first page that was never in use; the file may be longer.
    pages: u64,
    txid: u64,
}

impl Meta {
    /// Bytes up to the last page that was ever in use.
    fn length(&self) -> u64 {
        self.pages.saturating_mul(self.page_size as u64)
    }

    fn at<S: ReadAt>(source: &S, offset: usize) -> Result<Option<Self>, S::Error> {
        let mut page = [0; HEADER + META];
        let offset = offset as u64;
        if source.size() < offset + page.len() as u64 {
            return Ok(None);
        }
        source.read_at(offset, &mut page)?;
        Ok(page.get(HEADER..).and_then(Self::parse))
    }

    fn parse(meta: &[u8]) -> Option<Self> {
        let page_size = usize::try_from(u32_at(meta, 8)?).ok()?;
        let sane = u32_at(meta, 0)? == MAGIC
            && u32_at(meta, 4)? == FORMAT
            && u64_at(meta, 56)? == fnv1a(meta.get(..56)?)
            && page_size.is_power_of_two()
            && page_size >= 1024;
        sane.then_some(Self {
            page_size,
            root: u64_at(meta, 16)?,
            pages: u64_at(meta, 40)?,
            txid: u64_at(meta, 48)?,
        })
    }

    /// The later of the valid metas. Where the second one is can only be guessed if the first is
    /// lost, because the page size stands in it.
    fn latest<S: ReadAt>(source: &S) -> Result<Option<Self>, S::Error> {
        let Some(first) = Self::at(source, 0)? else {
            for size in (0..15).map(|power| 1024_usize << power) {
                let found = Self::at(source, size)?.filter(|meta| meta.page_size == size);
                if found.is_some() {
                    return Ok(found);
                }
            }
            return Ok(None);
        };
        let second = Self::at(source, first.page_size)?;
        let later = |it: &Self| it.txid > first.txid && it.page_size == first.page_size;
        Ok(Some(second.filter(later).unwrap_or(first)))
    }
}
