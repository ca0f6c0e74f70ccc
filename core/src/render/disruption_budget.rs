//! The `PodDisruptionBudget`: evictions leave a majority of the members. The pods of Jobs that compact or copy
//! backups have the labels of the Etcd, too, and are none.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::spec::Spec;
use super::{meta, stateful_set};
use crate::api::names;

/// Renders it. One member alone may be evicted: there is no majority to be kept.
pub fn disruption_budget(spec: &Spec) -> PodDisruptionBudget {
    let identity = &spec.identity;
    let available = if spec.replicas <= 1 { 0 } else { spec.quorum() };
    let mut members = meta::owner_labels(&identity.name);
    members.insert(
        names::COMPONENT.to_owned(),
        stateful_set::COMPONENT.to_owned(),
    );
    PodDisruptionBudget {
        metadata: meta::of_etcd(identity, identity.name.clone(), "etcd-pdb"),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(available.into())),
            selector: Some(LabelSelector {
                match_labels: Some(members),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: spec
                .unhealthy_eviction
                .then(|| "AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
