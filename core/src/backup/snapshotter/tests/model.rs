//! Random events against a model of etcd, the watch and the store.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::backup::listing::Listing;

#[derive(Clone, Debug)]
enum Op {
    Write(u8),
    Pass(u8),
    Pump,
    Reply(u8),
    Fail(u8),
    Compact,
    Ask(Wanted),
    Led,
    Deposed,
    Unknown,
    BreakWatch,
    LoseSpool,
    OtherWriter,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1u8..9).prop_map(Op::Write),
        6 => (1u8..60).prop_map(Op::Pass),
        10 => Just(Op::Pump),
        14 => any::<u8>().prop_map(Op::Reply),
        3 => any::<u8>().prop_map(Op::Fail),
        1 => Just(Op::Compact),
        1 => any::<bool>().prop_map(|is_final| Op::Ask(Wanted::Full { is_final })),
        2 => Just(Op::Ask(Wanted::Delta)),
        2 => Just(Op::Led),
        1 => Just(Op::Deposed),
        1 => Just(Op::Unknown),
        1 => Just(Op::BreakWatch),
        1 => Just(Op::LoseSpool),
        1 => Just(Op::OtherWriter),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Survey,
    Revision,
    Full,
    Upload,
}

#[derive(Debug, Default)]
struct Capture {
    open: bool,
    held: bool,
    paused: bool,
    /// The last revision that was read.
    read: i64,
    spool: Option<Spool>,
    split: Option<i64>,
}

struct World {
    machine: Snapshotter<Hourly>,
    now: i64,
    revision: i64,
    compacted: i64,
    writes: Vec<(i64, i64)>,
    store: Vec<Object>,
    capture: Capture,
    sealed: BTreeMap<u64, Sealed>,
    next_id: u64,
    jobs: BTreeMap<Job, VecDeque<i64>>,
    full: Option<(Option<i64>, Option<i64>, bool)>,
    unless: Option<Revision>,
    uppers: Vec<(i64, i64)>,
    asked: BTreeMap<u64, i64>,
    next_request: u64,
    failures: BTreeMap<Job, Vec<i64>>,
    opened: Vec<i64>,
    finished: bool,
}

impl World {
    fn new() -> Self {
        Self {
            machine: Snapshotter::new(config(), Hourly),
            now: 0,
            revision: 1,
            compacted: 0,
            writes: Vec::new(),
            store: Vec::new(),
            capture: Capture::default(),
            sealed: BTreeMap::new(),
            next_id: 0,
            jobs: BTreeMap::new(),
            full: None,
            unless: None,
            uppers: Vec::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            failures: BTreeMap::new(),
            opened: Vec::new(),
            finished: false,
        }
    }

