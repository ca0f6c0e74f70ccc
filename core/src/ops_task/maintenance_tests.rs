use std::collections::BTreeMap;

use super::*;
use crate::observed::{Alarm, Answer, Listed, MAX_RAFT_LAG, Status};
use crate::version::Version;

const NOW: &str = "2026-11-24T10:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Three members, of which the first leads, at revision 100.
fn seen(change: impl FnOnce(&mut [Status; 3])) -> Etcd {
    let mut all = [1, 2, 3].map(|id| Status {
        id: MemberId(id),
        version: Version::new(3, 5, 27),
        cluster_version: None,
        leader: MemberId(1),
        term: 2,
        raft_index: 900,
        raft_applied_index: 900,
        revision: 100,
        db_size: 30 << 20,
        db_size_in_use: 10 << 20,
        quota: Some(100 << 20),
        learner: false,
        ready: Ok(()),
        errors: Vec::new(),
    });
    change(&mut all);
    let named = |(index, status)| {
        let name = MemberName(format!("e-{index}"));
        (name, Answer::Status(status))
    };
    Etcd {
        members: all.into_iter().enumerate().map(named).collect(),
        membership: Answered::Known(Vec::<Listed>::new()),
        alarms: Answered::Known(Vec::new()),
    }
}

/// Nothing is free.
fn use_all(all: &mut [Status; 3]) {
    for it in all {
        it.db_size_in_use = it.db_size;
    }
}

fn well_seen() -> Etcd {
    seen(|_| {})
}

const DEFRAGMENT: Maintenance = Maintenance {
    compact: None,
    defragment: true,
};
const COMPACT: Maintenance = Maintenance {
    compact: Some(Reach::Covered),
    defragment: false,
};

fn next(wanted: &Maintenance, result: &TaskResult, seen: &Etcd) -> Result<Next, Trouble> {
    wanted.next(result, seen, &Backups::None, at(NOW))
}

fn of(name: &str) -> MemberName {
    name.into()
}

#[test]
fn the_history_goes_first_then_followers_then_the_leader_as_one() {
    let both = Maintenance {
        compact: Some(Reach::Covered),
        defragment: true,
    };
    let mut result = TaskResult::default();
    assert_eq!(next(&both, &result, &well_seen()), Ok(Next::Compact(100)));
    result.compacted(100);
    for name in ["e-1", "e-2"] {
        let wanted = Ok(Next::Defragment(of(name)));
        assert_eq!(next(&both, &result, &well_seen()), wanted);
        result.defragmented(&of(name), 3, 1);
    }
    let (from, to) = (of("e-0"), of("e-1"));
    let handed = Ok(Next::HandOver { from, to });
    assert_eq!(next(&both, &result, &well_seen()), handed);
    let led_by_another = seen(|all| all.iter_mut().for_each(|it| it.leader = MemberId(2)));
    let last = Ok(Next::Defragment(of("e-0")));
    assert_eq!(next(&both, &result, &led_by_another), last);
    result.defragmented(&of("e-0"), 3, 1);
    assert_eq!(next(&both, &result, &led_by_another), Ok(Next::Finished));
    assert_eq!(result.reclaimed_bytes, Some(6));
}

#[test]
fn after_a_compaction_all_are_defragmented_otherwise_those_that_gain() {
    let full = seen(use_all);
    let mut result = TaskResult::default();
    assert_eq!(next(&DEFRAGMENT, &result, &full), Ok(Next::Finished));
    result.compacted(100);
    let both = Maintenance {
        compact: Some(Reach::Covered),
        defragment: true,
    };
    let first = Ok(Next::Defragment(of("e-1")));
    assert_eq!(next(&both, &result, &full), first);
    assert_eq!(next(&COMPACT, &result, &well_seen()), Ok(Next::Finished));
}

#[test]
fn nothing_is_done_unless_all_members_are_well() {
    type Change = fn(&mut [Status; 3]);
    let unwell: [(Change, &str); 6] = [
        (|all| all[2].ready = Err("r".to_owned()), "e-2: r"),
        (|all| all[1].learner = true, "e-1 is a learner"),
        (
            |all| all[2].leader = MemberId::NOBODY,
            "e-2 does not know the leader",
        ),
        (
            |all| all.iter_mut().for_each(|it| it.leader = MemberId::NOBODY),
            "there is no leader that most members agree on",
        ),
        (
            |all| all[0].raft_index = 901 + MAX_RAFT_LAG,
            "e-0 is 101 raft entries behind",
        ),
        (
            |all| all[2].raft_applied_index = 900 - MAX_RAFT_LAG - 1,
            "e-2 is 101 raft entries behind",
        ),
    ];
    for (change, why) in unwell {
        let seen = seen(change);
        for wanted in [&DEFRAGMENT, &COMPACT] {
            let trouble = next(wanted, &TaskResult::default(), &seen).unwrap_err();
            assert_eq!(trouble, Trouble::Unwell(why.to_owned()));
        }
    }
    let enough = seen(|all| all[2].raft_applied_index = 900 - MAX_RAFT_LAG);
    assert!(next(&DEFRAGMENT, &TaskResult::default(), &enough).is_ok());

    let mut silent = well_seen();
    let why = Answer::Silent("no answer".to_owned());
    silent.members.insert(of("e-1"), why);
    let mut unknown = well_seen();
    unknown.alarms = Answered::Unknown("no answer".to_owned());
    let mut nobody = well_seen();
    nobody.members = BTreeMap::new();
    for (seen, why) in [
        (silent, "e-1: no answer"),
        (unknown, "the alarms are not known: no answer"),
        (nobody, "nobody was asked"),
    ] {
        let trouble = next(&DEFRAGMENT, &TaskResult::default(), &seen).unwrap_err();
        assert_eq!(trouble, Trouble::Unwell(why.to_owned()));
        assert!(trouble.may_pass());
    }
    let corrupt = alarmed(AlarmKind::Corrupt, |_| {});
    let trouble = next(&DEFRAGMENT, &TaskResult::default(), &corrupt).unwrap_err();
    assert_eq!(trouble, Trouble::Corrupt);
    assert!(!trouble.may_pass());
}

