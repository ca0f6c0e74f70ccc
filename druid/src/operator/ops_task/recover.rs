//! Recovery from the loss of quorum: looks at all members, lets `druid_core::ops_task` decide on one step,
//! does it, and looks again.

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::agent::recovery::{Instruction, Order};
use druid_core::member::MemberName;
use druid_core::observed::Hashes;
use druid_core::ops_task::{
    Attempt, Backup, Done, Kind, Place, Progress, Recover, Recovery, Survivors as Seen, Task,
    Trouble, restorable,
};
use futures_util::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use tokio::time::sleep;

use super::api::Apis;
use super::works::Tell;
use crate::clock::now;
use crate::etcd::Client;
use crate::observe::{self, PROBE_KEY};
use crate::operator::etcds::{Cluster, Goes, Survivors};
use crate::operator::leading::{self, Sidecars};
use crate::operator::request::{ApiError, within};

/// For a read that needs a quorum, the first time: etcd gives up on one after 7 s, and a leader may just
/// be elected.
const QUORUM: Duration = Duration::from_secs(8);
/// For the same, later on.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// So many looks in a row may fail.
const FAILURES: u32 = 20;
/// For the largest backup to be restored on trial.
const TRIAL: Duration = Duration::from_mins(30);
/// For the data of one member to be hashed.
const HASH: Duration = Duration::from_secs(30);

/// One attempt. It goes on from where the leases of the members say that it is.
pub(super) async fn attempt(
    apis: &Apis,
    sidecars: &Sidecars,
    attempt: &Attempt,
    wanted: &Recovery,
    tell: &Tell,
) -> Result<Done, Trouble> {
    let mut work = Work {
        apis,
        sidecars,
        attempt,
        wanted,
        tell,
        cluster: Cluster::new(apis.client.clone(), &attempt.sidecar),
        backup: if attempt.store {
            Backup::NotAsked
        } else {
            Backup::None
        },
        patience: QUORUM,
        hashes: None,
    };
    let mut failures = 0;
    loop {
        match work.step().await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => failures = 0,
            Err(trouble) if trouble.may_pass() && failures < FAILURES => {
                tracing::warn!(%trouble, "the recovery is looked at again");
                failures += 1;
                sleep(PAUSE).await;
            }
            Err(trouble) => {
                work.give_up().await;
                return Err(trouble);
            }
        }
    }
}

struct Work<'a> {
    apis: &'a Apis,
    sidecars: &'a Sidecars,
    attempt: &'a Attempt,
    wanted: &'a Recovery,
    tell: &'a Tell,
    cluster: Cluster,
    backup: Backup,
    patience: Duration,
    hashes: Option<Hashes>,
}

