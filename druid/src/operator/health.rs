//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use druid_core::operator::Gates;
use druid_core::operator::numbers::About;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::{compaction, etcds, ops_task};
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
}

impl Service for Arc<Health> {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/healthz" => serve::text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let (status, says) = self.stage.borrow().readiness();
                serve::text(status, says)
            }
            "/metrics" => serve::reply(StatusCode::OK, METRICS, self.metrics()),
            _ => serve::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

impl Health {
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
        ];
        parts.concat()
    }
}
