//! The decision against a small model of members that do as they are told, and each reason not to go on.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;

use super::*;
use crate::agent::recovery::{Holding, Memory};
use crate::member::MemberId;
use crate::observed::{Listed, Status};
use crate::version::{Minor, Version};

const TASK: &str = "task";
/// When the phase began that it is in.
const BEGAN: Timestamp = Timestamp::UNIX_EPOCH;

fn wanted(allow_data_loss: bool, remove_volumes: bool) -> Recovery {
    Recovery {
        allow_data_loss,
        remove_volumes,
        stop: SignedDuration::from_secs(60),
        pod: SignedDuration::from_secs(180),
        whole: SignedDuration::from_secs(300),
    }
}

fn restorable_to(revision: i64) -> Backup {
    Backup::Restorable {
        revision,
        written: Some(BEGAN),
    }
}

fn data(term: u64, index: u64, revision: i64) -> Holding {
    Holding::Data {
        cluster: "c".to_owned(),
        term,
        index,
        revision,
        made: None,
    }
}

/// Members that do as they are told, a step after they were.
#[derive(Clone, Debug)]
struct World {
    places: BTreeMap<MemberName, Place>,
    holds: BTreeMap<MemberName, Holding>,
    cluster: Vec<MemberName>,
    backup: Backup,
    result: TaskResult,
    hashes: Option<Hashes>,
    counter: u32,
    revision: i64,
    seconds: i64,
}

impl World {
    fn of(holds: &[Holding], backup: Backup) -> Self {
        let name = |at: usize| MemberName(format!("m-{at}"));
        let place = |at: usize| Place {
            pod: Some(held(&format!("pod-{at}"), true)),
            claim: Some(held(&format!("claim-{at}"), false)),
            lost: None,
            told: None,
            says: None,
            version: None,
        };
        Self {
            places: (0..holds.len()).map(|at| (name(at), place(at))).collect(),
            holds: (0..holds.len())
                .map(|at| (name(at), holds[at].clone()))
                .collect(),
            cluster: Vec::new(),
            result: TaskResult {
                backup_revision: match &backup {
                    Backup::Restorable { revision, .. } => Some(*revision),
                    Backup::NotAsked
                    | Backup::None
                    | Backup::Later { .. }
                    | Backup::Unverified(_)
                    | Backup::Damaged(_) => None,
                },
                ..TaskResult::default()
            },
            backup,
            hashes: None,
            counter: 0,
            revision: 0,
            seconds: 0,
        }
    }

    fn place(&mut self, at: usize) -> &mut Place {
        self.places.get_mut(&MemberName(format!("m-{at}"))).unwrap()
    }

    fn etcd(&self) -> Etcd {
        let status = |name: &MemberName| {
            if !self.cluster.contains(name) {
                return Answer::Silent("it does not run".to_owned());
            }
            Answer::Status(Status {
                id: MemberId(1),
                version: Version::new(3, 5, 27),
                cluster_version: Some(Minor::new(3, 5)),
                leader: MemberId(1),
                term: 1,
                raft_index: 1,
                raft_applied_index: 1,
                revision: self.revision,
                db_size: 1,
                db_size_in_use: 1,
                quota: None,
                learner: false,
                ready: Ok(()),
                errors: Vec::new(),
            })
        };
        let listed = |name: &MemberName| Listed {
            id: MemberId(1),
            name: name.clone(),
            learner: false,
        };
        Etcd {
            members: self
                .places
                .keys()
                .map(|it| (it.clone(), status(it)))
                .collect(),
            membership: if self.cluster.is_empty() {
                Answered::Unknown("no member answers".to_owned())
            } else {
                Answered::Known(self.cluster.iter().map(listed).collect())
            },
            alarms: Answered::Known(Vec::new()),
        }
    }

    /// `asked`: whether this process has had the backup restored on trial.
    fn next(&self, wanted: &Recovery, asked: bool) -> Result<Next, Obstacle> {
        let serving = self.cluster.iter().map(|it| (it.clone(), self.revision));
        let (etcd, serving) = (self.etcd(), serving.collect());
        let there = There {
            task: TASK,
            result: &self.result,
            places: &self.places,
            etcd: &etcd,
            serving: &serving,
        };
        let at_first = Backup::at_first(self.backup != Backup::None, &there);
        wanted.next(&Seen {
            there,
            since: BEGAN,
            now: BEGAN + SignedDuration::from_secs(self.seconds),
            backup: if asked { &self.backup } else { &at_first },
            hashes: self.hashes.as_ref(),
        })
    }

    fn wind_up(&self) -> WindUp {
        let serving = self.cluster.iter().map(|it| (it.clone(), self.revision));
        wind_up(&There {
            task: TASK,
            result: &self.result,
            places: &self.places,
            etcd: &self.etcd(),
            serving: &serving.collect(),
        })
    }

    fn tell(&mut self, all: &BTreeMap<MemberName, Option<Instruction>>) {
        for (name, told) in all {
            self.places.get_mut(name).unwrap().told.clone_from(told);
        }
    }

