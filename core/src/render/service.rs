//! The two Services.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta::{self, Labels};
use super::spec::Spec;
use crate::api::names;

/// The one for clients.
pub fn client_service(spec: &Spec) -> Service {
    let (identity, wanted, ports) = (&spec.identity, &spec.client_service, spec.ports);
    let mut metadata = meta::of_etcd(identity, identity.client_service(), "etcd-client-service");
    metadata.annotations.clone_from(&wanted.annotations);
    if let Some(labels) = &mut metadata.labels {
        labels.extend(wanted.labels.clone());
    }
    Service {
        metadata,
        spec: Some(ServiceSpec {
            ports: Some(vec![
                port("client", ports.client),
                port("server", ports.peer),
                port("backuprestore", ports.backup),
            ]),
            selector: Some(selector(spec)),
            session_affinity: Some("None".to_owned()),
            traffic_distribution: wanted.traffic_distribution.clone(),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The one by which members find each other, ready or not.
pub fn peer_service(spec: &Spec) -> Service {
    let identity = &spec.identity;
    Service {
        metadata: meta::of_etcd(identity, identity.peer_service(), "etcd-peer-service"),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            ports: Some(vec![port("peer", spec.ports.peer)]),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector(spec)),
            session_affinity: Some("None".to_owned()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn selector(spec: &Spec) -> Labels {
    let mut labels = meta::owner_labels(&spec.identity.name);
    let component = super::stateful_set::COMPONENT.to_owned();
    labels.insert(names::COMPONENT.to_owned(), component);
    labels
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(port.into())),
        ..ServicePort::default()
    }
}
