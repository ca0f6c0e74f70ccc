use std::collections::BTreeMap;
use std::io::Cursor;

use proptest::prelude::*;

use super::super::InitialCluster;
use super::super::proto::Message;
use super::super::snap_file;
use super::super::wal::restore_wal;
use super::content::may_add;
use super::*;

const GENUINE: [(&str, &[u8], &[u8]); 3] = [
    (
        "3.4.34",
        include_bytes!("../../../tests/data/data_dir/etcd-3.4.34.wal"),
        include_bytes!("../../../tests/data/data_dir/etcd-3.4.34.snap"),
    ),
    (
        "3.5.27",
        include_bytes!("../../../tests/data/data_dir/etcd-3.5.27.wal"),
        include_bytes!("../../../tests/data/data_dir/etcd-3.5.27.snap"),
    ),
    (
        "3.6.15",
        include_bytes!("../../../tests/data/data_dir/etcd-3.6.15.wal"),
        include_bytes!("../../../tests/data/data_dir/etcd-3.6.15.snap"),
    ),
];

const FIRST: SegmentName = SegmentName {
    number: 0,
    index: 0,
};
const START: Position = Position { term: 0, index: 0 };

type Files = BTreeMap<SegmentName, Vec<u8>>;

type Opened = io::Result<(Cursor<Vec<u8>>, u64)>;

fn segments(files: &Files) -> Result<Segments<impl Fn(SegmentName) -> Opened>, WalDamage> {
    let names = files.keys().rev().copied().collect();
    Segments::new(names, |name| {
        let bytes = files.get(&name).cloned().unwrap_or_default();
        let length = bytes.len() as u64;
        Ok((Cursor::new(bytes), length))
    })
}

fn both(files: &Files, start: Position) -> Result<(Overview, Tail), WalError> {
    let segments = segments(files)?;
    Ok((overview(&segments)?, tail(&segments, start)?))
}

fn one(bytes: &[u8]) -> Files {
    BTreeMap::from([(FIRST, bytes.to_vec())])
}

fn damage(error: WalError) -> WalDamage {
    match error {
        WalError::Damage(damage) => damage,
        WalError::Read { source, .. } => panic!("{source}"),
    }
}

/// What is wrong, and where.
fn bad(files: &Files) -> (u64, BadRecord) {
    let damage = damage(both(files, START).unwrap_err());
    let WalDamage::Record { offset, what, .. } = damage else {
        panic!("{damage}");
    };
    (offset, what)
}

/// The beginnings of the frames, and the end of the last one.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut frames = vec![0];
    loop {
        let word = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        if word == 0 {
            return frames;
        }
        let length = usize::try_from(word & 0xff_ffff).unwrap();
        at += 8 + length.next_multiple_of(8);
        frames.push(at);
    }
}

/// A log written by hand, with the checksums that belong to it.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    crc: u32,
}

impl Log {
    fn new() -> Self {
        let log = Self::default().record(kind::CRC, &[]);
        let metadata = Message::default().number(1, 7).number(2, 8).done();
        log.record(kind::METADATA, &metadata).snapshot(0, 0)
    }

    fn record(mut self, kind: u64, data: &[u8]) -> Self {
        self.crc = crc32c::crc32c_append(self.crc, data);
        let record = Message::default()
            .number(1, kind)
            .number(2, self.crc.into());
        self.frame(record.bytes(3, data).done());
        self
    }

    fn frame(&mut self, mut record: Vec<u8>) {
        let padding = record.len().next_multiple_of(8) - record.len();
        let mark = if padding == 0 {
            0
        } else {
            0x80 | padding as u64
        };
        let word = mark << 56 | record.len() as u64;
        record.resize(record.len() + padding, 0);
        self.bytes.extend(word.to_le_bytes());
        self.bytes.extend(record);
    }

    fn snapshot(self, term: u64, index: u64) -> Self {
        let data = Message::default().number(1, index).number(2, term).done();
        self.record(kind::SNAPSHOT, &data)
    }

    fn state(self, commit: u64) -> Self {
        let data = Message::default()
            .number(1, 1)
            .number(2, 7)
            .number(3, commit);
        self.record(kind::STATE, &data.done())
    }

    fn entry(self, index: u64, field: u32) -> Self {
        let request = Message::default().number(100, 1).bytes(field, b"").done();
        let data = Message::default()
            .number(1, 0)
            .number(2, 1)
            .number(3, index);
        self.record(kind::ENTRY, &data.bytes(4, &request).done())
    }

    fn files(&self) -> Files {
        one(&[&self.bytes[..], &[0; 64]].concat())
    }
}

