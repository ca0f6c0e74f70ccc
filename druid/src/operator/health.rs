//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use druid_core::operator::Gates;
use druid_core::operator::numbers::About;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::{compaction, etcds, ops_task, webhook};
use crate::serve::{self, Answer, Service};

/// What Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How far the operator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The custom resources are not known to be defined yet.
    Begins,
    /// Another leads; ready to take over.
    StandsBy,
    /// It works.
    Leads,
    /// It was asked to end.
    Ends,
}

impl Stage {
    fn readiness(self) -> (StatusCode, &'static str) {
        match self {
            Self::Begins => (
                StatusCode::SERVICE_UNAVAILABLE,
                "waiting for the custom resources\n",
            ),
            Self::StandsBy => (StatusCode::OK, "ok: another leads\n"),
            Self::Leads => (StatusCode::OK, "ok: leads\n"),
            Self::Ends => (StatusCode::SERVICE_UNAVAILABLE, "ends\n"),
        }
    }
}

/// What answers.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) stage: watch::Receiver<Stage>,
    pub(super) gates: Gates,
    pub(super) lease: Option<String>,
    pub(super) etcds: etcds::Counts,
    pub(super) tasks: ops_task::Counts,
    pub(super) compaction: compaction::Counts,
    /// The webhook, if there is one.
    pub(super) webhook: Option<Asked>,
}

/// The webhook, which the API server asks.
#[derive(Debug)]
pub(super) struct Asked {
    /// Whether it is answered.
    pub(super) ready: watch::Receiver<bool>,
    pub(super) numbers: webhook::Counts,
}

impl Service for Arc<Health> {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/healthz" => serve::text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let (status, says) = self.readiness();
                serve::text(status, says)
            }
            "/metrics" => serve::reply(StatusCode::OK, METRICS, self.metrics()),
            _ => serve::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

impl Health {
    /// No pod is asked that is not ready.
    fn readiness(&self) -> (StatusCode, &'static str) {
        let stage = self.stage.borrow().readiness();
        let webhook = self.webhook.as_ref();
        if stage.0 == StatusCode::OK && webhook.is_some_and(|it| !*it.ready.borrow()) {
            let says = "the webhook has no certificate yet that the API server trusts\n";
            return (StatusCode::SERVICE_UNAVAILABLE, says);
        }
        stage
    }

    fn metrics(&self) -> String {
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            gates: self.gates,
            lease: self.lease.as_deref(),
            leads: *self.stage.borrow() == Stage::Leads,
        };
        let parts = [
            about.text(),
            self.etcds.text(),
            self.tasks.text(),
            self.compaction.text(),
            self.webhook
                .as_ref()
                .map(|it| it.numbers.text())
                .unwrap_or_default(),
        ];
        parts.concat()
    }
}
