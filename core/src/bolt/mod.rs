//! The file format of bbolt, in which an etcd member keeps its database: buckets of sorted rows.
//! [`Reader`] checks each structure that it meets; [`Writer`] makes a file from rows that come in
//! order. Neither holds a file in memory.
//!
//! ```text
//! page      id u64, flags u16, count u16, overflow u32, elements, keys and values
//! branch    position u32, key length u32, child u64
//! leaf      flags u32, position u32, key length u32, value length u32; the value follows the key
//! meta      magic, format, page size, flags: u32; root, sequence, freelist, pages, txid, sum: u64
//! ```
//!
//! All numbers are little-endian; a position counts from its element. Pages 0 and 1 are metas, the
//! valid one with the higher txid counts. Its root is a tree whose rows are buckets: the value is the
//! root page of another tree and a sequence number; root 0 means that a leaf page stands in the value
//! itself. A page may reach over as many following ones as `overflow` says.
//!
//! The format has checksums on its two meta pages only: damage inside a value cannot be seen here.

mod grow;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod write;
#[cfg(test)]
mod write_tests;

use thiserror::Error;

pub use read::{PastEnd, ReadAt, Reader, Row, WalkError, length, walk};
pub use write::{DrainError, Drained, Finish, PageSize, Sink, WriteError, Writer};

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
    /// A page that two others refer to, or reach into.
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

const MAGIC: u32 = 0xED0C_DAED;
const FORMAT: u32 = 2;
const HEADER: usize = 16;
const ELEMENT: usize = 16;
const META: usize = 64;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META_PAGE: u16 = 0x04;
const IS_BUCKET: u32 = 0x01;
/// The page number that says that no freelist is kept; etcd never keeps one.
const NO_FREELIST: u64 = u64::MAX;

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