    fn act(&mut self, next: &Next) {
        match next {
            Next::Tell(all) => self.tell(all),
            Next::Delete(Deletion::Pod(name, uid)) => {
                let place = self.places.get_mut(name).unwrap();
                assert_eq!(place.pod.as_ref().map(|it| &it.uid), Some(uid));
                self.counter += 1;
                place.pod = Some(held(&format!("new-pod-{}", self.counter), true));
                if place.claim.as_ref().is_some_and(|it| it.leaves) {
                    place.claim = Some(held(&format!("new-claim-{}", self.counter), false));
                    self.holds.insert(name.clone(), Holding::Nothing);
                }
            }
            Next::Delete(Deletion::Claim(name, uid)) => {
                let claim = self.places.get_mut(name).unwrap().claim.as_mut().unwrap();
                assert_eq!(claim.uid, *uid);
                claim.leaves = true;
            }
            Next::Record(result) => self.result = result.as_ref().clone(),
            Next::Compare => {
                let (revision, hash) = (self.revision, 1);
                self.hashes = Some(Hashes::Equal { revision, hash });
            }
            Next::VerifyBackup | Next::Wait(_) | Next::Finished => {}
        }
    }

    /// One member does what it is told, if it can.
    fn obey(&mut self) {
        self.seconds += 1;
        for (name, place) in &mut self.places {
            let Some(told) = place.told.clone() else {
                continue;
            };
            let new = place
                .pod
                .as_ref()
                .is_some_and(|it| Some(&it.uid) != told.pod.as_ref());
            let report = match told.order {
                Order::Hold if new => told.report(Course::Holds {
                    data: self.holds[name].clone(),
                }),
                Order::Hold => continue,
                Order::Alone => {
                    let Holding::Data { revision, .. } = self.holds[name] else {
                        panic!("{name} has nothing to go on with");
                    };
                    self.revision = self.revision.max(revision);
                    told.report(Course::Done)
                }
                Order::Restore => {
                    let Backup::Restorable { revision, .. } = self.backup else {
                        panic!("there is nothing to restore");
                    };
                    self.revision = self.revision.max(revision);
                    told.report(Course::Done)
                }
                Order::Join if self.cluster.is_empty() => continue,
                Order::Join => told.report(Course::Done),
            };
            if report.course == Course::Done && !self.cluster.contains(name) {
                self.cluster.push(name.clone());
            }
            if place.says.as_ref() != Some(&report) {
                place.says = Some(report);
                return;
            }
        }
    }

    /// Until the end; the process that decides is a new one before every `crash`th decision.
    fn run(&mut self, wanted: &Recovery, crash: usize) -> Vec<Next> {
        let mut steps = Vec::new();
        let mut asked = false;
        for round in 0..200 {
            if crash > 0 && round % crash == 0 {
                (asked, self.hashes) = (false, None);
            }
            let next = self.next(wanted, asked).unwrap();
            if next == Next::Finished {
                self.ends();
                return steps;
            }
            self.act(&next);
            if next == Next::VerifyBackup {
                asked = true;
                self.seconds += 60;
            }
            if matches!(next, Next::Wait(_) | Next::Record(_)) {
                self.obey();
            }
            if !matches!(next, Next::Wait(_)) {
                steps.push(next);
            }
        }
        panic!("it does not end: {self:#?} {steps:#?}");
    }

    /// What is left is taken away.
    fn ends(&mut self) {
        for _ in 0..5 {
            match self.wind_up() {
                WindUp::Tell(all) => self.tell(&all),
                WindUp::Done => return,
                step @ (WindUp::Delete(_) | WindUp::Record(_) | WindUp::Wait(_)) => {
                    panic!("{step} after its end")
                }
            }
        }
    }
}

fn held(uid: &str, ran: bool) -> Held {
    Held {
        uid: uid.to_owned(),
        leaves: false,
        ran,
        ready: false,
    }
}

fn orders(steps: &[Next]) -> Vec<(String, Order)> {
    let mut orders = Vec::new();
    for step in steps {
        if let Next::Tell(all) = step {
            let given = all
                .iter()
                .filter_map(|(name, it)| Some((name, it.as_ref()?)));
            orders.extend(given.map(|(name, it)| (name.0.clone(), it.order)));
        }
    }
    orders
}

fn seeds(steps: &[Next]) -> Vec<(String, Order)> {
    let mut all = orders(steps);
    all.retain(|(_, order)| matches!(order, Order::Alone | Order::Restore));
    all
}

