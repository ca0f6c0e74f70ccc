//! Answers the API server. What the answer depends on is read from the API server each time, not from what
//! watches have told: they may be behind, and an Etcd that was just made, or just had its protection
//! lifted, has to be seen; and of the replicas only the one that leads has watches at all.

use std::time::Duration;

use druid_core::api::names;
use druid_core::operator::config::Protection;
use druid_core::protection::numbers::End;
use druid_core::protection::{
    Guarded, Item, Next, Object, PATH, Request as Asked, Verdict, failure, judge, scaled,
};
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;

use super::Counts;
use crate::operator::request::{ApiError, within};
use crate::serve::{self, Answer, Service};

/// For an answer. The API server waits for 10 s.
const DEADLINE: Duration = Duration::from_secs(8);
/// An object as it was and as it is to be; the API server takes no more than 3 MiB at once.
const LARGEST: usize = 4 << 20;

/// Why there is no verdict.
#[derive(Debug, Error)]
enum AnswerError {
    #[error("{of} could not be looked up, so it is not known who may change {item}: {source}")]
    LookUp {
        of: &'static str,
        item: String,
        source: ApiError,
    },
    #[error("it is not known within {} s who may change {item}: try again", DEADLINE.as_secs())]
    Late { item: String },
}

/// What answers.
pub(super) struct Webhook {
    client: Client,
    etcds: ApiResource,
    rules: Protection,
    numbers: Counts,
    /// Whether this replica is about to end.
    leaves: watch::Receiver<bool>,
}

impl Service for Webhook {
    /// Longer than an API server keeps a connection that it does not use (90 s): if we ended it, a request
    /// could be on its way.
    const HEAD: Duration = Duration::from_mins(2);

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let mut answer = self.answered(request).await;
        if *self.leaves.borrow() {
            // Whoever keeps a connection until it ends may just be asking then.
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        answer
    }
}

impl Webhook {
    async fn answered(&self, request: Request<Incoming>) -> Answer {
        if request.uri().path() != PATH {
            return serve::text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        if request.method() != Method::POST {
            return serve::text(StatusCode::METHOD_NOT_ALLOWED, "POST an AdmissionReview\n");
        }
        let body = Limited::new(request.into_body(), LARGEST).collect();
        let body = match tokio::time::timeout(DEADLINE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return self.malformed(&error.to_string()),
            Err(_) => return self.malformed("the request did not end in time"),
        };
        match Asked::read(&body) {
            Ok(asked) => json(&self.review(&asked).await),
            Err(error) => self.malformed(&error.to_string()),
        }
    }

    pub(super) fn new(
        client: Client,
        rules: Protection,
        numbers: Counts,
        leaves: watch::Receiver<bool>,
    ) -> Self {
        let kind = GroupVersionKind::gvk(names::GROUP, names::VERSION, "Etcd");
        Self {
            client,
            etcds: ApiResource::from_gvk(&kind),
            rules,
            numbers,
            leaves,
        }
    }

    pub(super) async fn review(&self, asked: &Asked) -> Value {
        let answer = match tokio::time::timeout(DEADLINE, self.verdict(asked)).await {
            Ok(answer) => answer,
            Err(_) => Err(AnswerError::Late { item: item(asked) }),
        };
        match answer {
            Ok(verdict) => {
                self.numbers.with(|it| it.count(End::with(&verdict)));
                match &verdict {
                    Verdict::Allowed(why) => tracing::debug!(?why, user = asked.user, "allowed"),
                    Verdict::Warned(warning) => tracing::info!(%warning, user = asked.user),
                    Verdict::Denied(denial) => tracing::info!(%denial, user = asked.user),
                }
                verdict.review(&asked.uid)
            }
            Err(error) => {
                self.numbers.with(|it| it.count(End::FAILED));
                tracing::warn!(%error, user = asked.user, "the webhook has no answer");
                failure(&asked.uid, &error.to_string())
            }
        }
    }

    async fn verdict(&self, asked: &Asked) -> Result<Verdict, AnswerError> {
        let mut next = judge(asked, &self.rules);
        loop {
            next = match next {
                Next::Answer(verdict) => return Ok(verdict),
                Next::StatefulSet(item) => scaled(asked, self.stateful_set(&item).await?),
                Next::Etcds(case) => {
                    let mut etcds = Vec::new();
                    for name in case.etcds() {
                        etcds.extend(self.etcd(asked, name).await?);
                    }
                    return Ok(case.decide(&self.rules, &etcds));
                }
            }
        }
    }

    async fn stateful_set(&self, item: &Item) -> Result<Option<Object>, AnswerError> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), &item.namespace);
        let found = within("read it", api.get_metadata_opt(&item.name)).await;
        let found = found.map_err(|source| AnswerError::LookUp {
            of: "the StatefulSet",
            item: item.to_string(),
            source,
        })?;
        Ok(found.map(|it| Object::of(it.labels(), it.metadata.deletion_timestamp.is_some())))
    }

    async fn etcd(&self, asked: &Asked, name: &str) -> Result<Option<Guarded>, AnswerError> {
        let client = self.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &asked.namespace, &self.etcds);
        let found = within("read it", api.get_opt(name)).await;
        let found = found.map_err(|source| AnswerError::LookUp {
            of: "its Etcd",
            item: item(asked),
            source,
        })?;
        // What was read as JSON is JSON.
        let found = found.and_then(|it| serde_json::to_value(it).ok());
        Ok(found.as_ref().map(Guarded::of))
    }

    fn malformed(&self, why: &str) -> Answer {
        self.numbers.with(|it| it.count(End::MALFORMED));
        serve::text(StatusCode::BAD_REQUEST, format!("{why}\n"))
    }
}

fn item(asked: &Asked) -> String {
    match asked.component {
        Some(component) => asked.item(component).to_string(),
        None => format!("{}/{}", asked.namespace, asked.name),
    }
}

fn json(review: &Value) -> Answer {
    serve::reply(StatusCode::OK, "application/json", review.to_string())
}
