//! The task.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use druid_core::agent::metrics::Failure;
use druid_core::backup::Revision;
use druid_core::backup::listing::{Listing, Object};
use druid_core::backup::names::{Key, Name, UnixSeconds};
use druid_core::backup::snapshotter::{
    Action, Answer, Event, Lease, Sealed, Snapshotter, State, StoreView,
};
use jiff::SignedDuration;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Etcd, Leadership, Leases, Notice, Options, Order};
use crate::backup::capture::{self, Capture, Command, SealedFile, Told};
use crate::backup::collect::{self, Round};
use crate::backup::full::{self, FullError};
use crate::backup::schedule::CronSchedule;
use crate::backup::upload::upload;
use crate::clock::now;
use crate::etcd::Client;
use crate::store::{Store, StoreError};

/// How long etcd may take to tell its revision.
const REVISION: Duration = Duration::from_secs(5);
/// How long an upload of a delta, a listing or a round of garbage collection may take in all. The
/// store has a deadline of its own on each request; this is for one that breaks its word.
const STORE: Duration = Duration::from_mins(10);
/// How long the watch may take to be held back.
const HOLD: Duration = Duration::from_secs(30);

pub(super) struct Driver {
    machine: Snapshotter<CronSchedule>,
    options: Options,
    etcd: Etcd,
    store: Arc<dyn Store>,
    state: watch::Sender<State>,
    leases: watch::Sender<Leases>,
    notices: broadcast::Sender<Notice>,
    work: mpsc::Sender<(Number, Done)>,
    done: mpsc::Receiver<(Number, Done)>,
    told: mpsc::Sender<(u64, Told)>,
    tellings: mpsc::Receiver<(u64, Told)>,
    numbers: u64,
    capture: Option<(u64, Capture)>,
    files: BTreeMap<u64, SealedFile>,
    tasks: BTreeMap<Task, Running>,
    requests: BTreeMap<u64, oneshot::Sender<Answer>>,
    finished: bool,
    chance: SmallRng,
}

/// What goes on one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Survey,
    Revision,
    Full,
    Upload,
    Collect,
}

/// A task and its number: what an older one says does not count.
type Number = (Task, u64);

#[derive(Debug)]
struct Running {
    number: u64,
    handle: JoinHandle<()>,
    /// Dropped, it ends by itself and cleans up.
    cancel: Option<oneshot::Sender<()>>,
}

/// What a task says.
#[derive(Debug)]
enum Done {
    Event(Event),
    Full(Result<Option<Object>, FullError>, Duration),
    Delta(u64, Result<Object, String>, Duration),
    Collected(Result<Round, StoreError>),
}

