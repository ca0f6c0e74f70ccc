//! The paths of the server, with etcd-backup-restore's answers.

use std::sync::Arc;
use std::time::Duration;

use druid_core::agent::membership::Seen;
use druid_core::agent::metrics::Gauge;
use druid_core::backup::initialize::Mode;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::watch;

use super::clients::Clients;
use super::delegate::{self, Delegate};
use super::initialization::Initialization;
use super::leadership::Leadership;
use super::members::Members;
use super::metrics::Numbers;
use super::mounted::{MountedError, Source};
use super::parts::{self, Later, NoSnapshot, Snapshots};
use crate::observe;
use crate::serve::{self, Answer, Service};

const JSON: &str = "application/json";
/// For the member to answer. Three of them pass if it hangs.
const MEMBER: Duration = Duration::from_secs(2);
/// What Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why no configuration can be given.
#[derive(Debug, Error)]
enum RenderError {
    #[error(transparent)]
    Mounted(#[from] MountedError),
    #[error("this member joins a running cluster, and no member of it answers: start a majority")]
    NoList,
}

/// What answers.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) source: Source,
    pub(crate) clients: Arc<Clients>,
    pub(crate) members: Arc<Members>,
    pub(crate) initialization: Arc<Initialization>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) snapshots: Option<Arc<dyn Snapshots>>,
    pub(crate) delegate: Delegate,
    pub(crate) numbers: Numbers,
}

impl Service for Api {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        match uri.path() {
            "/healthz" => self.healthz(),
            "/backup/healthz" => self.backup_healthz(),
            "/initialization/start" => {
                self.initialization.start(mode(query));
                serve::empty(StatusCode::OK)
            }
            "/initialization/status" => {
                serve::text(StatusCode::OK, self.initialization.status().to_string())
            }
            "/config" => self.config().await,
            "/metrics" => self.metrics(),
            "/member" => self.member().await,
            "/snapshot/full" => match is_final(query) {
                Ok(is_final) => self.snapshot(&request, move |it| it.full(is_final)).await,
                Err(why) => serve::text(StatusCode::BAD_REQUEST, why),
            },
            "/snapshot/delta" => self.snapshot(&request, |it| it.delta()).await,
            "/snapshot/verify" => match parameter(query, "name") {
                Some(name) if !name.is_empty() => {
                    let name = name.to_owned();
                    self.snapshot(&request, move |it| it.verify(name)).await
                }
                Some(_) | None => {
                    let why = "say which: /snapshot/verify?name=NAME\n";
                    serve::text(StatusCode::BAD_REQUEST, why)
                }
            },
            "/backup/restorable" => self.restorable().await,
            "/snapshot/latest" => self.latest(&request).await,
            _ => serve::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

impl Api {
    fn leads(&self) -> bool {
        *self.leadership.borrow() == Leadership::Leads
    }

    /// Whether this is the leader's, which is how it is found.
    fn healthz(&self) -> Answer {
        let health = self.leads();
        json(
            if health {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            },
            &json!({"health": health}),
        )
    }

