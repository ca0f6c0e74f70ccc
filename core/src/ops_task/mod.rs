//! An `EtcdOpsTask`, from admission to its end: [`decide`] looks at the task, its Etcd, the other
//! tasks of that Etcd and the work under way, and says what is to be done next. `Round::RULES` is the
//! whole decision; `core/tests/ops_task_exhaustive.rs` searches what can happen to it.
//!
//! What differs from etcd-druid v0.37.1: tasks of one Etcd run one after the other, first come first
//! served, and none is rejected because there is another. What may succeed when tried again is tried
//! a bounded number of times before one deadline. A task that cannot be read, or of an unknown kind,
//! can be deleted. What came of it is in `status.result`.

mod answer;
mod job;
mod leading;
mod maintenance;
mod numbers;
mod obstacle;
mod progress;
mod recovery;
mod seen;
mod status;
mod task;
#[cfg(test)]
mod tests;
mod trouble;

use jiff::{SignedDuration, Timestamp};

pub use answer::{
    Covered, Done, Latest, Link, NotRestorable, Snapshot, chain, covered, latest, newest,
    restorable, taken,
};
pub use job::{JobSeen, job_of_task};
pub use leading::{Says, answering, leading, places};
pub use maintenance::{Backups, Maintenance, Next, Reach};
pub use numbers::{Labels, Numbers};
pub use obstacle::Obstacle;
pub use progress::Progress;
pub use recovery::{
    Backup, Deletion, Held, Next as Recover, Phase, Place, Recovery, Seen as Recovering, TRIAL,
    There, WindUp, wind_up,
};
pub use seen::{
    CA_VOLUME, Cluster, EtcdSeen, Queue, Queued, Sidecar, at_work, ca_certificates, ca_secret,
    next_in_line, recovering, under_way,
};
pub use status::Told;
pub use task::{Kind, Operation, Owner, Stage, State, Take, Task, Unsupported};
pub use trouble::{Trouble, no_may_pass};

use crate::api::{EtcdOpsTaskStatus, TaskResult};
use crate::backup::snapshotter::Backoff;
use status::Change;

/// When a queued task is looked at again although nothing was heard of the one before it.
const QUEUED: SignedDuration = SignedDuration::from_secs(30);
/// How long one look for a snapshot may take that was taken while nobody waited for it.
const LOOK: SignedDuration = SignedDuration::from_secs(15);

/// How often and how patiently a task is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How often at most.
    pub attempts: u32,
    /// How long to wait between.
    pub backoff: Backoff,
}

impl Default for Limits {
    /// Five attempts within 30 s if each fails at once: a sidecar that restarts is waited for.
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Backoff::default(),
        }
    }
}

impl Limits {
    /// How long to wait after so many attempts in a row have failed; `None` if that is enough.
    /// `chance` is from 0 to 999.
    pub fn again(&self, failed: u32, chance: u16) -> Option<SignedDuration> {
        (failed < self.attempts).then(|| self.backoff.wait(failed, chance))
    }
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The task.
    pub task: &'a Task,
    /// Its Etcd; `None` until it was asked for ([`Act::AskEtcd`]).
    pub etcd: Option<&'a EtcdSeen>,
    /// The other tasks of that Etcd.
    pub others: &'a [Queued],
    /// What this process does for the task.
    pub work: &'a Work,
    /// How far it is with it.
    pub progress: &'a Progress,
    /// Whether nothing that it has told members is left: only a recovery tells them anything.
    pub wound_up: bool,
}

/// What this process does for a task. It is lost with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    None,
    /// It is the turn of the task, and no more.
    Held,
    /// An attempt is under way.
    Running,
    /// An attempt is over.
    Answered {
        /// [`Attempt::number`].
        attempt: u32,
        /// What came of it.
        result: Result<Done, Trouble>,
    },
    /// An attempt has failed, and the status tells of it.
    Failed {
        /// [`Attempt::number`].
        attempt: u32,
        /// When it was written there; the status itself has whole seconds.
        at: Timestamp,
    },
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first one.
    pub number: u32,
    /// For which task.
    pub owner: Owner,
    /// What is wanted.
    pub operation: Operation,
    /// How the sidecars are reached.
    pub sidecar: Sidecar,
    /// Whether there are backups.
    pub store: bool,
    /// What has come of earlier attempts.
    pub result: TaskResult,
    /// First look for a full snapshot that is newer than this: an earlier attempt may have taken it
    /// and its answer was lost.
    pub newer_than: Option<Timestamp>,
    /// Whether to do it if none was found.
    pub take: bool,
    /// When it has to be over.
    pub by: Timestamp,
    /// How long the whole task may take, for the message.
    pub limit: SignedDuration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Look at the Etcd and decide again.
    AskEtcd,
    /// Put our finalizer on the task.
    AddFinalizer,
    /// Take it off.
    RemoveFinalizer,
    /// Delete the task: it was kept long enough.
    Delete,
    /// Begin an attempt, beside everything else.
    Start(Box<Attempt>),
    /// The status tells of the failed attempt now.
    Note,
    /// The turn of this task is over: what is under way for it is given up.
    Forget,
    /// Take back what it has told members, as far as that is due, and decide again: see [`wind_up`].
    WindUp,
}

