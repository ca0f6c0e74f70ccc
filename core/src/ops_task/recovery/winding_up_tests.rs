//! Everything that can happen to two members, an operator that may die between two writes, and a task that may
//! end at any moment, is searched: no member starts with its old data beside one that was made a cluster of
//! its own, and in the end nobody waits.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::super::{Backup, Held, Next, Recovery, Seen};
use super::*;
use crate::agent::recovery::{Follow, Holding, Memory, Report};
use crate::member::MemberId;
use crate::observed::{Answered, Etcd, Listed};

const TASK: &str = "task";

/// What the etcd of a member runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    /// The data of before.
    Old,
    /// That of a cluster of its own.
    Founded,
    /// That of the one that it has joined.
    Joined,
}

#[derive(Clone, Debug, Default)]
struct Member {
    told: Option<Instruction>,
    says: Option<Report>,
    /// What it has to report, and nobody has heard.
    unheard: Option<Report>,
    memory: Option<Memory>,
    pod: u8,
    runs: Option<Runs>,
    /// Its sidecar is carrying an order to found out.
    midway: bool,
}

#[derive(Clone, Debug)]
struct World {
    members: [Member; 2],
    result: TaskResult,
    ended: bool,
    /// How often something may still go wrong.
    faults: u8,
    /// Up to where the backup restores.
    backup: i64,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    /// The operator does a step, or only the first write of it, and another one takes over.
    Operates { whole: bool },
    /// The task is deleted, or late.
    Ends,
    /// A sidecar does the next thing; what it reports may be lost.
    Acts { member: usize, heard: bool },
    /// A pod is killed.
    Restarts { member: usize },
}

fn name(at: usize) -> MemberName {
    MemberName(format!("m-{at}"))
}

impl Member {
    /// It is said until it is heard, as long as it is an answer to what it is told.
    fn tells(&mut self) {
        let Some(report) = self.unheard.take() else {
            return;
        };
        let told = self
            .told
            .as_ref()
            .map(|it| it.report(report.course.clone()));
        if told.as_ref() == Some(&report) {
            self.says = told;
        }
    }
}

impl World {
    fn new(backup: i64) -> Self {
        Self {
            members: Default::default(),
            result: TaskResult::default(),
            ended: false,
            faults: 2,
            backup,
        }
    }

    fn serves(&self, at: usize) -> bool {
        let old = self.members.iter().all(|it| it.runs == Some(Runs::Old));
        old || self.members[at].runs == Some(Runs::Founded)
    }

    fn places(&self) -> BTreeMap<MemberName, Place> {
        let place = |member: &Member| Place {
            pod: Some(Held {
                uid: format!("pod-{}", member.pod),
                leaves: false,
                ran: true,
                ready: false,
            }),
            claim: None,
            lost: None,
            told: member.told.clone(),
            says: member.says.clone(),
            version: None,
        };
        let all = self.members.iter().enumerate();
        all.map(|(at, it)| (name(at), place(it))).collect()
    }

    fn etcd(&self) -> Etcd {
        let listed = |at: usize| Listed {
            id: MemberId(1),
            name: name(at),
            learner: false,
        };
        let of = |runs: Runs| self.members.iter().position(|it| it.runs == Some(runs));
        Etcd {
            members: BTreeMap::new(),
            membership: match of(Runs::Founded) {
                Some(at) => Answered::Known(
                    std::iter::once(at)
                        .chain(of(Runs::Joined))
                        .map(listed)
                        .collect(),
                ),
                None => Answered::Unknown("nobody answers".to_owned()),
            },
            alarms: Answered::Known(Vec::new()),
        }
    }

