//! What a sidecar answers: a snapshot as etcd-backup-restore tells it, with two fields more if it is
//! ours.

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use super::task::Take;
use super::trouble::Trouble;
use crate::api::TaskResult;
use crate::restore_plan::Hole;

/// How much of an answer is quoted, characters.
const QUOTED: usize = 200;

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A snapshot is in the store.
    Taken(Snapshot),
    /// There is nothing since the last one.
    Skipped,
    /// The members are as they were to be.
    Maintained(Box<TaskResult>),
    /// The snapshots are one full one now.
    Compacted(Snapshot),
    /// The cluster is whole again.
    Recovered(Box<TaskResult>),
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
    start_revision: Option<i64>,
    last_revision: Option<i64>,
    created_on: Option<String>,
    is_final: Option<bool>,
    size_bytes: Option<i64>,
    sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    full_snapshot: Option<Told>,
    delta_snapshots: Option<Vec<Told>>,
}

/// A revision that the newest chain of backups reaches, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The revision.
    pub revision: i64,
    /// When the snapshot was made that reaches it.
    pub at: Timestamp,
}

/// An object of the newest chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The first revision in it; 0 for a full snapshot.
    pub first: i64,
    /// The last revision in it.
    pub last: i64,
    /// When it was made.
    pub at: Timestamp,
    /// Its size in the store, bytes. Only our sidecar tells.
    pub size: Option<u64>,
}

/// The newest full snapshot, and the deltas after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latest {
    /// The full snapshot; `None` if there is none.
    pub full: Option<Link>,
    /// The deltas, in their order.
    pub deltas: Vec<Link>,
}

impl Latest {
    /// The deltas that a restore can use: those up to the first revision that no object has.
    pub fn unbroken(&self) -> (&[Link], Option<Hole>) {
        let mut reached = self.full.as_ref().map_or(0, |it| it.last);
        for (count, delta) in self.deltas.iter().enumerate() {
            if delta.first > reached.saturating_add(1) {
                let hole = Hole {
                    from: reached.saturating_add(1),
                    to: delta.first.saturating_sub(1),
                    next: delta.name.clone(),
                };
                return (&self.deltas[..count], Some(hole));
            }
            reached = reached.max(delta.last);
        }
        (&self.deltas, None)
    }
}

/// The answer of `/snapshot/latest`, whole.
///
/// # Errors
/// If it is no such answer.
pub fn chain(status: u16, body: &[u8]) -> Result<Latest, Trouble> {
    let unknown = || Trouble::BackupsUnknown(format!("status {status}: {}", quoted(body)));
    if status != 200 {
        return Err(unknown());
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| unknown())?;
    let link = |told: Told| told.link().ok_or_else(unknown);
    let deltas = answer.delta_snapshots.unwrap_or_default();
    Ok(Latest {
        full: answer.full_snapshot.map(link).transpose()?,
        deltas: deltas.into_iter().map(link).collect::<Result<_, _>>()?,
    })
}

/// The answer of `/snapshot/latest`: the newest full snapshot, as the result of a Job that has compacted the
/// snapshots since it `began`. One that was there before counts if no delta has followed it: there was
/// nothing to compact.
///
/// # Errors
/// If it is no such answer, or there is none, or the Job has left the deltas as they were.
pub fn newest(began: Timestamp, status: u16, body: &[u8]) -> Result<Snapshot, Trouble> {
    let unknown = || Trouble::BackupsUnknown(format!("status {status}: {}", quoted(body)));
    let Latest { full, deltas } = chain(status, body)?;
    let full = full.ok_or_else(unknown)?;
    // Names have whole seconds.
    if full.at.as_second() < began.as_second() && !deltas.is_empty() {
        return Err(Trouble::NotCompacted {
            newest: full.name,
            began,
        });
    }
    let told = serde_json::from_slice::<Answer>(body).ok();
    told.and_then(|it| it.full_snapshot?.snapshot())
        .ok_or_else(unknown)
}

