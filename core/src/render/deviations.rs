//! What is rendered otherwise than etcd-druid v0.37.1 renders it. There is nothing else.

use k8s_openapi::api::core::v1::Probe;

use super::spec::Spec;

/// How a StatefulSet brings a change of its template to the pods: it does not. The operator picks
/// the pod that may go. (etcd-druid: `RollingUpdate`, which knows nothing of quorum.)
pub(super) const UPDATE_STRATEGY: &str = "OnDelete";

/// When a member counts as ready. (etcd-druid: first asked after 15 s, then every 5 s; that is up to
/// 20 s of each restart, a minute of each roll.)
pub(super) fn readiness(probe: Probe) -> Probe {
    Probe {
        // Said, so that it takes the place of another delay.
        initial_delay_seconds: Some(0),
        period_seconds: Some(1),
        failure_threshold: Some(5),
        ..probe
    }
}

/// A field that is meant to differ in what the API server stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The kind of the object.
    pub kind: &'static str,
    /// Where in it, as a JSON pointer.
    pub path: &'static str,
    /// What etcd-druid has there, as JSON; nothing if it is not there.
    pub theirs: Option<&'static str>,
    /// What we have there, as JSON; nothing if it is not there.
    pub ours: Option<&'static str>,
}

/// All of them.
pub const FIELDS: [Deviation; 4] = [
    // (etcd-druid: the pod of a Job counts as a member, so that one member more may be evicted.)
    Deviation {
        kind: "PodDisruptionBudget",
        path: "/spec/selector/matchLabels/app.kubernetes.io~1component",
        theirs: None,
        ours: Some(r#""etcd-statefulset""#),
    },
    Deviation {
        kind: "StatefulSet",
        path: "/spec/updateStrategy/type",
        theirs: Some(r#""RollingUpdate""#),
        ours: Some(r#""OnDelete""#),
    },
    Deviation {
        kind: "StatefulSet",
        path: "/spec/template/spec/containers/0/readinessProbe/initialDelaySeconds",
        theirs: Some("15"),
        ours: None,
    },
    Deviation {
        kind: "StatefulSet",
        path: "/spec/template/spec/containers/0/readinessProbe/periodSeconds",
        theirs: Some("5"),
        ours: Some("1"),
    },
];

/// What etcd-druid makes of a spec: it looks for the additional addresses of a member under the name
/// of its pod, where the API server lets nobody put them if the members' names have a prefix.
#[must_use]
pub fn as_etcd_druid_reads(spec: &Spec) -> Spec {
    let mut read = spec.clone();
    if read.member_prefix.is_some() {
        read.config.additional_peer_urls.clear();
    }
    read
}
