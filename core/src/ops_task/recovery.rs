//! Recovery from the loss of quorum: [`Recovery::next`] looks at the places of all members and says what
//! is to be done next.
//!
//! Every step is an instruction in the lease of a member (`agent::recovery`), so whoever looks next, in
//! this process or another, sees how far it is and goes on from there. The order:
//!
//! 1. Is quorum lost, and how far does the backup restore? Nothing is changed before both are known. A pod
//!    that its kubelet calls ready is not lost, whether it answers us or not.
//! 2. All members are told to hold, and pods whose etcd may run are replaced. From here on no etcd runs,
//!    and every member says what it holds.
//! 3. The one whose log is the most up to date goes on alone, if it is not behind the backup; else one
//!    restores the backup. That one is the seed.
//! 4. Once the seed serves, and the status says what it was started with, the others get new volumes if
//!    that is wanted, and join it as learners.
//! 5. Once all vote and hold the same data, it is done.
//!
//! What is left of the instructions then, or whenever it ends before, [`wind_up`] takes away. Each part
//! ([`Phase`]) has its own patience, which begins anew in an operator that takes over.

mod place;
mod source;
mod winding_up;

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

pub use place::{Held, Place};
pub use winding_up::{WindUp, wind_up};

use super::obstacle::Obstacle;
use super::task::Unsupported;
use crate::agent::recovery::{Course, Instruction, Order};
use crate::api::{RecoverFromQuorumLoss, TaskResult};
use crate::duration::GoDuration;
use crate::member::MemberName;
use crate::observed::{Answer, Answered, Etcd, Hashes};
use place::uid;
use source::source;

/// For the largest backup to be restored on trial.
pub const TRIAL: SignedDuration = SignedDuration::from_mins(30);
/// How often at least it is tried to have the backup restored on trial.
const TRIALS: u32 = 2;

/// What may be done, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whether to go on although something may be lost that a backup or a member could have had.
    pub allow_data_loss: bool,
    /// Whether members that join again get new volumes.
    pub remove_volumes: bool,
    /// For pods to stop.
    pub stop: SignedDuration,
    /// For a pod to come up.
    pub pod: SignedDuration,
    /// For the cluster to be whole.
    pub whole: SignedDuration,
}

/// The backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Nobody was asked yet.
    NotAsked,
    /// There is none.
    None,
    /// Nobody could say, so often; why. It is asked again.
    Later {
        /// How often.
        tries: u32,
        /// Why.
        why: String,
    },
    /// It could not be read; why. It may be later.
    Unverified(String),
    /// It was read, and what is there cannot be restored; why.
    Damaged(String),
    /// It was restored on trial up to this revision.
    Restorable {
        /// The revision.
        revision: i64,
        /// When the newest part of it was written, if that is still known.
        written: Option<Timestamp>,
    },
}

/// What there is of a cluster at one moment.
#[derive(Clone, Copy, Debug)]
pub struct There<'a> {
    /// The uid of the task.
    pub task: &'a str,
    /// What its status says of the result so far.
    pub result: &'a TaskResult,
    /// The places of all members.
    pub places: &'a BTreeMap<MemberName, Place>,
    /// What the members answer.
    pub etcd: &'a Etcd,
    /// Who answers a linearizable read, and so has a quorum behind it; and the revision that it told.
    pub serving: &'a BTreeMap<MemberName, i64>,
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What there is.
    pub there: There<'a>,
    /// Since when this process has found it in its phase.
    pub since: Timestamp,
    /// The present.
    pub now: Timestamp,
    /// The backup.
    pub backup: &'a Backup,
    /// The members' data, if it was compared.
    pub hashes: Option<&'a Hashes>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was changed.
    Admission,
    /// Members are told to hold.
    Holding,
    /// One is told what to begin with.
    Founding,
    /// It has begun, and the status says so.
    Joining,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Let a sidecar restore the backup on trial.
    VerifyBackup,
    /// Write these into the leases; `None` takes away what is there.
    Tell(BTreeMap<MemberName, Option<Instruction>>),
    /// Delete a pod or a claim.
    Delete(Deletion),
    /// Let the status say this before anything else is done.
    Record(Box<TaskResult>),
    /// Compare the members' data.
    Compare,
    /// Look again soon; what it waits for.
    Wait(String),
    /// All is done.
    Finished,
}

