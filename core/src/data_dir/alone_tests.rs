use std::io::Cursor;

use super::super::InitialCluster;
use super::super::wal::restore_wal;
use super::super::wal_read::{End, overview, tail};
use super::*;

const FIRST: SegmentName = SegmentName {
    number: 0,
    index: 0,
};
const START: Position = Position { term: 0, index: 0 };

type Opened = io::Result<(Cursor<Vec<u8>>, u64)>;

fn one(bytes: &[u8]) -> Segments<impl Fn(SegmentName) -> Opened> {
    Segments::new(vec![FIRST], |_| {
        let bytes = bytes.to_vec();
        let length = bytes.len() as u64;
        Ok((Cursor::new(bytes), length))
    })
    .unwrap()
}

/// The log of the first of three, as a restore writes it: its founders are the entries 1 to 3.
fn of_three() -> (Vec<u8>, [MemberId; 3]) {
    let flag = "a=http://a:1,b=http://b:1,c=http://c:1";
    let cluster = InitialCluster::parse(flag, "tok").unwrap();
    let id = |name: &str| {
        let mut members = cluster.members().iter();
        members.find(|it| it.name.0 == name).unwrap().id
    };
    let ids = [id("a"), id("b"), id("c")];
    let identity = cluster.member(&"a".into(), "http://a:1").unwrap();
    (restore_wal(&identity), ids)
}

/// Adds records to a log whose last one is whole.
fn with(log: &[u8], records: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut added = Records::after(standing(&one(log), START, &[]).unwrap().crc);
    for (kind, data) in records {
        added.record(*kind, data);
    }
    [log, &added.done()].concat()
}

fn put_at(term: u64, index: u64) -> (u64, Vec<u8>) {
    let entry = Message::default().number(1, entry::NORMAL);
    let entry = entry.number(2, term).number(3, index).bytes(4, b"");
    (kind::ENTRY, entry.done())
}

fn change_at(index: u64, what: u64, member: u64) -> (u64, Vec<u8>) {
    let change = Message::default().number(1, 7).number(2, what);
    let entry = Message::default().number(1, entry::CONF_CHANGE);
    let entry = entry.number(2, 1).number(3, index);
    (
        kind::ENTRY,
        entry.bytes(4, &change.number(3, member).done()).done(),
    )
}

fn stored(id: MemberId, votes: bool) -> Stored {
    Stored { id, votes }
}

#[test]
fn all_of_the_log_is_committed_and_the_others_are_removed_after_it() {
    let (log, [own, b, c]) = of_three();
    // Neither is known to be committed: the state says 3.
    let log = with(&log, &[put_at(1, 4), put_at(4, 5)]);
    let before = standing(&one(&log), START, &[]).unwrap();
    assert_eq!((before.member, before.votes), (own, true));
    assert_eq!(before.last, Position { term: 4, index: 5 });
    let added = before.alone().unwrap();
    let mut others = [b, c];
    others.sort_unstable();
    assert_eq!(added.removed, others);
    assert_eq!((added.segment, added.offset), (FIRST, log.len() as u64));

    let log = [log, added.bytes].concat();
    let seen = overview(&one(&log)).unwrap();
    assert_eq!((seen.end, seen.state.commit), (End::Clean, 7));
    assert_eq!(seen.state.term, 4, "no entry may be of a later term");
    let pending = tail(&one(&log), START).unwrap().pending(3);
    assert_eq!((pending.entries, pending.committed), (4, 4));
    let mut removed = Vec::new();
    visit_after(&one(&log), START, |record| {
        if let Record::Entry(it) = record
            && let Members::Change { kind: 1, member } = it.members
        {
            removed.push((it.at, member));
        }
        Ok(())
    })
    .unwrap();
    let at = |index| Position { term: 4, index };
    assert_eq!(removed, [(at(6), others[0]), (at(7), others[1])]);
}

