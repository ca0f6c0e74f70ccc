//! The leases that tell the operator of this member and of its snapshots.

use std::sync::Arc;
use std::time::Duration;

use druid_core::agent::lease::{self, Heartbeat, Held};
use druid_core::agent::recovery::{Instruction, Report};
use druid_core::backup::Revision;
use druid_core::member::{MemberId, MemberName};
use jiff::Timestamp;
use tokio::sync::watch;

use super::api_server::{ApiError, ApiServer};
use super::clients::Clients;
use super::leadership::Leadership;
use super::mounted::Source;
use crate::clock;
use crate::store::backoff::{Backoff, chances};

/// For one answer of the API server, or of etcd.
const DEADLINE: Duration = Duration::from_secs(10);
/// Before a lease that could not be written is tried again.
const RETRY: Duration = Duration::from_mins(1);
/// How often a conflict is tried again at once.
const CONFLICTS: u32 = 5;

/// What the snapshots' leases say. Sent again at each tick of the deltas, also if nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Counts, so that equal progress is told again.
    pub(crate) tick: u64,
    /// The newest full snapshot's last revision and time.
    pub(crate) full: Option<(Revision, Timestamp)>,
    /// The newest delta's last revision.
    pub(crate) delta: Option<Revision>,
}

/// Reads and writes them, where there is an API server.
#[derive(Debug)]
pub(crate) struct Leases {
    api: Option<ApiServer>,
    deadline: Duration,
}

impl Leases {
    pub(crate) fn new(api: Option<ApiServer>) -> Self {
        Self {
            api,
            deadline: DEADLINE,
        }
    }

    /// Whether a member ever ran, by its lease. Not knowing is no.
    pub(crate) async fn ran_before(&self, member: &MemberName) -> bool {
        let Some(api) = &self.api else { return false };
        match api.lease(&member.0, self.deadline).await {
            Ok(lease) => Held::of(&lease).ran_before(),
            Err(error) => {
                tracing::warn!(%error, "it is not known whether this member ran before");
                false
            }
        }
    }

    /// What the operator tells a member to do before its etcd starts. `Err`: why it is not known.
    pub(crate) async fn instruction(
        &self,
        member: &MemberName,
    ) -> Result<Option<Instruction>, String> {
        let Some(api) = &self.api else {
            return Ok(None);
        };
        match api.lease(&member.0, self.deadline).await {
            Ok(lease) => Instruction::of(&lease).map_err(|error| error.to_string()),
            Err(ApiError::NoLease { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells the operator how that goes, unless the lease says so already.
    pub(crate) async fn report(
        &self,
        member: &MemberName,
        report: &Report,
    ) -> Result<(), ApiError> {
        let Some(api) = &self.api else { return Ok(()) };
        let lease = api.lease(&member.0, self.deadline).await?;
        if Report::of(&lease).as_ref() == Some(report) {
            return Ok(());
        }
        api.patch(&member.0, &report.patch(), self.deadline).await
    }

    /// Says that there is a full snapshot which was not made by a server. A failure that may pass is
    /// tried again for some seconds. `false`: there is no API server.
    pub(crate) async fn tell_full(
        &self,
        name: &str,
        last: Revision,
        created: Timestamp,
    ) -> Result<bool, ApiError> {
        let mut chances = chances();
        let mut failed = 0;
        loop {
            let error = match self.full(name, last, created).await {
                Ok(()) => return Ok(self.api.is_some()),
                Err(error) => error,
            };
            failed += 1;
            let pause = Backoff::REQUEST.pause(failed, &mut chances);
            match pause.filter(|_| error.may_pass()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn full(&self, name: &str, last: Revision, created: Timestamp) -> Result<(), ApiError> {
        let Some(api) = &self.api else { return Ok(()) };
        let mut conflicts = 0;
        loop {
            let held = Held::of(&api.lease(name, self.deadline).await?);
            let Some(patch) = lease::full(&held, last, created) else {
                return Ok(());
            };
            match api.patch(name, &patch, self.deadline).await {
                Err(ApiError::Conflict(_)) if conflicts < CONFLICTS => conflicts += 1,
                done => return done,
            }
        }
    }

    async fn delta(&self, name: &str, newest: Option<Revision>) -> Result<(), ApiError> {
        let Some(api) = &self.api else { return Ok(()) };
        let held = Held::of(&api.lease(name, self.deadline).await?);
        let patch = lease::delta(&held, newest, clock::now());
        api.patch(name, &patch, self.deadline).await
    }
}

/// Tells of this member, every period, from its first answer on.
pub(crate) async fn heartbeat(
    leases: Arc<Leases>,
    clients: Arc<Clients>,
    source: Source,
    period: Duration,
    mut leadership: watch::Receiver<Leadership>,
) {
    let Some(api) = &leases.api else { return };
    let mut told = String::new();
    loop {
        // As etcd-backup-restore does, nothing is told while nothing is known.
        if leadership
            .wait_for(|it| *it != Leadership::Unknown)
            .await
            .is_err()
        {
            return;
        }
        let why = match beat(api, &clients, &source).await {
            Ok(()) => String::new(),
            Err(why) => why,
        };
        if why != told {
            if why.is_empty() {
                tracing::info!("the member lease is renewed again");
            } else {
                tracing::warn!(why, "the member lease is not renewed");
            }
            told = why;
        }
        tokio::time::sleep(period).await;
    }
}

async fn beat(api: &ApiServer, clients: &Clients, source: &Source) -> Result<(), String> {
    let ours = source.ours().map_err(|error| error.to_string())?;
    let local = clients.local();
    let text = |error: crate::etcd::Error| error.to_string();
    let status = local.status(DEADLINE).await.map_err(text)?;
    // A learner answers no linearizable read.
    let peer_urls = match local.member_list(DEADLINE).await {
        Ok(listed) => listed
            .into_iter()
            .find(|member| member.id == status.id)
            .map_or(ours.peer_urls, |member| member.peer_urls),
        Err(_) => ours.peer_urls,
    };
    let beat = Heartbeat {
        member: status.id,
        cluster: status.cluster,
        leads: status.leader == status.id && status.id != MemberId::NOBODY,
        peer_urls,
    };
    let patch = lease::heartbeat(&beat, clock::now());
    api.patch(&ours.name.0, &patch, DEADLINE)
        .await
        .map_err(|error| error.to_string())
}

/// The names of the snapshots' leases.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) full: String,
    pub(crate) delta: String,
}

/// Tells of snapshots as they are taken, until nobody takes any more. What was said last is told even
/// then.
pub(crate) async fn follow_snapshots(
    leases: Arc<Leases>,
    names: Names,
    mut progress: watch::Receiver<Progress>,
) {
    if leases.api.is_none() {
        return;
    }
    let mut told = Progress::default();
    loop {
        let now = progress.borrow_and_update().clone();
        if let Some((last, created)) = now.full
            && told.full != now.full
        {
            match leases.full(&names.full, last, created).await {
                Ok(()) => told.full = now.full,
                Err(error) => tracing::warn!(%error, "the lease of full snapshots is not renewed"),
            }
        }
        if told.tick != now.tick {
            match leases.delta(&names.delta, now.delta).await {
                Ok(()) => told.tick = now.tick,
                Err(error) => tracing::warn!(%error, "the lease of deltas is not renewed"),
            }
        }
        let changed = if (told.full, told.tick) == (now.full, now.tick) {
            progress.changed().await
        } else {
            match tokio::time::timeout(RETRY, progress.changed()).await {
                Ok(changed) => changed,
                Err(_) => Ok(()),
            }
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
