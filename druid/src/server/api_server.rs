//! The Kubernetes API, as far as leases need it: read one, patch one. What a whole client library
//! holds in memory would be more than all the rest of the server.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use druid_core::agent::kubeconfig::{Given, Kubeconfig, KubeconfigError};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use thiserror::Error;

use crate::stamp::Stamp;
use crate::web::{Trust, Web, WebError};

/// Where a pod finds its credentials.
const MOUNTED: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why a lease could not be read or written.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error(transparent)]
    Web(#[from] WebError),
    /// A file of the credentials.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kubeconfig.
    #[error("{}: {source}", path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why.
        source: KubeconfigError,
    },
    /// The kubeconfig is no YAML.
    #[error("{}: not YAML: {why}", path.display())]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no such lease.
    #[error("there is no lease {namespace}/{name}; the operator has to create it")]
    NoLease {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Another wrote it meanwhile.
    #[error("lease {0} was changed by another meanwhile")]
    Conflict(String),
    /// It answered something else.
    #[error("{method} of lease {name}: {status}: {text}")]
    Status {
        /// `GET` or `PATCH`.
        method: Method,
        /// Which lease.
        name: String,
        /// Its answer.
        status: StatusCode,
        /// What it says.
        text: String,
    },
    /// It is no JSON.
    #[error("lease {name}: {source}")]
    Json {
        /// Which lease.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The request cannot be made.
    #[error("{0}")]
    Http(#[from] http::Error),
}

impl ApiError {
    /// Whether the same request may go through a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Web(_) | Self::Conflict(_) => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Read { .. }
            | Self::Kubeconfig { .. }
            | Self::Yaml { .. }
            | Self::NoLease { .. }
            | Self::Json { .. }
            | Self::Http(_) => false,
        }
    }
}

/// An API server, and as whom we come to it.
#[derive(Debug)]
pub(crate) struct ApiServer {
    access: Kubeconfig,
    namespace: String,
    connection: Mutex<Option<(Web, Vec<Option<Stamp>>)>>,
}

impl ApiServer {
    /// `kubeconfig`: `KUBECONFIG`. Without it, what a pod is given; `None` if this is no pod.
    pub(crate) fn find(
        kubeconfig: Option<PathBuf>,
        namespace: String,
    ) -> Result<Option<Self>, ApiError> {
        let access = match kubeconfig {
            Some(path) => Some(read_kubeconfig(path)?),
            None => in_pod(),
        };
        Ok(access.map(|access| Self {
            access,
            namespace,
            connection: Mutex::new(None),
        }))
    }

    /// Reads a lease.
    pub(crate) async fn lease(&self, name: &str, deadline: Duration) -> Result<Value, ApiError> {
        self.send(Method::GET, name, Bytes::new(), deadline).await
    }

    /// Writes what differs.
    pub(crate) async fn patch(
        &self,
        name: &str,
        patch: &Value,
        deadline: Duration,
    ) -> Result<(), ApiError> {
        let body = patch.to_string().into();
        self.send(Method::PATCH, name, body, deadline).await?;
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        name: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Value, ApiError> {
        let url = format!(
            "{}/apis/coordination.k8s.io/v1/namespaces/{}/leases/{name}",
            self.access.server, self.namespace
        );
        let mut request = Request::builder().method(method.clone()).uri(url);
        if method == Method::PATCH {
            request = request.header(CONTENT_TYPE, "application/merge-patch+json");
        }
        // Read each time: it is renewed.
        if let Some(token) = &self.access.token {
            let token = bytes_of(token)?;
            let token = String::from_utf8_lossy(&token);
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let answer = self
            .web()?
            .send(request.body(Full::new(body))?, deadline)
            .await?;
        let name = name.to_owned();
        match answer.status {
            status if status.is_success() => serde_json::from_slice(&answer.body)
                .map_err(|source| ApiError::Json { name, source }),
            StatusCode::NOT_FOUND => Err(ApiError::NoLease {
                namespace: self.namespace.clone(),
                name,
            }),
            StatusCode::CONFLICT => Err(ApiError::Conflict(name)),
            status => Err(ApiError::Status {
                method,
                name,
                status,
                text: answer.text(),
            }),
        }
    }

    /// Made again when a file that it was made of changes.
    fn web(&self) -> Result<Web, ApiError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.access);
        if let Some((web, made_of)) = connection.as_ref()
            && *made_of == stamps
        {
            return Ok(web.clone());
        }
        let ca = self.access.ca.as_ref().map(bytes_of).transpose()?;
        let pair = match &self.access.pair {
            Some((cert, key)) => Some((bytes_of(cert)?, bytes_of(key)?)),
            None => None,
        };
        let web = Web::new(&Trust {
            ca: ca.unwrap_or_default(),
            pair,
        })?;
        *connection = Some((web.clone(), stamps));
        Ok(web)
    }
}

fn stamps(access: &Kubeconfig) -> Vec<Option<Stamp>> {
    let pair = access.pair.as_ref();
    let files = [
        access.ca.as_ref(),
        pair.map(|(cert, _)| cert),
        pair.map(|(_, key)| key),
    ];
    let stamp = |given: Option<&Given>| match given {
        Some(Given::File(path)) => Stamp::of(path),
        Some(Given::Inline(_)) | None => None,
    };
    files.map(stamp).into()
}

fn bytes_of(given: &Given) -> Result<Vec<u8>, ApiError> {
    match given {
        Given::Inline(bytes) => Ok(bytes.clone()),
        Given::File(path) => std::fs::read(path).map_err(|source| ApiError::Read {
            path: path.clone(),
            source,
        }),
    }
}

fn read_kubeconfig(path: PathBuf) -> Result<Kubeconfig, ApiError> {
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ApiError::Read { path, source }),
    };
    let file: Value = match serde_saphyr::from_slice(&bytes) {
        Ok(file) => file,
        Err(error) => {
            let why = error.to_string();
            return Err(ApiError::Yaml { path, why });
        }
    };
    let mut access = Kubeconfig::new(&file).map_err(|source| ApiError::Kubeconfig {
        path: path.clone(),
        source,
    })?;
    // Other files are named relative to it.
    let dir = path.parent().unwrap_or(Path::new("."));
    let resolve = |given: &mut Given| match given {
        Given::File(path) => *path = dir.join(&*path),
        Given::Inline(_) => {}
    };
    if let Some((cert, key)) = &mut access.pair {
        resolve(cert);
        resolve(key);
    }
    access
        .ca
        .iter_mut()
        .chain(&mut access.token)
        .for_each(resolve);
    Ok(access)
}

fn in_pod() -> Option<Kubeconfig> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let mounted = Path::new(MOUNTED);
    Some(Kubeconfig {
        server: format!("https://{host}:{port}"),
        ca: Some(Given::File(mounted.join("ca.crt"))),
        pair: None,
        token: Some(Given::File(mounted.join("token"))),
    })
}