#[test]
fn whoever_is_ahead_of_the_backup_is_the_seed_and_the_others_join_it() {
    let holds = [data(2, 9, 90), data(2, 11, 110), Holding::Nothing];
    for crash in 0..6 {
        let mut world = World::of(&holds, restorable_to(100));
        // One that crashes at each decision never has the answer of a trial that it asked for.
        if crash == 1 {
            continue;
        }
        let steps = world.run(&wanted(false, false), crash);
        assert_eq!(seeds(&steps), [("m-1".to_owned(), Order::Alone)], "{crash}");
        let expected: Vec<_> = [
            ("m-0", Order::Hold),
            ("m-1", Order::Hold),
            ("m-2", Order::Hold),
            ("m-1", Order::Alone),
            ("m-0", Order::Join),
            ("m-2", Order::Join),
        ]
        .map(|(name, order)| (name.to_owned(), order))
        .into();
        assert_eq!(orders(&steps), expected);
        assert_eq!(world.cluster.len(), 3);
        let result = &world.result;
        assert_eq!(result.recovered_from.as_deref(), Some("m-1"));
        assert_eq!(result.recovered_with.as_deref(), Some("Member"));
        assert_eq!(result.recovered_revision, Some(110));
        assert!(world.places.values().all(|it| it.told.is_none()));
        // Each pod once, and no volume.
        let pods = steps
            .iter()
            .filter(|it| matches!(it, Next::Delete(Deletion::Pod(..))));
        assert_eq!(pods.count(), 3);
        assert!(
            !steps
                .iter()
                .any(|it| matches!(it, Next::Delete(Deletion::Claim(..))))
        );
    }
}

#[test]
fn the_backup_is_restored_if_no_member_reaches_it() {
    let holds = [data(2, 9, 90), Holding::Nothing, Holding::Nothing];
    let mut world = World::of(&holds, restorable_to(100));
    let steps = world.run(&wanted(false, false), 0);
    // By one that has nothing to put aside.
    assert_eq!(seeds(&steps), [("m-1".to_owned(), Order::Restore)]);
    let result = &world.result;
    assert_eq!(result.recovered_with.as_deref(), Some("Backup"));
    assert_eq!(result.recovered_revision, Some(100));
    assert_eq!(result.backup_revision, Some(100));
    let said = result.recovered();
    assert!(
        said.starts_with("Recovered from m-1 with the backup, at revision 100"),
        "{said}"
    );
    assert!(said.contains("after revision 100"), "{said}");
    // As new as the backup is enough.
    let mut world = World::of(&[data(2, 9, 100), Holding::Nothing], restorable_to(100));
    let steps = world.run(&wanted(false, false), 0);
    assert_eq!(seeds(&steps), [("m-0".to_owned(), Order::Alone)]);
}

#[test]
fn the_log_and_not_the_revision_says_who_is_up_to_date() {
    for (holds, seed) in [
        ([data(3, 5, 50), data(2, 9, 90)], "m-0"),
        ([data(2, 8, 90), data(2, 9, 80)], "m-1"),
        ([data(2, 9, 90), data(2, 9, 90)], "m-0"),
    ] {
        let mut world = World::of(&holds, restorable_to(10));
        let steps = world.run(&wanted(false, false), 0);
        assert_eq!(seeds(&steps), [(seed.to_owned(), Order::Alone)]);
    }
}

#[test]
fn volumes_are_replaced_if_asked_for_and_never_that_of_the_seed() {
    let holds = [data(2, 9, 90), data(2, 11, 110), Holding::Nothing];
    let mut world = World::of(&holds, restorable_to(100));
    let steps = world.run(&wanted(false, true), 0);
    let claims: Vec<_> = steps
        .iter()
        .filter_map(|it| {
            if let Next::Delete(Deletion::Claim(name, uid)) = it {
                return Some((name.0.as_str(), uid.as_str()));
            }
            None
        })
        .collect();
    assert_eq!(claims, [("m-0", "claim-0"), ("m-2", "claim-2")]);
    let of = |step: &Next| steps.iter().position(|it| it == step).unwrap();
    let recorded = steps
        .iter()
        .position(|it| matches!(it, Next::Record(result) if result.recovered_from.is_some()));
    let deleted = of(&Next::Delete(Deletion::Claim(
        MemberName("m-0".to_owned()),
        "claim-0".to_owned(),
    )));
    assert!(
        recorded.unwrap() < deleted,
        "what they held is kept until the seed serves"
    );
    assert_eq!(world.cluster.len(), 3);
}

#[test]
fn nothing_is_changed_while_quorum_is_there_or_the_backup_is_not_good() {
    let mut world = World::of(&[data(1, 1, 1), data(1, 1, 1)], restorable_to(1));
    world.cluster = vec![MemberName("m-1".to_owned())];
    let obstacle = world.next(&wanted(true, false), true).unwrap_err();
    assert_eq!(
        obstacle,
        Obstacle::QuorumThere(MemberName("m-1".to_owned()))
    );
    assert!(obstacle.rejects());
    let of = |backup| World::of(&[data(1, 1, 1), Holding::Nothing], backup);
    let none = of(Backup::None).next(&wanted(false, false), true);
    assert_eq!(none, Err(Obstacle::NoBackup));
    let bad = of(Backup::Unverified("x".to_owned()));
    let refused = bad.next(&wanted(false, false), true);
    assert_eq!(refused, Err(Obstacle::Unverified("x".to_owned())));
    assert!(refused.unwrap_err().rejects());
    // Somebody accepts that.
    for backup in [
        Backup::None,
        Backup::Unverified("x".to_owned()),
        Backup::Damaged("x".to_owned()),
    ] {
        let mut world = of(backup);
        let steps = world.run(&wanted(true, false), 0);
        assert_eq!(seeds(&steps), [("m-0".to_owned(), Order::Alone)]);
    }
}

