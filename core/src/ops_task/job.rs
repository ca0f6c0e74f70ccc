//! The Job that compacts the snapshots of an Etcd for a task.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::task::Owner;
use crate::api::names;
use crate::jobs;

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSeen {
    /// It is none of this task.
    Foreign,
    /// It has not ended.
    Runs,
    /// It has done its work.
    Complete,
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
    /// What a Job says to a task.
    pub fn of(job: &Job, owner: &Owner) -> Self {
        if !jobs::is_of(job, &owner.uid) {
            return Self::Foreign;
        }
        match jobs::ended(job) {
            None => Self::Runs,
            Some(ended) if ended.complete => Self::Complete,
            Some(ended) => {
                let parts = [ended.reason, ended.message];
                let parts: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
                Self::Failed(parts.join(": "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_it_says_counts_only_if_it_is_of_the_task() {
        let with = |uid: &str, conditions: Value| -> Job {
            let owner =
                json!({ "apiVersion": "v", "kind": "EtcdOpsTask", "name": "t", "uid": uid });
            serde_json::from_value(json!({
                "metadata": { "ownerReferences": [owner] },
                "status": { "conditions": conditions },
            }))
            .unwrap()
        };
        let condition = |kind: &str, status: &str| json!([{ "type": kind, "status": status, "reason": "R", "message": "m" }]);
        for (job, seen) in [
            (with("x", condition("Complete", "True")), JobSeen::Foreign),
            (Job::default(), JobSeen::Foreign),
            (with("u", json!([])), JobSeen::Runs),
            (with("u", condition("Complete", "False")), JobSeen::Runs),
            (with("u", condition("Complete", "True")), JobSeen::Complete),
            (
                with("u", condition("Failed", "True")),
                JobSeen::Failed("R: m".to_owned()),
            ),
        ] {
            assert_eq!(JobSeen::of(&job, &owner()), seen, "{job:?}");
        }
    }
}
