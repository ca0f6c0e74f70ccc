//! While we lead and etcd and store agree: watch, deltas and full snapshots.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::super::Revision;
use super::super::listing::Object;
use super::super::names::Key;
use super::backoff::{Moment, Op, later};
use super::machine::{Role, Shared, Waiting, created};
use super::view::StoreView;
use super::{
    Action, Answer, Denial, Diverged, Event, Lease, Schedule, Sealed, Spool, Wanted, WatchEnd, Why,
};

/// Deltas that may wait for their upload while a further one is filled. Beyond, the watch is left
/// unread; etcd keeps what it has to say.
const QUEUE: usize = 4;
/// How long the watch may take to come to a revision that etcd has.
const STALL: SignedDuration = SignedDuration::from_secs(30);
/// The same when we are about to end.
const STALL_AT_END: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about what is under way"
)]
pub(super) struct Running {
    pub(super) base: Option<Object>,
    /// The store has everything up to here.
    pub(super) covered: Option<Revision>,
    pub(super) as_of: Option<Timestamp>,
    pub(super) started: Timestamp,
    pub(super) newest_delta: Option<Revision>,
    pub(super) queue: VecDeque<Queued>,
    pub(super) full: Option<FullRun>,
    pub(super) next_full: Option<Timestamp>,
    newest: Option<Key>,
    link: Link,
    /// Everything up to here was cut, or came before the watch.
    floor: Option<Revision>,
    spool: Option<Spool>,
    sealing: bool,
    paused: bool,
    /// etcd no longer has what follows `covered`.
    cut_off: bool,
    /// What is watched connects only to the full snapshot of this name, which is being taken.
    floating: Option<Revision>,
    due: Option<Why>,
    holds: Vec<Hold>,
    flush: Flush,
    flushed_to_stop: bool,
    /// The last revision that etcd told, and when it was asked.
    mark: Option<(Revision, Timestamp)>,
    next_delta: Timestamp,
    next_collection: Option<Timestamp>,
    collecting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Closed,
    Open,
    Broken,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    sealed: Sealed,
    uploading: bool,
}

/// A full snapshot that is being taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct FullRun {
    named: Option<Revision>,
    is_final: bool,
    sequence: u64,
    began: Timestamp,
    /// A watch goes on, or went on, from its name.
    watched: bool,
}

/// What deltas have to reach because of a full snapshot's name.
#[derive(Clone, Copy, Debug)]
struct Hold {
    named: Revision,
    upper: Option<Revision>,
}

/// On the way to a cut that has everything up to now.
#[derive(Clone, Copy, Debug)]
enum Flush {
    None,
    Asking {
        at: Timestamp,
        sequence: u64,
    },
    Reaching {
        at: Timestamp,
        sequence: u64,
        goal: Revision,
    },
}

impl Running {
    pub(super) fn new(
        store: StoreView,
        usable: bool,
        due: Option<Why>,
        next_full: Option<Timestamp>,
        shared: &Shared,
        now: Timestamp,
        etcd: Revision,
    ) -> Self {
        let covered = store.covered.filter(|_| usable);
        // How far the content of a full snapshot without deltas goes is not known any more.
        let base = store.base.as_ref().map(|it| it.key.name.last());
        let hold = base.filter(|it| Some(*it) == covered).map(|named| Hold {
            named,
            upper: Some(etcd),
        });
        Self {
            base: store.base,
            covered,
            as_of: None,
            started: now,
            newest_delta: store.newest_delta,
            queue: VecDeque::new(),
            full: None,
            next_full,
            newest: store.newest,
            link: Link::Closed,
            floor: None,
            spool: None,
            sealing: false,
            paused: false,
            cut_off: false,
            floating: None,
            due,
            holds: hold.into_iter().collect(),
            flush: Flush::None,
            flushed_to_stop: false,
            mark: None,
            // What happened while nobody watched is taken at once.
            next_delta: now,
            next_collection: shared.config.collection_period.map(|it| later(now, it)),
            collecting: false,
        }
    }

