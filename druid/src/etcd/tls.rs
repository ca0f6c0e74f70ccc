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
    /// The name that servers' certificates are to be for, if it is not that of the address.
    pub(super) server_name: Option<String>,
}

/// Certificates and a key, PEM, each with what it is called in errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pem<'a> {
    /// Who signed the members' certificates.
    pub(crate) ca: Part<'a>,
    /// Our certificate and its key.
    pub(crate) pair: Option<(Part<'a>, Part<'a>)>,
}

/// What it is called in errors, and what it is.
type Part<'a> = (&'a str, &'a [u8]);

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
    /// A certificate or a key is not what it should be.
    #[error("{what}: {why}; it must be PEM")]
    Parse {
        /// Where it is from.
        what: String,
        /// Why.
        why: String,
    },
    /// Certificate and key are not a pair, or TLS has no provider.
    #[error("the client certificate and its key cannot be used: {0}")]
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
    let named = |flag: &str, path: &Path| format!("{flag} {}", path.display());
    let (ca_name, ca_pem) = (named("--cacert", ca), slurp("--cacert", ca)?);
    let Some((cert, key)) = pair else {
        return TlsConfig::of(&Pem {
            ca: (&ca_name, &ca_pem),
            pair: None,
        });
    };
    let (cert_name, cert_pem) = (named("--cert", cert), slurp("--cert", cert)?);
    let (key_name, key_pem) = (named("--key", key), slurp("--key", key)?);
    TlsConfig::of(&Pem {
        ca: (&ca_name, &ca_pem),
        pair: Some(((&cert_name, &cert_pem), (&key_name, &key_pem))),
    })
}

impl TlsConfig {
    /// From what is at hand.
    pub(crate) fn of(pem: &Pem<'_>) -> Result<Self, TlsError> {
        let mut roots = rustls::RootCertStore::empty();
        let (what, ca) = pem.ca;
        for certificate in certificates(what, ca)? {
            roots.add(certificate).map_err(|error| TlsError::Parse {
                what: what.to_owned(),
                why: error.to_string(),
            })?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let http = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut grpc = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let http = if let Some(((cert_name, cert), (key_name, key))) = pem.pair {
            let chain = certificates(cert_name, cert)?;
            let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Parse {
                what: key_name.to_owned(),
                why: error.to_string(),
            })?;
            grpc = grpc.identity(Identity::from_pem(cert, key));
            http.with_client_auth_cert(chain, private)?
        } else {
            http.with_no_client_auth()
        };
        Ok(Self {
            grpc,
            http: Arc::new(http),
            has_certificate: pem.pair.is_some(),
            server_name: None,
        })
    }

    /// For a server that is reached at another address than its certificate is for.
    #[must_use]
    pub(crate) fn for_server(&self, name: &str) -> Self {
        Self {
            grpc: self.grpc.clone().domain_name(name),
            server_name: Some(name.to_owned()),
            ..self.clone()
        }
    }
}

fn slurp(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        flag,
        path: path.to_owned(),
        source,
    })
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |why: String| TlsError::Parse {
        what: what.to_owned(),
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
