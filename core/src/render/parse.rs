//! From an Etcd as it is stored to what it asks for, or to every reason why that cannot be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

use super::problem::{Notice, Problem, Problems};
use super::reader::Reader;
use super::spec::{
    Ca, ClientService, Compaction, Config, GarbageCollection, Identity, PeerCa, PeerTls, Pods,
    Ports, Sidecar, Spec, Tls, UpgradeWish, User, Volume,
};
use super::store::{self, Store};
use crate::api::{self, names};
use crate::quantity::Quantity;

/// The key of an authority's certificate in its Secret, if none is given.
const CA_KEY: &str = "ca.crt";
/// The longest value of a label.
const LABEL: usize = 63;
/// What the longest label of an Etcd has beside its name: that of the Role.
const BESIDE_NAME: usize = "druid.gardener.cloud-etcd-".len();

impl Spec {
    /// Reads an Etcd.
    ///
    /// # Errors
    /// Every problem that leaves nothing to be rendered. Those of the pods alone are in
    /// [`Spec::pods`].
    pub fn parse(etcd: &api::Etcd) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let identity = identity(etcd, &mut reader);
        let wanted = &etcd.spec;
        let quota = reader.positive(
            "spec.etcd.quota",
            wanted.etcd.quota.as_ref(),
            Quantity::binary(8 << 30),
        );
        let most = i64::from(u16::MAX);
        let mut spec = Self {
            replicas: reader.number("spec.replicas", Some(wanted.replicas), 0, most, 0),
            runtime_components: !annotated(etcd, names::DISABLE_RUNTIME_COMPONENTS),
            suspended: annotated(etcd, names::SUSPEND_RECONCILE),
            unhealthy_eviction: annotated(etcd, names::ALLOW_UNHEALTHY_EVICTION),
            member_prefix: filled(wanted.member_name_prefix.as_ref()),
            ports: ports(wanted, &mut reader),
            config: config(wanted, quota, &mut reader),
            client_service: client_service(wanted, &mut reader),
            has_store: wanted.backup.store.is_some(),
            pods: pods(wanted, &identity.name),
            upgrade: wanted.upgrade.as_ref().map(upgrade).unwrap_or_default(),
            notices: Vec::new(),
            identity,
        };
        if let Some(member) = spec.members().find(|it| it.len() > LABEL) {
            reader.add(Problem::MemberNameTooLong {
                member,
                most: LABEL,
            });
        }
        spec.notices = notices(wanted, &spec, quota);
        reader.done(spec)
    }
}

fn annotated(etcd: &api::Etcd, name: &str) -> bool {
    let annotations = etcd.metadata.annotations.as_ref();
    annotations.is_some_and(|it| it.contains_key(name))
}

fn filled(text: Option<&String>) -> Option<String> {
    text.filter(|it| !it.is_empty()).cloned()
}

fn identity(etcd: &api::Etcd, reader: &mut Reader) -> Identity {
    let metadata = &etcd.metadata;
    let identity = Identity {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: reader.stored("metadata.namespace", metadata.namespace.as_ref()),
        uid: reader.stored("metadata.uid", metadata.uid.as_ref()),
    };
    let name = &identity.name;
    let inside = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    if !name.starts_with(|it: char| it.is_ascii_lowercase())
        || name.ends_with('-')
        || !name.bytes().all(inside)
    {
        reader.add(Problem::Name { name: name.clone() });
    }
    let most = LABEL - BESIDE_NAME;
    if name.len() > most {
        reader.add(Problem::NameTooLong {
            name: name.clone(),
            most,
        });
    }
    identity
}

fn ports(wanted: &api::EtcdSpec, reader: &mut Reader) -> Ports {
    let fields = [
        ("spec.etcd.clientPort", wanted.etcd.client_port, 2379),
        ("spec.etcd.serverPort", wanted.etcd.server_port, 2380),
        ("spec.etcd.wrapperPort", wanted.etcd.wrapper_port, 9095),
        ("spec.backup.port", wanted.backup.port, 8080),
    ];
    let ports = fields.map(|(field, value, default)| {
        let most = i64::from(u16::MAX);
        (field, reader.number(field, value, 1, most, default))
    });
    for (at, (one, port)) in ports.iter().enumerate() {
        for (other, _) in ports[at + 1..].iter().filter(|(_, it)| it == port) {
            reader.add(Problem::SamePort {
                one,
                other,
                port: *port,
            });
        }
    }
    let [client, peer, wrapper, backup] = ports.map(|(_, port)| port);
    Ports {
        client,
        peer,
        wrapper,
        backup,
    }
}

