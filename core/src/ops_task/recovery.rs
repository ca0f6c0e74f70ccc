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
//! 5. Once all vote and hold the same data, the instructions are taken away.
//!
//! Up to 3 it can be given up, and the members start as they were. After it there is no way back, and
//! none is needed: what the others held is on their volumes until they join.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::obstacle::Obstacle;
use super::task::Unsupported;
use crate::agent::recovery::{Course, Holding, Instruction, Order, Report};
use crate::api::{RecoverFromQuorumLoss, TaskResult};
use crate::duration::GoDuration;
use crate::member::MemberName;
use crate::observed::{Answer, Answered, Etcd, Hashes};
use crate::reconcile;

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

/// A place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its pod, if there is one.
    pub pod: Option<Held>,
    /// Its claim of a volume, if there is one.
    pub claim: Option<Held>,
    /// Why its volume cannot be had, if that is known: its data is lost.
    pub lost: Option<String>,
    /// What it is told.
    pub told: Option<Instruction>,
    /// What it reports.
    pub says: Option<Report>,
}

/// An object that may have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it never shares with another of the same name.
    pub uid: String,
    /// Whether it is being deleted.
    pub leaves: bool,
    /// Whether it is a pod of which a container has ever started: its etcd may run.
    pub ran: bool,
    /// Whether it is a pod that its kubelet calls ready: its etcd has had a quorum behind it just now.
    pub ready: bool,
}

/// The backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Nobody was asked yet.
    NotAsked,
    /// There is none.
    None,
    /// It could not be read, or not restored; why.
    Unverified(String),
    /// It was restored on trial up to this revision.
    Restorable {
        /// The revision.
        revision: i64,
        /// When the newest part of it was written.
        written: Timestamp,
    },
}