impl Work<'_> {
    /// Looks, decides, acts.
    async fn step(&mut self) -> Result<Option<Done>, Trouble> {
        let owner = &self.attempt.owner;
        let result = self.cluster.result(owner).await?;
        let result = result.ok_or_else(|| Trouble::Object {
            what: format!("reading EtcdOpsTask {}", owner.name),
            why: "it is gone".to_owned(),
        })?;
        let found = self.cluster.survivors().await?;
        let serving = serving(&found.members, self.patience).await;
        self.patience = ANSWER;
        let hashes = self.hashes.take();
        let next = self.wanted.next(&Seen {
            task: &owner.uid,
            began: self.attempt.by - self.attempt.limit,
            now: now(),
            result: &result,
            places: &found.places,
            etcd: &found.etcd,
            serving: &serving,
            backup: &self.backup,
            hashes: hashes.as_ref(),
        })?;
        let mut progress = Progress {
            step: next.to_string(),
            result: result.clone(),
        };
        if let Recover::Record(result) = &next {
            progress.result = result.as_ref().clone();
        }
        self.tell.progress(progress);
        if next == Recover::Finished {
            return Ok(Some(Done::Recovered(Box::new(result))));
        }
        if !matches!(next, Recover::Wait(_)) {
            tracing::info!(etcd = self.attempt.sidecar.etcd, "{next}");
        }
        self.act(next, &found).await?;
        Ok(None)
    }

    async fn act(&mut self, next: Recover, found: &Survivors) -> Result<(), Trouble> {
        match next {
            Recover::VerifyBackup => self.backup = self.verified().await,
            Recover::Tell(all) => {
                for (member, told) in all {
                    self.cluster.instruct(&member, Some(&told)).await?;
                }
            }
            Recover::DeletePod(member, uid) => {
                self.cluster.delete(&member, Goes::Pod, &uid).await?;
            }
            Recover::DeleteClaim(member, uid) => {
                self.cluster.delete(&member, Goes::Claim, &uid).await?;
            }
            Recover::Compare => {
                let hashes = observe::hashes(&found.members, &found.etcd, HASH).await;
                self.hashes = Some(hashes);
            }
            // It is done once the status says so.
            Recover::Record(_) | Recover::Wait(_) => sleep(PAUSE).await,
            Recover::Clear => self.take_away(found, |_| true).await?,
            Recover::Finished => {}
        }
        Ok(())
    }

    /// Takes the instructions of the task away, those with such an order.
    async fn take_away(
        &self,
        found: &Survivors,
        which: impl Fn(Order) -> bool,
    ) -> Result<(), Trouble> {
        for (member, place) in &found.places {
            let told = place.told_by(&self.attempt.owner.uid);
            if told.is_some_and(|it| which(it.order)) {
                self.cluster.instruct(member, None).await?;
            }
        }
        Ok(())
    }

    /// Lets the members start as they were, as long as nobody was told what to start with.
    async fn give_up(&mut self) {
        let found = match self.cluster.survivors().await {
            Ok(found) => found,
            Err(trouble) => {
                tracing::warn!(%trouble, "the members wait until the task is deleted");
                return;
            }
        };
        let owner = &self.attempt.owner;
        let seeded = found.places.values().any(|it| it.is_seed(&owner.uid));
        let serves = match self.cluster.result(owner).await {
            Ok(result) => result.is_some_and(|it| it.recovered_from.is_some()),
            Err(_) => false,
        };
        let done = match (seeded, serves) {
            (false, _) => self.take_away(&found, |it| it == Order::Hold).await,
            // Whoever is not told yet joins all the same.
            (true, true) => self.let_join(&found).await,
            // What they hold may be needed yet.
            (true, false) => Ok(()),
        };
        if let Err(trouble) = done {
            tracing::warn!(%trouble, "the members wait until the task is deleted");
        }
    }

    async fn let_join(&self, found: &Survivors) -> Result<(), Trouble> {
        let uid = &self.attempt.owner.uid;
        for (member, place) in &found.places {
            let held = place.told_by(uid).is_some_and(|it| it.order == Order::Hold);
            // What is being deleted would take the vote along.
            let stays = place.claim.as_ref().is_none_or(|it| !it.leaves);
            if held && stays {
                let told = Instruction::new(uid, Order::Join);
                self.cluster.instruct(member, Some(&told)).await?;
            }
        }
        Ok(())
    }

    /// Lets the first sidecar that answers restore the backup on trial.
    async fn verified(&self) -> Backup {
        let all = leading::all(&self.apis.client, self.sidecars, &self.attempt.sidecar).await;
        let (web, bases) = match all {
            Ok(all) => all,
            Err(trouble) => return Backup::Unverified(trouble.to_string()),
        };
        let mut why = "no container backup-restore runs that could be asked".to_owned();
        for (pod, base) in bases
            .into_iter()
            .filter_map(|(pod, base)| Some((pod, base?)))
        {
            let answer = web.get(&format!("{base}/backup/restorable"), TRIAL).await;
            let told = match &answer {
                Ok(answer) => restorable(answer.status.as_u16(), &answer.body),
                Err(error) => Err(error.to_string()),
            };
            match told {
                Ok(covered) => {
                    return Backup::Restorable {
                        revision: covered.revision,
                        written: covered.at,
                    };
                }
                Err(error) => why = format!("{pod}: {error}"),
            }
        }
        Backup::Unverified(why)
    }
}

/// Who answers a read that needs a quorum, and at which revision.
async fn serving(
    members: &[(MemberName, Client)],
    deadline: Duration,
) -> BTreeMap<MemberName, i64> {
    let ask = async |(name, client): &(MemberName, Client)| {
        let read = client.get(PROBE_KEY.as_bytes(), true, deadline).await;
        read.ok().map(|(_, revision)| (name.clone(), revision))
    };
    let all = join_all(members.iter().map(ask)).await;
    all.into_iter().flatten().collect()
}

/// A task goes: what waits for it waits no longer.
pub(super) async fn release(apis: &Apis, task: &Task) -> Result<(), ApiError> {
    let recovers = task
        .wanted
        .as_ref()
        .is_ok_and(|it| matches!(it.kind, Kind::Recovery(_)));
    if !recovers {
        return Ok(());
    }
    let api: Api<Lease> = Api::namespaced(apis.client.clone(), &task.namespace);
    let leases = within("list the Leases", api.list(&ListParams::default())).await?;
    for lease in leases.items {
        let place = Place::of(None, None, Some(&lease));
        let told = place.told_by(&task.uid).map(|it| it.order);
        if told == Some(Order::Hold) {
            let nothing = Instruction::patch(None);
            let (params, patch) = (PatchParams::default(), Patch::Merge(&nothing));
            within(
                "change a Lease",
                api.patch(&lease.name_any(), &params, &patch),
            )
            .await?;
        }
    }
    Ok(())
}
