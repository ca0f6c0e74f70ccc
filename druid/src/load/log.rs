//! What the clients write down. One lock around everything, so that a copy of it is a moment in
//! the life of the whole load and never shows an effect without its cause.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use druid_core::linearizability::{Action, End, Intent, Operation};
use druid_core::oracle::findings::{Record, StaleRead};
use druid_core::oracle::ledger::{Acknowledged, Doubtful};
use druid_core::oracle::watch::{Event, Watcher};
use druid_core::oracle::{Change, Key, Tag};

use super::LoadSpec;
use super::roster::Roster;

/// How a load goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Writes acknowledged.
    pub(crate) acknowledged: u64,
    /// Writes that certainly were not done.
    pub(crate) failed: u64,
    /// Writes that nobody knows of.
    pub(crate) ambiguous: u64,
    /// Linearizable reads answered.
    pub(crate) reads: u64,
    /// Events received, by all watchers.
    pub(crate) events: u64,
    /// How often a watcher had to open a new stream.
    pub(crate) reconnects: u64,
    /// How many members the clients turn to; the others failed them.
    pub(crate) members_up: usize,
    /// How long the last acknowledged write took, microseconds.
    pub(crate) write_latency_us: u64,
    /// How long ago that was, microseconds: the gap in writing that is open now.
    pub(crate) since_last_write_us: u64,
}

/// An operation that was sent.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) key: Key,
    pub(super) call: u64,
    /// What it does, unless it reads.
    pub(super) effect: Option<Effect>,
}

/// What a write does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Put(Tag),
    Delete,
    Swap { expect: Option<Tag>, new: Tag },
}

impl Effect {
    fn change(self) -> Change {
        match self {
            Self::Put(new) | Self::Swap { new, .. } => Change::Put(new),
            Self::Delete => Change::Delete,
        }
    }

    fn intent(self) -> Option<Intent> {
        match self {
            Self::Put(new) => Some(Intent::Write(new)),
            Self::Swap { expect, new } => Some(Intent::Swap { expect, new }),
            Self::Delete => None,
        }
    }
}

/// How an operation went.
#[derive(Debug)]
pub(super) enum Answer {
    /// The write was done.
    Done { revision: i64 },
    /// The compare-and-swap found something else.
    Refused { found: Option<Tag> },
    /// What a read of a register found.
    Found(Option<Tag>),
    /// A read of another key; what was wrong with it, if anything.
    Checked(Option<StaleRead>),
    /// It was not done.
    Failed,
    /// Nobody knows.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: Record,
    /// By client.
    running: BTreeMap<u16, Running>,
    /// The last acknowledged key of each writer that is not to be deleted, and its revision.
    recent: Vec<Option<(Tag, i64)>>,
    /// Up to which revision each watcher has seen everything.
    reached: Vec<i64>,
    events: u64,
}

impl Log {
    pub(super) fn new(spec: &LoadSpec, roster: &Roster, after: i64, began: u64) -> Self {
        let watchers = (0..spec.watchers).map(|index| Watcher {
            name: format!("{} from {}", index, roster.pick(index.into()).name),
            after,
            ..Watcher::default()
        });
        Self {
            inner: Mutex::new(Inner {
                record: Record {
                    writers: spec.writers,
                    watchers: watchers.collect(),
                    began,
                    ..Record::default()
                },
                running: BTreeMap::new(),
                recent: vec![None; spec.writers.into()],
                reached: vec![after; spec.watchers.into()],
                events: 0,
            }),
        }
    }

    /// A client that panicked with the lock held cannot have left half an entry: every entry is
    /// one push, and `stop` reports the panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is about to send an operation.
    pub(super) fn begin(&self, client: u16, running: Running) {
        self.lock().running.insert(client, running);
    }

    /// It ended at `now`.
    pub(super) fn end(&self, client: u16, answer: Answer, now: u64) {
        let mut inner = self.lock();
        if let Some(running) = inner.running.remove(&client) {
            inner.end(client, running, answer, now);
        }
    }

    /// A key that was acknowledged just now.
    pub(super) fn recent(&self, writer: usize) -> Option<(Tag, i64)> {
        self.lock().recent.get(writer).copied().flatten()
    }

    /// Events that came to a watcher.
    pub(super) fn saw(&self, watcher: u16, events: Vec<Event>) {
        let mut inner = self.lock();
        let index = usize::from(watcher);
        inner.events += events.len() as u64;
        if let Some(last) = events.last() {
            inner.reached[index] = inner.reached[index].max(last.revision);
        }
        inner.record.watchers[index].events.extend(events);
    }