fn ca_key(reference: &api::CaReference) -> String {
    filled(reference.data_key.as_ref()).unwrap_or_else(|| CA_KEY.to_owned())
}

fn config(wanted: &api::EtcdSpec, quota: Quantity, reader: &mut Reader) -> Config {
    let etcd = &wanted.etcd;
    let shared = wanted.shared_config.clone().unwrap_or_default();
    let urls = etcd.additional_advertise_peer_urls.iter().flatten();
    Config {
        client_ca: etcd.client_url_tls.as_ref().map(|it| ca_key(&it.ca)),
        peer_ca: etcd.peer_url_tls.as_ref().map(|it| PeerCa {
            key: ca_key(&it.ca),
            skip_san_verification: it.skip_client_san_verification.unwrap_or(false),
        }),
        additional_peer_urls: urls
            .map(|it| (it.member_name.clone(), it.urls.clone()))
            .collect(),
        auto_compaction_mode: reader.word(
            "spec.sharedConfig.autoCompactionMode",
            shared.auto_compaction_mode.as_ref(),
            &["periodic", "revision"],
        ),
        auto_compaction_retention: shared
            .auto_compaction_retention
            .unwrap_or_else(|| "30m".to_owned()),
        freelist_type: reader.word(
            "spec.etcd.backendBboltFreelistType",
            etcd.backend_bbolt_freelist_type.as_ref(),
            &["array", "map"],
        ),
        grpc_gateway: etcd.enable_grpc_gateway.unwrap_or(false),
        metrics: reader.word(
            "spec.etcd.metrics",
            etcd.metrics.as_ref(),
            &["basic", "extensive"],
        ),
        quota: quota.value(),
        snapshot_count: reader.number(
            "spec.etcd.snapshotCount",
            etcd.snapshot_count.map(api::Int32),
            0,
            i64::MAX,
            10_000,
        ),
    }
}

fn client_service(wanted: &api::EtcdSpec, reader: &mut Reader) -> ClientService {
    let Some(service) = &wanted.etcd.client_service else {
        return ClientService::default();
    };
    let distribution = service.traffic_distribution.as_ref();
    ClientService {
        annotations: service.annotations.clone(),
        labels: service.labels.clone().unwrap_or_default(),
        traffic_distribution: distribution.map(|it| {
            reader.word(
                "spec.etcd.clientService.trafficDistribution",
                Some(it),
                &["PreferSameZone", "PreferSameNode", "PreferClose"],
            )
        }),
    }
}

fn upgrade(wanted: &api::Upgrade) -> UpgradeWish {
    UpgradeWish {
        enabled: wanted.enabled,
        paused: wanted.paused.unwrap_or(false),
        hold_last: wanted.hold_last.unwrap_or(false),
    }
}

fn pods(wanted: &api::EtcdSpec, name: &str) -> Result<Pods, Problems> {
    let mut reader = Reader::default();
    let (etcd, backup) = (&wanted.etcd, &wanted.backup);
    let store = backup.store.as_ref();
    let store = store.map(|it| Store::parse(it, store::ETCD)).transpose();
    let scheduling = wanted.scheduling_constraints.clone().unwrap_or_default();
    let pods = Pods {
        labels: wanted.labels.clone(),
        annotations: wanted.annotations.clone().unwrap_or_default(),
        etcd_image: filled(etcd.image.as_ref()),
        backup_image: filled(backup.image.as_ref()),
        etcd_resources: resources("spec.etcd.resources", etcd.resources.as_ref(), &mut reader),
        backup_resources: resources(
            "spec.backup.resources",
            backup.resources.as_ref(),
            &mut reader,
        ),
        client_tls: etcd
            .client_url_tls
            .as_ref()
            .map(|it| tls(it, &CLIENT_TLS, &mut reader)),
        peer_tls: etcd.peer_url_tls.as_ref().map(|it| PeerTls {
            ca: Ca {
                secret: reader.secret(PEER_TLS[0], it.ca.name.as_ref()),
                key: ca_key(&it.ca),
            },
            server: reader.secret(PEER_TLS[1], it.server.name.as_ref()),
        }),
        backup_tls: backup
            .tls
            .as_ref()
            .map(|it| tls(it, &BACKUP_TLS, &mut reader)),
        store: reader.or_default(store),
        sidecar: sidecar(wanted, &mut reader),
        volume: Volume {
            template: filled(wanted.volume_claim_template.as_ref())
                .unwrap_or_else(|| name.to_owned()),
            capacity: reader.positive(
                "spec.storageCapacity",
                wanted.storage_capacity.as_ref(),
                GIBI_16,
            ),
            class: filled(wanted.storage_class.as_ref()),
        },
        affinity: scheduling.affinity,
        topology_spread_constraints: scheduling.topology_spread_constraints,
        priority_class: filled(wanted.priority_class_name.as_ref()),
        user: if wanted.run_as_root.unwrap_or(false) {
            User::Root
        } else {
            User::Nonroot
        },
        compaction: compaction(backup, &mut reader),
    };
    reader.done(pods)
}