    pub(super) fn spooled(&self) -> u64 {
        self.spool.map_or(0, |it| it.bytes)
    }

    pub(super) fn timers(&self) -> Vec<Timestamp> {
        let mut times = vec![self.next_delta];
        times.extend(self.next_full);
        times.extend(self.next_collection);
        if let Flush::Reaching { at, .. } = self.flush {
            times.push(later(at, STALL_AT_END));
            times.push(later(at, STALL));
        }
        times
    }

    pub(super) fn shift(&mut self, shift: impl Fn(&mut Timestamp)) {
        shift(&mut self.next_delta);
        shift(&mut self.started);
        self.next_full.iter_mut().for_each(&shift);
        self.next_collection.iter_mut().for_each(&shift);
        self.as_of.iter_mut().for_each(&shift);
        match &mut self.flush {
            Flush::None => {}
            Flush::Asking { at, .. } | Flush::Reaching { at, .. } => shift(at),
        }
        if let Some((_, at)) = &mut self.mark {
            shift(at);
        }
        if let Some(full) = &mut self.full {
            shift(&mut full.began);
        }
    }

    /// Nothing of what was seen before the end is still to be written.
    pub(super) fn is_flushed(&self, shared: &Shared) -> bool {
        let nothing_to_do = shared.config.delta_period.is_none() || self.link == Link::Closed;
        let flushed = self.flushed_to_stop || nothing_to_do;
        let stuck = self
            .queue
            .front()
            .is_some_and(|it| !self.connects(&it.sealed));
        flushed && !self.sealing && (self.queue.is_empty() || stuck)
    }

    pub(super) fn take(
        &mut self,
        event: Event,
        shared: &mut Shared,
        moment: Moment,
    ) -> Result<(), Diverged> {
        match event {
            Event::AtRevision(etcd) => return self.at_revision(etcd, shared),
            Event::RevisionFailed(why) => self.revision_failed(why, shared, moment),
            Event::Spooled(spool) => self.spool = Some(spool),
            Event::Sealed(sealed) => {
                self.sealing = false;
                self.enqueue(sealed);
            }
            Event::Split(sealed) => self.enqueue(Some(sealed)),
            Event::WatchEnded(end) => self.watch_ended(end, shared, moment),
            Event::SpoolFailed(why) => {
                self.spool = None;
                self.sealing = false;
                self.broken(why, shared, moment);
            }
            Event::FullBegan { named } => return self.full_began(named, shared),
            Event::FullBound { upper } => {
                let unknown = |it: &&mut Hold| it.upper.is_none();
                for hold in self.holds.iter_mut().filter(unknown) {
                    hold.upper = Some(upper);
                }
            }
            Event::FullDone(object) => self.full_done(object, shared),
            Event::FullUnneeded => self.full_unneeded(shared),
            Event::FullFailed(why) => self.full_failed(why, shared, moment),
            Event::DeltaDone { id, object } => self.delta_done(id, object, shared),
            Event::DeltaFailed { id, why } => self.delta_failed(id, &why, shared, moment),
            Event::Collected => self.collecting = false,
            // Not ours.
            Event::Tick
            | Event::Led
            | Event::Deposed
            | Event::LeaderUnknown
            | Event::Surveyed { .. }
            | Event::SurveyFailed(_)
            | Event::Asked { .. }
            | Event::Stop { .. } => {}
        }
        Ok(())
    }

    /// Does whatever is due.
    pub(super) fn step<S: Schedule>(&mut self, shared: &mut Shared, schedule: &S, moment: Moment) {
        let now = moment.now;
        if self.next_full.is_some_and(|it| it <= now) {
            self.due.get_or_insert(Why::Scheduled);
            self.next_full = schedule.next_after(now);
        }
        self.collect(shared, now);
        if shared.config.delta_period.is_some() {
            self.watch(shared, now);
            // In this order: what was asked for meanwhile is asked at once, for nothing else may happen.
            self.reach(shared, moment);
            self.ask(shared, now);
            self.cut_at_limit(shared);
            self.upload(shared, now);
        }
        self.take_full(shared, now);
    }