    fn send(&mut self, event: Event) {
        let actions = self.machine.on(event, at(self.now), 0);
        for action in actions {
            self.act(action);
        }
        self.check();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Survey => self.job(Job::Survey, 0),
            Action::AskRevision => self.job(Job::Revision, 0),
            Action::OpenWatch { from } => {
                assert!(!self.capture.open, "opened twice");
                self.opened.push(self.now);
                self.capture.open = true;
                self.capture.paused = false;
                let spooled = self.capture.spool.map(|it| it.to.get());
                assert!(
                    spooled.is_none_or(|it| it + 1 == from.get()),
                    "a hole in the spool"
                );
                self.capture.read = from.get() - 1;
            }
            Action::CloseWatch => self.capture = Capture::default(),
            Action::Pause => self.capture.paused = true,
            Action::Resume => self.capture.paused = false,
            Action::SplitAfter(revision) => {
                assert!(
                    self.capture.spool.is_none_or(|it| it.to <= revision),
                    "too late to split"
                );
                self.capture.split = Some(revision.get());
                self.capture.held = false;
            }
            Action::Release => self.capture.held = false,
            Action::Seal => {
                let sealed = self.seal();
                self.send(Event::Sealed(sealed));
            }
            Action::Discard { id } => drop(self.sealed.remove(&id)),
            Action::Upload { id } => {
                let first = self.sealed.keys().next();
                assert_eq!(first, Some(&id), "out of order");
                self.job(Job::Upload, i64::try_from(id).unwrap());
            }
            Action::TakeFull {
                is_final, unless, ..
            } => {
                assert!(self.full.is_none());
                self.unless = unless;
                self.full = Some((None, None, is_final));
                self.capture.held = true;
                self.job(Job::Full, 0);
            }
            Action::CancelFull => {
                self.full = None;
                self.jobs.remove(&Job::Full);
            }
            Action::Renew(_) => {}
            Action::Collect => self.send(Event::Collected),
            Action::Answer { id, answer } => {
                let by = self.asked.remove(&id);
                assert!(by.is_some(), "answered twice");
                if let Answer::Taken(object) = answer {
                    assert!(self.store.contains(&object), "{object:?} was never written");
                }
            }
            Action::Abandon => {
                self.capture = Capture::default();
                self.sealed.clear();
                self.jobs.clear();
                self.full = None;
            }
            Action::Finish => self.finished = true,
        }
    }

    fn job(&mut self, job: Job, argument: i64) {
        self.jobs.entry(job).or_default().push_back(argument);
    }

    fn seal(&mut self) -> Option<Sealed> {
        let spool = self.capture.spool.take()?;
        let sealed = Sealed {
            id: self.next_id,
            start: spool.start,
            last: spool.to,
        };
        self.next_id += 1;
        self.sealed.insert(sealed.id, sealed);
        Some(sealed)
    }

    fn pump(&mut self) {
        let capture = &mut self.capture;
        if !capture.open || capture.held || capture.paused {
            return;
        }
        let next = capture.read + 1;
        if next <= self.compacted {
            capture.open = false;
            return self.send(Event::WatchEnded(WatchEnd::Compacted));
        }
        if next > self.revision {
            return;
        }
        if let (Some(split), Some(spool)) = (capture.split, capture.spool)
            && next > split
            && spool.to.get() <= split
        {
            capture.split = None;
            let sealed = self.seal().unwrap();
            return self.send(Event::Split(sealed));
        }
        capture.read = next;
        let spool = capture.spool.get_or_insert(Spool {
            start: r(next),
            to: r(next),
            bytes: 0,
        });
        spool.to = r(next);
        spool.bytes += 300;
        let spool = *spool;
        self.send(Event::Spooled(spool));
    }

    fn pick(&mut self, which: u8) -> Option<(Job, i64)> {
        let jobs: Vec<Job> = self.jobs.keys().copied().collect();
        let job = *jobs.get(usize::from(which) % jobs.len().max(1))?;
        let queue = self.jobs.get_mut(&job)?;
        let argument = queue.pop_front()?;
        if queue.is_empty() {
            self.jobs.remove(&job);
        }
        Some((job, argument))
    }

    fn reply(&mut self, which: u8) {
        let Some((job, argument)) = self.pick(which) else {
            return;
        };
        match job {
            Job::Survey => {
                let store = Box::new(view(&self.store));
                let etcd = r(self.revision);
                self.send(Event::Surveyed { store, etcd });
            }
            Job::Revision => self.send(Event::AtRevision(r(self.revision))),
            Job::Upload => {
                let id = u64::try_from(argument).unwrap();
                let sealed = self.sealed.remove(&id).unwrap();
                for (named, upper) in &self.uppers {
                    if sealed.start.get() == named + 1 && self.compacted <= *named {
                        assert!(sealed.last.get() >= *upper, "cut below the upper bound");
                    }
                }
                let object = delta(sealed.start.get(), sealed.last.get(), at(self.now));
                self.store.push(object.clone());
                self.send(Event::DeltaDone { id, object });
            }
            Job::Full => self.full_goes_on(),
        }
    }

    fn full_goes_on(&mut self) {
        let (named, upper, is_final) = self.full.unwrap();
        match (named, upper) {
            (None, _) if self.unless == Some(r(self.revision)) => {
                self.full = None;
                self.send(Event::FullUnneeded);
                let held = self.capture.held && self.full.is_none();
                assert!(!held, "the watch is held back for nothing");
            }
            (None, _) => {
                let named = self.revision;
                self.full = Some((Some(named), None, is_final));
                self.job(Job::Full, 0);
                self.send(Event::FullBegan { named: r(named) });
            }
            (Some(named), None) => {
                let upper = self.revision;
                self.full = Some((Some(named), Some(upper), is_final));
                self.job(Job::Full, 0);
                self.send(Event::FullBound { upper: r(upper) });
            }
            (Some(named), Some(upper)) => {
                self.full = None;
                let object = full(named, at(self.now), is_final);
                self.store.push(object.clone());
                self.uppers.push((named, upper));
                self.send(Event::FullDone(object));
            }
        }
    }

    fn fail(&mut self, which: u8) {
        let Some((job, argument)) = self.pick(which) else {
            return;
        };
        self.failures.entry(job).or_default().push(self.now);
        let why = "no".to_owned();
        match job {
            Job::Survey => self.send(Event::SurveyFailed(why)),
            Job::Revision => self.send(Event::RevisionFailed(why)),
            Job::Upload => {
                let id = u64::try_from(argument).unwrap();
                self.send(Event::DeltaFailed { id, why });
            }
            Job::Full => {
                self.full = None;
                self.send(Event::FullFailed(why));
            }
        }
    }

    /// Time passes; the machine is woken whenever it wants.
    fn pass(&mut self, seconds: i64) {
        let end = self.now + seconds;
        loop {
            let base = at(0);
            let wakeup = self.machine.next_wakeup().map(|it| {
                let millis = it.duration_since(base).as_millis();
                i64::try_from(millis)
                    .unwrap_or(i64::MAX)
                    .saturating_add(999)
                    .div_euclid(1000)
            });
            let Some(wakeup) = wakeup.filter(|it| *it <= end) else {
                break;
            };
            assert!(
                wakeup > self.now,
                "woken in the past: {wakeup} at {}",
                self.now
            );
            self.now = wakeup;
            self.send(Event::Tick);
        }
        self.now = end;
        let overdue = self.asked.values().find(|by| **by < self.now);
        assert_eq!(overdue, None, "a request hangs at {}", self.now);
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Write(count) => {
                for _ in 0..*count {
                    self.revision += 1;
                    self.writes.push((self.revision, self.now));
                }
            }
            Op::Pass(seconds) => self.pass(i64::from(*seconds)),
            Op::Pump => (0..6).for_each(|_| self.pump()),
            Op::Reply(which) => self.reply(*which),
            Op::Fail(which) => self.fail(*which),
            Op::Compact => self.compacted = self.revision,
            Op::Ask(wanted) => {
                let id = self.next_request;
                self.next_request += 1;
                self.asked.insert(id, self.now + 100);
                let by = at(self.now + 100);
                self.send(Event::Asked {
                    id,
                    wanted: *wanted,
                    by,
                });
            }
            Op::Led => self.send(Event::Led),
            Op::Deposed => self.send(Event::Deposed),
            Op::Unknown => self.send(Event::LeaderUnknown),
            Op::BreakWatch => {
                if self.capture.open {
                    self.capture.open = false;
                    self.send(Event::WatchEnded(WatchEnd::Failed("gone".to_owned())));
                }
            }
            Op::LoseSpool => {
                if self.capture.open {
                    self.capture.open = false;
                    self.capture.spool = None;
                    self.send(Event::SpoolFailed("disk full".to_owned()));
                }
            }
            Op::OtherWriter => {
                if let Some(to) = self.reach().filter(|it| *it < self.revision) {
                    self.store.push(delta(to + 1, self.revision, at(self.now)));
                }
            }
        }
    }

    /// What the store restores.
    fn reach(&self) -> Option<i64> {
        let keys: Vec<String> = self.store.iter().map(|it| it.key.to_string()).collect();
        let listed = keys.iter().map(|it| (it.as_str(), Some(100)));
        let listing = Listing::read(&Prefix::parse("p").unwrap(), listed);
        if listing.snapshots().is_empty() {
            return None;
        }
        Some(listing.newest().expect("the chain has a hole").to.get())
    }

    fn check(&self) {
        let state = self.machine.state(at(self.now));
        let reach = self.reach();
        if let Some(covered) = state.covered {
            assert!(
                Some(covered.get()) <= reach,
                "{covered} is said to be covered"
            );
        }
        if let Some(as_of) = state.as_of {
            let missing = self.writes.iter().find(|(revision, time)| {
                at(*time) < as_of && Some(*revision) > reach && state.covered.is_some()
            });
            assert_eq!(missing, None, "not in the store, covered as of {as_of}");
        }
    }

    /// Everything succeeds from now on.
    fn settle(&mut self) {
        for _ in 0..4000 {
            if self.finished {
                break;
            }
            (0..20).for_each(|_| self.pump());
            self.reply(0);
            if self.jobs.is_empty() {
                self.pass(1);
            }
        }
    }
}

