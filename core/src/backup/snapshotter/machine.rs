//! Who leads, what is asked, and the way to [`Running`] and out of it.

use jiff::{SignedDuration, Timestamp};

use super::super::Revision;
use super::super::listing::Object;
use super::backoff::{Moment, Op, Troubles, later};
use super::health::{Health, State};
use super::running::Running;
use super::view::StoreView;
use super::{Action, Answer, Config, Denial, Diverged, Event, Schedule, Wanted, Why};

/// While etcd is behind the store, this often it is looked whether it still is.
const DIVERGED_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// So many periods without a word that all is covered are too many.
const LATE_PERIODS: i32 = 3;
/// And some time for an upload.
const LATE_SLACK: SignedDuration = SignedDuration::from_secs(30);
/// Failures in a row that are worth a word.
const FAILING: u32 = 2;

/// The snapshotter. See the module for its rules.
#[derive(Debug)]
pub struct Snapshotter<S> {
    schedule: S,
    phase: Phase,
    shared: Shared,
}

/// What does not depend on the phase.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) troubles: Troubles,
    pub(super) waiting: Vec<Waiting>,
    /// When it has to be over.
    pub(super) stopping: Option<Timestamp>,
    pub(super) stop_sequence: u64,
    pub(super) role: Role,
    /// A full snapshot failed and none has succeeded since.
    pub(super) full_failed: bool,
    /// Counts events: what has a lower number came before.
    pub(super) sequence: u64,
    actions: Vec<Action>,
    /// etcd was behind the store and no full snapshot was taken since.
    foreign: bool,
    finished: bool,
    last: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Follower,
    Unknown,
    Leader,
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) wanted: Wanted,
    pub(super) by: Timestamp,
    pub(super) sequence: u64,
    /// The delta whose upload answers it.
    pub(super) delta: Option<u64>,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Surveying {
        /// When the survey that is under way began, as a number of events.
        running: Option<u64>,
    },
    Diverged {
        diverged: Diverged,
        again: Timestamp,
    },
    Running(Box<Running>),
}

impl Shared {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn fail(&mut self, op: Op, why: String, moment: Moment) {
        let backoff = self.config.backoff;
        self.troubles.note(op, why, moment, &backoff);
    }

    /// Somebody waits: what failed before, and is on the way to this, is tried now. It is once for
    /// each request, so whoever asks does not make it hot.
    fn hurry(&mut self, wanted: Wanted, now: Timestamp) {
        let on_the_way: &[Op] = match wanted {
            Wanted::Full { .. } => &[Op::Survey, Op::Full],
            Wanted::Delta => &[Op::Survey, Op::Watch, Op::Revision, Op::Upload],
        };
        for op in on_the_way {
            self.troubles.at_once(*op, now);
        }
    }

    /// Answers the requests that `which` picks.
    pub(super) fn answer(&mut self, answer: &Answer, which: impl Fn(&Waiting) -> bool) {
        let (answered, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(which);
        self.waiting = rest;
        let answered: Vec<Waiting> = answered;
        for request in answered {
            self.act(Action::Answer {
                id: request.id,
                answer: answer.clone(),
            });
        }
    }

    fn refuse_all(&mut self, denial: Denial) {
        self.answer(&Answer::Refused(denial), |_| true);
    }
}

impl<S: Schedule> Snapshotter<S> {
    /// One that leads nothing yet.
    pub fn new(config: Config, schedule: S) -> Self {
        Self {
            schedule,
            phase: Phase::Idle,
            shared: Shared {
                config,
                troubles: Troubles::default(),
                waiting: Vec::new(),
                stopping: None,
                stop_sequence: 0,
                role: Role::Follower,
                full_failed: false,
                sequence: 0,
                actions: Vec::new(),
                foreign: false,
                finished: false,
                last: None,
            },
        }
    }

