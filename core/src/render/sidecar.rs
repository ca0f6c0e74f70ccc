//! The container that looks after the data and the backups of a member.

use std::fmt::Display;

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, VolumeMount,
};

use super::config_map::DATA_DIR;
use super::etcd_container::port;
use super::facts::Images;
use super::spec::{GarbageCollection, Pods, Spec};
use super::stateful_set::{store_mount, unprivileged};
use super::store::{Role, Store, mount, variables};
use crate::duration::GoDuration;

/// Renders it.
pub(super) fn container(spec: &Spec, pods: &Pods, images: &Images) -> Container {
    Container {
        args: Some(arguments(spec, pods)),
        env: Some(environment(pods.store.as_ref())),
        image: Some(image(pods, images)),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        name: "backup-restore".to_owned(),
        ports: Some(vec![port("server", spec.ports.backup)]),
        resources: Some(pods.backup_resources.clone()),
        security_context: Some(unprivileged()),
        volume_mounts: Some(mounts(pods)),
        ..Container::default()
    }
}

/// The image of the sidecar and of the Job that compacts.
pub(super) fn image(pods: &Pods, images: &Images) -> String {
    let image = pods.backup_image.as_ref();
    image.unwrap_or(&images.backup_restore).clone()
}

/// Which pod it is, and how to get to the store.
pub(super) fn environment(store: Option<&Store>) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut environment = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
    ];
    environment.extend(store.into_iter().flat_map(|it| variables(it, Role::Target)));
    environment
}

/// A command line in the making.
pub(super) struct Arguments(pub(super) Vec<String>);

impl Arguments {
    pub(super) fn new(command: &str) -> Self {
        Self(vec![command.to_owned()])
    }

    pub(super) fn flag(&mut self, name: &str, value: impl Display) {
        self.0.push(format!("--{name}={value}"));
    }

    pub(super) fn flag_if(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.flag(name, value);
        }
    }

    /// A time as it was given, in Go's form, or a default as etcd-druid writes it.
    fn time(&mut self, name: &str, value: Option<GoDuration>, default: &str) {
        match value {
            Some(value) => self.flag(name, value),
            None => self.flag(name, default),
        }
    }
}

fn arguments(spec: &Spec, pods: &Pods) -> Vec<String> {
    let sidecar = &pods.sidecar;
    let mut all = Arguments::new("server");
    all.flag("server-port", spec.ports.backup);
    if let Some(store) = &pods.store {
        backups(spec, pods, store, &mut all);
    }
    all.flag_if(
        "defragmentation-schedule",
        sidecar.defragmentation_schedule.as_ref(),
    );
    all.time(
        "etcd-defrag-timeout",
        sidecar.defragmentation_timeout,
        "15m",
    );
    all.flag("auto-compaction-mode", &spec.config.auto_compaction_mode);
    all.flag(
        "auto-compaction-retention",
        &spec.config.auto_compaction_retention,
    );
    connections(spec, pods, &mut all);
    all.flag("data-dir", DATA_DIR);
    all.flag(
        "restoration-temp-snapshots-dir",
        "/var/etcd/data/restoration.temp",
    );
    all.flag("snapstore-temp-directory", "/var/etcd/data/temp");
    all.flag("etcd-connection-timeout", "5m");
    all.flag("use-etcd-wrapper", true);
    if spec.runtime_components {
        all.flag("enable-member-lease-renewal", true);
        all.time("k8s-heartbeat-duration", sidecar.heartbeat, "10s");
    }
    all.flag("embedded-etcd-quota-bytes", spec.config.quota);
    if sidecar.profiling {
        all.flag("enable-profiling", true);
    }
    all.flag_if(
        "etcd-connection-timeout-leader-election",
        sidecar.leader_election_timeout,
    );
    all.flag_if("reelection-period", sidecar.reelection_period);
    all.0
}

/// How backups are taken and kept.
fn backups(spec: &Spec, pods: &Pods, store: &Store, all: &mut Arguments) {
    let (identity, sidecar) = (&spec.identity, &pods.sidecar);
    if spec.runtime_components {
        all.flag("enable-snapshot-lease-renewal", true);
        all.flag("full-snapshot-lease-name", identity.full_snapshot_lease());
        all.flag("delta-snapshot-lease-name", identity.delta_snapshot_lease());
    }
    all.flag("storage-provider", store.provider.name());
    all.flag("store-prefix", &store.prefix);
    all.flag_if("store-endpoint-override", store.endpoint.as_ref());
    all.flag_if("schedule", sidecar.full_snapshot_schedule.as_ref());
    all.flag_if("delta-snapshot-period", sidecar.delta_snapshot_period);
    all.flag_if(
        "delta-snapshot-retention-period",
        sidecar.delta_snapshot_retention_period,
    );
    all.flag(
        "delta-snapshot-memory-limit",
        sidecar.delta_snapshot_memory_limit,
    );
    match sidecar.garbage_collection {
        GarbageCollection::Exponential => all.flag("garbage-collection-policy", "Exponential"),
        GarbageCollection::LimitBased { backups } => {
            all.flag("garbage-collection-policy", "LimitBased");
            all.flag("max-backups", backups);
        }
    }
    all.flag_if(
        "garbage-collection-period",
        sidecar.garbage_collection_period,
    );
    all.flag("compress-snapshots", sidecar.compress);
    all.flag("compression-policy", &sidecar.compression_policy);
    all.time("etcd-snapshot-timeout", sidecar.snapshot_timeout, "15m");
}

/// How it gets to etcd, and who may come to it.
fn connections(spec: &Spec, pods: &Pods, all: &mut Arguments) {
    let identity = &spec.identity;
    let scheme = match &pods.client_tls {
        Some(tls) => {
            all.flag("cacert", format!("/var/etcd/ssl/ca/{}", tls.ca.key));
            all.flag("cert", "/var/etcd/ssl/client/tls.crt");
            all.flag("key", "/var/etcd/ssl/client/tls.key");
            "https"
        }
        None => "http",
    };
    let insecure = pods.client_tls.is_none();
    all.flag("insecure-transport", insecure);
    all.flag("insecure-skip-tls-verify", insecure);
    let port = spec.ports.client;
    let url = |host: String| format!("{scheme}://{host}:{port}");
    all.flag("endpoints", url(identity.local_host()));
    if spec.runtime_components {
        all.flag("service-endpoints", url(identity.client_service()));
    }
    if pods.backup_tls.is_some() {
        all.flag("server-cert", "/var/etcdbr/ssl/server/tls.crt");
        all.flag("server-key", "/var/etcdbr/ssl/server/tls.key");
    }
}

fn mounts(pods: &Pods) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount(&pods.volume.template, "/var/etcd/data"),
        mount("etcd-config-file", "/var/etcd/config/"),
    ];
    if pods.backup_tls.is_some() {
        mounts.push(mount("backup-restore-server-tls", "/var/etcdbr/ssl/server"));
    }
    if pods.client_tls.is_some() {
        mounts.extend([
            mount("etcd-ca", "/var/etcd/ssl/ca"),
            mount("etcd-client-tls", "/var/etcd/ssl/client"),
        ]);
    }
    mounts.extend(
        pods.store
            .as_ref()
            .and_then(|it| store_mount(it, pods.user)),
    );
    mounts
}
