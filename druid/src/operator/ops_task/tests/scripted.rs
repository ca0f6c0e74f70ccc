//! A sidecar that does what a test says.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::serve::tls::Certificates;
use crate::serve::{self, Answer, Service};

/// How a request for a snapshot is answered.
#[derive(Clone, Debug)]
pub(in crate::operator) enum Does {
    /// With a snapshot, after a while.
    Takes(Duration),
    /// Never; the snapshot is there all the same after a while.
    TakesInSilence(Duration),
    /// Never.
    Hangs,
    /// Otherwise.
    Says(u16, &'static str),
}

#[derive(Debug)]
struct Script {
    leads: AtomicBool,
    does: Mutex<Vec<Does>>,
    asked: Mutex<Vec<String>>,
    newest: Mutex<Value>,
    under_way: AtomicUsize,
    at_once: AtomicUsize,
}

pub(in crate::operator) struct Scripted {
    pub(in crate::operator) port: u16,
    script: Arc<Script>,
    _stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scripted {
    /// Each answer is for one request; the last one is for all that follow.
    pub(in crate::operator) async fn new(does: &[Does]) -> Self {
        Self::at("127.0.0.1:0", None, true, does).await
    }

    /// Beside a member that leads, or not.
    pub(super) async fn at(
        address: &str,
        certificates: Option<Certificates>,
        leads: bool,
        does: &[Does],
    ) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Script {
            does: Mutex::new(does.iter().rev().cloned().collect()),
            leads: AtomicBool::new(leads),
            asked: Mutex::default(),
            newest: Mutex::new(Value::Null),
            under_way: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let serving = serve::serve(
            listener,
            certificates,
            Arc::new(Arc::clone(&script)),
            stopped,
        );
        Self {
            port,
            script,
            _stop: stop,
            serving: tokio::spawn(serving),
        }
    }

    /// Its member leads from now on, or does not.
    pub(in crate::operator) fn leads(&self, so: bool) {
        self.script.leads.store(so, Ordering::SeqCst);
    }

    /// A snapshot is there.
    pub(super) fn take(&self) {
        self.script.take();
    }

    /// Method and path of every request, but not whether it leads.
    pub(in crate::operator) fn asked(&self) -> Vec<String> {
        self.script.asked.lock().unwrap().clone()
    }

    /// The newest snapshot; null if there is none.
    pub(super) fn newest(&self) -> Value {
        self.script.newest.lock().unwrap().clone()
    }

    /// Requests for snapshots.
    pub(in crate::operator) fn posts(&self) -> usize {
        let asked = self.asked();
        asked.iter().filter(|it| it.starts_with("POST")).count()
    }

    /// How many snapshots are being taken.
    pub(super) fn under_way(&self) -> usize {
        self.script.under_way.load(Ordering::SeqCst)
    }

    /// How many there were at most at once.
    pub(super) fn at_once(&self) -> usize {
        self.script.at_once.load(Ordering::SeqCst)
    }
}

/// Counts a request as long as its client waits.
struct UnderWay(Arc<Script>);

impl UnderWay {
    fn new(script: Arc<Script>) -> Self {
        let now = script.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        script.at_once.fetch_max(now, Ordering::SeqCst);
        Self(script)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for Script {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if request.uri().path() == "/healthz" {
            return serve::empty(if self.leads.load(Ordering::SeqCst) {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            });
        }
        let asked = format!("{} {}", request.method(), request.uri());
        self.asked.lock().unwrap().push(asked);
        let newest = || self.newest.lock().unwrap().clone();
        if request.uri().path() == "/snapshot/latest" {
            let body = json!({ "fullSnapshot": newest(), "deltaSnapshots": null });
            return json(&body);
        }
        if request.uri().path() != "/snapshot/verify" {
            // As etcd-druid asks.
            assert_eq!(request.method(), "POST");
            assert_eq!(request.headers()["content-length"], "0");
        }
        let does = {
            let mut does = self.does.lock().unwrap();
            let next = does.last().cloned().unwrap();
            if does.len() > 1 {
                does.pop();
            }
            next
        };
        match does {
            Does::Takes(after) => {
                tokio::time::sleep(after).await;
                self.take();
                json(&newest())
            }
            Does::TakesInSilence(after) => {
                tokio::time::sleep(after).await;
                self.take();
                std::future::pending().await
            }
            Does::Hangs => std::future::pending().await,
            Does::Says(status, body) => serve::reply(
                StatusCode::from_u16(status).unwrap(),
                "application/json",
                body,
            ),
        }
    }
}

impl Script {
    fn take(&self) {
        let now = clock::now();
        let created = jiff::Timestamp::from_second(now.as_second()).unwrap();
        *self.newest.lock().unwrap() = json!({
            "kind": "Full", "snapName": format!("Full-{}", now.as_millisecond()),
            "startRevision": 0, "lastRevision": 7, "createdOn": created.to_string(), "isFinal": false,
        });
    }
}

fn json(body: &Value) -> Answer {
    serve::reply(StatusCode::OK, "application/json", body.to_string())
}

/// So that requests are counted while they are under way.
impl Service for Arc<Script> {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let _counted = (request.method() == "POST").then(|| UnderWay::new(Arc::clone(self)));
        Script::answer(self, request).await
    }
}
