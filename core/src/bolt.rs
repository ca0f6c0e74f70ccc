//! Reads a bbolt file, the database of an etcd member: every row of every bucket, each structure
//! checked. Whatever the bytes, the answer is rows or a [`BoltDamage`], never a panic.
//!
//! The format has checksums on its two meta pages only: damage inside a value cannot be seen here.

use std::collections::BTreeSet;

use thiserror::Error;

/// What is wrong with a bbolt file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BoltDamage {
    /// Both meta pages are unreadable: this is no database, or its head is lost.
    #[error("neither meta page is valid")]
    NoMeta,
    /// The file ends before its last page.
    #[error("the file has {have} bytes and its pages need {need}")]
    Truncated {
        /// Bytes in the file.
        have: u64,
        /// Bytes that its meta page speaks of.
        need: u64,
    },
    /// A reference to a page that does not exist.
    #[error("page {page} is referred to, and there are only {pages}")]
    NoSuchPage {
        /// The page.
        page: u64,
        /// Pages in the file.
        pages: u64,
    },
    /// A page carries another page's number.
    #[error("page {page} says that it is page {found}")]
    PageId {
        /// The page.
        page: u64,
        /// What its header says.
        found: u64,
    },
    /// A page of a tree that is neither branch nor leaf.
    #[error("page {page} is no page of a tree (flags {flags:#x})")]
    PageKind {
        /// The page.
        page: u64,
        /// What its header says.
        flags: u16,
    },
    /// A page that claims more bytes than there are.
    #[error("page {page} reaches past the end")]
    PageLength {
        /// The page.
        page: u64,
    },
    /// A page that two others refer to.
    #[error("page {page} is referred to twice")]
    PageTwice {
        /// The page.
        page: u64,
    },
    /// A branch that leads nowhere.
    #[error("page {page} is a branch without elements")]
    EmptyBranch {
        /// The page.
        page: u64,
    },
    /// An element, its key or its value lies outside of its page.
    #[error("element {element} of page {page} lies outside of the page")]
    ElementBounds {
        /// The page.
        page: u64,
        /// Counted from zero.
        element: u16,
    },
    /// A key that is not greater than the one before it.
    #[error("element {element} of page {page} is out of order")]
    KeyOrder {
        /// The page.
        page: u64,
        /// Counted from zero.
        element: u16,
    },
    /// The top level has something that is not a bucket.
    #[error("element {element} of page {page} is no bucket, and the top level has only buckets")]
    NotABucket {
        /// The page.
        page: u64,
        /// Counted from zero.
        element: u16,
    },
    /// A bucket inside a bucket, which etcd never makes.
    #[error("element {element} of page {page} is a bucket inside a bucket")]
    NestedBucket {
        /// The page.
        page: u64,
        /// Counted from zero.
        element: u16,
    },
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
    pub value_at: usize,
}

const MAGIC: u32 = 0xED0C_DAED;
const FORMAT: u32 = 2;
const HEADER: usize = 16;
const ELEMENT: usize = 16;
const META: usize = 64;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const IS_BUCKET: u32 = 0x01;

/// Visits every row of every bucket, buckets by name and rows by key. Rows that were visited before
/// damage was found are not undone.
pub fn walk<'a>(bytes: &'a [u8], mut visit: impl FnMut(Row<'a>)) -> Result<(), BoltDamage> {
    let mut file = File::open(bytes)?;
    let mut buckets = Vec::new();
    file.tree(file.meta.root, |element| {
        buckets.push(element);
        Ok(())
    })?;
    for bucket in buckets {
        let mut row = |element: Element<'a>| {
            if element.flags & IS_BUCKET != 0 {
                return Err(BoltDamage::NestedBucket {
                    page: element.page,
                    element: element.number,
                });
            }
            visit(Row {
                bucket: bucket.key,
                key: element.key,
                value: element.value,
                value_at: element.value_at,
            });
            Ok(())
        };
        let root = bucket_root(&bucket)?;
        if root == 0 {
            let inline = Page::at(
                bytes,
                bucket.page,
                bucket.value_at + HEADER,
                bucket.value_at + bucket.value.len(),
            )?;
            inline.expect_leaf()?.elements(&mut None, &mut row)?;
        } else {
            file.tree(root, row)?;
        }
    }
    Ok(())
}