    /// What the operator does next; nothing if that is no step of this model.
    fn decided(&self) -> Option<WindUp> {
        let (places, etcd) = (self.places(), self.etcd());
        let all = (0..2).filter(|at| self.serves(*at));
        let serving = all.map(|at| (name(at), 7)).collect();
        let there = There {
            task: TASK,
            result: &self.result,
            places: &places,
            etcd: &etcd,
            serving: &serving,
        };
        if self.ended {
            return Some(wind_up(&there));
        }
        let patience = SignedDuration::from_secs(60);
        let wanted = Recovery {
            allow_data_loss: false,
            remove_volumes: false,
            stop: patience,
            pod: patience,
            whole: patience,
        };
        let next = wanted.next(&Seen {
            there,
            since: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
            backup: &Backup::Restorable {
                revision: self.backup,
                written: None,
            },
            hashes: None,
        });
        match next.ok()? {
            Next::Tell(all) => Some(WindUp::Tell(all)),
            Next::Delete(deletion) => Some(WindUp::Delete(deletion)),
            Next::Record(result) => Some(WindUp::Record(result)),
            Next::Wait(what) => Some(WindUp::Wait(what)),
            Next::VerifyBackup | Next::Compare | Next::Finished => None,
        }
    }

    fn operates(&mut self, whole: bool) {
        match self.decided() {
            None => self.ended = true,
            Some(WindUp::Tell(all)) => {
                let some = if whole { all.len() } else { 1 };
                for (name, told) in all.into_iter().take(some) {
                    let at = usize::from(name.0 == "m-1");
                    self.members[at].told = told;
                    self.members[at].says = None;
                }
            }
            Some(WindUp::Delete(Deletion::Pod(name, _))) => {
                self.restart(usize::from(name.0 == "m-1"));
            }
            Some(WindUp::Delete(Deletion::Claim(..))) => panic!("no volume goes"),
            Some(WindUp::Record(result)) => self.result = *result,
            Some(WindUp::Wait(_) | WindUp::Done) => {}
        }
    }

    fn restart(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.pod += 1;
        (member.runs, member.midway, member.unheard) = (None, false, None);
    }

    /// As `druid server` does it.
    fn acts(&mut self, at: usize, heard: bool) {
        let serves = self.members.iter().any(|it| it.runs == Some(Runs::Founded));
        let member = &mut self.members[at];
        if member.runs.is_some() {
            if heard {
                member.tells();
            }
            return;
        }
        let as_remembered = |memory: Option<&Memory>| match memory.map(|it| it.order) {
            Some(Order::Alone | Order::Restore) => Runs::Founded,
            Some(Order::Join) => Runs::Joined,
            Some(Order::Hold) | None => Runs::Old,
        };
        let told = member.told.clone();
        let follow = told.as_ref().map(|it| it.follow(member.memory.as_ref()));
        let course = match follow {
            None => {
                let begun = member.memory.as_ref().is_some_and(|it| it.begun);
                assert!(!begun, "nobody says whether to end what was begun");
                member.runs = Some(as_remembered(member.memory.as_ref()));
                return;
            }
            Some(Follow::Hold) => Course::Holds {
                data: Holding::Data {
                    cluster: "c".to_owned(),
                    term: 1,
                    index: at.try_into().unwrap(),
                    revision: 7,
                    made: None,
                },
            },
            Some(Follow::Done) => {
                member.runs = Some(as_remembered(member.memory.as_ref()));
                Course::Done
            }
            Some(Follow::Obey(Order::Join) | Follow::End(Order::Join)) if !serves => return,
            Some(Follow::Obey(Order::Join) | Follow::End(Order::Join)) => {
                let told = told.clone().unwrap();
                member.memory = Some(told.begin(Order::Join).done());
                member.runs = Some(Runs::Joined);
                Course::Done
            }
            Some(Follow::Obey(order) | Follow::End(order)) if !member.midway => {
                member.memory = Some(told.unwrap().begin(order));
                member.midway = true;
                return;
            }
            Some(Follow::Obey(_) | Follow::End(_)) => {
                member.memory = member.memory.take().map(Memory::done);
                member.midway = false;
                member.runs = Some(Runs::Founded);
                Course::Done
            }
        };
        member.unheard = told.map(|it| it.report(course));
        if heard {
            member.tells();
        }
    }

