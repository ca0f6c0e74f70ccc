//! `druid server` beside genuine etcd, in this process.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser as _;
use http::StatusCode;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::etcd::Client;
use crate::etcd::tests::common::{Cluster, Release, free_ports};
use crate::server;
use crate::web::{Trust, Web};

const D: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: server::Args,
}

pub(super) struct Sidecar {
    pub(super) port: u16,
    pub(super) etcd: Client,
    root: TempDir,
    args: Vec<String>,
    server: Option<JoinHandle<()>>,
    _cluster: Cluster,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Sidecar {
    /// One without TLS that leads and has taken its first full snapshot.
    pub(super) async fn plain(extra: &[String]) -> Self {
        let web = Web::new(&Trust::default()).unwrap();
        Self::start(&web, "http", extra).await
    }

    /// The same; `web` reaches it.
    pub(super) async fn start(web: &Web, scheme: &str, extra: &[String]) -> Self {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(&[Release::V3_5_27]));
        let cluster = cluster.await.unwrap();
        let root = tempfile::tempdir().unwrap();
        let port = free_ports(1)[0];
        let url = &cluster.nodes[0].client_url;
        let below = |what: &str| root.path().join(what).display().to_string();
        let mut args = vec![
            "server".to_owned(),
            format!("--server-port={port}"),
            format!("--endpoints={url}"),
            format!("--service-endpoints={url}"),
            format!("--data-dir={}", below("data/new.etcd")),
            format!("--store-container={}", below("bkp")),
            format!("--snapstore-temp-directory={}", below("temp")),
            format!("--restoration-temp-snapshots-dir={}", below("restore")),
            "--storage-provider=Local".to_owned(),
            "--store-prefix=p".to_owned(),
            "--delta-snapshot-period=1h".to_owned(),
            "--reelection-period=1s".to_owned(),
        ];
        args.extend_from_slice(extra);
        std::fs::create_dir_all(root.path().join("data")).unwrap();
        let etcd = Client::new(url.parse().unwrap(), None).unwrap();
        let mut sidecar = Self {
            port,
            etcd,
            root,
            args,
            server: None,
            _cluster: cluster,
        };
        sidecar.run();
        let health = format!("{scheme}://127.0.0.1:{port}/healthz");
        let began = Instant::now();
        loop {
            let leads = web.get(&health, D).await;
            let leads = leads.is_ok_and(|it| it.status == StatusCode::OK);
            if leads && sidecar.fulls().len() == 1 {
                return sidecar;
            }
            assert!(began.elapsed() < PATIENCE, "the sidecar does not lead");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub(super) fn run(&mut self) {
        let args = Line::try_parse_from(&self.args).unwrap().args;
        self.server = Some(tokio::spawn(async move {
            if let Err(error) = server::serve(&args).await {
                panic!("{error}");
            }
        }));
    }

    pub(super) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.root.path().join("bkp/p/v2")
    }

    /// The names of all full snapshots.
    pub(super) fn fulls(&self) -> Vec<String> {
        names(&self.store(), "Full-")
    }

    pub(super) fn deltas(&self) -> Vec<String> {
        names(&self.store(), "Incr-")
    }

    /// Writes so many keys. Returns the revision.
    pub(super) async fn write(&self, keys: usize) -> i64 {
        let mut revision = 0;
        for key in 0..keys {
            let key = format!("k{key}");
            revision = self.etcd.put(key.as_bytes(), b"v", None, D).await.unwrap();
        }
        revision
    }
}

fn names(directory: &Path, begin: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|it| it.starts_with(begin))
        .collect();
    names.sort();
    names
}