fn tail_of(log: &Log) -> Tail {
    both(&log.files(), START).unwrap().1
}

/// Each was made so: 30 puts, 3 deletes of a key, a transaction of two puts, a lease with a put and
/// its revocation, a put, a compaction, a delete of nothing. The revision was 38 then.
#[test]
fn the_upper_bound_is_tight_for_logs_that_each_release_wrote() {
    for (release, wal, snap) in GENUINE {
        let (overview, whole) = both(&one(wal), START).unwrap();
        assert_eq!(overview.end, End::Clean, "{release}");
        assert_eq!(overview.state.term, 2);
        assert_eq!(overview.snapshots, [START, Position { term: 2, index: 31 }]);
        let pending = whole.pending(0);
        // From revision 1, and 1 for the delete of nothing.
        assert_eq!(pending.revisions, 38 - 1 + 1, "{release}");
        assert_eq!(pending.entries, whole.last_index());
        // The commit of the last entry is written with the next one.
        assert!(
            (1..=pending.entries).contains(&pending.committed),
            "{release}"
        );
        assert!(pending.entries - pending.committed <= 1, "{release}");

        let start = snap_file::decode(snap).unwrap();
        assert!(overview.may_start_from(start));
        let (_, rest) = both(&one(wal), start).unwrap();
        assert_eq!(rest.last_index(), whole.last_index());
        for applied in 31..=whole.last_index() {
            assert_eq!(rest.pending(applied), whole.pending(applied), "{release}");
        }
        assert_eq!(whole.pending(u64::MAX).entries, 0);
    }
}

#[test]
fn a_restored_log_is_read_again() {
    let flag = "a=http://a:1,b=http://b:1,c=http://c:1";
    let cluster = InitialCluster::parse(flag, "tok").unwrap();
    let identity = cluster.member(&"b".into(), "http://b:1").unwrap();
    let files = one(&restore_wal(&identity));
    let end = Position { term: 1, index: 3 };
    for start in [START, end] {
        let (overview, tail) = both(&files, start).unwrap();
        assert_eq!(overview.member, identity.own().id);
        assert_eq!(overview.cluster, identity.cluster().id());
        assert_eq!(overview.end, End::Clean);
        assert_eq!(overview.snapshots, [START, end]);
        assert_eq!(tail.last_index(), 3);
        assert_eq!(tail.pending(0).revisions, 0);
    }
}

#[test]
fn an_entry_replaces_that_of_its_index_and_all_after_it() {
    let log = Log::new().entry(1, 4).entry(2, 4).entry(3, 4).state(1);
    assert_eq!(tail_of(&log).pending(0).revisions, 3);
    // 7 is a compaction.
    let log = log.entry(2, 7);
    let tail = tail_of(&log);
    assert_eq!((tail.last_index(), tail.pending(0).revisions), (2, 1));
    let log = log.entry(3, 9).state(3);
    let expected = Pending {
        entries: 2,
        committed: 2,
        revisions: 1,
    };
    assert_eq!(tail_of(&log).pending(1), expected);
}

#[test]
fn each_request_adds_a_revision_or_none() {
    let v2 = |method: &[u8]| {
        Message::default()
            .number(1, 9)
            .bytes(2, method)
            .bytes(4, b"x")
    };
    for (request, expected) in [
        (Message::default().number(100, 1).bytes(4, b""), true),
        (Message::default().number(100, 1).bytes(5, b""), true),
        (Message::default().number(100, 1).bytes(6, b""), true),
        (Message::default().number(100, 1).bytes(9, b""), true),
        (Message::default().number(100, 1).bytes(3, b""), false),
        (Message::default().number(100, 1).bytes(7, b""), false),
        (Message::default().number(100, 1).bytes(8, b""), false),
        (Message::default().number(100, 1).bytes(10, b""), false),
        (Message::default().number(100, 1).bytes(11, b""), false),
        (Message::default().number(100, 1).bytes(1_300, b""), false),
        (v2(b"PUT"), false),
        (v2(b"SYNC"), false),
        (v2(b"x"), true),
        (Message::default(), false),
    ] {
        assert_eq!(may_add(&request.done()), expected);
    }
    assert!(may_add(b"\xff"));
}

