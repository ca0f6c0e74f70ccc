//! The world that the engine is searched against: small enough to be searched whole, and shown to
//! the engine as the same [`Observed`] that a real cluster is.
#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::collections::BTreeMap;
use std::fmt;

use druid_core::member::{MemberId, MemberName};
use druid_core::observed::{
    Alarm, AlarmKind, Answer, Answered, Deep, Etcd, Hashes, Listed, Looked, Observed, Process,
    SnapshotWork, Status, Switch,
};
use druid_core::upgrade::{Act, Limits, Needs, Policy, Record, SnapshotState, Step, Want, decide};
use druid_core::version::Version;
use jiff::{SignedDuration, Timestamp};

pub(crate) const OLD: Version = Version::new(3, 4, 34);
pub(crate) const NEW: Version = Version::new(3, 5, 27);
const REVISION: i64 = 10;

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
}

/// Where a search begins.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
pub(crate) struct Setup {
    pub(crate) members: usize,
    pub(crate) up: bool,
    pub(crate) bad: bool,
    pub(crate) backup: bool,
    pub(crate) hold_last: bool,
    pub(crate) pause_after: Option<usize>,
    pub(crate) budget: Budget,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            members: 3,
            up: true,
            bad: false,
            backup: true,
            hold_last: false,
            pause_after: None,
            budget: Budget::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Up,
    Starting,
    Failing,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    version: Version,
    state: State,
    incarnation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Snap {
    Absent,
    Taking,
    Taken,
    Verifying,
    Verified,
    TooOld,
    Failed,
    Damaged,
    Rejected,
}

/// What can be observed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cluster {
    members: Vec<Member>,
    template: Version,
    leader: Option<usize>,
    agreed: Version,
    snapshot_name: String,
    snapshot: Snap,
    diverged: bool,
    alarm: bool,
}

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
    target: Version,
    paused: bool,
    acknowledged: u32,
    captured: Option<(Cluster, String)>,
    bad: bool,
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

fn name(member: usize) -> MemberName {
    MemberName(format!("m{member}"))
}

fn number(name: &MemberName) -> usize {
    name.0[1..].parse().unwrap()
}

impl Cluster {
    fn up(&self, member: usize) -> bool {
        self.members[member].state == State::Up
    }

    fn ups(&self) -> usize {
        self.members
            .iter()
            .filter(|member| member.state == State::Up)
            .count()
    }

    fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// A leader that went away or lost its quorum leads no more.
    fn depose(&mut self) {
        if self.ups() < self.quorum() || self.leader.is_some_and(|leader| !self.up(leader)) {
            self.leader = None;
        }
    }

    /// What the leader's version monitor would set: it asks every member.
    fn agreement(&self) -> Version {
        if self.leader.is_none() || self.ups() < self.members.len() {
            return self.agreed;
        }
        self.members
            .iter()
            .map(|member| member.version)
            .min()
            .unwrap()
    }

    fn status(&self, member: usize) -> Status {
        Status {
            id: MemberId(member as u64 + 1),
            version: self.members[member].version,
            cluster_version: Some(self.agreed.minor),
            leader: self
                .leader
                .map_or(MemberId::NOBODY, |leader| MemberId(leader as u64 + 1)),
            term: 1,
            raft_index: 100,
            raft_applied_index: 100,
            revision: REVISION,
            db_size: 1,
            db_size_in_use: 1,
            quota: Some(1000),
            learner: false,
            ready: Ok(()),
            errors: Vec::new(),
        }
    }

    fn process(member: &Member) -> Process {
        let Member {
            version,
            incarnation,
            state,
        } = *member;
        match state {
            State::Up | State::Starting | State::Down => Process::Running {
                incarnation,
                version,
            },
            State::Failing => Process::Failing {
                incarnation,
                version,
                exits: 2,
                last_words: "fatal".to_owned(),
            },
        }
    }

    fn hashes(&self) -> Hashes {
        if self.diverged {
            let hashes = BTreeMap::from([(name(0), 1), (name(1), 2)]);
            Hashes::Different {
                revision: REVISION,
                hashes,
            }
        } else {
            Hashes::Equal {
                revision: REVISION,
                hash: 1,
            }
        }
    }

    fn look(&self, needs: &Needs) -> Looked {
        match needs {
            Needs::Nothing => Looked::Nothing,
            Needs::Preflight => Looked::Preflight(Deep {
                hashes: self.hashes(),
                auth: Answered::Known(Switch::Off),
                downgrade: (0..self.members.len())
                    .map(|m| (name(m), Answered::Known(Switch::Off)))
                    .collect(),
                terms: (1, 1),
                write: None,
            }),
            Needs::Data => Looked::Data(self.hashes()),
            Needs::Member(member) => Looked::Member {
                name: member.clone(),
                write: Answered::Known(()),
                hashes: self.hashes(),
            },
        }
    }