/// A bucket's value begins with the page of its tree and a sequence number; page 0 means that the
/// rest of the value is itself a leaf page.
fn bucket_root(element: &Element<'_>) -> Result<u64, BoltDamage> {
    let damage = BoltDamage::NotABucket {
        page: element.page,
        element: element.number,
    };
    match u64_at(element.value, 0) {
        Some(root) if element.flags & IS_BUCKET != 0 && element.value.len() >= HEADER => Ok(root),
        Some(_) | None => Err(damage),
    }
}

#[derive(Clone, Copy)]
struct Meta {
    page_size: usize,
    root: u64,
    high_water: u64,
    txid: u64,
}

impl Meta {
    fn at(bytes: &[u8], offset: usize) -> Option<Self> {
        let start = offset.checked_add(HEADER)?;
        let meta = bytes.get(start..start.checked_add(META)?)?;
        let page_size = usize::try_from(u32_at(meta, 8)?).ok()?;
        let sane = u32_at(meta, 0)? == MAGIC
            && u32_at(meta, 4)? == FORMAT
            && u64_at(meta, 56)? == fnv1a(meta.get(..56)?)
            && page_size.is_power_of_two()
            && page_size >= 1024;
        sane.then_some(Self {
            page_size,
            root: u64_at(meta, 16)?,
            high_water: u64_at(meta, 40)?,
            txid: u64_at(meta, 48)?,
        })
    }

    /// The later of the valid metas. Where the second one is can only be guessed if the first is
    /// lost, because the page size stands in it.
    fn latest(bytes: &[u8]) -> Option<Self> {
        let Some(first) = Self::at(bytes, 0) else {
            return (0..15)
                .map(|power| 1024_usize << power)
                .find_map(|size| Self::at(bytes, size).filter(|meta| meta.page_size == size));
        };
        match Self::at(bytes, first.page_size) {
            Some(second) if second.txid > first.txid && second.page_size == first.page_size => {
                Some(second)
            }
            Some(_) | None => Some(first),
        }
    }
}

struct File<'a> {
    bytes: &'a [u8],
    meta: Meta,
    seen: BTreeSet<u64>,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, BoltDamage> {
        let meta = Meta::latest(bytes).ok_or(BoltDamage::NoMeta)?;
        let have = bytes.len() as u64;
        let need = meta.high_water.saturating_mul(meta.page_size as u64);
        if have < need {
            return Err(BoltDamage::Truncated { have, need });
        }
        Ok(Self {
            bytes,
            meta,
            seen: BTreeSet::new(),
        })
    }

    /// Visits the leaf elements of the tree in order. No recursion: a chain of pages may be as
    /// long as the file.
    fn tree(
        &mut self,
        root: u64,
        mut visit: impl FnMut(Element<'a>) -> Result<(), BoltDamage>,
    ) -> Result<(), BoltDamage> {
        let mut todo = vec![root];
        let mut last = None;
        while let Some(id) = todo.pop() {
            let page = self.page(id)?;
            if page.flags == LEAF {
                page.elements(&mut last, &mut visit)?;
            } else {
                todo.extend(page.children()?.into_iter().rev());
            }
        }
        Ok(())
    }

    fn page(&mut self, id: u64) -> Result<Page<'a>, BoltDamage> {
        let pages = self.meta.high_water;
        if id < 2 || id >= pages {
            return Err(BoltDamage::NoSuchPage { page: id, pages });
        }
        if !self.seen.insert(id) {
            return Err(BoltDamage::PageTwice { page: id });
        }
        let too_long = BoltDamage::PageLength { page: id };
        // `id < high_water`, and high_water * page_size fits in the file.
        let start = usize::try_from(id)
            .ok()
            .and_then(|id| id.checked_mul(self.meta.page_size))
            .ok_or_else(|| too_long.clone())?;
        let overflow = u32_at(self.bytes, start + 12).ok_or_else(|| too_long.clone())?;
        if u64::from(overflow) >= pages - id {
            return Err(too_long);
        }
        let length = (overflow as usize + 1) * self.meta.page_size;
        let page = Page::at(self.bytes, id, start, start + length)?;
        match u64_at(self.bytes, start) {
            Some(found) if found == id => Ok(page),
            found => Err(BoltDamage::PageId {
                page: id,
                found: found.unwrap_or(0),
            }),
        }
    }
}

