use std::collections::BTreeSet;
use std::convert::Infallible;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::bolt::{BoltDamage, PageSize, PastEnd, WriteError, Writer, walk};

type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;
type Error = ReplayError<PastEnd, WriteError>;

fn revision(number: i64) -> Revision {
    Revision::new(number).unwrap()
}

fn row_key(main: i64, sub: u32, tombstone: bool) -> Vec<u8> {
    let key = RowKey::new(revision(main), sub, tombstone);
    key.bytes().as_ref().to_vec()
}

fn encoded(record: KeyValue<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

fn lease(id: i64, ttl: i64) -> (Vec<u8>, Vec<u8>) {
    let mut out = Vec::new();
    let remaining_ttl = 0;
    Lease {
        id,
        ttl,
        remaining_ttl,
    }
    .encode(&mut out);
    (id.to_be_bytes().to_vec(), out)
}

fn file(buckets: &Buckets) -> Vec<u8> {
    let mut writer = Writer::new(PageSize::DEFAULT);
    for (name, rows) in buckets {
        writer.bucket(name).unwrap();
        for (key, value) in rows {
            writer.row(key, value).unwrap();
        }
    }
    finish(writer)
}

fn finish(mut writer: Writer) -> Vec<u8> {
    let end = writer.finish();
    [end.metas.as_slice(), writer.out()].concat()
}

fn read(file: &[u8]) -> Buckets {
    let mut buckets = Buckets::new();
    let reader = Reader::open::<Infallible>(file).unwrap();
    for name in reader.names() {
        buckets.insert(name, BTreeMap::new());
    }
    walk(file, |row| {
        let rows = buckets.get_mut(row.bucket).unwrap();
        rows.insert(row.key.to_vec(), row.value.to_vec());
        Ok::<(), Infallible>(())
    })
    .unwrap();
    buckets
}

fn put(key: &[u8], at: i64, lease: i64, lease_ttl: Option<i64>) -> Event<'_> {
    Event {
        key,
        revision: revision(at),
        change: Change::Put {
            created: revision(2),
            version: 3,
            value: b"new",
            lease,
            lease_ttl,
        },
        time: Timestamp::UNIX_EPOCH,
    }
}

fn delete(key: &[u8], at: i64) -> Event<'_> {
    Event {
        change: Change::Delete,
        ..put(key, at, 0, None)
    }
}

fn plan() -> Plan {
    Plan {
        members: [(b"8e9e05c52164694d".to_vec(), b"{}".to_vec())].into(),
        consistent_index: 3,
        unknown_ttl: Plan::UNKNOWN_TTL,
        bump: None,
    }
}

/// A database with something in every bucket, at revision 5.
fn base() -> Buckets {
    let named = |name: &[u8], rows: &[(&[u8], &[u8])]| {
        let rows = rows
            .iter()
            .map(|(key, value)| (key.to_vec(), value.to_vec()));
        (name.to_vec(), rows.collect())
    };
    let mark = row_key(4, 0, false);
    let mut buckets = Buckets::from([
        named(b"auth", &[(b"authEnabled", b"\x01")]),
        named(b"authUsers", &[(b"root", b"\x0a\x04root")]),
        named(b"cluster", &[(b"clusterVersion", b"3.6.0")]),
        named(b"members", &[(b"1", b"old")]),
        named(b"members_removed", &[(b"2", b"removed")]),
        named(b"later", &[(b"x", b"y")]),
        named(
            b"alarm",
            &[(b"\x08\x01\x10\x01", b""), (b"\x08\x01\x10\x02", b"")],
        ),
        named(
            b"meta",
            &[
                (b"confState", b"{}"),
                (b"consistent_index", &[9; 8]),
                (b"finishedCompactRev", &mark),
                (b"scheduledCompactRev", &mark),
                (b"storageVersion", b"3.6.0"),
                (b"term", &[7; 8]),
            ],
        ),
    ]);
    buckets.insert(b"lease".to_vec(), [lease(7, 70), lease(-3, 30)].into());
    let record = encoded(KeyValue {
        key: b"a",
        create_revision: 5,
        mod_revision: 5,
        version: 1,
        value: b"b",
        lease: 7,
    });
    buckets.insert(b"key".to_vec(), [(row_key(5, 0, false), record)].into());
    buckets
}