    fn after(&self, step: Move) -> Option<Self> {
        let mut world = self.clone();
        let goes_wrong = match step {
            Move::Operates { whole } => {
                world.operates(whole);
                !whole
            }
            Move::Ends => {
                world.ended = true;
                false
            }
            Move::Acts { member, heard } => {
                world.acts(member, heard);
                !heard
            }
            Move::Restarts { member } => {
                world.restart(member);
                true
            }
        };
        world.faults = world.faults.checked_sub(goes_wrong.into())?;
        Some(world)
    }

    #[track_caller]
    fn holds_together(&self) {
        for (at, member) in self.members.iter().enumerate() {
            let founds = member.memory.as_ref().is_some_and(|it| it.order.founds());
            let other = &self.members[1 - at];
            let beside = other.runs == Some(Runs::Old);
            assert!(!(founds && beside), "two clusters: {self:#?}");
            let both = other.memory.as_ref().is_some_and(|it| it.order.founds());
            assert!(!(founds && both), "two seeds: {self:#?}");
        }
    }

    /// If nothing more goes wrong.
    #[track_caller]
    fn winds_up(&self) {
        let mut world = self.clone();
        world.ended = true;
        for _ in 0..30 {
            world.operates(true);
            for at in 0..2 {
                world.acts(at, true);
                world.holds_together();
            }
        }
        assert_eq!(world.decided(), Some(WindUp::Done), "{self:#?} {world:#?}");
        let founded = world
            .members
            .iter()
            .any(|it| it.runs == Some(Runs::Founded));
        for member in &world.members {
            // Who was not heard to have joined is told so still.
            let told = member.told.as_ref().map(|it| it.order);
            assert!(matches!(told, None | Some(Order::Join)), "{world:#?}");
            assert!(
                member.runs.is_some_and(|it| (it == Runs::Old) != founded),
                "{world:#?}"
            );
        }
        // It is told where it goes on from, even if the task had failed by then.
        assert_eq!(world.result.recovered_from.is_some(), founded, "{world:#?}");
    }
}

fn search(backup: i64) -> usize {
    let moves = || {
        let both = [true, false];
        let operates = both.map(|whole| Move::Operates { whole });
        let acts = both.map(|heard| [0, 1].map(|member| Move::Acts { member, heard }));
        let restarts = [0, 1].map(|member| Move::Restarts { member });
        let all = operates.into_iter().chain(acts.into_iter().flatten());
        all.chain(restarts).chain([Move::Ends])
    };
    let mut known = HashSet::new();
    let mut open = vec![World::new(backup)];
    let mut founded = 0;
    while let Some(world) = open.pop() {
        if !known.insert(format!("{world:?}")) {
            continue;
        }
        world.holds_together();
        world.winds_up();
        founded += usize::from(world.result.recovered_from.is_some());
        open.extend(moves().filter_map(|it| world.after(it)));
    }
    assert!(founded > 100, "the model gets nowhere");
    known.len()
}

#[test]
fn no_member_starts_beside_a_seed_and_none_waits_for_ever() {
    // Behind the members, and ahead of them.
    for backup in [5, 100] {
        let states = search(backup);
        assert!(states > 1000, "{states}");
    }
}

#[test]
fn what_it_does_reads_well() {
    let name = || name(0);
    let pod = Deletion::Pod(name(), "p".to_owned());
    for (step, expected) in [
        (
            WindUp::Tell(BTreeMap::from([(name(), None)])),
            "Tells m-0 that it is free",
        ),
        (WindUp::Delete(pod), "Replaces the pod of m-0"),
        (
            WindUp::Wait("m-0 to serve".to_owned()),
            "Waits for m-0 to serve",
        ),
        (WindUp::Done, "Nothing is left of it"),
    ] {
        assert_eq!(step.to_string(), expected);
    }
}

/// Two members, of which the first serves what it has begun.
fn begun() -> World {
    let mut world = World::new(5);
    world.ended = true;
    world.members[0].runs = Some(Runs::Founded);
    world.result.recovered_from = Some("m-0".to_owned());
    world
}

fn next(world: &World, change: impl FnOnce(&mut BTreeMap<MemberName, Place>)) -> WindUp {
    let mut places = world.places();
    change(&mut places);
    let serving = BTreeMap::from([(name(0), 7)]);
    wind_up(&There {
        task: TASK,
        result: &world.result,
        places: &places,
        etcd: &world.etcd(),
        serving: &serving,
    })
}

