//! The StatefulSet: a pod for each member, with etcd, its sidecar and its data.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, HostAlias, KeyToPath, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, SecurityContext,
    Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::config_map::{self, FILE};
use super::deviations;
use super::facts::{Facts, Images};
use super::meta;
use super::problem::Problems;
use super::spec::{Pods, Spec, User};
use super::store::{self, Provider, Role, Store, host_volume, mount, secret_volume};
use super::{etcd_container, sidecar};
use crate::api::names;

/// The value of the component label of pods.
pub(super) const COMPONENT: &str = "etcd-statefulset";
/// The volume of a Local store.
const LOCAL: &str = "local-backup";
/// The volume of a store's credentials.
pub(super) const CREDENTIALS: &str = "etcd-backup-secret";
/// Who may read what is mounted: the user and the group.
pub(super) const PRIVATE: i32 = 0o640;
/// The user and the group of containers that do not run as root.
pub(super) const NONROOT: i64 = 65532;

/// Renders it.
///
/// # Errors
/// If the pods cannot be, or the Secret of a Local store is missing.
pub fn stateful_set(spec: &Spec, facts: &Facts<'_>) -> Result<StatefulSet, Problems> {
    let pods = spec.pods.as_ref().map_err(Clone::clone)?;
    let identity = &spec.identity;
    let service = spec.runtime_components.then(|| identity.peer_service());
    Ok(StatefulSet {
        metadata: meta::of_etcd(identity, identity.name.clone(), COMPONENT),
        spec: Some(StatefulSetSpec {
            pod_management_policy: Some("Parallel".to_owned()),
            replicas: Some(spec.running().into()),
            selector: LabelSelector {
                match_labels: Some(meta::owner_labels(&identity.name)),
                ..LabelSelector::default()
            },
            service_name: service,
            template: template(spec, pods, facts)?,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some(deviations::UPDATE_STRATEGY.to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            volume_claim_templates: Some(vec![claim(pods)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    })
}

fn template(spec: &Spec, pods: &Pods, facts: &Facts<'_>) -> Result<PodTemplateSpec, Problems> {
    let identity = &spec.identity;
    let mut labels = pods.labels.clone();
    labels.extend(meta::labels(&identity.name, &identity.name, COMPONENT));
    let mut annotations = pods.annotations.clone();
    let checksum = config_map::checksum(&config_map::config_map(spec, facts.release));
    annotations.insert(names::CONFIG_CHECKSUM.to_owned(), checksum);
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: pods.affinity.clone(),
            containers: vec![
                etcd_container::container(spec, pods, facts.images),
                sidecar::container(spec, pods, facts.images),
            ],
            host_aliases: Some(vec![HostAlias {
                hostnames: Some(vec![identity.local_host()]),
                ip: "127.0.0.1".to_owned(),
            }]),
            init_containers: init_container(pods, facts.images).map(|it| vec![it]),
            priority_class_name: pods.priority_class.clone(),
            security_context: Some(security_context(pods.user)),
            service_account_name: spec.runtime_components.then(|| identity.name.clone()),
            share_process_namespace: Some(true),
            topology_spread_constraints: pods.topology_spread_constraints.clone(),
            volumes: Some(volumes(spec, pods, facts)?),
            ..PodSpec::default()
        }),
    })
}

fn security_context(user: User) -> PodSecurityContext {
    match user {
        User::Nonroot => PodSecurityContext {
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..nonroot()
        },
        User::Root => PodSecurityContext {
            fs_group: Some(0),
            run_as_group: Some(0),
            run_as_non_root: Some(false),
            run_as_user: Some(0),
            ..PodSecurityContext::default()
        },
    }
}

/// Of pods that do not run as root.
pub(super) fn nonroot() -> PodSecurityContext {
    PodSecurityContext {
        fs_group: Some(NONROOT),
        run_as_group: Some(NONROOT),
        run_as_non_root: Some(true),
        run_as_user: Some(NONROOT),
        ..PodSecurityContext::default()
    }
}

/// Of every container.
pub(super) fn unprivileged() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        ..SecurityContext::default()
    }
}

