use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::snapshot_file::hex;

type Rows = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn size(bytes: usize) -> PageSize {
    PageSize::new(bytes).unwrap()
}

fn write(rows: &Rows, page_size: PageSize) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Drained::new(page_size, |out: &mut Vec<u8>| {
        body.append(out);
        Ok::<(), Infallible>(())
    });
    writer.at_least = 10_000;
    // Not in the order of their names.
    for (name, rows) in rows.iter().rev() {
        writer.bucket(name).unwrap();
        for (key, value) in rows {
            writer.row(key, value).unwrap();
        }
    }
    let finish = writer.finish().unwrap();
    let file = [finish.metas, body].concat();
    assert_eq!(file.len() as u64, finish.bytes);
    file
}

fn read(file: &[u8]) -> Rows {
    let mut reader = Reader::open::<Infallible>(file).unwrap();
    let mut rows = Rows::new();
    for name in reader.names() {
        let bucket = rows.entry(name.clone()).or_default();
        let visit = |row: Row<'_>| {
            bucket.insert(row.key.to_vec(), row.value.to_vec());
            Ok::<(), Infallible>(())
        };
        reader.rows(&name, visit).unwrap();
    }
    // Nothing is written that nothing refers to.
    assert_eq!(reader.bytes_in_use(), file.len() as u64);
    rows
}

#[test]
fn an_empty_database_has_the_metas_that_were_proven_with_etcd() {
    let file = write(&Rows::new(), PageSize::DEFAULT);
    assert_eq!(file.len(), 3 * 4096);
    let sum = |page: usize| file[page * 4096 + 72..page * 4096 + 80].to_vec();
    assert_eq!(sum(0), [0x40, 0x67, 0xaf, 0x04, 0xa0, 0xb1, 0x68, 0xe3]);
    assert_eq!(sum(1), [0x61, 0xb1, 0x9e, 0x0f, 0xa9, 0x78, 0x63, 0x02]);
    assert_eq!(read(&file), Rows::new());
}

#[test]
fn one_inline_bucket_is_written_as_was_proven_with_etcd() {
    let row = (b"consistent_index".to_vec(), 1_u64.to_be_bytes().to_vec());
    let rows = Rows::from([(b"meta".to_vec(), [row].into())]);
    let file = write(&rows, PageSize::DEFAULT);
    assert_eq!(file.len(), 12288);
    let expected = "b142fdf7ae7ace3433c5ea1edf47e6f964286476cde680f41cb4955818e7a6dc";
    assert_eq!(hex(&Sha256::digest(&file)), expected);
}

#[test]
fn a_bucket_stands_in_its_element_up_to_a_quarter_of_a_page() {
    for (value, pages) in [(1024 - 16 - 16 - 1, 3), (1024 - 16 - 16, 4)] {
        let rows = Rows::from([(b"b".to_vec(), [(b"k".to_vec(), vec![b'v'; value])].into())]);
        let file = write(&rows, PageSize::DEFAULT);
        assert_eq!(file.len(), pages * 4096, "value of {value} bytes");
        assert_eq!(read(&file), rows);
    }
}

#[test]
fn a_leaf_ends_where_the_next_row_would_overflow() {
    // Four rows of 1 KiB with their elements are too long for a page, three are not.
    let rows = (0..9_u8).map(|key| (vec![key], vec![key; 1024]));
    let rows = Rows::from([(b"key".to_vec(), rows.collect())]);
    let file = write(&rows, PageSize::DEFAULT);
    // Metas, leaves, their branch, the root.
    assert_eq!(file.len(), (2 + 3 + 1 + 1) * 4096);
    // What a long row leaves of its last page is used.
    let long = [
        (b"a".to_vec(), vec![0; 5000]),
        (b"b".to_vec(), vec![0; 3000]),
    ];
    let rows = Rows::from([(b"key".to_vec(), long.into())]);
    assert_eq!(write(&rows, PageSize::DEFAULT).len(), (2 + 2 + 1) * 4096);
}

#[test]
fn more_rows_than_a_page_can_count_are_written() {
    let rows = (0..70_000_u32).map(|key| (key.to_be_bytes().to_vec(), Vec::new()));
    let rows = Rows::from([(b"key".to_vec(), rows.collect())]);
    for page_size in [size(1024), size(65536)] {
        assert_eq!(read(&write(&rows, page_size)), rows);
    }
}

#[test]
fn keys_as_long_as_they_may_be_make_a_tree_of_many_levels() {
    let key = |last: u8| [vec![b'k'; LONGEST - 1], vec![last]].concat();
    let rows = (0..40).map(|last| (key(last), vec![last]));
    let rows = Rows::from([(key(7), rows.collect()), (key(8), BTreeMap::new())]);
    let file = write(&rows, size(1024));
    assert_eq!(read(&file), rows);
}

const LONGEST: usize = 32768;

#[test]
fn what_bbolt_would_not_take_is_refused() {
    let bucket = || String::from("b");
    let mut writer = Writer::new(PageSize::DEFAULT);
    assert_eq!(writer.row(b"k", b""), Err(WriteError::NoBucket));
    writer.bucket(b"b").unwrap();
    for length in [0, LONGEST + 1] {
        let expected = WriteError::KeyLength {
            bucket: bucket(),
            length,
        };
        assert_eq!(writer.row(&vec![b'k'; length], b""), Err(expected));
    }
    writer.row(b"k", b"").unwrap();
    for key in [b"k", b"j"] {
        let expected = WriteError::Order { bucket: bucket() };
        assert_eq!(writer.row(key, b""), Err(expected));
    }
    writer.bucket(b"c").unwrap();
    let expected = WriteError::BucketTwice { bucket: bucket() };
    assert_eq!(writer.bucket(b"b"), Err(expected));
    assert_eq!(PageSize::new(4095), None);
    assert_eq!(PageSize::new(512), None);
    assert_eq!(PageSize::new(131_072), None);
}

#[test]
fn a_taker_that_fails_ends_it() {
    let mut writer = Drained::new(PageSize::DEFAULT, |_: &mut Vec<u8>| Err("disk full"));
    writer.at_least = 1;
    writer.bucket(b"b").unwrap();
    writer.row(b"a", &[0; 4096]).unwrap();
    let expected = DrainError::Drain("disk full");
    assert_eq!(writer.row(b"b", &[0; 4096]), Err(expected));
    assert_eq!(writer.finish(), Err("disk full"));
}

fn any_rows() -> impl Strategy<Value = Rows> {
    let bytes = |lengths| prop::collection::vec(any::<u8>(), lengths);
    let length = prop_oneof![
        8 => 0..40_usize,
        4 => 0..6_000_usize,
        1 => 0..300_000_usize,
    ];
    let value = (any::<u8>(), length).prop_map(|(byte, length)| vec![byte; length]);
    let bucket = prop_oneof![
        prop::collection::btree_map(bytes(1..4), value, 0..30),
        prop::collection::btree_map(bytes(1..30), bytes(0..30), 0..400),
    ];
    prop::collection::btree_map(bytes(1..20), bucket, 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(rows in any_rows(), power in 0..7_u32) {
        prop_assert_eq!(read(&write(&rows, size(1024 << power))), rows);
    }
}
