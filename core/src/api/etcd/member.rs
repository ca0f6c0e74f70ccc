//! `spec.etcd`: the members' etcd.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::{PeerTls, Tls};
use crate::api::schema::{CRON, DURATION, MEMBER, rule};
use crate::api::{Int32, SecretReference};

/// The members' etcd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "when peerUrlTls is enabled, all additional advertise peer URLs must use https://",
        "!has(self.peerUrlTls) || !has(self.additionalAdvertisePeerURLs) || \
         self.additionalAdvertisePeerURLs.all(m, m.urls.all(u, u.startsWith('https://')))",
    ),
    rule(
        "when peerUrlTls is not enabled, all additional advertise peer URLs must use http://",
        "has(self.peerUrlTls) || !has(self.additionalAdvertisePeerURLs) || \
         self.additionalAdvertisePeerURLs.all(m, m.urls.all(u, u.startsWith('http://')))",
    ),
]))]
pub struct EtcdConfig {
    /// The largest size of the database; without it, 8Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quantity>,
    /// After how many entries raft takes a snapshot; without it, 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<i64>,
    /// Whether etcd answers JSON too.
    #[serde(rename = "enableGRPCGateway", skip_serializing_if = "Option::is_none")]
    pub enable_grpc_gateway: Option<bool>,
    /// When members are defragmented; without it, never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = CRON))]
    pub defragmentation_schedule: Option<String>,
    /// The port for peers; without it, 2380.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_port: Option<Int32>,
    /// The port for clients; without it, 2379.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_port: Option<Int32>,
    /// The port of the container's own interface; without it, 9095.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrapper_port: Option<Int32>,
    /// The image; without it, that of the image vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_ref: Option<SecretReference>,
    /// How much etcd measures; without it, basic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["basic", "extensive"]))]
    pub metrics: Option<String>,
    /// What the container needs and may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Certificates between clients and members; without it, no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_url_tls: Option<Tls>,
    /// Certificates between members; without it, no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_url_tls: Option<PeerTls>,
    /// How long a defragmentation may take; without it, 15m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub etcd_defrag_timeout: Option<String>,
    /// How often each member renews its lease; without it, 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub heartbeat_duration: Option<String>,
    /// The Service for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_service: Option<ClientService>,
    /// More addresses of members, for peers elsewhere.
    #[serde(
        rename = "additionalAdvertisePeerURLs",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 10))]
    pub additional_advertise_peer_urls: Option<Vec<AdditionalPeerUrls>>,
    /// How the database keeps its list of free pages; without it, as an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["array", "map"]))]
    pub backend_bbolt_freelist_type: Option<String>,
}

/// More addresses of one member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalPeerUrls {
    /// Its name.
    #[schemars(length(max = 253), extend("pattern" = MEMBER))]
    pub member_name: String,
    /// The addresses.
    #[schemars(length(min = 1, max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub urls: Vec<String>,
}

/// The Service for clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientService {
    /// Its annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// More labels of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Which members clients are led to first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PreferSameZone", "PreferSameNode", "PreferClose"]))]
    pub traffic_distribution: Option<String>,
}
