//! Whether etcd serves: a linearizable read through it, over and over.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::settings::Settings;
use super::{Args, Ask};
use crate::etcd::{Client, Endpoint, Error, Kind, Tls};
use crate::serve::{self, Answer, Service};

/// Between two reads while it does not serve.
const WHILE_NOT: Duration = Duration::from_millis(100);
/// Between two reads while it does.
const WHILE_READY: Duration = Duration::from_secs(1);
/// How long a read may take. One that waits for a majority succeeds as soon as there is one.
const DEADLINE: Duration = Duration::from_secs(2);
/// So many failures later the certificates are read again: they may have been renewed.
const REREAD: u32 = 10;
/// What is read. It need not be there.
const KEY: &[u8] = b"foo";

/// Watches over it.
#[derive(Debug)]
pub(crate) struct Probe {
    endpoint: String,
    tls: Tls,
    ready: AtomicBool,
    ever: AtomicBool,
}

impl Probe {
    /// Begins. It ends with the last clone.
    pub(crate) fn start(args: &Args, settings: &Settings) -> Arc<Self> {
        let scheme = if settings.client_tls { "https" } else { "http" };
        let host = match args.etcd_server_name.as_str() {
            "" => "localhost",
            name => name,
        };
        let given = |path: &Option<PathBuf>| path.clone().filter(|_| settings.client_tls);
        let probe = Arc::new(Self {
            endpoint: format!("{scheme}://{host}:{}", args.etcd_client_port),
            tls: Tls {
                ca: given(&settings.ca),
                cert: given(&args.etcd_client_cert_path),
                key: given(&args.etcd_client_key_path),
            },
            ready: AtomicBool::new(false),
            ever: AtomicBool::new(false),
        });
        tokio::spawn(watch(Arc::downgrade(&probe)));
        probe
    }

    /// Whether it served when it was last asked.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether it ever did.
    pub(crate) fn was_ready(&self) -> bool {
        self.ever.load(Ordering::Relaxed)
    }

    fn client(&self) -> Result<Client, String> {
        let endpoint: Endpoint = self
            .endpoint
            .parse()
            .map_err(|error| format!("--etcd-server-name and --etcd-client-port: {error}"))?;
        let tls = self.tls.read().map_err(|error| error.to_string())?;
        Client::new(endpoint, tls.as_ref()).map_err(|error| error.to_string())
    }

    fn found(&self, ready: bool, why: &dyn std::fmt::Display) {
        if self.ready.swap(ready, Ordering::Relaxed) != ready {
            if ready {
                self.ever.store(true, Ordering::Relaxed);
                tracing::info!("etcd serves");
            } else {
                tracing::warn!(%why, "etcd does not serve any more");
            }
        }
    }
}

async fn watch(probe: std::sync::Weak<Probe>) {
    let mut client = None;
    let mut failures: u32 = 0;
    loop {
        let Some(probe) = probe.upgrade() else { return };
        if client.is_none() || failures % REREAD == REREAD - 1 {
            match probe.client() {
                Ok(new) => client = Some(new),
                Err(why) if failures.is_multiple_of(REREAD * 60) => {
                    tracing::error!(why, "etcd cannot be asked whether it serves");
                }
                Err(_) => {}
            }
        }
        let (ready, why) = match &client {
            None => (false, "it cannot be asked".to_owned()),
            Some(client) => match client.get(KEY, true, DEADLINE).await {
                Ok(_) => (true, String::new()),
                Err(error) => (serves_nevertheless(&error), error.to_string()),
            },
        };
        probe.found(ready, &why);
        failures = if ready { 0 } else { failures.wrapping_add(1) };
        drop(probe);
        tokio::time::sleep(if ready { WHILE_READY } else { WHILE_NOT }).await;
    }
}

/// Who may read is asked after a majority was.
fn serves_nevertheless(error: &Error) -> bool {
    matches!(
        error.kind,
        Kind::Unauthenticated(_) | Kind::PermissionDenied(_)
    )
}

/// `/readyz` and `/stop`.
#[derive(Debug)]
pub(crate) struct Answers {
    probe: Arc<Probe>,
    asks: mpsc::Sender<Ask>,
}

impl Answers {
    pub(crate) fn new(probe: Arc<Probe>, asks: mpsc::Sender<Ask>) -> Self {
        Self { probe, asks }
    }
}

impl Service for Answers {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/readyz" if self.probe.is_ready() => serve::empty(StatusCode::OK),
            "/readyz" => serve::empty(StatusCode::SERVICE_UNAVAILABLE),
            "/stop" => {
                if request.method() == Method::POST {
                    // A full queue has such a request in it already.
                    let _ = self.asks.try_send(Ask::Stop);
                }
                serve::empty(StatusCode::OK)
            }
            _ => serve::empty(StatusCode::NOT_FOUND),
        }
    }
}
