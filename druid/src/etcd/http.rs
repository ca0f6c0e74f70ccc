//! What etcd answers to plain HTTP, on client and peer addresses.

use std::sync::Arc;
use std::time::Duration;

use druid_core::version::{Minor, Version};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::error::{Error, Kind, of_transport};
use super::{Endpoint, TlsConfig};

/// The largest answer that is read, bytes; `/metrics` of a busy member has some 100 KiB.
const MAX_BODY: usize = 16 << 20;

const NO_CA: &str = "https takes the CA of the members: give --cacert";

/// etcd's quota where `--quota-backend-bytes` is 0 or not given, bytes.
const DEFAULT_QUOTA: u64 = 2 << 30;

/// Plain HTTP to one address.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    endpoint: Endpoint,
    pool: Pool<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// The answer of `/version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    /// The release that the member runs.
    pub(crate) server: Version,
    /// What the cluster has agreed on; `None` while that is `not_decided`.
    pub(crate) cluster: Option<Minor>,
}

#[derive(Deserialize)]
struct VersionBody {
    etcdserver: String,
    etcdcluster: String,
}

impl Http {
    /// Connects when first used. `tls` is needed for `https`.
    pub(crate) fn new(endpoint: Endpoint, tls: Option<&TlsConfig>) -> Result<Self, Error> {
        let failed = |kind| Error {
            call: "connect",
            endpoint: endpoint.clone(),
            kind,
        };
        let config = match tls {
            Some(tls) => tls.http.as_ref().clone(),
            None if endpoint.is_tls() => return Err(failed(Kind::Tls(NO_CA.to_owned()))),
            None => no_roots().map_err(|error| failed(Kind::Tls(error.to_string())))?,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let builder = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http();
        let builder = match tls.and_then(|tls| tls.server_name.as_ref()) {
            Some(name) => {
                let name = ServerName::try_from(name.clone())
                    .map_err(|error| failed(Kind::Tls(error.to_string())))?;
                builder.with_server_name_resolver(FixedServerNameResolver::new(name))
            }
            None => builder,
        };
        let connector = builder.enable_http1().wrap_connector(tcp);
        // Requests at once open connections that may not be needed any more when they are there, and
        // those were kept. etcd without TLS does not stop before each has said something or is closed.
        let kept = if endpoint.is_tls() { 2 } else { 0 };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(kept)
            .build(connector);
        Ok(Self { endpoint, pool })
    }

    /// `/version`, on client and peer addresses.
    pub(crate) async fn version(&self, deadline: Duration) -> Result<Versions, Error> {
        const CALL: &str = "GET /version";
        let body = self.ok(CALL, "/version", deadline).await?;
        let body: VersionBody = serde_json::from_slice(&body)
            .map_err(|error| self.error(CALL, Kind::BadAnswer(error.to_string())))?;
        let bad = |error: druid_core::version::ParseVersionError| {
            self.error(CALL, Kind::BadAnswer(error.to_string()))
        };
        let cluster = match body.etcdcluster.as_str() {
            "not_decided" => None,
            text => Some(text.parse().map_err(bad)?),
        };
        Ok(Versions {
            server: body.etcdserver.parse().map_err(bad)?,
            cluster,
        })
    }

    /// `/readyz`: `Err` inside has what it says while it is not ready. Releases before 3.4.29 and
    /// 3.5.11 do not have it, and count as ready.
    pub(crate) async fn readyz(&self, deadline: Duration) -> Result<Result<(), String>, Error> {
        let (status, body) = self.get("GET /readyz", "/readyz", deadline).await?;
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(Ok(()));
        }
        let text = String::from_utf8_lossy(&body);
        let failing: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("[-]"))
            .collect();
        let why = if failing.is_empty() {
            format!("/readyz says {status}")
        } else {
            failing.join("; ")
        };
        Ok(Err(why))
    }

    /// The quota of the database by `/metrics`, bytes; `None` where the metric is not there.
    pub(crate) async fn quota(&self, deadline: Duration) -> Result<Option<u64>, Error> {
        let body = self.ok("GET /metrics", "/metrics", deadline).await?;
        let quota = metric(&body, "etcd_server_quota_backend_bytes");
        Ok(quota.map(|bytes| if bytes == 0 { DEFAULT_QUOTA } else { bytes }))
    }

    /// How many raft snapshots the member has saved since it started, by `/metrics`.
    pub(crate) async fn raft_snapshots(&self, deadline: Duration) -> Result<Option<u64>, Error> {
        let body = self.ok("GET /metrics", "/metrics", deadline).await?;
        Ok(metric(
            &body,
            "etcd_debugging_snap_save_total_duration_seconds_count",
        ))
    }

    /// The compactions of the database by `/metrics`; `None` where the metrics are not there.
    pub(crate) async fn compactions(
        &self,
        deadline: Duration,
    ) -> Result<Option<Compactions>, Error> {
        const ENDED: &str = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count";
        let body = self.ok("GET /metrics", "/metrics", deadline).await?;
        let both = metric(&body, ENDED).zip(metric(&body, "process_start_time_seconds"));
        Ok(both.map(|(ended, started)| Compactions { ended, started }))
    }

    async fn ok(
        &self,
        call: &'static str,
        path: &'static str,
        deadline: Duration,
    ) -> Result<Bytes, Error> {
        let (status, body) = self.get(call, path, deadline).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(self.error(call, Kind::BadAnswer(status.to_string())))
        }
    }

    async fn get(
        &self,
        call: &'static str,
        path: &'static str,
        deadline: Duration,
    ) -> Result<(StatusCode, Bytes), Error> {
        let uri: Uri = format!("{}{path}", self.endpoint)
            .parse()
            .map_err(|_| self.error(call, Kind::BadAnswer("not a URL".to_owned())))?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        let exchange = async {
            let response = self
                .pool
                .request(request)
                .await
                .map_err(|error| of_transport(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_BODY)
                .collect()
                .await
                .map_err(|error| of_transport(error.as_ref()))?
                .to_bytes();
            Ok((status, body))
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(answer) => answer.map_err(|kind| self.error(call, kind)),
            Err(_) => Err(self.error(call, Kind::DeadlineExceeded(deadline))),
        }
    }

    fn error(&self, call: &'static str, kind: Kind) -> Error {
        Error {
            call,
            endpoint: self.endpoint.clone(),
            kind,
        }
    }
}