/// No more than so many of `times` in any minute.
fn bounded(times: &[i64], most: usize) -> bool {
    times.iter().all(|from| {
        times
            .iter()
            .filter(|it| (*from..*from + 60).contains(*it))
            .count()
            <= most
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_chain_is_whole_and_every_request_is_answered(
        ops in proptest::collection::vec(op(), 1..220)
    ) {
        let mut world = World::new();
        world.send(Event::Led);
        for op in &ops {
            world.run(op);
        }
        // A leader that is left alone covers everything, and then at the end, too.
        world.send(Event::Led);
        for _ in 0..300 {
            (0..20).for_each(|_| world.pump());
            world.reply(0);
            world.pass(1);
        }
        world.settle_writes();
        prop_assert_eq!(world.reach(), Some(world.revision));
        world.run(&Op::Write(5));
        let by = at(world.now + 30);
        world.send(Event::Stop { by });
        world.settle();
        prop_assert!(world.finished);
        prop_assert_eq!(world.reach(), Some(world.revision));
        prop_assert!(world.asked.is_empty());
    }

    #[test]
    fn what_always_fails_is_tried_a_bounded_number_of_times(
        ops in proptest::collection::vec(op(), 1..60), only in 0usize..4
    ) {
        let mut world = World::new();
        world.send(Event::Led);
        for op in &ops {
            world.run(op);
        }
        world.failures.clear();
        world.opened.clear();
        let bad = [Job::Survey, Job::Revision, Job::Full, Job::Upload][only];
        world.send(Event::Deposed);
        world.send(Event::Led);
        for second in 0..400 {
            if second % 7 == 0 {
                world.run(&Op::Write(1));
                world.run(&Op::BreakWatch);
            }
            (0..20).for_each(|_| world.pump());
            while let Some(index) = world.jobs.keys().position(|it| *it != bad) {
                world.reply(u8::try_from(index).unwrap());
                (0..20).for_each(|_| world.pump());
            }
            if world.jobs.contains_key(&bad) {
                world.fail(0);
            }
            world.pass(1);
        }
        for (job, times) in &world.failures {
            prop_assert!(bounded(times, 9), "{:?}: {:?}", job, times);
        }
        prop_assert!(bounded(&world.opened, 30), "{:?}", world.opened);
    }
}

impl World {
    /// Until a delta was cut after the last write.
    fn settle_writes(&mut self) {
        for _ in 0..400 {
            (0..20).for_each(|_| self.pump());
            self.reply(0);
            if self.jobs.is_empty() {
                self.pass(1);
            }
        }
    }
}
