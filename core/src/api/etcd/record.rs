//! `status.upgrade.record`: [`crate::upgrade::Record`], as it is kept in an Etcd. See
//! `crate::upgrade::stored` for the way there and back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Time;

/// What the operator goes on from. It is not for people, and not theirs to change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeRecord {
    /// The number of the attempt.
    pub attempt: i64,
    /// The release that it set out from.
    pub from: String,
    /// The fingerprint of the rest of the template that it set out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_template: Option<String>,
    /// The release that it goes to.
    pub to: String,
    /// The fingerprint of the rest of the template that it goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_template: Option<String>,
    /// How far it is.
    pub phase: String,
    /// When it began.
    pub started: Time,
    /// The two releases that an unfinished one may have left members on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mixed: Vec<String>,
    /// When the preflight last passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleared: Option<Time>,
    /// The snapshot.
    pub snapshot: SnapshotRecord,
    /// Whether it has restarted a member.
    pub touched: bool,
    /// The member that is being replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<ReplacementRecord>,
    /// How far members are.
    pub members: Vec<MemberRecord>,
    /// What is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitRecord>,
    /// Why a person has to look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt: Option<HaltRecord>,
}

/// The snapshot of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRecord {
    /// How many were asked for.
    pub tries: i64,
    /// How many of them failed.
    pub failures: i64,
    /// `Missing`, `Asked` or `Verified`.
    pub state: String,
    /// If asked for: the revision that it must have at least. If verified: the one that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// If verified: its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// The member that is being replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplacementRecord {
    /// Which.
    pub member: String,
    /// The release that it ran.
    pub from: String,
    /// The fingerprint of the rest of its template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_template: Option<String>,
    /// The release that it is to run.
    pub to: String,
    /// The fingerprint of the rest of the template that it is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_template: Option<String>,
    /// When it was last asked to restart.
    pub since: Time,
    /// Why it is to be put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<TroubleRecord>,
}

/// How far a member is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberRecord {
    /// Its name.
    pub name: String,
    /// `Replacing`, `Replaced` or `PutBack`.
    pub phase: String,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitRecord {
    /// What, as a word.
    pub code: String,
    /// Since when.
    pub since: Time,
}

/// What is wrong with a member. Which fields there are depends on the code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TroubleRecord {
    /// What, as a word.
    pub code: String,
    /// What was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How often it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exits: Option<i64>,
    /// How far it is behind, raft entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<i64>,
    /// What it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Why a person has to look. Which fields there are depends on the code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HaltRecord {
    /// Why, as a word.
    pub code: String,
    /// How many snapshots failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<i64>,
    /// The last reason, or the hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Which member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What it failed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
    /// How it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleRecord>,
    /// Where the data was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
}