#[test]
fn an_addition_that_was_cut_off_is_made_again() {
    let (log, _) = of_three();
    let whole = standing(&one(&log), START, &[]).unwrap().alone().unwrap();
    for kept in 0..whole.bytes.len() {
        let cut = [&log[..], &whole.bytes[..kept]].concat();
        let seen = standing(&one(&cut), START, &[]).unwrap();
        assert!(
            seen.state.commit == 3,
            "it has no effect before it is whole"
        );
        let again = seen.alone().unwrap();
        let mut mended = cut[..usize::try_from(again.offset).unwrap()].to_vec();
        mended.extend(&again.bytes);
        let end = overview(&one(&mended)).unwrap();
        assert_eq!(end.end, End::Clean, "cut after {kept}");
        assert_eq!(again.removed, whole.removed);
        assert_eq!(
            end.state.commit,
            tail(&one(&mended), START).unwrap().last_index()
        );
    }
}

#[test]
fn who_the_others_are_is_known_from_the_database_too() {
    let (log, [own, b, c]) = of_three();
    let d = MemberId(9);
    let start = Position { term: 1, index: 3 };
    // A `.snap` file of entry 3: the founders' entries are not read any more.
    let all = [
        stored(own, true),
        stored(b, true),
        stored(c, true),
        stored(d, false),
    ];
    let seen = standing(&one(&log), start, &all).unwrap();
    assert_eq!(seen.last, start);
    let mut expected = [b, c, d];
    expected.sort_unstable();
    assert_eq!(seen.alone().unwrap().removed, expected);
    // One that is added by an entry which the database has not applied.
    let log = with(&log, &[change_at(4, 3, 11), change_at(5, 0, 11)]);
    let seen = standing(&one(&log), start, &all).unwrap();
    assert!(seen.alone().unwrap().removed.contains(&MemberId(11)));
}

#[test]
fn a_learner_does_not_go_on_alone() {
    let (log, [own, b, _]) = of_three();
    let start = Position { term: 1, index: 3 };
    let of = |log: &[u8], votes| standing(&one(log), start, &[stored(own, votes), stored(b, true)]);
    let learner = of(&log, false).unwrap();
    assert_eq!(learner.alone(), Err(NotAlone::Learner(own)));
    assert!(
        learner
            .alone()
            .unwrap_err()
            .to_string()
            .contains("is a learner")
    );
    // The database has not applied yet that it was given a vote, or lost it.
    let promoted = with(&log, &[change_at(4, 0, own.0)]);
    assert!(of(&promoted, false).unwrap().votes);
    for what in [1, 3] {
        let demoted = with(&log, &[change_at(4, what, own.0)]);
        assert!(!of(&demoted, true).unwrap().votes);
    }
    // An entry that another one replaced says nothing.
    let replaced = with(&log, &[change_at(4, 0, own.0), put_at(2, 4)]);
    let seen = of(&replaced, false).unwrap();
    assert_eq!(seen.last, Position { term: 2, index: 4 });
    assert!(!seen.votes);
}

#[test]
fn a_log_that_changes_members_in_an_unknown_way_is_left_alone() {
    let (log, _) = of_three();
    let entry = Message::default().number(1, entry::CONF_CHANGE_V2);
    let entry = entry.number(2, 1).number(3, 4).bytes(4, b"");
    let log = with(&log, &[(kind::ENTRY, entry.done())]);
    assert!(standing(&one(&log), START, &[]).is_err());
}

#[test]
fn the_terms_of_raft_never_go_back() {
    let (log, _) = of_three();
    let state = Message::default().number(1, 9).number(2, 5).number(3, 3);
    let log = with(&log, &[(kind::STATE, state.done())]);
    let added = standing(&one(&log), START, &[]).unwrap().alone().unwrap();
    let seen = overview(&one(&[log, added.bytes].concat())).unwrap();
    let expected = HardState {
        term: 9,
        vote: 5,
        commit: 5,
    };
    assert_eq!(seen.state, expected);
}

#[test]
fn genuine_logs_are_understood() {
    for log in [
        &include_bytes!("../../tests/data/data_dir/etcd-3.4.34.wal")[..],
        include_bytes!("../../tests/data/data_dir/etcd-3.5.27.wal"),
        include_bytes!("../../tests/data/data_dir/etcd-3.6.15.wal"),
    ] {
        let seen = standing(&one(log), START, &[]).unwrap();
        let all = tail(&one(log), START).unwrap();
        assert_eq!(seen.last.index, all.last_index());
        assert!(seen.votes);
        let log = [
            &log[..usize::try_from(seen.next.1).unwrap()],
            &seen.alone().unwrap().bytes,
        ]
        .concat();
        assert_eq!(overview(&one(&log)).unwrap().end, End::Clean);
    }
}