/// What of a member has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The pod with this uid.
    Pod(MemberName, String),
    /// The claim with this uid.
    Claim(MemberName, String),
}

impl Recovery {
    pub(super) fn of(asked: &RecoverFromQuorumLoss) -> Result<Self, Unsupported> {
        Ok(Self {
            allow_data_loss: asked.allow_data_loss.unwrap_or(false),
            remove_volumes: asked.remove_volumes.unwrap_or(false),
            stop: length("scaleDownTimeout", &asked.scale_down_timeout)?,
            pod: length("podReadyTimeout", &asked.pod_ready_timeout)?,
            whole: length("etcdReadyTimeout", &asked.etcd_ready_timeout)?,
        })
    }

    /// How long all of it may take. What is late is told by a more exact reason before.
    pub(super) fn limit(&self) -> SignedDuration {
        let margin = SignedDuration::from_mins(1);
        let parts = [
            later(TRIAL, self.pod),
            self.saying(),
            self.founding(),
            self.whole,
            margin,
        ];
        parts.into_iter().fold(SignedDuration::ZERO, later)
    }

    /// Decides what is next.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub fn next(&self, seen: &Seen<'_>) -> Result<Next, Obstacle> {
        if let Some(deletion) = deletion(&seen.there, |_| true) {
            return Ok(Next::Delete(deletion));
        }
        match (seen.there.phase(), seen.there.seed()) {
            (Phase::Joining, _) => self.join(seen),
            (Phase::Founding, Some((seed, place))) => self.found(seen, seed, place),
            (Phase::Founding | Phase::Holding, _) => self.hold(seen),
            (Phase::Admission, _) => self.admit(seen),
        }
    }

    /// Nothing was changed, and nothing is before all is known.
    fn admit(&self, seen: &Seen<'_>) -> Result<Next, Obstacle> {
        if let Some((member, _)) = seen.there.serving.first_key_value() {
            return Err(Obstacle::QuorumThere(member.clone()));
        }
        if let Some(next) = self.verified(seen)? {
            return Ok(next);
        }
        // That nobody answers may be the fault of what is between us and them.
        let ready = seen.named(|place| place.pod.as_ref().is_some_and(|it| it.ready));
        if !ready.is_empty() {
            let waits =
                format!("the pods of {ready}, which are ready, to answer or to be ready no more");
            return seen.wait(self.stop, waits, || Obstacle::Unreached(ready));
        }
        Ok(Next::Tell(self.holds(seen)))
    }

    /// Whether the backup is good, as far as it has to be. Whoever takes over has what the status says of it.
    fn verified(&self, seen: &Seen<'_>) -> Result<Option<Next>, Obstacle> {
        let unverified = |why: &str| {
            if self.allow_data_loss {
                Ok(None)
            } else {
                Err(Obstacle::Unverified(why.to_owned()))
            }
        };
        match seen.backup {
            Backup::NotAsked => Ok(Some(Next::VerifyBackup)),
            Backup::Later { tries, why } => {
                if *tries < TRIALS || seen.within(self.pod) {
                    return Ok(Some(Next::VerifyBackup));
                }
                unverified(why)
            }
            Backup::None if !self.allow_data_loss => Err(Obstacle::NoBackup),
            // Without it what a member has would be gone on with, however far behind it is.
            Backup::Unverified(_) if self.allow_data_loss && seen.within(self.pod) => {
                Ok(Some(Next::VerifyBackup))
            }
            Backup::Unverified(why) | Backup::Damaged(why) => unverified(why),
            Backup::None => Ok(None),
            Backup::Restorable { revision, .. } => {
                let known = seen.there.result.backup_revision == Some(*revision);
                Ok((!known).then(|| {
                    Next::Record(Box::new(TaskResult {
                        backup_revision: Some(*revision),
                        ..seen.there.result.clone()
                    }))
                }))
            }
        }
    }

    /// All members are to wait, and to say what they hold; then one is told what to begin with.
    fn hold(&self, seen: &Seen<'_>) -> Result<Next, Obstacle> {
        let there = &seen.there;
        if let Some((member, _)) = there.serving.first_key_value() {
            return Err(Obstacle::QuorumBack(member.clone()));
        }
        let holds = self.holds(seen);
        if !holds.is_empty() {
            return Ok(Next::Tell(holds));
        }
        let stopping = seen.named(|place| place.is_stopping(there.task));
        if !stopping.is_empty() {
            return seen.wait(self.stop, format!("the pods of {stopping} to stop"), || {
                Obstacle::NotStopped(stopping)
            });
        }
        let silent = |place: &Place| place.holding(there.task).is_none();
        let unheard = seen.named(|it| silent(it) && (it.lost.is_none() || it.runs()));
        if !unheard.is_empty() {
            let waits = format!("{unheard} to say what they hold");
            let waited = seen.wait(self.saying(), waits, || Obstacle::Unheard(unheard));
            // One whose etcd may run is never counted as lost.
            let running = there.places.values().any(|it| silent(it) && it.runs());
            if waited.is_ok() || !self.allow_data_loss || running {
                return waited;
            }
        }
        if let (Backup::NotAsked | Backup::Later { .. } | Backup::Unverified(_), Some(next)) =
            (seen.backup, self.verified(seen)?)
        {
            return Ok(next);
        }
        let (seed, order) = source(there.task, there.places, seen.backup)?;
        let told = Instruction::new(there.task, order);
        Ok(Next::Tell(BTreeMap::from([(seed, Some(told))])))
    }

    /// Whom to tell to hold: everybody, and once more, with its pod, one that may have started before it
    /// was told.
    fn holds(&self, seen: &Seen<'_>) -> BTreeMap<MemberName, Option<Instruction>> {
        let task = seen.there.task;
        let late = !seen.within(self.stop);
        let to_tell = |place: &Place| match place.told_by(task) {
            None => true,
            Some(told) => {
                late && told.pod.is_none() && place.runs() && place.holding(task).is_none()
            }
        };
        let all = seen.there.places.iter();
        let all = all.filter(|(_, place)| to_tell(place));
        let hold = |(name, place): (&MemberName, &Place)| {
            // One that leaves goes by itself, and the next one may have come since this was seen.
            let stays = |it: &&Held| !it.leaves || place.told_by(task).is_some();
            let told = Instruction {
                pod: uid(place.pod.as_ref().filter(stays)),
                ..Instruction::new(task, Order::Hold)
            };
            (name.clone(), Some(told))
        };
        all.map(hold).collect()
    }

    /// One is told what to begin with.
    fn found(&self, seen: &Seen<'_>, seed: &MemberName, place: &Place) -> Result<Next, Obstacle> {
        match seeded(&seen.there, seed, place) {
            Some(revision) => {
                let written = seen.backup.restorable().and_then(|(_, written)| written);
                let result = result(&seen.there, seed, place, revision, written);
                Ok(Next::Record(Box::new(result)))
            }
            None => self.await_seed(seen, seed, place),
        }
    }

    /// The seed serves, and the status says so.
    fn join(&self, seen: &Seen<'_>) -> Result<Next, Obstacle> {
        let task = seen.there.task;
        // What it was told is done, and a volume that it gets later is not to do it again.
        if let Some((seed, _)) = seen.there.seed() {
            return Ok(Next::Tell(BTreeMap::from([(seed.clone(), None)])));
        }
        let joins = self.joins(seen);
        if !joins.is_empty() {
            return Ok(Next::Tell(joins));
        }
        let late =
            |lacks: String| seen.wait(self.whole, lacks.clone(), || Obstacle::NotWhole(lacks));
        let replaced = seen.named(|place| place.is_being_replaced(task));
        if !replaced.is_empty() {
            return late(format!("the volumes of {replaced} to be replaced"));
        }
        if let Err(lacks) = whole(seen) {
            return late(lacks);
        }
        match seen.hashes {
            None => Ok(Next::Compare),
            Some(Hashes::Equal { .. }) => Ok(Next::Finished),
            Some(Hashes::Different { revision, .. }) => Err(Obstacle::Differ(*revision)),
            Some(Hashes::Unknown(why)) => late(format!("the members' data to be compared ({why})")),
        }
    }

    fn await_seed(
        &self,
        seen: &Seen<'_>,
        seed: &MemberName,
        place: &Place,
    ) -> Result<Next, Obstacle> {
        let waits = match place.answer(seen.there.task) {
            Some(Course::Failed { why }) => format!("{seed}, which cannot start yet: {why}"),
            Some(Course::Holds { .. } | Course::Done) | None => format!("{seed} to serve"),
        };
        let late = Obstacle::NoSeed(waits.clone());
        seen.wait(self.founding(), waits, || late)
    }

    /// Until all have to have said what they hold.
    fn saying(&self) -> SignedDuration {
        later(self.stop, self.pod)
    }

    /// Until the seed has to serve: it may have a backup to restore before.
    fn founding(&self) -> SignedDuration {
        later(self.pod, self.pod)
    }

    /// Whom to tell to join. One that gets a new volume has it before it is told: what has joined votes
    /// soon, and a vote that is lost with its volume would cost the quorum again.
    fn joins(&self, seen: &Seen<'_>) -> BTreeMap<MemberName, Option<Instruction>> {
        let (task, seed) = (seen.there.task, &seen.there.result.recovered_from);
        let mut joins = BTreeMap::new();
        let others = seen.there.places.iter();
        for (name, place) in others.filter(|(name, _)| Some(&name.0) != seed.as_ref()) {
            let told = place.told_by(task);
            if told.is_some_and(|it| it.order == Order::Join) {
                continue;
            }
            let replaced = told.is_some_and(|it| it.volume.is_some());
            let anew = self.remove_volumes || place.lost.is_some();
            if replaced && place.is_being_replaced(task) {
                continue;
            }
            let next = if anew && !replaced && place.claim.is_some() {
                Instruction {
                    pod: uid(place.pod.as_ref()),
                    volume: uid(place.claim.as_ref()),
                    ..Instruction::new(task, Order::Hold)
                }
            } else {
                Instruction::new(task, Order::Join)
            };
            joins.insert(name.clone(), Some(next));
        }
        joins
    }
}