#[test]
fn entries_have_no_gap_after_the_start() {
    let log = Log::new().entry(1, 4).snapshot(1, 9).entry(10, 4).state(10);
    let start = Position { term: 1, index: 9 };
    let (_, tail) = both(&log.files(), start).unwrap();
    assert_eq!((tail.last_index(), tail.pending(9).revisions), (10, 1));
    let (_, what) = bad(&log.files());
    assert_eq!(what, BadRecord::EntryGap { last: 1, found: 10 });

    let other = Position { term: 2, index: 9 };
    let damage_of = |start| damage(both(&log.files(), start).unwrap_err());
    let WalDamage::Record { what, .. } = damage_of(other) else {
        panic!();
    };
    let (index, expected, found) = (9, 2, 1);
    assert_eq!(
        what,
        BadRecord::SnapshotTerm {
            index,
            expected,
            found
        }
    );
    let none = Position { term: 1, index: 10 };
    assert_eq!(damage_of(none), WalDamage::NoSnapshot(10));
}

#[test]
fn only_a_committed_and_recorded_position_is_a_start() {
    let log = Log::new().entry(1, 4).entry(2, 4).snapshot(1, 2).state(1);
    let position = Position { term: 1, index: 2 };
    let start = |log: &Log| {
        both(&log.files(), START)
            .unwrap()
            .0
            .may_start_from(position)
    };
    assert!(!start(&log));
    let log = log.state(2);
    assert!(start(&log));
    let (overview, _) = both(&log.files(), START).unwrap();
    assert!(!overview.may_start_from(Position { term: 2, index: 2 }));
}

#[test]
fn a_log_that_ends_anywhere_is_clean_between_records_and_torn_within_one() {
    let wal = GENUINE[1].1;
    let frames = frames(wal);
    let (first, used) = (frames[2], *frames.last().unwrap());
    for length in first..used {
        let files = one(&wal[..length]);
        let segments = segments(&files).unwrap();
        let end = overview(&segments).unwrap().end;
        let start = *frames.iter().rev().find(|start| **start <= length).unwrap();
        let expected = if start == length {
            End::Clean
        } else {
            End::Torn {
                segment: FIRST,
                offset: start as u64,
            }
        };
        assert_eq!(end, expected, "{length}");
    }
}

#[test]
fn no_flipped_bit_of_a_record_goes_unseen() {
    let wal = GENUINE[1].1;
    let frames = frames(wal);
    let whole = both(&one(wal), START).unwrap();
    // Five records in the middle, with what stands before and after them as it was.
    for (start, end) in frames.iter().zip(&frames[1..]).skip(20).take(5) {
        for at in *start..*end {
            for bit in 0..8 {
                let mut flipped = wal.to_vec();
                flipped[at] ^= 1 << bit;
                match both(&one(&flipped), START) {
                    Err(error) => drop(damage(error)),
                    // Padding has no checksum, and four bits of its length mean nothing. A longer
                    // record is cut by the end of the file.
                    Ok(read) if read == whole => {
                        assert!(at + 8 > *end || (at == start + 7 && bit > 2), "{at} {bit}");
                    }
                    // Nor has the kind, so that a state may be read as an entry.
                    Ok(_) if at == start + 9 => {}
                    Ok((overview, _)) => assert_ne!(overview.end, End::Clean, "{at} {bit}"),
                }
            }
        }
    }
}

#[test]
fn a_wrong_record_is_torn_only_in_the_last_segment_and_with_an_empty_sector() {
    let value = vec![b'x'; 2_000];
    let log = Log::new().entry(1, 4);
    let before = log.bytes.len() as u64;
    let data = Message::default().number(1, 0).number(2, 1).number(3, 2);
    let log = log.record(kind::ENTRY, &data.bytes(4, &value).done());
    let torn = End::Torn {
        segment: FIRST,
        offset: before,
    };

    let mut files = log.files();
    let bytes = files.get_mut(&FIRST).unwrap();
    bytes[1024..1536].fill(0);
    assert_eq!(overview(&segments(&files).unwrap()).unwrap().end, torn);

    files.get_mut(&FIRST).unwrap()[1025] = 1;
    assert_eq!(bad(&files), (before, BadRecord::Checksum));

    let bytes = files.get_mut(&FIRST).unwrap();
    bytes[1025] = 0;
    let next = SegmentName {
        number: 1,
        index: 2,
    };
    files.insert(next, Log::new().bytes);
    assert_eq!(bad(&files), (before, BadRecord::Checksum));

    files.get_mut(&FIRST).unwrap().truncate(1024);
    assert_eq!(bad(&files), (before, BadRecord::Cut));
}

