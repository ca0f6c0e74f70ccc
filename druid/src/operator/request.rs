//! A request to the API server: it has a deadline, and its failure says what was asked for.

use std::time::Duration;

use thiserror::Error;

/// For one request.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a request failed.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// The API server says no, or was not reached.
    #[error("{what}: {}", said(source))]
    Kube {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// No answer.
    #[error("{0}: the API server did not answer within 10 s")]
    Deadline(&'static str),
}

impl ApiError {
    /// The HTTP status, if it was answered.
    pub(crate) fn status(&self) -> Option<u16> {
        let Self::Kube { source, .. } = self else {
            return None;
        };
        if let kube::Error::Api(status) = source.as_ref() {
            Some(status.code)
        } else {
            None
        }
    }
}

/// What the API server says, and not all that it sends.
fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        format!("{} ({})", status.message, status.code)
    } else {
        chain(error)
    }
}

/// An error with its causes: the first one alone says "failed" and little else.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// One request, with its deadline.
pub(crate) async fn within<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ApiError::Kube {
            what,
            source: Box::new(error),
        }),
        Err(_) => Err(ApiError::Deadline(what)),
    }
}

/// What is gone need not be removed.
pub(crate) fn gone_is_fine(answer: Result<(), ApiError>) -> Result<(), ApiError> {
    match answer {
        Err(error) if error.status() == Some(404) => Ok(()),
        answer => answer,
    }
}
