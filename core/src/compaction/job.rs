//! The Job that compacts the snapshots of an Etcd.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;

use crate::ops_task::Trouble;
use crate::render::{Facts, HostPaths, Images, Release, Settings, Spec, compaction_job};

/// Renders it, with the sidecar's image that the cluster runs.
///
/// # Errors
/// If there is no store, or it cannot be reached as it is configured.
pub fn job(
    spec: &Spec,
    set: &StatefulSet,
    settings: &Settings,
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
        settings,
        host_paths,
    };
    let rendered = compaction_job(spec, &facts);
    let rendered = rendered.map_err(|problems| Trouble::JobUnmade(problems.to_string()))?;
    rendered.ok_or_else(|| Trouble::NoStore(spec.identity.name.clone()))
}

fn sidecar_image(set: &StatefulSet) -> Option<String> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let mut containers = pod.containers.iter();
    let sidecar = containers.find(|it| it.name == "backup-restore")?;
    sidecar.image.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Etcd;
    use crate::duration::GoDuration;

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
        let settings = Settings {
            compaction_deadline: GoDuration::seconds(60),
            metrics_scrape_wait: GoDuration::seconds(5),
            ..Settings::default()
        };
        let job = job(&spec(backup), &set(), &settings, &HostPaths::default());
        job.map(|it| serde_json::to_value(it).unwrap())
    }

    #[test]
    fn it_is_of_the_etcd_and_runs_what_the_cluster_runs_for_as_long_as_it_may() {
        let job = made(&store()).unwrap();
        assert_eq!(job["metadata"]["name"], "main-compactor");
        let owners = &job["metadata"]["ownerReferences"];
        assert_eq!(owners.as_array().unwrap().len(), 1);
        assert_eq!(owners[0]["kind"], "Etcd");
        assert_eq!(owners[0]["uid"], "e");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 60);
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "br:1");
        let args = container["args"].as_array().unwrap();
        assert_eq!(args[0], "compact");
        assert!(args.contains(&json!("--metrics-scrape-wait-duration=5s")));
    }

    #[test]
    fn without_a_store_that_can_be_reached_there_is_none() {
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
}