#[test]
fn a_quorum_that_comes_back_ends_it_as_long_as_there_is_no_seed() {
    let mut world = World::of(
        &[data(1, 1, 1), data(1, 1, 1), data(1, 1, 1)],
        restorable_to(1),
    );
    let next = world.next(&wanted(false, false), true).unwrap();
    world.act(&next);
    world.cluster = vec![MemberName("m-1".to_owned())];
    let deletion = world.next(&wanted(false, false), true).unwrap();
    assert!(
        matches!(deletion, Next::Delete(Deletion::Pod(..))),
        "{deletion:?}"
    );
    for at in 0..3 {
        world.place(at).pod = Some(held(&format!("new-{at}"), true));
    }
    let there = world.next(&wanted(false, false), true).unwrap_err();
    assert_eq!(there, Obstacle::QuorumBack(MemberName("m-1".to_owned())));
    assert!(!there.rejects(), "pods were replaced");
}

/// The operator may be what is cut off.
#[test]
fn nothing_is_changed_while_a_kubelet_calls_a_pod_ready() {
    for allow in [false, true] {
        let mut world = World::of(&[data(1, 1, 1), data(1, 1, 1)], restorable_to(1));
        world.place(1).pod.as_mut().unwrap().ready = true;
        world.seconds = 59;
        let waits = world.next(&wanted(allow, false), true).unwrap().to_string();
        assert!(
            waits.starts_with("Waits for the pods of m-1, which are ready"),
            "{waits}"
        );
        world.seconds = 60;
        let late = world.next(&wanted(allow, false), true).unwrap_err();
        assert_eq!(late, Obstacle::Unreached("m-1".to_owned()));
        assert!(late.rejects());
        world.place(1).pod.as_mut().unwrap().ready = false;
        let next = world.next(&wanted(allow, false), true).unwrap();
        assert_eq!(orders(&[next]).len(), 2);
    }
}

/// A pod that cannot be stopped may run an etcd: two clusters would come of it.
#[test]
fn a_pod_that_does_not_stop_is_waited_for_whatever_may_be_lost() {
    for allow in [false, true] {
        let mut world = World::of(&[data(1, 1, 1), Holding::Nothing], restorable_to(1));
        let next = world.next(&wanted(allow, false), true).unwrap();
        world.act(&next);
        for at in 0..2 {
            world.place(at).pod.as_mut().unwrap().leaves = true;
        }
        world.seconds = 59;
        let waits = world.next(&wanted(allow, false), true).unwrap();
        assert_eq!(waits, Next::Wait("the pods of m-0, m-1 to stop".to_owned()));
        world.seconds = 60;
        let late = world.next(&wanted(allow, false), true).unwrap_err();
        assert_eq!(late, Obstacle::NotStopped("m-0, m-1".to_owned()));
        assert!(!late.rejects());
    }
}

/// All but `m-1` say what they hold.
fn one_is_silent(allow: bool) -> World {
    let mut world = World::of(
        &[data(1, 5, 5), data(1, 6, 6), Holding::Nothing],
        restorable_to(1),
    );
    let next = world.next(&wanted(allow, false), true).unwrap();
    world.act(&next);
    for at in 0..3 {
        world.place(at).pod = Some(held(&format!("new-{at}"), at != 1));
    }
    world.holds.remove(&MemberName("m-1".to_owned()));
    for at in [0, 2] {
        let name = MemberName(format!("m-{at}"));
        let holds = world.holds[&name].clone();
        let told = world.place(at).told.clone().unwrap();
        world.place(at).says = Some(told.report(Course::Holds { data: holds }));
    }
    world
}

#[test]
fn who_does_not_say_what_it_holds_counts_as_lost_only_if_that_is_allowed_and_it_cannot_run() {
    for allow in [false, true] {
        let mut world = one_is_silent(allow);
        world.seconds = 239;
        let waits = world.next(&wanted(allow, false), true).unwrap();
        assert_eq!(waits, Next::Wait("m-1 to say what they hold".to_owned()));
        world.seconds = 240;
        let late = world.next(&wanted(allow, false), true);
        if allow {
            let told = Instruction::new(TASK, Order::Alone);
            let expected = BTreeMap::from([(MemberName("m-0".to_owned()), Some(told))]);
            assert_eq!(late, Ok(Next::Tell(expected)));
        } else {
            assert_eq!(late, Err(Obstacle::Unheard("m-1".to_owned())));
        }
        // Its etcd may run.
        world.place(1).pod = Some(held("new-1", true));
        let late = world.next(&wanted(allow, false), true);
        assert_eq!(late, Err(Obstacle::Unheard("m-1".to_owned())));
    }
}

