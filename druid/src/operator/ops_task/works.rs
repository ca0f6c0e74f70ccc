//! What this process does for tasks, beside the workers: whose turn it is, what is under way, and what
//! came of it. Gone when the process is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use druid_core::ops_task::{Done, Progress, Task, Trouble, Work};
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Object;

/// All of it, by the uid of the task.
#[derive(Debug)]
pub(super) struct Works {
    entries: Mutex<Entries>,
    wake: mpsc::UnboundedSender<ObjectRef<Object>>,
}

#[derive(Debug, Default)]
struct Entries {
    by_uid: BTreeMap<String, Entry>,
    /// What is under way has a number: what an older one says does not count.
    numbers: u64,
    /// How often in a row a task could not be looked at.
    failures: BTreeMap<String, u32>,
    /// Those of which nothing is left with members, and whether they were being deleted then: whoever
    /// deletes one has it looked at once more.
    wound_up: BTreeSet<(String, bool)>,
}

#[derive(Debug)]
struct Entry {
    namespace: String,
    etcd: String,
    state: State,
    progress: Progress,
}

#[derive(Debug)]
enum State {
    Held,
    Running {
        number: u64,
        handle: AbortHandle,
    },
    Answered {
        attempt: u32,
        result: Result<Done, Trouble>,
    },
    Failed {
        attempt: u32,
        at: Timestamp,
    },
}

