//! The way of every request to a remote store: a deadline on each try, the one backoff policy, and
//! answers that say no turned into an [`ErrorKind`].
//!
//! Requests and answers are whole in memory: none is larger than a part of an upload or a range that
//! was asked for. So a connection that is cut, in the middle of a body too, costs one part, not the
//! object.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::{CONTENT_LENGTH, RANGE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use opendal::{Buffer, HttpBody, HttpTransport};

use super::ErrorKind;
use super::backoff::{Backoff, chances};
use super::keystone::Keystone;
use super::{refused, retention};

/// How patient a store's client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long one try may take, besides the time that its bytes need at [`SLOWEST`].
    pub(crate) deadline: Duration,
    /// How often to try.
    pub(crate) backoff: Backoff,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            backoff: Backoff::REQUEST,
        }
    }
}

/// A link that carries fewer bytes a second than this has failed.
const SLOWEST: u64 = 128 << 10;

/// The longest answer that is read where its length was not asked for. A page of a listing has less
/// than 8 MiB.
const LONGEST: u64 = 16 << 20;

/// A client of one store.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: reqwest::Client,
    patience: Patience,
    container: String,
    keystone: Option<Arc<Keystone>>,
}

/// One try's end.
enum Tried {
    Answer(StatusCode, http::HeaderMap, Bytes),
    Again(String),
}

impl Transport {
    /// Connects when first used.
    pub(crate) fn new(client: reqwest::Client, container: String, patience: Patience) -> Self {
        Self {
            client,
            patience,
            container,
            keystone: None,
        }
    }

    /// Every request gets its token and its address from there.
    pub(crate) fn with_keystone(mut self, keystone: Keystone) -> Self {
        self.keystone = Some(Arc::new(keystone));
        self
    }

    /// One request, tried as often as is sensible.
    pub(super) async fn send(
        &self,
        request: &Request<Buffer>,
    ) -> Result<Response<Bytes>, ErrorKind> {
        let deadline = self.patience.deadline + allowance(request);
        let mut random = chances();
        let mut failed = 0;
        loop {
            let tried = tokio::time::timeout(deadline, self.once(request)).await;
            failed += 1;
            let why = match tried {
                Ok(Ok(Tried::Answer(status, headers, body))) => {
                    return answer(request.method(), status, headers, body, &self.container);
                }
                Ok(Ok(Tried::Again(why))) => Some(why),
                Ok(Err(kind)) => return Err(kind),
                Err(_) => None,
            };
            match self.patience.backoff.pause(failed, &mut random) {
                Some(pause) => {
                    tracing::debug!(
                        method = %request.method(),
                        host = request.uri().host().unwrap_or_default(),
                        path = request.uri().path(),
                        failed,
                        why = why.as_deref().unwrap_or("no answer in time"),
                        "a request to the store is tried again"
                    );
                    tokio::time::sleep(pause).await;
                }
                None => {
                    return Err(match why {
                        Some(why) => ErrorKind::Unavailable { why, tries: failed },
                        None => ErrorKind::TimedOut {
                            seconds: deadline.as_secs(),
                            tries: failed,
                        },
                    });
                }
            }
        }
    }

    async fn once(&self, request: &Request<Buffer>) -> Result<Tried, ErrorKind> {
        let mut url = request.uri().to_string();
        let mut headers = request.headers().clone();
        let token = match &self.keystone {
            Some(keystone) => match keystone.token(&self.client).await {
                Ok(token) => {
                    token.apply(&mut url, &mut headers);
                    Some(token)
                }
                Err(ErrorKind::Unavailable { why, .. }) => return Ok(Tried::Again(why)),
                Err(kind) => return Err(kind),
            },
            None => None,
        };
        let mut sent = self
            .client
            .request(request.method().clone(), url)
            .headers(headers);
        let body = request.body();
        if !body.is_empty() {
            sent = sent.body(reqwest::Body::wrap(Whole(body.clone())));
        }
        let mut got = match sent.send().await {
            Ok(got) => got,
            Err(error) => return Ok(Tried::Again(causes(&error))),
        };
        let (status, headers) = (got.status(), got.headers().clone());
        let longest = asked_for(request).unwrap_or(0).max(LONGEST);
        let length = match request.method() {
            &Method::HEAD => None,
            _ => got.content_length(),
        };
        let room = length.unwrap_or(0).min(longest);
        let mut body = BytesMut::with_capacity(usize::try_from(room).unwrap_or(0));
        loop {
            match got.chunk().await {
                Ok(Some(piece)) if (body.len() + piece.len()) as u64 > longest => {
                    let why = format!("it answered with more than {longest} bytes");
                    return Err(ErrorKind::Other(why));
                }
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break,
                Err(error) => return Ok(Tried::Again(causes(&error))),
            }
        }
        if length.is_some_and(|length| length != body.len() as u64) {
            return Ok(Tried::Again("its answer ended early".to_owned()));
        }
        if let (StatusCode::UNAUTHORIZED, Some(keystone), Some(token)) =
            (status, &self.keystone, &token)
            && keystone.forget(token).await
        {
            return Ok(Tried::Again("the token has expired".to_owned()));
        }
        let body = body.freeze();
        match refused::temporary(status, &headers, &body) {
            Some(why) => Ok(Tried::Again(why)),
            None => Ok(Tried::Answer(status, headers, body)),
        }
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let answer = self.send(&request).await.map_err(|kind| {
            opendal::Error::new(opendal::ErrorKind::Unexpected, kind.to_string()).set_source(kind)
        })?;
        let (mut parts, body) = answer.into_parts();
        retention::note(&parts.headers, &body);
        parts.extensions.insert(request.uri().clone());
        let length = (*request.method() != Method::HEAD).then_some(body.len() as u64);
        let whole = stream::iter((!body.is_empty()).then(|| Ok(Buffer::from(body))));
        Ok(Response::from_parts(parts, HttpBody::new(whole, length)))
    }
}

/// What services are to see of an answer; a refusal that means the same everywhere is an error here.
fn answer(
    method: &Method,
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
    container: &str,
) -> Result<Response<Bytes>, ErrorKind> {
    if let Some(kind) = refused::kind(status, &headers, &body, container) {
        return Err(kind);
    }
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    if *method != Method::HEAD {
        // The transport may have unpacked it.
        let length = answer.body().len();
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    Ok(answer)
}

/// How many bytes a range asks for.
fn asked_for(request: &Request<Buffer>) -> Option<u64> {
    let range = request.headers().get(RANGE)?.to_str().ok()?;
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some(last.saturating_sub(first).saturating_add(1))
}

/// The time that the bytes of a request and its answer may take.
fn allowance(request: &Request<Buffer>) -> Duration {
    let sent = request.body().len() as u64;
    let bytes = sent.saturating_add(asked_for(request).unwrap_or(0));
    Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST)
}

/// An error with everything that led to it.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The body of a request, its pieces sent as they are.
struct Whole(Buffer);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