    /// Takes an event and says what to do, in order. `chance` is a random number from 0 to 999 that
    /// keeps many from trying again at the same moment.
    pub fn on(&mut self, event: Event, now: Timestamp, chance: u16) -> Vec<Action> {
        let moment = Moment { now, chance };
        if self.shared.finished {
            return late(&event);
        }
        self.turn_back(now);
        self.shared.sequence += 1;
        self.take(event, moment);
        self.step(moment);
        std::mem::take(&mut self.shared.actions)
    }

    /// When [`Event::Tick`] is wanted if nothing else happens.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let now = self.shared.last?;
        let mut times: Vec<Timestamp> = self.shared.waiting.iter().map(|it| it.by).collect();
        times.extend(self.shared.stopping);
        times.extend(self.shared.troubles.0.values().map(|it| it.again));
        match &self.phase {
            Phase::Idle | Phase::Surveying { .. } => {}
            Phase::Diverged { again, .. } => times.push(*again),
            Phase::Running(running) => times.extend(running.timers()),
        }
        times.into_iter().filter(|it| *it > now).min()
    }

    /// Where it is.
    pub fn state(&self, now: Timestamp) -> State {
        let running = match &self.phase {
            Phase::Running(running) => Some(running.as_ref()),
            Phase::Idle | Phase::Surveying { .. } | Phase::Diverged { .. } => None,
        };
        State {
            health: self.health(now),
            active: running.is_some(),
            base: running.and_then(|it| it.base.clone()),
            covered: running.and_then(|it| it.covered),
            as_of: running.and_then(|it| it.as_of),
            newest_delta: running.and_then(|it| it.newest_delta),
            spooled: running.map_or(0, Running::spooled),
            waiting: running.map_or(0, |it| it.queue.len()),
            full_running: running.is_some_and(|it| it.full.is_some()),
        }
    }

    fn health(&self, now: Timestamp) -> Health {
        let (as_of, since) = match &self.phase {
            Phase::Idle => return Health::Idle,
            Phase::Diverged { diverged, .. } => return Health::Diverged(diverged.clone()),
            Phase::Surveying { .. } => (None, now),
            Phase::Running(running) => (running.as_of, running.started),
        };
        let failing = |it: &&super::backoff::Trouble| it.failures >= FAILING;
        if let Some(trouble) = self.shared.troubles.0.values().find(failing) {
            let why = trouble.why.clone();
            return Health::Failing { why };
        }
        let age = |it: Timestamp| now.duration_since(it).max(SignedDuration::ZERO);
        let patience = match self.shared.config.delta_period {
            Some(period) => period.saturating_mul(LATE_PERIODS),
            None => self.schedule.window().saturating_mul(2),
        };
        let oldest = age(as_of.unwrap_or(since));
        if oldest > patience.saturating_add(LATE_SLACK) {
            return Health::Late { age: oldest };
        }
        let age = as_of.map(age);
        Health::Healthy { age }
    }

    /// A clock that goes back takes the timers with it.
    fn turn_back(&mut self, now: Timestamp) {
        let last = self.shared.last.replace(now);
        let Some(back) = last.filter(|it| *it > now) else {
            return;
        };
        let by = back.duration_since(now);
        let shift = |it: &mut Timestamp| *it = it.saturating_sub(by).unwrap_or(Timestamp::MIN);
        self.shared
            .waiting
            .iter_mut()
            .for_each(|it| shift(&mut it.by));
        self.shared.stopping.iter_mut().for_each(shift);
        let troubles = self.shared.troubles.0.values_mut();
        troubles.for_each(|it| shift(&mut it.again));
        match &mut self.phase {
            Phase::Idle | Phase::Surveying { .. } => {}
            Phase::Diverged { again, .. } => shift(again),
            Phase::Running(running) => {
                running.shift(shift);
                running.next_full = self.schedule.next_after(now);
            }
        }
    }

