//! The world that the engine is searched against: small enough to be searched whole, and shown to
//! the engine as the same [`druid_core::observed::Observed`] that a real cluster is.
#![allow(clippy::unwrap_used, reason = "all of it is a test")]

mod checks;
mod cluster;

use std::fmt;

use cluster::{Cluster, Kind, Member, Snap, State, number};
use druid_core::upgrade::{
    Act, Limits, Needs, Policy, Record, Replacement, SnapshotState, Step, Want, decide,
};
use druid_core::version::{Direction, Version};
use jiff::{SignedDuration, Timestamp};

pub(crate) const OLD: Version = Version::new(3, 4, 34);
pub(crate) const NEW: Version = Version::new(3, 5, 27);

/// Time stands still, so that states can be compared; [`Move::Expire`] moves everything that the
/// record remembers into a past in which every deadline has gone by.
const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const PAST: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// How often the environment may do each of its things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) crash: u8,
    pub(crate) stale: u8,
    pub(crate) fail: u8,
    pub(crate) flip: u8,
    pub(crate) leader: u8,
    pub(crate) expire: u8,
    pub(crate) snapshot: u8,
    pub(crate) reject: u8,
    pub(crate) pause: u8,
    pub(crate) acknowledge: u8,
    pub(crate) diverge: u8,
    pub(crate) alarm: u8,
    pub(crate) template: u8,
}

/// Where a search begins.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) members: usize,
    pub(crate) way: Way,
    pub(crate) broken: Broken,
    /// A member that was stopped is created again some time later, from what is asked for by then.
    pub(crate) late: bool,
    pub(crate) backup: bool,
    pub(crate) hold_last: bool,
    pub(crate) pause_after: Option<usize>,
    pub(crate) budget: Budget,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            members: 3,
            way: Way::Up,
            broken: Broken::Nothing,
            late: false,
            backup: true,
            hold_last: false,
            pause_after: None,
            budget: Budget::default(),
        }
    }
}

/// What is asked for in the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
    /// Another template, and no other release.
    Same,
    /// Another template as well.
    UpAndTemplate,
    DownAndTemplate,
}

impl Way {
    fn ends(self) -> (Kind, Kind) {
        let kind = |version, template| Kind { version, template };
        match self {
            Self::Up => (kind(OLD, 0), kind(NEW, 0)),
            Self::Down => (kind(NEW, 0), kind(OLD, 0)),
            Self::Same => (kind(OLD, 0), kind(OLD, 1)),
            Self::UpAndTemplate => (kind(OLD, 0), kind(NEW, 1)),
            Self::DownAndTemplate => (kind(NEW, 0), kind(OLD, 1)),
        }
    }
}

/// What does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    Nothing,
    /// The new release.
    Release,
    /// A template, of either release.
    Template(u8),
}

/// How many templates there are to choose from.
const TEMPLATES: u8 = 3;