#[test]
fn segments_go_on_where_the_one_before_them_ended() {
    let first = Log::new().entry(1, 4).entry(2, 4).snapshot(1, 2).state(2);
    let crc = first.crc;
    let metadata = Message::default().number(1, 7).number(2, 8).done();
    let second = |metadata: &[u8], crc: u32| {
        let head = Message::default()
            .number(1, kind::CRC)
            .number(2, crc.into());
        let mut log = Log {
            bytes: Vec::new(),
            crc,
        };
        log.frame(head.done());
        log.record(kind::METADATA, metadata).state(2).entry(3, 4)
    };
    let name = |number, index| SegmentName { number, index };
    let with = |log: &Log| {
        BTreeMap::from([
            (name(0, 0), [&first.bytes[..], &[0; 40]].concat()),
            (name(1, 3), log.bytes.clone()),
        ])
    };
    let files = with(&second(&metadata, crc));
    let (overview, tail) = both(&files, START).unwrap();
    assert_eq!((overview.end, tail.last_index()), (End::Clean, 3));
    assert_eq!(tail.pending(2).revisions, 1);

    let other = Message::default().number(1, 7).number(2, 9).done();
    let (_, what) = bad(&with(&second(&other, crc)));
    assert_eq!(what, BadRecord::OtherMember);
    assert_eq!(
        bad(&with(&second(&metadata, crc ^ 1))),
        (0, BadRecord::Checksum)
    );

    // The first segment may have been removed: the second one stands alone.
    let mut alone = files;
    alone.remove(&name(0, 0));
    let missing = WalDamage::SegmentsMissing {
        first: name(1, 3),
        from: 0,
    };
    assert_eq!(damage(both(&alone, START).unwrap_err()), missing);
    alone.insert(name(3, 9), Vec::new());
    let gap = WalDamage::SegmentGap {
        before: name(1, 3),
        after: name(3, 9),
    };
    assert_eq!(damage(both(&alone, START).unwrap_err()), gap);
    assert_eq!(
        damage(both(&Files::new(), START).unwrap_err()),
        WalDamage::NoSegment
    );
}

#[test]
fn what_no_release_writes_is_refused() {
    assert_eq!(
        damage(both(&one(b""), START).unwrap_err()),
        WalDamage::NoMetadata
    );
    let (_, what) = bad(&Log::new().record(9, b"").files());
    assert_eq!(what, BadRecord::Kind(9));
    let (_, what) = bad(&Log::new().record(kind::ENTRY, b"\x08").files());
    assert_eq!(what, BadRecord::Malformed);
    let error = both(&Log::new().record(9, b"").files(), START).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000000000000000-0000000000000000.wal, offset 64: the record is of an unknown kind, 9"
    );
}

#[test]
fn what_cannot_be_read_is_no_damage() {
    let segments = Segments::new(vec![FIRST], |_| {
        Err::<(Cursor<Vec<u8>>, u64), _>(io::Error::from(io::ErrorKind::PermissionDenied))
    });
    let error = overview(&segments.unwrap()).unwrap_err();
    assert!(matches!(error, WalError::Read { .. }), "{error}");
}

#[test]
fn names_of_segments() {
    let name = SegmentName {
        number: 10,
        index: 255,
    };
    let text = "000000000000000a-00000000000000ff.wal";
    assert_eq!(SegmentName::parse(text), Some(name));
    assert_eq!(name.to_string(), text);
    for other in [
        "0.tmp",
        "000000000000000a-00000000000000ff.wal.broken",
        "a-ff.wal",
        ".wal",
    ] {
        assert_eq!(SegmentName::parse(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn changed_genuine_bytes_are_read_or_refused(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
        second in any::<bool>(),
    ) {
        let mut wal = GENUINE[which].1.to_vec();
        for (at, byte) in changes {
            let at = at.index(wal.len());
            wal[at] = byte;
        }
        wal.truncate(cut.index(wal.len() + 1));
        let mut files = one(&wal);
        if second {
            files.insert(SegmentName { number: 1, index: 20 }, wal);
        }
        let segments = segments(&files).unwrap();
        let _ = overview(&segments);
        for start in [START, Position { term: 2, index: 31 }] {
            if let Ok(tail) = tail(&segments, start) {
                let _ = tail.pending(0);
            }
        }
    }

    /// The checksums are right, so that what is behind them is reached.
    #[test]
    fn any_records_are_read_or_refused(
        records in prop::collection::vec((0..7_u64, prop::collection::vec(any::<u8>(), 0..24)), 0..20),
        indexes in prop::collection::vec(any::<u64>(), 0..4),
    ) {
        let mut log = Log::new();
        for index in indexes {
            log = log.entry(index, 4).snapshot(index, index);
        }
        for (kind, data) in records {
            log = log.record(kind, &data);
        }
        let _ = both(&log.files(), START);
    }
}
