use proptest::prelude::*;

use super::*;

fn row_key(main: i64, sub: u32, tombstone: bool) -> RowKey {
    RowKey::new(Revision::new(main).unwrap(), sub, tombstone)
}

#[test]
fn a_row_is_printed_as_etcd_prints_it() {
    let key = row_key(2, 0, false);
    let expected = [0, 0, 0, 0, 0, 0, 0, 2, 0x5f, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(key.bytes().as_ref(), expected);
    let value = KeyValue {
        key: b"a",
        create_revision: 2,
        mod_revision: 2,
        version: 1,
        value: b"b",
        lease: 77,
    };
    let mut out = Vec::new();
    value.encode(&mut out);
    let expected = b"\x0a\x01a\x10\x02\x18\x02\x20\x01\x2a\x01b\x30\x4d";
    assert_eq!(out, expected);
    assert_eq!(KeyValue::decode(expected), Ok(value));
}

#[test]
fn revisions_have_one_form() {
    let put = [0, 0, 0, 0, 0, 0, 1, 2, b'_', 0, 0, 0, 0, 0, 0, 0, 3];
    let deletion = [&put[..], b"t"].concat();
    assert_eq!(RowKey::parse(&put), Some(row_key(258, 3, false)));
    assert_eq!(RowKey::parse(&deletion), Some(row_key(258, 3, true)));
    assert_eq!(row_key(258, 3, true).to_string(), "258_3 (deletion)");
    for other in [
        [&put[..], b"x"].concat(),
        [&put[..], b"tt"].concat(),
        put[..16].to_vec(),
        Vec::new(),
        [&put[..8], b"-", &put[9..]].concat(),
        [&[0; 8], &put[8..]].concat(),
        [&[0xff; 8], &put[8..]].concat(),
        [&put[..9], &[0xff; 8]].concat(),
    ] {
        assert_eq!(RowKey::parse(&other), None, "{other:?}");
    }
}

#[test]
fn a_mark_without_anything_is_a_row() {
    assert_eq!(KeyValue::decode(b""), Ok(KeyValue::default()));
    let mut out = Vec::new();
    KeyValue::default().encode(&mut out);
    assert_eq!(out, b"");
}

#[test]
fn fields_of_a_later_version_are_passed_over_and_damage_is_not() {
    let later = b"\x0a\x01a\x78\x05\x39\0\0\0\0\0\0\0\0\x3d\0\0\0\0\x42\x02xx\x18\x02";
    let found = KeyValue::decode(later).unwrap();
    assert_eq!((found.key, found.mod_revision), (&b"a"[..], 2));
    for (record, expected) in [
        (&b"\x0a\x02a"[..], WireError::Cut { field: 1 }),
        (b"\x18", WireError::Cut { field: 3 }),
        (b"\x98", WireError::Cut { field: 0 }),
        (b"\x39\0", WireError::Cut { field: 7 }),
        (b"\x08\x01", WireError::Type { field: 1, found: 0 }),
        (b"\x1a\x00", WireError::Type { field: 3, found: 2 }),
        (b"\x1d\0\0\0\0", WireError::Type { field: 3, found: 5 }),
        (b"\x0b\x0c", WireError::Type { field: 1, found: 3 }),
        (b"\x02\x00", WireError::Field { field: 0 }),
        (
            b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            WireError::Number,
        ),
        (
            b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            WireError::Number,
        ),
    ] {
        assert_eq!(KeyValue::decode(record), Err(expected), "{record:x?}");
    }
}

#[test]
fn alarms_are_told_apart() {
    let of = |member, kind| Ok(Alarm { member, kind });
    assert_eq!(
        Alarm::decode(b"\x08\x05\x10\x01"),
        of(5, AlarmKind::NoSpace)
    );
    assert_eq!(
        Alarm::decode(b"\x08\x05\x10\x02"),
        of(5, AlarmKind::Corrupt)
    );
    assert_eq!(
        Alarm::decode(b"\x08\x05\x10\x07"),
        of(5, AlarmKind::Other(7))
    );
    assert_eq!(Alarm::decode(b"\x10"), Err(WireError::Cut { field: 2 }));
}

#[test]
fn a_mark_of_a_compaction_is_a_revision() {
    let key = row_key(9, 0, false).bytes();
    for mark in [meta::SCHEDULED_COMPACTION, meta::FINISHED_COMPACTION] {
        assert_eq!(compaction_mark(mark, key.as_ref()), Revision::new(9));
        assert_eq!(compaction_mark(mark, b"9"), None);
    }
    assert_eq!(compaction_mark(meta::TERM, key.as_ref()), None);
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed(main in 1..=i64::MAX, sub: u32, tombstone: bool) {
        let key = row_key(main, sub, tombstone);
        prop_assert_eq!(RowKey::parse(key.bytes().as_ref()), Some(key));
    }

    #[test]
    fn what_is_encoded_is_decoded(
        key in prop::collection::vec(any::<u8>(), 0..300),
        value in prop::collection::vec(any::<u8>(), 0..300),
        numbers: [i64; 4],
    ) {
        let [create_revision, mod_revision, version, lease] = numbers;
        let (key, value) = (key.as_slice(), value.as_slice());
        let record = KeyValue { key, create_revision, mod_revision, version, value, lease };
        let mut out = Vec::new();
        record.encode(&mut out);
        prop_assert_eq!(KeyValue::decode(&out), Ok(record));
        let record = Lease { id: lease, ttl: version, remaining_ttl: mod_revision };
        out.clear();
        record.encode(&mut out);
        prop_assert_eq!(Lease::decode(&out), Ok(record));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = KeyValue::decode(&bytes);
        let _ = Lease::decode(&bytes);
        let _ = Alarm::decode(&bytes);
        let _ = RowKey::parse(&bytes);
    }
}
