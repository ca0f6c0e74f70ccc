//! Hands a request for a snapshot to the sidecar beside the leader.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;

use super::clients::Clients;
use crate::serve::{self, Answer};
use crate::web::{Trust, Web, WebError};

/// For questions.
const QUICK: Duration = Duration::from_secs(5);
/// Says that a request was handed on once: two sidecars that each take the other for the leader's must
/// not pass it to and fro.
pub(crate) const HEADER: &str = "x-druid-delegated";

/// Where sidecars listen.
#[derive(Debug)]
pub(crate) struct Delegate {
    pub(crate) clients: Arc<Clients>,
    /// Ours, and by convention everybody's.
    pub(crate) port: u16,
    /// Our certificate, if they speak TLS.
    pub(crate) certificate: Option<PathBuf>,
    /// For a snapshot.
    pub(crate) deadline: Duration,
}

impl Delegate {
    /// The leader's answer, or 405 with the reason, which is what etcd-backup-restore answers.
    pub(crate) async fn hand_on(&self, path_and_query: &str) -> Answer {
        match self.try_hand_on(path_and_query).await {
            Ok(answer) => answer,
            Err(why) => {
                tracing::warn!(why, path_and_query, "the leader's sidecar was not reached");
                serve::text(StatusCode::METHOD_NOT_ALLOWED, format!("{why}\n"))
            }
        }
    }

    /// The same, or why there is no answer.
    pub(crate) async fn try_hand_on(&self, path_and_query: &str) -> Result<Answer, String> {
        let base = self.leader().await?;
        let trust = self.trust().map_err(|error| error.to_string())?;
        let web = Web::new(&trust).map_err(|error| error.to_string())?;
        let health = web
            .get(&format!("{base}/healthz"), QUICK)
            .await
            .map_err(|error| error.to_string())?;
        if health.status != StatusCode::OK {
            return Err(format!("{base}/healthz says {}", health.status));
        }
        let request = Request::get(format!("{base}{path_and_query}"))
            .header(HEADER, "1")
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let answer = web
            .send(request, self.deadline)
            .await
            .map_err(|error| error.to_string())?;
        let mut passed = serve::empty(answer.status);
        *passed.body_mut() = Full::new(answer.body);
        if let Some(kind) = answer.content_type {
            passed
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, kind);
        }
        Ok(passed)
    }

    /// The CA of etcd, and whoever signed our own certificate: the leader's sidecar has one like it.
    fn trust(&self) -> Result<Trust, WebError> {
        let Some(own) = &self.certificate else {
            return Ok(Trust::default());
        };
        // A Secret of a certificate has its CA beside it, or in the chain.
        let beside = own.with_file_name("ca.crt");
        let beside = Some(beside.as_path()).filter(|it| it.exists());
        let mut ca = Vec::new();
        for path in self
            .clients
            .ca()
            .into_iter()
            .chain([own.as_path()])
            .chain(beside)
        {
            ca.extend(Trust::of_file(path)?.ca);
            ca.push(b'\n');
        }
        Ok(Trust { ca, pair: None })
    }

    /// The address of the leader's sidecar.
    async fn leader(&self) -> Result<String, String> {
        let local = self.clients.local();
        let text = |error: crate::etcd::Error| error.to_string();
        let status = local.status(QUICK).await.map_err(text)?;
        let members = local.member_list(QUICK).await.map_err(text)?;
        let leader = members
            .iter()
            .find(|member| member.id == status.leader)
            .ok_or("nobody leads")?;
        let url = leader
            .client_urls
            .first()
            .ok_or("the leader has no client URL")?;
        let (_, address) = url
            .split_once("://")
            .ok_or("the leader's client URL is no URL")?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let scheme = match self.certificate {
            Some(_) => "https",
            None => "http",
        };
        Ok(format!("{scheme}://{host}:{}", self.port))
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Incoming;
    use tokio::sync::watch;

    use super::*;
    use crate::etcd::tests::common::{Cluster, Release};
    use crate::serve::Service;
    use crate::serve::tls::Certificates;

    /// A leader's sidecar.
    struct Leader;

    impl Service for Leader {
        async fn answer(&self, request: Request<Incoming>) -> Answer {
            match request.uri().path() {
                "/healthz" => serve::empty(StatusCode::OK),
                "/snapshot/full" if request.headers().contains_key(HEADER) => serve::reply(
                    StatusCode::OK,
                    "application/json",
                    format!("{{\"asked\":\"{}\"}}", request.uri()),
                ),
                _ => serve::text(StatusCode::INTERNAL_SERVER_ERROR, "no"),
            }
        }
    }

    async fn body(answer: Answer) -> String {
        use http_body_util::BodyExt as _;
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_request_goes_to_the_leader_s_sidecar_and_its_answer_comes_back() {
        let cluster = Cluster::start(&[Release::V3_5_27, Release::V3_5_27]);
        let local = cluster.nodes[1].client_url.parse().unwrap();
        let tls = crate::etcd::Tls::default();
        let clients = Arc::new(Clients::new(local, Vec::new(), tls, None).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(serve::serve(listener, None, Arc::new(Leader), stopped));
        let delegate = Delegate {
            clients,
            port,
            certificate: None,
            deadline: QUICK,
        };
        let answer = delegate.hand_on("/snapshot/full?final=true").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(
            body(answer).await,
            "{\"asked\":\"/snapshot/full?final=true\"}"
        );
        // What the leader's sidecar says is passed on, also if it is no.
        let answer = delegate.hand_on("/snapshot/delta").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        stop.send_replace(true);
        served.await.unwrap();
        let answer = delegate.hand_on("/snapshot/full").await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(body(answer).await.contains("refused"));
    }

    #[tokio::test]
    async fn the_leader_s_sidecar_is_trusted_if_its_certificate_is_of_the_ca_of_ours() {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let cluster = Cluster::start(&[Release::V3_5_27]);
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let own = params.signed_by(&key, &issuer).unwrap().pem();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("tls.crt"), own).unwrap();
        std::fs::write(at("tls.key"), key.serialize_pem()).unwrap();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificates = Certificates::read(&at("tls.crt"), &at("tls.key")).unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = serve::serve(listener, Some(certificates), Arc::new(Leader), stopped);
        let served = tokio::spawn(serving);
        // The CA of etcd is another one, here none at all.
        let local = cluster.nodes[0].client_url.parse().unwrap();
        let tls = crate::etcd::Tls::default();
        let delegate = Delegate {
            clients: Arc::new(Clients::new(local, Vec::new(), tls, None).unwrap()),
            port,
            certificate: Some(at("tls.crt")),
            deadline: QUICK,
        };
        let alone = delegate.hand_on("/snapshot/full").await;
        assert_eq!(alone.status(), StatusCode::METHOD_NOT_ALLOWED);
        std::fs::write(at("ca.crt"), ca).unwrap();
        let answer = delegate.hand_on("/snapshot/full").await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", body(answer).await);
        stop.send_replace(true);
        served.await.unwrap();
    }
}