    fn take(&mut self, event: Event, moment: Moment) {
        match event {
            Event::Tick => {}
            Event::Led => self.role(Role::Leader),
            Event::Deposed => self.role(Role::Follower),
            Event::LeaderUnknown => self.role(Role::Unknown),
            Event::Surveyed { store, etcd } => self.surveyed(*store, etcd, moment),
            Event::SurveyFailed(why) => {
                if let Phase::Surveying { running } = &mut self.phase
                    && let Some(sequence) = running.take()
                {
                    // It was tried for those who had asked; the others get a try of their own.
                    let answer = Answer::Refused(Denial::Failed(why.clone()));
                    self.shared.answer(&answer, |it| it.sequence <= sequence);
                    self.shared.fail(Op::Survey, why, moment);
                    if !self.shared.waiting.is_empty() {
                        self.shared.troubles.at_once(Op::Survey, moment.now);
                    }
                }
            }
            Event::Asked { id, wanted, by } => {
                let sequence = self.shared.sequence;
                self.shared.hurry(wanted, moment.now);
                self.shared.waiting.push(Waiting {
                    id,
                    wanted,
                    by,
                    sequence,
                    delta: None,
                });
            }
            Event::Stop { by } => self.stop(by, moment.now),
            event @ (Event::AtRevision(_)
            | Event::RevisionFailed(_)
            | Event::Spooled(_)
            | Event::Sealed(_)
            | Event::Split(_)
            | Event::WatchEnded(_)
            | Event::SpoolFailed(_)
            | Event::FullBegan { .. }
            | Event::FullBound { .. }
            | Event::FullDone(_)
            | Event::FullUnneeded
            | Event::FullFailed(_)
            | Event::DeltaDone { .. }
            | Event::DeltaFailed { .. }
            | Event::Collected) => self.running_event(event, moment),
        }
    }