impl Backup {
    /// What is known of it before anybody was asked. `store`: whether there is one. Once members are told
    /// anything, what was found before that holds.
    pub fn at_first(store: bool, there: &There<'_>) -> Self {
        let before = there.result.backup_revision;
        match (store, there.phase(), before) {
            (false, _, _) => Self::None,
            (true, Phase::Holding | Phase::Founding | Phase::Joining, Some(revision)) => {
                Self::Restorable {
                    revision,
                    written: None,
                }
            }
            (true, _, _) => Self::NotAsked,
        }
    }

    /// Up to which revision it can be restored, and when the newest part of it was written, if that is known.
    fn restorable(&self) -> Option<(i64, Option<Timestamp>)> {
        match self {
            Self::Restorable { revision, written } => Some((*revision, *written)),
            Self::NotAsked
            | Self::None
            | Self::Later { .. }
            | Self::Unverified(_)
            | Self::Damaged(_) => None,
        }
    }

    /// Nobody could say this time.
    #[must_use]
    pub fn later(&self, why: String) -> Self {
        let before = match self {
            Self::Later { tries, .. } => *tries,
            Self::NotAsked
            | Self::None
            | Self::Unverified(_)
            | Self::Damaged(_)
            | Self::Restorable { .. } => 0,
        };
        Self::Later {
            tries: before.saturating_add(1),
            why,
        }
    }
}