#[test]
fn a_member_whose_volume_is_lost_is_not_waited_for_and_gets_a_new_one() {
    let mut world = one_is_silent(false);
    world.place(1).lost = Some("lost".to_owned());
    let next = world.next(&wanted(false, false), true).unwrap();
    assert_eq!(seeds(&[next]), [("m-0".to_owned(), Order::Alone)]);
    let place = world.place(1).clone();
    world.result.recovered_from = Some("m-0".to_owned());
    let next = world.next(&wanted(false, false), true).unwrap();
    let Next::Tell(joins) = &next else {
        panic!("they are told to join: {next:?}");
    };
    let told = joins[&MemberName("m-1".to_owned())].as_ref().unwrap();
    assert_eq!(told.order, Order::Hold, "the new volume comes first");
    assert_eq!(told.volume, place.claim.map(|it| it.uid));
    assert_eq!(told.pod.as_deref(), Some("new-1"));
    let other = Instruction::new(TASK, Order::Join);
    assert_eq!(joins[&MemberName("m-2".to_owned())].as_ref(), Some(&other));
    world.act(&next);
    let claim = world.next(&wanted(false, false), true).unwrap();
    assert!(
        matches!(claim, Next::Delete(Deletion::Claim(..))),
        "{claim:?}"
    );
    world.act(&claim);
    let pod = world.next(&wanted(false, false), true).unwrap();
    assert!(matches!(pod, Next::Delete(Deletion::Pod(..))), "{pod:?}");
    // It does not go yet.
    world.place(1).pod.as_mut().unwrap().leaves = true;
    let waits = world.next(&wanted(false, false), true).unwrap().to_string();
    assert_eq!(waits, "Waits for the volumes of m-1 to be replaced");
    world.act(&pod);
    world.place(1).lost = None;
    let joins = world.next(&wanted(false, false), true).unwrap();
    let name = MemberName("m-1".to_owned());
    assert_eq!(joins, Next::Tell(BTreeMap::from([(name, Some(other))])));
}

/// It may have read its lease before it was told.
#[test]
fn a_pod_that_came_while_it_was_told_is_replaced_once() {
    let leaves = Held {
        leaves: true,
        ..held("leaves", true)
    };
    for before in [None, Some(leaves)] {
        let mut world = World::of(&[data(1, 1, 1), Holding::Nothing], restorable_to(1));
        world.place(1).pod.clone_from(&before);
        let next = world.next(&wanted(false, false), true).unwrap();
        world.act(&next);
        world.place(0).pod = Some(held("new-0", true));
        world.place(1).pod = Some(held("early", true));
        world.seconds = 59;
        assert!(matches!(
            world.next(&wanted(false, false), true),
            Ok(Next::Wait(_))
        ));
        world.seconds = 60;
        let again = world.next(&wanted(false, false), true).unwrap();
        // m-0 had one before: it is not told again.
        let told = Instruction {
            pod: Some("early".to_owned()),
            ..Instruction::new(TASK, Order::Hold)
        };
        let expected = BTreeMap::from([(MemberName("m-1".to_owned()), Some(told))]);
        assert_eq!(again, Next::Tell(expected), "{before:?}");
        world.act(&again);
        let name = MemberName("m-1".to_owned());
        let next = world.next(&wanted(false, false), true);
        let early = Deletion::Pod(name, "early".to_owned());
        assert_eq!(next, Ok(Next::Delete(early)));
    }
}

/// Its etcd may run: it is waited for as one that does not stop.
#[test]
fn a_pod_that_leaves_and_never_goes_is_one_that_does_not_stop() {
    for allow in [false, true] {
        let mut world = one_is_silent(allow);
        let name = MemberName("m-1".to_owned());
        world.place(1).told = None;
        let pod = Held {
            leaves: true,
            ..held("leaves", true)
        };
        world.place(1).pod = Some(pod);
        let next = world.next(&wanted(allow, false), true).unwrap();
        let told = Instruction::new(TASK, Order::Hold);
        assert_eq!(next, Next::Tell([(name.clone(), Some(told))].into()));
        world.act(&next);
        world.seconds = 59;
        let waits = world.next(&wanted(allow, false), true).unwrap();
        assert_eq!(waits, Next::Wait("m-1 to say what they hold".to_owned()));
        world.seconds = 60;
        let again = world.next(&wanted(allow, false), true).unwrap();
        world.act(&again);
        let late = world.next(&wanted(allow, false), true);
        assert_eq!(late, Err(Obstacle::NotStopped("m-1".to_owned())));
    }
}

