//! From a watch on all keys to deltas in temporary files. A delta is encoded and packed as its
//! events come, so that memory holds one message of the watch and no more; the files have no name
//! and go with the process.

mod leases;
mod spool;

use std::path::PathBuf;
use std::time::Duration;

use druid_core::backup::Revision;
use druid_core::backup::snapshotter::{Spool as Spooled, WatchEnd};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::codec::Packing;
use super::snapshots::Etcd;
use crate::etcd::{Event as Change, Kind, Watch};
use leases::Leases;
pub(crate) use spool::SealedFile;
use spool::{Spool, SpoolError};

/// How to spool.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `--snapstore-temp-directory`.
    pub(crate) directory: PathBuf,
    /// How deltas are packed.
    pub(crate) packing: Packing,
}

/// What is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// This is in the spool.
    Spooled(Spooled),
    /// The answer to [`Command::Seal`].
    Sealed(Option<SealedFile>),
    /// Cut because of [`Command::SplitAfter`].
    Split(SealedFile),
    /// The watch is over.
    Ended(WatchEnd),
    /// The spool is lost.
    SpoolFailed(String),
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Watch from this revision.
    Open(Revision),
    /// Read no more for now.
    Pause,
    /// Read on.
    Resume,
    /// Read no more until [`Command::SplitAfter`] or [`Command::Release`], and say when that is so.
    Hold(oneshot::Sender<()>),
    /// Cut before the first event above this revision.
    SplitAfter(Revision),
    /// Read on.
    Release,
    /// Cut now.
    Seal,
}

/// A capture under way. Dropped, it ends, and its spool with it.
#[derive(Debug)]
pub(crate) struct Capture {
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

impl Capture {
    /// One that waits for commands and tells on a channel what happens, each with `number`.
    pub(crate) fn start(
        options: Options,
        etcd: Etcd,
        number: u64,
        told: mpsc::Sender<(u64, Told)>,
    ) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let work = Work {
            options,
            etcd,
            number,
            told,
            watch: None,
            paused: false,
            held: false,
            next: Revision::FIRST,
            split: None,
            bench: Bench::default(),
        };
        let task = tokio::spawn(work.run(received));
        Self { commands, task }
    }

    /// Sends a command. One to a capture that has ended does nothing; it has said that it ended.
    pub(crate) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Holds it back. Returns when nothing more is read.
    pub(crate) fn hold(&self) -> oneshot::Receiver<()> {
        let (held, is_held) = oneshot::channel();
        self.send(Command::Hold(held));
        is_held
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Work {
    options: Options,
    etcd: Etcd,
    number: u64,
    told: mpsc::Sender<(u64, Told)>,
    watch: Option<Watch>,
    paused: bool,
    held: bool,
    /// The revision of the next event, or of the one that goes on.
    next: Revision,
    split: Option<Revision>,
    bench: Bench,
}

/// What goes to a thread and comes back.
#[derive(Default)]
struct Bench {
    spool: Option<Spool>,
    leases: Leases,
}

/// How long etcd may take to open a watch.
const OPEN: Duration = Duration::from_secs(10);
/// Without a message for so long the wait begins anew. A connection that is dead is found by its
/// keep-alive, and a watch that hangs by the snapshotter.
const QUIET: Duration = Duration::from_mins(1);

impl Work {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let reads = !self.paused && !self.held;
            let batch = async {
                match self.watch.as_mut().filter(|_| reads) {
                    Some(watch) => watch.next(QUIET).await,
                    None => std::future::pending().await,
                }
            };
            let batch = tokio::select! {
                biased;
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    self.obey(command).await;
                    continue;
                }
                batch = batch => batch,
            };
            match batch {
                Ok(batch) => self.spool(batch.events).await,
                Err(error) if matches!(error.kind, Kind::DeadlineExceeded(_)) => {}
                Err(error) => self.ended(&error).await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Open(from) => self.open(from).await,
            Command::Pause => self.paused = true,
            Command::Resume => self.paused = false,
            Command::Hold(held) => {
                self.held = true;
                // Who asked may be gone; then a release follows.
                let _ = held.send(());
            }
            Command::SplitAfter(revision) => {
                self.split = Some(revision);
                self.held = false;
            }
            Command::Release => self.held = false,
            Command::Seal => {
                if let Some(sealed) = self.seal().await {
                    self.tell(Told::Sealed(sealed)).await;
                }
            }
        }
    }

    async fn open(&mut self, from: Revision) {
        self.watch = None;
        self.paused = false;
        self.next = from;
        match (self.etcd)().watch(b"", from.get(), OPEN).await {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => self.ended(&error).await,
        }
    }