/// What is known at one moment.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The uid of the task.
    pub task: &'a str,
    /// When it was begun.
    pub began: Timestamp,
    /// The present.
    pub now: Timestamp,
    /// What its status says of the result so far.
    pub result: &'a TaskResult,
    /// The places of all members.
    pub places: &'a BTreeMap<MemberName, Place>,
    /// What the members answer.
    pub etcd: &'a Etcd,
    /// Who answers a linearizable read, and so has a quorum behind it; and the revision that it told.
    pub serving: &'a BTreeMap<MemberName, i64>,
    /// The backup.
    pub backup: &'a Backup,
    /// The members' data, if it was compared.
    pub hashes: Option<&'a Hashes>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Let a sidecar restore the backup on trial.
    VerifyBackup,
    /// Write these into the leases.
    Tell(BTreeMap<MemberName, Instruction>),
    /// Delete the pod with this uid.
    DeletePod(MemberName, String),
    /// Delete the claim with this uid.
    DeleteClaim(MemberName, String),
    /// Let the status say this before anything else is done.
    Record(Box<TaskResult>),
    /// Compare the members' data.
    Compare,
    /// Look again soon; what it waits for.
    Wait(String),
    /// Take the instructions of the task away.
    Clear,
    /// All is done.
    Finished,
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
        let margin = SignedDuration::from_secs(30);
        later(later(self.seeding(), self.whole), margin)
    }

    /// Decides what is next.
    ///
    /// # Errors
    /// Why it cannot go on. Unless one [`Place::is_seed`], the members are to be released then.
    pub fn next(&self, seen: &Seen<'_>) -> Result<Next, Obstacle> {
        if let Some(deletion) = deletion(seen) {
            return Ok(deletion);
        }
        match seen.seed() {
            Some((name, place)) => self.after(seen, name, place),
            // It was done, and the instructions are taken away.
            None if seen.result.recovered_from.is_some() => Ok(Next::Finished),
            None => self.before(seen),
        }
    }

    /// There is no seed yet.
    fn before(&self, seen: &Seen<'_>) -> Result<Next, Obstacle> {
        if let Some((member, _)) = seen.serving.first_key_value() {
            return Err(Obstacle::QuorumThere(member.clone()));
        }
        match seen.backup {
            Backup::NotAsked => return Ok(Next::VerifyBackup),
            Backup::None if !self.allow_data_loss => return Err(Obstacle::NoBackup),
            Backup::Unverified(why) if !self.allow_data_loss => {
                return Err(Obstacle::Unverified(why.clone()));
            }
            Backup::None | Backup::Unverified(_) | Backup::Restorable { .. } => {}
        }
        // That nobody answers may be the fault of what is between us and them.
        let ready = seen.named(|place| place.pod.as_ref().is_some_and(|it| it.ready));
        let begun = seen
            .places
            .values()
            .any(|it| it.told_by(seen.task).is_some());
        if !ready.is_empty() && !begun {
            let waits =
                format!("the pods of {ready}, which are ready, to answer or to be ready no more");
            return seen.wait(self.stop, waits, || Obstacle::Unreached(ready));
        }
        let holds = self.holds(seen);
        if !holds.is_empty() {
            return Ok(Next::Tell(holds));
        }
        let stopping = seen.named(|place| place.is_stopping(seen.task));
        if !stopping.is_empty() {
            return seen.wait(self.stop, format!("the pods of {stopping} to stop"), || {
                Obstacle::NotStopped(stopping)
            });
        }
        let silent = |place: &Place| holding(place, seen).is_none();
        let unheard = seen.named(|it| silent(it) && (it.lost.is_none() || it.runs()));
        if !unheard.is_empty() {
            let limit = later(self.stop, self.pod);
            let waits = format!("{unheard} to say what they hold");
            let waited = seen.wait(limit, waits, || Obstacle::Unheard(unheard));
            // One whose etcd may run is never counted as lost.
            let running = seen.places.values().any(|it| silent(it) && it.runs());
            if waited.is_ok() || !self.allow_data_loss || running {
                return waited;
            }
        }
        let (seed, order) = source(seen)?;
        let told = Instruction::new(seen.task, order);
        Ok(Next::Tell(BTreeMap::from([(seed, told)])))
    }

    /// Whom to tell to hold: everybody, and once more, with its pod, one that may have started before it
    /// was told.
    fn holds(&self, seen: &Seen<'_>) -> BTreeMap<MemberName, Instruction> {
        let late = !seen.within(self.stop);
        let to_tell = |place: &Place| match place.told_by(seen.task) {
            None => true,
            Some(told) => {
                late && told.pod.is_none() && place.runs() && holding(place, seen).is_none()
            }
        };
        let all = seen.places.iter().filter(|(_, place)| to_tell(place));
        let hold = |(name, place): (&MemberName, &Place)| {
            let told = Instruction {
                pod: uid(place.pod.as_ref()),
                ..Instruction::new(seen.task, Order::Hold)
            };
            (name.clone(), told)
        };
        all.map(hold).collect()
    }

    /// There is a seed.
    fn after(&self, seen: &Seen<'_>, seed: &MemberName, place: &Place) -> Result<Next, Obstacle> {
        if seen.result.recovered_from.is_none() {
            return match seeded(seen, seed, place) {
                Some(revision) => {
                    let result = result(seen, seed, place, revision);
                    Ok(Next::Record(Box::new(result)))
                }
                None => self.await_seed(seen, seed, place),
            };
        }
        let joins = self.joins(seen, seed);
        if !joins.is_empty() {
            return Ok(Next::Tell(joins));
        }
        let replaced = seen.named(|place| place.is_being_replaced(seen.task));
        if !replaced.is_empty() {
            let limit = later(self.seeding(), self.whole);
            let lacks = format!("the volumes of {replaced} to be replaced");
            return seen.wait(limit, lacks.clone(), || Obstacle::NotWhole(lacks));
        }
        if let Err(lacks) = whole(seen) {
            let limit = later(self.seeding(), self.whole);
            return seen.wait(limit, lacks.clone(), || Obstacle::NotWhole(lacks));
        }
        match seen.hashes {
            None => Ok(Next::Compare),
            Some(Hashes::Equal { .. }) => Ok(Next::Clear),
            Some(Hashes::Different { revision, .. }) => Err(Obstacle::Differ(*revision)),
            Some(Hashes::Unknown(why)) => {
                let waits = format!("the members' data to be compared ({why})");
                let limit = later(self.seeding(), self.whole);
                seen.wait(limit, waits.clone(), || Obstacle::NotWhole(waits))
            }
        }
    }

    fn await_seed(
        &self,
        seen: &Seen<'_>,
        seed: &MemberName,
        place: &Place,
    ) -> Result<Next, Obstacle> {
        let failed = place.says.as_ref().filter(|it| it.task == seen.task);
        let waits = match failed.map(|it| &it.course) {
            Some(Course::Failed { why }) => format!("{seed}, which cannot start yet: {why}"),
            Some(Course::Holds { .. } | Course::Done) | None => format!("{seed} to serve"),
        };
        let late = Obstacle::NoSeed(waits.clone());
        seen.wait(self.seeding(), waits, || late)
    }

    /// Until when the seed has to serve.
    fn seeding(&self) -> SignedDuration {
        later(later(self.stop, self.pod), self.pod)
    }

    /// Whom to tell to join. One that gets a new volume has it before it is told: what has joined votes
    /// soon, and a vote that is lost with its volume would cost the quorum again.
    fn joins(&self, seen: &Seen<'_>, seed: &MemberName) -> BTreeMap<MemberName, Instruction> {
        let mut joins = BTreeMap::new();
        for (name, place) in seen.places.iter().filter(|(name, _)| *name != seed) {
            let told = place.told_by(seen.task);
            if told.is_some_and(|it| it.order == Order::Join) {
                continue;
            }
            let replaced = told.is_some_and(|it| it.volume.is_some());
            let anew = self.remove_volumes || place.lost.is_some();
            if replaced && place.is_being_replaced(seen.task) {
                continue;
            }
            let next = if anew && !replaced && place.claim.is_some() {
                Instruction {
                    pod: uid(place.pod.as_ref()),
                    volume: uid(place.claim.as_ref()),
                    ..Instruction::new(seen.task, Order::Hold)
                }
            } else {
                Instruction::new(seen.task, Order::Join)
            };
            joins.insert(name.clone(), next);
        }
        joins
    }
}

