//! Maintenance of the members: asks them all, lets `druid_core::ops_task` decide on one step, does it,
//! and asks again.

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::api::TaskResult;
use druid_core::member::MemberName;
use druid_core::observed::Etcd;
use druid_core::ops_task::{
    Attempt, Backups, Covered, Done, Maintenance, Next, Progress, Trouble, covered,
};
use tokio::time::{Instant, sleep};

use super::api::Apis;
use super::works::Tell;
use crate::clock::now;
use crate::etcd::{self, Client, Compactions, Kind};
use crate::operator::etcds::Cluster;
use crate::operator::leading::{self, LISTING, Sidecars};

/// For an answer that costs nothing.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two looks at members that are not well.
const PAUSE: Duration = Duration::from_millis(500);
/// For so long members that are not well are waited for in one attempt.
const PATIENCE: Duration = Duration::from_mins(1);
/// For so long the members may take to free what was compacted.
const FREEING: Duration = Duration::from_mins(5);

/// Where the members are: asked before every step.
pub(super) trait Place {
    /// The members as they are now, and what they answer.
    async fn look(&mut self) -> Result<(Vec<(MemberName, Client)>, Etcd), Trouble>;
}

impl Place for Cluster {
    async fn look(&mut self) -> Result<(Vec<(MemberName, Client)>, Etcd), Trouble> {
        self.ask().await
    }
}

/// One attempt. `by`: when it has to be over.
pub(super) async fn attempt(
    apis: &Apis,
    sidecars: &Sidecars,
    attempt: &Attempt,
    wanted: &Maintenance,
    by: Instant,
    tell: &Tell,
) -> Result<Done, Trouble> {
    let compacts = wanted.compact.is_some() && attempt.result.compacted_revision.is_none();
    let backups = if attempt.store && compacts {
        Backups::Reach(backups(apis, sidecars, attempt).await?)
    } else {
        Backups::None
    };
    let mut work = Work {
        place: Cluster::new(apis.client.clone(), &attempt.sidecar),
        wanted,
        backups,
        result: attempt.result.clone(),
        by,
        patience: PATIENCE,
        tell: |progress| tell.progress(progress),
    };
    work.run().await?;
    Ok(Done::Maintained(Box::new(work.result)))
}

async fn backups(
    apis: &Apis,
    sidecars: &Sidecars,
    attempt: &Attempt,
) -> Result<Vec<Covered>, Trouble> {
    let leading = leading::find(&apis.client, sidecars, &attempt.sidecar).await?;
    let answer = leading.latest(LISTING).await?;
    covered(answer.status.as_u16(), &answer.body)
}

/// The steps, one after the other.
pub(super) struct Work<'a, P, T> {
    pub(super) place: P,
    pub(super) wanted: &'a Maintenance,
    pub(super) backups: Backups,
    /// What has come of it so far.
    pub(super) result: TaskResult,
    /// When it has to be over.
    pub(super) by: Instant,
    /// For so long members that are not well are waited for.
    pub(super) patience: Duration,
    /// Told before and after each step.
    pub(super) tell: T,
}

impl<P: Place, T: Fn(Progress)> Work<'_, P, T> {
    /// Until all is done or something fails.
    pub(super) async fn run(&mut self) -> Result<(), Trouble> {
        let mut since = Instant::now();
        loop {
            let (members, seen) = self.place.look().await?;
            let next = self.wanted.next(&self.result, &seen, &self.backups, now());
            let next = match next {
                Ok(next) => next,
                Err(Trouble::Unwell(_)) if since.elapsed() < self.patience => {
                    sleep(PAUSE).await;
                    continue;
                }
                Err(trouble) => return Err(trouble),
            };
            if next == Next::Finished {
                return Ok(());
            }
            tracing::info!("{next}");
            self.told(&next);
            let done = self.step(&next, &members, &seen).await;
            done.map_err(|error| Trouble::Step {
                step: next.to_string(),
                why: error.to_string(),
            })?;
            self.told(&next);
            since = Instant::now();
        }
    }

    fn told(&self, next: &Next) {
        (self.tell)(Progress {
            step: next.to_string(),
            result: self.result.clone(),
        });
    }

    async fn step(
        &mut self,
        next: &Next,
        members: &[(MemberName, Client)],
        seen: &Etcd,
    ) -> Result<(), etcd::Error> {
        let of = |wanted: &MemberName| {
            let client = members.iter().find(|(name, _)| name == wanted);
            let status = seen.members.get(wanted).and_then(|it| it.status());
            Some((&client?.1, status?))
        };
        let leader = seen.leader().and_then(of);
        match next {
            Next::Compact(revision) => {
                let Some((client, _)) = leader else {
                    return Ok(());
                };
                let before = compactions(members).await;
                match client
                    .compact(*revision, true, self.left().min(FREEING))
                    .await
                {
                    Ok(()) => self.freed(members, &before).await,
                    // Somebody has, as far or farther.
                    Err(error) if matches!(error.kind, Kind::Compacted(_)) => {}
                    Err(error) => return Err(error),
                }
                self.result.compacted(*revision);
            }
            Next::HandOver { from, to } => {
                if let (Some((client, _)), Some((_, heir))) = (of(from), of(to)) {
                    client.move_leader(heir.id, ANSWER).await?;
                }
            }
            Next::Defragment(name) => {
                if let Some((client, status)) = of(name) {
                    client.defragment(self.left()).await?;
                    let after = client.status(ANSWER).await?;
                    self.result
                        .defragmented(name, status.db_size, after.db_size);
                }
            }
            Next::ClearNoSpace(full) => {
                let Some((client, _)) = leader else {
                    return Ok(());
                };
                for member in full {
                    client.alarm_disarm(*member, ANSWER).await?;
                }
                self.result.cleared(full.len());
            }
            Next::Finished => {}
        }
        Ok(())
    }

    /// Waits until every member has freed what was compacted: they do that each for itself, and what is
    /// freed after a defragmentation is not given back.
    async fn freed(&self, members: &[(MemberName, Client)], before: &Ended) {
        let began = Instant::now();
        loop {
            let now = compactions(members).await;
            let busy = before.iter().find(|(name, before)| {
                let now = now.get(*name);
                now.is_none_or(|now| !now.are_over_since(**before))
            });
            let Some((name, _)) = busy else {
                return;
            };
            if began.elapsed() > FREEING.min(self.left() / 2) {
                tracing::warn!(member = %name, "it has not freed what was compacted in time");
                return;
            }
            sleep(PAUSE).await;
        }
    }

    fn left(&self) -> Duration {
        self.by.saturating_duration_since(Instant::now())
    }
}

/// The compactions of each member that tells of them.
type Ended = BTreeMap<MemberName, Compactions>;

async fn compactions(members: &[(MemberName, Client)]) -> Ended {
    let ask = async |(name, client): &(MemberName, Client)| {
        let count = client.http().compactions(ANSWER).await.ok().flatten();
        count.map(|count| (name.clone(), count))
    };
    let all = futures_util::future::join_all(members.iter().map(ask)).await;
    all.into_iter().flatten().collect()
}

#[cfg(test)]
#[path = "maintain_tests.rs"]
mod tests;
