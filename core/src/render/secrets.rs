//! Which Secrets an Etcd refers to, also one that cannot be rendered.

use std::collections::BTreeSet;

use super::parse::{BACKUP_TLS, CLIENT_TLS, PEER_TLS};
use super::problem::Problem;
use super::spec::{Ca, Pods};
use super::store;
use crate::api;
use crate::certificate::Use;

/// The key of a certificate in a Secret of the type `kubernetes.io/tls`.
pub const TLS_CERTIFICATE: &str = "tls.crt";

/// A reference to a Secret in the namespace of the Etcd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretReference {
    /// The field that it is in.
    pub field: &'static str,
    /// The Secret.
    pub name: String,
}

/// Every reference, in the order of the fields. Whatever is referred to carries a finalizer.
pub fn secret_references(etcd: &api::Etcd) -> Vec<SecretReference> {
    let (members, backup) = (&etcd.spec.etcd, &etcd.spec.backup);
    let mut found = Vec::new();
    let mut add = |field, name: Option<&String>| {
        if let Some(name) = name.filter(|it| !it.is_empty()) {
            let name = name.clone();
            found.push(SecretReference { field, name });
        }
    };
    let tls = [
        (&members.client_url_tls, CLIENT_TLS),
        (&backup.tls, BACKUP_TLS),
    ];
    for (tls, [ca, server, client]) in tls {
        if let Some(tls) = tls {
            add(ca, tls.ca.name.as_ref());
            add(server, tls.server.name.as_ref());
            add(client, tls.client.as_ref().and_then(|it| it.name.as_ref()));
        }
    }
    if let Some(tls) = &members.peer_url_tls {
        let [ca, server] = PEER_TLS;
        add(ca, tls.ca.name.as_ref());
        add(server, tls.server.name.as_ref());
    }
    let store = backup.store.as_ref().and_then(|it| it.secret_ref.as_ref());
    add(store::ETCD.secret, store.and_then(|it| it.name.as_ref()));
    found
}

/// A problem for each reference to a Secret that is not among those that are there.
pub fn missing_secrets(etcd: &api::Etcd, there: &BTreeSet<String>) -> Vec<Problem> {
    secret_references(etcd)
        .into_iter()
        .filter(|it| !there.contains(&it.name))
        .map(|it| Problem::SecretMissing {
            field: it.field,
            name: it.name,
        })
        .collect()
}

/// Where certificates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateReference<'a> {
    /// The Secret, in the namespace of the Etcd.
    pub secret: &'a str,
    /// The key in it.
    pub key: &'a str,
    /// What they are for.
    pub of: Use,
}

/// Every place with certificates that the pods are given.
pub fn certificates(pods: &Pods) -> BTreeSet<CertificateReference<'_>> {
    let both = [&pods.client_tls, &pods.backup_tls];
    let both = both.into_iter().flatten();
    let peers = pods.peer_tls.iter();
    let own = both.clone().flat_map(|it| [&it.server, &it.client]);
    let own = own.chain(peers.clone().map(|it| &it.server));
    let trusted = both.map(|it| &it.ca).chain(peers.map(|it| &it.ca));
    let own = own.map(|secret| CertificateReference {
        secret,
        key: TLS_CERTIFICATE,
        of: Use::Own,
    });
    let trusted = trusted.map(|ca: &Ca| CertificateReference {
        secret: &ca.secret,
        key: &ca.key,
        of: Use::Trust,
    });
    own.chain(trusted).collect()
}