impl Seen<'_> {
    fn seed(&self) -> Option<(&MemberName, &Place)> {
        let mut all = self.places.iter();
        all.find(|(_, place)| place.is_seed(self.task))
    }

    fn within(&self, limit: SignedDuration) -> bool {
        self.now.duration_since(self.began) < limit
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
        let all = self.places.iter().filter(|(_, place)| which(place));
        let names: Vec<&str> = all.map(|(name, _)| name.0.as_str()).collect();
        names.join(", ")
    }
}

impl Place {
    /// Of the objects that a place is made of. A lease that cannot be read tells nothing.
    pub fn of(
        pod: Option<&Pod>,
        claim: Option<&PersistentVolumeClaim>,
        lease: Option<&Lease>,
    ) -> Self {
        let lease = lease.and_then(|it| serde_json::to_value(it).ok());
        let lease = lease.unwrap_or_default();
        let phase = claim.and_then(|it| it.status.as_ref()?.phase.as_deref());
        Self {
            pod: pod.map(|it| Held {
                ran: has_run(it),
                ready: reconcile::ready(it),
                ..Held::of(&it.metadata)
            }),
            claim: claim.map(|it| Held::of(&it.metadata)),
            lost: (phase == Some("Lost")).then(|| "its claim has lost its volume".to_owned()),
            told: Instruction::of(&lease).ok().flatten(),
            says: Report::of(&lease),
        }
    }

    /// What it is told for this task.
    pub fn told_by(&self, task: &str) -> Option<&Instruction> {
        self.told.as_ref().filter(|it| it.task == task)
    }

    /// Whether it was told what to start with: from then on there is no way back.
    pub fn is_seed(&self, task: &str) -> bool {
        let told = self.told_by(task).map(|it| it.order);
        matches!(told, Some(Order::Alone | Order::Restore))
    }

    fn runs(&self) -> bool {
        self.pod.as_ref().is_some_and(|it| it.ran)
    }

    /// Whether the volume or the pod that has to go is still there.
    fn is_being_replaced(&self, task: &str) -> bool {
        let told = self.told_by(task).and_then(|it| it.volume.as_ref());
        let claim = uid(self.claim.as_ref());
        self.is_stopping(task) || (told.is_some() && claim.as_ref() == told)
    }