/// A vote that is lost with its volume would cost the quorum again.
#[test]
fn a_volume_that_goes_is_replaced_before_its_member_joins() {
    let mut world = begun();
    world.members[1].told = Some(Instruction {
        pod: Some("pod-0".to_owned()),
        volume: Some("claim".to_owned()),
        ..Instruction::new(TASK, Order::Hold)
    });
    let claim = |leaves| {
        Some(Held {
            uid: "claim".to_owned(),
            leaves,
            ran: false,
            ready: false,
        })
    };
    let at = |claim: Option<Held>, pod: &str, leaves| {
        next(&world, |places| {
            let place = places.get_mut(&name(1)).unwrap();
            place.claim = claim;
            let held = place.pod.as_mut().unwrap();
            (held.uid, held.leaves) = (pod.to_owned(), leaves);
        })
    };
    let goes = |deletion| WindUp::Delete(deletion);
    let waits = WindUp::Wait("the volumes of m-1 to be replaced".to_owned());
    let joins = Instruction::new(TASK, Order::Join);
    let joins = WindUp::Tell(BTreeMap::from([(name(1), Some(joins))]));
    for (claim, pod, leaves, expected) in [
        (
            claim(false),
            "pod-0",
            false,
            goes(Deletion::Claim(name(1), "claim".to_owned())),
        ),
        (
            claim(true),
            "pod-0",
            false,
            goes(Deletion::Pod(name(1), "pod-0".to_owned())),
        ),
        (claim(true), "pod-0", true, waits.clone()),
        (claim(true), "pod-1", false, waits),
        (None, "pod-1", false, joins),
    ] {
        assert_eq!(at(claim, pod, leaves), expected);
    }
}

#[test]
fn who_has_joined_is_told_nothing_any_more_and_who_has_not_joins_when_it_can() {
    let mut world = begun();
    let join = Instruction::new(TASK, Order::Join);
    world.members[1].told = Some(join.clone());
    assert_eq!(next(&world, |_| {}), WindUp::Done);
    let why = "x".to_owned();
    world.members[1].says = Some(join.report(Course::Failed { why }));
    assert_eq!(next(&world, |_| {}), WindUp::Done);
    world.members[1].says = Some(join.report(Course::Done));
    let free = WindUp::Tell(BTreeMap::from([(name(1), None)]));
    assert_eq!(next(&world, |_| {}), free);
    // Another task's are none of ours.
    world.members[1].told = Some(Instruction::new("other", Order::Hold));
    assert_eq!(next(&world, |_| {}), WindUp::Done);
}

#[test]
fn what_the_seed_is_waited_for_is_told() {
    let mut world = World::new(5);
    world.ended = true;
    let alone = Instruction::new(TASK, Order::Alone);
    let revoking = Instruction::revoking(TASK, Order::Alone, Some("pod-0".to_owned()));
    let failed = |told: &Instruction| {
        told.report(Course::Failed {
            why: "no space".to_owned(),
        })
    };
    let waits = |what: &str| WindUp::Wait(what.to_owned());
    world.members[0].told = Some(alone.clone());
    world.members[0].says = Some(alone.report(Course::Done));
    assert_eq!(next(&world, |_| {}), waits("m-0 to serve"));
    // Whether it is told to begin or has failed to: it is asked.
    world.members[0].says = Some(failed(&alone));
    let asked = WindUp::Tell(BTreeMap::from([(name(0), Some(revoking.clone()))]));
    assert_eq!(next(&world, |_| {}), asked);
    world.members[0].told = Some(revoking.clone());
    let stops = next(&world, |places| {
        places
            .get_mut(&name(0))
            .unwrap()
            .pod
            .as_mut()
            .unwrap()
            .leaves = true;
    });
    assert_eq!(stops, waits("the pod of m-0 to stop"));
    world.members[0].pod = 1;
    world.members[0].says = Some(failed(&revoking));
    let said = waits("m-0, which cannot start: no space");
    assert_eq!(next(&world, |_| {}), said);
}
