//! What a real API server cannot be made to do when it is wanted: lose every race, fail, say nothing.
//! All else is in `tests/server_leases.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
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
    /// Everything is answered so.
    fails: Mutex<Option<StatusCode>>,
    asked: AtomicU32,
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
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(status) = *self.0.fails.lock().unwrap() {
            return serve::text(status, "etcdserver: request timed out");
        }
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
    (of_port(dir, port), keeper, stop)
}

fn of_port(dir: &Path, port: u16) -> Leases {
    std::fs::write(dir.join("token"), "secret\n").unwrap();
    let kubeconfig = dir.join("kubeconfig");
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n\
         users: [{{name: u, user: {{tokenFile: token}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let api = ApiServer::find(Some(kubeconfig), "ns".to_owned()).unwrap();
    Leases::new(api)
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
    let before = keeper.asked.load(Ordering::SeqCst);
    let error = leases.full("full", last, created).await.unwrap_err();
    assert!(matches!(error, ApiError::Conflict(_)), "{error}");
    let asked = keeper.asked.load(Ordering::SeqCst) - before;
    assert_eq!(asked, 2 * (CONFLICTS + 1), "it is not tried for ever");
}

#[tokio::test]
async fn an_api_server_that_fails_is_named_with_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let (leases, keeper, _stop) = api(dir.path(), &[("delta", lease("7", "1"))]).await;
    *keeper.fails.lock().unwrap() = Some(StatusCode::INTERNAL_SERVER_ERROR);
    let error = leases.delta("delta", None).await.unwrap_err().to_string();
    let expected = "GET of lease delta: 500 Internal Server Error: etcdserver: request timed out";
    assert_eq!(error, expected);
    assert!(!leases.ran_before(&"m".into()).await);
}

#[tokio::test]
async fn an_api_server_that_says_nothing_is_given_up_and_tried_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut leases = of_port(dir.path(), listener.local_addr().unwrap().port());
    leases.deadline = Duration::from_millis(100);
    let error = leases.delta("delta", None).await.unwrap_err().to_string();
    assert!(
        error.ends_with("/leases/delta: no answer within 100ms"),
        "{error}"
    );
    let (tell, progress) = watch::channel(Progress {
        tick: 1,
        full: None,
        delta: None,
    });
    let names = Names {
        full: "full".to_owned(),
        delta: "delta".to_owned(),
    };
    let following = tokio::spawn(follow_snapshots(Arc::new(leases), names, progress));
    let mut open = Vec::new();
    let counting = async {
        loop {
            open.push(listener.accept().await.unwrap());
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), counting).await;
    // The one above, and one of those that follow.
    assert_eq!(open.len(), 2);
    drop(tell);
    let ended = tokio::time::timeout(Duration::from_secs(5), following).await;
    ended.unwrap().unwrap();
}