impl Works {
    /// `wake`: told which task to look at.
    pub(super) fn new(wake: mpsc::UnboundedSender<ObjectRef<Object>>) -> Self {
        Self {
            entries: Mutex::default(),
            wake,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done for a task. Work that died without a word is no longer done.
    pub(super) fn of(&self, uid: &str) -> Work {
        let entries = self.lock();
        match entries.by_uid.get(uid).map(|it| &it.state) {
            None => Work::None,
            Some(State::Held) => Work::Held,
            Some(State::Running { handle, .. }) if handle.is_finished() => Work::Held,
            Some(State::Running { .. }) => Work::Running,
            Some(State::Answered { attempt, result }) => Work::Answered {
                attempt: *attempt,
                result: result.clone(),
            },
            Some(State::Failed { attempt, at }) => Work::Failed {
                attempt: *attempt,
                at: *at,
            },
        }
    }

    /// Whether it is the turn of this task.
    pub(super) fn holds(&self, uid: &str) -> bool {
        self.lock().by_uid.contains_key(uid)
    }

    /// Gives the turn of its Etcd to a task, if no other has it.
    pub(super) fn hold(&self, task: &Task) -> bool {
        let mut entries = self.lock();
        let etcd = task.etcd.clone().unwrap_or_default();
        let busy = entries
            .by_uid
            .iter()
            .any(|(uid, it)| *uid != task.uid && it.namespace == task.namespace && it.etcd == etcd);
        if !busy {
            entries
                .by_uid
                .entry(task.uid.clone())
                .or_insert_with(|| Entry {
                    namespace: task.namespace.clone(),
                    etcd,
                    state: State::Held,
                    progress: Progress::default(),
                });
        }
        !busy
    }

    /// Begins an attempt for a task that has its turn.
    pub(super) fn start<F>(
        self: &Arc<Self>,
        task: &Task,
        attempt: u32,
        work: impl FnOnce(Tell) -> F,
    ) where
        F: Future<Output = Result<Done, Trouble>> + Send + 'static,
    {
        let mut entries = self.lock();
        entries.numbers += 1;
        let number = entries.numbers;
        let Some(entry) = entries.by_uid.get_mut(&task.uid) else {
            return;
        };
        let (works, uid) = (Arc::clone(self), task.uid.clone());
        let object = ObjectRef::new(&task.name).within(&task.namespace);
        let work = work(Tell {
            works: Arc::clone(self),
            uid: uid.clone(),
            number,
            object: object.clone(),
        });
        entry.progress = Progress::default();
        // It cannot say anything before this lock is given back.
        let running = tokio::spawn(async move {
            let result = work.await;
            works.answer(&uid, number, State::Answered { attempt, result });
            works.wake([object]);
        });
        let handle = running.abort_handle();
        let before = std::mem::replace(&mut entry.state, State::Running { number, handle });
        before.abort();
    }

    fn answer(&self, uid: &str, of: u64, answered: State) {
        if let Some(entry) = self.lock().by_uid.get_mut(uid)
            && matches!(entry.state, State::Running { number, .. } if number == of)
        {
            entry.state = answered;
        }
    }

    /// How far this process is with a task.
    pub(super) fn progress(&self, uid: &str) -> Progress {
        let entries = self.lock();
        let entry = entries.by_uid.get(uid);
        entry.map(|it| it.progress.clone()).unwrap_or_default()
    }

    /// The status tells of the attempt that has failed.
    pub(super) fn note(&self, uid: &str, at: Timestamp) {
        if let Some(entry) = self.lock().by_uid.get_mut(uid)
            && let State::Answered { attempt, .. } = entry.state
        {
            entry.state = State::Failed { attempt, at };
        }
    }

    /// A task could not be looked at. Returns how often in a row.
    pub(super) fn failed(&self, uid: &str) -> u32 {
        let mut entries = self.lock();
        let count = entries.failures.entry(uid.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// It was looked at.
    pub(super) fn looked_at(&self, uid: &str) {
        self.lock().failures.remove(uid);
    }

    /// Nothing that it has told members is left.
    pub(super) fn wound_up(&self, task: &Task) {
        let entry = (task.uid.clone(), task.deleting);
        self.lock().wound_up.insert(entry);
    }

    /// Whether that is known.
    pub(super) fn is_wound_up(&self, task: &Task) -> bool {
        let entry = (task.uid.clone(), task.deleting);
        self.lock().wound_up.contains(&entry)
    }

    /// The task is gone.
    pub(super) fn gone(&self, uid: &str) {
        self.lock().wound_up.retain(|(it, _)| it != uid);
        self.looked_at(uid);
        self.forget(uid);
    }

    /// The turn of a task is over.
    pub(super) fn forget(&self, uid: &str) {
        if let Some(entry) = self.lock().by_uid.remove(uid) {
            entry.state.abort();
        }
    }

    /// Every task but these is gone.
    pub(super) fn retain(&self, uids: &BTreeSet<String>) {
        let mut entries = self.lock();
        entries.failures.retain(|uid, _| uids.contains(uid));
        entries.wound_up.retain(|(uid, _)| uids.contains(uid));
        entries.by_uid.retain(|uid, entry| {
            let stays = uids.contains(uid);
            if !stays {
                entry.state.abort();
            }
            stays
        });
    }

    /// Lets tasks be looked at.
    pub(super) fn wake(&self, objects: impl IntoIterator<Item = ObjectRef<Object>>) {
        for object in objects {
            // Nobody looks any more when all of it ends.
            let _ = self.wake.send(object);
        }
    }
}

impl State {
    fn abort(&self) {
        match self {
            Self::Running { handle, .. } => handle.abort(),
            Self::Held | Self::Answered { .. } | Self::Failed { .. } => {}
        }
    }
}

/// Says how far an attempt is.
pub(super) struct Tell {
    works: Arc<Works>,
    uid: String,
    number: u64,
    object: ObjectRef<Object>,
}

impl Tell {
    /// It is so far now.
    pub(super) fn progress(&self, progress: Progress) {
        if let Some(entry) = self.works.lock().by_uid.get_mut(&self.uid)
            && matches!(entry.state, State::Running { number, .. } if number == self.number)
        {
            entry.progress = progress;
        }
        self.works.wake([self.object.clone()]);
    }
}

/// Whoever looks is gone: what is under way would tell nobody.
pub(super) struct Ending(pub(super) Arc<Works>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.retain(&BTreeSet::new());
    }
}
