//! Certificates, read and parsed once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// The flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// `--cacert`.
    pub(crate) ca: Option<PathBuf>,
    /// `--cert`.
    pub(crate) cert: Option<PathBuf>,
    /// `--key`.
    pub(crate) key: Option<PathBuf>,
}

/// What the flags name, ready for use.
#[derive(Clone)]
pub(crate) struct TlsConfig {
    pub(super) grpc: ClientTlsConfig,
    pub(super) http: Arc<rustls::ClientConfig>,
    pub(super) has_certificate: bool,
}

/// Why the flags cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    /// A client certificate without its key, or the other way round.
    #[error("{given} is given without {missing}; they go together")]
    Half {
        /// The flag that is there.
        given: &'static str,
        /// The flag that is not.
        missing: &'static str,
    },
    /// Certificates without a CA.
    #[error("--cert and --key are given without --cacert, the CA of the members")]
    NoCa,
    /// A file cannot be read.
    #[error("{flag} {}: cannot be read: {source}", path.display())]
    Read {
        /// Which flag.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{flag} {}: {why}; it must be PEM", path.display())]
    Parse {
        /// Which flag.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Certificate and key are not a pair, or TLS has no provider.
    #[error("--cert and --key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}

impl Tls {
    /// Reads the files. `None` if no flag is given.
    pub(crate) fn read(&self) -> Result<Option<TlsConfig>, TlsError> {
        let pair = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(TlsError::Half {
                    given: "--cert",
                    missing: "--key",
                });
            }
            (None, Some(_)) => {
                return Err(TlsError::Half {
                    given: "--key",
                    missing: "--cert",
                });
            }
        };
        let Some(ca) = &self.ca else {
            return if pair.is_some() {
                Err(TlsError::NoCa)
            } else {
                Ok(None)
            };
        };
        Ok(Some(build(ca, pair)?))
    }
}

fn build(ca: &Path, pair: Option<(&PathBuf, &PathBuf)>) -> Result<TlsConfig, TlsError> {
    let ca_pem = slurp("--cacert", ca)?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("--cacert", ca, &ca_pem)? {
        roots.add(certificate).map_err(|error| TlsError::Parse {
            flag: "--cacert",
            path: ca.to_owned(),
            why: error.to_string(),
        })?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let http = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut grpc = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&ca_pem));
    let http = if let Some((cert, key)) = pair {
        let cert_pem = slurp("--cert", cert)?;
        let key_pem = slurp("--key", key)?;
        let chain = certificates("--cert", cert, &cert_pem)?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| TlsError::Parse {
            flag: "--key",
            path: key.clone(),
            why: error.to_string(),
        })?;
        grpc = grpc.identity(Identity::from_pem(cert_pem, key_pem));
        http.with_client_auth_cert(chain, private)?
    } else {
        http.with_no_client_auth()
    };
    Ok(TlsConfig {
        grpc,
        http: Arc::new(http),
        has_certificate: pair.is_some(),
    })
}

fn slurp(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        flag,
        path: path.to_owned(),
        source,
    })
}

fn certificates(
    flag: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |why: String| TlsError::Parse {
        flag,
        path: path.to_owned(),
        why,
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("it has no certificate".to_owned()));
    }
    Ok(found)
}
