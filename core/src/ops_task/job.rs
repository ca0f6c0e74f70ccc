//! The Job that compacts the snapshots of an Etcd for a task.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::task::Owner;
use super::trouble::Trouble;
use crate::api::names;
use crate::duration::GoDuration;
use crate::render::{Facts, HostPaths, Images, Release, Settings, Spec, compaction_job};

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

/// Renders it: that of the spec, with the sidecar's image that the cluster runs, of the task and no
/// longer than it.
///
/// # Errors
/// If the store cannot be reached as it is configured.
pub fn job(
    spec: &Spec,
    set: &StatefulSet,
    owner: &Owner,
    limit: GoDuration,
    host_paths: &HostPaths,
) -> Result<Job, Trouble> {
    let images = Images {
        etcd: String::new(),
        backup_restore: sidecar_image(set).unwrap_or_default(),
        init: String::new(),
    };
    let facts = Facts {
        release: Release::Base,
        images: &images,
        live_images: &images,
        settings: &Settings {
            compaction_deadline: limit,
            ..Settings::default()
        },
        host_paths,
    };
    let rendered = compaction_job(spec, &facts);
    let rendered = rendered.map_err(|problems| Trouble::JobUnmade(problems.to_string()))?;
    let no_store = || Trouble::NoStore(spec.identity.name.clone());
    let mut job = rendered.ok_or_else(no_store)?;
    // It goes when the task goes: when that is deleted, and when it was kept long enough.
    job.metadata.owner_references = Some(vec![OwnerReference {
        api_version: names::API_VERSION.to_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: "EtcdOpsTask".to_owned(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    }]);
    Ok(job)
}

fn sidecar_image(set: &StatefulSet) -> Option<String> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let mut containers = pod.containers.iter();
    let sidecar = containers.find(|it| it.name == "backup-restore")?;
    sidecar.image.clone()
}

impl JobSeen {
    /// What a Job says to a task.
    pub fn of(job: &Job, owner: &Owner) -> Self {
        let owners = job.metadata.owner_references.as_deref();
        let mut owners = owners.unwrap_or_default().iter();
        if !owners.any(|it| it.uid == owner.uid) {
            return Self::Foreign;
        }
        let conditions = job.status.as_ref().and_then(|it| it.conditions.as_deref());
        let is = |kind: &str| {
            let mut all = conditions.unwrap_or_default().iter();
            all.find(|it| it.type_ == kind && it.status == "True")
        };
        if is("Complete").is_some() {
            return Self::Complete;
        }
        match is("Failed") {
            None => Self::Runs,
            Some(failed) => {
                let parts = [&failed.reason, &failed.message];
                let parts: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
                Self::Failed(parts.join(": "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Etcd;

    fn owner() -> Owner {
        Owner {
            name: "t".to_owned(),
            uid: "u".to_owned(),
        }
    }

    fn spec(backup: &Value) -> Spec {
        let object = json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
            "metadata": { "name": "main", "namespace": "n", "uid": "e" },
            "spec": { "labels": { "a": "b" }, "etcd": {}, "replicas": 3, "backup": backup,
                "selector": { "matchLabels": { "a": "b" } } },
        });
        Spec::parse(&serde_json::from_value::<Etcd>(object).unwrap()).unwrap()
    }

    fn set() -> StatefulSet {
        let containers = json!([
            { "name": "etcd", "image": "etcd:1" }, { "name": "backup-restore", "image": "br:1" },
        ]);
        serde_json::from_value(json!({
            "metadata": { "name": "main" },
            "spec": {
                "serviceName": "s", "selector": {},
                "template": { "spec": { "containers": containers } },
            },
        }))
        .unwrap()
    }

    fn store() -> Value {
        json!({ "store": { "provider": "Local", "container": "c", "prefix": "p" } })
    }

    fn made(backup: &Value) -> Result<Value, Trouble> {
        let limit = GoDuration::seconds(60);
        let paths = HostPaths::default();
        job(&spec(backup), &set(), &owner(), limit, &paths)
            .map(|it| serde_json::to_value(it).unwrap())
    }

    #[test]
    fn it_is_of_the_task_and_runs_what_the_cluster_runs_for_as_long_as_the_task_may() {
        let job = made(&store()).unwrap();
        assert_eq!(job["metadata"]["name"], "main-compactor");
        let owners = &job["metadata"]["ownerReferences"];
        assert_eq!(owners.as_array().unwrap().len(), 1);
        assert_eq!(owners[0]["kind"], "EtcdOpsTask");
        assert_eq!(owners[0]["uid"], "u");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 60);
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "br:1");
        assert_eq!(container["args"][0], "compact");
        assert_eq!(made(&json!({})), Err(Trouble::NoStore("main".to_owned())));
        let secret = json!({ "store": {
            "provider": "Local", "container": "c", "prefix": "p", "secretRef": { "name": "gone" },
        } });
        let trouble = made(&secret).unwrap_err();
        assert!(
            matches!(&trouble, Trouble::JobUnmade(why) if why.contains("gone")),
            "{trouble}"
        );
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