    fn running_event(&mut self, event: Event, moment: Moment) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        if matches!(event, Event::FullDone(_)) {
            self.shared.foreign = false;
        }
        if let Err(diverged) = running.take(event, &mut self.shared, moment) {
            self.diverge(diverged, moment.now);
        }
    }

    fn role(&mut self, role: Role) {
        // At the end, what is under way is brought to its end, whoever leads by then.
        if self.shared.stopping.is_some() {
            return;
        }
        self.shared.role = role;
        if role == Role::Follower {
            self.leave();
        }
    }

    /// Drops all that is under way. What was not uploaded is read again by whoever leads next.
    fn leave(&mut self) {
        match self.phase {
            Phase::Idle => {}
            Phase::Surveying { .. } | Phase::Diverged { .. } | Phase::Running(_) => {
                self.shared.act(Action::Abandon);
            }
        }
        self.shared.troubles = Troubles::default();
        self.phase = Phase::Idle;
    }

    fn surveyed(&mut self, store: StoreView, etcd: Revision, moment: Moment) {
        if !matches!(self.phase, Phase::Surveying { .. }) {
            return;
        }
        self.shared.troubles.over(Op::Survey);
        if let Some(diverged) = store.ahead_of(etcd) {
            self.diverge(diverged, moment.now);
            return;
        }
        let due = self.due_at_start(&store, moment.now);
        // What belongs to another history, or does not hang together, is not continued.
        let usable = !matches!(due, Some(Why::Diverged | Why::Broken(_) | Why::NoBase));
        let next_full = self.schedule.next_after(moment.now);
        let running = Running::new(
            store,
            usable,
            due,
            next_full,
            &self.shared,
            moment.now,
            etcd,
        );
        self.phase = Phase::Running(Box::new(running));
    }

    fn due_at_start(&self, store: &StoreView, now: Timestamp) -> Option<Why> {
        let Some(base) = &store.base else {
            return Some(Why::NoBase);
        };
        if self.shared.foreign {
            return Some(Why::Diverged);
        }
        if let Some(why) = &store.broken {
            return Some(Why::Broken(why.clone()));
        }
        if base.key.name.is_final() {
            return Some(Why::FinalBase);
        }
        if self.shared.full_failed {
            return Some(Why::Failed);
        }
        let created = base.key.name.created().time();
        if now.duration_since(created) > self.schedule.window() {
            return Some(Why::Old);
        }
        let missed = self
            .schedule
            .next_after(created)
            .is_some_and(|it| it <= now);
        missed.then_some(Why::SlotMissed)
    }

    fn diverge(&mut self, diverged: Diverged, now: Timestamp) {
        if matches!(self.phase, Phase::Running(_)) {
            self.shared.act(Action::Abandon);
        }
        self.shared.troubles = Troubles::default();
        self.shared.foreign = true;
        self.phase = Phase::Diverged {
            diverged,
            again: later(now, DIVERGED_AGAIN),
        };
    }

    fn stop(&mut self, by: Timestamp, now: Timestamp) {
        if self.shared.stopping.is_some() {
            return;
        }
        self.shared.stopping = Some(by);
        self.shared.stop_sequence = self.shared.sequence;
        for op in [Op::Upload, Op::Revision, Op::Watch] {
            self.shared.troubles.at_once(op, now);
        }
        let full = |it: &Waiting| matches!(it.wanted, Wanted::Full { .. });
        self.shared.answer(&Answer::Refused(Denial::Stopping), full);
        if let Phase::Running(running) = &mut self.phase {
            running.cancel_full(&mut self.shared);
        }
    }

    /// Does whatever is due.
    fn step(&mut self, moment: Moment) {
        let now = moment.now;
        self.deadlines(now);
        if self.shared.config.delta_period.is_none() {
            let delta = |it: &Waiting| it.wanted == Wanted::Delta;
            self.shared
                .answer(&Answer::Refused(Denial::DeltasDisabled), delta);
        }
        if let Phase::Diverged { again, .. } = &self.phase
            && *again <= now
        {
            self.phase = Phase::Surveying { running: None };
        }
        if matches!(self.phase, Phase::Idle) && self.shared.role == Role::Leader {
            self.phase = Phase::Surveying { running: None };
        }
        let over = self.shared.stopping.is_some_and(|by| by <= now);
        let done = match &mut self.phase {
            Phase::Idle => {
                self.shared.refuse_all(match self.shared.role {
                    Role::Unknown => Denial::LeaderUnknown,
                    Role::Follower | Role::Leader => Denial::NotLeading,
                });
                true
            }
            Phase::Surveying { running } => {
                let ready = self.shared.troubles.ready(Op::Survey, now);
                if self.shared.stopping.is_none() && running.is_none() && ready {
                    *running = Some(self.shared.sequence);
                    self.shared.act(Action::Survey);
                }
                true
            }
            Phase::Diverged { diverged, .. } => {
                let denial = Denial::Diverged(diverged.clone());
                self.shared.refuse_all(denial);
                true
            }
            Phase::Running(running) => {
                running.step(&mut self.shared, &self.schedule, moment);
                running.is_flushed(&self.shared)
            }
        };
        if self.shared.stopping.is_some() && (done || over) {
            self.shared.refuse_all(Denial::Stopping);
            self.leave();
            self.shared.act(Action::Finish);
            self.shared.finished = true;
        }
    }

    fn deadlines(&mut self, now: Timestamp) {
        let troubles = self.shared.troubles.0.values();
        let last_failure = troubles
            .map(|it| format!("; {}", it.why))
            .next()
            .unwrap_or_default();
        let answer = Answer::Refused(Denial::TimedOut { last_failure });
        self.shared.answer(&answer, |it| it.by <= now);
    }
}

/// What is asked of one that has finished.
fn late(event: &Event) -> Vec<Action> {
    if let Event::Asked { id, .. } = event {
        let answer = Answer::Refused(Denial::Stopping);
        return vec![Action::Answer { id: *id, answer }];
    }
    Vec::new()
}

/// The time that an object's name has.
pub(super) fn created(object: &Object) -> Timestamp {
    object.key.name.created().time()
}
