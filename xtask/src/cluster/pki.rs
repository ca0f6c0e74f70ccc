//! Who may speak to the API server: one authority, made for this cluster alone, and what it signs.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use thiserror::Error;

use super::layout::{self, Layout};

/// The names of the files of each key and its certificate.
pub(crate) const API_SERVER: &str = "apiserver";
pub(crate) const ADMIN: &str = "admin";
pub(crate) const SERVICE_ACCOUNT: &str = "service-account";
pub(crate) const KUBELET: &str = "kubelet";
pub(crate) const KUBELET_CLIENT: &str = "kubelet-client";
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(crate) const SCHEDULER: &str = "kube-scheduler";
pub(crate) const PROXY: &str = "kube-proxy";
pub(crate) const DNS: &str = "coredns";
const CA: &str = "ca";

/// The group of those who may do everything.
const MASTERS: &str = "system:masters";

/// Who else there is where pods run: the name of the file, the user, its group. The components may
/// do everything, each under its own name, so that the audit log tells them apart; a node has the
/// rights that the authorizer `Node` gives it.
const OF_A_NODE: [(&str, &str, &str); 6] = [
    (KUBELET, "system:node:node-0", "system:nodes"),
    (KUBELET_CLIENT, "kube-apiserver", MASTERS),
    (
        CONTROLLER_MANAGER,
        "system:kube-controller-manager",
        MASTERS,
    ),
    (SCHEDULER, "system:kube-scheduler", MASTERS),
    (PROXY, "system:kube-proxy", MASTERS),
    (DNS, "coredns", MASTERS),
];

/// Why there are no certificates.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A certificate could not be made.
    #[error("cannot make the certificate {name}: {source}")]
    Make {
        /// The name of its file, without the end.
        name: &'static str,
        /// What the library says.
        source: rcgen::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}; free some space or choose another directory", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Makes everything that the API server and its administrator need, in `pki/`.
///
/// `names` are the DNS names and addresses by which the API server is reached. With a node, its
/// components have certificates too.
pub(crate) fn make(layout: &Layout, names: &[String], node: bool) -> Result<(), PkiError> {
    let authority = Authority::new(layout)?;
    authority.sign(API_SERVER, Holder::Server(names))?;
    let name = "druid-admin";
    let group = MASTERS;
    authority.sign(ADMIN, Holder::Client { name, group })?;
    if node {
        for (file, name, group) in OF_A_NODE {
            authority.sign(file, Holder::Client { name, group })?;
        }
    }
    let pair = generate(SERVICE_ACCOUNT)?;
    write(&layout.key(SERVICE_ACCOUNT), &pair.serialize_pem())?;
    write(&layout.service_account_public(), &pair.public_key_pem())
}

/// Who a certificate is for.
#[derive(Clone, Copy)]
enum Holder<'a> {
    /// Reached under these names and addresses.
    Server(&'a [String]),
    /// A user of Kubernetes, of one group.
    Client { name: &'a str, group: &'a str },
}

struct Authority<'a> {
    layout: &'a Layout,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Authority<'a> {
    fn new(layout: &'a Layout) -> Result<Self, PkiError> {
        let pair = generate(CA)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "druid throwaway cluster");
        let certificate = params
            .self_signed(&pair)
            .map_err(|source| PkiError::Make { name: CA, source })?;
        let pki = layout.pki();
        std::fs::create_dir_all(&pki).map_err(|source| PkiError::Write { path: pki, source })?;
        write(&layout.ca(), &certificate.pem())?;
        let issuer = Issuer::new(params, pair);
        Ok(Self { layout, issuer })
    }

    /// Signs a certificate and writes it beside its key.
    fn sign(&self, name: &'static str, holder: Holder<'_>) -> Result<(), PkiError> {
        let failed = |source| PkiError::Make { name, source };
        let pair = generate(name)?;
        let mut params = match holder {
            Holder::Server(names) => {
                let mut params = CertificateParams::new(names).map_err(failed)?;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.distinguished_name = DistinguishedName::new();
                params.distinguished_name.push(DnType::CommonName, name);
                params
            }
            Holder::Client { name, group } => {
                let mut params = CertificateParams::default();
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                params.distinguished_name = DistinguishedName::new();
                params
                    .distinguished_name
                    .push(DnType::OrganizationName, group);
                params.distinguished_name.push(DnType::CommonName, name);
                params
            }
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&pair, &self.issuer).map_err(failed)?;
        write(&self.layout.certificate(name), &certificate.pem())?;
        write(&self.layout.key(name), &pair.serialize_pem())
    }
}

fn generate(name: &'static str) -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|source| PkiError::Make { name, source })
}

fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    layout::write_private(path, text).map_err(|source| PkiError::Write {
        path: path.to_owned(),
        source,
    })
}
