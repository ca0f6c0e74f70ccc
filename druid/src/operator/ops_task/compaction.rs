//! The compaction of snapshots: a Job that belongs to the task, followed to its end.

use std::time::Duration;

use druid_core::api::TaskResult;
use druid_core::duration::GoDuration;
use druid_core::ops_task::{
    Attempt, Done, JobSeen, Progress, Snapshot, Trouble, job_of_task, newest,
};
use druid_core::render::Settings;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, PostParams};
use tokio::time::sleep;

use super::api::Apis;
use super::works::Tell;
use crate::clock::now;
use crate::operator::etcds::Cluster;
use crate::operator::jobs;
use crate::operator::leading::{self, LISTING, Leading, Sidecars};
use crate::operator::request::{ApiError, within};

/// How often the Job is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// One attempt. A Job of the task that is there already is followed: an operator before this one has
/// made it.
pub(super) async fn attempt(
    apis: &Apis,
    sidecars: &Sidecars,
    attempt: &Attempt,
    tell: &Tell,
) -> Result<Done, Trouble> {
    let cluster = Cluster::new(apis.client.clone(), &attempt.sidecar);
    let settings = Settings {
        compaction_deadline: GoDuration(attempt.limit.unsigned_abs()),
        metrics_scrape_wait: apis.metrics_wait,
        ..Settings::default()
    };
    let job = cluster.compaction_job(&settings).await?;
    let job = job_of_task(job, &attempt.owner);
    let name = job.metadata.name.clone().unwrap_or_default();
    let api: Api<Job> = Api::namespaced(apis.client.clone(), &attempt.sidecar.namespace);
    let unknown = |error: ApiError| Trouble::JobUnknown {
        job: name.clone(),
        why: error.to_string(),
    };
    loop {
        let found = within("get the Job", api.get_opt(&name)).await;
        let seen = found
            .map_err(unknown)?
            .map(|it| JobSeen::of(&it, &attempt.owner, now()));
        let mut step = format!("Job {name} compacts the snapshots");
        match seen {
            None => {
                let params = PostParams::default();
                let made = within("create the Job", api.create(&params, &job)).await;
                match made {
                    Ok(_) => {}
                    // Somebody was quicker: it is looked at next.
                    Err(error) if error.status() == Some(409) => {}
                    Err(error) => return Err(unknown(error)),
                }
            }
            Some(JobSeen::Foreign) => return Err(Trouble::JobTaken(name)),
            Some(JobSeen::Failed(why)) => {
                return Err(Trouble::JobFailed {
                    job: name,
                    namespace: attempt.sidecar.namespace.clone(),
                    why,
                });
            }
            Some(JobSeen::Complete { began }) => {
                let told = told(apis, sidecars, attempt, began).await;
                return told.map(Done::Compacted);
            }
            Some(JobSeen::Over { uid }) => {
                jobs::delete(&api, &name, &uid).await.map_err(unknown)?;
                step = format!("Job {name}, which is over, makes room");
            }
            Some(JobSeen::Before) => {
                step = format!("waits for Job {name}, which compacts the snapshots already");
            }
            Some(JobSeen::Leaves) => step = format!("waits for Job {name}, which is being deleted"),
            Some(JobSeen::Runs) => {}
        }
        tell.progress(Progress {
            step,
            result: TaskResult::default(),
        });
        sleep(LOOK).await;
    }
}

/// What the Job has made, as the first sidecar knows it that can look. None has to lead: a Job needs no
/// etcd.
async fn told(
    apis: &Apis,
    sidecars: &Sidecars,
    attempt: &Attempt,
    began: Timestamp,
) -> Result<Snapshot, Trouble> {
    let (web, bases) = leading::all(&apis.client, sidecars, &attempt.sidecar).await?;
    let mut result = Err(Trouble::BackupsUnknown(
        "no sidecar has an address".to_owned(),
    ));
    for base in bases.into_values().flatten() {
        let answer = Leading {
            web: web.clone(),
            base,
        }
        .latest(LISTING)
        .await;
        result = answer.and_then(|it| newest(began, it.status.as_u16(), &it.body));
        match &result {
            Err(trouble) if trouble.may_pass() => {}
            Ok(_) | Err(_) => break,
        }
    }
    result
}
