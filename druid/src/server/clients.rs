//! Clients of etcd for the flags, made again when the certificates are renewed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::etcd::endpoint::ParseEndpointError;
use crate::etcd::{self, Client, Endpoint, Login, Tls, TlsConfig, TlsError};
use crate::stamp::Stamp;

/// How often the certificates are looked at, at most.
const EVERY: Duration = Duration::from_secs(5);

/// Why there can be no client.
#[derive(Debug, Error)]
pub(crate) enum ClientsError {
    /// A flag is no address.
    #[error("{flag}: {source}")]
    Endpoint {
        /// Which.
        flag: &'static str,
        /// Why.
        source: ParseEndpointError,
    },
    /// No address at all.
    #[error("--endpoints is empty: give the client URL of the member beside us")]
    None,
    /// Half a login.
    #[error("--etcd-username and --etcd-password are given together or not at all")]
    Login,
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Anything else.
    #[error("--endpoints, --service-endpoints: {0}")]
    Client(#[from] etcd::Error),
}

/// The member beside us, and the cluster.
#[derive(Debug)]
pub(crate) struct Clients {
    local: Endpoint,
    service: Vec<Endpoint>,
    tls: Tls,
    login: Option<Login>,
    made: Mutex<Made>,
}

#[derive(Debug)]
struct Made {
    local: Client,
    service: Vec<Client>,
    config: Option<TlsConfig>,
    stamp: Vec<Option<Stamp>>,
    looked: Instant,
}

impl Clients {
    /// `service` may be empty: then the local member speaks for the cluster.
    pub(crate) fn new(
        local: Endpoint,
        service: Vec<Endpoint>,
        tls: Tls,
        login: Option<Login>,
    ) -> Result<Self, ClientsError> {
        let made = make(&local, &service, &tls, login.as_ref())?;
        Ok(Self {
            local,
            service,
            tls,
            login,
            made: Mutex::new(made),
        })
    }

    /// The member beside us.
    pub(crate) fn local(&self) -> Client {
        self.with(|made| made.local.clone())
    }

    /// The cluster, through any of its members.
    pub(crate) fn service(&self) -> Vec<Client> {
        self.with(|made| {
            if made.service.is_empty() {
                vec![made.local.clone()]
            } else {
                made.service.clone()
            }
        })
    }

    /// A member by its address.
    pub(crate) fn at(&self, url: &str) -> Result<Client, ClientsError> {
        let endpoint: Endpoint = url.parse().map_err(|source| ClientsError::Endpoint {
            flag: "a member's client URL",
            source,
        })?;
        let config = self.with(|made| made.config.clone());
        Ok(Client::new(endpoint, config.as_ref())?.with_login(self.login.as_ref()))
    }

    /// The address of the member beside us.
    pub(crate) fn local_endpoint(&self) -> &Endpoint {
        &self.local
    }

    /// The CA of the members.
    pub(crate) fn ca(&self) -> Option<&Path> {
        self.tls.ca.as_deref()
    }

    fn with<T>(&self, take: impl FnOnce(&Made) -> T) -> T {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.looked.elapsed() >= EVERY {
            made.looked = Instant::now();
            if made.stamp != stamp(&self.tls) {
                match make(&self.local, &self.service, &self.tls, self.login.as_ref()) {
                    Ok(new) => {
                        tracing::info!("the certificates for etcd were read again");
                        *made = new;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the certificates for etcd changed and are not used");
                    }
                }
            }
        }
        take(&made)
    }
}

fn make(
    local: &Endpoint,
    service: &[Endpoint],
    tls: &Tls,
    login: Option<&Login>,
) -> Result<Made, ClientsError> {
    let stamp = stamp(tls);
    let config = tls.read()?;
    let client = |endpoint: &Endpoint| {
        let client = Client::new(endpoint.clone(), config.as_ref());
        client.map(|it| it.with_login(login))
    };
    Ok(Made {
        local: client(local)?,
        service: service.iter().map(client).collect::<Result<_, _>>()?,
        config,
        stamp,
        looked: Instant::now(),
    })
}

fn stamp(tls: &Tls) -> Vec<Option<Stamp>> {
    let files: [&Option<PathBuf>; 3] = [&tls.ca, &tls.cert, &tls.key];
    files.map(|path| Stamp::of(path.as_deref()?)).into()
}
