//! The load of a rehearsal: writers, register clients, readers and watchers on every member, as
//! a sane client would be: it waits a second for an answer, leaves a member that fails at once,
//! comes back when that member answers again, and never repeats a write whose outcome it does not
//! know. What they did and saw is a [`Record`](druid_core::oracle::findings::Record); judging it
//! is for [`druid_core::oracle`].

mod clients;
pub(crate) mod command;
mod evidence;
mod fill;
mod log;
mod roster;
mod watcher;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use druid_core::member::MemberName;
use druid_core::oracle::fill::Filled;
use druid_core::oracle::findings::Evidence;
use thiserror::Error;
use tokio::task::JoinSet;

use crate::etcd::Client;

pub(crate) use fill::fill;
pub(crate) use log::Counters;

use log::Log;
use roster::Roster;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the load may take to start, to catch up, or to read what is there.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the load is made of. All rates are per second and client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoadSpec {
    /// What the clients' choices follow from; their timing does not.
    pub(crate) seed: u64,
    /// Clients that write keys of their own, and delete one in 16 of them again.
    pub(crate) writers: u16,
    /// How many writes each of them tries.
    pub(crate) writes_per_second: u32,
    /// Clients that read, write and compare-and-swap the registers, on any member.
    pub(crate) register_clients: u16,
    /// How many operations each of them tries; half are reads.
    pub(crate) register_operations_per_second: u32,
    /// How many registers there are.
    pub(crate) registers: u16,
    /// Clients that read what was just acknowledged, on any member.
    pub(crate) readers: u16,
    /// How many reads each of them tries.
    pub(crate) reads_per_second: u32,
    /// Clients that watch everything; the first begins on the first member, and so on.
    pub(crate) watchers: u16,
    /// Bytes of each value.
    pub(crate) value_size: usize,
}

impl LoadSpec {
    /// About 450 writes a second: plenty to notice a gap of 10 ms, and it leaves a processor of
    /// two to the members. Many slow writers rather than a few fast ones: at a change of leader
    /// those with a write under way may all wait for [`PATIENCE`], and the gap is to be measured
    /// by the others.
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self {
            seed,
            writers: 24,
            writes_per_second: 15,
            register_clients: 6,
            register_operations_per_second: 30,
            registers: 20,
            readers: 2,
            reads_per_second: 50,
            watchers: 3,
            value_size: 64,
        }
    }
}

/// Why the load could not be started, checked or filled in.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// No member to begin with.
    #[error("the load has no member to talk to; give it at least one endpoint")]
    NoMembers,
    /// Nobody answered a linearizable read.
    #[error("no member answered a linearizable read within {waited:?}: {why}")]
    NoRevision {
        /// For how long they were asked.
        waited: Duration,
        /// The last answer.
        why: crate::etcd::Error,
    },
    /// Somebody else's keys, which would be taken for lost or foreign ones.
    #[error("there are {count} keys under {prefix} already; the load needs a cluster without any")]
    NotEmpty {
        /// How many.
        count: i64,
        /// Where.
        prefix: &'static str,
    },
    /// A watcher lags so far behind that it cannot be judged.
    #[error(
        "watcher {name} is at revision {reached} of {until} after {waited:?}; is the machine overloaded?"
    )]
    WatcherBehind {
        /// Which.
        name: String,
        /// Where it is.
        reached: i64,
        /// Where it has to be.
        until: i64,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A bug.
    #[error("a client of the load died; please report this: {0}")]
    ClientDied(tokio::task::JoinError),
    /// Filling in data failed.
    #[error("filling in {what}: {why}")]
    Fill {
        /// Which key or lease.
        what: String,
        /// What went wrong.
        why: crate::etcd::Error,
    },
}

/// What all clients of a load share.
#[derive(Debug)]
struct Shared {
    spec: LoadSpec,
    origin: Instant,
    roster: Roster,
    log: Log,
    stopping: AtomicBool,
}

impl Shared {
    /// Nanoseconds since the origin.
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// A running load. It ends without a trace when it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    /// Those that end by themselves when told to stop.
    clients: JoinSet<()>,
    /// Those that go on until they are aborted: the watchers, and whoever looks after the roster.
    attendants: JoinSet<()>,
}

impl Load {
    /// Starts it on members that were given one client each. All its times count from `origin`.
    pub(crate) async fn start(
        members: Vec<(MemberName, Client)>,
        spec: LoadSpec,
        origin: Instant,
    ) -> Result<Self, Error> {
        if members.is_empty() {
            return Err(Error::NoMembers);
        }
        let roster = Roster::new(members);
        let after = evidence::empty_at(&roster).await?;
        let began = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let shared = Arc::new(Shared {
            log: Log::new(&spec, &roster, after, began),
            spec,
            origin,
            roster,
            stopping: AtomicBool::new(false),
        });
        let mut attendants = JoinSet::new();
        attendants.spawn(roster::look_after(Arc::clone(&shared)));
        for index in 0..spec.watchers {
            attendants.spawn(watcher::run(Arc::clone(&shared), index, after));
        }
        let mut clients = JoinSet::new();
        let mut ids = 0..;
        for id in ids.by_ref().take(spec.writers.into()) {
            clients.spawn(clients::write(Arc::clone(&shared), id));
        }
        for id in ids.by_ref().take(spec.register_clients.into()) {
            clients.spawn(clients::use_registers(Arc::clone(&shared), id));
        }
        for id in ids.by_ref().take(spec.readers.into()) {
            clients.spawn(clients::read(Arc::clone(&shared), id));
        }
        Ok(Self {
            shared,
            clients,
            attendants,
        })
    }

    /// Nanoseconds since the origin: the ends of a window to measure gaps in.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    /// How it goes; cheap.
    pub(crate) fn progress(&self) -> Counters {
        self.shared
            .log
            .counters(self.now(), self.shared.roster.up())
    }

    /// Everything up to now, while the load goes on. `filled` is verified too if it is given.
    pub(crate) async fn checkpoint(&self, filled: Option<&Filled>) -> Result<Evidence, Error> {
        evidence::gather(&self.shared, filled, None).await
    }

    /// Ends the load: each client finishes what it is about, the watchers catch up, and the
    /// whole record is checked against what is there.
    pub(crate) async fn stop(mut self, filled: Option<&Filled>) -> Result<Evidence, Error> {
        let told = self.now();
        self.shared.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.map_err(Error::ClientDied)?;
        }
        let evidence = evidence::gather(&self.shared, filled, Some(told)).await?;
        self.attendants.shutdown().await;
        Ok(evidence)
    }
}
