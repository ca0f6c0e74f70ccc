//! The container that runs etcd.

use k8s_openapi::api::core::v1::{Container, ContainerPort, HTTPGetAction, Probe, VolumeMount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::deviations;
use super::facts::Images;
use super::spec::{Pods, Spec};
use super::stateful_set::unprivileged;
use super::store::mount;

/// Renders it.
pub(super) fn container(spec: &Spec, pods: &Pods, images: &Images) -> Container {
    let image = pods.etcd_image.as_ref().unwrap_or(&images.etcd);
    Container {
        args: Some(arguments(spec, pods)),
        image: Some(image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        name: "etcd".to_owned(),
        ports: Some(vec![
            port("server", spec.ports.peer),
            port("client", spec.ports.client),
        ]),
        readiness_probe: Some(deviations::readiness(probe(spec, pods))),
        resources: Some(pods.etcd_resources.clone()),
        security_context: Some(unprivileged()),
        volume_mounts: Some(mounts(pods)),
        ..Container::default()
    }
}

/// A port of a container.
pub(super) fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        container_port: port.into(),
        name: Some(name.to_owned()),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(spec: &Spec, pods: &Pods) -> Probe {
    // The container speaks TLS there with the sidecar's certificate.
    let scheme = if pods.backup_tls.is_some() {
        "HTTPS"
    } else {
        "HTTP"
    };
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/readyz".to_owned()),
            port: IntOrString::Int(spec.ports.wrapper.into()),
            scheme: Some(scheme.to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn arguments(spec: &Spec, pods: &Pods) -> Vec<String> {
    let host = spec.identity.local_host();
    let mut arguments = vec![
        "start-etcd".to_owned(),
        format!("--backup-restore-host-port={host}:{}", spec.ports.backup),
        format!("--etcd-server-name={host}"),
    ];
    match &pods.backup_tls {
        None => arguments.push("--backup-restore-tls-enabled=false".to_owned()),
        Some(tls) => arguments.extend([
            "--backup-restore-tls-enabled=true".to_owned(),
            format!(
                "--backup-restore-ca-cert-bundle-path=/var/etcdbr/ssl/ca/{}",
                tls.ca.key
            ),
        ]),
    }
    if pods.client_tls.is_some() {
        arguments.extend([
            "--etcd-client-cert-path=/var/etcd/ssl/client/tls.crt".to_owned(),
            "--etcd-client-key-path=/var/etcd/ssl/client/tls.key".to_owned(),
        ]);
    }
    arguments.extend([
        format!("--etcd-client-port={}", spec.ports.client),
        format!("--etcd-wrapper-port={}", spec.ports.wrapper),
    ]);
    arguments
}

fn mounts(pods: &Pods) -> Vec<VolumeMount> {
    let mut mounts = vec![mount(&pods.volume.template, "/var/etcd/data")];
    if pods.client_tls.is_some() {
        mounts.extend([
            mount("etcd-ca", "/var/etcd/ssl/ca"),
            mount("etcd-server-tls", "/var/etcd/ssl/server"),
            mount("etcd-client-tls", "/var/etcd/ssl/client"),
        ]);
    }
    if pods.peer_tls.is_some() {
        mounts.extend([
            mount("etcd-peer-ca", "/var/etcd/ssl/peer/ca"),
            mount("etcd-peer-server-tls", "/var/etcd/ssl/peer/server"),
        ]);
    }
    if pods.backup_tls.is_some() {
        mounts.push(mount("backup-restore-ca", "/var/etcdbr/ssl/ca"));
    }
    mounts
}