#[test]
fn what_cannot_be_recovered_from_is_told() {
    let held = |holds: &[Holding], backup: Backup| {
        let mut world = World::of(holds, backup);
        for (at, hold) in holds.iter().enumerate() {
            let told = Instruction::new(TASK, Order::Hold);
            world.place(at).says = Some(told.report(Course::Holds { data: hold.clone() }));
            world.place(at).told = Some(told);
        }
        world.next(&wanted(true, false), true)
    };
    let broken = Holding::Broken {
        why: "x".to_owned(),
    };
    let nothing = held(&[Holding::Nothing, broken.clone()], Backup::None);
    assert_eq!(nothing, Err(Obstacle::NothingLeft));
    let other = Holding::Data {
        cluster: "d".to_owned(),
        term: 9,
        index: 9,
        revision: 9,
        made: None,
    };
    let two = held(&[data(1, 1, 1), Holding::Nothing, other], restorable_to(1));
    let names = |at: usize| MemberName(format!("m-{at}"));
    assert_eq!(two, Err(Obstacle::TwoClusters(names(0), names(2))));
    // Broken data is put aside.
    let told = Instruction::new(TASK, Order::Restore);
    let restore = held(&[broken.clone(), broken], restorable_to(1));
    assert_eq!(
        restore,
        Ok(Next::Tell(BTreeMap::from([(names(0), Some(told))])))
    );
}

/// A seed that serves, and others that were told.
fn joining() -> World {
    let mut world = World::of(&[data(1, 5, 5), Holding::Nothing], restorable_to(1));
    let alone = Instruction::new(TASK, Order::Alone);
    world.place(0).says = Some(alone.report(Course::Done));
    world.place(1).told = Some(Instruction::new(TASK, Order::Join));
    world.result.recovered_from = Some("m-0".to_owned());
    world.cluster = vec![MemberName("m-0".to_owned())];
    world
}

/// One that was told to begin alone and has.
fn founded() -> World {
    let mut world = joining();
    world.result.recovered_from = None;
    world.place(0).told = Some(Instruction::new(TASK, Order::Alone));
    world.place(1).told = Some(Instruction::new(TASK, Order::Hold));
    world
}

#[test]
fn the_seed_counts_once_it_has_done_as_it_was_told_and_serves_alone() {
    let fresh = founded;
    let is_recorded = |world: &World| {
        let next = world.next(&wanted(false, false), true).unwrap();
        matches!(next, Next::Record(_))
    };
    assert!(is_recorded(&fresh()));
    let mut world = fresh();
    world.place(0).says = None;
    assert!(!is_recorded(&world));
    let before = Instruction::new("before", Order::Alone);
    world.place(0).says = Some(before.report(Course::Done));
    assert!(!is_recorded(&world), "a report of another task");
    let mut world = fresh();
    world.cluster.push(MemberName("m-1".to_owned()));
    assert!(!is_recorded(&world), "others are members of it");
    let mut world = fresh();
    world.cluster.clear();
    assert!(!is_recorded(&world));
    let why = Course::Failed {
        why: "no space".to_owned(),
    };
    world.place(0).says = Some(Instruction::new(TASK, Order::Alone).report(why));
    let waits = world.next(&wanted(false, false), true).unwrap();
    assert!(waits.to_string().contains("no space"), "{waits}");
    world.seconds = 360;
    let late = world.next(&wanted(false, false), true).unwrap_err();
    assert!(
        matches!(&late, Obstacle::NoSeed(why) if why.contains("no space")),
        "{late}"
    );
}

#[test]
fn it_is_done_once_all_vote_serve_and_hold_the_same() {
    let mut world = joining();
    let next = |world: &World| world.next(&wanted(false, false), true);
    let waits = next(&world).unwrap().to_string();
    assert_eq!(waits, "Waits for m-1 to join and to vote");
    world.seconds = 300;
    assert!(matches!(next(&world), Err(Obstacle::NotWhole(_))));
    world.cluster.push(MemberName("m-1".to_owned()));
    assert_eq!(next(&world), Ok(Next::Compare));
    for (hashes, expected) in [
        (
            Hashes::Equal {
                revision: 5,
                hash: 1,
            },
            Ok(Next::Finished),
        ),
        (
            Hashes::Different {
                revision: 5,
                hashes: BTreeMap::new(),
            },
            Err(Obstacle::Differ(5)),
        ),
    ] {
        world.hashes = Some(hashes);
        assert_eq!(next(&world), expected);
    }
    world.hashes = Some(Hashes::Unknown("busy".to_owned()));
    world.seconds = 299;
    assert!(matches!(next(&world), Ok(Next::Wait(_))));
    world.cluster.push(MemberName("x".to_owned()));
    assert!(matches!(next(&world), Ok(Next::Wait(_))), "one too many");
}

#[test]
fn what_was_begun_is_not_begun_again_whoever_lost_its_order() {
    let mut world = joining();
    // Leases are deleted, volumes are new.
    world.place(1).told = None;
    world
        .holds
        .insert(MemberName("m-0".to_owned()), Holding::Nothing);
    let next = world.next(&wanted(true, true), true).unwrap();
    assert_eq!(
        orders(&[next]),
        [("m-1".to_owned(), Order::Hold)],
        "a new volume first"
    );
    world.cluster.push(MemberName("m-1".to_owned()));
    let next = world.next(&wanted(false, false), true).unwrap();
    assert_eq!(orders(&[next]), [("m-1".to_owned(), Order::Join)]);
    // Instructions of another task are none of ours.
    let mut world = founded();
    for at in 0..2 {
        let told = world.place(at).told.as_mut().unwrap();
        told.task = "before".to_owned();
    }
    world.cluster.clear();
    let next = world.next(&wanted(false, false), true).unwrap();
    assert_eq!(orders(&[next]).len(), 2);
}

