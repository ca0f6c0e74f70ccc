//! The server's certificate: read again when its files change, which are renewed while we run, or as
//! somebody else gives it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::stamp::Stamp;

/// How often the files are looked at, at most.
const EVERY: Duration = Duration::from_secs(2);

/// Why the files cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    /// One of them cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One of them is not what it should be.
    #[error("{}: {why}; it must be PEM", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// They are no pair.
    #[error("{} and {} cannot be used: {source}", cert.display(), key.display())]
    NoPair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate and its key, in use.
pub(crate) enum Certificates {
    /// From files.
    Files(Files),
    /// From somebody who has another one now and then.
    Given(watch::Receiver<TlsAcceptor>),
}

impl Certificates {
    /// Reads both files.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        Files::read(cert, key).map(Self::Files)
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        match self {
            Self::Files(files) => files.acceptor(),
            Self::Given(given) => given.borrow().clone(),
        }
    }
}

/// Those on disk.
pub(crate) struct Files {
    cert: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    acceptor: TlsAcceptor,
    stamp: Stamps,
    looked: Instant,
}

/// Of both files.
type Stamps = [Option<Stamp>; 2];

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => f.debug_tuple("Files").field(&files.cert).finish(),
            Self::Given(_) => f.write_str("Given"),
        }
    }
}

impl Files {
    fn read(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        let stamp = stamp(cert, key);
        let state = State {
            acceptor: load(cert, key)?,
            stamp,
            looked: Instant::now(),
        };
        Ok(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// Files that have become unusable leave the old pair in use.
    fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= EVERY {
            state.looked = Instant::now();
            self.refresh(&mut state);
        }
        state.acceptor.clone()
    }

    fn refresh(&self, state: &mut State) {
        let stamp = stamp(&self.cert, &self.key);
        if stamp == state.stamp {
            return;
        }
        match load(&self.cert, &self.key) {
            Ok(acceptor) => {
                tracing::info!(cert = %self.cert.display(), "the server certificate was read again");
                state.acceptor = acceptor;
                state.stamp = stamp;
            }
            // Perhaps one of two files is new: both are looked at again.
            Err(error) => tracing::warn!(%error, "the server certificate changed and is not used"),
        }
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamps {
    [cert, key].map(Stamp::of)
}

fn load(cert: &Path, key: &Path) -> Result<TlsAcceptor, CertificateError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| CertificateError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let parse = |path: &Path, why: String| CertificateError::Parse {
        path: path.to_owned(),
        why,
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(cert)?)
        .collect::<Result<_, _>>()
        .map_err(|error| parse(cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(parse(cert, "it has no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| parse(key, error.to_string()))?;
    acceptor(chain, private).map_err(|source| CertificateError::NoPair {
        cert: cert.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// Serves with a certificate, and those that lead from it to an authority. The key has to be its own.
pub(crate) fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
