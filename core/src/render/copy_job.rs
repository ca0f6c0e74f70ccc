//! The Job that copies backups from one store to another.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, PodSpec, PodTemplateSpec, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::facts::{HostPaths, Images};
use super::meta::{self, Owner};
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::secrets::SecretReference;
use super::sidecar::Arguments;
use super::spec::{Identity, User};
use super::stateful_set::{CREDENTIALS, PRIVATE, buckets_at, give_away, nonroot, unprivileged};
use super::store::{
    self, Fields, Provider, Role, Store, host_volume, mount, secret_volume, variables,
};
use crate::api;
use crate::duration::GoDuration;

/// What an `EtcdCopyBackupsTask` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySpec {
    /// Who it is.
    pub identity: Identity,
    /// More labels of the pod.
    pub pod_labels: BTreeMap<String, String>,
    /// From where.
    pub source: Bucket,
    /// To where.
    pub target: Bucket,
    /// Copy only backups that are at most so many days old.
    pub max_backup_age: Option<u32>,
    /// Copy only so many full snapshots.
    pub max_backups: Option<u32>,
    /// Whether to wait for the final snapshot of the source.
    pub wait: Option<Wait>,
}

/// A store with a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The bucket.
    pub name: String,
    /// The store that it is in.
    pub store: Store,
}

/// Waiting for the final snapshot of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Whether to.
    pub enabled: bool,
    /// How long at most.
    pub timeout: Option<GoDuration>,
}

impl CopySpec {
    /// Reads a task.
    ///
    /// # Errors
    /// Everything that makes it impossible.
    pub fn parse(task: &api::EtcdCopyBackupsTask) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let (metadata, wanted) = (&task.metadata, &task.spec);
        let source = reader.or_none(bucket(&wanted.source_store, store::SOURCE));
        let target = reader.or_none(bucket(&wanted.target_store, store::TARGET));
        let most = i64::from(u32::MAX);
        let mut count = |field, value: Option<api::Int32>| {
            value.map(|it| reader.number(field, Some(it), 0, most, 0))
        };
        let max_backup_age = count("spec.maxBackupAge", wanted.max_backup_age);
        let max_backups = count("spec.maxBackups", wanted.max_backups);
        let wait = wanted.wait_for_final_snapshot.as_ref().map(|it| Wait {
            enabled: it.enabled,
            timeout: reader.duration("spec.waitForFinalSnapshot.timeout", it.timeout.as_ref()),
        });
        let identity = Identity {
            name: metadata.name.clone().unwrap_or_default(),
            namespace: reader.stored("metadata.namespace", metadata.namespace.as_ref()),
            uid: reader.stored("metadata.uid", metadata.uid.as_ref()),
        };
        let problems = reader
            .done(())
            .err()
            .unwrap_or_else(|| Problems(Vec::new()));
        match (source, target) {
            (Some(source), Some(target)) if problems.0.is_empty() => Ok(Self {
                identity,
                pod_labels: wanted.pod_labels.clone().unwrap_or_default(),
                source,
                target,
                max_backup_age,
                max_backups,
                wait,
            }),
            (Some(_) | None, Some(_) | None) => Err(problems),
        }
    }

    /// The Secrets that the stores name, whether the Job needs them or not.
    pub fn secrets(&self) -> Vec<SecretReference> {
        let of = |(bucket, role): (&Bucket, Role)| {
            let name = match &bucket.store.provider {
                Provider::Unset => None,
                Provider::Local { secret } => secret.clone(),
                Provider::Ecs { secret } | Provider::Cloud { secret, .. } => Some(secret.clone()),
            };
            let field = secret_field(role);
            name.map(|name| SecretReference { field, name })
        };
        both(self).into_iter().filter_map(of).collect()
    }

    /// The Secret with the credentials of ECS, if one of the stores is there. They are in variables of which
    /// neither etcd-backup-restore nor druid knows any for the store that is copied from.
    ///
    /// # Errors
    /// If the two stores name different ones.
    pub fn ecs_secret(&self) -> Result<Option<&str>, Problem> {
        let mut named =
            both(self)
                .into_iter()
                .filter_map(|(bucket, _)| match &bucket.store.provider {
                    Provider::Ecs { secret } => Some(secret.as_str()),
                    Provider::Unset | Provider::Local { .. } | Provider::Cloud { .. } => None,
                });
        match (named.next(), named.next()) {
            (Some(one), Some(other)) if one != other => Err(Problem::TwoCredentials {
                one: store::SOURCE.secret,
                other: store::TARGET.secret,
                provider: "ECS",
            }),
            (one, _) => Ok(one),
        }
    }

    /// The name of the Job.
    pub fn job(&self) -> String {
        copy_job_name(&self.identity.name)
    }
}

/// The value of the component label of these Jobs.
pub const COPY_JOB: &str = "etcd-copy-backups-job";

/// The name of the Job of a task.
pub fn copy_job_name(task: &str) -> String {
    format!("{task}-worker")
}

fn bucket(store: &api::Store, fields: Fields) -> Result<Bucket, Problem> {
    let store = Store::parse(store, fields)?;
    let name = store.container.clone().ok_or(Problem::NoContainer {
        field: fields.container,
    })?;
    Ok(Bucket { name, store })
}

