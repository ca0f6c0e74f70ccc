//! Full snapshots that sidecars were asked for, beside all looks. Gone when the process is: whoever
//! comes next sees by the leases whether one was taken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use druid_core::compaction::{Backed, Work};
use druid_core::ops_task::{Done, Take, Trouble};
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::operator::known::Named;
use crate::operator::leading::{self, MARGIN, Sidecars};

/// All of it.
#[derive(Debug)]
pub(super) struct Asking {
    entries: Mutex<HashMap<Named, Entry>>,
    tell: mpsc::UnboundedSender<Named>,
}

#[derive(Debug)]
struct Entry {
    /// Of the Etcd: another of the same name has not asked.
    uid: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Running(AbortHandle),
    Answered(Result<Done, Trouble>),
}

impl Asking {
    /// `tell`: told which Etcd to look at when there is an answer.
    pub(super) fn new(tell: mpsc::UnboundedSender<Named>) -> Self {
        Self {
            entries: Mutex::default(),
            tell,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Named, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done for an Etcd. Asking that died without a word is none.
    pub(super) fn of(&self, named: &Named, uid: &str) -> Work {
        let entries = self.lock();
        match entries.get(named).filter(|it| it.uid == uid) {
            None => Work::None,
            Some(entry) => match &entry.state {
                State::Running(handle) if handle.is_finished() => Work::None,
                State::Running(_) => Work::Asked,
                State::Answered(result) => Work::Answered(result.clone()),
            },
        }
    }

    /// Asks.
    pub(super) fn begin(
        self: &Arc<Self>,
        named: &Named,
        uid: &str,
        work: impl Future<Output = Result<Done, Trouble>> + Send + 'static,
    ) {
        let (asking, at, of) = (Arc::clone(self), named.clone(), uid.to_owned());
        let mut entries = self.lock();
        // It cannot say anything before this lock is given back.
        let running = tokio::spawn(async move {
            let answer = work.await;
            asking.answer(&at, &of, answer);
        });
        let entry = Entry {
            uid: uid.to_owned(),
            state: State::Running(running.abort_handle()),
        };
        let before = entries.insert(named.clone(), entry);
        drop(entries);
        before.iter().for_each(Entry::abort);
    }

    fn answer(&self, named: &Named, uid: &str, answer: Result<Done, Trouble>) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(named).filter(|it| it.uid == uid) {
            entry.state = State::Answered(answer);
        }
        drop(entries);
        // Nobody looks any more when all of it ends.
        let _ = self.tell.send(named.clone());
    }

    /// The answer is told, or nobody wants it.
    pub(super) fn forget(&self, named: &Named) {
        let before = self.lock().remove(named);
        before.iter().for_each(Entry::abort);
    }
}

impl Entry {
    fn abort(&self) {
        if let State::Running(handle) = &self.state {
            handle.abort();
        }
    }
}

/// Whoever looks is gone: what is under way would tell nobody.
pub(super) struct Ending(pub(super) Arc<Asking>);

impl Drop for Ending {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut *self.0.lock());
        entries.values().for_each(Entry::abort);
    }
}

/// Asks the sidecar beside the leader, within the time that a full snapshot may take.
pub(super) async fn full_snapshot(
    client: Client,
    sidecars: Sidecars,
    backed: Backed,
) -> Result<Done, Trouble> {
    let limit = Duration::try_from(backed.snapshot_limit).unwrap_or_default();
    let asked = async {
        let leading = leading::find(&client, &sidecars, &backed.sidecar).await?;
        let take = Take::Full { is_final: false };
        leading.take(take, limit + MARGIN).await
    };
    let answer = tokio::time::timeout(limit, asked).await;
    answer.unwrap_or(Err(Trouble::TooLate(backed.snapshot_limit)))
}
