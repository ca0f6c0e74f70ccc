//! The sidecar of the leader, as far as an upgrade needs it: it reads a snapshot again.

use std::fmt;
use std::time::Duration;

use druid_core::api::TaskSnapshot;
use druid_core::observed::{Answered, SnapshotWork, Verifier};
use druid_core::ops_task::{Limits, Sidecar, Trouble, no_may_pass};
use druid_core::refusal::Refusal;
use jiff::SignedDuration;
use kube::Client;
use serde::Deserialize;
use tokio::time::Instant;

use crate::operator::leading::{self, Leading, Sidecars, unanswered};

/// For a snapshot to be read again; the largest take minutes.
const READ: Duration = Duration::from_mins(15);

/// Before a sidecar that reads another one is asked again.
const BUSY: Duration = Duration::from_secs(10);
/// For an answer that costs nothing.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether the leading sidecar can read a snapshot again. Nothing is read.
pub(super) async fn verifier(
    client: &Client,
    sidecars: &Sidecars,
    sidecar: &Sidecar,
) -> Answered<Verifier> {
    let Leading { web, base } = match leading::find(client, sidecars, sidecar).await {
        Ok(leading) => leading,
        Err(trouble) => return Answered::Unknown(trouble.to_string()),
    };
    match web.get(&format!("{base}/snapshot/verify"), ANSWER).await {
        Ok(answer) => Verifier::of(answer.status.as_u16()),
        Err(error) => Answered::Unknown(unanswered(&error).to_string()),
    }
}

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
    match read(client, &Sidecars::Pods, sidecar, &snapshot.name, BUSY).await {
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
            Self::Says(404, _) => write!(f, "{}", Refusal::SidecarCannotVerify),
            Self::Says(status, text) => write!(f, "{status}: {text}"),
            Self::Odd(why) => f.write_str(why),
        }
    }
}

impl Unread {
    /// It reads something else.
    fn is_busy(&self) -> bool {
        matches!(self, Self::Says(503, _))
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Trouble(trouble) => trouble.may_pass(),
            Self::Says(status, _) => no_may_pass(*status),
            Self::Odd(_) => false,
        }
    }
}

/// As often as a snapshot is asked for, and all of it within the time for one reading: who leads may
/// have to be found out again. One that is busy is asked every `busy`.
async fn read(
    client: &Client,
    sidecars: &Sidecars,
    sidecar: &Sidecar,
    name: &str,
    busy: Duration,
) -> Result<Read, Unread> {
    let limits = Limits::default();
    let (began, mut failed) = (Instant::now(), 0);
    loop {
        let left = READ.saturating_sub(began.elapsed());
        let why = match read_once(client, sidecars, sidecar, name, left).await {
            Ok(read) => return Ok(read),
            Err(why) => why,
        };
        let wait = if why.is_busy() {
            Some(busy)
        } else {
            failed += 1;
            let again = limits.again(failed, 0).filter(|_| why.may_pass());
            again.map(SignedDuration::unsigned_abs)
        };
        let wait = wait.filter(|it| began.elapsed() + *it < READ);
        let Some(wait) = wait else { return Err(why) };
        tracing::info!(%why, name, "the snapshot is read again later");
        tokio::time::sleep(wait).await;
    }
}

async fn read_once(
    client: &Client,
    sidecars: &Sidecars,
    sidecar: &Sidecar,
    name: &str,
    left: Duration,
) -> Result<Read, Unread> {
    let leading = leading::find(client, sidecars, sidecar).await;
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

#[cfg(test)]
mod tests {
    use druid_core::ops_task::Cluster;
    use serde_json::json;

    use super::*;
    use crate::operator::ops_task::tests::Ports;
    use crate::operator::ops_task::tests::scripted::{Does, Scripted};

    fn asked() -> (Client, Sidecar) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let etcd = json!({
            "metadata": { "namespace": "n", "name": "e" },
            "spec": { "replicas": 1, "labels": {}, "etcd": {}, "backup": {} },
        });
        let sidecar = Cluster::of(&serde_json::from_value(etcd).unwrap()).sidecar;
        let nobody = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        (Client::try_from(nobody).unwrap(), sidecar)
    }

    /// What a sidecar that answers so is taken for.
    async fn taken_for(does: Does, leads: bool) -> Answered<Verifier> {
        let (client, sidecar) = asked();
        let scripted = Scripted::new(&[does]).await;
        scripted.leads(leads);
        let sidecars = Sidecars::Loopback(Ports::one("n", "e", scripted.port));
        verifier(&client, &sidecars, &sidecar).await
    }

    #[tokio::test]
    async fn a_sidecar_that_reads_another_snapshot_is_waited_for() {
        let (client, sidecar) = asked();
        let mut does = vec![Does::Says(503, "a backup is being unpacked"); 20];
        let read_again = r#"{"lastRevision":7,"sizeBytes":1,"sha256":"ab"}"#;
        does.push(Does::Says(200, read_again));
        let scripted = Scripted::new(&does).await;
        let sidecars = Sidecars::Loopback(Ports::one("n", "e", scripted.port));
        let read = read(&client, &sidecars, &sidecar, "Full-1", Duration::ZERO).await;
        let revision = read
            .map(|it| it.last_revision)
            .map_err(|why| why.to_string());
        assert_eq!(revision, Ok(7));
    }

    #[tokio::test]
    async fn a_sidecar_that_is_not_ours_is_known_without_a_snapshot() {
        let foreign = Does::Says(404, "404 page not found");
        let foreign = taken_for(foreign, true).await;
        assert_eq!(foreign, Answered::Known(Verifier::Foreign));
        let ours = taken_for(Does::Says(400, "say which"), true).await;
        assert_eq!(ours, Answered::Known(Verifier::Able));
        for (does, leads) in [
            (Does::Says(200, "{}"), true),
            (Does::Says(503, ""), true),
            (Does::Says(400, ""), false),
        ] {
            let found = taken_for(does, leads).await;
            assert!(matches!(found, Answered::Unknown(_)), "{found:?}");
        }
    }
}
