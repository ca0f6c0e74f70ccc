use super::*;

fn revision(number: i64) -> Revision {
    Revision::new(number).unwrap()
}

fn readable(log: Looked<Revision>, deep: Looked<()>) -> Data {
    Data::Readable {
        database: revision(50),
        log,
        deep,
    }
}

fn broken() -> String {
    "broken".to_owned()
}

fn all_data() -> Vec<Data> {
    let mut all = vec![
        Data::Absent,
        Data::Incomplete,
        Data::Locked,
        Data::Broken(broken()),
    ];
    let logs = [
        Looked::NotYet,
        Looked::Found(revision(50)),
        Looked::Found(revision(60)),
        Looked::Broken(broken()),
    ];
    for log in logs {
        for deep in [Looked::NotYet, Looked::Found(()), Looked::Broken(broken())] {
            all.push(readable(log.clone(), deep));
        }
    }
    all
}

fn all_stores() -> [Store; 5] {
    let holds = |it| Store::Holds(revision(it));
    [
        Store::None,
        Store::Unknown("503".to_owned()),
        Store::Empty,
        holds(50),
        holds(60),
    ]
}

const CLUSTERS: [Cluster; 5] = [
    Cluster::Listed,
    Cluster::Added,
    Cluster::NotListed,
    Cluster::Silent { ran_before: false },
    Cluster::Silent { ran_before: true },
];

fn everything() -> Vec<Facts> {
    let mut all = Vec::new();
    for volume in [Volume::Ours, Volume::Foreign("other".to_owned())] {
        for data in all_data() {
            for store in all_stores() {
                for cluster in CLUSTERS {
                    for bits in 0..8 {
                        all.push(Facts {
                            volume: volume.clone(),
                            data: data.clone(),
                            store: store.clone(),
                            cluster: cluster.clone(),
                            several: bits & 1 != 0,
                            mode: if bits & 2 != 0 {
                                Mode::Full
                            } else {
                                Mode::Sanity
                            },
                            accept_empty_store: bits & 4 != 0,
                        });
                    }
                }
            }
        }
    }
    all
}

fn had_data(facts: &Facts) -> bool {
    !matches!(facts.data, Data::Absent | Data::Incomplete)
}

#[test]
fn what_holds_for_every_combination() {
    let all = everything();
    assert_eq!(all.len(), 2 * 16 * 5 * 5 * 8);
    for facts in all {
        let silent = matches!(facts.cluster, Cluster::Silent { .. });
        match decide(&facts) {
            Next::Do(action) => {
                assert_eq!(facts.volume, Volume::Ours, "{facts:?}");
                assert_ne!(facts.data, Data::Locked, "{facts:?}");
                let fine = match action {
                    Action::Keep => matches!(facts.data, Data::Readable { .. }),
                    Action::Restore => !facts.several && matches!(facts.store, Store::Holds(_)),
                    Action::Begin => {
                        let empty = matches!(facts.store, Store::None | Store::Empty);
                        let lost = had_data(&facts) && facts.store == Store::Empty;
                        let first = facts.cluster == Cluster::Silent { ran_before: false };
                        empty
                            && (!lost || facts.accept_empty_store)
                            && (!facts.several || (first && !had_data(&facts)))
                    }
                    Action::Follow => facts.several && !had_data(&facts),
                    Action::Join | Action::Rejoin => facts.several && !silent,
                };
                assert!(fine, "{action:?} {facts:?}");
            }
            Next::Look(probe) => {
                let Data::Readable { log, deep, .. } = &facts.data else {
                    panic!("{facts:?}");
                };
                let new = match probe {
                    Probe::Log => *log == Looked::NotYet && !facts.several,
                    Probe::Deep => *deep == Looked::NotYet && facts.mode == Mode::Full,
                };
                assert!(new, "{probe:?} {facts:?}");
            }
            Next::Refuse(why) => {
                let fine = match why {
                    Refusal::ForeignVolume { .. } => facts.volume != Volume::Ours,
                    Refusal::Locked => facts.data == Data::Locked,
                    Refusal::StoreUnknown { .. } => matches!(facts.store, Store::Unknown(_)),
                    Refusal::StoreEmpty { .. } => {
                        facts.store == Store::Empty && had_data(&facts) && !facts.accept_empty_store
                    }
                    Refusal::NoQuorum { .. } => facts.several && silent,
                };
                assert!(fine, "{facts:?}");
            }
        }
    }
}

#[test]
fn data_that_was_checked_and_is_no_older_than_the_store_is_never_replaced() {
    let whole = readable(Looked::Found(revision(60)), Looked::Found(()));
    for facts in everything().into_iter().filter(|it| it.data == whole) {
        let next = decide(&facts);
        let joins = facts.several && facts.cluster == Cluster::NotListed;
        let replaced = matches!(next, Next::Do(action) if action != Action::Keep);
        assert_eq!(replaced, joins && facts.volume == Volume::Ours, "{facts:?}");
    }
}