    /// Whether the backup is as it should be.
    fn backup_healthz(&self) -> Answer {
        let Some(snapshots) = &self.snapshots else {
            let says = json!({"healthy": true, "says": "no store is configured"});
            return json(StatusCode::OK, &says);
        };
        let standing = snapshots.standing();
        let status = if standing.good {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = json!({
            "healthy": standing.good,
            "says": standing.says,
            "coveredAgeSeconds": standing.age,
        });
        json(status, &body)
    }

    /// By whichever member is asked: nobody leads when it matters.
    async fn restorable(&self) -> Answer {
        let Some(snapshots) = &self.snapshots else {
            return serve::text(StatusCode::METHOD_NOT_ALLOWED, NO_STORE);
        };
        answered(snapshots.restorable().await)
    }

    /// By the leader's sidecar, which knows the digests of what it wrote; by ours if that is not reached:
    /// the store is the same.
    async fn latest(&self, request: &Request<Incoming>) -> Answer {
        let Some(snapshots) = &self.snapshots else {
            return serve::text(StatusCode::METHOD_NOT_ALLOWED, NO_STORE);
        };
        if !self.leads() && !request.headers().contains_key(delegate::HEADER) {
            match self.delegate.try_hand_on("/snapshot/latest").await {
                Ok(answer) => return answer,
                Err(why) => tracing::info!(why, "the store is listed here, without the leader"),
            }
        }
        answered(snapshots.latest().await)
    }

    /// What the member beside us answers, and what it knows of its cluster, for those who do not reach it.
    async fn member(&self) -> Answer {
        let local = self.clients.local();
        let name = local.endpoint().as_str().into();
        let seen = observe::etcd(&[(name, local)], MEMBER).await;
        match serde_json::to_value(&seen) {
            Ok(seen) => json(StatusCode::OK, &seen),
            Err(error) => serve::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn metrics(&self) -> Answer {
        if let Some(snapshots) = &self.snapshots {
            let standing = snapshots.standing();
            self.numbers.with(|it| {
                it.set(Gauge::Healthy, if standing.good { 1.0 } else { 0.0 });
                match standing.age {
                    Some(age) => it.set(Gauge::CoveredAge, age),
                    None => it.leave_out(Gauge::CoveredAge),
                }
            });
        }
        serve::reply(StatusCode::OK, METRICS, self.numbers.text())
    }

    async fn config(&self) -> Answer {
        match self.render().await {
            Ok(yaml) => serve::reply(StatusCode::OK, "application/yaml", yaml),
            Err(error) => {
                tracing::error!(%error, "no configuration can be given");
                serve::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
            }
        }
    }

    async fn render(&self) -> Result<String, RenderError> {
        let ours = self.source.ours()?;
        let seen = if ours.file.several() {
            let recent = self.members.recent(&self.clients.service()).await;
            recent.ok_or(RenderError::NoList)?
        } else {
            Seen::Silent
        };
        let rendered = ours.file.render(&ours.name, &seen);
        Ok(rendered.map_err(|error| self.source.error(error))?)
    }

    /// By us if our member leads, else by the leader's sidecar.
    async fn snapshot(
        &self,
        request: &Request<Incoming>,
        take: impl for<'a> FnOnce(&'a dyn Snapshots) -> Later<'a, Result<Value, NoSnapshot>> + Send,
    ) -> Answer {
        let Some(snapshots) = &self.snapshots else {
            return serve::text(StatusCode::METHOD_NOT_ALLOWED, NO_STORE);
        };
        if !self.leads() {
            if request.headers().contains_key(delegate::HEADER) {
                let why = "this member does not lead any more: ask again\n";
                return serve::text(StatusCode::METHOD_NOT_ALLOWED, why);
            }
            let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
            return self.delegate.hand_on(path).await;
        }
        answered(take(snapshots.as_ref()).await)
    }
}

const NO_STORE: &str = "no store is configured: give --storage-provider\n";

fn answered(answer: Result<Value, NoSnapshot>) -> Answer {
    match answer {
        Ok(body) => json(StatusCode::OK, &body),
        Err(why @ NoSnapshot::Failed(_)) => {
            serve::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n"))
        }
        Err(why @ NoSnapshot::Damaged(_)) => {
            serve::text(StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n"))
        }
        Err(why @ NoSnapshot::Busy) => {
            let mut answer = serve::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
            let headers = answer.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(parts::RETRY_AFTER));
            answer
        }
    }
}

fn json(status: StatusCode, body: &Value) -> Answer {
    serve::reply(status, JSON, body.to_string())
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Anything but `sanity` is thorough.
fn mode(query: &str) -> Mode {
    match parameter(query, "mode") {
        Some("sanity") => Mode::Sanity,
        Some(_) | None => Mode::Full,
    }
}

/// As Go's `strconv.ParseBool` has it.
fn is_final(query: &str) -> Result<bool, String> {
    match parameter(query, "final") {
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("final={other:?} is neither true nor false\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_go_reads_them() {
        assert_eq!(mode("mode=sanity"), Mode::Sanity);
        for full in ["", "mode=full", "mode=", "mode=Sanity", "x=1&mod=sanity"] {
            assert_eq!(mode(full), Mode::Full, "{full}");
        }
        assert_eq!(is_final("a=b&final=true"), Ok(true));
        assert_eq!(is_final("final=0"), Ok(false));
        assert_eq!(is_final("finalx=true"), Ok(false));
        assert!(is_final("final=yes").is_err());
    }
}
