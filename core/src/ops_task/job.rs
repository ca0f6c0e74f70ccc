//! The Job that compacts the snapshots of an Etcd for a task.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::task::Owner;
use crate::api::names;
use crate::jobs::{self, MadeFor};

/// How long the end of a Job of the Etcd itself is left to be told of. Its controller needs a moment, and may
/// have been switched off since it made the Job.
const TOLD: SignedDuration = SignedDuration::from_mins(1);

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSeen {
    /// It is none of ours, and stays.
    Foreign,
    /// It is being deleted.
    Leaves,
    /// It compacts the same snapshots, for the Etcd or for a task before this one, and goes when it is over.
    Before,
    /// The same, and it is over: in the way of the next one.
    Over {
        /// Its uid.
        uid: String,
    },
    /// It has not ended.
    Runs,
    /// It has done its work.
    Complete {
        /// When it began.
        began: Timestamp,
    },
    /// It has not; why.
    Failed(String),
}

/// Gives the Job that compacts the snapshots of an Etcd to a task: it goes when the task goes, when
/// that is deleted, and when it was kept long enough.
pub fn job_of_task(mut job: Job, owner: &Owner) -> Job {
    job.metadata.owner_references = Some(vec![OwnerReference {
        api_version: names::API_VERSION.to_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: "EtcdOpsTask".to_owned(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    }]);
    job
}

impl JobSeen {
    /// What a Job says to a task. At one time one task of an Etcd is under way, so that of a Job that another
    /// was made for and that is over all is told.
    pub fn of(job: &Job, owner: &Owner, now: Timestamp) -> Self {
        if job.metadata.deletion_timestamp.is_some() {
            return Self::Leaves;
        }
        if !jobs::is_of(job, &owner.uid) {
            return Self::of_another(job, now);
        }
        match jobs::ended(job) {
            None => Self::Runs,
            Some(ended) if ended.complete => Self::Complete {
                began: jobs::began(job).unwrap_or(now),
            },
            Some(ended) => {
                let parts = [ended.reason, ended.message];
                let parts: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
                Self::Failed(parts.join(": "))
            }
        }
    }

    fn of_another(job: &Job, now: Timestamp) -> Self {
        let made_for = jobs::made_for(job);
        if made_for == MadeFor::Other {
            return Self::Foreign;
        }
        let uid = job.metadata.uid.clone().unwrap_or_default();
        match jobs::ended(job) {
            None => Self::Before,
            Some(ended) => {
                let long = ended.at.is_none_or(|at| now.duration_since(at) >= TOLD);
                if made_for == MadeFor::Task || long {
                    Self::Over { uid }
                } else {
                    Self::Before
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;

    fn owner() -> Owner {
        Owner {
            name: "t".to_owned(),
            uid: "u".to_owned(),
        }
    }

    #[test]
    fn it_is_of_the_task_alone() {
        let of_an_etcd = json!({
            "metadata": { "name": "main-compactor", "ownerReferences": [
                { "apiVersion": "v", "kind": "Etcd", "name": "main", "uid": "e" },
            ] },
        });
        let job = job_of_task(serde_json::from_value(of_an_etcd).unwrap(), &owner());
        let owners = job.metadata.owner_references.unwrap();
        assert_eq!(owners.len(), 1);
        assert_eq!(
            (owners[0].kind.as_str(), owners[0].uid.as_str()),
            ("EtcdOpsTask", "u")
        );
        assert_eq!(job.metadata.name.as_deref(), Some("main-compactor"));
    }

    fn job(kind: &str, uid: &str, conditions: &Value) -> Job {
        let version = "druid.gardener.cloud/v1alpha1";
        let owner = json!({ "apiVersion": version, "kind": kind, "name": "t", "uid": uid });
        serde_json::from_value(json!({
            "metadata": { "uid": "j", "ownerReferences": [owner] },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    /// Said at second 100.
    fn condition(kind: &str, status: &str) -> Value {
        let at = Timestamp::from_second(100).unwrap().to_string();
        json!([{
            "type": kind, "status": status, "reason": "R", "message": "m", "lastTransitionTime": at,
        }])
    }

    fn seen(job: &Job, second: i64) -> JobSeen {
        JobSeen::of(job, &owner(), Timestamp::from_second(second).unwrap())
    }

    fn complete(second: i64) -> JobSeen {
        let began = Timestamp::from_second(second).unwrap();
        JobSeen::Complete { began }
    }

    #[test]
    fn what_it_says_counts_only_if_it_is_of_the_task() {
        let mine = |conditions: Value| job("EtcdOpsTask", "u", &conditions);
        for (job, expected) in [
            (Job::default(), JobSeen::Foreign),
            (mine(json!([])), JobSeen::Runs),
            (mine(condition("Complete", "False")), JobSeen::Runs),
            (mine(condition("Complete", "True")), complete(100)),
            (
                mine(condition("Failed", "True")),
                JobSeen::Failed("R: m".to_owned()),
            ),
        ] {
            assert_eq!(seen(&job, 100), expected, "{job:?}");
        }
        let mut dated = mine(condition("Complete", "True"));
        let second = |second| Some(Time(Timestamp::from_second(second).unwrap()));
        dated.metadata.creation_timestamp = second(40);
        assert_eq!(seen(&dated, 100), complete(40));
        dated.status.as_mut().unwrap().start_time = second(50);
        assert_eq!(seen(&dated, 100), complete(50));
        let mut leaves = mine(condition("Complete", "True"));
        leaves.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(seen(&leaves, 100), JobSeen::Leaves);
    }

    #[test]
    fn a_job_of_ours_before_it_goes_when_it_is_over_and_told_of() {
        let over = || JobSeen::Over {
            uid: "j".to_owned(),
        };
        let running = json!([]);
        for end in ["Complete", "Failed"] {
            let ended = condition(end, "True");
            for (kind, conditions, second, expected) in [
                ("EtcdOpsTask", &running, 900, JobSeen::Before),
                ("EtcdOpsTask", &ended, 100, over()),
                ("Etcd", &running, 900, JobSeen::Before),
                ("Etcd", &ended, 159, JobSeen::Before),
                ("Etcd", &ended, 160, over()),
                ("CronJob", &ended, 900, JobSeen::Foreign),
            ] {
                let job = job(kind, "x", conditions);
                assert_eq!(seen(&job, second), expected, "{job:?}");
            }
        }
        let undated = job(
            "Etcd",
            "x",
            &json!([{ "type": "Complete", "status": "True" }]),
        );
        assert_eq!(seen(&undated, 0), over());
        let mut other = job("Etcd", "x", &condition("Complete", "True"));
        other.metadata.owner_references.as_mut().unwrap()[0].api_version = "v1".to_owned();
        assert_eq!(seen(&other, 900), JobSeen::Foreign);
    }
}
