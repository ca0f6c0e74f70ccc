//! What `kubectl druid upgrade pause|resume|acknowledge` writes: merge patches.

use serde_json::{Value, json};
use thiserror::Error;

use super::found::{is_acknowledged, is_paused};
use crate::api::{Etcd, names};
use crate::upgrade::ShownPhase;

/// Why there is no halt to acknowledge.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotHalted {
    /// Nothing was ever upgraded.
    #[error("no upgrade of it was ever begun, so there is no halt to acknowledge")]
    Never,
    /// It goes on, or waits for something else.
    #[error(
        "its upgrade is in phase {0} and not halted; `kubectl druid upgrade status` says what it waits for"
    )]
    Phase(String),
    /// The number of the attempt is not there.
    #[error(
        "status.upgrade.record is missing, so the number of the attempt is not known; apply the \
         definitions that `druid crds` prints"
    )]
    NoRecord,
}

/// What is to be done to acknowledge a halt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Write this patch.
    Write {
        /// The merge patch.
        patch: Value,
        /// What is acknowledged.
        halt: String,
    },
    /// Nothing: it was acknowledged before, and the operator has not taken that up yet.
    Already,
}

/// Acknowledges the halt that is in the status, and no later one.
///
/// # Errors
/// If there is none.
pub fn acknowledge(etcd: &Etcd) -> Result<Acknowledge, NotHalted> {
    let upgrade = etcd.status.as_ref().and_then(|it| it.upgrade.as_ref());
    let upgrade = upgrade.ok_or(NotHalted::Never)?;
    let phase = upgrade.phase.as_deref().ok_or(NotHalted::Never)?;
    if !ShownPhase::read(phase).is_some_and(ShownPhase::is_halted) {
        return Err(NotHalted::Phase(phase.to_owned()));
    }
    let record = upgrade.record.as_ref().ok_or(NotHalted::NoRecord)?;
    if is_acknowledged(etcd, record.attempt) {
        return Ok(Acknowledge::Already);
    }
    let attempt = record.attempt.to_string();
    let said = upgrade.message.as_ref().or(upgrade.reason.as_ref());
    Ok(Acknowledge::Write {
        patch: json!({ "metadata": { "annotations": { names::ACKNOWLEDGE_HALT: attempt } } }),
        halt: said.map_or_else(|| phase.to_owned(), Clone::clone),
    })
}

/// Pauses or resumes; nothing if it is so already.
pub fn pause(etcd: &Etcd, paused: bool) -> Option<Value> {
    let patch = || json!({ "spec": { "upgrade": { "paused": paused } } });
    (is_paused(etcd) != paused).then(patch)
}

/// Whether the API server has kept it: etcd-druid's definition knows no `spec.upgrade`, and drops it.
pub fn is_taken(answer: &Etcd, paused: bool) -> bool {
    is_paused(answer) == paused
}