/// What to write, and then to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The new status, if it is not the one that the task has. Written before `act` is carried out,
    /// which is left undone if that fails.
    pub status: Option<EtcdOpsTaskStatus>,
    /// What to do after.
    pub act: Option<Act>,
    /// When to decide again if nothing is heard before.
    pub again: Option<Timestamp>,
    /// What to tell people, once the status is written.
    pub told: Option<Told>,
}

/// Decides. The same values always give the same decision.
pub fn decide(seen: &Observed<'_>, limits: &Limits, now: Timestamp) -> Decision {
    let round = Round { seen, limits, now };
    Round::RULES
        .iter()
        .find_map(|rule| rule(&round))
        .unwrap_or_default()
}

/// One decision in the making.
struct Round<'a> {
    seen: &'a Observed<'a>,
    limits: &'a Limits,
    now: Timestamp,
}

impl Round<'_> {
    /// Every rule, in order. Each says what to do, or nothing, which leaves it to the next one.
    const RULES: [fn(&Self) -> Option<Decision>; 9] = [
        Self::unreadable,
        Self::leaving,
        Self::over,
        Self::marked,
        Self::supported,
        Self::running,
        Self::answered,
        Self::queued,
        Self::begun,
    ];

    /// Of a task that cannot be read only the deletion is understood.
    fn unreadable(&self) -> Option<Decision> {
        let task = self.seen.task;
        (task.stage == Stage::Unreadable && !task.deleting).then(Decision::default)
    }

    /// It is being deleted: what is under way is ended, and nothing holds it any longer.
    fn leaving(&self) -> Option<Decision> {
        let task = self.seen.task;
        if !task.deleting {
            return None;
        }
        Some(match self.seen.work {
            Work::Running => Decision {
                act: Some(Act::Forget),
                ..self.write(&Change::cleanup())
            },
            Work::None if task.finalizer && !self.seen.wound_up => act(Act::WindUp),
            Work::None if task.finalizer => act(Act::RemoveFinalizer),
            Work::None => Decision::default(),
            Work::Held | Work::Answered { .. } | Work::Failed { .. } => act(Act::Forget),
        })
    }

    /// It is over, and is kept for a while.
    fn over(&self) -> Option<Decision> {
        let Stage::Over { since, .. } = self.seen.task.stage else {
            return None;
        };
        let until = later(since, self.seen.task.keep);
        Some(match self.seen.work {
            Work::Held | Work::Running | Work::Answered { .. } | Work::Failed { .. } => {
                act(Act::Forget)
            }
            Work::None if !self.seen.wound_up => act(Act::WindUp),
            Work::None if self.now >= until => act(Act::Delete),
            Work::None => again(until),
        })
    }

    /// Our finalizer is on it before anything is done for it.
    fn marked(&self) -> Option<Decision> {
        (!self.seen.task.finalizer).then(|| act(Act::AddFinalizer))
    }

    /// It asks for something that this release knows.
    fn supported(&self) -> Option<Decision> {
        let Err(unsupported) = &self.seen.task.wanted else {
            return None;
        };
        Some(self.refuse(&Trouble::Unsupported(unsupported.clone())))
    }

    /// An attempt is under way. It has a deadline of its own; this is for one that breaks its word.
    fn running(&self) -> Option<Decision> {
        if *self.seen.work != Work::Running {
            return None;
        }
        let progress = self.seen.progress;
        let told = if progress.step.is_empty() {
            Decision::default()
        } else {
            self.write(&Change::step(progress))
        };
        Some(Decision {
            again: Some(later(self.now, QUEUED)),
            ..told
        })
    }

    /// An attempt is over that the status does not tell of yet.
    fn answered(&self) -> Option<Decision> {
        let Stage::InProgress {
            started, failed, ..
        } = self.seen.task.stage
        else {
            return None;
        };
        let Work::Answered { attempt, result } = self.seen.work else {
            return None;
        };
        let operation = self.seen.task.wanted.as_ref().ok()?;
        match result {
            Ok(done) => Some(self.end(&Change::succeeded(done))),
            // It does already, and only the answer to writing it was lost.
            Err(_) if *attempt <= failed => Some(act(Act::Note)),
            Err(trouble) => {
                let next = later(self.now, self.pause(*attempt));
                if *attempt == 1 && trouble.rejects() {
                    return Some(self.end(&Change::rejected(trouble)));
                }
                let worth_it = trouble.may_pass()
                    && *attempt < self.limits.attempts
                    && next < later(started, operation.limit);
                Some(if worth_it {
                    let change = Change::again(trouble, *attempt);
                    Decision {
                        act: Some(Act::Note),
                        again: Some(next),
                        ..self.write(&change)
                    }
                } else {
                    self.end(&Change::failed(trouble, *attempt))
                })
            }
        }
    }

    /// It is not its turn: one of its Etcd is before it.
    fn queued(&self) -> Option<Decision> {
        if !self.seen.task.waits() {
            return None;
        }
        let before = seen::predecessor(self.seen.task, self.seen.others)?;
        Some(Decision {
            again: Some(later(self.now, QUEUED)),
            ..self.write(&Change::queued(before))
        })
    }

    /// It is its turn, if the Etcd is fit for it.
    fn begun(&self) -> Option<Decision> {
        let operation = self.seen.task.wanted.as_ref().ok()?;
        let (started, failed) = match self.seen.task.stage {
            Stage::Waiting => (None, 0),
            Stage::InProgress {
                started,
                failed,
                last_failure,
            } => {
                let (noted, noted_at) = self.noted();
                let (failed, last_failure) = (failed.max(noted), noted_at.or(last_failure));
                let next = last_failure.map_or(started, |it| later(it, self.pause(failed)));
                if failed > 0 && self.now < next {
                    return Some(again(next));
                }
                (Some(started), failed)
            }
            Stage::Over { .. } | Stage::Unreadable => return None,
        };
        let Some(etcd) = self.seen.etcd else {
            return Some(act(Act::AskEtcd));
        };
        let cluster = match etcd.fit_for(operation) {
            Ok(cluster) => cluster,
            Err(trouble) => return Some(self.refuse(&trouble)),
        };
        if started.is_none() && cluster.rolling && !operation.is_for_the_broken() {
            return Some(Decision {
                again: Some(later(self.now, QUEUED)),
                ..self.write(&Change::behind_a_roll())
            });
        }
        Some(self.start(operation.clone(), cluster, started, failed))
    }

    /// Begins the next attempt. One of which nothing is known may have done its work.
    fn start(
        &self,
        operation: Operation,
        cluster: &Cluster,
        started: Option<Timestamp>,
        failed: u32,
    ) -> Decision {
        let limit = operation.limit;
        let by = later(started.unwrap_or_else(|| whole(self.now)), limit);
        let newer_than = started.filter(|_| operation.leaves_a_trace());
        let take = self.now < by;
        if !take && newer_than.is_none() {
            return self.end(&Change::failed(&Trouble::TooLate(limit), failed));
        }
        let attempt = Attempt {
            number: failed + 1,
            owner: Owner {
                name: self.seen.task.name.clone(),
                uid: self.seen.task.uid.clone(),
            },
            operation,
            sidecar: cluster.sidecar.clone(),
            store: cluster.store,
            result: self.seen.task.result(),
            newer_than,
            take,
            by: if take { by } else { later(self.now, LOOK) },
            limit,
        };
        Decision {
            act: Some(Act::Start(Box::new(attempt))),
            ..self.write(&Change::begun(failed))
        }
    }

    /// How many attempts have failed as far as this process knows, and when the last did. The status
    /// says how many, too, but not where the definition in the API server is older than this release
    /// and drops the field.
    fn noted(&self) -> (u32, Option<Timestamp>) {
        match self.seen.work {
            Work::Failed { attempt, at } => (*attempt, Some(*at)),
            Work::None | Work::Held | Work::Running | Work::Answered { .. } => (0, None),
        }
    }

    /// The wait after so many failed attempts. Tasks that failed together do not all come again
    /// together.
    fn pause(&self, failed: u32) -> SignedDuration {
        self.limits.backoff.wait(failed, self.seen.task.chance())
    }

    /// Ends a task that cannot be done as things are: rejected if it has not begun.
    fn refuse(&self, trouble: &Trouble) -> Decision {
        self.end(&match self.seen.task.stage {
            Stage::InProgress { failed, .. } => Change::failed(trouble, failed),
            Stage::Waiting | Stage::Over { .. } | Stage::Unreadable => Change::rejected(trouble),
        })
    }

    fn end(&self, change: &Change) -> Decision {
        Decision {
            act: Some(Act::Forget),
            ..self.write(change)
        }
    }

    fn write(&self, change: &Change) -> Decision {
        let (status, told) = status::write(self.seen.task, change, self.seen.progress, self.now);
        Decision {
            status,
            told,
            ..Decision::default()
        }
    }
}

fn act(act: Act) -> Decision {
    Decision {
        act: Some(act),
        ..Decision::default()
    }
}

fn again(at: Timestamp) -> Decision {
    Decision {
        again: Some(at),
        ..Decision::default()
    }
}

/// `time` and some more, without an overflow.
fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// As an object has it.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
