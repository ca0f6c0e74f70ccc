//! What a sidecar answers: a snapshot as etcd-backup-restore tells it, with two fields more if it is
//! ours.

use jiff::Timestamp;
use serde::Deserialize;

use super::task::Operation;
use super::trouble::Trouble;

/// How much of an answer is quoted, characters.
const QUOTED: usize = 200;

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A snapshot is in the store.
    Taken(Snapshot),
    /// There is nothing since the last one.
    Skipped,
}

/// A snapshot that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The last revision in it.
    pub revision: i64,
    /// Its size in the store, bytes. Only our sidecar tells.
    pub size: Option<i64>,
    /// The digest of what was stored, in hexadecimal. Only our sidecar tells.
    pub sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    kind: Option<String>,
    snap_name: Option<String>,
    last_revision: Option<i64>,
    created_on: Option<String>,
    is_final: Option<bool>,
    size_bytes: Option<i64>,
    sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Latest {
    full_snapshot: Option<Told>,
}

/// The answer to [`Operation::path`].
pub fn taken(operation: &Operation, status: u16, body: &[u8]) -> Result<Done, Trouble> {
    if status != 200 {
        return Err(Trouble::NotTaken {
            status,
            text: quoted(body),
        });
    }
    let told: Option<Option<Told>> = serde_json::from_slice(body).ok();
    match (operation, told) {
        (Operation::Delta { .. }, Some(None)) => Ok(Done::Skipped),
        (_, Some(Some(told))) if told.is_for(operation) => told
            .snapshot()
            .map(Done::Taken)
            .ok_or_else(|| not_named(operation, body)),
        (Operation::Full { .. } | Operation::Delta { .. }, _) => Err(not_named(operation, body)),
    }
}

/// The answer of `/snapshot/latest`: the newest full snapshot, if it is the one that is wanted and was
/// made after `since`, in a later second: names have no more.
pub fn latest(
    operation: &Operation,
    since: Timestamp,
    status: u16,
    body: &[u8],
) -> Option<Snapshot> {
    if status != 200 {
        return None;
    }
    let latest: Latest = serde_json::from_slice(body).ok()?;
    let told = latest.full_snapshot.filter(|it| it.is_for(operation))?;
    let created: Timestamp = told.created_on.as_ref()?.parse().ok()?;
    (created.as_second() > since.as_second()).then(|| told.snapshot())?
}

impl Told {
    fn is_for(&self, operation: &Operation) -> bool {
        let kind = self.kind.as_deref();
        match operation {
            Operation::Full { is_final, .. } => {
                kind == Some("Full") && (!is_final || self.is_final == Some(true))
            }
            Operation::Delta { .. } => kind == Some("Incr"),
        }
    }

    fn snapshot(self) -> Option<Snapshot> {
        Some(Snapshot {
            name: self.snap_name.filter(|it| !it.is_empty())?,
            revision: self.last_revision?,
            size: self.size_bytes,
            sha256: self.sha256,
        })
    }
}

fn not_named(operation: &Operation, body: &[u8]) -> Trouble {
    Trouble::NotNamed {
        wanted: match operation {
            Operation::Full { is_final: true, .. } => "final full",
            Operation::Full {
                is_final: false, ..
            } => "full",
            Operation::Delta { .. } => "delta",
        },
        text: quoted(body),
    }
}

fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(QUOTED).collect()
}
