//! Follows the operator while it recovers the cluster from the loss of its quorum: before etcd starts,
//! this member's lease may have an instruction. `druid_core::agent::recovery` is what they agree on.

use std::time::Duration;

use druid_core::agent::recovery::{Course, Instruction, Order};
use druid_core::backup::initialize::{Action, Cluster, Mode, Volume};

use super::initialization::{InitError, Parts};
use super::mounted::Ours;

/// How often a member that waits looks whether it is told something else.
const LOOK: Duration = Duration::from_secs(1);

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// What is always done: nobody instructs this member, or it has done what it was told.
    AsUsual,
    /// Nothing: etcd may start.
    Start,
}

impl Parts {
    /// Follows the instruction, if there is one, and waits as long as it says so.
    pub(super) async fn follow(&self, ours: &Ours, mode: Mode) -> Result<Followed, InitError> {
        let mut held = false;
        loop {
            let Some(told) = self.told(ours, held).await? else {
                return Ok(Followed::AsUsual);
            };
            if let Some(told) = told {
                if told.order != Order::Hold {
                    return self.obey(&told, ours, mode).await;
                }
                if !held {
                    tracing::warn!(task = told.task, "waits: the cluster is being recovered");
                }
                held = true;
                let data = self.data.holding().await.map_err(InitError::Data)?;
                self.report(&told, Course::Holds { data }, ours).await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What there is to do; `None` if nothing, `Some(None)` if it is not known at the moment.
    ///
    /// A member that never was told to wait does not wait for an API server that does not answer: it may
    /// be what that is waiting for.
    async fn told(
        &self,
        ours: &Ours,
        held: bool,
    ) -> Result<Option<Option<Instruction>>, InitError> {
        let told = match self.leases.instruction(&ours.name).await {
            Ok(told) => told,
            Err(why) if held => {
                tracing::warn!(why, "it is not known whether to wait longer");
                return Ok(Some(None));
            }
            Err(why) => {
                tracing::warn!(
                    why,
                    "it is not known whether the cluster is being recovered"
                );
                None
            }
        };
        let Some(told) = told else {
            return Ok(None);
        };
        if self.data.volume().await.map_err(InitError::Data)? != Volume::Ours {
            return Ok(None);
        }
        let done = self.data.recovered().await.map_err(InitError::Data)?;
        if told.is_done(done.as_ref()) {
            self.report(&told, Course::Done, ours).await;
            return Ok(None);
        }
        Ok(Some(Some(told)))
    }

    async fn obey(
        &self,
        told: &Instruction,
        ours: &Ours,
        mode: Mode,
    ) -> Result<Followed, InitError> {
        tracing::warn!(task = told.task, order = ?told.order, "the cluster is being recovered");
        let done = match self.carry_out(told, ours, mode).await {
            Ok(()) => self
                .data
                .remember(told.clone())
                .await
                .map_err(InitError::Data),
            Err(error) => Err(error),
        };
        let course = match &done {
            Ok(()) => Course::Done,
            Err(error) => Course::Failed {
                why: error.to_string(),
            },
        };
        self.report(told, course, ours).await;
        done.map(|()| Followed::Start)
    }

    async fn carry_out(
        &self,
        told: &Instruction,
        ours: &Ours,
        mode: Mode,
    ) -> Result<(), InitError> {
        match told.order {
            Order::Hold => Ok(()),
            Order::Alone => {
                let removed = self.data.make_alone().await.map_err(InitError::Data)?;
                tracing::warn!(?removed, "this member is a cluster of its own now");
                self.act(Action::Keep, ours).await
            }
            Order::Restore => self.act(Action::Restore, ours).await,
            Order::Join => {
                let action = match self.facts(ours, mode).await?.cluster {
                    Cluster::NotListed => Action::Join,
                    Cluster::Added => Action::Follow,
                    Cluster::Listed => Action::Rejoin,
                    Cluster::Silent { .. } => return Err(InitError::Silent),
                };
                self.act(action, ours).await
            }
        }
    }

    /// That nobody hears it changes nothing: it is told again.
    async fn report(&self, told: &Instruction, course: Course, ours: &Ours) {
        let report = told.report(course);
        if let Err(error) = self.leases.report(&ours.name, &report).await {
            tracing::warn!(%error, "the operator cannot be told");
        }
    }
}