fn single(data: Data, store: Store, mode: Mode) -> Next {
    let cluster = Cluster::Silent { ran_before: true };
    let (several, accept_empty_store) = (false, false);
    decide(&Facts {
        volume: Volume::Ours,
        data,
        store,
        cluster,
        several,
        mode,
        accept_empty_store,
    })
}

fn one_of_three(data: Data, store: Store, cluster: Cluster) -> Next {
    let (several, mode, accept_empty_store) = (true, Mode::Sanity, false);
    decide(&Facts {
        volume: Volume::Ours,
        data,
        store,
        cluster,
        several,
        mode,
        accept_empty_store,
    })
}

#[test]
fn the_only_member() {
    let holds = |it| Store::Holds(revision(it));
    let fresh = || readable(Looked::NotYet, Looked::NotYet);
    let log = |it| readable(Looked::Found(revision(it)), Looked::NotYet);
    let deep = |it| readable(Looked::NotYet, it);
    for (data, store, mode, expected) in [
        (fresh(), holds(50), Mode::Sanity, Next::Do(Action::Keep)),
        (fresh(), holds(60), Mode::Sanity, Next::Look(Probe::Log)),
        (log(60), holds(60), Mode::Sanity, Next::Do(Action::Keep)),
        (log(60), holds(60), Mode::Full, Next::Look(Probe::Deep)),
        (log(59), holds(60), Mode::Full, Next::Do(Action::Restore)),
        (fresh(), Store::None, Mode::Sanity, Next::Do(Action::Keep)),
        (fresh(), Store::Empty, Mode::Full, Next::Look(Probe::Deep)),
        (
            deep(Looked::Found(())),
            Store::Empty,
            Mode::Full,
            Next::Do(Action::Keep),
        ),
        (
            deep(Looked::Broken(broken())),
            holds(50),
            Mode::Full,
            Next::Do(Action::Restore),
        ),
        (
            Data::Absent,
            holds(50),
            Mode::Full,
            Next::Do(Action::Restore),
        ),
        (
            Data::Absent,
            Store::Empty,
            Mode::Full,
            Next::Do(Action::Begin),
        ),
        (
            Data::Incomplete,
            Store::None,
            Mode::Full,
            Next::Do(Action::Begin),
        ),
        (
            Data::Broken(broken()),
            Store::None,
            Mode::Full,
            Next::Do(Action::Begin),
        ),
        (
            Data::Broken(broken()),
            Store::Empty,
            Mode::Full,
            Next::Refuse(Refusal::StoreEmpty { broken: broken() }),
        ),
        (
            Data::Locked,
            holds(50),
            Mode::Sanity,
            Next::Refuse(Refusal::Locked),
        ),
    ] {
        assert_eq!(
            single(data.clone(), store.clone(), mode),
            expected,
            "{data:?} {store:?}"
        );
    }
}

#[test]
fn a_store_that_does_not_answer_is_not_an_empty_one() {
    let fresh = readable(Looked::NotYet, Looked::NotYet);
    for data in [Data::Absent, Data::Broken(broken()), fresh] {
        let next = single(data, Store::Unknown("503".to_owned()), Mode::Sanity);
        assert!(matches!(next, Next::Refuse(Refusal::StoreUnknown { .. })));
    }
}

#[test]
fn one_of_three_members() {
    let old = || readable(Looked::NotYet, Looked::NotYet);
    let holds = || Store::Holds(revision(60));
    let first = || Cluster::Silent { ran_before: false };
    let lost = || Cluster::Silent { ran_before: true };
    for (data, store, cluster, expected) in [
        (old(), holds(), Cluster::Listed, Action::Keep),
        (old(), holds(), lost(), Action::Keep),
        (old(), holds(), Cluster::NotListed, Action::Join),
        (Data::Absent, holds(), Cluster::Listed, Action::Rejoin),
        (
            Data::Broken(broken()),
            Store::None,
            Cluster::Listed,
            Action::Rejoin,
        ),
        (Data::Absent, holds(), Cluster::Added, Action::Follow),
        (Data::Absent, Store::Empty, first(), Action::Begin),
    ] {
        assert_eq!(one_of_three(data, store, cluster), Next::Do(expected));
    }
    for (data, store, cluster) in [
        (Data::Absent, holds(), first()),
        (Data::Absent, Store::None, lost()),
        (Data::Broken(broken()), Store::Empty, first()),
    ] {
        let next = one_of_three(data, store, cluster);
        assert!(
            matches!(next, Next::Refuse(Refusal::NoQuorum { .. })),
            "{next:?}"
        );
    }
}