/// A volume that it gets later would follow it.
#[test]
fn the_order_of_the_seed_goes_before_anybody_joins() {
    let mut world = founded();
    let Next::Record(result) = world.next(&wanted(false, false), true).unwrap() else {
        panic!("it serves");
    };
    world.result = *result;
    let next = world.next(&wanted(false, false), true).unwrap();
    let seed = MemberName("m-0".to_owned());
    assert_eq!(next, Next::Tell(BTreeMap::from([(seed, None)])));
    assert_eq!(next.to_string(), "Tells m-0 that it is free");
    world.act(&next);
    let next = world.next(&wanted(false, false), true).unwrap();
    assert_eq!(orders(&[next]), [("m-1".to_owned(), Order::Join)]);
}

#[test]
fn the_backup_is_asked_for_again_while_nobody_can_say() {
    let world = World::of(&[data(1, 1, 1), Holding::Nothing], restorable_to(1));
    let next = |tries, seconds, allow| {
        let mut world = world.clone();
        world.backup = Backup::Later {
            tries,
            why: "x".to_owned(),
        };
        world.seconds = seconds;
        world.next(&wanted(allow, false), true)
    };
    for (tries, seconds) in [(1, 0), (9, 179), (1, 2000)] {
        assert_eq!(next(tries, seconds, true), Ok(Next::VerifyBackup));
    }
    assert_eq!(
        next(2, 180, false),
        Err(Obstacle::Unverified("x".to_owned()))
    );
    assert_eq!(orders(&[next(2, 180, true).unwrap()]).len(), 2);
    // One that cannot be restored is tried once, unless the members' data would do for it.
    let mut bad = world.clone();
    bad.backup = Backup::Unverified("x".to_owned());
    let refused = Err(Obstacle::Unverified("x".to_owned()));
    assert_eq!(bad.next(&wanted(false, false), true), refused);
    bad.seconds = 179;
    assert_eq!(bad.next(&wanted(true, false), true), Ok(Next::VerifyBackup));
    bad.seconds = 180;
    assert_eq!(
        orders(&[bad.next(&wanted(true, false), true).unwrap()]).len(),
        2
    );
    // What is damaged does not mend itself.
    bad.backup = Backup::Damaged("x".to_owned());
    bad.seconds = 0;
    assert_eq!(bad.next(&wanted(false, false), true), refused);
    assert_eq!(
        orders(&[bad.next(&wanted(true, false), true).unwrap()]).len(),
        2
    );
    let later = Backup::NotAsked.later("a".to_owned());
    let twice = later.later("b".to_owned());
    let expected = Backup::Later {
        tries: 2,
        why: "b".to_owned(),
    };
    assert_eq!(twice, expected);
}

/// Whoever takes over need not restore it on trial again, and tells where it was begun from all the same.
#[test]
fn what_the_backup_reaches_is_written_down_before_anybody_is_told_anything() {
    let mut world = World::of(&[data(1, 1, 1), Holding::Nothing], restorable_to(7));
    world.result = TaskResult::default();
    let next = world.next(&wanted(false, false), true).unwrap();
    assert_eq!(
        next.to_string(),
        "The backup can be restored up to revision 7"
    );
    world.act(&next);
    assert_eq!(
        world.next(&wanted(false, false), false),
        Ok(Next::VerifyBackup)
    );
    let next = world.next(&wanted(false, false), true).unwrap();
    assert_eq!(orders(std::slice::from_ref(&next)).len(), 2);
    world.act(&next);
    for at in 0..2 {
        world.place(at).pod = None;
    }
    for _ in 0..2 {
        world.obey();
    }
    world.place(0).pod = Some(held("new-0", true));
    world.place(1).pod = Some(held("new-1", true));
    for _ in 0..2 {
        world.obey();
    }
    let seed = world.next(&wanted(false, false), false).unwrap();
    assert_eq!(orders(&[seed]), [("m-1".to_owned(), Order::Restore)]);
}