impl There<'_> {
    /// How far it is.
    pub fn phase(&self) -> Phase {
        let told = self
            .places
            .values()
            .any(|it| it.told_by(self.task).is_some());
        if self.result.recovered_from.is_some() {
            Phase::Joining
        } else if self.seed().is_some() {
            Phase::Founding
        } else if told {
            Phase::Holding
        } else {
            Phase::Admission
        }
    }

    /// Who was told what to begin with.
    fn seed(&self) -> Option<(&MemberName, &Place)> {
        let mut all = self.places.iter();
        all.find(|(_, place)| place.founds(self.task).is_some())
    }
}

impl Seen<'_> {
    fn within(&self, limit: SignedDuration) -> bool {
        self.now.duration_since(self.since) < limit
    }

    /// As long as it is within the limit, else why not.
    fn wait(
        &self,
        limit: SignedDuration,
        waits: String,
        late: impl FnOnce() -> Obstacle,
    ) -> Result<Next, Obstacle> {
        if self.within(limit) {
            Ok(Next::Wait(waits))
        } else {
            Err(late())
        }
    }

    fn named(&self, which: impl Fn(&Place) -> bool) -> String {
        let all = self.there.places.iter().filter(|(_, place)| which(place));
        let names: Vec<&str> = all.map(|(name, _)| name.0.as_str()).collect();
        names.join(", ")
    }
}

