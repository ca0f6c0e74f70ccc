//! All objects of an Etcd, in the order in which they are made.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

use super::access::{role, role_binding, service_account};
use super::config_map::config_map;
use super::disruption_budget::disruption_budget;
use super::facts::Facts;
use super::lease::{member_leases, snapshot_leases};
use super::problem::Problems;
use super::service::{client_service, peer_service};
use super::spec::Spec;
use super::stateful_set::stateful_set;

/// All objects of an Etcd, in the order in which they are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// What pods need to run; `None` if the Etcd is not to have it.
    pub runtime: Option<Runtime>,
    /// The configuration.
    pub config_map: ConfigMap,
    /// The pods, or why there can be none as they are asked for.
    pub stateful_set: Result<StatefulSet, Problems>,
}

/// What pods need to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Who they are.
    pub service_account: ServiceAccount,
    /// What they may do.
    pub role: Role,
    /// That they may.
    pub role_binding: RoleBinding,
    /// One for each member.
    pub member_leases: Vec<Lease>,
    /// Two if there are backups.
    pub snapshot_leases: Vec<Lease>,
    /// What evictions leave.
    pub disruption_budget: PodDisruptionBudget,
    /// For clients.
    pub client_service: Service,
    /// For peers.
    pub peer_service: Service,
}

/// Renders all of them.
pub fn objects(spec: &Spec, facts: &Facts<'_>) -> Objects {
    let runtime = || Runtime {
        service_account: service_account(spec, facts.settings),
        role: role(spec),
        role_binding: role_binding(spec),
        member_leases: member_leases(spec),
        snapshot_leases: snapshot_leases(spec),
        disruption_budget: disruption_budget(spec),
        client_service: client_service(spec),
        peer_service: peer_service(spec),
    };
    Objects {
        runtime: spec.runtime_components.then(runtime),
        config_map: config_map(spec, facts.release),
        stateful_set: stateful_set(spec, facts),
    }
}
