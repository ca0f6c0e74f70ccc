//! Brings the data in order before etcd starts: finds out what `druid_core::backup::initialize` needs
//! to know, and does what it decides.
//!
//! The result stays until it is asked for again, or until etcd has been seen running: then it has been
//! used, and the next start of etcd needs one of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use druid_core::agent::handshake::Status;
use druid_core::agent::membership::{Seen, standing};
use druid_core::agent::metrics::{Restore, Work};
use druid_core::backup::initialize::{
    Action, Cluster, Data, Facts, Mode, Next, Refusal, Store, Volume, decide,
};
use druid_core::member::MemberId;
use thiserror::Error;
use tokio::sync::watch;

use super::clients::Clients;
use super::leases::Leases;
use super::members::{Members, Patience};
use super::metrics::Numbers;
use super::mounted::{MountedError, Ours, Source};
use super::parts::{Backups, DataDir, Target};
use super::recovery::Followed;
use crate::etcd;

/// For one change of the member list.
const CHANGE: Duration = Duration::from_secs(10);
/// Between two tries to become a learner: another may be one, and etcd wants its members to have been
/// connected for 5 s.
const JOIN_PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
];

/// Why etcd may not start.
#[derive(Debug, Error)]
pub(crate) enum InitError {
    #[error(transparent)]
    Mounted(#[from] MountedError),
    #[error("{0}")]
    Data(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the old data cannot be moved aside: {0}")]
    Aside(String),
    #[error("the restore failed: {0}; the old data was left as it is")]
    Restore(String),
    #[error("this member cannot be made part of its cluster: {0}")]
    Join(etcd::Error),
    #[error("no answer of the cluster while its member list was to be changed; it is tried again")]
    Silent,
    #[error(
        "this member was about to be made a cluster of its own, and its cluster answers by now: move its data \
         directory aside, so that it joins"
    )]
    Halfway,
}

/// What it works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) source: Source,
    pub(crate) clients: Arc<Clients>,
    pub(crate) members: Arc<Members>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) numbers: Numbers,
    pub(crate) data: Arc<dyn DataDir>,
    pub(crate) backups: Option<Arc<dyn Backups>>,
    pub(crate) accept_empty_store: bool,
}

/// At most one run at a time.
#[derive(Debug)]
pub(crate) struct Initialization {
    parts: Arc<Parts>,
    status: watch::Sender<Status>,
}

impl Initialization {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            status: watch::Sender::new(Status::New),
        }
    }

    /// How it stands. Reading changes nothing.
    pub(crate) fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Begins a run, unless one is under way.
    pub(crate) fn start(&self, mode: Mode) {
        let begun = self.status.send_if_modified(|status| {
            let idle = *status != Status::Progress;
            *status = Status::Progress;
            idle
        });
        if !begun {
            return;
        }
        let (parts, status) = (Arc::clone(&self.parts), self.status.clone());
        tokio::spawn(async move {
            // A run that panics has failed; nobody waits for ever.
            let run = tokio::spawn(async move { parts.run(mode).await }).await;
            let result = match run {
                Ok(Ok(())) => Status::Successful,
                Ok(Err(error)) => {
                    tracing::error!(%error, "etcd may not start");
                    Status::Failed
                }
                Err(error) => {
                    tracing::error!(%error, "the initialisation ended early");
                    Status::Failed
                }
            };
            status.send_replace(result);
        });
    }

    /// etcd runs: the result has been used.
    pub(crate) fn etcd_runs(&self) {
        self.status.send_if_modified(|status| {
            let used = *status == Status::Successful;
            if used {
                *status = Status::New;
            }
            used
        });
    }
}

impl Parts {
    async fn run(&self, mode: Mode) -> Result<(), InitError> {
        let ours = self.source.ours()?;
        match self.follow(&ours, mode).await? {
            Followed::AsUsual => {}
            Followed::Start => return Ok(()),
        }
        let began = Instant::now();
        let mut facts = self.facts(&ours, mode).await?;
        let mut probes = Vec::new();
        let decided = loop {
            match decide(&facts) {
                Next::Look(probe) => {
                    probes.push(probe);
                    let data = self.data.inspect(&probes).await;
                    facts.data = data.map_err(InitError::Data)?;
                }
                Next::Do(action) => break Ok(action),
                Next::Refuse(refusal) => break Err(refusal),
            }
        };
        let took = began.elapsed();
        self.numbers
            .with(|it| it.took(Work::Validation, decided.is_ok(), took));
        let action = decided?;
        tracing::info!(?action, ?took, cluster = ?facts.cluster, "decided what to start with");
        self.act(action, &ours).await
    }

    pub(super) async fn facts(&self, ours: &Ours, mode: Mode) -> Result<Facts, InitError> {
        let several = ours.file.several();
        let volume = self.data.volume().await.map_err(InitError::Data)?;
        let foreign = volume != Volume::Ours;
        let data = if foreign {
            Data::Absent
        } else {
            self.data.inspect(&[]).await.map_err(InitError::Data)?
        };
        let store = match &self.backups {
            Some(backups) if !foreign => backups.newest().await,
            Some(_) | None => Store::None,
        };
        let cluster = if several && !foreign {
            self.cluster(ours, &data).await
        } else {
            Cluster::Silent { ran_before: false }
        };
        Ok(Facts {
            volume,
            data,
            store,
            cluster,
            several,
            mode,
            accept_empty_store: self.accept_empty_store,
        })
    }

