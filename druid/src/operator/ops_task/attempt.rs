//! One attempt: asks the sidecar beside the leader. The answer, and whether it is worth another attempt, is judged
//! elsewhere.

use std::time::Duration;

use druid_core::ops_task::{Attempt, Done, Trouble, latest, taken};
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::Full;

use super::api::Apis;
use crate::clock::now;
use crate::operator::leading::{self, Leading, Sidecars, unanswered};

/// For a look at the newest snapshot: the sidecar lists the store for it.
const LOOK: Duration = Duration::from_secs(15);
/// So much later than the attempt its request would end by itself: the attempt's end is the one that
/// is told.
const MARGIN: Duration = Duration::from_secs(1);

/// Tries, within the time that it has.
pub(super) async fn attempt(
    apis: Apis,
    sidecars: Sidecars,
    attempt: Attempt,
) -> Result<Done, Trouble> {
    let left = attempt.by.duration_since(now());
    let left = Duration::try_from(left).unwrap_or_default();
    match tokio::time::timeout(left, tried(&apis, &sidecars, &attempt, left)).await {
        Ok(result) => result,
        Err(_) => Err(Trouble::TooLate(attempt.limit)),
    }
}

async fn tried(
    apis: &Apis,
    sidecars: &Sidecars,
    attempt: &Attempt,
    left: Duration,
) -> Result<Done, Trouble> {
    let Leading { web, base } = leading::find(&apis.client, sidecars, &attempt.sidecar).await?;
    let operation = &attempt.operation;
    if let Some(since) = attempt.newer_than {
        let url = format!("{base}/snapshot/latest");
        let answer = web.get(&url, LOOK.min(left + MARGIN)).await;
        let answer = answer.map_err(|error| unanswered(&error))?;
        let status = answer.status.as_u16();
        if let Some(snapshot) = latest(operation, since, status, &answer.body) {
            return Ok(Done::Taken(snapshot));
        }
    }
    if !attempt.take {
        return Err(Trouble::TooLate(attempt.limit));
    }
    let request = Request::post(format!("{base}{}", operation.path()))
        .header(CONTENT_LENGTH, 0)
        .body(Full::default())
        .map_err(|error| Trouble::Request(error.to_string()))?;
    let answer = web.send(request, left + MARGIN).await;
    let answer = answer.map_err(|error| unanswered(&error))?;
    taken(operation, answer.status.as_u16(), &answer.body)
}
