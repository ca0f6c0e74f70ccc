//! Certificates, by the Secrets that they are in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::SecretReference;

/// The certificates of one connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Who signed them.
    #[serde(rename = "tlsCASecretRef")]
    pub ca: CaReference,
    /// The server's own.
    #[serde(rename = "serverTLSSecretRef")]
    pub server: SecretReference,
    /// The client's own.
    #[serde(rename = "clientTLSSecretRef", skip_serializing_if = "Option::is_none")]
    pub client: Option<SecretReference>,
}

/// The certificates between members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerTls {
    /// Who signed them.
    #[serde(rename = "tlsCASecretRef")]
    pub ca: CaReference,
    /// Each member's own.
    #[serde(rename = "serverTLSSecretRef")]
    pub server: SecretReference,
    /// Not used: members show each other the server's.
    #[serde(rename = "clientTLSSecretRef", skip_serializing_if = "Option::is_none")]
    pub client: Option<SecretReference>,
    /// Whether a member takes another's certificate whatever address it is for.
    #[serde(
        rename = "skipClientSANVerification",
        skip_serializing_if = "Option::is_none"
    )]
    pub skip_client_san_verification: Option<bool>,
}

/// The certificate of an authority, by the Secret that it is in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct CaReference {
    /// The Secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The key in the Secret; without it, ca.crt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_key: Option<String>,
}