    /// A watcher was told that nothing up to a revision is still to come.
    pub(super) fn reached(&self, watcher: u16, revision: i64) {
        let reached = &mut self.lock().reached[usize::from(watcher)];
        *reached = (*reached).max(revision);
    }

    /// A watcher had to open a new stream.
    pub(super) fn reconnects(&self, watcher: u16) {
        self.lock().record.watchers[usize::from(watcher)].reconnects += 1;
    }

    /// The watcher that is furthest behind, and where it is.
    pub(super) fn last_watcher(&self) -> Option<(String, i64)> {
        let inner = self.lock();
        let watchers = inner.record.watchers.iter().map(|w| w.name.clone());
        watchers
            .zip(inner.reached.iter().copied())
            .min_by_key(|(_, reached)| *reached)
    }

    pub(super) fn counters(&self, now: u64, members_up: usize) -> Counters {
        let inner = self.lock();
        let record = &inner.record;
        let last = record.ledger.acknowledged.last();
        Counters {
            acknowledged: record.ledger.acknowledged.len() as u64,
            failed: record.failed,
            ambiguous: record.ledger.doubtful.len() as u64,
            reads: record.reads,
            events: inner.events,
            reconnects: record.watchers.iter().map(|w| w.reconnects).sum(),
            write_latency_us: last.map_or(0, |write| (write.ack - write.call) / 1_000),
            members_up,
            since_last_write_us: now.saturating_sub(last.map_or(record.began, |write| write.ack))
                / 1_000,
        }
    }

    /// Everything up to this moment. What is under way has no answer yet.
    pub(super) fn cut(&self, ended: u64) -> Record {
        let (mut record, running) = {
            let inner = self.lock();
            (inner.record.clone(), inner.running.clone())
        };
        for (client, running) in running {
            unanswered(&mut record, client, &running);
        }
        record.ended = ended;
        record
    }
}

/// Nobody knows whether it was, or will be, done.
fn unanswered(record: &mut Record, client: u16, running: &Running) {
    let Some(effect) = running.effect else {
        return;
    };
    record.ledger.doubtful.push(Doubtful {
        writer: client,
        key: running.key.clone(),
        change: effect.change(),
        call: running.call,
    });
    if let (Key::Register(register), Some(intent)) = (&running.key, effect.intent()) {
        record.history.push(Operation {
            client,
            register: *register,
            call: running.call,
            end: End::Unknown(intent),
        });
    }
}

impl Inner {
    fn end(&mut self, client: u16, running: Running, answer: Answer, now: u64) {
        let record = &mut self.record;
        let action = match (answer, running.effect) {
            (Answer::Done { revision }, Some(effect)) => {
                self.acknowledge(client, &running, effect, revision, now);
                match effect {
                    Effect::Put(new) => Some(Action::Write(new)),
                    Effect::Swap { expect, new } => Some(Action::Swapped { expect, new }),
                    Effect::Delete => None,
                }
            }
            (Answer::Refused { found }, Some(Effect::Swap { expect, .. })) => {
                Some(Action::Refused { expect, found })
            }
            (Answer::Found(found), None) => {
                record.reads += 1;
                Some(Action::Read(found))
            }
            (Answer::Checked(stale), None) => {
                record.reads += 1;
                record.stale.extend(stale);
                None
            }
            (Answer::Failed, Some(_)) => {
                record.failed += 1;
                None
            }
            (Answer::Unknown, Some(_)) => {
                unanswered(record, client, &running);
                None
            }
            // A read that failed, and what a client of ours never answers.
            (_, None | Some(Effect::Put(_) | Effect::Delete | Effect::Swap { .. })) => None,
        };
        if let (Key::Register(register), Some(action)) = (running.key, action) {
            self.record.history.push(Operation {
                client,
                register,
                call: running.call,
                end: End::Known {
                    returned: now,
                    action,
                },
            });
        }
    }

    fn acknowledge(
        &mut self,
        client: u16,
        running: &Running,
        effect: Effect,
        revision: i64,
        now: u64,
    ) {
        if let (Key::Unique(tag), Effect::Put(_)) = (&running.key, effect)
            && !super::clients::is_deleted_later(*tag)
            && let Some(recent) = self.recent.get_mut(usize::from(client))
        {
            *recent = Some((*tag, revision));
        }
        self.record.ledger.acknowledged.push(Acknowledged {
            writer: client,
            key: running.key.clone(),
            change: effect.change(),
            revision,
            call: running.call,
            ack: now,
        });
    }
}