/// Renders it.
///
/// # Errors
/// If the Secret of a Local store is missing.
pub fn copy_job(spec: &CopySpec, images: &Images, host_paths: &HostPaths) -> Result<Job, Problems> {
    let metadata = meta::metadata(Owner::CopyTask, &spec.identity, spec.job(), COPY_JOB);
    let mut labels = metadata.labels.clone().unwrap_or_default();
    labels.extend(spec.pod_labels.clone());
    let volumes = volumes(spec, host_paths)?;
    Ok(Job {
        metadata,
        spec: Some(JobSpec {
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![container(spec, images)],
                    init_containers: init_container(spec, images).map(|it| vec![it]),
                    restart_policy: Some("OnFailure".to_owned()),
                    security_context: Some(nonroot()),
                    share_process_namespace: Some(true),
                    volumes: Some(volumes).filter(|it| !it.is_empty()),
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    })
}

fn container(spec: &CopySpec, images: &Images) -> Container {
    Container {
        args: Some(arguments(spec)),
        env: Some(environment(spec)),
        image: Some(images.backup_restore.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        name: "copy-backups".to_owned(),
        security_context: Some(unprivileged()),
        volume_mounts: Some(mounts(spec)).filter(|it| !it.is_empty()),
        ..Container::default()
    }
}

/// Each store and what it is for, the source first.
fn both(spec: &CopySpec) -> [(&Bucket, Role); 2] {
    [(&spec.source, Role::Source), (&spec.target, Role::Target)]
}

fn secret_field(role: Role) -> &'static str {
    match role {
        Role::Source => store::SOURCE.secret,
        Role::Target => store::TARGET.secret,
    }
}

fn arguments(spec: &CopySpec) -> Vec<String> {
    let mut all = Arguments::new("copy");
    all.flag("snapstore-temp-directory", "/home/nonroot/data/tmp");
    for (bucket, role) in both(spec).into_iter().rev() {
        let (names, store) = (role.names(), &bucket.store);
        all.flag(&format!("{names}storage-provider"), store.provider.name());
        all.flag(&format!("{names}store-prefix"), &store.prefix);
        all.flag(&format!("{names}store-container"), &bucket.name);
        let endpoint = format!("{names}store-endpoint-override");
        all.flag_if(&endpoint, store.endpoint.as_ref());
    }
    all.flag_if("max-backup-age", spec.max_backup_age);
    all.flag_if("max-backups-to-copy", spec.max_backups);
    if let Some(wait) = spec.wait {
        all.flag("wait-for-final-snapshot", wait.enabled);
        all.flag_if("wait-for-final-snapshot-timeout", wait.timeout);
    }
    all.0
}

/// Without credentials of ECS, if there would be two: [`CopySpec::ecs_secret`].
fn environment(spec: &CopySpec) -> Vec<EnvVar> {
    let mut all = Vec::new();
    for (bucket, role) in both(spec) {
        let mut variables = variables(&bucket.store, role);
        match &bucket.store.provider {
            Provider::Ecs { .. } => variables.truncate(1),
            Provider::Unset | Provider::Local { .. } | Provider::Cloud { .. } => {}
        }
        all.append(&mut variables);
    }
    if let Ok(Some(secret)) = spec.ecs_secret() {
        all.extend(store::ecs_credentials(secret));
    }
    all
}

fn buckets_volume(role: Role) -> String {
    format!("{}host-storage", role.names())
}

fn credentials_volume(role: Role) -> String {
    format!("{}{CREDENTIALS}", role.names())
}

/// Where a bucket of a Local store is.
fn directory(bucket: &Bucket) -> String {
    format!("{}/{}", buckets_at(User::Nonroot), bucket.name)
}

fn mounts(spec: &CopySpec) -> Vec<VolumeMount> {
    let all = both(spec)
        .into_iter()
        .filter_map(|(bucket, role)| match &bucket.store.provider {
            Provider::Unset | Provider::Ecs { .. } => None,
            Provider::Local { .. } => Some(mount(&buckets_volume(role), directory(bucket))),
            Provider::Cloud { cloud, .. } => {
                let path = format!("{}/", role.directory(*cloud));
                Some(mount(&credentials_volume(role), path))
            }
        });
    all.collect()
}

fn volumes(spec: &CopySpec, host_paths: &HostPaths) -> Result<Vec<Volume>, Problems> {
    let mut volumes = Vec::new();
    for (bucket, role) in both(spec) {
        match &bucket.store.provider {
            Provider::Unset | Provider::Ecs { .. } => {}
            Provider::Local { secret } => {
                let buckets = host_paths
                    .buckets(secret.as_deref(), secret_field(role))
                    .map_err(Problems::one)?;
                let path = format!("{buckets}/{}", bucket.name);
                volumes.push(host_volume(&buckets_volume(role), path));
            }
            Provider::Cloud { secret, .. } => {
                volumes.push(secret_volume(
                    &credentials_volume(role),
                    secret,
                    Some(PRIVATE),
                ));
            }
        }
    }
    Ok(volumes)
}

/// Gives the bucket that is written to, and the one beside it, to the user that copies.
fn init_container(spec: &CopySpec, images: &Images) -> Option<Container> {
    match &spec.target.store.provider {
        Provider::Local { .. } => {
            let paths = [directory(&spec.target), directory(&spec.source)];
            Some(give_away(&paths, mounts(spec), images))
        }
        Provider::Unset | Provider::Ecs { .. } | Provider::Cloud { .. } => None,
    }
}