fn alarmed(kind: AlarmKind, change: impl FnOnce(&mut [Status; 3])) -> Etcd {
    let member = MemberId(3);
    Etcd {
        alarms: Answered::Known(vec![Alarm { member, kind }]),
        ..seen(change)
    }
}

#[test]
fn the_alarm_for_space_is_cleared_once_all_have_given_back_and_have_room() {
    let mut result = TaskResult::default();
    let full = |size: u64| {
        alarmed(AlarmKind::NoSpace, |all| {
            use_all(all);
            all[2].db_size = size;
            all[2].db_size_in_use = size;
        })
    };
    let fragmented = alarmed(AlarmKind::NoSpace, |_| {});
    let first = Ok(Next::Defragment(of("e-1")));
    assert_eq!(next(&DEFRAGMENT, &result, &fragmented), first);
    let clear = Ok(Next::ClearNoSpace(vec![MemberId(3)]));
    assert_eq!(next(&DEFRAGMENT, &result, &full(80 << 20)), clear);
    let over = full((80 << 20) + 1);
    assert_eq!(next(&DEFRAGMENT, &result, &over), Ok(Next::Finished));
    let no_quota = alarmed(AlarmKind::NoSpace, |all| {
        use_all(all);
        all[0].quota = None;
    });
    assert_eq!(next(&DEFRAGMENT, &result, &no_quota), Ok(Next::Finished));
    // Compaction alone gives nothing back.
    result.compacted(100);
    assert_eq!(next(&COMPACT, &result, &full(1)), Ok(Next::Finished));
}

#[test]
fn no_history_is_forgotten_that_the_next_backup_is_made_of() {
    let minutes = SignedDuration::from_mins;
    let chain = || {
        let made = |revision, time: &str| Covered {
            revision,
            at: at(time),
        };
        Backups::Reach(vec![
            made(40, "2026-11-24T09:00:00Z"),
            made(60, "2026-11-24T09:30:00Z"),
            made(80, "2026-11-24T09:45:00Z"),
        ])
    };
    let empty = || Backups::Reach(Vec::new());
    for (reach, backups, wanted) in [
        (Reach::Covered, Backups::None, Ok(100)),
        (Reach::Covered, chain(), Ok(80)),
        (Reach::Covered, empty(), Err(Trouble::NothingCovered)),
        (Reach::Revision(100), Backups::None, Ok(100)),
        (Reach::Revision(80), chain(), Ok(80)),
        (Reach::Revision(7), chain(), Ok(7)),
        (
            Reach::Revision(81),
            chain(),
            Err(Trouble::Uncovered {
                wanted: 81,
                covered: 80,
            }),
        ),
        (Reach::Revision(7), empty(), Err(Trouble::NothingCovered)),
        (
            Reach::Revision(101),
            Backups::None,
            Err(Trouble::Ahead {
                wanted: 101,
                present: 100,
            }),
        ),
        (Reach::Age(minutes(15)), chain(), Ok(80)),
        (Reach::Age(minutes(16)), chain(), Ok(60)),
        (Reach::Age(minutes(60)), chain(), Ok(40)),
        (
            Reach::Age(minutes(61)),
            chain(),
            Err(Trouble::NothingThatOld(minutes(61))),
        ),
        (
            Reach::Age(minutes(1)),
            empty(),
            Err(Trouble::NothingThatOld(minutes(1))),
        ),
        (Reach::Age(minutes(1)), Backups::None, Err(Trouble::Undated)),
    ] {
        let asked = Maintenance {
            compact: Some(reach),
            defragment: false,
        };
        let next = asked.next(&TaskResult::default(), &well_seen(), &backups, at(NOW));
        assert_eq!(next, wanted.map(Next::Compact), "{reach:?} {backups:?}");
    }
}

#[test]
fn backups_that_are_ahead_of_the_cluster_cover_nothing_of_it() {
    let ahead = Backups::Reach(vec![
        Covered {
            revision: 40,
            at: at("2026-11-24T08:00:00Z"),
        },
        Covered {
            revision: 101,
            at: at("2026-11-24T09:00:00Z"),
        },
    ]);
    let age = Reach::Age(SignedDuration::from_mins(1));
    for reach in [Reach::Covered, Reach::Revision(7), age] {
        let asked = Maintenance {
            compact: Some(reach),
            defragment: false,
        };
        let next = asked.next(&TaskResult::default(), &well_seen(), &ahead, at(NOW));
        let (covered, present) = (101, 100);
        let refused = Trouble::OtherHistory { covered, present };
        assert!(!refused.may_pass());
        assert_eq!(next, Err(refused), "{reach:?}");
    }
}

#[test]
fn each_step_is_said_in_words() {
    let (from, to) = (of("e-0"), of("e-1"));
    for (step, words) in [
        (Next::Compact(7), "Compacts the history up to revision 7"),
        (
            Next::HandOver { from, to },
            "Hands the leadership over from e-0 to e-1",
        ),
        (Next::Defragment(of("e-0")), "Defragments member e-0"),
        (
            Next::ClearNoSpace(vec![MemberId(3)]),
            "Clears the alarm NOSPACE",
        ),
        (Next::Finished, "Is done"),
    ] {
        assert_eq!(step.to_string(), words);
    }
}