    fn collect(&mut self, shared: &mut Shared, now: Timestamp) {
        let Some(period) = shared.config.collection_period else {
            return;
        };
        if self.next_collection.is_none_or(|it| it > now) {
            return;
        }
        self.next_collection = Some(later(now, period));
        if !self.collecting && shared.stopping.is_none() {
            self.collecting = true;
            shared.act(Action::Collect);
        }
    }

    fn watch(&mut self, shared: &mut Shared, now: Timestamp) {
        if self.link == Link::Closed && shared.stopping.is_none() {
            let full = self.full.as_mut().filter(|it| !it.watched);
            let named = full.and_then(|full| {
                full.watched = full.named.is_some();
                full.named
            });
            let floor = named.or(self.covered.filter(|_| !self.cut_off));
            if floor.is_some() {
                self.floor = floor;
                self.floating = named;
                self.link = Link::Broken;
            }
        }
        let ready = shared.troubles.ready(Op::Watch, now);
        if self.link == Link::Broken && ready && !self.sealing {
            self.link = Link::Open;
            self.paused = false;
            if let Some(reach) = self.reached() {
                shared.act(Action::OpenWatch { from: reach.next() });
            }
        }
        let pause = self.queue.len() >= QUEUE && self.spooled() >= shared.config.delta_limit;
        if self.link == Link::Open && pause != self.paused {
            self.paused = pause;
            shared.act(if pause { Action::Pause } else { Action::Resume });
        }
    }

    /// How far the watch has come.
    fn reached(&self) -> Option<Revision> {
        self.spool.map(|it| it.to).max(self.floor)
    }

    fn ask(&mut self, shared: &mut Shared, now: Timestamp) {
        match self.flush {
            Flush::None => {}
            Flush::Asking { .. } | Flush::Reaching { .. } => return,
        }
        let asked = |it: &Waiting| it.wanted == Wanted::Delta && it.delta.is_none();
        let stop = shared.stopping.is_some() && !self.flushed_to_stop;
        let wanted = stop || self.next_delta <= now || shared.waiting.iter().any(asked);
        if self.link == Link::Closed || !wanted || !shared.troubles.ready(Op::Revision, now) {
            return;
        }
        self.flush = Flush::Asking {
            at: now,
            sequence: shared.sequence,
        };
        shared.act(Action::AskRevision);
    }

    fn at_revision(&mut self, etcd: Revision, shared: &mut Shared) -> Result<(), Diverged> {
        let Flush::Asking { at, sequence } = self.flush else {
            return Ok(());
        };
        shared.troubles.over(Op::Revision);
        self.compare(etcd)?;
        self.mark = Some((etcd, at));
        self.flush = Flush::Reaching {
            at,
            sequence,
            goal: etcd,
        };
        Ok(())
    }