    async fn cluster(&self, ours: &Ours, data: &Data) -> Cluster {
        let patience = match data {
            Data::Readable { .. } | Data::Locked => Patience::Little,
            Data::Absent | Data::Incomplete | Data::Broken(_) => Patience::Much,
        };
        let seen = self.members.ask(&self.clients.service(), patience).await;
        let ran_before = match seen {
            Seen::Silent => self.leases.ran_before(&ours.name).await,
            Seen::List(_) => false,
        };
        standing(&seen, &ours.name, &ours.peer_urls, ran_before)
    }

    /// Whether some member of the cluster is there to be asked.
    pub(super) async fn answers(&self) -> bool {
        let service = self.clients.service();
        let seen = self.members.ask(&service, Patience::Little).await;
        matches!(seen, Seen::List(_))
    }

    pub(super) async fn act(&self, action: Action, ours: &Ours) -> Result<(), InitError> {
        let joins = match action {
            Action::Follow | Action::Join | Action::Rejoin => true,
            Action::Keep | Action::Begin | Action::Restore => false,
        };
        self.members.expect_list(joins);
        match action {
            Action::Keep => Ok(()),
            Action::Begin | Action::Follow => self.aside().await,
            Action::Restore => self.restore(ours).await,
            Action::Join => self.join(ours, None).await,
            Action::Rejoin => {
                let began = Instant::now();
                let own = self.own_id(ours).await?;
                let done = self.join(ours, own).await;
                let work = Work::Restoration(Restore::SingleMember);
                self.numbers
                    .with(|it| it.took(work, done.is_ok(), began.elapsed()));
                done
            }
        }
    }

    async fn aside(&self) -> Result<(), InitError> {
        if let Some(now_at) = self.data.move_aside().await.map_err(InitError::Aside)? {
            tracing::warn!(at = %now_at.display(), "the old data was moved aside");
        }
        Ok(())
    }

    async fn restore(&self, ours: &Ours) -> Result<(), InitError> {
        let Some(backups) = &self.backups else {
            return Err(InitError::Restore("no store is configured".to_owned()));
        };
        let began = Instant::now();
        let target = Target {
            name: ours.name.clone(),
            peer_urls: ours.peer_urls.clone(),
        };
        let done = backups.restore(target).await;
        let work = Work::Restoration(Restore::SingleNode);
        self.numbers
            .with(|it| it.took(work, done.is_ok(), began.elapsed()));
        done.map_err(InitError::Restore)
    }

    /// This member, as the cluster lists it.
    async fn own_id(&self, ours: &Ours) -> Result<Option<MemberId>, InitError> {
        let mut failed = None;
        for client in self.clients.service() {
            match client.member_list(CHANGE).await {
                Ok(members) => {
                    let own = members.into_iter().find(|it| {
                        it.name == ours.name
                            || (it.name.0.is_empty()
                                && it.peer_urls.iter().any(|url| ours.peer_urls.contains(url)))
                    });
                    return Ok(own.map(|it| it.id));
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.map_or(InitError::Silent, InitError::Join))
    }

    /// Becomes a learner, after it was removed if it was a member. The cluster is changed first: if
    /// that fails, the data is as it was.
    async fn join(&self, ours: &Ours, remove: Option<MemberId>) -> Result<(), InitError> {
        if let Some(id) = remove {
            let began = Instant::now();
            let done = self.change(&Change::Remove(id)).await;
            self.numbers
                .with(|it| it.took(Work::RemoveMember, done.is_ok(), began.elapsed()));
            done?;
            tracing::warn!(member = %id, "this member was removed, to join again without data");
        }
        self.aside().await?;
        let began = Instant::now();
        let mut pauses = JOIN_PAUSES.iter();
        let done = loop {
            let added = self.change(&Change::Add(&ours.peer_urls)).await;
            match (added, pauses.next()) {
                (Err(error), Some(pause)) => {
                    tracing::warn!(%error, ?pause, "cannot join yet");
                    tokio::time::sleep(*pause).await;
                    // An answer that was lost may have done it.
                    if self.own_id(ours).await.is_ok_and(|own| own.is_some()) {
                        break Ok(());
                    }
                }
                (added, _) => break added,
            }
        };
        self.members.forget();
        self.numbers
            .with(|it| it.took(Work::AddLearner, done.is_ok(), began.elapsed()));
        done
    }

    /// Through the first member that answers.
    async fn change(&self, change: &Change<'_>) -> Result<(), InitError> {
        let mut failed = None;
        for client in self.clients.service() {
            let done = match *change {
                Change::Remove(id) => client.member_remove(id, CHANGE).await,
                Change::Add(peer_urls) => client
                    .member_add_learner(peer_urls, CHANGE)
                    .await
                    .map(|id| tracing::info!(member = %id, "joined as a learner")),
            };
            match done {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let elsewhere = error.is_retryable() && !error.is_ambiguous();
                    failed = Some(error);
                    if !elsewhere {
                        break;
                    }
                }
            }
        }
        Err(failed.map_or(InitError::Silent, InitError::Join))
    }
}

/// A change of the member list.
#[derive(Clone, Copy, Debug)]
enum Change<'a> {
    Remove(MemberId),
    /// A learner at these addresses.
    Add(&'a [String]),
}