const GIBI_16: Quantity = Quantity::binary(16 << 30);

/// The authority's, the server's and the client's.
pub(super) const CLIENT_TLS: [&str; 3] = [
    "spec.etcd.clientUrlTls.tlsCASecretRef.name",
    "spec.etcd.clientUrlTls.serverTLSSecretRef.name",
    "spec.etcd.clientUrlTls.clientTLSSecretRef.name",
];
pub(super) const BACKUP_TLS: [&str; 3] = [
    "spec.backup.tls.tlsCASecretRef.name",
    "spec.backup.tls.serverTLSSecretRef.name",
    "spec.backup.tls.clientTLSSecretRef.name",
];
pub(super) const PEER_TLS: [&str; 2] = [
    "spec.etcd.peerUrlTls.tlsCASecretRef.name",
    "spec.etcd.peerUrlTls.serverTLSSecretRef.name",
];

fn tls(tls: &api::Tls, [ca, server, client]: &[&'static str; 3], reader: &mut Reader) -> Tls {
    let of_client = tls.client.as_ref().and_then(|it| it.name.as_ref());
    Tls {
        ca: Ca {
            secret: reader.secret(ca, tls.ca.name.as_ref()),
            key: ca_key(&tls.ca),
        },
        server: reader.secret(server, tls.server.name.as_ref()),
        client: reader.secret(client, of_client),
    }
}

/// What is given, in the form in which it is stored; or what etcd-druid asks for.
fn resources(
    field: &'static str,
    given: Option<&ResourceRequirements>,
    reader: &mut Reader,
) -> ResourceRequirements {
    let Some(given) = given else {
        let requests = [("cpu", "50m"), ("memory", "128Mi")];
        let requests = requests.map(|(name, it)| (name.to_owned(), Written(it.to_owned())));
        return ResourceRequirements {
            requests: Some(BTreeMap::from(requests)),
            ..ResourceRequirements::default()
        };
    };
    let mut stored = given.clone();
    for all in [&mut stored.limits, &mut stored.requests] {
        for quantity in all.iter_mut().flat_map(BTreeMap::values_mut) {
            *quantity = Written(reader.quantity(field, quantity).to_string());
        }
    }
    stored
}

fn sidecar(wanted: &api::EtcdSpec, reader: &mut Reader) -> Sidecar {
    let (etcd, backup) = (&wanted.etcd, &wanted.backup);
    let compression = backup.compression.clone().unwrap_or_default();
    let election = backup.leader_election.clone().unwrap_or_default();
    let mut time = |field, text: &Option<String>| reader.duration(field, text.as_ref());
    Sidecar {
        full_snapshot_schedule: filled(backup.full_snapshot_schedule.as_ref()),
        delta_snapshot_period: time(
            "spec.backup.deltaSnapshotPeriod",
            &backup.delta_snapshot_period,
        ),
        delta_snapshot_retention_period: time(
            "spec.backup.deltaSnapshotRetentionPeriod",
            &backup.delta_snapshot_retention_period,
        ),
        garbage_collection_period: time(
            "spec.backup.garbageCollectionPeriod",
            &backup.garbage_collection_period,
        ),
        snapshot_timeout: time(
            "spec.backup.etcdSnapshotTimeout",
            &backup.etcd_snapshot_timeout,
        ),
        defragmentation_timeout: time("spec.etcd.etcdDefragTimeout", &etcd.etcd_defrag_timeout),
        heartbeat: time("spec.etcd.heartbeatDuration", &etcd.heartbeat_duration),
        leader_election_timeout: time(
            "spec.backup.leaderElection.etcdConnectionTimeout",
            &election.etcd_connection_timeout,
        ),
        reelection_period: time(
            "spec.backup.leaderElection.reelectionPeriod",
            &election.reelection_period,
        ),
        delta_snapshot_memory_limit: reader
            .positive(
                "spec.backup.deltaSnapshotMemoryLimit",
                backup.delta_snapshot_memory_limit.as_ref(),
                Quantity::binary(100 << 20),
            )
            .value(),
        garbage_collection: garbage_collection(backup, reader),
        compress: compression.enabled.unwrap_or(true),
        compression_policy: reader.word(
            "spec.backup.compression.policy",
            compression.policy.as_ref(),
            &["gzip", "lzw", "zlib"],
        ),
        defragmentation_schedule: filled(etcd.defragmentation_schedule.as_ref()),
        profiling: backup.enable_profiling.unwrap_or(false),
    }
}

fn garbage_collection(backup: &api::Backup, reader: &mut Reader) -> GarbageCollection {
    let policy = reader.word(
        "spec.backup.garbageCollectionPolicy",
        backup.garbage_collection_policy.as_ref(),
        &["LimitBased", "Exponential"],
    );
    let backups = reader.number(
        "spec.backup.maxBackupsLimitBasedGC",
        backup.max_backups_limit_based_gc,
        1,
        i64::from(i32::MAX),
        7,
    );
    if policy == "Exponential" {
        GarbageCollection::Exponential
    } else {
        GarbageCollection::LimitBased { backups }
    }
}

fn compaction(backup: &api::Backup, reader: &mut Reader) -> Compaction {
    let given = backup.snapshot_compaction.clone().unwrap_or_default();
    let requests = given
        .resources
        .and_then(|it| it.requests)
        .unwrap_or_default();
    let mut request = |name: &str, default| match requests.get(name) {
        Some(given) => reader.quantity("spec.backup.snapshotCompaction.resources", given),
        None => default,
    };
    Compaction {
        cpu: request("cpu", Quantity::milli(600)),
        memory: request("memory", Quantity::binary(3 << 30)),
        events_threshold: given.events_threshold,
        full_snapshot_threshold: given.trigger_full_snapshot_threshold,
    }
}

fn notices(wanted: &api::EtcdSpec, spec: &Spec, quota: Quantity) -> Vec<Notice> {
    let mut notices = Vec::new();
    if spec.replicas > 0 && spec.replicas.is_multiple_of(2) {
        notices.push(Notice::EvenMembers {
            members: spec.replicas,
        });
    }
    if let Ok(pods) = &spec.pods
        && quota.value() >= pods.volume.capacity.value()
    {
        notices.push(Notice::QuotaAboveCapacity {
            quota: quota.to_string(),
            capacity: pods.volume.capacity.to_string(),
        });
    }
    for (field, schedule) in [
        (
            "spec.backup.fullSnapshotSchedule",
            &wanted.backup.full_snapshot_schedule,
        ),
        (
            "spec.etcd.defragmentationSchedule",
            &wanted.etcd.defragmentation_schedule,
        ),
    ] {
        let weekday = schedule
            .as_ref()
            .and_then(|it| it.split_whitespace().nth(4));
        if weekday.is_some_and(|it| !it.starts_with("*/") && it.contains('7')) {
            notices.push(Notice::Weekday7 { field });
        }
    }
    if wanted.backup.store.is_none() && wanted.backup.full_snapshot_schedule.is_some() {
        notices.push(Notice::NoStore {
            field: "spec.backup.fullSnapshotSchedule",
        });
    }
    let strangers = spec.config.additional_peer_urls.keys();
    for member in strangers.filter(|it| !spec.members().any(|member| member == **it)) {
        notices.push(Notice::NoSuchMember {
            member: member.clone(),
        });
    }
    notices
}