fn replay(base: &Buckets, plan: Plan, deltas: &[&[Event<'_>]]) -> Result<(Buckets, Report), Error> {
    let base = file(base);
    let mut writer = Writer::new(PageSize::DEFAULT);
    let mut replay = Replay::begin(base.as_slice(), plan, &mut writer)?;
    for delta in deltas {
        replay.delta();
        for event in *delta {
            replay.event(event, &mut writer)?;
        }
    }
    let report = replay.finish(&mut writer)?;
    Ok((read(&finish(writer)), report))
}

#[test]
fn what_belongs_to_the_old_cluster_is_left_out_and_the_rest_is_kept() {
    let (mut new, report) = replay(&base(), plan(), &[]).unwrap();
    let mut expected = base();
    for name in ["members_removed", "cluster", "alarm", "authRoles"] {
        expected.insert(name.into(), BTreeMap::new());
    }
    expected.insert(b"members".to_vec(), plan().members);
    let meta = expected.get_mut(&b"meta"[..]).unwrap();
    meta.remove(&b"confState"[..]);
    meta.remove(&b"storageVersion"[..]);
    meta.insert(b"consistent_index".to_vec(), 3_u64.to_be_bytes().to_vec());
    meta.insert(b"term".to_vec(), 1_u64.to_be_bytes().to_vec());
    assert_eq!(new.remove(&b"key"[..]), expected.remove(&b"key"[..]));
    assert_eq!(new, expected);
    let corrupt = Alarm {
        member: 1,
        kind: AlarmKind::Corrupt,
    };
    let expected = Report {
        base: revision(5),
        revision: revision(5),
        rows: 1,
        events: 0,
        skipped: 0,
        leases_added: 0,
        alarms: vec![corrupt],
    };
    assert_eq!(report, expected);
}

#[test]
fn events_become_rows_in_the_order_of_their_revisions() {
    let long = vec![b'k'; 5000];
    let first = [
        // The base is newer than its name says.
        put(b"a", 4, 0, None),
        put(b"a", 5, 0, None),
        put(b"a", 6, 0, None),
        delete(b"a", 7),
        put(b"b", 7, 0, None),
        delete(&long, 7),
    ];
    // Another writer's delta of the same time.
    let second = [put(b"b", 7, 0, None), put(b"c", 8, 0, None)];
    let (new, report) = replay(&base(), plan(), &[&first, &second]).unwrap();
    let record = |key, at| {
        encoded(KeyValue {
            key,
            create_revision: 2,
            mod_revision: at,
            version: 3,
            value: b"new",
            lease: 0,
        })
    };
    let deletion = |key| {
        encoded(KeyValue {
            key,
            ..KeyValue::default()
        })
    };
    let mut expected = base().remove(&b"key"[..]).unwrap();
    expected.extend([
        (row_key(6, 0, false), record(b"a", 6)),
        (row_key(7, 0, true), deletion(b"a")),
        (row_key(7, 1, false), record(b"b", 7)),
        (row_key(7, 2, true), deletion(&long)),
        (row_key(8, 0, false), record(b"c", 8)),
    ]);
    assert_eq!(new[&b"key"[..]], expected);
    let numbers = (report.revision.get(), report.rows);
    assert_eq!(numbers, (8, 6));
    assert_eq!((report.events, report.skipped), (5, 3));
}

#[test]
fn a_hole_between_deltas_is_named() {
    let hole = |after, found| {
        Err(ReplayError::Hole {
            after: revision(after),
            found: revision(found),
        })
    };
    let late = [put(b"a", 7, 0, None)];
    assert_eq!(replay(&base(), plan(), &[&late]), hole(5, 7));
    let first = [put(b"a", 6, 0, None)];
    let late = [put(b"a", 8, 0, None)];
    assert_eq!(replay(&base(), plan(), &[&first, &late]), hole(6, 8));
    // The mark of a compaction is a revision that the base has.
    let mut marked = base();
    let meta = marked.get_mut(&b"meta"[..]).unwrap();
    meta.insert(b"scheduledCompactRev".to_vec(), row_key(7, 0, false));
    assert_eq!(replay(&marked, plan(), &[&late]).unwrap().1.base.get(), 7);
}

#[test]
fn a_lease_that_is_younger_than_the_base_gets_a_record() {
    let events = [
        put(b"a", 6, 7, Some(9)),
        put(b"b", 7, -9, None),
        put(b"c", 8, 5, Some(50)),
        put(b"c", 9, 5, None),
        put(b"d", 10, -1, None),
        put(b"e", 11, -1, Some(10)),
        put(b"f", 12, 8, None),
        put(b"g", 13, 0, None),
    ];
    let (new, report) = replay(&base(), plan(), &[&events]).unwrap();
    let expected = [
        lease(5, 50),
        lease(7, 70),
        lease(8, 3600),
        lease(-9, 3600),
        lease(-3, 30),
        lease(-1, 10),
    ];
    assert_eq!(new[&b"lease"[..]], expected.into());
    assert_eq!(report.leases_added, 4);
}

#[test]
fn a_raised_revision_is_a_mark_and_all_before_it_is_compacted() {
    let bump = NonZeroU32::new(1000);
    let events = [put(b"a", 6, 0, None), put(b"b", 6, 0, None)];
    let (new, report) = replay(&base(), Plan { bump, ..plan() }, &[&events]).unwrap();
    let last = new[&b"key"[..]].last_key_value().unwrap();
    assert_eq!(last, (&row_key(1006, 0, false), &Vec::new()));
    let meta = &new[&b"meta"[..]];
    assert_eq!(meta[&b"scheduledCompactRev"[..]], row_key(1006, 0, false));
    assert_eq!(meta[&b"finishedCompactRev"[..]], row_key(4, 0, false));
    assert_eq!((report.revision.get(), report.rows), (1006, 4));
    let mut last = base();
    let meta = last.get_mut(&b"meta"[..]).unwrap();
    meta.insert(
        b"scheduledCompactRev".to_vec(),
        row_key(i64::MAX - 999, 0, false),
    );
    let error = replay(&last, Plan { bump, ..plan() }, &[]).unwrap_err();
    let text = "revision 9223372036854774808 cannot be raised by 1000";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_base_that_etcd_would_not_start_with_is_refused() {
    let error = |bucket: &str, key: &[u8], value: &[u8]| {
        let mut bad = base();
        let rows = bad.get_mut(bucket.as_bytes()).unwrap();
        rows.insert(key.to_vec(), value.to_vec());
        replay(&bad, plan(), &[]).unwrap_err().to_string()
    };
    assert_eq!(
        error("key", b"x", b""),
        "its bucket `key` has a row that is no revision: 78"
    );
    assert_eq!(
        error("key", &row_key(6, 0, false), b"\x0a\x09"),
        "row 00000000000000065f0000000000000000 of its bucket `key` cannot be read: \
         it ends within field 1"
    );
    assert_eq!(
        error("lease", b"x", b"\x08"),
        "row 78 of its bucket `lease` cannot be read: it ends within field 1"
    );
    assert_eq!(
        error("alarm", b"\x08", b""),
        "row 08 of its bucket `alarm` cannot be read: it ends within field 1"
    );
    let mut other = base();
    other.remove(&b"key"[..]);
    let other = replay(&other, plan(), &[]);
    assert_eq!(other, Err(ReplayError::Copy(CopyError::NotEtcd)));
    let mut writer = Writer::new(PageSize::DEFAULT);
    let damaged = Replay::begin([0_u8; 9000].as_slice(), plan(), &mut writer);
    assert_eq!(damaged.err(), Some(CopyError::Damage(BoltDamage::NoMeta)));
}

#[test]
fn a_new_cluster_that_nothing_was_written_to_is_a_base() {
    let empty = Buckets::from([(b"key".to_vec(), BTreeMap::new())]);
    let events = [put(b"a", 2, 0, None)];
    let (new, report) = replay(&empty, plan(), &[&events]).unwrap();
    assert_eq!((report.base.get(), report.revision.get()), (1, 2));
    let names: BTreeSet<_> = new.keys().map(Vec::as_slice).collect();
    assert_eq!(names, BTreeSet::from(bucket::ALL));
}

/// Changes of one revision each, as counts.
fn any_history() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..4_usize, 1..30)
}

proptest! {
    /// However a history is cut into a base and deltas that may overlap, the database is the same.
    #[test]
    fn a_history_is_the_same_from_whatever_base_and_deltas(
        history in any_history(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize), 0..6),
        of_base in any::<prop::sample::Index>(),
    ) {
        let events: Vec<Vec<Event<'_>>> = (6..).zip(&history).map(|(at, count)| {
            let change = |number| match number % 3 {
                0 => put(b"a", at, 7, None),
                1 => delete(b"b", at),
                _ => put(b"c", at, 0, None),
            };
            (0..*count).map(change).collect()
        }).collect();
        let (whole, _) = replay(&base(), plan(), &[&events.concat()]).unwrap();
        let of_base = of_base.index(events.len() + 1);
        let (older, _) = replay(&base(), plan(), &[&events[..of_base].concat()]).unwrap();
        let mut ends: Vec<_> = cuts.iter().map(|(at, back)| (at.index(events.len()), *back)).collect();
        ends.sort_unstable();
        ends.push((events.len(), 0));
        let mut from = of_base.saturating_sub(2);
        let mut deltas = Vec::new();
        for (end, back) in ends {
            if end > from {
                deltas.push(events[from..end].concat());
                from = end.saturating_sub(back);
            }
        }
        let deltas: Vec<_> = deltas.iter().map(Vec::as_slice).collect();
        let (pieced, report) = replay(&older, plan(), &deltas).unwrap();
        prop_assert_eq!(&pieced[&b"key"[..]], &whole[&b"key"[..]]);
        prop_assert_eq!(report.rows, whole[&b"key"[..]].len() as u64);
        prop_assert_eq!(pieced, whole);
    }
}