/// For plain `http`: trusts nobody.
fn no_roots() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}

/// The value of a metric without labels.
/// How many compactions of its database a member has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compactions {
    /// So many, since it started.
    ended: u64,
    /// When that was, seconds of the epoch.
    started: u64,
}

impl Compactions {
    /// Whether one that was asked for at the time of `before` is no longer going on. A member that has been
    /// started since then counts from zero, and does on its own what was not done.
    pub(crate) fn are_over_since(self, before: Self) -> bool {
        self.started != before.started || self.ended > before.ended
    }
}

fn metric(body: &[u8], name: &str) -> Option<u64> {
    let text = String::from_utf8_lossy(body);
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    let value: f64 = value.trim().parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float saturates, and neither sizes nor counts need more than 53 bits"
    )]
    Some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compaction_is_over_when_one_has_ended_or_the_member_is_another_process() {
        let before = Compactions {
            ended: 3,
            started: 1_795_000_000,
        };
        let ended = |ended| Compactions { ended, ..before };
        assert!(!before.are_over_since(before));
        assert!(ended(4).are_over_since(before));
        let again = Compactions {
            started: 1_795_000_009,
            ..ended(0)
        };
        assert!(again.are_over_since(before));
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let body = b"# TYPE a gauge\nab 3\na{x=\"1\"} 4\na 2.147483648e+09\n";
        assert_eq!(metric(body, "a"), Some(2_147_483_648));
        assert_eq!(metric(body, "ab"), Some(3));
        assert_eq!(metric(body, "b"), None);
    }
}
