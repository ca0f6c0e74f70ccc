use proptest::prelude::*;

use super::*;

fn versions() -> impl Strategy<Value = Version> {
    (3u16..5, 0u16..9, any::<u16>()).prop_map(|(a, b, c)| Version::new(a, b, c))
}

fn makes() -> impl Strategy<Value = Make> {
    (versions(), ".*").prop_map(|(version, template)| Make {
        version,
        template: Template(template),
    })
}

fn moments() -> impl Strategy<Value = Timestamp> {
    (0i64..4_000_000_000, 0i32..1_000_000_000).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
}

fn names() -> impl Strategy<Value = MemberName> {
    "[a-z]{1,4}-[0-9]".prop_map(MemberName)
}

fn troubles() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        Just(Trouble::Absent),
        (any::<u32>(), ".*").prop_map(|(exits, last_words)| Trouble::Failing { exits, last_words }),
        ".*".prop_map(Trouble::Silent),
        Just(Trouble::Learner),
        Just(Trouble::NotListed),
        ".*".prop_map(Trouble::NotReady),
        Just(Trouble::NoLeader),
        (0..u64::MAX / 2).prop_map(Trouble::Behind),
        versions().prop_map(Trouble::OtherVersion),
        ".*".prop_map(Trouble::NoWrites),
        Just(Trouble::TargetChanged),
    ]
}

fn halts() -> impl Strategy<Value = Halt> {
    prop_oneof![
        (any::<u32>(), ".*").prop_map(|(failures, last)| Halt::SnapshotFailed { failures, last }),
        (names(), versions(), versions(), troubles()).prop_map(
            |(member, version, back, trouble)| Halt::PutBack {
                member,
                version,
                back,
                trouble
            }
        ),
        (names(), troubles()).prop_map(|(member, trouble)| Halt::StaysDown { member, trouble }),
        (names(), versions(), troubles()).prop_map(|(member, version, trouble)| {
            Halt::PutBackFailed {
                member,
                version,
                trouble,
            }
        }),
        (any::<i64>(), ".*").prop_map(|(revision, hashes)| Halt::HashMismatch { revision, hashes }),
        Just(Halt::Corrupt),
    ]
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let states = prop_oneof![
        Just(SnapshotState::Missing),
        (any::<i64>(), moments()).prop_map(|(floor, at)| SnapshotState::Asked { floor, at }),
        (any::<i64>(), "[0-9a-f]{64}", moments()).prop_map(|(revision, sha256, at)| {
            SnapshotState::Verified {
                revision,
                sha256,
                at,
            }
        }),
    ];
    (any::<u32>(), any::<u32>(), states).prop_map(|(tries, failures, state)| Snapshot {
        tries,
        failures,
        state,
    })
}

fn records() -> impl Strategy<Value = Record> {
    let replacement = (
        names(),
        makes(),
        makes(),
        moments(),
        proptest::option::of(troubles()),
    )
        .prop_map(|(member, from, to, since, failed)| Replacement {
            member,
            from,
            to,
            since,
            failed,
        });
    let members = proptest::collection::btree_map(
        names(),
        proptest::sample::select(MEMBER_PHASES.to_vec()),
        0..4,
    );
    (
        (any::<u32>(), makes(), makes(), moments()),
        proptest::sample::select(PHASES.to_vec()),
        (
            proptest::option::of((versions(), versions())),
            any::<bool>(),
            proptest::option::of(moments()),
        ),
        snapshots(),
        proptest::option::of(replacement),
        members,
        proptest::option::of(("[A-Z][a-z]*", moments())),
        proptest::option::of(halts()),
    )
        .prop_map(
            |(
                (attempt, from, to, started),
                phase,
                (mixed, touched, cleared),
                snapshot,
                current,
                members,
                waiting,
                halt,
            )| Record {
                attempt,
                from,
                to,
                phase,
                started,
                mixed,
                cleared,
                snapshot,
                touched,
                current,
                members,
                waiting,
                halt,
            },
        )
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_stored(record in records()) {
        let stored = api::UpgradeRecord::from(&record);
        let text = serde_json::to_string(&stored).unwrap();
        let read: api::UpgradeRecord = serde_json::from_str(&text).unwrap();
        let present = Template("present".to_owned());
        prop_assert_eq!(Record::read(&read, &present), Ok(record));
    }
}

type Spoil = fn(&mut api::UpgradeRecord);

#[test]
fn a_record_of_another_release_is_refused_with_the_field() {
    let now = Timestamp::constant(1_800_000_000, 0);
    let good = Make::plain(Version::new(3, 4, 34));
    let good = api::UpgradeRecord::from(&Record::new(good, now));
    let cases: [(Spoil, &str, StoredWhat); 7] = [
        (
            |it| it.phase = "Levitating".to_owned(),
            "phase",
            StoredWhat::Word("Levitating".to_owned()),
        ),
        (
            |it| it.to = "four".to_owned(),
            "to",
            StoredWhat::Version("four".to_owned()),
        ),
        (
            |it| it.started = api::Time("once".to_owned()),
            "started",
            StoredWhat::Time("once".to_owned()),
        ),
        (|it| it.attempt = -1, "attempt", StoredWhat::Number(-1)),
        (
            |it| it.mixed = vec!["3.4.34".to_owned()],
            "mixed",
            StoredWhat::Number(1),
        ),
        (
            |it| it.snapshot.state = "Asked".to_owned(),
            "snapshot.revision",
            StoredWhat::Missing,
        ),
        (
            |it| {
                it.halt = Some(api::HaltRecord {
                    code: "Bored".to_owned(),
                    ..api::HaltRecord::default()
                });
            },
            "halt.code",
            StoredWhat::Word("Bored".to_owned()),
        ),
    ];
    for (spoil, field, what) in cases {
        let mut stored = good.clone();
        spoil(&mut stored);
        let error = Record::read(&stored, &Template::default()).unwrap_err();
        assert_eq!(error, StoredError { field, what });
        assert!(error.to_string().contains(&format!("record.{field}: ")));
    }
}

#[test]
fn a_record_without_templates_is_of_the_present_one() {
    let now = Timestamp::constant(1_800_000_000, 0);
    let of = |template: &str| {
        let make = Make {
            version: Version::new(3, 4, 34),
            template: Template(template.to_owned()),
        };
        let current = Replacement {
            member: MemberName("m-0".to_owned()),
            from: make.clone(),
            to: make.clone(),
            since: now,
            failed: None,
        };
        Record {
            current: Some(current),
            ..Record::new(make, now)
        }
    };
    let mut stored = api::UpgradeRecord::from(&of("past"));
    let present = Template("present".to_owned());
    assert_eq!(Record::read(&stored, &present), Ok(of("past")));
    (stored.from_template, stored.to_template) = (None, None);
    if let Some(current) = &mut stored.current {
        (current.from_template, current.to_template) = (None, None);
    }
    assert_eq!(Record::read(&stored, &present), Ok(of("present")));
}