    fn alarms(&self) -> Vec<Alarm> {
        let alarm = Alarm {
            member: MemberId(1),
            kind: AlarmKind::NoSpace,
        };
        self.alarm.then_some(alarm).into_iter().collect()
    }

    fn observe(&self, snapshot_name: String, needs: &Needs) -> Observed {
        let answer = |member: usize| {
            if self.up(member) {
                Answer::Status(self.status(member))
            } else {
                Answer::Silent("no answer".to_owned())
            }
        };
        let all = || 0..self.members.len();
        let listed = |member: usize| Listed {
            id: MemberId(member as u64 + 1),
            name: name(member),
            learner: false,
        };
        let linearizable = self.leader.is_some();
        let snapshot = match self.snapshot {
            _ if snapshot_name != self.snapshot_name => SnapshotWork::Absent,
            Snap::Absent => SnapshotWork::Absent,
            Snap::Taking => SnapshotWork::Taking,
            Snap::Taken => SnapshotWork::Taken,
            Snap::Verifying => SnapshotWork::Verifying,
            Snap::Verified => verified(REVISION),
            Snap::TooOld => verified(REVISION - 1),
            Snap::Failed => SnapshotWork::Failed("disk full".to_owned()),
            Snap::Damaged => SnapshotWork::Damaged("digest".to_owned()),
            Snap::Rejected => SnapshotWork::Rejected("busy".to_owned()),
        };
        Observed {
            template: self.template,
            processes: all()
                .map(|m| (name(m), Self::process(&self.members[m])))
                .collect(),
            etcd: Etcd {
                members: all().map(|m| (name(m), answer(m))).collect(),
                membership: if linearizable {
                    Answered::Known(all().map(listed).collect())
                } else {
                    Answered::Unknown("no leader".to_owned())
                },
                alarms: Answered::Known(self.alarms()),
            },
            snapshot_name,
            snapshot,
            looked: self.look(needs),
        }
    }
}

fn verified(revision: i64) -> SnapshotWork {
    SnapshotWork::Verified {
        revision,
        bytes: 1,
        sha256: "00".to_owned(),
    }
}

impl World {
    pub(crate) fn new(setup: &Setup) -> Self {
        let (from, target) = if setup.up { (OLD, NEW) } else { (NEW, OLD) };
        let member = Member {
            version: from,
            state: State::Up,
            incarnation: 1,
        };
        Self {
            cluster: Cluster {
                members: vec![member; setup.members],
                template: from,
                leader: Some(setup.members - 1),
                agreed: from,
                snapshot_name: String::new(),
                snapshot: Snap::Absent,
                diverged: false,
                alarm: false,
            },
            record: Record::new(from, NOW),
            target,
            paused: false,
            acknowledged: 0,
            captured: None,
            bad: setup.bad,
            left: setup.budget.clone(),
            books: Books::new(setup.members, 0, setup.bad),
        }
    }

