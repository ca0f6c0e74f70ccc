//! The driver of the snapshotter: feeds it what happens, and does what it says. No choice is made
//! here.

mod driver;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use druid_core::agent::metrics::Failure;
use druid_core::backup::Revision;
use druid_core::backup::leftovers::Parts;
use druid_core::backup::listing::{Listing, Object};
use druid_core::backup::names::Prefix;
use druid_core::backup::retention::Policy;
use druid_core::backup::snapshotter::{Answer, Config, Denial, State, Wanted};
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::codec::Packing;
use super::collect::Round;
use super::schedule::CronSchedule;
use crate::etcd::Client;
use crate::store::{Listed, Store, StoreError};
use driver::Driver;

/// Gives the client of the member beside us. Asked for each time, as certificates are renewed.
pub(crate) type Etcd = Arc<dyn Fn() -> Client + Send + Sync>;

/// How to take snapshots, and of what.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Periods and limits.
    pub(crate) config: Config,
    /// When full snapshots are due.
    pub(crate) schedule: CronSchedule,
    /// Where they go.
    pub(crate) prefix: Prefix,
    /// How they are packed.
    pub(crate) packing: Packing,
    /// By how many threads full snapshots are packed.
    pub(crate) threads: usize,
    /// `--snapstore-temp-directory`.
    pub(crate) temporary: PathBuf,
    /// `--etcd-snapshot-timeout`.
    pub(crate) snapshot_timeout: Duration,
    /// What is kept.
    pub(crate) retention: Policy,
    /// What parts of uploads are in this store.
    pub(crate) parts: Parts,
}

/// Who leads, as far as this member knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leadership {
    /// This member.
    Led,
    /// Another.
    Deposed,
    /// Nobody, or etcd does not answer.
    Unknown,
}

/// What leases are to say. The newest counts; whoever renews them tries again by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leases {
    /// `holderIdentity` and `renewTime` of the full lease.
    pub(crate) full: Option<(Revision, Timestamp)>,
    /// `holderIdentity` ("0" for none) and `renewTime` of the delta lease.
    pub(crate) delta: Option<(Option<Revision>, Timestamp)>,
}

/// What happened, for metrics.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// What the store has was found out.
    Surveyed {
        /// The newest full snapshot.
        full: Option<Object>,
        /// The deltas after it.
        deltas: Vec<Object>,
    },
    /// Events have to be read again, as the disk did not keep them.
    SpoolLost,
    /// A full snapshot is over.
    Full {
        /// What came of it; `None` if it was not needed.
        outcome: Result<Option<Object>, Failure>,
        /// How long it took.
        took: Duration,
    },
    /// An upload of a delta is over.
    Delta {
        /// Whether it is in the store.
        outcome: Result<Object, Failure>,
        /// How long it took.
        took: Duration,
    },
    /// A round of garbage collection is over.
    Collected(Result<Round, StoreError>),
}

/// Talks to the snapshotter.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
    leases: watch::Receiver<Leases>,
    notices: broadcast::Sender<Notice>,
    store: Arc<dyn Store>,
    prefix: Prefix,
}

#[derive(Debug)]
enum Order {
    Lead(Leadership),
    Ask {
        wanted: Wanted,
        within: Duration,
        answer: oneshot::Sender<Answer>,
    },
    Stop {
        within: Duration,
    },
}

/// Notices that may wait for a reader.
const NOTICES: usize = 64;

/// Starts it. The task ends after [`Handle::stop`], or when every handle is gone.
pub(crate) fn start(
    options: Options,
    etcd: Etcd,
    store: Arc<dyn Store>,
) -> (Handle, JoinHandle<()>) {
    let (orders, received) = mpsc::channel(16);
    let (notices, _) = broadcast::channel(NOTICES);
    let prefix = options.prefix.clone();
    let leases = watch::Sender::new(Leases::default());
    let lease_values = leases.subscribe();
    let driver = Driver::new(options, etcd, Arc::clone(&store), leases, notices.clone());
    let state = driver.subscribe();
    let handle = Handle {
        orders,
        state,
        leases: lease_values,
        notices,
        store,
        prefix,
    };
    (handle, tokio::spawn(driver.run(received)))
}

impl Handle {
    /// Says who leads.
    pub(crate) async fn lead(&self, leadership: Leadership) {
        self.order(Order::Lead(leadership)).await;
    }

    /// Wants a full snapshot. Answered within the time.
    pub(crate) async fn full(&self, is_final: bool, within: Duration) -> Answer {
        self.ask(Wanted::Full { is_final }, within).await
    }

    /// Wants a delta. Answered within the time.
    pub(crate) async fn delta(&self, within: Duration) -> Answer {
        self.ask(Wanted::Delta, within).await
    }

    /// What is in the store now.
    pub(crate) async fn latest(&self) -> Result<(Listing, Vec<Listed>), StoreError> {
        let listed = self.store.list(&self.prefix.to_list()).await?;
        let objects = listed.iter().map(|it| (it.key.as_str(), it.bytes));
        Ok((Listing::read(&self.prefix, objects), listed))
    }

    /// Until when one object cannot be deleted, if the store says so.
    pub(crate) async fn immutable_until(
        &self,
        object: &Object,
    ) -> Result<Option<Timestamp>, StoreError> {
        let found = self.store.head(&object.key.to_string()).await?;
        Ok(found.and_then(|it| it.immutable_until))
    }

    /// Where it is, now and after each change.
    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What leases are to say, now and after each change.
    pub(crate) fn leases(&self) -> watch::Receiver<Leases> {
        self.leases.clone()
    }

    /// What happens from now on. A reader that is too slow misses the oldest.
    pub(crate) fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Uploads what was seen, and ends, within the time. The task is over then.
    pub(crate) async fn stop(&self, within: Duration) {
        self.order(Order::Stop { within }).await;
    }

    async fn order(&self, order: Order) -> bool {
        self.orders.send(order).await.is_ok()
    }

    async fn ask(&self, wanted: Wanted, within: Duration) -> Answer {
        let (answer, answered) = oneshot::channel();
        let order = Order::Ask {
            wanted,
            within,
            answer,
        };
        self.order(order).await;
        // One that has ended drops the sender.
        answered.await.unwrap_or(Answer::Refused(Denial::Stopping))
    }
}