    /// Whether etcd has all that the store has.
    fn compare(&self, etcd: Revision) -> Result<(), Diverged> {
        match (&self.newest, self.covered) {
            (Some(newest), Some(covered)) if etcd < covered => Err(Diverged {
                etcd,
                store: covered,
                object: Box::new(newest.clone()),
            }),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    fn revision_failed(&mut self, why: String, shared: &mut Shared, moment: Moment) {
        let Flush::Asking { at, sequence } = self.flush else {
            return;
        };
        shared.fail(Op::Revision, why, moment);
        self.flush = match self.reached() {
            // etcd is gone: what was seen is all there is.
            Some(goal) if shared.stopping.is_some() => Flush::Reaching { at, sequence, goal },
            Some(_) | None => Flush::None,
        };
    }

    fn reach(&mut self, shared: &mut Shared, moment: Moment) {
        let Flush::Reaching { at, sequence, goal } = self.flush else {
            return;
        };
        // At the end there is no time to wait for a watch that does not come on.
        let late = self.link != Link::Open || later(at, STALL_AT_END) <= moment.now;
        let goal = if shared.stopping.is_some() && late {
            self.holds.clear();
            self.reached().unwrap_or(goal)
        } else {
            goal
        };
        if self.reached().max(self.covered) < Some(goal) {
            if later(at, STALL) <= moment.now {
                self.flush = Flush::None;
                if !self.paused && self.link == Link::Open {
                    shared.act(Action::CloseWatch);
                    self.spool = None;
                    self.sealing = false;
                    let why = format!("the watch did not come to revision {goal}");
                    self.broken(why, shared, moment);
                }
            }
            return;
        }
        if self.spool.is_some() {
            self.seal(shared);
            return;
        }
        // With nothing to upload, what is missing comes with the full snapshot that is under way.
        let comes = self.queue.is_empty() && self.covered < Some(goal);
        if !self.sealing && (!comes || shared.stopping.is_some()) {
            self.flushed(at, sequence, shared, moment.now);
        }
    }

    /// Everything up to a moment is cut. What is cut answers those who asked before.
    fn flushed(&mut self, at: Timestamp, sequence: u64, shared: &mut Shared, now: Timestamp) {
        self.flush = Flush::None;
        self.flushed_to_stop |= shared.stopping.is_some() && sequence >= shared.stop_sequence;
        shared.troubles.over(Op::Watch);
        if let Some(period) = shared.config.delta_period {
            self.next_delta = later(at, period).max(now);
        }
        if let Some(id) = self.queue.back().map(|it| it.sealed.id) {
            let asked = |it: &&mut Waiting| it.wanted == Wanted::Delta && it.sequence <= sequence;
            for request in shared.waiting.iter_mut().filter(asked) {
                request.delta.get_or_insert(id);
            }
            return;
        }
        if self.covered >= self.mark.map(|it| it.0) {
            self.as_of = self.as_of.max(Some(at));
            let last = self.newest_delta;
            shared.act(Action::Renew(Lease::Delta { last }));
        }
        shared.answer(&Answer::Nothing, |it| {
            it.wanted == Wanted::Delta && it.sequence <= sequence
        });
    }

    /// Asks for a cut, if that may be.
    fn seal(&mut self, shared: &mut Shared) {
        let Some(spool) = self.spool else { return };
        let may = self
            .holds
            .iter()
            .all(|hold| spool.start <= hold.named || hold.upper.is_some_and(|it| spool.to >= it));
        if may && !self.sealing {
            self.sealing = true;
            shared.act(Action::Seal);
        }
    }

    fn cut_at_limit(&mut self, shared: &mut Shared) {
        if self.spooled() >= shared.config.delta_limit && self.queue.len() < QUEUE {
            self.seal(shared);
        }
    }

    fn enqueue(&mut self, sealed: Option<Sealed>) {
        self.spool = None;
        let Some(sealed) = sealed else { return };
        self.floor = self.floor.max(Some(sealed.last));
        let open = |it: &Hold| it.upper.is_none_or(|upper| sealed.last < upper);
        self.holds.retain(open);
        self.queue.push_back(Queued {
            sealed,
            uploading: false,
        });
    }

    fn connects(&self, delta: &Sealed) -> bool {
        self.covered.is_some_and(|it| delta.start <= it.next())
    }

    fn upload(&mut self, shared: &mut Shared, now: Timestamp) {
        let ready = shared.troubles.ready(Op::Upload, now);
        let Some(front) = self.queue.front().copied() else {
            return;
        };
        if front.uploading || !ready || !self.connects(&front.sealed) {
            return;
        }
        let id = front.sealed.id;
        if let Some(front) = self.queue.front_mut() {
            front.uploading = true;
        }
        shared.act(Action::Upload { id });
    }

    fn delta_done(&mut self, id: u64, object: Object, shared: &mut Shared) {
        if self.queue.front().is_none_or(|it| it.sealed.id != id) {
            return;
        }
        self.queue.pop_front();
        shared.troubles.over(Op::Upload);
        let last = object.key.name.last();
        self.covered = self.covered.max(Some(last));
        self.newest_delta = self.newest_delta.max(Some(last));
        if self.newest.as_ref().is_none_or(|it| it.name.last() <= last) {
            self.newest = Some(object.key.clone());
        }
        if let Some((revision, at)) = self.mark
            && self.covered >= Some(revision)
        {
            self.as_of = self.as_of.max(Some(at));
        }
        let last = self.newest_delta;
        shared.act(Action::Renew(Lease::Delta { last }));
        let answer = Answer::Taken(Box::new(object));
        shared.answer(&answer, |it| it.delta == Some(id));
    }

    fn delta_failed(&mut self, id: u64, why: &str, shared: &mut Shared, moment: Moment) {
        let Some(front) = self.queue.front_mut().filter(|it| it.sealed.id == id) else {
            return;
        };
        front.uploading = false;
        shared.fail(Op::Upload, why.to_owned(), moment);
        let answer = Answer::Refused(Denial::Failed(why.to_owned()));
        shared.answer(&answer, |it| it.wanted == Wanted::Delta);
    }

    fn watch_ended(&mut self, end: WatchEnd, shared: &mut Shared, moment: Moment) {
        let why = match end {
            WatchEnd::Failed(why) => return self.broken(why, shared, moment),
            WatchEnd::Compacted => "etcd compacted what was not watched yet".to_owned(),
            WatchEnd::Gap { after, found } => {
                format!("after revision {after} the watch went on with {found}")
            }
        };
        // The first time a full snapshot is taken at once; if that did not help, later.
        if shared.troubles.0.contains_key(&Op::Watch) {
            shared.fail(Op::Full, format!("{why}, again"), moment);
        }
        shared.fail(Op::Watch, why.clone(), moment);
        self.link = Link::Closed;
        self.cut_off = true;
        self.due = Some(Why::Missed(why));
        self.flush = Flush::None;
        if self.spool.is_some() && !self.sealing {
            self.sealing = true;
            shared.act(Action::Seal);
        }
    }

    fn broken(&mut self, why: String, shared: &mut Shared, moment: Moment) {
        if self.link == Link::Open {
            self.link = Link::Broken;
        }
        shared.fail(Op::Watch, why, moment);
    }

    fn take_full(&mut self, shared: &mut Shared, now: Timestamp) {
        let finals = |it: &Waiting| it.wanted == Wanted::Full { is_final: true };
        let fulls = |it: &Waiting| matches!(it.wanted, Wanted::Full { .. });
        let why = match &self.due {
            Some(why) => why.clone(),
            None if shared.waiting.iter().any(fulls) => Why::Asked,
            None => return,
        };
        let ready = shared.troubles.ready(Op::Full, now);
        let may = shared.role == Role::Leader && shared.stopping.is_none();
        if self.full.is_some() || !ready || !may || self.sealing {
            return;
        }
        let is_final = shared.waiting.iter().any(finals);
        let base = self.base.as_ref().map(|it| &it.key.name);
        let same = base.filter(|it| it.is_final() && is_final && self.due.is_none());
        self.full = Some(FullRun {
            named: None,
            is_final,
            sequence: shared.sequence,
            began: now,
            watched: false,
        });
        shared.act(Action::TakeFull {
            why,
            is_final,
            unless: same.map(super::super::names::Name::last),
        });
    }

    fn full_began(&mut self, named: Revision, shared: &mut Shared) -> Result<(), Diverged> {
        if self.full.is_none() {
            return Ok(());
        }
        self.compare(named)?;
        if let Some(full) = &mut self.full {
            full.named = Some(named);
        }
        self.holds.push(Hold { named, upper: None });
        // A watch that is closed is opened right after the name.
        if let Some(full) = &mut self.full {
            full.watched = self.link != Link::Closed;
        }
        shared.act(Action::SplitAfter(named));
        Ok(())
    }

    fn full_done(&mut self, object: Object, shared: &mut Shared) {
        let Some(full) = self.full.take() else { return };
        shared.full_failed = false;
        let last = object.key.name.last();
        if self.covered.is_none_or(|it| it <= last) {
            self.as_of = self.as_of.max(Some(full.began));
        }
        self.covered = self.covered.max(Some(last));
        self.newest = Some(object.key.clone());
        let created = created(&object);
        shared.act(Action::Renew(Lease::Full { last, created }));
        answer_full(&object, full, shared);
        self.base = Some(object);
        // Revisions that were compacted since then are not in it.
        let open = self.link != Link::Closed || shared.config.delta_period.is_none();
        if open {
            shared.troubles.over(Op::Full);
            self.cut_off = false;
            self.due = None;
        } else {
            let why = "the watch ended while the last one was taken".to_owned();
            self.due = Some(Why::Missed(why));
        }
        self.floating = None;
    }

    fn full_unneeded(&mut self, shared: &mut Shared) {
        self.release(shared);
        let Some(full) = self.full.take() else { return };
        if let Some(base) = self.base.clone() {
            answer_full(&base, full, shared);
        }
    }

    fn full_failed(&mut self, why: String, shared: &mut Shared, moment: Moment) {
        let Some(FullRun { sequence, .. }) = self.full else {
            return;
        };
        self.drop_full(shared);
        shared.full_failed = true;
        self.due.get_or_insert(Why::Failed);
        let answer = Answer::Refused(Denial::Failed(why.clone()));
        let fulls = |it: &Waiting| matches!(it.wanted, Wanted::Full { .. });
        shared.answer(&answer, |it| fulls(it) && it.sequence <= sequence);
        shared.fail(Op::Full, why, moment);
        // Who asked meanwhile gets a try of his own, without waiting for it.
        if shared.waiting.iter().any(fulls) {
            shared.troubles.at_once(Op::Full, moment.now);
        }
    }

    pub(super) fn cancel_full(&mut self, shared: &mut Shared) {
        if self.full.is_some() {
            shared.act(Action::CancelFull);
            self.drop_full(shared);
        }
    }

    /// Forgets a full snapshot that is not there, and what was watched for it alone.
    fn drop_full(&mut self, shared: &mut Shared) {
        self.release(shared);
        let named = self.full.take().and_then(|it| it.named);
        self.holds.retain(|it| Some(it.named) != named);
        let floating = self.floating.take();
        // What the store has meanwhile reaches the name: what was watched connects to that.
        let Some(named) = floating.filter(|it| self.covered < Some(*it)) else {
            return;
        };
        self.floor = None;
        if self.link != Link::Closed {
            shared.act(Action::CloseWatch);
            self.link = Link::Closed;
            self.spool = None;
            self.sealing = false;
            self.flush = Flush::None;
        }
        let (lost, kept): (VecDeque<Queued>, _) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|it| it.sealed.start > named);
        self.queue = kept;
        for it in lost {
            shared.act(Action::Discard { id: it.sealed.id });
        }
    }

    /// A full snapshot that has no name yet holds the watch back.
    fn release(&self, shared: &mut Shared) {
        if self.full.is_some_and(|it| it.named.is_none()) {
            shared.act(Action::Release);
        }
    }
}

/// Whoever asked before it was begun, for a snapshot like this.
fn answer_full(object: &Object, full: FullRun, shared: &mut Shared) {
    let answer = Answer::Taken(Box::new(object.clone()));
    shared.answer(&answer, |it| match it.wanted {
        Wanted::Delta => false,
        Wanted::Full { is_final } => it.sequence <= full.sequence && (full.is_final || !is_final),
    });
}