    fn want(&self, setup: &Setup) -> Want {
        Want {
            target: self.target,
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
        let mut next = self.clone();
        match what {
            Move::Start => {}
            Move::Engine => {
                next.engine(setup, None, false)?;
            }
            Move::EngineDiesBeforeActing => {
                next.left.crash -= 1;
                next.engine(setup, None, true)?;
            }
            Move::Capture => {
                next.left.stale -= 1;
                next.captured = Some((self.cluster.clone(), self.record.snapshot_name()));
            }
            Move::EngineActsOnCaptured => {
                let captured = next.captured.take();
                next.engine(setup, captured, false)?;
            }
            Move::Flip => {
                next.left.flip -= 1;
                next.books.faults = true;
                next.books.snapshot_faults += 1;
                next.target = if self.target == NEW { OLD } else { NEW };
            }
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
            Move::Comes(_)
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
        Ok(next)
    }

    fn cluster_moves(&mut self, what: Move) {
        match what {
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

    fn comes(&mut self, m: usize) {
        let member = &mut self.cluster.members[m];
        if self.bad && member.version == NEW {
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
        self.act(&act, &want)?;
        Ok(step)
    }

    fn turn_page(&mut self, record: &Record) {
        if record.attempt != self.books.attempt {
            let faults = self.bad || record.inherited || record.current.is_some();
            let disrupted = self.books.disrupted.clone();
            self.books = Books::new(self.cluster.members.len(), record.attempt, faults);
            self.books.disrupted = disrupted;
            self.books.began_diverged = self.cluster.diverged;
        }
    }

    fn act(&mut self, act: &Act, want: &Want) -> Result<(), String> {
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
            Act::SetTemplate(version) => self.cluster.template = *version,
            Act::MoveLeader { from, to } => {
                self.check_move(number(from), number(to))?;
                let current = self.record.current.as_ref();
                let putting_back = current.is_some_and(|current| current.failed.is_some());
                self.books.moves += u8::from(!putting_back);
                self.cluster.leader = Some(number(to));
            }
            Act::Restart {
                member,
                incarnation,
            } => {
                let m = number(member);
                self.check_restart(m, *incarnation, want)?;
                self.books.restarts[m] += 1;
                self.books.disrupted[m] = true;
                let template = self.cluster.template;
                let process = &mut self.cluster.members[m];
                process.version = template;
                process.state = State::Starting;
                process.incarnation += 1;
                self.cluster.depose();
            }
        }
        Ok(())
    }

    /// The safety of a restart.
    fn check_restart(&self, m: usize, incarnation: u64, want: &Want) -> Result<(), String> {
        let Self {
            cluster,
            record,
            books,
            ..
        } = self;
        let broken = |promise: &str| Err(format!("restart of m{m}: {promise}"));
        let member = &cluster.members[m];
        let others = cluster.ups() - usize::from(cluster.up(m));
        let alone = cluster.members.len() == 1;
        let current = record.current.as_ref();
        let putting_back = current.is_some_and(|current| current.failed.is_some());
        let failing = member.state == State::Failing;
        if member.incarnation != incarnation {
            return broken("it is another incarnation");
        }
        if !alone && !failing && others < cluster.quorum() {
            return broken("below quorum by our hand");
        }
        if (0..cluster.members.len()).any(|other| other != m && books.disrupted[other]) {
            return broken("two disrupted at once");
        }
        if !alone && cluster.leader == Some(m) {
            return broken("it leads");
        }
        if cluster.template != want.target && !putting_back {
            return broken("it would come back on another version");
        }
        if member.version == cluster.template && !putting_back {
            return broken("it is there already");
        }
        if self.paused && !putting_back {
            return broken("it is paused");
        }
        let up = cluster.template == NEW;
        let good = cluster.snapshot == Snap::Verified
            && cluster
                .snapshot_name
                .starts_with(&format!("upgrade-{}-", record.attempt));
        if up && !putting_back && want.snapshot && !good {
            return broken("no verified snapshot of this attempt");
        }
        if books.began_diverged && up && !putting_back {
            return broken("the members differ");
        }
        if cluster.alarm && up && !putting_back {
            return broken("an alarm is raised");
        }
        if !books.faults && books.restarts[m] > 0 {
            return broken("a second time");
        }
        let arrived = cluster
            .members
            .iter()
            .filter(|m| m.version == want.target)
            .count();
        let remaining = cluster.members.len() - arrived;
        if want.policy.hold_last && remaining == 1 && !putting_back && !books.faults {
            return broken("the last one is held");
        }
        if want
            .policy
            .pause_after
            .is_some_and(|limit| arrived >= limit)
            && !putting_back
            && !books.faults
        {
            return broken("it is paused after fewer");
        }
        Ok(())
    }

    fn check_move(&self, from: usize, to: usize) -> Result<(), String> {
        let cluster = &self.cluster;
        let broken = |promise: &str| Err(format!("leadership from m{from} to m{to}: {promise}"));
        if cluster.leader != Some(from) {
            return broken("it does not lead");
        }
        if !cluster.up(to) {
            return broken("the successor is down");
        }
        if self
            .record
            .current
            .as_ref()
            .is_some_and(|current| current.failed.is_some())
        {
            return Ok(());
        }
        if cluster.members[to].version != self.target {
            return broken("the successor is not on the target");
        }
        let waiting = cluster
            .members
            .iter()
            .filter(|m| m.version != self.target)
            .count();
        if waiting != 1 {
            return broken("followers go first");
        }
        if self.books.moves > self.books.leader_faults {
            return broken("a second time");
        }
        Ok(())
    }

    fn check_snapshots(&self, want: &Want) -> Result<(), String> {
        if !want.snapshot || self.target == OLD {
            return Err("takes a snapshot that nobody asked for".to_owned());
        }
        if self.books.snapshots > 1 + self.books.snapshot_faults {
            return Err("takes a snapshot again for no reason".to_owned());
        }
        if self.record.snapshot.failures >= 3 {
            return Err("three snapshots have failed".to_owned());
        }
        Ok(())
    }

    fn check_done(&self) -> Result<(), String> {
        let Cluster {
            members, template, ..
        } = &self.cluster;
        if *template != self.target || members.iter().any(|member| member.version != self.target) {
            return Err("says done and is not".to_owned());
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

    /// Whether a release that does not start has taken down a member that was not put on it by the
    /// attempt: that is waited for, and a person has to help.
    pub(crate) fn has_foreign_failure(&self) -> bool {
        let begun = |m: usize, member: &Member| {
            let current = self.record.current.as_ref();
            current.is_some_and(|c| number(&c.member) == m && c.to == member.version)
        };
        let failing =
            |(m, member): (usize, &Member)| member.state == State::Failing && !begun(m, member);
        self.cluster.members.iter().enumerate().any(failing)
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