/// The answer of `/snapshot/latest`: what the newest chain covers, snapshot by snapshot.
///
/// # Errors
/// If it is no such answer, or the chain lacks revisions: nothing but the cluster has them.
pub fn covered(status: u16, body: &[u8]) -> Result<Vec<Covered>, Trouble> {
    let latest = chain(status, body)?;
    if let (_, Some(hole)) = latest.unbroken() {
        return Err(Trouble::Hole(hole));
    }
    let all = latest.full.iter().chain(&latest.deltas);
    let covered = |link: &Link| Covered {
        revision: link.last,
        at: link.at,
    };
    Ok(all.map(covered).collect())
}

/// Why a restore on trial came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotRestorable {
    /// The sidecar does that for somebody else just now.
    #[error("{0}")]
    Busy(String),
    /// The store was read, and what is there cannot be restored.
    #[error("{0}")]
    Damaged(String),
    /// It is not known.
    #[error("{0}")]
    Unknown(String),
}

/// The answer of `/backup/restorable`: how far a restore on trial has come.
///
/// # Errors
/// Why it is not known, or there is nothing to restore.
pub fn restorable(status: u16, body: &[u8]) -> Result<Covered, NotRestorable> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Restorable {
        revision: i64,
        written_at: Timestamp,
    }
    match status {
        200 => {}
        404 => {
            return Err(NotRestorable::Unknown(
                "the sidecar is not druid's and cannot try a restore; set spec.backup.image to the image of druid"
                    .to_owned(),
            ));
        }
        422 => return Err(NotRestorable::Damaged(quoted(body))),
        503 => return Err(NotRestorable::Busy(quoted(body))),
        other => {
            let why = format!("status {other}: {}", quoted(body));
            return Err(NotRestorable::Unknown(why));
        }
    }
    let told: Restorable = serde_json::from_slice(body)
        .map_err(|error| NotRestorable::Unknown(format!("{error}: {}", quoted(body))))?;
    Ok(Covered {
        revision: told.revision,
        at: told.written_at,
    })
}

/// The answer to [`Take::path`].
pub fn taken(take: Take, status: u16, body: &[u8]) -> Result<Done, Trouble> {
    if status != 200 {
        return Err(Trouble::NotTaken {
            status,
            text: quoted(body),
        });
    }
    let told: Option<Option<Told>> = serde_json::from_slice(body).ok();
    match (take, told) {
        (Take::Delta, Some(None)) => Ok(Done::Skipped),
        (_, Some(Some(told))) if told.is_for(take) => told
            .snapshot()
            .map(Done::Taken)
            .ok_or_else(|| not_named(take, body)),
        (Take::Full { .. } | Take::Delta, _) => Err(not_named(take, body)),
    }
}

/// The answer of `/snapshot/latest`: the newest full snapshot, if it is the one that is wanted and was
/// made after `since`, in a later second: names have no more.
pub fn latest(take: Take, since: Timestamp, status: u16, body: &[u8]) -> Option<Snapshot> {
    if status != 200 {
        return None;
    }
    let latest: Answer = serde_json::from_slice(body).ok()?;
    let told = latest.full_snapshot.filter(|it| it.is_for(take))?;
    let created: Timestamp = told.created_on.as_ref()?.parse().ok()?;
    (created.as_second() > since.as_second()).then(|| told.snapshot())?
}

impl Told {
    fn is_for(&self, take: Take) -> bool {
        let kind = self.kind.as_deref();
        match take {
            Take::Full { is_final } => {
                kind == Some("Full") && (!is_final || self.is_final == Some(true))
            }
            Take::Delta => kind == Some("Incr"),
        }
    }

    fn link(self) -> Option<Link> {
        Some(Link {
            name: self.snap_name.filter(|it| !it.is_empty())?,
            first: self.start_revision?,
            last: self.last_revision?,
            at: self.created_on?.parse().ok()?,
            size: self.size_bytes.and_then(|it| it.try_into().ok()),
        })
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

fn not_named(take: Take, body: &[u8]) -> Trouble {
    Trouble::NotNamed {
        wanted: match take {
            Take::Full { is_final: true } => "final full",
            Take::Full { is_final: false } => "full",
            Take::Delta => "delta",
        },
        text: quoted(body),
    }
}

fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(QUOTED).collect()
}
