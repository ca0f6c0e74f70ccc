//! Against a small server that keeps leases as the API server does, as far as we use it. A real one
//! comes with the operator.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::serve::{self, Answer, Service};

#[derive(Debug, Default)]
struct Keeper {
    leases: Mutex<BTreeMap<String, Value>>,
    /// So many patches to come are refused, as another was faster.
    conflicts: Mutex<u32>,
}

impl Keeper {
    fn of(&self, name: &str) -> Value {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.get(name).cloned().unwrap_or_default()
    }
}

fn merge(into: &mut Value, wish: &Value) {
    let Value::Object(fields) = wish else {
        *into = wish.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in fields {
        merge(&mut into[key.as_str()], value);
    }
}

struct Api(Arc<Keeper>);

impl Service for Api {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let Some(name) = path.strip_prefix("/apis/coordination.k8s.io/v1/namespaces/ns/leases/")
        else {
            return serve::empty(StatusCode::BAD_REQUEST);
        };
        if head
            .headers
            .get("authorization")
            .is_none_or(|it| it != "Bearer secret")
        {
            return serve::empty(StatusCode::UNAUTHORIZED);
        }
        let body = body.collect().await.unwrap().to_bytes();
        let mut leases = self.0.leases.lock().unwrap();
        let Some(lease) = leases.get_mut(name) else {
            return serve::empty(StatusCode::NOT_FOUND);
        };
        if head.method == Method::PATCH {
            if head.headers["content-type"] != "application/merge-patch+json" {
                return serve::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let wish: Value = serde_json::from_slice(&body).unwrap();
            let wanted = &wish["metadata"]["resourceVersion"];
            let mut conflicts = self.0.conflicts.lock().unwrap();
            if *conflicts > 0
                || (!wanted.is_null() && *wanted != lease["metadata"]["resourceVersion"])
            {
                *conflicts = conflicts.saturating_sub(1);
                return serve::empty(StatusCode::CONFLICT);
            }
            merge(lease, &wish);
        }
        serve::reply(StatusCode::OK, "application/json", lease.to_string())
    }
}

async fn api(dir: &Path, leases: &[(&str, Value)]) -> (Leases, Arc<Keeper>, watch::Sender<bool>) {
    let keeper = Arc::new(Keeper::default());
    let named = leases
        .iter()
        .map(|(name, lease)| ((*name).to_owned(), lease.clone()));
    keeper.leases.lock().unwrap().extend(named);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve::serve(
        listener,
        None,
        Arc::new(Api(Arc::clone(&keeper))),
        stopped,
    ));
    std::fs::write(dir.join("token"), "secret\n").unwrap();
    let kubeconfig = dir.join("kubeconfig");
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n\
         users: [{{name: u, user: {{tokenFile: token}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let api = ApiServer::find(Some(kubeconfig), "ns".to_owned()).unwrap();
    (Leases::new(api), keeper, stop)
}

fn lease(holder: &str, version: &str) -> Value {
    json!({"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": holder}})
}

#[tokio::test]
async fn a_full_snapshot_is_told_once_conflicts_are_over() {
    let dir = tempfile::tempdir().unwrap();
    let (leases, keeper, _stop) = api(dir.path(), &[("full", lease("7", "1"))]).await;
    *keeper.conflicts.lock().unwrap() = 3;
    let created = "2026-11-24T00:00:00Z".parse().unwrap();
    let last = Revision::new(8).unwrap();
    leases.full("full", last, created).await.unwrap();
    let spec = &keeper.of("full")["spec"];
    assert_eq!(spec["holderIdentity"], "8");
    assert_eq!(spec["renewTime"], "2026-11-24T00:00:00.000000Z");
    // An older one says nothing.
    leases
        .full("full", Revision::new(5).unwrap(), created)
        .await
        .unwrap();
    assert_eq!(keeper.of("full")["spec"]["holderIdentity"], "8");
    *keeper.conflicts.lock().unwrap() = 1000;
    let error = leases.full("full", last, created).await.unwrap_err();
    assert!(matches!(error, ApiError::Conflict(_)), "{error}");
}

#[tokio::test]
async fn a_lease_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (leases, _keeper, _stop) = api(dir.path(), &[]).await;
    let error = leases.delta("delta", None).await.unwrap_err().to_string();
    assert!(error.contains("no lease ns/delta"), "{error}");
    assert!(!leases.ran_before(&"m".into()).await);
}

#[tokio::test]
async fn whether_a_member_ran_is_read_from_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let held = [
        ("old", lease("1:2:Member", "1")),
        ("new", json!({"spec": {}})),
    ];
    let (leases, _keeper, _stop) = api(dir.path(), &held).await;
    assert!(leases.ran_before(&"old".into()).await);
    assert!(!leases.ran_before(&"new".into()).await);
}

#[tokio::test]
async fn snapshots_are_followed_and_each_tick_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let held = [("full", lease("", "1")), ("delta", lease("", "1"))];
    let (leases, keeper, _stop) = api(dir.path(), &held).await;
    let (tell, progress) = watch::channel(Progress::default());
    let names = Names {
        full: "full".to_owned(),
        delta: "delta".to_owned(),
    };
    let following = tokio::spawn(follow_snapshots(Arc::new(leases), names, progress));
    let full = (
        Revision::new(10).unwrap(),
        "2026-11-24T00:00:00Z".parse().unwrap(),
    );
    tell.send_replace(Progress {
        tick: 1,
        full: Some(full),
        delta: None,
    });
    let until = async |name: &str, holder: &str| {
        for _ in 0..200 {
            if keeper.of(name)["spec"]["holderIdentity"] == holder {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} is {}", keeper.of(name));
    };
    until("full", "10").await;
    until("delta", "0").await;
    tell.send_modify(|it| {
        it.tick += 1;
        it.delta = Revision::new(15);
    });
    until("delta", "15").await;
    drop(tell);
    tokio::time::timeout(Duration::from_secs(5), following)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_member_tells_who_it_is_over_and_over() {
    use crate::etcd::tests::common::{Cluster, Release};
    let cluster = Cluster::start(&[Release::V3_4_34]);
    let node = &cluster.nodes[0];
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("etcd.conf.yaml");
    let text = format!(
        "initial-cluster: m0={0}\ninitial-advertise-peer-urls: {{m0: ['{0}']}}\n",
        node.peer_url
    );
    std::fs::write(&conf, text).unwrap();
    let (leases, keeper, _stop) = api(dir.path(), &[("m0", json!({}))]).await;
    let local = node.client_url.parse().unwrap();
    let clients = Clients::new(local, Vec::new(), crate::etcd::Tls::default()).unwrap();
    let source = Source::new(Some(conf), Some("m0".to_owned()));
    let (tell, leadership) = watch::channel(Leadership::Unknown);
    let period = Duration::from_millis(50);
    let clients = Arc::new(clients);
    let status = clients.local().status(DEADLINE).await.unwrap();
    tokio::spawn(heartbeat(
        Arc::new(leases),
        clients,
        source,
        period,
        leadership,
    ));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(
        keeper.of("m0"),
        json!({}),
        "nothing is told while nothing is known"
    );
    tell.send_replace(Leadership::Leads);
    let mut times = Vec::new();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let lease = keeper.of("m0");
        if let Some(time) = lease["spec"]["renewTime"].as_str() {
            times.push(time.to_owned());
            let holder = format!("{}:{:x}:Leader", status.id, status.cluster);
            assert_eq!(lease["spec"]["holderIdentity"], holder);
            assert_eq!(
                lease["metadata"]["annotations"][lease::TLS_ENABLED],
                "false"
            );
        }
        times.dedup();
        if times.len() >= 3 {
            return;
        }
    }
    panic!("renewed at {times:?} only");
}
