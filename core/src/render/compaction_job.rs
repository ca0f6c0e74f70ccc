//! The Job that makes one snapshot out of the last full one and its deltas.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, PodSpec, PodTemplateSpec, ResourceRequirements, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::facts::Facts;
use super::meta;
use super::problem::Problems;
use super::sidecar::{self, Arguments};
use super::spec::{Pods, Spec};
use super::stateful_set::{CREDENTIALS, buckets_at, unprivileged};
use super::store::{self, Provider, Role, Store, host_volume, mount, secret_volume};
use crate::api::names;

const WORKSPACE: &str = "etcd-workspace-dir";
const BUCKETS: &str = "host-storage";

/// Renders it; `None` without backups, or without the leases that tell of them.
///
/// # Errors
/// If the store cannot be reached as it is configured.
pub fn compaction_job(spec: &Spec, facts: &Facts<'_>) -> Result<Option<Job>, Problems> {
    let pods = spec.pods.as_ref().map_err(Clone::clone)?;
    let Some(store) = &pods.store else {
        return Ok(None);
    };
    if !spec.runtime_components {
        return Ok(None);
    }
    let identity = &spec.identity;
    let mut metadata = meta::of_etcd(
        identity,
        identity.compaction_job(),
        "etcd-snapshot-compaction-job",
    );
    let labels = metadata.labels.get_or_insert_default();
    for network in ["dns", "private-networks", "public-networks"] {
        let label = format!("networking.gardener.cloud/to-{network}");
        labels.insert(label, "allowed".to_owned());
    }
    let mut annotations = pods.annotations.clone();
    annotations.remove(names::SAFE_TO_EVICT);
    let seconds = facts.settings.compaction_deadline.0.as_secs();
    let deadline = i64::try_from(seconds).unwrap_or(i64::MAX);
    Ok(Some(Job {
        spec: Some(JobSpec {
            active_deadline_seconds: Some(deadline),
            backoff_limit: Some(0),
            completions: Some(1),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: metadata.labels.clone(),
                    annotations: Some(annotations).filter(|it| !it.is_empty()),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    active_deadline_seconds: Some(deadline),
                    containers: vec![container(spec, pods, store, facts)],
                    restart_policy: Some("Never".to_owned()),
                    service_account_name: Some(identity.name.clone()),
                    termination_grace_period_seconds: Some(60),
                    volumes: Some(volumes(store, facts)?),
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        metadata,
        ..Job::default()
    }))
}

fn container(spec: &Spec, pods: &Pods, store: &Store, facts: &Facts<'_>) -> Container {
    let compaction = &pods.compaction;
    let requests = [("cpu", compaction.cpu), ("memory", compaction.memory)];
    let requests = requests.map(|(name, it)| (name.to_owned(), Written(it.to_string())));
    let mut mounts = vec![mount(WORKSPACE, "/var/etcd/data")];
    mounts.extend(store_mount(store, pods));
    Container {
        args: Some(arguments(spec, pods, store, facts)),
        env: Some(sidecar::environment(Some(store))),
        image: Some(sidecar::image(pods, facts.live_images)),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        name: "compact-backup".to_owned(),
        resources: Some(ResourceRequirements {
            requests: Some(requests.into()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(unprivileged()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn arguments(spec: &Spec, pods: &Pods, store: &Store, facts: &Facts<'_>) -> Vec<String> {
    let identity = &spec.identity;
    let mut all = Arguments::new("compact");
    all.flag("data-dir", "/var/etcd/data/compaction.etcd");
    all.flag(
        "restoration-temp-snapshots-dir",
        "/var/etcd/data/compaction.restoration.temp",
    );
    all.flag("snapstore-temp-directory", "/var/etcd/data/tmp");
    all.flag(
        "metrics-scrape-wait-duration",
        facts.settings.metrics_scrape_wait,
    );
    all.flag("enable-snapshot-lease-renewal", true);
    all.flag("full-snapshot-lease-name", identity.full_snapshot_lease());
    all.flag("delta-snapshot-lease-name", identity.delta_snapshot_lease());
    all.flag("embedded-etcd-quota-bytes", spec.config.quota);
    all.flag_if("etcd-defrag-timeout", pods.sidecar.defragmentation_timeout);
    all.flag_if("etcd-snapshot-timeout", pods.sidecar.snapshot_timeout);
    all.flag("storage-provider", store.provider.name());
    all.flag("store-prefix", &store.prefix);
    all.flag_if("store-container", store.container.as_ref());
    all.flag_if("store-endpoint-override", store.endpoint.as_ref());
    all.0
}

/// A Local store is mounted here whether it has a bucket or not.
fn store_mount(store: &Store, pods: &Pods) -> Option<VolumeMount> {
    match &store.provider {
        Provider::Unset | Provider::Ecs { .. } => None,
        Provider::Local { .. } => {
            let buckets = buckets_at(pods.user);
            let bucket = store.container.as_ref();
            let path = bucket.map_or_else(|| buckets.to_owned(), |it| format!("{buckets}/{it}"));
            Some(mount(BUCKETS, path))
        }
        Provider::Cloud { cloud, .. } => Some(mount(CREDENTIALS, cloud.mounted_at(Role::Target))),
    }
}

fn volumes(store: &Store, facts: &Facts<'_>) -> Result<Vec<Volume>, Problems> {
    let mut volumes = vec![Volume {
        name: WORKSPACE.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }];
    match &store.provider {
        Provider::Unset | Provider::Ecs { .. } => {}
        Provider::Local { secret } => {
            let buckets = facts
                .host_paths
                .buckets(secret.as_deref(), store::ETCD.secret)
                .map_err(Problems::one)?;
            let bucket = store.container.as_deref().unwrap_or_default();
            volumes.push(host_volume(BUCKETS, format!("{buckets}/{bucket}")));
        }
        // As it is made by default: everybody in the pod may read it.
        Provider::Cloud { secret, .. } => volumes.push(secret_volume(CREDENTIALS, secret, None)),
    }
    Ok(volumes)
}
