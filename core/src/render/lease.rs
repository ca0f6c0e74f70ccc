//! Leases: by them the sidecars tell of members and of snapshots. They are made empty.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::meta;
use super::spec::Spec;

/// One for each member.
pub fn member_leases(spec: &Spec) -> Vec<Lease> {
    spec.members()
        .map(|member| lease(spec, member, "etcd-member-lease"))
        .collect()
}

/// One for delta snapshots and one for full ones, if there are backups.
pub fn snapshot_leases(spec: &Spec) -> Vec<Lease> {
    if !spec.has_store {
        return Vec::new();
    }
    let identity = &spec.identity;
    [
        identity.delta_snapshot_lease(),
        identity.full_snapshot_lease(),
    ]
    .map(|name| lease(spec, name, "etcd-snapshot-lease"))
    .into()
}

fn lease(spec: &Spec, name: String, component: &str) -> Lease {
    Lease {
        metadata: meta::of_etcd(&spec.identity, name, component),
        spec: Some(LeaseSpec::default()),
    }
}