/// A branch or leaf page; `id` is, for a leaf inside a value, the page that the value is on.
struct Page<'a> {
    bytes: &'a [u8],
    id: u64,
    start: usize,
    end: usize,
    flags: u16,
    count: u16,
}

/// A leaf element.
struct Element<'a> {
    page: u64,
    number: u16,
    flags: u32,
    key: &'a [u8],
    value: &'a [u8],
    value_at: usize,
}

impl<'a> Page<'a> {
    fn at(bytes: &'a [u8], id: u64, start: usize, end: usize) -> Result<Self, BoltDamage> {
        let too_long = BoltDamage::PageLength { page: id };
        let whole = bytes.get(start..end).ok_or_else(|| too_long.clone())?;
        let (Some(flags), Some(count)) = (u16_at(whole, 8), u16_at(whole, 10)) else {
            return Err(too_long);
        };
        if flags != BRANCH && flags != LEAF {
            return Err(BoltDamage::PageKind { page: id, flags });
        }
        if whole.len() < HEADER + usize::from(count) * ELEMENT {
            return Err(too_long);
        }
        Ok(Self {
            bytes,
            id,
            start,
            end,
            flags,
            count,
        })
    }

    fn expect_leaf(self) -> Result<Self, BoltDamage> {
        if self.flags == LEAF {
            Ok(self)
        } else {
            Err(BoltDamage::PageKind {
                page: self.id,
                flags: self.flags,
            })
        }
    }

    fn element_at(&self, number: u16) -> usize {
        self.start + HEADER + usize::from(number) * ELEMENT
    }

    /// Bytes of this page, given by an element, a distance from it and a length.
    fn slice(&self, number: u16, distance: usize, length: usize) -> Result<&'a [u8], BoltDamage> {
        self.element_at(number)
            .checked_add(distance)
            .and_then(|start| Some(start..start.checked_add(length)?))
            .filter(|range| range.end <= self.end)
            .and_then(|range| self.bytes.get(range))
            .ok_or(BoltDamage::ElementBounds {
                page: self.id,
                element: number,
            })
    }

    fn number(&self, number: u16, field: usize) -> Result<usize, BoltDamage> {
        let bytes = self.slice(number, field, 4)?;
        Ok(u32_at(bytes, 0).unwrap_or(0) as usize)
    }

    /// `last` is the key before the first of this page, and afterwards the last of this page.
    fn elements(
        &self,
        last: &mut Option<&'a [u8]>,
        visit: &mut impl FnMut(Element<'a>) -> Result<(), BoltDamage>,
    ) -> Result<(), BoltDamage> {
        for number in 0..self.count {
            let flags = u32_at(self.slice(number, 0, 4)?, 0).unwrap_or(0);
            let position = self.number(number, 4)?;
            let key_length = self.number(number, 8)?;
            let value_length = self.number(number, 12)?;
            let key = self.slice(number, position, key_length)?;
            let distance = position.saturating_add(key_length);
            let value = self.slice(number, distance, value_length)?;
            if last.is_some_and(|last| key <= last) {
                return Err(BoltDamage::KeyOrder {
                    page: self.id,
                    element: number,
                });
            }
            *last = Some(key);
            visit(Element {
                page: self.id,
                number,
                flags,
                key,
                value,
                value_at: self.element_at(number) + distance,
            })?;
        }
        Ok(())
    }

    fn children(&self) -> Result<Vec<u64>, BoltDamage> {
        if self.count == 0 {
            return Err(BoltDamage::EmptyBranch { page: self.id });
        }
        let mut last: Option<&[u8]> = None;
        let mut children = Vec::with_capacity(usize::from(self.count));
        for number in 0..self.count {
            let position = self.number(number, 0)?;
            let key_length = self.number(number, 4)?;
            let key = self.slice(number, position, key_length)?;
            if last.is_some_and(|last| key <= last) {
                return Err(BoltDamage::KeyOrder {
                    page: self.id,
                    element: number,
                });
            }
            last = Some(key);
            children.push(u64_at(self.slice(number, 8, 8)?, 0).unwrap_or(0));
        }
        Ok(children)
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
