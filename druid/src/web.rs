//! A small HTTP client: one request, one answer of a limited size, one deadline for all of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::builderstates::WantsProtocols1;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use thiserror::Error;

/// The largest answer that is read, bytes.
const MAX_BODY: usize = 16 << 20;
/// For one address to take a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is silent before the other side is asked whether it lives, and how long
/// between two such questions. An answer may take a quarter of an hour; a dead machine should not.
const SILENT: Duration = Duration::from_secs(15);
/// How many of them may stay without an answer.
const UNANSWERED: u32 = 4;

/// Whom to trust, and as whom to come. PEM.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    /// The certificates of the servers' CA.
    pub(crate) ca: Vec<u8>,
    /// Our certificate and its key.
    pub(crate) pair: Option<(Vec<u8>, Vec<u8>)>,
}

/// Connects when first used; keeps connections for a while.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its `Content-Type`.
    pub(crate) content_type: Option<http::HeaderValue>,
    /// All of it.
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum WebError {
    /// A certificate or key cannot be used.
    #[error("{what} cannot be used ({why}); it must be PEM")]
    Pem {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS has no provider, or certificate and key are no pair.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// No certificate can be for it.
    #[error("{name:?} is no name of a server: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        why: String,
    },
    /// The address cannot be one.
    #[error("{0}")]
    Http(#[from] http::Error),
    /// Nothing came back in time.
    #[error("{url}: no answer within {deadline:?}")]
    Deadline {
        /// What was asked for.
        url: String,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// The connection failed.
    #[error("{url}: {why}")]
    Failed {
        /// What was asked for.
        url: String,
        /// Why.
        why: String,
    },
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// Trusts the certificates of a file.
    pub(crate) fn of_file(path: &std::path::Path) -> Result<Self, WebError> {
        let ca = std::fs::read(path).map_err(|source| WebError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { ca, pair: None })
    }

    /// Whether there is anybody to trust.
    pub(crate) fn is_any(&self) -> bool {
        CertificateDer::pem_slice_iter(&self.ca).any(|it| it.is_ok())
    }

    fn config(&self) -> Result<rustls::ClientConfig, WebError> {
        let pem = |what, error: rustls::pki_types::pem::Error| WebError::Pem {
            what,
            why: error.to_string(),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            roots.add(certificate.map_err(|error| pem("the CA", error))?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let Some((cert, key)) = &self.pair else {
            return Ok(config.with_no_client_auth());
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|error| pem("the client certificate", error))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| pem("the client key", error))?;
        Ok(config.with_client_auth_cert(chain, key)?)
    }
}

impl Web {
    /// For `http`, and for `https` servers that `trust` covers.
    pub(crate) fn new(trust: &Trust) -> Result<Self, WebError> {
        let builder = builder(trust)?;
        Ok(Self::with(builder))
    }

    /// For servers that are asked by address: their certificate is for `name`.
    pub(crate) fn for_server(trust: &Trust, name: &str) -> Result<Self, WebError> {
        let unfit = |error: InvalidDnsNameError| WebError::Name {
            name: name.to_owned(),
            why: error.to_string(),
        };
        let name = ServerName::try_from(name.to_owned()).map_err(unfit)?;
        let resolver = FixedServerNameResolver::new(name);
        let builder = builder(trust)?.with_server_name_resolver(resolver);
        Ok(Self::with(builder))
    }

    fn with(builder: HttpsConnectorBuilder<WantsProtocols1>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(SILENT));
        tcp.set_keepalive_interval(Some(SILENT));
        tcp.set_keepalive_retries(Some(UNANSWERED));
        let connector = builder.enable_http1().wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(1)
            .build(connector);
        Self { pool }
    }

    /// `GET`.
    pub(crate) async fn get(&self, url: &str, deadline: Duration) -> Result<Answer, WebError> {
        let request = Request::get(url).body(Full::default())?;
        self.send(request, deadline).await
    }

    /// Sends a request.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<Answer, WebError> {
        let url = request.uri().to_string();
        let failed = |why: String| WebError::Failed {
            url: url.clone(),
            why,
        };
        let exchange = async {
            let response = self
                .pool
                .request(request)
                .await
                .map_err(|error| failed(innermost(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY)
                .collect()
                .await
                .map_err(|error| failed(innermost(error.as_ref())))?
                .to_bytes();
            Ok(Answer {
                status: head.status,
                content_type: head.headers.get(http::header::CONTENT_TYPE).cloned(),
                body,
            })
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(WebError::Deadline { url, deadline }),
        }
    }
}

impl Answer {
    /// Its text, cut, for a message.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.trim().chars().take(300).collect()
    }
}

fn builder(trust: &Trust) -> Result<HttpsConnectorBuilder<WantsProtocols1>, WebError> {
    let builder = HttpsConnectorBuilder::new().with_tls_config(trust.config()?);
    Ok(builder.https_or_http())
}

/// The cause below all others: what the system said.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