    async fn ended(&mut self, error: &crate::etcd::Error) {
        self.watch = None;
        let end = match &error.kind {
            Kind::Compacted(_) => WatchEnd::Compacted,
            Kind::DeadlineExceeded(_)
            | Kind::Unreachable(_)
            | Kind::Unavailable(_)
            | Kind::Tls(_)
            | Kind::RequestTimedOut(_)
            | Kind::LeaderChanged
            | Kind::NoLeader
            | Kind::NotLeader
            | Kind::FutureRevision
            | Kind::NoSpace
            | Kind::Refused(_)
            | Kind::Unauthenticated(_)
            | Kind::PermissionDenied(_)
            | Kind::BadAnswer(_)
            | Kind::Other { .. } => WatchEnd::Failed(error.to_string()),
        };
        self.tell(Told::Ended(end)).await;
    }

    async fn tell(&mut self, told: Told) {
        // Nobody listens any more when all of it is dropped.
        let _ = self.told.send((self.number, told)).await;
    }

    /// Takes events in, cutting before the revision that may not be spanned.
    async fn spool(&mut self, events: Vec<Change>) {
        if events.is_empty() {
            return;
        }
        let client = (self.etcd)();
        self.bench.leases.learn(&client, &events).await;
        let mut events = events;
        while !events.is_empty() {
            let has = self.bench.spool.as_ref().map(|it| it.has);
            let split = self.split.map_or(i64::MAX, Revision::get);
            let below = events.partition_point(|it| it.mod_revision() <= split);
            if below == 0 {
                // Past the split; what is there ends before it.
                self.split = None;
                if has.is_some() {
                    let Some(Some(sealed)) = self.seal().await else {
                        return;
                    };
                    self.tell(Told::Split(sealed)).await;
                }
                continue;
            }
            let rest = events.split_off(below);
            if !self.append(events).await {
                return;
            }
            events = rest;
        }
    }

    /// Adds events to the spool. `false` if that did not work, which is told.
    async fn append(&mut self, events: Vec<Change>) -> bool {
        let mut bench = std::mem::take(&mut self.bench);
        let (options, next, now) = (self.options.clone(), self.next, crate::clock::now());
        let done = tokio::task::spawn_blocking(move || {
            let next = bench.append(&options, next, &events, now);
            (bench, next)
        });
        match done.await {
            Ok((bench, Ok(next))) => {
                self.bench = bench;
                self.next = next;
                if let Some(has) = self.bench.spool.as_ref().map(|it| it.has) {
                    self.tell(Told::Spooled(has)).await;
                }
                true
            }
            Ok((bench, Err(Broken::Gap { after, found }))) => {
                self.bench = bench;
                self.watch = None;
                if let Some(has) = self.bench.spool.as_ref().map(|it| it.has) {
                    self.tell(Told::Spooled(has)).await;
                }
                self.tell(Told::Ended(WatchEnd::Gap { after, found })).await;
                false
            }
            Ok((_, Err(Broken::Spool(error)))) => self.lost(error.to_string()).await,
            Err(error) => self.lost(error.to_string()).await,
        }
    }

    async fn lost(&mut self, why: String) -> bool {
        self.watch = None;
        self.bench = Bench::default();
        self.tell(Told::SpoolFailed(why)).await;
        false
    }

    /// Cuts. `None` if that did not work, which is told.
    async fn seal(&mut self) -> Option<Option<SealedFile>> {
        let Some(spool) = self.bench.spool.take() else {
            return Some(None);
        };
        match tokio::task::spawn_blocking(move || spool.seal()).await {
            Ok(Ok(sealed)) => Some(Some(sealed)),
            Ok(Err(error)) => {
                self.lost(error.to_string()).await;
                None
            }
            Err(error) => {
                self.lost(error.to_string()).await;
                None
            }
        }
    }
}

/// Why events were not added.
enum Broken {
    Gap { after: Revision, found: Revision },
    Spool(SpoolError),
}

impl Bench {
    /// Adds events. Returns which revision comes next, or goes on.
    fn append(
        &mut self,
        options: &Options,
        mut next: Revision,
        events: &[Change],
        now: Timestamp,
    ) -> Result<Revision, Broken> {
        for event in events {
            let found = Revision::new(event.mod_revision())
                .ok_or_else(|| Broken::Spool(SpoolError::Revision(event.mod_revision())))?;
            let goes_on = self.spool.as_ref().is_some_and(|it| it.has.to == found);
            if found != next && !goes_on {
                let after = Revision::new(next.get() - 1).unwrap_or(Revision::FIRST);
                return Err(Broken::Gap { after, found });
            }
            let spool = match &mut self.spool {
                Some(spool) => spool,
                none @ None => {
                    let spool = Spool::create(&options.directory, options.packing, found);
                    none.insert(spool.map_err(Broken::Spool)?)
                }
            };
            spool
                .push(event, now, &self.leases)
                .map_err(Broken::Spool)?;
            next = found.next();
        }
        Ok(next)
    }
}
