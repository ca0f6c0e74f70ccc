//! Recovery from the loss of quorum: looks at all members, lets `druid_core::ops_task` decide on one step,
//! does it, and looks again.

use std::collections::BTreeMap;
use std::time::Duration;

use druid_core::member::MemberName;
use druid_core::observed::Hashes;
use druid_core::ops_task::{
    Attempt, Backup, Done, NotRestorable, Phase, Progress, Recover, Recovering, Recovery, TRIAL,
    There, Trouble, restorable,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::sleep;

use super::api::Apis;
use super::works::Tell;
use crate::clock::now;
use crate::etcd::Client;
use crate::observe::{self, PROBE_KEY};
use crate::operator::etcds::{Cluster, Survivors};
use crate::operator::leading::{self, Sidecars};

/// For a read that needs a quorum, the first time: etcd gives up on one after 7 s, and a leader may just
/// be elected.
const QUORUM: Duration = Duration::from_secs(8);
/// For the same, later on.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// So many looks in a row may fail.
const FAILURES: u32 = 20;
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
        backup: None,
        phase: None,
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
            Err(trouble) => return Err(trouble),
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
    backup: Option<Backup>,
    phase: Option<(Phase, Timestamp)>,
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
        let there = There {
            task: &owner.uid,
            result: &result,
            places: &found.places,
            etcd: &found.etcd,
            serving: &serving,
        };
        let backup = self.backup.take();
        let backup = backup.unwrap_or_else(|| Backup::at_first(self.attempt.store, &there));
        let hashes = self.hashes.take();
        let next = self.wanted.next(&Recovering {
            there,
            since: self.since(there.phase()),
            now: now(),
            backup: &backup,
            hashes: hashes.as_ref(),
        })?;
        self.backup = Some(backup);
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

    /// Since when it is in this phase, as far as this process knows.
    fn since(&mut self, phase: Phase) -> Timestamp {
        match self.phase {
            Some((before, since)) if before == phase => since,
            Some(_) | None => {
                let now = now();
                self.phase = Some((phase, now));
                now
            }
        }
    }

    async fn act(&mut self, next: Recover, found: &Survivors) -> Result<(), Trouble> {
        match next {
            Recover::VerifyBackup => {
                let before = self.backup.take().unwrap_or(Backup::NotAsked);
                if matches!(before, Backup::Later { .. } | Backup::Unverified(_)) {
                    sleep(PAUSE).await;
                }
                self.backup = Some(self.verified(&before).await);
            }
            Recover::Tell(all) => self.cluster.tell(found, &all).await?,
            Recover::Delete(what) => self.cluster.delete(&what).await?,
            Recover::Compare => {
                let hashes = observe::hashes(&found.members, &found.etcd, HASH).await;
                self.hashes = Some(hashes);
            }
            // It is done once the status says so.
            Recover::Record(_) | Recover::Wait(_) => sleep(PAUSE).await,
            Recover::Finished => {}
        }
        Ok(())
    }

    /// Lets the first sidecar that answers restore the backup on trial.
    async fn verified(&self, before: &Backup) -> Backup {
        let all = leading::all(&self.apis.client, self.sidecars, &self.attempt.sidecar).await;
        let (web, bases) = match all {
            Ok(all) => all,
            Err(trouble) => return before.later(trouble.to_string()),
        };
        let mut later = "no container backup-restore runs that could be asked".to_owned();
        let (mut refused, mut damaged) = (None, None);
        for (pod, base) in bases
            .into_iter()
            .filter_map(|(pod, base)| Some((pod, base?)))
        {
            let url = format!("{base}/backup/restorable");
            let answer = match web.get(&url, TRIAL.unsigned_abs()).await {
                Ok(answer) => answer,
                Err(error) => {
                    later = format!("{pod}: {error}");
                    continue;
                }
            };
            match restorable(answer.status.as_u16(), &answer.body) {
                Ok(covered) => {
                    return Backup::Restorable {
                        revision: covered.revision,
                        written: Some(covered.at),
                    };
                }
                Err(NotRestorable::Busy(why)) => later = format!("{pod}: {why}"),
                Err(NotRestorable::Damaged(why)) => damaged = Some(format!("{pod}: {why}")),
                Err(NotRestorable::Unknown(why)) => refused = Some(format!("{pod}: {why}")),
            }
        }
        match (damaged, refused) {
            (Some(why), _) => Backup::Damaged(why),
            (None, Some(why)) => Backup::Unverified(why),
            (None, None) => before.later(later),
        }
    }
}

/// Who answers a read that needs a quorum, and at which revision.
pub(super) async fn serving(
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
