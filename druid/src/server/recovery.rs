//! Follows the operator while it recovers the cluster from the loss of its quorum: before etcd starts,
//! this member's lease may have an instruction. `druid_core::agent::recovery` is what they agree on.

use std::sync::Arc;
use std::time::Duration;

use druid_core::agent::recovery::{Course, Follow, Instruction, Order};
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
            if let Some((told, follow)) = told {
                match follow {
                    Follow::Done => {
                        self.report(&told, Course::Done, ours).await;
                        return Ok(Followed::AsUsual);
                    }
                    Follow::Obey(order) => return self.obey(&told, order, ours, mode).await,
                    Follow::End(order) => return self.end(&told, order, ours, mode).await,
                    Follow::Hold => {}
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

    /// What it is told, and what it does about that; `None` if nothing, `Some(None)` if it is not known at
    /// the moment.
    ///
    /// A member that never was told to wait, and has begun nothing, does not wait for an API server that does
    /// not answer: it may be what that is waiting for.
    async fn told(
        &self,
        ours: &Ours,
        held: bool,
    ) -> Result<Option<Option<(Instruction, Follow)>>, InitError> {
        let memory = self.data.recovered().await.map_err(InitError::Data)?;
        let begun = memory.as_ref().is_some_and(|it| it.begun);
        let told = match self.leases.instruction(&ours.name).await {
            Ok(told) => told,
            Err(why) if held || begun => {
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
        let follow = told.follow(memory.as_ref());
        Ok(Some(Some((told, follow))))
    }

    async fn obey(
        &self,
        told: &Instruction,
        order: Order,
        ours: &Ours,
        mode: Mode,
    ) -> Result<Followed, InitError> {
        tracing::warn!(task = told.task, ?order, "the cluster is being recovered");
        // An order that was left behind would make a second cluster beside the first.
        if order.founds() && self.answers().await {
            let why = "its cluster answers, so it goes on as a member of that".to_owned();
            tracing::error!(task = told.task, ?order, why, "the order is not followed");
            self.report(told, Course::Failed { why }, ours).await;
            return Ok(Followed::AsUsual);
        }
        let done = self.carry_out(told, order, ours, mode).await;
        self.started(told, done, ours).await
    }

    /// Ends what was begun, whatever it is told now. Where its cluster answers meanwhile, its data does not
    /// start beside that.
    async fn end(
        &self,
        told: &Instruction,
        order: Order,
        ours: &Ours,
        mode: Mode,
    ) -> Result<Followed, InitError> {
        tracing::warn!(task = told.task, ?order, "what was begun is ended");
        let done = if order.founds() && self.answers().await {
            Err(InitError::Halfway)
        } else {
            self.carry_out(told, order, ours, mode).await
        };
        self.started(told, done, ours).await
    }

    async fn started(
        &self,
        told: &Instruction,
        done: Result<(), InitError>,
        ours: &Ours,
    ) -> Result<Followed, InitError> {
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
        order: Order,
        ours: &Ours,
        mode: Mode,
    ) -> Result<(), InitError> {
        let memory = told.begin(order);
        let remember = |memory| async { self.data.remember(memory).await.map_err(InitError::Data) };
        if order.founds() {
            remember(memory.clone()).await?;
        }
        match order {
            Order::Hold => {}
            Order::Alone => {
                let removed = self.data.make_alone().await.map_err(InitError::Data)?;
                tracing::warn!(?removed, "this member is a cluster of its own now");
                self.act(Action::Keep, ours).await?;
            }
            Order::Restore => self.act(Action::Restore, ours).await?,
            Order::Join => {
                let action = match self.facts(ours, mode).await?.cluster {
                    Cluster::NotListed => Action::Join,
                    Cluster::Added => Action::Follow,
                    Cluster::Listed => Action::Rejoin,
                    Cluster::Silent { .. } => return Err(InitError::Silent),
                };
                self.act(action, ours).await?;
            }
        }
        remember(memory.done()).await
    }

    /// If nobody hears it, it is said again beside everything else, until it is heard or the member is told
    /// something else: the operator may be waiting for it, and etcd may be what the API server waits for.
    async fn report(&self, told: &Instruction, course: Course, ours: &Ours) {
        let report = told.report(course);
        let Err(error) = self.leases.report(&ours.name, &report).await else {
            return;
        };
        tracing::warn!(%error, "the operator cannot be told; it is tried again");
        let (leases, name, told) = (Arc::clone(&self.leases), ours.name.clone(), told.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                match leases.instruction(&name).await {
                    Ok(Some(now)) if now == told => {}
                    Ok(Some(_) | None) => return,
                    Err(_) => continue,
                }
                if leases.report(&name, &report).await.is_ok() {
                    return;
                }
            }
        });
    }
}
