use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::bolt::{PageSize, Writer, walk};
use crate::mvcc::KeyValue;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn row(main: i64, sub: u32, key: &[u8], tombstone: bool) -> (Vec<u8>, Vec<u8>) {
    let at = RowKey::new(Revision::new(main).unwrap(), sub, tombstone);
    let mut record = Vec::new();
    let mod_revision = if tombstone { 0 } else { main };
    KeyValue {
        key,
        mod_revision,
        ..KeyValue::default()
    }
    .encode(&mut record);
    (at.bytes().as_ref().to_vec(), record)
}

#[test]
fn its_name_is_that_of_no_other_and_comes_last() {
    use super::super::names::Prefix;
    let listed = [
        "v2/Full-00000000-00000009-2000.gz",
        "v2/Full-00000000-00000007-1000.gz",
        "v2/Full-00000000-00000007-1005.gz.final",
    ];
    let listing = Listing::read(&Prefix::parse("").unwrap(), listed.map(|it| (it, Some(9))));
    let name = |last, now| {
        let now = UnixSeconds::of(jiff::Timestamp::from_second(now).unwrap()).unwrap();
        name(&listing, Revision::new(last).unwrap(), now, false).to_string()
    };
    for now in [900, 1005] {
        assert_eq!(name(7, now), "Full-00000000-00000007-1006.gz");
    }
    assert_eq!(name(7, 1500), "Full-00000000-00000007-1500.gz");
    assert_eq!(name(8, 900), "Full-00000000-00000008-900.gz");
}

fn file(buckets: &[(&[u8], Rows)]) -> Vec<u8> {
    let mut writer = Writer::new(PageSize::DEFAULT);
    for (name, rows) in buckets {
        writer.bucket(name).unwrap();
        for (key, value) in rows {
            writer.row(key, value).unwrap();
        }
    }
    let end = writer.finish();
    [end.metas.as_slice(), writer.out()].concat()
}

fn compacted(file: &[u8]) -> (BTreeMap<Vec<u8>, Rows>, Report) {
    let mut writer = Writer::new(PageSize::DEFAULT);
    let report = compact(file, &mut writer).unwrap();
    let end = writer.finish();
    let file = [end.metas.as_slice(), writer.out()].concat();
    let mut buckets = BTreeMap::<_, Rows>::new();
    walk(file.as_slice(), |row| {
        let rows = buckets.entry(row.bucket.to_vec()).or_default();
        rows.insert(row.key.to_vec(), row.value.to_vec());
        Ok::<(), Infallible>(())
    })
    .unwrap();
    (buckets, report)
}

#[test]
fn the_last_put_of_every_live_key_is_kept_and_a_deletion_at_the_end() {
    let rows = [
        row(2, 0, b"a", false),
        row(2, 1, b"b", false),
        row(3, 0, b"a", false),
        row(4, 0, b"b", true),
        row(5, 0, b"c", false),
        row(5, 1, b"d", false),
        row(6, 0, b"d", false),
        row(7, 0, b"c", true),
        row(7, 1, b"e", false),
    ];
    let lease = Rows::from([(vec![0; 8], b"\x10\x05".to_vec())]);
    let old = Rows::from([
        (b"a first".to_vec(), b"x".to_vec()),
        (b"finishedCompactRev".to_vec(), row(2, 0, b"", false).0),
        (b"term".to_vec(), b"y".to_vec()),
    ]);
    let key = Rows::from(rows.clone());
    let buckets = [
        (&b"key"[..], key),
        (b"lease", lease.clone()),
        (b"meta", old),
    ];
    let (mut new, report) = compacted(&file(&buckets));
    let [_, _, a, _, _, _, d, c, e] = rows;
    assert_eq!(new.remove(&b"key"[..]), Some(Rows::from([a, d, c, e])));
    assert_eq!(new.remove(&b"lease"[..]), Some(lease));
    let mark = row(7, 0, b"", false).0;
    let meta = [
        (b"a first".to_vec(), b"x".to_vec()),
        (b"finishedCompactRev".to_vec(), mark.clone()),
        (b"scheduledCompactRev".to_vec(), mark),
        (b"term".to_vec(), b"y".to_vec()),
    ];
    assert_eq!(new.remove(&b"meta"[..]), Some(Rows::from(meta)));
    assert!(new.is_empty());
    let expected = Report {
        revision: Revision::new(7).unwrap(),
        rows_before: 9,
        rows: 4,
    };
    assert_eq!(report, expected);
}

#[test]
fn what_was_compacted_once_stays_as_it_is() {
    let key = Rows::from([row(3, 0, b"a", false), row(9, 0, b"", false)]);
    let mark = (b"scheduledCompactRev".to_vec(), row(12, 0, b"", false).0);
    let buckets = [(&b"key"[..], key.clone()), (b"meta", Rows::from([mark]))];
    let (new, report) = compacted(&file(&buckets));
    assert_eq!(new[&b"key"[..]], key);
    assert_eq!(report.revision.get(), 12, "a mark is a revision");
}

#[test]
fn a_database_without_history_is_refused() {
    let mut writer = Writer::new(PageSize::DEFAULT);
    let error = compact(file(&[(b"meta", Rows::new())]).as_slice(), &mut writer);
    assert_eq!(error, Err(CompactionError::Copy(CopyError::NotEtcd)));
}

proptest! {
    #[test]
    fn it_keeps_what_a_plain_map_of_the_keys_keeps(
        changes in prop::collection::vec((0..20_u8, any::<bool>(), any::<bool>()), 0..300),
    ) {
        let (mut main, mut sub, mut rows) = (1, 0, Rows::new());
        let mut last = BTreeMap::new();
        for (key, tombstone, same) in changes {
            (main, sub) = if same && main > 1 { (main, sub + 1) } else { (main + 1, 0) };
            let (at, record) = row(main, sub, &[key], tombstone);
            last.insert(key, (at.clone(), tombstone, main));
            rows.insert(at, record);
        }
        let live = last.into_values().filter(|(_, tombstone, at)| !tombstone || *at == main);
        let expected: BTreeSet<_> = live.map(|(row, ..)| row).collect();
        let (new, report) = compacted(&file(&[(b"key", rows)]));
        let found = new.get(&b"key"[..]).cloned().unwrap_or_default();
        prop_assert_eq!(report.rows, found.len() as u64);
        prop_assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), expected);
    }
}
