//! The `ConfigMap`: the configuration of etcd, one file for all members. Each member's sidecar makes
//! that member's own of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::facts::Release;
use super::go_yaml::{self, Yaml};
use super::meta;
use super::spec::Spec;
use crate::snapshot_file::hex;

/// The one key.
pub(super) const FILE: &str = "etcd.conf.yaml";
/// Where the data of a member is.
pub(super) const DATA_DIR: &str = "/var/etcd/data/new.etcd";

/// Renders it.
pub fn config_map(spec: &Spec, release: Release) -> ConfigMap {
    let name = spec.identity.config_map();
    ConfigMap {
        metadata: meta::of_etcd(&spec.identity, name, "etcd-configmap"),
        data: Some(BTreeMap::from([(FILE.to_owned(), file(spec, release))])),
        ..ConfigMap::default()
    }
}

/// The digest that the pod template carries, in hexadecimal: of the data as Go writes it in JSON,
/// with the marks of HTML escaped.
pub fn checksum(config_map: &ConfigMap) -> String {
    let data = config_map.data.clone().unwrap_or_default();
    let escaped = json!(data)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    hex(&Sha256::digest(escaped.as_bytes()))
}

/// The file.
fn file(spec: &Spec, release: Release) -> String {
    let config = &spec.config;
    let scheme = |tls: bool| if tls { "https" } else { "http" };
    let client = scheme(config.client_ca.is_some());
    let peer = scheme(config.peer_ca.is_some());
    let ports = spec.ports;
    let mut keys: BTreeMap<String, Yaml> = BTreeMap::new();
    let mut set = |key: &str, value: Yaml| keys.insert(key.to_owned(), value);
    set("advertise-client-urls", client_urls(spec, client));
    set(
        "auto-compaction-mode",
        config.auto_compaction_mode.clone().into(),
    );
    set(
        "auto-compaction-retention",
        config.auto_compaction_retention.clone().into(),
    );
    match release {
        // 3.4 does not know the key.
        Release::Base => {}
        Release::Next => {
            set(
                "backend-bbolt-freelist-type",
                config.freelist_type.clone().into(),
            );
        }
    }
    if let Some(key) = &config.client_ca {
        set(
            "client-transport-security",
            security("/var/etcd/ssl", key, false),
        );
    }
    set("data-dir", DATA_DIR.into());
    set("enable-grpc-gateway", Yaml::Bool(config.grpc_gateway));
    let urls = peer_urls(spec, peer);
    set("initial-cluster", initial_cluster(spec, &urls).into());
    set(
        "initial-advertise-peer-urls",
        Yaml::Mapping(by_member(urls)),
    );
    set("initial-cluster-state", "new".into());
    set("initial-cluster-token", "etcd-cluster".into());
    set(
        "listen-client-urls",
        format!("{client}://0.0.0.0:{}", ports.client).into(),
    );
    set(
        "listen-peer-urls",
        format!("{peer}://0.0.0.0:{}", ports.peer).into(),
    );
    if let Some(prefix) = &spec.member_prefix {
        set("member-name-prefix", prefix.clone().into());
    }
    set("metrics", config.metrics.clone().into());
    set("name", "etcd-config".into());
    // In advance, so that the way back from 3.5 needs no other configuration.
    set("next-cluster-version-compatible", Yaml::Bool(true));
    if let Some(ca) = &config.peer_ca {
        let skip = ca.skip_san_verification;
        set(
            "peer-transport-security",
            security("/var/etcd/ssl/peer", &ca.key, skip),
        );
    }
    set("quota-backend-bytes", Yaml::Number(config.quota));
    set("snapshot-count", Yaml::Number(config.snapshot_count));
    go_yaml::write(&keys)
}

/// The certificates of one kind of connection.
fn security(directory: &str, key: &str, skip_san_verification: bool) -> Yaml {
    let mut keys = vec![
        ("auto-tls", Yaml::Bool(false)),
        ("cert-file", format!("{directory}/server/tls.crt").into()),
        ("client-cert-auth", Yaml::Bool(true)),
        ("key-file", format!("{directory}/server/tls.key").into()),
        ("trusted-ca-file", format!("{directory}/ca/{key}").into()),
    ];
    if skip_san_verification {
        keys.push(("skip-client-san-verification", Yaml::Bool(true)));
    }
    let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value));
    Yaml::Mapping(keys.collect())
}

/// A pod's address within the cluster.
fn host(spec: &Spec, ordinal: u16) -> String {
    let identity = &spec.identity;
    let (pod, peers) = (spec.pod(ordinal), identity.peer_service());
    format!("{pod}.{peers}.{}.svc", identity.namespace)
}

fn client_urls(spec: &Spec, scheme: &str) -> Yaml {
    let url = |at| format!("{scheme}://{}:{}", host(spec, at), spec.ports.client);
    let all = (0..spec.replicas).map(|at| (spec.member(at), vec![url(at)]));
    Yaml::Mapping(by_member(all.collect()))
}

/// Each member's own address and the additional ones, in the order of the members.
fn peer_urls(spec: &Spec, scheme: &str) -> Vec<(String, Vec<String>)> {
    let additional = &spec.config.additional_peer_urls;
    (0..spec.replicas)
        .map(|at| {
            let member = spec.member(at);
            let mut urls = vec![format!("{scheme}://{}:{}", host(spec, at), spec.ports.peer)];
            urls.extend(additional.get(&member).cloned().unwrap_or_default());
            (member, urls)
        })
        .collect()
}

fn initial_cluster(spec: &Spec, urls: &[(String, Vec<String>)]) -> String {
    let entries = urls
        .iter()
        .flat_map(|(member, urls)| urls.iter().map(move |url| format!("{member}={url}")));
    let mut all: Vec<String> = Vec::with_capacity(spec.replicas.into());
    all.extend(entries);
    all.join(",")
}

fn by_member(urls: Vec<(String, Vec<String>)>) -> BTreeMap<String, Yaml> {
    urls.into_iter()
        .map(|(member, urls)| (member, Yaml::Texts(urls)))
        .collect()
}
