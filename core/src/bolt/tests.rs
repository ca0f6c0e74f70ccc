use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

const PAGE: usize = 4096;

/// A file of two metas and the pages given, of which the first is the root of the buckets.
fn file(pages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for txid in [2, 3] {
        let number = txid % 2;
        let mut page = header(number, 0x04, 0, 0);
        let mut meta = Vec::new();
        for word in [MAGIC, FORMAT, u32::try_from(PAGE).unwrap(), 0] {
            meta.extend(word.to_le_bytes());
        }
        for word in [2, 0, u64::MAX, pages.len() as u64 + 2, txid] {
            meta.extend(word.to_le_bytes());
        }
        meta.extend(fnv1a(&meta).to_le_bytes());
        page.extend(meta);
        page.resize(PAGE, 0);
        bytes.extend(page);
    }
    for page in pages {
        bytes.extend(page);
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    }
    bytes
}

fn header(id: u64, flags: u16, count: u16, overflow: u32) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend(flags.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(overflow.to_le_bytes());
    bytes
}

fn leaf(id: u64, flags: u32, rows: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut page = header(id, LEAF, u16::try_from(rows.len()).unwrap(), 0);
    let mut position = rows.len() * ELEMENT;
    for (key, value) in rows {
        for word in [flags as usize, position, key.len(), value.len()] {
            page.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        position = position - ELEMENT + key.len() + value.len();
    }
    for (key, value) in rows {
        page.extend([*key, *value].concat());
    }
    page
}

fn branch(id: u64, children: &[(&[u8], u64)]) -> Vec<u8> {
    let mut page = header(id, BRANCH, u16::try_from(children.len()).unwrap(), 0);
    let mut position = children.len() * ELEMENT;
    for (key, child) in children {
        for word in [position, key.len()] {
            page.extend(u32::try_from(word).unwrap().to_le_bytes());
        }
        page.extend(child.to_le_bytes());
        position = position - ELEMENT + key.len();
    }
    for (key, _) in children {
        page.extend(*key);
    }
    page
}

fn bucket(root: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&root.to_le_bytes());
    value
}

fn inline(rows: &[(&[u8], &[u8])]) -> Vec<u8> {
    [bucket(0).to_vec(), leaf(0, 0, rows)].concat()
}

/// Bucket `big` has a branch and two leaves, bucket `small` stands in its element.
fn sound() -> Vec<Vec<u8>> {
    let small = inline(&[(b"x", b"inline")]);
    vec![
        leaf(2, IS_BUCKET, &[(b"big", &bucket(3)), (b"small", &small)]),
        branch(3, &[(b"a", 4), (b"c", 5)]),
        leaf(4, 0, &[(b"a", b"1"), (b"b", b"2")]),
        leaf(5, 0, &[(b"c", b"3")]),
    ]
}

fn rows(bytes: &[u8]) -> Result<Vec<String>, BoltDamage> {
    let mut rows = Vec::new();
    let walked = walk(bytes, |row| {
        let at = usize::try_from(row.value_at).unwrap();
        assert_eq!(&bytes[at..at + row.value.len()], row.value);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        rows.push(format!(
            "{} {}={}",
            text(row.bucket),
            text(row.key),
            text(row.value)
        ));
        Ok::<(), Infallible>(())
    });
    match walked {
        Ok(()) => Ok(rows),
        Err(WalkError::Damage(damage)) => Err(damage),
        Err(WalkError::Read(error)) => panic!("it reads past the end: {error}"),
    }
}

#[test]
fn every_row_of_every_bucket_is_visited_in_order() {
    let found = rows(&file(&sound())).unwrap();
    assert_eq!(found, ["big a=1", "big b=2", "big c=3", "small x=inline"]);
}

#[test]
fn the_checksum_is_fnv_1a() {
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
}

#[test]
fn the_later_valid_meta_counts() {
    let mut bytes = file(&sound());
    // The later one, of page 1, leads to an empty database.
    let root = PAGE + HEADER + 16;
    bytes[root..root + 8].copy_from_slice(&6_u64.to_le_bytes());
    bytes[PAGE + HEADER + 40] = 7;
    let sum = fnv1a(&bytes[PAGE + HEADER..PAGE + HEADER + 56]);
    bytes[PAGE + HEADER + 56..PAGE + HEADER + 64].copy_from_slice(&sum.to_le_bytes());
    bytes.extend(leaf(6, 0, &[]));
    bytes.resize(7 * PAGE, 0);
    assert_eq!(rows(&bytes), Ok(Vec::new()));
    // Without it the earlier one serves, and the other way round.
    let mut earlier = bytes.clone();
    earlier[root] ^= 1;
    assert_eq!(rows(&earlier).map(|rows| rows.len()), Ok(4));
    let mut later = bytes;
    later[HEADER] ^= 1;
    assert_eq!(rows(&later), Ok(Vec::new()));
}