    /// Whether the pod that has to go is still there.
    fn is_stopping(&self, task: &str) -> bool {
        let told = self.told_by(task).and_then(|it| it.pod.as_ref());
        told.is_some() && uid(self.pod.as_ref()).as_ref() == told
    }
}

impl Held {
    fn of(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            leaves: metadata.deletion_timestamp.is_some(),
            ran: false,
            ready: false,
        }
    }
}

fn has_run(pod: &Pod) -> bool {
    let containers = pod
        .status
        .as_ref()
        .and_then(|it| it.container_statuses.as_deref());
    containers.unwrap_or_default().iter().any(|it| {
        let states = [it.state.as_ref(), it.last_state.as_ref()];
        let mut states = states.into_iter().flatten();
        states.any(|it| it.running.is_some() || it.terminated.is_some())
    })
}

fn uid(held: Option<&Held>) -> Option<String> {
    held.map(|it| it.uid.clone())
}

/// What has to go and does not go yet. A claim first: it goes with the last pod that uses it.
fn deletion(seen: &Seen<'_>) -> Option<Next> {
    for (name, place) in seen.places {
        let Some(told) = place.told_by(seen.task) else {
            continue;
        };
        let goes = |held: &Option<Held>, uid: &Option<String>| {
            let held = held.as_ref().filter(|it| !it.leaves)?;
            (Some(&held.uid) == uid.as_ref()).then(|| held.uid.clone())
        };
        if let Some(uid) = goes(&place.claim, &told.volume) {
            return Some(Next::DeleteClaim(name.clone(), uid));
        }
        if let Some(uid) = goes(&place.pod, &told.pod) {
            return Some(Next::DeletePod(name.clone(), uid));
        }
    }
    None
}

fn holding<'a>(place: &'a Place, seen: &Seen<'_>) -> Option<&'a Holding> {
    let says = place.says.as_ref().filter(|it| it.task == seen.task)?;
    match &says.course {
        Course::Holds { data } => Some(data),
        Course::Done | Course::Failed { .. } => None,
    }
}

/// Who becomes the seed, and with what.
fn source(seen: &Seen<'_>) -> Result<(MemberName, Order), Obstacle> {
    let mut clusters = BTreeMap::new();
    let mut best: Option<(u64, u64, i64, &MemberName)> = None;
    for (name, place) in seen.places {
        if let Some(Holding::Data {
            cluster,
            term,
            index,
            revision,
        }) = holding(place, seen)
        {
            clusters.insert(cluster, name);
            // Raft's own order: whoever is first in it has every entry that was ever committed, as far
            // as any of them has it.
            if best.is_none_or(|it| (it.0, it.1) < (*term, *index)) {
                best = Some((*term, *index, *revision, name));
            }
        }
    }
    let mut members = clusters.into_values();
    if let (Some(one), Some(other)) = (members.next(), members.next()) {
        return Err(Obstacle::TwoClusters(one.clone(), other.clone()));
    }
    match (best, seen.backup) {
        (Some((_, _, reaches, name)), Backup::Restorable { revision, .. })
            if reaches >= *revision =>
        {
            Ok((name.clone(), Order::Alone))
        }
        (_, Backup::Restorable { .. }) => restorer(seen).map(|it| (it, Order::Restore)),
        (Some((.., name)), Backup::NotAsked | Backup::None | Backup::Unverified(_)) => {
            Ok((name.clone(), Order::Alone))
        }
        (None, Backup::NotAsked | Backup::None | Backup::Unverified(_)) => {
            Err(Obstacle::NothingLeft)
        }
    }
}

/// Who restores: one that has nothing to put aside, if there is one.
fn restorer(seen: &Seen<'_>) -> Result<MemberName, Obstacle> {
    let empty = |it: &&(&MemberName, &Place)| holding(it.1, seen) == Some(&Holding::Nothing);
    let heard: Vec<_> = seen
        .places
        .iter()
        .filter(|it| holding(it.1, seen).is_some())
        .collect();
    let (name, _) = heard
        .iter()
        .find(empty)
        .or(heard.first())
        .ok_or_else(|| Obstacle::Unheard(seen.named(|_| true)))?;
    Ok((*name).clone())
}

