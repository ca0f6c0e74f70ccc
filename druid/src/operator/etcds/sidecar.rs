//! The sidecar of the leader, as far as an upgrade needs it: it reads a snapshot again.

use std::fmt;
use std::time::Duration;

use druid_core::api::TaskSnapshot;
use druid_core::observed::SnapshotWork;
use druid_core::ops_task::{Limits, Sidecar, Trouble, no_may_pass};
use kube::Client;
use serde::Deserialize;
use tokio::time::Instant;

use crate::operator::leading::{self, Leading, Sidecars, unanswered};

/// For a snapshot to be read again; the largest take minutes.
const READ: Duration = Duration::from_mins(15);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    last_revision: i64,
    size_bytes: u64,
    sha256: String,
}

/// Lets the sidecar read the snapshot again, all of it. It is whole if its own digest is right, and
/// the same as when it was written.
pub(super) async fn verify(
    client: &Client,
    sidecar: &Sidecar,
    snapshot: &TaskSnapshot,
) -> SnapshotWork {
    match read(client, sidecar, &snapshot.name).await {
        Err(why) => {
            SnapshotWork::Damaged(format!("{} could not be verified: {why}", snapshot.name))
        }
        Ok(read) => match &snapshot.sha256 {
            Some(written) if *written != read.sha256 => SnapshotWork::Damaged(format!(
                "{} has SHA-256 {}, and {written} when it was written",
                snapshot.name, read.sha256
            )),
            Some(_) | None => SnapshotWork::Verified {
                revision: read.last_revision,
                bytes: read.size_bytes,
                sha256: read.sha256,
            },
        },
    }
}

/// Why it was not read.
enum Unread {
    /// The sidecar was not reached, or does not know where it is wanted.
    Trouble(Trouble),
    /// It says no.
    Says(u16, String),
    /// It says yes, and something else.
    Odd(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(trouble) => write!(f, "{trouble}"),
            Self::Says(404, text) if text.is_empty() || text.contains("not found") => write!(
                f,
                "the sidecar cannot do that (404: {text}); use the image of druid for it"
            ),
            Self::Says(status, text) => write!(f, "{status}: {text}"),
            Self::Odd(why) => f.write_str(why),
        }
    }
}

impl Unread {
    fn may_pass(&self) -> bool {
        match self {
            Self::Trouble(trouble) => trouble.may_pass(),
            Self::Says(status, _) => no_may_pass(*status),
            Self::Odd(_) => false,
        }
    }
}

/// As often as a snapshot is asked for, and all of it within the time for one reading: who leads may
/// have to be found out again.
async fn read(client: &Client, sidecar: &Sidecar, name: &str) -> Result<Read, Unread> {
    let limits = Limits::default();
    let (began, mut failed) = (Instant::now(), 0);
    loop {
        let left = READ.saturating_sub(began.elapsed());
        let why = match read_once(client, sidecar, name, left).await {
            Ok(read) => return Ok(read),
            Err(why) => why,
        };
        failed += 1;
        let wait = limits.again(failed, 0).filter(|_| why.may_pass());
        let wait = wait.filter(|it| began.elapsed() + it.unsigned_abs() < READ);
        let Some(wait) = wait else { return Err(why) };
        tracing::info!(%why, name, "the snapshot is read again later");
        tokio::time::sleep(wait.unsigned_abs()).await;
    }
}

async fn read_once(
    client: &Client,
    sidecar: &Sidecar,
    name: &str,
    left: Duration,
) -> Result<Read, Unread> {
    let leading = leading::find(client, &Sidecars::Pods, sidecar).await;
    let Leading { web, base } = leading.map_err(Unread::Trouble)?;
    let url = format!("{base}/snapshot/verify?name={name}");
    let answer = web.get(&url, left).await;
    let answer = answer.map_err(|error| Unread::Trouble(unanswered(&error)))?;
    match answer.status.as_u16() {
        200 => serde_json::from_slice(&answer.body)
            .map_err(|error| Unread::Odd(format!("{error}: {}", answer.text()))),
        status => Err(Unread::Says(status, answer.text())),
    }
}
