//! Follows the member beside us: whether it leads, whether it is a learner, whether it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use druid_core::agent::metrics::{Counter, Gauge, Work};
use druid_core::member::MemberId;
use tokio::sync::watch;

use super::clients::Clients;
use super::initialization::Initialization;
use super::metrics::Numbers;
use crate::etcd::{Client, Error, MemberStatus};

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leadership {
    /// It does not answer, or knows no leader.
    #[default]
    Unknown,
    /// Another leads.
    Follows,
    /// It leads.
    Leads,
}

/// What the others need.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    pub(crate) clients: Arc<Clients>,
    pub(crate) numbers: Numbers,
    pub(crate) initialization: Arc<Initialization>,
    /// Between two looks.
    pub(crate) period: Duration,
    /// For one.
    pub(crate) deadline: Duration,
}

/// After a failure, and while it is not known who leads, a look costs little and says much.
const SOON: Duration = Duration::from_millis(250);
/// How often that, before it is as slow as always.
const SOON_TIMES: u32 = 8;

impl Follow {
    /// Until `stop`.
    pub(crate) async fn run(
        self,
        tell: watch::Sender<Leadership>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut unknown: u32 = 0;
        loop {
            let found = self.look().await;
            unknown = match found {
                Leadership::Unknown => unknown.saturating_add(1),
                Leadership::Follows | Leadership::Leads => 0,
            };
            tell.send_if_modified(|known| {
                let changed = *known != found;
                if changed {
                    tracing::info!(was = ?known, is = ?found, "leadership");
                    *known = found;
                }
                changed
            });
            let pause = if (1..=SOON_TIMES).contains(&unknown) {
                SOON.min(self.period)
            } else {
                self.period
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn look(&self) -> Leadership {
        let client = self.clients.local();
        match client.status(self.deadline).await {
            Err(error) => {
                tracing::debug!(%error, "the member beside us does not answer");
                Leadership::Unknown
            }
            Ok(status) => {
                self.initialization.etcd_runs();
                let learner = if status.learner { 1.0 } else { 0.0 };
                self.numbers.with(|it| it.set(Gauge::IsLearner, learner));
                if status.learner {
                    self.promote(&client, &status).await;
                }
                leadership(&status)
            }
        }
    }

    /// A learner that has caught up gets a vote. One that has not is refused, and asked for again.
    async fn promote(&self, client: &Client, status: &MemberStatus) {
        let began = Instant::now();
        let done = self.try_promote(client, status).await;
        match &done {
            Ok(()) => tracing::info!(member = %status.id, "this learner may vote now"),
            Err(error) => tracing::info!(%error, "this learner may not vote yet"),
        }
        self.numbers.with(|it| {
            it.took(Work::Promote, done.is_ok(), began.elapsed());
            it.add(Counter::Promoted(done.is_ok()), 1);
        });
    }

    /// A learner passes nothing on: a member that votes has to be asked.
    async fn try_promote(&self, local: &Client, status: &MemberStatus) -> Result<(), Error> {
        let mut last = None;
        for client in self.clients.service() {
            if client.endpoint() == local.endpoint() {
                continue;
            }
            match client.member_promote(status.id, self.deadline).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => local.member_promote(status.id, self.deadline).await,
        }
    }
}

fn leadership(status: &MemberStatus) -> Leadership {
    if status.leader == MemberId::NOBODY {
        Leadership::Unknown
    } else if status.leader == status.id {
        Leadership::Leads
    } else {
        Leadership::Follows
    }
}
