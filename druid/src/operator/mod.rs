//! `druid operator`: brings every Etcd of a Kubernetes cluster to what its spec asks for.

pub(crate) mod election;
pub(crate) mod known;

#[cfg(test)]
#[path = "../../tests/common_cluster/mod.rs"]
mod common_cluster;
#[cfg(test)]
#[path = "../../tests/common_kube/mod.rs"]
mod common_kube;
