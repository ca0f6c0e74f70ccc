//! Where the files of a cluster are.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The directory of a cluster. Whatever the cluster writes is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// `directory` has to be absolute: the processes of the cluster are told of it.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// All of it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// For clients: an administrator who may do everything. It holds its certificates, and can be
    /// copied elsewhere.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// One line of JSON for each request that was answered.
    pub fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// Which requests are logged.
    pub(crate) fn audit_policy(&self) -> PathBuf {
        self.directory.join("audit-policy.yaml")
    }

    /// What etcd keeps.
    pub(crate) fn etcd(&self) -> PathBuf {
        self.directory.join("etcd")
    }

    /// What kubectl remembers of this cluster.
    pub(crate) fn kubectl_cache(&self) -> PathBuf {
        self.directory.join("kubectl-cache")
    }

    /// What Helm remembers.
    pub(crate) fn helm(&self) -> PathBuf {
        self.directory.join("helm")
    }

    /// What a process says.
    pub fn log(&self, process: &str) -> PathBuf {
        self.directory.join(format!("{process}.log"))
    }

    /// Certificates and keys, in PEM.
    pub(crate) fn pki(&self) -> PathBuf {
        self.directory.join("pki")
    }

    /// Who signed all certificates, in PEM.
    pub fn ca(&self) -> PathBuf {
        self.pki().join("ca.crt")
    }

    /// The certificate of `admin` or another one with a certificate, in PEM.
    pub fn certificate(&self, of: &str) -> PathBuf {
        self.pki().join(format!("{of}.crt"))
    }

    /// The key to [`Self::certificate`], in PEM.
    pub fn key(&self, of: &str) -> PathBuf {
        self.pki().join(format!("{of}.key"))
    }

    /// For a component that is a client.
    pub(crate) fn kubeconfig_of(&self, component: &str) -> PathBuf {
        self.pki().join(format!("{component}.kubeconfig"))
    }

    /// Where the containers of the cluster are managed.
    pub fn containerd_socket(&self) -> PathBuf {
        self.directory.join("containerd.sock")
    }

    /// What tells that a service account's token is genuine, in PEM.
    pub(crate) fn service_account_public(&self) -> PathBuf {
        self.pki().join("service-account.pub")
    }
}

/// Writes a file that nobody else on this machine can read: whoever reads it may do everything.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}
