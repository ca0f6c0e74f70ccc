//! Asks the sidecar: is the data in order, and what does etcd start with? It may not be there yet, so
//! nothing is given up, and why it takes so long is told.

use std::time::{Duration, Instant};

use bytes::Bytes;
use druid_core::agent::handshake::{self, Handshake, Next, Status};
use druid_core::agent::marker;
use druid_core::backup::initialize::Mode;
use http::StatusCode;

use super::Args;
use crate::web::{Answer, Trust, Web, WebError};

/// For an answer that costs nothing.
const QUICK: Duration = Duration::from_secs(10);
/// `/config` asks the other members, and etcd-backup-restore takes its time over it.
const SLOW: Duration = Duration::from_secs(90);
/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Sidecar {
    url: String,
    web: Web,
}

/// Tells each trouble once, and again from time to time.
#[derive(Debug, Default)]
struct Troubles {
    last: Option<(String, Instant)>,
    row: u32,
}

impl Troubles {
    /// Returns how long to wait before it is tried again.
    fn on(&mut self, what: &'static str, why: String) -> Duration {
        let old = self
            .last
            .as_ref()
            .is_some_and(|(said, when)| *said == why && when.elapsed() < TELL_EVERY);
        if !old {
            tracing::warn!(why, "{what}; it is tried again");
            self.last = Some((why, Instant::now()));
        }
        self.row = self.row.saturating_add(1);
        handshake::pause(self.row)
    }

    fn over(&mut self) {
        self.row = 0;
    }
}

impl Sidecar {
    pub(crate) fn new(args: &Args) -> Result<Self, WebError> {
        let trust = match &args.backup_restore_ca_cert_bundle_path {
            Some(path) => Trust::of_file(path)?,
            None => Trust::default(),
        };
        Ok(Self {
            url: args.sidecar_url(),
            web: Web::new(&trust)?,
        })
    }

    /// Returns etcd's configuration, once the data is in order.
    pub(crate) async fn prepare(&self, mode: Mode) -> Bytes {
        self.initialise(mode).await;
        self.config().await
    }

    async fn initialise(&self, mode: Mode) {
        let mut handshake = Handshake::default();
        let mut troubles = Troubles::default();
        tracing::info!(
            sidecar = self.url,
            mode = marker::word(mode),
            "waiting for the data"
        );
        loop {
            let next = match self.status().await {
                Ok(status) => handshake.on(status),
                Err(why) => {
                    let pause = troubles.on("the sidecar does not answer", why);
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            let pause = match next {
                Next::Done => return,
                Next::Wait(pause) => pause,
                Next::Again(pause) => {
                    tracing::error!(
                        ?pause,
                        "the sidecar cannot bring the data in order: see its log"
                    );
                    pause
                }
                Next::Begin => match self.begin(mode).await {
                    Ok(()) => handshake.begun(),
                    Err(why) => troubles.on("the sidecar does not begin", why),
                },
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn status(&self) -> Result<Status, String> {
        let answer = self.ok("/initialization/status", QUICK).await?;
        answer
            .text()
            .parse()
            .map_err(|error: handshake::UnknownStatus| error.to_string())
    }

    async fn begin(&self, mode: Mode) -> Result<(), String> {
        let path = format!("/initialization/start?mode={}", marker::word(mode));
        self.ok(&path, QUICK).await.map(|_| ())
    }

    async fn config(&self) -> Bytes {
        let mut troubles = Troubles::default();
        loop {
            match self.ok("/config", SLOW).await {
                Ok(answer) => {
                    troubles.over();
                    tracing::info!("the data is in order and the configuration is here");
                    return answer.body;
                }
                Err(why) => {
                    let pause = troubles.on("the sidecar gives no configuration", why);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn ok(&self, path: &str, deadline: Duration) -> Result<Answer, String> {
        let url = format!("{}{path}", self.url);
        let answer = self
            .web
            .get(&url, deadline)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status == StatusCode::OK {
            Ok(answer)
        } else {
            Err(format!("{url}: {}: {}", answer.status, answer.text()))
        }
    }
}
