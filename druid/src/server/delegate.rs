//! Hands a request for a snapshot to the sidecar beside the leader.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;

use super::clients::Clients;
use crate::serve::{self, Answer};
use crate::web::{Trust, Web};

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
    /// Whether they speak TLS.
    pub(crate) tls: bool,
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

    async fn try_hand_on(&self, path_and_query: &str) -> Result<Answer, String> {
        let base = self.leader().await?;
        let trust = match self.clients.ca() {
            Some(ca) if self.tls => Trust::of_file(ca).map_err(|error| error.to_string())?,
            Some(_) | None => Trust::default(),
        };
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
        let scheme = if self.tls { "https" } else { "http" };
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
            tls: false,
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
}
