//! How members are reached: at the addresses of their pods, as whom their Secrets say.

use std::collections::BTreeMap;

use druid_core::member::MemberName;
use druid_core::reconcile::endpoint;
use druid_core::render::{Ca, Spec, TLS_CERTIFICATE};
use k8s_openapi::api::core::v1::{Pod, Secret};
use thiserror::Error;

use super::apis::Apis;
use crate::etcd::{Client, Pem, TlsConfig, TlsError};
use crate::operator::request::ApiError;

const KEY: &str = "tls.key";

/// Why nobody can be asked.
#[derive(Debug, Error)]
pub(super) enum MembersError {
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A Secret is not there.
    #[error("Secret {0} is missing: create it")]
    Missing(String),
    /// A key is not in a Secret.
    #[error("Secret {secret} has no `{key}`: add it")]
    NoKey {
        /// Which Secret.
        secret: String,
        /// Which key.
        key: String,
    },
    /// What is in it is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Certificates to reach members with.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    /// For clients, if they speak TLS.
    pub(super) client: Option<TlsConfig>,
}

/// Reads the certificates from the Secrets that the Etcd names.
pub(super) async fn certificates(apis: &Apis, spec: &Spec) -> Result<Certificates, MembersError> {
    let Ok(pods) = &spec.pods else {
        return Ok(Certificates::default());
    };
    let namespace = &spec.identity.namespace;
    let client = match &pods.client_tls {
        Some(tls) => Some(config(apis, namespace, &tls.ca, &tls.client).await?),
        None => None,
    };
    Ok(Certificates { client })
}

async fn config(
    apis: &Apis,
    namespace: &str,
    ca: &Ca,
    pair: &str,
) -> Result<TlsConfig, MembersError> {
    let signer = secret(apis, namespace, &ca.secret).await?;
    let own = secret(apis, namespace, pair).await?;
    let [ca_name, cert_name, key_name] = [
        (&ca.secret, ca.key.as_str()),
        (&pair.to_owned(), TLS_CERTIFICATE),
        (&pair.to_owned(), KEY),
    ]
    .map(|(secret, key)| format!("`{key}` of Secret {namespace}/{secret}"));
    let pem = Pem {
        ca: (&ca_name, value(&signer, &ca.secret, &ca.key)?),
        pair: Some((
            (&cert_name, value(&own, pair, TLS_CERTIFICATE)?),
            (&key_name, value(&own, pair, KEY)?),
        )),
    };
    Ok(TlsConfig::of(&pem)?)
}

async fn secret(apis: &Apis, namespace: &str, name: &str) -> Result<Secret, MembersError> {
    let found = apis.secret(namespace, name).await?;
    found.ok_or_else(|| MembersError::Missing(format!("{namespace}/{name}")))
}

fn value<'a>(secret: &'a Secret, name: &str, key: &str) -> Result<&'a [u8], MembersError> {
    let data = secret.data.as_ref().and_then(|it| it.get(key));
    data.map(|it| it.0.as_slice())
        .ok_or_else(|| MembersError::NoKey {
            secret: name.to_owned(),
            key: key.to_owned(),
        })
}

/// Clients of the members, kept as long as their pods keep their addresses and the certificates stay.
#[derive(Debug, Default)]
pub(super) struct Clients {
    known: BTreeMap<MemberName, (String, Client)>,
}

impl Clients {
    /// Those of the pods that have an address. Of the others the error says why not.
    pub(super) fn of(
        &mut self,
        spec: &Spec,
        pods: &BTreeMap<String, Pod>,
        certificates: &Certificates,
    ) -> Vec<(MemberName, Client)> {
        let mut known = std::mem::take(&mut self.known);
        for ordinal in 0..spec.replicas {
            let name = MemberName(spec.member(ordinal));
            let pod = spec.pod(ordinal);
            let Some(address) = pods.get(&pod).and_then(endpoint) else {
                continue;
            };
            let uid = pods.get(&pod).and_then(|it| it.metadata.uid.as_deref());
            let key = format!("{address} {}", uid.unwrap_or_default());
            let client = match known.remove(&name) {
                Some((same, client)) if same == key => Some(client),
                Some(_) | None => connect(spec, &pod, address, certificates),
            };
            if let Some(client) = client {
                self.known.insert(name, (key, client));
            }
        }
        let clients = self.known.iter();
        clients
            .map(|(name, (_, it))| (name.clone(), it.clone()))
            .collect()
    }

    /// Certificates have changed: nobody is known any more.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

fn connect(spec: &Spec, pod: &str, address: &str, certificates: &Certificates) -> Option<Client> {
    let identity = &spec.identity;
    let (peers, namespace) = (identity.peer_service(), &identity.namespace);
    let name = format!("{pod}.{peers}.{namespace}.svc");
    let tls = certificates.client.as_ref().map(|it| it.for_server(&name));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    let endpoint = format!("{scheme}://{host}:{}", spec.ports.client)
        .parse()
        .ok()?;
    let client = Client::new(endpoint, tls.as_ref());
    client
        .map_err(|error| tracing::warn!(%error, pod, "it cannot be asked"))
        .ok()
}
