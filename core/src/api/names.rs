//! The names by which objects, and the people who own them, speak to the operator.

/// The API group.
pub const GROUP: &str = "druid.gardener.cloud";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as objects have them.
pub const API_VERSION: &str = "druid.gardener.cloud/v1alpha1";

/// On an Etcd, an `EtcdCopyBackupsTask` or a Secret that an Etcd refers to.
pub const FINALIZER: &str = "druid.gardener.cloud/etcd-druid";
/// On an `EtcdOpsTask`.
pub const OPS_TASK_FINALIZER: &str = "druid.gardener.cloud/etcd-ops-task";

/// Annotation: with the value [`OPERATION_RECONCILE`], asks for one reconciliation of the spec.
pub const OPERATION: &str = "druid.gardener.cloud/operation";
/// The name that [`OPERATION`] had before; still honoured.
pub const LEGACY_OPERATION: &str = "gardener.cloud/operation";
/// The one value of [`OPERATION`].
pub const OPERATION_RECONCILE: &str = "reconcile";
/// Annotation with any value: the spec is not reconciled; the status is.
pub const SUSPEND_RECONCILE: &str = "druid.gardener.cloud/suspend-etcd-spec-reconcile";
/// Annotation with any value: the webhook lets everybody change the objects of this Etcd.
pub const DISABLE_PROTECTION: &str = "druid.gardener.cloud/disable-etcd-component-protection";
/// Annotation with any value: only the `ConfigMap` and a StatefulSet without replicas are made.
pub const DISABLE_RUNTIME_COMPONENTS: &str =
    "druid.gardener.cloud/disable-etcd-runtime-component-creation";
/// Annotation with any value: pods that are not ready may be evicted whatever the budget says.
pub const ALLOW_UNHEALTHY_EVICTION: &str =
    "resources.druid.gardener.cloud/allow-unhealthy-pod-eviction";
/// Annotation: clears the halt of the upgrade attempt whose number is its value.
pub const ACKNOWLEDGE_HALT: &str = "druid.gardener.cloud/acknowledge-upgrade-halt";

/// Annotation of an `EtcdOpsTask`: with the value `true`, confirms that a cluster may be recovered from
/// the loss of its quorum.
pub const CONFIRM_RECOVERY: &str = "druid.gardener.cloud/confirm-recovery";

/// Annotation of the Secret with the certificate of the webhook: the operator made it and renews it.
pub const WEBHOOK_CERTIFICATE: &str = "druid.gardener.cloud/webhook-certificate";

/// Annotation of the pod template: the digest of the `ConfigMap`, so that pods follow it.
pub const CONFIG_CHECKSUM: &str = "checksum/etcd-configmap";
/// Annotation of a member lease, by the sidecar: whether its peers speak TLS to it.
pub const PEER_TLS_ENABLED: &str = "member.etcd.gardener.cloud/tls-enabled";
/// Annotation that users put on pods; a compaction pod does not get it.
pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Label: who made the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const MANAGER: &str = "etcd-druid";
/// Label: the Etcd, or the task, that the object belongs to.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// Label: the object's name.
pub const NAME: &str = "app.kubernetes.io/name";
/// Label: what the object is for.
pub const COMPONENT: &str = "app.kubernetes.io/component";