impl Driver {
    pub(super) fn new(
        options: Options,
        etcd: Etcd,
        store: Arc<dyn Store>,
        leases: watch::Sender<Leases>,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        let machine = Snapshotter::new(options.config, options.schedule.clone());
        let state = watch::Sender::new(machine.state(now()));
        let (work, done) = mpsc::channel(16);
        let (told, tellings) = mpsc::channel(4);
        Self {
            machine,
            options,
            etcd,
            store,
            state,
            leases,
            notices,
            work,
            done,
            told,
            tellings,
            numbers: 0,
            capture: None,
            files: BTreeMap::new(),
            tasks: BTreeMap::new(),
            requests: BTreeMap::new(),
            finished: false,
            chance: SmallRng::seed_from_u64(now().subsec_nanosecond().unsigned_abs().into()),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while !self.finished {
            let sleep = self.machine.next_wakeup().map(|it| {
                let wait = it.duration_since(now()).max(SignedDuration::ZERO);
                // A clock that jumps is noticed within a minute.
                wait.unsigned_abs().min(Duration::from_mins(1)) + Duration::from_millis(1)
            });
            let sleep = tokio::time::sleep(sleep.unwrap_or(Duration::from_mins(1)));
            let event = tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    self.order(order)
                }
                done = self.done.recv() => done.and_then(|(number, done)| self.done(number, done)),
                told = self.tellings.recv() => {
                    told.and_then(|(number, told)| self.told(number, told))
                }
                () = sleep => Some(Event::Tick),
            };
            let Some(event) = event else { continue };
            self.feed(event);
            self.state.send_replace(self.machine.state(now()));
        }
    }

    fn feed(&mut self, event: Event) {
        let chance = self.chance.random_range(0..1000);
        for action in self.machine.on(event, now(), chance) {
            tracing::debug!(?action, "snapshotter");
            self.act(action);
        }
    }

    fn order(&mut self, order: Order) -> Option<Event> {
        Some(match order {
            Order::Lead(Leadership::Led) => Event::Led,
            Order::Lead(Leadership::Deposed) => Event::Deposed,
            Order::Lead(Leadership::Unknown) => Event::LeaderUnknown,
            Order::Ask {
                wanted,
                within,
                answer,
            } => {
                let id = self.number();
                self.requests.insert(id, answer);
                let by = now().saturating_add(within).ok()?;
                Event::Asked { id, wanted, by }
            }
            Order::Stop { within } => Event::Stop {
                by: now().saturating_add(within).ok()?,
            },
        })
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Survey => self.survey(),
            Action::AskRevision => self.ask_revision(),
            Action::OpenWatch { from } => self.open(from),
            Action::CloseWatch => self.capture = None,
            Action::Pause => self.command(Command::Pause),
            Action::Resume => self.command(Command::Resume),
            Action::SplitAfter(revision) => self.command(Command::SplitAfter(revision)),
            Action::Release => self.command(Command::Release),
            Action::Seal => self.command(Command::Seal),
            Action::Discard { id } => drop(self.files.remove(&id)),
            Action::Upload { id } => self.upload(id),
            Action::TakeFull {
                why,
                is_final,
                unless,
            } => {
                tracing::info!(%why, is_final, "taking a full snapshot");
                self.take_full(is_final, unless);
            }
            Action::CancelFull => self.cancel_full(),
            Action::Renew(lease) => self.leases.send_modify(|leases| match lease {
                Lease::Full { last, created } => leases.full = Some((last, created)),
                Lease::Delta { last } => leases.delta = Some((last, now())),
            }),
            Action::Collect => self.collect(),
            Action::Answer { id, answer } => {
                if let Some(request) = self.requests.remove(&id) {
                    // Who asked may be gone.
                    let _ = request.send(answer);
                }
            }
            Action::Abandon => self.abandon(),
            Action::Finish => self.finished = true,
        }
    }

    fn command(&self, command: Command) {
        if let Some((_, capture)) = &self.capture {
            capture.send(command);
        }
    }

    fn spawn(
        &mut self,
        task: Task,
        cancel: Option<oneshot::Sender<()>>,
        work: impl Future<Output = Done> + Send + 'static,
    ) {
        let number = self.number();
        let say = self.work.clone();
        let handle = tokio::spawn(async move {
            let done = work.await;
            // Nobody listens any more when all of it is dropped.
            let _ = say.send(((task, number), done)).await;
        });
        let running = Running {
            number,
            handle,
            cancel,
        };
        if let Some(old) = self.tasks.insert(task, running) {
            old.handle.abort();
        }
    }

    fn done(&mut self, (task, number): Number, done: Done) -> Option<Event> {
        if let Done::Event(event @ (Event::FullBegan { .. } | Event::FullBound { .. })) = done {
            let current = self.tasks.get(&task).is_some_and(|it| it.number == number);
            return current.then_some(event);
        }
        self.tasks
            .get(&task)
            .filter(|running| running.number == number)?;
        self.tasks.remove(&task);
        Some(match done {
            Done::Event(event) => event,
            Done::Full(outcome, took) => {
                let told = match &outcome {
                    Ok(object) => Ok(object.clone()),
                    Err(error) => Err(error.class()),
                };
                self.notice(Notice::Full {
                    outcome: told,
                    took,
                });
                match outcome.map_err(|it| it.to_string()) {
                    Ok(Some(object)) => {
                        tracing::info!(object = %object.key, ?took, "full snapshot taken");
                        Event::FullDone(object)
                    }
                    Ok(None) => Event::FullUnneeded,
                    Err(why) => {
                        tracing::warn!(%why, "no full snapshot");
                        Event::FullFailed(why)
                    }
                }
            }
            Done::Delta(id, outcome, took) => {
                let told = outcome.clone().map_err(|_| Failure::Store);
                self.notice(Notice::Delta {
                    outcome: told,
                    took,
                });
                match outcome {
                    Ok(object) => {
                        tracing::info!(object = %object.key, ?took, "delta uploaded");
                        self.files.remove(&id);
                        Event::DeltaDone { id, object }
                    }
                    Err(why) => {
                        tracing::warn!(%why, "delta not uploaded; it is kept and tried again");
                        Event::DeltaFailed { id, why }
                    }
                }
            }
            Done::Collected(round) => {
                self.notice(Notice::Collected(round));
                Event::Collected
            }
        })
    }

    fn notice(&self, notice: Notice) {
        // There may be no reader.
        let _ = self.notices.send(notice);
    }

    fn told(&mut self, number: u64, told: Told) -> Option<Event> {
        let current = self.capture.as_ref().is_some_and(|it| it.0 == number);
        if !current {
            return None;
        }
        Some(match told {
            Told::Spooled(spool) => Event::Spooled(spool),
            Told::Sealed(file) => Event::Sealed(file.map(|it| self.keep(it))),
            Told::Split(file) => Event::Split(self.keep(file)),
            Told::Ended(end) => {
                tracing::warn!(?end, "the watch ended");
                Event::WatchEnded(end)
            }
            Told::SpoolFailed(why) => {
                tracing::warn!(%why, "events are read again");
                self.notice(Notice::SpoolLost);
                Event::SpoolFailed(why)
            }
        })
    }

    fn keep(&mut self, file: SealedFile) -> Sealed {
        let id = self.number();
        let sealed = Sealed {
            id,
            start: file.start,
            last: file.last,
        };
        self.files.insert(id, file);
        sealed
    }

    fn survey(&mut self) {
        let (client, store) = ((self.etcd)(), Arc::clone(&self.store));
        let prefix = self.options.prefix.clone();
        let notices = self.notices.clone();
        self.spawn(Task::Survey, None, async move {
            let listed = tokio::time::timeout(STORE, store.list(&prefix.to_list())).await;
            let listed = match listed {
                Ok(Ok(listed)) => listed,
                Ok(Err(error)) => return Done::Event(Event::SurveyFailed(error.to_string())),
                Err(_) => return Done::Event(Event::SurveyFailed(slow("the listing"))),
            };
            let of_listed = listed.iter().map(|it| (it.key.as_str(), it.bytes));
            let listing = Listing::read(&prefix, of_listed);
            for foreign in listing.foreign() {
                tracing::debug!(%foreign, "passed over");
            }
            let (full, deltas) = listing.tail();
            // There may be no reader.
            let _ = notices.send(Notice::Surveyed {
                full: full.cloned(),
                deltas: deltas.to_vec(),
            });
            let store = Box::new(StoreView::of(&listing));
            Done::Event(match revision(&client).await {
                Ok(etcd) => Event::Surveyed { store, etcd },
                Err(why) => Event::SurveyFailed(why),
            })
        });
    }

    fn ask_revision(&mut self) {
        let client = (self.etcd)();
        self.spawn(Task::Revision, None, async move {
            Done::Event(match revision(&client).await {
                Ok(revision) => Event::AtRevision(revision),
                Err(why) => Event::RevisionFailed(why),
            })
        });
    }

    fn open(&mut self, from: Revision) {
        if self.capture.is_none() {
            let options = capture::Options {
                directory: self.options.temporary.clone(),
                packing: self.options.packing,
            };
            let number = self.number();
            let told = self.told.clone();
            let capture = Capture::start(options, Arc::clone(&self.etcd), number, told);
            self.capture = Some((number, capture));
        }
        self.command(Command::Open(from));
    }

    fn upload(&mut self, id: u64) {
        let Some(sealed) = self.files.get(&id).cloned() else {
            return;
        };
        let store = Arc::clone(&self.store);
        let prefix = self.options.prefix.clone();
        let codec = self.options.packing.codec();
        let name = UnixSeconds::of(now())
            .and_then(|created| Name::delta(sealed.start, sealed.last, created, codec));
        let began = Instant::now();
        self.spawn(Task::Upload, None, async move {
            let outcome = match name {
                Some(name) => {
                    let key = Key::new(&prefix, name);
                    put(store.as_ref(), key, &sealed.file, sealed.bytes).await
                }
                None => Err("the clock is before 1970; set it".to_owned()),
            };
            Done::Delta(id, outcome, began.elapsed())
        });
    }

    fn take_full(&mut self, is_final: bool, unless: Option<Revision>) {
        let request = full::Request {
            prefix: self.options.prefix.clone(),
            packing: self.options.packing,
            threads: self.options.threads,
            is_final,
            unless,
            timeout: self.options.snapshot_timeout,
        };
        let held = self.capture.as_ref().map(|(_, capture)| capture.hold());
        let (client, store) = ((self.etcd)(), Arc::clone(&self.store));
        let (cancel, cancelled) = oneshot::channel();
        let began = Instant::now();
        let (say, mut said) = mpsc::channel(2);
        // The number of the task that is spawned next.
        let number = (Task::Full, self.numbers + 1);
        let work = self.work.clone();
        self.spawn(Task::Full, Some(cancel), async move {
            if let Some(held) = held {
                // One that has ended reads nothing, too.
                let _ = tokio::time::timeout(HOLD, held).await;
            }
            // A token that has run out is noticed here, and not in the middle.
            if let Err(why) = revision(&client).await {
                return Done::Event(Event::FullFailed(why));
            }
            let pass_on = async {
                while let Some(event) = said.recv().await {
                    let _ = work.send((number, Done::Event(event))).await;
                }
            };
            let take = async {
                let taken = full::take(&request, &client, &store, &say, cancelled).await;
                drop(say);
                taken
            };
            let (taken, ()) = tokio::join!(take, pass_on);
            Done::Full(taken, began.elapsed())
        });
    }

    /// Lets it end by itself, so that the store can clean up; what it says no longer counts.
    fn cancel_full(&mut self) {
        if let Some(mut running) = self.tasks.remove(&Task::Full) {
            drop(running.cancel.take());
        }
    }

    fn collect(&mut self) {
        let store = Arc::clone(&self.store);
        let prefix = self.options.prefix.clone();
        let (policy, parts) = (self.options.retention, self.options.parts);
        self.spawn(Task::Collect, None, async move {
            let round = collect::collect(store.as_ref(), &prefix, &policy, parts, now());
            if let Ok(round) = tokio::time::timeout(STORE, round).await {
                return Done::Collected(round);
            }
            tracing::warn!("{}", slow("garbage collection"));
            Done::Collected(Ok(Round::default()))
        });
    }

    fn abandon(&mut self) {
        self.cancel_full();
        for running in std::mem::take(&mut self.tasks).into_values() {
            running.handle.abort();
        }
        self.capture = None;
        self.files.clear();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// etcd's revision.
async fn revision(client: &Client) -> Result<Revision, String> {
    let revision = client.revision(REVISION).await;
    let revision = revision.map_err(|it| it.to_string())?;
    Revision::new(revision).ok_or_else(|| format!("etcd says that its revision is {revision}"))
}

async fn put(store: &dyn Store, key: Key, file: &Arc<File>, bytes: u64) -> Result<Object, String> {
    let text = key.to_string();
    match tokio::time::timeout(STORE, upload(store, &text, file, bytes)).await {
        Ok(Ok(bytes)) => Ok(Object {
            key,
            bytes: Some(bytes),
        }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(slow("the upload of a delta")),
    }
}

fn slow(what: &str) -> String {
    format!(
        "{what} took longer than {} s; check the store",
        STORE.as_secs()
    )
}