/// The revision of the seed, once it has done as it was told and serves alone.
fn seeded(seen: &Seen<'_>, seed: &MemberName, place: &Place) -> Option<i64> {
    let told = place.told_by(seen.task)?;
    let says = place.says.as_ref()?;
    let done = says.task == told.task && says.order == told.order && says.course == Course::Done;
    let alone = match &seen.etcd.membership {
        Answered::Known(listed) => listed.iter().all(|it| it.name == *seed),
        Answered::Unknown(_) => false,
    };
    seen.serving.get(seed).copied().filter(|_| done && alone)
}

/// What the status says of the seed.
fn result(seen: &Seen<'_>, seed: &MemberName, place: &Place, revision: i64) -> TaskResult {
    let with_backup = place.told_by(seen.task).map(|it| it.order) == Some(Order::Restore);
    let (backup, written) = match seen.backup {
        Backup::Restorable { revision, written } => (Some(*revision), Some(*written)),
        Backup::NotAsked | Backup::None | Backup::Unverified(_) => (None, None),
    };
    let loss = match (with_backup, backup, written) {
        (true, _, Some(written)) => format!(
            "what was written after revision {revision}, which the backup reaches that was written at \
             {written}"
        ),
        (true, _, None) => format!("what was written after revision {revision} of the backup"),
        (false, Some(backup), _) if backup > revision => format!(
            "revisions {} to {backup}: the backup has them, and {seed} turned out to begin at \
             {revision}; and what the lost members alone had",
            revision + 1
        ),
        (false, _, _) => format!(
            "what the lost members alone had acknowledged after the last entry that reached {seed}"
        ),
    };
    TaskResult {
        recovered_from: Some(seed.0.clone()),
        recovered_with: Some(if with_backup { "Backup" } else { "Member" }.to_owned()),
        recovered_revision: Some(revision),
        backup_revision: backup,
        possible_loss: Some(loss),
        ..seen.result.clone()
    }
}

/// Whether all members vote and serve; if not, what is lacking.
fn whole(seen: &Seen<'_>) -> Result<(), String> {
    let listed = match &seen.etcd.membership {
        Answered::Known(listed) => listed,
        Answered::Unknown(why) => return Err(format!("the member list ({why})")),
    };
    let votes = |name: &&MemberName| listed.iter().any(|it| it.name == **name && !it.learner);
    let lacking: Vec<_> = seen.places.keys().filter(|name| !votes(name)).collect();
    if let Some(first) = lacking.first() {
        let why = seen.places.get(*first).and_then(|it| it.says.as_ref());
        let why = match why.filter(|it| it.task == seen.task).map(|it| &it.course) {
            Some(Course::Failed { why }) => format!(" ({why})"),
            Some(Course::Holds { .. } | Course::Done) | None => String::new(),
        };
        return Err(format!("{first} to join and to vote{why}"));
    }
    if listed.len() != seen.places.len() {
        return Err("the member list to be that of the Etcd".to_owned());
    }
    for name in seen.places.keys() {
        match seen.etcd.members.get(name) {
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
            Self::Tell(all) => {
                let orders: Vec<String> = all
                    .iter()
                    .map(|(name, told)| format!("{name} to {}", told.order))
                    .collect();
                write!(f, "Tells {}", orders.join(", "))
            }
            Self::DeletePod(name, _) => write!(f, "Replaces the pod of {name}"),
            Self::DeleteClaim(name, _) => write!(f, "Replaces the volume of {name}"),
            Self::Record(result) => write!(
                f,
                "Goes on from {} at revision {}",
                result.recovered_from.as_deref().unwrap_or_default(),
                result.recovered_revision.unwrap_or_default()
            ),
            Self::Compare => f.write_str("Compares the members' data"),
            Self::Wait(what) => write!(f, "Waits for {what}"),
            Self::Clear => f.write_str("Takes the instructions away"),
            Self::Finished => f.write_str("Is done"),
        }
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