/// What has to go and does not go yet. A claim first: it goes with the last pod that uses it.
fn deletion(there: &There<'_>, whose: impl Fn(&MemberName) -> bool) -> Option<Deletion> {
    for (name, place) in there.places.iter().filter(|(name, _)| whose(name)) {
        let Some(told) = place.told_by(there.task) else {
            continue;
        };
        let goes = |held: &Option<Held>, uid: &Option<String>| {
            let held = held.as_ref().filter(|it| !it.leaves)?;
            (Some(&held.uid) == uid.as_ref()).then(|| held.uid.clone())
        };
        if let Some(uid) = goes(&place.claim, &told.volume) {
            return Some(Deletion::Claim(name.clone(), uid));
        }
        if let Some(uid) = goes(&place.pod, &told.pod) {
            return Some(Deletion::Pod(name.clone(), uid));
        }
    }
    None
}

/// The revision of the seed, once it has done as it was told and serves alone.
fn seeded(there: &There<'_>, seed: &MemberName, place: &Place) -> Option<i64> {
    let done = place.answer(there.task) == Some(&Course::Done);
    let alone = match &there.etcd.membership {
        Answered::Known(listed) => listed.iter().all(|it| it.name == *seed),
        Answered::Unknown(_) => false,
    };
    there.serving.get(seed).copied().filter(|_| done && alone)
}

/// What the status says of the seed.
fn result(
    there: &There<'_>,
    seed: &MemberName,
    place: &Place,
    revision: i64,
    written: Option<Timestamp>,
) -> TaskResult {
    let with_backup = place.founds(there.task) == Some(Order::Restore);
    let backup = there.result.backup_revision;
    let beyond = backup.filter(|it| *it > revision);
    let loss = match (with_backup, beyond, written) {
        (true, Some(backup), _) => format!(
            "what was written after revision {revision}: on trial the backup was restored up to {backup}, \
             and when {seed} restored it no farther than that; see what the store has lost since"
        ),
        (true, None, Some(written)) => format!(
            "what was written after revision {revision}, which the backup reaches that was written at \
             {written}"
        ),
        (true, None, None) => {
            format!("what was written after revision {revision} of the backup")
        }
        (false, Some(backup), _) => format!(
            "revisions {} to {backup}: the backup has them, and {seed} turned out to begin at \
             {revision}; and what the lost members alone had",
            revision + 1
        ),
        (false, None, _) => format!(
            "what the lost members alone had acknowledged after the last entry that reached {seed}"
        ),
    };
    TaskResult {
        recovered_from: Some(seed.0.clone()),
        recovered_with: Some(if with_backup { "Backup" } else { "Member" }.to_owned()),
        recovered_revision: Some(revision),
        possible_loss: Some(loss),
        ..there.result.clone()
    }
}