/// Where a container sees the buckets of a Local store.
pub(super) fn buckets_at(user: User) -> &'static str {
    match user {
        User::Nonroot => "/home/nonroot",
        User::Root => "/root",
    }
}

/// How a container that goes to the store sees it.
pub(super) fn store_mount(store: &Store, user: User) -> Option<VolumeMount> {
    match &store.provider {
        Provider::Unset | Provider::Ecs { .. } => None,
        Provider::Local { .. } => {
            let bucket = store.container.as_ref()?;
            Some(mount(LOCAL, format!("{}/{bucket}", buckets_at(user))))
        }
        Provider::Cloud { cloud, .. } => Some(mount(CREDENTIALS, cloud.mounted_at(Role::Target))),
    }
}

/// Gives the bucket of a Local store to the user that the sidecar runs as.
fn init_container(pods: &Pods, images: &Images) -> Option<Container> {
    let store = pods.store.as_ref()?;
    match (&store.provider, pods.user) {
        (Provider::Local { .. }, User::Nonroot) => {
            let mounted = store_mount(store, pods.user)?;
            let path = mounted.mount_path.clone();
            Some(give_away(&[path], vec![mounted], images))
        }
        (Provider::Local { .. }, User::Root)
        | (Provider::Unset | Provider::Ecs { .. } | Provider::Cloud { .. }, _) => None,
    }
}

/// A container that gives directories to the user that the others run as.
pub(super) fn give_away(paths: &[String], mounts: Vec<VolumeMount>, images: &Images) -> Container {
    let owner = format!("{NONROOT}:{NONROOT}");
    let mut command = vec!["chown".to_owned(), "-R".to_owned(), owner];
    command.extend_from_slice(paths);
    Container {
        command: Some(command),
        image: Some(images.init.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        name: "change-backup-bucket-permissions".to_owned(),
        security_context: Some(SecurityContext {
            run_as_group: Some(0),
            run_as_non_root: Some(false),
            run_as_user: Some(0),
            ..unprivileged()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn volumes(spec: &Spec, pods: &Pods, facts: &Facts<'_>) -> Result<Vec<Volume>, Problems> {
    let mut volumes = vec![Volume {
        name: "etcd-config-file".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            default_mode: Some(PRIVATE),
            items: Some(vec![KeyToPath {
                key: FILE.to_owned(),
                path: FILE.to_owned(),
                ..KeyToPath::default()
            }]),
            name: spec.identity.config_map(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    let mut secret = |name: &str, of: &str| volumes.push(secret_volume(name, of, Some(PRIVATE)));
    if let Some(tls) = &pods.client_tls {
        secret("etcd-ca", &tls.ca.secret);
        secret("etcd-server-tls", &tls.server);
        secret("etcd-client-tls", &tls.client);
    }
    if let Some(tls) = &pods.peer_tls {
        secret("etcd-peer-ca", &tls.ca.secret);
        secret("etcd-peer-server-tls", &tls.server);
    }
    if let Some(tls) = &pods.backup_tls {
        secret("backup-restore-ca", &tls.ca.secret);
        secret("backup-restore-server-tls", &tls.server);
        secret("backup-restore-client-tls", &tls.client);
    }
    if let Some(store) = &pods.store {
        match &store.provider {
            Provider::Unset | Provider::Ecs { .. } => {}
            Provider::Local { secret } => {
                let buckets = facts
                    .host_paths
                    .buckets(secret.as_deref(), store::ETCD.secret)
                    .map_err(Problems::one)?;
                let bucket = store.container.as_deref().unwrap_or_default();
                volumes.push(host_volume(LOCAL, format!("{buckets}/{bucket}")));
            }
            Provider::Cloud { secret: name, .. } => secret(CREDENTIALS, name),
        }
    }
    Ok(volumes)
}

fn claim(pods: &Pods) -> PersistentVolumeClaim {
    let volume = &pods.volume;
    let storage = ("storage".to_owned(), Written(volume.capacity.to_string()));
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(volume.template.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([storage].into()),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: volume.class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