#[test]
fn what_an_earlier_recovery_restored_counts_and_what_it_only_began_to_does_not() {
    let made = |order, begun| {
        Some(Memory {
            task: "before".to_owned(),
            order,
            begun,
        })
    };
    let of = |cluster: &str, revision, made| Holding::Data {
        cluster: cluster.to_owned(),
        term: 1,
        index: 1,
        revision,
        made,
    };
    let source = |holds: &[Holding]| {
        let mut world = World::of(holds, Backup::None);
        for (at, hold) in holds.iter().enumerate() {
            let told = Instruction::new(TASK, Order::Hold);
            world.place(at).says = Some(told.report(Course::Holds { data: hold.clone() }));
            world.place(at).told = Some(told);
        }
        world.next(&wanted(true, false), true)
    };
    let seed = |at: usize| {
        let told = Instruction::new(TASK, Order::Alone);
        let name = MemberName(format!("m-{at}"));
        Ok(Next::Tell(BTreeMap::from([(name, Some(told))])))
    };
    let old = of("c", 9, None);
    let restored = of("d", 8, made(Order::Restore, false));
    assert_eq!(source(&[old.clone(), restored.clone()]), seed(1));
    // Whoever has joined it since is of its history.
    let joined = Holding::Data {
        cluster: "d".to_owned(),
        term: 2,
        index: 5,
        revision: 12,
        made: None,
    };
    assert_eq!(source(&[old.clone(), restored.clone(), joined]), seed(2));
    let begun = of("d", 8, made(Order::Restore, true));
    assert_eq!(source(&[begun.clone(), old.clone()]), seed(1));
    assert_eq!(source(&[Holding::Nothing, begun]), seed(1));
    // Alone it is of the same history as before.
    let alone = of("d", 8, made(Order::Alone, false));
    let names = |at: usize| MemberName(format!("m-{at}"));
    let two = Err(Obstacle::TwoClusters(names(0), names(1)));
    assert_eq!(source(&[old, alone]), two);
    let again = of("e", 8, made(Order::Restore, false));
    assert_eq!(source(&[restored, again]), two);
}

#[test]
fn a_seed_that_turns_out_to_be_behind_the_backup_is_told_of() {
    for (order, expected) in [
        (Order::Alone, "revisions 6 to 8: the backup has them"),
        (
            Order::Restore,
            "what was written after revision 5: on trial the backup was restored up to 8",
        ),
    ] {
        let mut world = founded();
        world.backup = restorable_to(8);
        world.result.backup_revision = Some(8);
        world.revision = 5;
        let told = Instruction::new(TASK, order);
        world.place(0).says = Some(told.report(Course::Done));
        world.place(0).told = Some(told);
        let Next::Record(result) = world.next(&wanted(false, false), true).unwrap() else {
            panic!("it is recorded");
        };
        let loss = result.possible_loss.unwrap();
        assert!(loss.starts_with(expected), "{loss}");
    }
}

#[test]
fn a_place_is_read_from_its_objects() {
    let pod = |state: serde_json::Value| -> Pod {
        serde_json::from_value(json!({
            "metadata": { "uid": "p", "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "status": { "containerStatuses": [{ "name": "etcd", "image": "", "imageID": "",
                "ready": false, "restartCount": 0, "state": state }] },
        }))
        .unwrap()
    };
    let waits = pod(json!({ "waiting": {} }));
    let place = Place::of(Some(&waits), None, None);
    let expected = Held {
        uid: "p".to_owned(),
        leaves: true,
        ran: false,
        ready: false,
    };
    assert_eq!(place.pod, Some(expected));
    assert_eq!(
        (place.claim, place.told, place.says, place.lost),
        (None, None, None, None)
    );
    for state in [
        json!({ "running": {} }),
        json!({ "terminated": { "exitCode": 1 } }),
    ] {
        assert!(Place::of(Some(&pod(state)), None, None).runs());
    }
    let claim = |phase: &str| -> PersistentVolumeClaim {
        serde_json::from_value(json!({ "metadata": { "uid": "c" }, "status": { "phase": phase } }))
            .unwrap()
    };
    assert!(Place::of(None, Some(&claim("Lost")), None).lost.is_some());
    assert!(Place::of(None, Some(&claim("Bound")), None).lost.is_none());
    let told = Instruction::new(TASK, Order::Hold);
    let report = told.report(Course::Done);
    let mut lease = report.patch();
    lease["metadata"]["annotations"][crate::agent::recovery::INSTRUCTION] = told.to_text().into();
    let lease: Lease = serde_json::from_value(lease).unwrap();
    let place = Place::of(None, None, Some(&lease));
    assert_eq!((place.told, place.says), (Some(told), Some(report)));
}

#[test]
fn how_long_it_may_take_is_read_with_the_field_that_is_wrong() {
    let asked = |stop: &str| RecoverFromQuorumLoss {
        scale_down_timeout: stop.to_owned(),
        pod_ready_timeout: "3m".to_owned(),
        etcd_ready_timeout: "300s".to_owned(),
        ..RecoverFromQuorumLoss::default()
    };
    assert_eq!(Recovery::of(&asked("60s")).unwrap(), wanted(false, false));
    // The trial and its repetition, to hold, to begin, to be whole, and some more.
    let limit = 30 * 60 + 180 + 240 + 360 + 300 + 60;
    assert_eq!(
        wanted(false, false).limit(),
        SignedDuration::from_secs(limit)
    );
    for bad in ["", "0s", "-1s", "soon"] {
        let said = Recovery::of(&asked(bad)).unwrap_err().to_string();
        assert!(
            said.contains("scaleDownTimeout") && said.contains("90s"),
            "{said}"
        );
    }
}