/// Whether all members vote and serve; if not, what is lacking.
fn whole(seen: &Seen<'_>) -> Result<(), String> {
    let listed = match &seen.there.etcd.membership {
        Answered::Known(listed) => listed,
        Answered::Unknown(why) => return Err(format!("the member list ({why})")),
    };
    let votes = |name: &&MemberName| listed.iter().any(|it| it.name == **name && !it.learner);
    let lacking: Vec<_> = seen
        .there
        .places
        .keys()
        .filter(|name| !votes(name))
        .collect();
    if let Some(first) = lacking.first() {
        let place = seen.there.places.get(*first);
        let why = match place.and_then(|it| it.answer(seen.there.task)) {
            Some(Course::Failed { why }) => format!(" ({why})"),
            Some(Course::Holds { .. } | Course::Done) | None => String::new(),
        };
        return Err(format!("{first} to join and to vote{why}"));
    }
    if listed.len() != seen.there.places.len() {
        return Err("the member list to be that of the Etcd".to_owned());
    }
    for name in seen.there.places.keys() {
        match seen.there.etcd.members.get(name) {
            Some(Answer::Status(status)) => {
                if let Err(why) = &status.ready {
                    return Err(format!("{name} to serve ({why})"));
                }
            }
            Some(Answer::Silent(why)) => return Err(format!("{name} to answer ({why})")),
            None => return Err(format!("{name} to answer")),
        }
    }
    Ok(())
}

fn later(a: SignedDuration, b: SignedDuration) -> SignedDuration {
    a.checked_add(b).unwrap_or(SignedDuration::MAX)
}

fn length(field: &'static str, text: &str) -> Result<SignedDuration, Unsupported> {
    let length = text.parse::<GoDuration>().ok();
    let length = length.and_then(|it| SignedDuration::try_from(it.0).ok());
    length
        .filter(SignedDuration::is_positive)
        .ok_or_else(|| Unsupported::Patience {
            field,
            text: text.to_owned(),
        })
}

impl TaskResult {
    /// What has come of a recovery, in one sentence.
    pub(super) fn recovered(&self) -> String {
        let with = match self.recovered_with.as_deref() {
            Some("Backup") => "the backup",
            Some(_) | None => "its own data",
        };
        format!(
            "Recovered from {} with {with}, at revision {}; possibly lost: {}",
            self.recovered_from.as_deref().unwrap_or_default(),
            self.recovered_revision.unwrap_or_default(),
            self.possible_loss.as_deref().unwrap_or("nothing"),
        )
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VerifyBackup => f.write_str("Restores the backup on trial"),
            Self::Tell(all) => tells(f, all),
            Self::Delete(deletion) => fmt::Display::fmt(deletion, f),
            Self::Record(result) => records(f, result),
            Self::Compare => f.write_str("Compares the members' data"),
            Self::Wait(what) => write!(f, "Waits for {what}"),
            Self::Finished => f.write_str("Is done"),
        }
    }
}

impl fmt::Display for Deletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name, _) => write!(f, "Replaces the pod of {name}"),
            Self::Claim(name, _) => write!(f, "Replaces the volume of {name}"),
        }
    }
}

fn tells(
    f: &mut fmt::Formatter<'_>,
    all: &BTreeMap<MemberName, Option<Instruction>>,
) -> fmt::Result {
    let order = |(name, told): (&MemberName, &Option<Instruction>)| match told {
        Some(told) => format!("{name} to {}", told.order),
        None => format!("{name} that it is free"),
    };
    let orders: Vec<String> = all.iter().map(order).collect();
    write!(f, "Tells {}", orders.join(", "))
}

fn records(f: &mut fmt::Formatter<'_>, result: &TaskResult) -> fmt::Result {
    match (&result.recovered_from, result.recovered_revision) {
        (Some(from), Some(revision)) => write!(f, "Goes on from {from} at revision {revision}"),
        (Some(_) | None, _) => write!(
            f,
            "The backup can be restored up to revision {}",
            result.backup_revision.unwrap_or_default()
        ),
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