/// Bytes of one page replaced.
fn with(page: usize, at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = file(&sound());
    let at = page * PAGE + at;
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

fn with_page(number: usize, page: Vec<u8>) -> Vec<u8> {
    let mut pages = sound();
    pages[number - 2] = page;
    file(&pages)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line per damage")]
fn every_damage_is_named_with_its_page() {
    let whole = file(&sound());
    let no_meta = [&[0; 2 * PAGE], &whole[2 * PAGE..]].concat();
    let (size, short) = (6 * PAGE as u64, 5 * PAGE as u64);
    let nested = leaf(4, IS_BUCKET, &[(b"a", &bucket(5))]);
    let twice = branch(3, &[(b"a", 4), (b"c", 4)]);
    let looped = branch(3, &[(b"a", 3)]);
    let unordered = leaf(4, 0, &[(b"b", b""), (b"a", b"")]);
    let overlapping = leaf(5, 0, &[(b"b", b"")]);
    let unordered_branch = branch(3, &[(b"c", 4), (b"a", 5)]);
    let not_bucket = leaf(2, 0, &[(b"big", &bucket(3))]);
    let short_bucket = leaf(2, IS_BUCKET, &[(b"big", &bucket(3)[..12])]);
    let inline_branch = [bucket(0).to_vec(), branch(0, &[(b"a", 5)])].concat();
    let inline_branch = leaf(2, IS_BUCKET, &[(b"big", &inline_branch)]);
    let cut_inline = leaf(2, IS_BUCKET, &[(b"big", &bucket(0))]);
    let huge = [0xff; 4];
    let cases = [
        (Vec::new(), BoltDamage::NoMeta),
        (no_meta, BoltDamage::NoMeta),
        (
            whole[..5 * PAGE].to_vec(),
            BoltDamage::Truncated {
                have: short,
                need: size,
            },
        ),
        (
            with_page(3, branch(3, &[(b"a", 6)])),
            BoltDamage::NoSuchPage { page: 6, pages: 6 },
        ),
        (
            with_page(3, branch(3, &[(b"a", 1)])),
            BoltDamage::NoSuchPage { page: 1, pages: 6 },
        ),
        (with(4, 0, &[9]), BoltDamage::PageId { page: 4, found: 9 }),
        (
            with(4, 8, &[0x10]),
            BoltDamage::PageKind {
                page: 4,
                flags: 0x10,
            },
        ),
        (
            with(4, 8, &[0x03]),
            BoltDamage::PageKind {
                page: 4,
                flags: 0x03,
            },
        ),
        (
            with(4, 10, &[0xff, 0xff]),
            BoltDamage::PageLength { page: 4 },
        ),
        (with(5, 12, &[1]), BoltDamage::PageLength { page: 5 }),
        (with(4, 12, &[1]), BoltDamage::PageTwice { page: 5 }),
        (with(4, 12, &huge), BoltDamage::PageLength { page: 4 }),
        (with_page(3, twice), BoltDamage::PageTwice { page: 4 }),
        (with_page(3, looped), BoltDamage::PageTwice { page: 3 }),
        (with(3, 10, &[0]), BoltDamage::EmptyBranch { page: 3 }),
        (
            with(4, 36, &huge),
            BoltDamage::ElementBounds {
                page: 4,
                element: 1,
            },
        ),
        (
            with(4, 24, &huge),
            BoltDamage::ElementBounds {
                page: 4,
                element: 0,
            },
        ),
        (
            with(4, 44, &huge),
            BoltDamage::ElementBounds {
                page: 4,
                element: 1,
            },
        ),
        (
            with(3, 16, &huge),
            BoltDamage::ElementBounds {
                page: 3,
                element: 0,
            },
        ),
        (
            with_page(4, unordered),
            BoltDamage::KeyOrder {
                page: 4,
                element: 1,
            },
        ),
        (
            with_page(5, overlapping),
            BoltDamage::KeyOrder {
                page: 5,
                element: 0,
            },
        ),
        (
            with_page(3, unordered_branch),
            BoltDamage::KeyOrder {
                page: 3,
                element: 1,
            },
        ),
        (
            with_page(2, not_bucket),
            BoltDamage::NotABucket {
                page: 2,
                element: 0,
            },
        ),
        (
            with_page(2, short_bucket),
            BoltDamage::NotABucket {
                page: 2,
                element: 0,
            },
        ),
        (
            with_page(2, inline_branch),
            BoltDamage::PageKind { page: 2, flags: 1 },
        ),
        (with_page(2, cut_inline), BoltDamage::PageLength { page: 2 }),
        (
            with_page(4, nested),
            BoltDamage::NestedBucket {
                page: 4,
                element: 0,
            },
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(rows(&bytes), Err(expected));
    }
}

#[test]
fn a_row_larger_than_a_page_is_read_over_its_overflow_pages() {
    let large = vec![b'v'; 2 * PAGE];
    let mut page = leaf(4, 0, &[(b"a", &large)]);
    page[12] = 2;
    let mut pages = sound();
    pages[1] = branch(3, &[(b"a", 4), (b"c", 7)]);
    pages[2] = page;
    pages[3] = leaf(7, 0, &[(b"c", b"3")]);
    // Two pages of overflow lie between page 4 and the next, which is 7.
    let mut bytes = file(&pages);
    for meta in [0, PAGE] {
        bytes[meta + HEADER + 40] = 8;
        let sum = fnv1a(&bytes[meta + HEADER..meta + HEADER + 56]);
        bytes[meta + HEADER + 56..meta + HEADER + 64].copy_from_slice(&sum.to_le_bytes());
    }
    assert_eq!(bytes.len(), 8 * PAGE);
    assert_eq!(rows(&bytes).unwrap()[1..], ["big c=3", "small x=inline"]);
}

#[test]
fn one_bucket_is_visited_alone_and_again() {
    let bytes = file(&sound());
    let mut reader = Reader::open::<Infallible>(bytes.as_slice()).unwrap();
    assert_eq!(reader.names(), [b"big".to_vec(), b"small".to_vec()]);
    assert!(reader.has(b"big") && !reader.has(b"bi"));
    assert_eq!(reader.page_size(), PAGE);
    assert_eq!(reader.bytes_in_use(), 3 * PAGE as u64);
    for (bucket, expected) in [("small", "x"), ("big", "abc"), ("big", "abc"), ("none", "")] {
        let mut keys = Vec::new();
        let visit = |row: Row<'_>| {
            assert_eq!(row.bucket, bucket.as_bytes());
            keys.extend_from_slice(row.key);
            Ok::<(), Infallible>(())
        };
        reader.rows(bucket.as_bytes(), visit).unwrap();
        assert_eq!(keys, expected.as_bytes());
    }
    assert_eq!(reader.bytes_in_use(), bytes.len() as u64);
}

#[test]
fn a_page_of_two_buckets_is_found() {
    let mut pages = sound();
    pages[0] = leaf(
        2,
        IS_BUCKET,
        &[(b"big", &bucket(3)), (b"small", &bucket(5))],
    );
    let expected = BoltDamage::PageTwice { page: 5 };
    assert_eq!(rows(&file(&pages)), Err(expected));
}

#[test]
fn a_visitor_that_had_enough_ends_the_walk() {
    let bytes = file(&sound());
    let mut seen = 0;
    let walked = walk(bytes.as_slice(), |row| {
        seen += 1;
        if row.key == b"b" {
            Err("enough")
        } else {
            Ok(())
        }
    });
    assert_eq!(walked, Err(WalkError::Visit("enough")));
    assert_eq!(seen, 2);
}

/// A source that has fewer bytes than it said, as a file that somebody cuts meanwhile.
struct Shrunk(Vec<u8>);

impl ReadAt for Shrunk {
    type Error = PastEnd;

    fn size(&self) -> u64 {
        6 * PAGE as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), PastEnd> {
        self.0.read_at(offset, into)
    }
}

#[test]
fn a_source_that_cannot_be_read_ends_the_walk() {
    let bytes = file(&sound())[..5 * PAGE].to_vec();
    let walked = walk(Shrunk(bytes), |_| Ok::<(), Infallible>(()));
    let (offset, length) = (5 * PAGE as u64, PAGE as u64);
    let expected = WalkError::Read(PastEnd { offset, length });
    assert_eq!(walked, Err(expected));
    let past = [0_u8; 3].read_at(u64::MAX, &mut [0]).unwrap_err();
    assert_eq!(
        past.to_string(),
        "there are no 1 bytes at 18446744073709551615"
    );
}

/// As deep as the file is long: no recursion may be needed.
#[test]
fn a_chain_of_pages_as_long_as_the_file_is_followed() {
    let deep = 50_000;
    let mut pages = vec![leaf(2, IS_BUCKET, &[(b"big", &bucket(3))])];
    pages.extend((3..deep).map(|id| branch(id, &[(b"a", id + 1)])));
    pages.push(leaf(deep, 0, &[(b"a", b"1")]));
    assert_eq!(rows(&file(&pages)).unwrap(), ["big a=1"]);
}

proptest! {
    #[test]
    fn nothing_panics_whatever_the_bytes(
        changes in prop::collection::vec((0..6 * PAGE, any::<u8>()), 1..8),
        length in 0..=6 * PAGE,
    ) {
        let mut bytes = file(&sound());
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        // Either is fine; a panic is not.
        let _ = rows(&bytes[..length]);
        let _ = rows(&bytes);
    }

    /// Headers and elements are a small part of a file; here nothing else is changed.
    #[test]
    fn nothing_panics_whatever_the_headers(
        changes in prop::collection::vec((2..6_usize, 0..56_usize, any::<u8>()), 1..4),
    ) {
        let mut bytes = file(&sound());
        for (page, at, byte) in changes {
            bytes[page * PAGE + at] = byte;
        }
        let _ = rows(&bytes);
    }
}