/// What is kept only to judge by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Books {
    attempt: u32,
    restarts: Vec<u8>,
    snapshots: u8,
    moves: u8,
    /// Members that we have restarted and that were not up since.
    disrupted: Vec<bool>,
    /// Something has happened that may make a second restart right.
    faults: bool,
    /// Something has happened that may make another snapshot right.
    snapshot_faults: u8,
    leader_faults: u8,
    /// The members differed when the attempt began, and still do.
    began_diverged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    cluster: Cluster,
    record: Record,
    target: Kind,
    paused: bool,
    acknowledged: u32,
    captured: Option<(Cluster, String)>,
    broken: Broken,
    late: bool,
    left: Budget,
    books: Books,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Start,
    Engine,
    EngineDiesBeforeActing,
    Capture,
    EngineActsOnCaptured,
    Created(usize),
    Comes(usize),
    Fails(usize),
    Recovers(usize),
    Elected(usize),
    LeaderMoves(usize),
    Agrees,
    SnapshotGoesOn,
    SnapshotFails,
    SnapshotRejected,
    SnapshotTooOld,
    Flip,
    Template,
    Rendered,
    Pause,
    Resume,
    Acknowledge,
    Expire,
    Diverge,
    Repaired,
    Alarm,
    Disarmed,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl World {
    pub(crate) fn new(setup: &Setup) -> Self {
        let (from, target) = setup.way.ends();
        let member = Member {
            kind: from,
            state: State::Up,
            incarnation: 1,
        };
        Self {
            cluster: Cluster {
                members: vec![member; setup.members],
                template: from,
                leader: Some(setup.members - 1),
                agreed: from.version,
                snapshot_name: String::new(),
                snapshot: Snap::Absent,
                diverged: false,
                alarm: false,
            },
            record: Record::new(from.make(), NOW),
            target,
            paused: false,
            acknowledged: 0,
            captured: None,
            broken: setup.broken,
            late: setup.late,
            left: setup.budget.clone(),
            books: Books::new(setup.members, 0, setup.broken != Broken::Nothing),
        }
    }

    /// Whether the new release is asked for.
    pub(crate) fn goes_up(&self) -> bool {
        self.target.version == NEW
    }

    fn want(&self, setup: &Setup) -> Want {
        Want {
            target: self.target.make(),
            snapshot: setup.backup,
            policy: Policy {
                paused: self.paused,
                pause_after: setup.pause_after,
                hold_last: setup.hold_last,
            },
            acknowledged: self.acknowledged,
            limits: Limits::default(),
        }
    }

    /// Everything that can happen now.
    pub(crate) fn moves(&self) -> Vec<Move> {
        let mut moves = vec![Move::Engine];
        let left = &self.left;
        let mut may = |happens: bool, what: Move| {
            if happens {
                moves.push(what);
            }
        };
        may(left.crash > 0, Move::EngineDiesBeforeActing);
        may(left.stale > 0 && self.captured.is_none(), Move::Capture);
        may(self.captured.is_some(), Move::EngineActsOnCaptured);
        for (m, member) in self.cluster.members.iter().enumerate() {
            let leads = self.cluster.leader == Some(m);
            let nobody = self.cluster.leader.is_none();
            let quorate = self.cluster.ups() >= self.cluster.quorum();
            may(member.state == State::Gone, Move::Created(m));
            may(member.state == State::Starting, Move::Comes(m));
            may(member.state == State::Down, Move::Recovers(m));
            may(member.state == State::Up && left.fail > 0, Move::Fails(m));
            may(
                member.state == State::Up && nobody && quorate,
                Move::Elected(m),
            );
            may(
                member.state == State::Up && !leads && !nobody && left.leader > 0,
                Move::LeaderMoves(m),
            );
        }
        may(
            self.cluster.agreement() != self.cluster.agreed,
            Move::Agrees,
        );
        let snapshot = self.cluster.snapshot;
        let going = matches!(snapshot, Snap::Taking | Snap::Verifying);
        may(going, Move::SnapshotGoesOn);
        may(going && left.snapshot > 0, Move::SnapshotFails);
        may(
            snapshot == Snap::Verifying && left.snapshot > 0,
            Move::SnapshotTooOld,
        );
        may(
            snapshot == Snap::Taking && left.reject > 0,
            Move::SnapshotRejected,
        );
        may(left.flip > 0, Move::Flip);
        may(left.template > 0, Move::Template);
        let lags = self.cluster.template.template != self.target.template;
        may(lags, Move::Rendered);
        may(left.pause > 0 && !self.paused, Move::Pause);
        may(self.paused, Move::Resume);
        let halted = self.record.halt.is_some() && self.acknowledged != self.record.attempt;
        may(left.acknowledge > 0 && halted, Move::Acknowledge);
        may(left.expire > 0, Move::Expire);
        may(left.diverge > 0 && !self.cluster.diverged, Move::Diverge);
        may(self.cluster.diverged, Move::Repaired);
        may(left.alarm > 0 && !self.cluster.alarm, Move::Alarm);
        may(self.cluster.alarm, Move::Disarmed);
        moves
    }

    /// What the world is after `what`. An error is a broken promise.
    pub(crate) fn after(&self, what: Move, setup: &Setup) -> Result<Self, String> {
        Ok(self.after_saying(what, setup)?.0)
    }

    /// And what the engine decided, if it did.
    pub(crate) fn after_saying(
        &self,
        what: Move,
        setup: &Setup,
    ) -> Result<(Self, Option<Step>), String> {
        let mut next = self.clone();
        let mut said = None;
        match what {
            Move::Start => {}
            Move::Engine => said = Some(next.engine(setup, None, false)?),
            Move::EngineDiesBeforeActing => {
                next.left.crash -= 1;
                said = Some(next.engine(setup, None, true)?);
            }
            Move::Capture => {
                next.left.stale -= 1;
                next.captured = Some((self.cluster.clone(), self.record.snapshot_name()));
            }
            Move::EngineActsOnCaptured => {
                let captured = next.captured.take();
                said = Some(next.engine(setup, captured, false)?);
            }
            Move::Flip => {
                next.left.flip -= 1;
                next.books.faults = true;
                next.books.snapshot_faults += 1;
                let version = self.target.version;
                next.target.version = if version == NEW { OLD } else { NEW };
            }
            Move::Template => {
                next.left.template -= 1;
                next.books.faults = true;
                next.books.snapshot_faults += 1;
                next.target.template = (self.target.template + 1) % TEMPLATES;
            }
            Move::Rendered => next.cluster.template.template = self.target.template,
            Move::Pause => {
                next.left.pause -= 1;
                next.paused = true;
            }
            Move::Resume => next.paused = false,
            Move::Acknowledge => {
                next.left.acknowledge -= 1;
                next.acknowledged = self.record.attempt;
            }
            Move::Expire => next.expire(),
            Move::Created(_)
            | Move::Comes(_)
            | Move::Fails(_)
            | Move::Recovers(_)
            | Move::Elected(_)
            | Move::LeaderMoves(_)
            | Move::Agrees
            | Move::SnapshotGoesOn
            | Move::SnapshotFails
            | Move::SnapshotRejected
            | Move::SnapshotTooOld
            | Move::Diverge
            | Move::Repaired
            | Move::Alarm
            | Move::Disarmed => next.cluster_moves(what),
        }
        Ok((next, said))
    }

    fn cluster_moves(&mut self, what: Move) {
        match what {
            Move::Created(m) => self.create(m),
            Move::Comes(m) => self.comes(m),
            Move::Fails(m) => {
                self.left.fail -= 1;
                self.books.faults = true;
                self.books.leader_faults += 1;
                self.cluster.members[m].state = State::Down;
            }
            Move::Recovers(m) => self.cluster.members[m].state = State::Starting,
            Move::Elected(m) => self.cluster.leader = Some(m),
            Move::LeaderMoves(m) => {
                self.left.leader -= 1;
                self.books.leader_faults += 1;
                self.cluster.leader = Some(m);
            }
            Move::Agrees => self.cluster.agreed = self.cluster.agreement(),
            Move::SnapshotGoesOn => self.snapshot_goes_on(),
            Move::SnapshotFails => {
                self.left.snapshot -= 1;
                self.books.snapshot_faults += 1;
                let taking = self.cluster.snapshot == Snap::Taking;
                self.cluster.snapshot = if taking { Snap::Failed } else { Snap::Damaged };
            }
            Move::SnapshotTooOld => {
                self.left.snapshot -= 1;
                self.books.snapshot_faults += 1;
                self.cluster.snapshot = Snap::TooOld;
            }
            Move::SnapshotRejected => {
                self.left.reject -= 1;
                self.books.snapshot_faults += 1;
                self.cluster.snapshot = Snap::Rejected;
            }
            Move::Diverge => {
                self.left.diverge -= 1;
                self.cluster.diverged = true;
            }
            Move::Repaired => {
                self.cluster.diverged = false;
                self.books.began_diverged = false;
            }
            Move::Alarm => {
                self.left.alarm -= 1;
                self.cluster.alarm = true;
            }
            Move::Disarmed => self.cluster.alarm = false,
            Move::Start
            | Move::Engine
            | Move::EngineDiesBeforeActing
            | Move::Capture
            | Move::EngineActsOnCaptured
            | Move::Flip
            | Move::Template
            | Move::Rendered
            | Move::Pause
            | Move::Resume
            | Move::Acknowledge
            | Move::Expire => {}
        }
        self.cluster.depose();
    }

    fn snapshot_goes_on(&mut self) {
        let snapshot = &mut self.cluster.snapshot;
        if *snapshot == Snap::Taking {
            *snapshot = Snap::Taken;
        } else if *snapshot == Snap::Verifying {
            *snapshot = Snap::Verified;
        }
    }

    /// What was stopped is there again, from what the platform has by now.
    fn create(&mut self, m: usize) {
        let kind = self.cluster.template;
        let member = &mut self.cluster.members[m];
        member.kind = kind;
        member.state = State::Starting;
        member.incarnation += 1;
    }

    fn comes(&mut self, m: usize) {
        let member = &mut self.cluster.members[m];
        let broken = match self.broken {
            Broken::Nothing => false,
            Broken::Release => member.kind.version == NEW,
            Broken::Template(template) => member.kind.template == template,
        };
        if broken {
            member.state = State::Failing;
        } else {
            member.state = State::Up;
            self.books.disrupted[m] = false;
        }
    }

    fn expire(&mut self) {
        self.left.expire -= 1;
        self.books.faults = true;
        self.books.snapshot_faults += 1;
        let record = &mut self.record;
        record.started = PAST;
        record.cleared = record.cleared.map(|_| PAST);
        record.waiting = record.waiting.take().map(|(code, _)| (code, PAST));
        if let Some(current) = &mut record.current {
            current.since = PAST;
        }
        match &mut record.snapshot.state {
            SnapshotState::Missing => {}
            SnapshotState::Asked { at, .. } | SnapshotState::Verified { at, .. } => *at = PAST,
        }
    }

    /// One round of the engine, as the driver does it: decide, look if asked to, write the record,
    /// look again before a disruptive act, act.
    fn engine(
        &mut self,
        setup: &Setup,
        captured: Option<(Cluster, String)>,
        dies: bool,
    ) -> Result<Step, String> {
        let want = self.want(setup);
        let before = self.record.current.clone();
        let mut needs = Needs::Nothing;
        let mut step = Step::Look(Needs::Nothing);
        for _ in 0..4 {
            let live = || (self.cluster.clone(), self.record.snapshot_name());
            // Only the first look can be stale: one that was asked for is always live.
            let stale = captured.clone().filter(|_| needs == Needs::Nothing);
            let (cluster, snapshot) = stale.unwrap_or_else(live);
            let decision = decide(&want, &self.record, &cluster.observe(snapshot, &needs), NOW);
            self.turn_page(&decision.record);
            self.record = decision.record;
            step = decision.step;
            match &step {
                Step::Look(more) => needs = more.clone(),
                Step::Done | Step::Act(_) | Step::Wait(_) | Step::Refuse(_) | Step::Halt(_) => {
                    break;
                }
            }
        }
        if let Step::Look(needs) = &step {
            return Err(format!("looks for ever at {needs:?}"));
        }
        let Step::Act(act) = step.clone() else {
            if step == Step::Done && captured.is_none() {
                self.check_done()?;
            }
            return Ok(step);
        };
        if dies {
            return Ok(step);
        }
        if act.needs_live_look() {
            let seen = self
                .cluster
                .observe(self.record.snapshot_name(), &Needs::Nothing);
            let again = decide(&want, &self.record, &seen, NOW);
            self.turn_page(&again.record);
            self.record = again.record;
            if again.step != step {
                return Ok(again.step);
            }
        }
        self.act(&act, &want, before.as_ref())?;
        Ok(step)
    }

    fn turn_page(&mut self, record: &Record) {
        if record.attempt != self.books.attempt {
            let faults =
                self.broken != Broken::Nothing || record.inherited() || record.current.is_some();
            let disrupted = self.books.disrupted.clone();
            self.books = Books::new(self.cluster.members.len(), record.attempt, faults);
            self.books.disrupted = disrupted;
            self.books.began_diverged = self.cluster.diverged;
        }
    }

    fn act(&mut self, act: &Act, want: &Want, before: Option<&Replacement>) -> Result<(), String> {
        if self.record.halt.is_some() {
            return Err(format!("acts while halted: {act}"));
        }
        match act {
            Act::TakeSnapshot(name) => {
                if self.cluster.snapshot_name != *name {
                    self.cluster.snapshot_name.clone_from(name);
                    self.cluster.snapshot = Snap::Taking;
                    self.books.snapshots += 1;
                }
                self.check_snapshots(want)?;
            }
            Act::VerifySnapshot(name) => {
                if self.cluster.snapshot_name == *name && self.cluster.snapshot == Snap::Taken {
                    self.cluster.snapshot = Snap::Verifying;
                }
            }
            Act::SetTemplate(version) => {
                // The platform can choose a release only.
                self.cluster.template = Kind {
                    version: *version,
                    ..self.target
                };
            }
            Act::MoveLeader { from, to } => {
                self.check_move(number(from), number(to), want)?;
                self.books.moves += u8::from(!self.putting_back());
                self.cluster.leader = Some(number(to));
            }
            Act::Restart {
                member,
                incarnation,
            } => {
                let m = number(member);
                let kind = self.cluster.members[m].kind.make();
                let again = before.is_some_and(|it| it.member == *member && it.from != kind);
                self.check_restart(m, *incarnation, again, want)?;
                self.books.restarts[m] += 1;
                // Nobody is disrupted that keeps ending by itself.
                self.books.disrupted[m] |= self.cluster.members[m].state != State::Failing;
                self.cluster.members[m].state = State::Gone;
                if !self.late {
                    self.create(m);
                }
                self.cluster.depose();
            }
        }
        Ok(())
    }

    /// All faults end but that of a release that does not start, and everything that can go on goes
    /// on; then one round of the engine.
    pub(crate) fn fair(&self, setup: &Setup) -> Result<(Self, Step), String> {
        let mut next = self.clone();
        next.paused = false;
        next.captured = None;
        next.cluster.diverged = false;
        next.cluster.alarm = false;
        for m in 0..next.cluster.members.len() {
            if next.cluster.members[m].state == State::Gone {
                next.create(m);
            }
            if next.cluster.members[m].state != State::Up {
                next.comes(m);
            }
        }
        next.cluster.depose();
        if next.cluster.leader.is_none() && next.cluster.ups() >= next.cluster.quorum() {
            next.cluster.leader = (0..next.cluster.members.len()).find(|m| next.cluster.up(*m));
        }
        next.cluster.agreed = next.cluster.agreement();
        next.snapshot_goes_on();
        let step = next.engine(setup, None, false)?;
        Ok((next, step))
    }

    /// Whether a member is down for good, and the engine has no reason to touch it: it was not put
    /// on what does not start by the attempt. A person has to help.
    pub(crate) fn has_foreign_failure(&self) -> bool {
        let begun = |m: usize, member: &Member| {
            let current = self.record.current.as_ref();
            current.is_some_and(|c| number(&c.member) == m && c.from != member.kind.make())
        };
        let same = self.record.direction() == Direction::Same;
        let foreign = |(m, member): (usize, &Member)| {
            let helped = same && member.kind != self.target;
            member.state == State::Failing && !begun(m, member) && !helped
        };
        self.cluster.members.iter().enumerate().any(foreign)
    }

    fn putting_back(&self) -> bool {
        let current = self.record.current.as_ref();
        current.is_some_and(|current| current.failed.is_some())
    }

    /// The same world for the question whether it ends: what has been spent plays no part.
    pub(crate) fn unburdened(&self) -> Self {
        let members = self.cluster.members.len();
        let mut same = self.clone();
        same.left = Budget::default();
        same.books = Books::new(members, self.books.attempt, true);
        same.captured = None;
        same
    }
}

impl Books {
    fn new(members: usize, attempt: u32, faults: bool) -> Self {
        Self {
            attempt,
            restarts: vec![0; members],
            snapshots: 0,
            moves: 0,
            disrupted: vec![false; members],
            faults,
            snapshot_faults: 0,
            leader_faults: 0,
            began_diverged: false,
        }
    }
}

/// So that a limit that nobody notices cannot be removed.
#[test]
fn the_past_is_past_every_limit() {
    let limits = Limits::default();
    let gone = NOW.duration_since(PAST);
    for limit in [
        limits.member,
        limits.snapshot,
        limits.snapshot_age,
        limits.wait,
    ] {
        assert!(limit > SignedDuration::ZERO && limit < gone);
    }
}
