//! One attempt. A snapshot is asked for at the sidecar beside the leader; the answer, and whether it is
//! worth another attempt, is judged elsewhere.

use std::time::Duration;

use druid_core::ops_task::{Attempt, Done, Kind, Take, Trouble, latest};
use tokio::time::Instant;

use super::api::Apis;
use super::works::Tell;
use super::{compaction, maintain, recover};
use crate::clock::now;
use crate::operator::leading::{self, LISTING, MARGIN, Sidecars};

/// Tries, within the time that it has.
pub(super) async fn attempt(
    apis: Apis,
    sidecars: Sidecars,
    attempt: Attempt,
    tell: Tell,
) -> Result<Done, Trouble> {
    let left = attempt.by.duration_since(now());
    let left = Duration::try_from(left).unwrap_or_default();
    let tried = async {
        match &attempt.operation.kind {
            Kind::Snapshot(take) => snapshot(&apis, &sidecars, &attempt, *take, left).await,
            Kind::Maintenance(wanted) => {
                let by = Instant::now() + left;
                maintain::attempt(&apis, &sidecars, &attempt, wanted, by, &tell).await
            }
            Kind::Recovery(wanted) => {
                Box::pin(recover::attempt(&apis, &sidecars, &attempt, wanted, &tell)).await
            }
            Kind::SnapshotCompaction => {
                Box::pin(compaction::attempt(&apis, &sidecars, &attempt, &tell)).await
            }
        }
    };
    match tokio::time::timeout(left, tried).await {
        Ok(result) => result,
        Err(_) => Err(Trouble::TooLate(attempt.limit)),
    }
}

async fn snapshot(
    apis: &Apis,
    sidecars: &Sidecars,
    attempt: &Attempt,
    take: Take,
    left: Duration,
) -> Result<Done, Trouble> {
    let leading = leading::find(&apis.client, sidecars, &attempt.sidecar).await?;
    if let Some(since) = attempt.newer_than {
        let answer = leading.latest(LISTING.min(left + MARGIN)).await?;
        let status = answer.status.as_u16();
        if let Some(snapshot) = latest(take, since, status, &answer.body) {
            return Ok(Done::Taken(snapshot));
        }
    }
    if !attempt.take {
        return Err(Trouble::TooLate(attempt.limit));
    }
    leading.take(take, left + MARGIN).await
}
