//! The record, as it is kept in `status.upgrade.record` of an Etcd, and back.

use jiff::Timestamp;
use thiserror::Error;

use super::{Halt, MemberPhase, Phase, Record, Replacement, Snapshot, SnapshotState, Trouble};
use crate::api;
use crate::make::{Make, Template};
use crate::member::MemberName;
use crate::version::Version;

/// A stored record that cannot be gone on from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "status.upgrade.record.{field}: {what}. Run the release of druid that wrote it, or, once all \
     members run one release of etcd, remove status.upgrade"
)]
pub struct StoredError {
    /// Where in the record.
    pub field: &'static str,
    /// What is wrong there.
    pub what: StoredWhat,
}

/// What is wrong with a field of a stored record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoredWhat {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// A word that this release does not know.
    #[error("`{0}` is a word that this release does not know")]
    Word(String),
    /// No moment.
    #[error("`{0}` is no time")]
    Time(String),
    /// No release of etcd.
    #[error("`{0}` is no release of etcd")]
    Version(String),
    /// A number that cannot be one of this.
    #[error("{0} cannot be")]
    Number(i64),
}

impl StoredWhat {
    fn of(self, field: &'static str) -> StoredError {
        StoredError { field, what: self }
    }
}

impl From<&Record> for api::UpgradeRecord {
    fn from(record: &Record) -> Self {
        Self {
            attempt: record.attempt.into(),
            from: record.from.version.to_string(),
            from_template: Some(record.from.template.0.clone()),
            to: record.to.version.to_string(),
            to_template: Some(record.to.template.0.clone()),
            phase: phase_word(record.phase).to_owned(),
            started: api::Time::exact(record.started),
            mixed: record
                .mixed
                .iter()
                .flat_map(|(one, other)| [one.to_string(), other.to_string()])
                .collect(),
            cleared: record.cleared.map(api::Time::exact),
            snapshot: (&record.snapshot).into(),
            touched: record.touched,
            current: record.current.as_ref().map(Into::into),
            members: record
                .members
                .iter()
                .map(|(name, phase)| api::MemberRecord {
                    name: name.0.clone(),
                    phase: member_word(*phase).to_owned(),
                })
                .collect(),
            waiting: record
                .waiting
                .as_ref()
                .map(|(code, since)| api::WaitRecord {
                    code: code.clone(),
                    since: api::Time::exact(*since),
                }),
            halt: record.halt.as_ref().map(Into::into),
        }
    }
}

impl Record {
    /// Reads a stored record. Where it was stored without a template, members were made from the
    /// `present` one.
    pub fn read(stored: &api::UpgradeRecord, present: &Template) -> Result<Self, StoredError> {
        let current = stored.current.as_ref();
        Ok(Self {
            attempt: number(stored.attempt, "attempt")?,
            from: make(&stored.from, stored.from_template.as_ref(), present, "from")?,
            to: make(&stored.to, stored.to_template.as_ref(), present, "to")?,
            phase: word(&stored.phase, "phase", &PHASES, phase_word)?,
            started: moment(&stored.started, "started")?,
            mixed: mixed(&stored.mixed)?,
            cleared: stored
                .cleared
                .as_ref()
                .map(|at| moment(at, "cleared"))
                .transpose()?,
            snapshot: (&stored.snapshot).try_into()?,
            touched: stored.touched,
            current: current
                .map(|stored| Replacement::read(stored, present))
                .transpose()?,
            members: stored
                .members
                .iter()
                .map(|member| {
                    let phase = word(&member.phase, "members.phase", &MEMBER_PHASES, member_word)?;
                    Ok((MemberName(member.name.clone()), phase))
                })
                .collect::<Result<_, StoredError>>()?,
            waiting: stored
                .waiting
                .as_ref()
                .map(|wait| Ok((wait.code.clone(), moment(&wait.since, "waiting.since")?)))
                .transpose()?,
            halt: stored.halt.as_ref().map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Snapshot> for api::SnapshotRecord {
    fn from(snapshot: &Snapshot) -> Self {
        let (state, revision, sha256, at) = match &snapshot.state {
            SnapshotState::Missing => ("Missing", None, None, None),
            SnapshotState::Asked { floor, at } => ("Asked", Some(*floor), None, Some(*at)),
            SnapshotState::Verified {
                revision,
                sha256,
                at,
            } => ("Verified", Some(*revision), Some(sha256.clone()), Some(*at)),
        };
        Self {
            tries: snapshot.tries.into(),
            failures: snapshot.failures.into(),
            state: state.to_owned(),
            revision,
            sha256,
            at: at.map(api::Time::exact),
        }
    }
}

impl TryFrom<&api::SnapshotRecord> for Snapshot {
    type Error = StoredError;

    fn try_from(stored: &api::SnapshotRecord) -> Result<Self, StoredError> {
        let at = || moment(needed(stored.at.as_ref(), "snapshot.at")?, "snapshot.at");
        let revision = || needed(stored.revision, "snapshot.revision");
        let state = match stored.state.as_str() {
            "Missing" => SnapshotState::Missing,
            "Asked" => SnapshotState::Asked {
                floor: revision()?,
                at: at()?,
            },
            "Verified" => SnapshotState::Verified {
                revision: revision()?,
                sha256: needed(stored.sha256.clone(), "snapshot.sha256")?,
                at: at()?,
            },
            other => return Err(StoredWhat::Word(other.to_owned()).of("snapshot.state")),
        };
        Ok(Self {
            tries: number(stored.tries, "snapshot.tries")?,
            failures: number(stored.failures, "snapshot.failures")?,
            state,
        })
    }
}

impl From<&Replacement> for api::ReplacementRecord {
    fn from(replacement: &Replacement) -> Self {
        Self {
            member: replacement.member.0.clone(),
            from: replacement.from.version.to_string(),
            from_template: Some(replacement.from.template.0.clone()),
            to: replacement.to.version.to_string(),
            to_template: Some(replacement.to.template.0.clone()),
            since: api::Time::exact(replacement.since),
            failed: replacement.failed.as_ref().map(Into::into),
        }
    }
}

impl Replacement {
    fn read(stored: &api::ReplacementRecord, present: &Template) -> Result<Self, StoredError> {
        let (from, to) = (stored.from_template.as_ref(), stored.to_template.as_ref());
        Ok(Self {
            member: MemberName(stored.member.clone()),
            from: make(&stored.from, from, present, "current.from")?,
            to: make(&stored.to, to, present, "current.to")?,
            since: moment(&stored.since, "current.since")?,
            failed: stored.failed.as_ref().map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Trouble> for api::TroubleRecord {
    fn from(trouble: &Trouble) -> Self {
        let of = |code: &str| Self {
            code: code.to_owned(),
            ..Self::default()
        };
        let said = |code: &str, text: &str| Self {
            text: Some(text.to_owned()),
            ..of(code)
        };
        match trouble {
            Trouble::Absent => of("Absent"),
            Trouble::Failing { exits, last_words } => Self {
                exits: Some((*exits).into()),
                ..said("Failing", last_words)
            },
            Trouble::Silent(text) => said("Silent", text),
            Trouble::Learner => of("Learner"),
            Trouble::NotListed => of("NotListed"),
            Trouble::NotReady(text) => said("NotReady", text),
            Trouble::NoLeader => of("NoLeader"),
            Trouble::Behind(entries) => Self {
                behind: Some(i64::try_from(*entries).unwrap_or(i64::MAX)),
                ..of("Behind")
            },
            Trouble::OtherVersion(version) => Self {
                version: Some(version.to_string()),
                ..of("OtherVersion")
            },
            Trouble::NoWrites(text) => said("NoWrites", text),
            Trouble::TargetChanged => of("TargetChanged"),
        }
    }
}

impl TryFrom<&api::TroubleRecord> for Trouble {
    type Error = StoredError;

    fn try_from(stored: &api::TroubleRecord) -> Result<Self, StoredError> {
        let text = || needed(stored.text.clone(), "trouble.text");
        Ok(match stored.code.as_str() {
            "Absent" => Self::Absent,
            "Failing" => Self::Failing {
                exits: number(needed(stored.exits, "trouble.exits")?, "trouble.exits")?,
                last_words: text()?,
            },
            "Silent" => Self::Silent(text()?),
            "Learner" => Self::Learner,
            "NotListed" => Self::NotListed,
            "NotReady" => Self::NotReady(text()?),
            "NoLeader" => Self::NoLeader,
            "Behind" => {
                let entries = needed(stored.behind, "trouble.behind")?;
                let wrong = |_| StoredWhat::Number(entries).of("trouble.behind");
                Self::Behind(u64::try_from(entries).map_err(wrong)?)
            }
            "OtherVersion" => Self::OtherVersion(version(
                &needed(stored.version.clone(), "trouble.version")?,
                "trouble.version",
            )?),
            "NoWrites" => Self::NoWrites(text()?),
            "TargetChanged" => Self::TargetChanged,
            other => return Err(StoredWhat::Word(other.to_owned()).of("trouble.code")),
        })
    }
}

impl From<&Halt> for api::HaltRecord {
    fn from(halt: &Halt) -> Self {
        let of = Self {
            code: halt.code().to_owned(),
            ..Self::default()
        };
        match halt {
            Halt::SnapshotFailed { failures, last } => Self {
                failures: Some((*failures).into()),
                text: Some(last.clone()),
                ..of
            },
            Halt::PutBack {
                member,
                version,
                back,
                trouble,
            } => Self {
                member: Some(member.0.clone()),
                version: Some(version.to_string()),
                back: Some(back.to_string()),
                trouble: Some(trouble.into()),
                ..of
            },
            Halt::StaysDown { member, trouble } => Self {
                member: Some(member.0.clone()),
                trouble: Some(trouble.into()),
                ..of
            },
            Halt::PutBackFailed {
                member,
                version,
                trouble,
            } => Self {
                member: Some(member.0.clone()),
                version: Some(version.to_string()),
                trouble: Some(trouble.into()),
                ..of
            },
            Halt::HashMismatch { revision, hashes } => Self {
                revision: Some(*revision),
                text: Some(hashes.clone()),
                ..of
            },
            Halt::Corrupt => of,
        }
    }
}

impl TryFrom<&api::HaltRecord> for Halt {
    type Error = StoredError;

    fn try_from(stored: &api::HaltRecord) -> Result<Self, StoredError> {
        let text = || needed(stored.text.clone(), "halt.text");
        let member = || needed(stored.member.clone(), "halt.member").map(MemberName);
        let of_version = || {
            let text = needed(stored.version.as_deref(), "halt.version")?;
            version(text, "halt.version")
        };
        let trouble = || Trouble::try_from(needed(stored.trouble.as_ref(), "halt.trouble")?);
        Ok(match stored.code.as_str() {
            "SnapshotFailed" => Self::SnapshotFailed {
                failures: number(needed(stored.failures, "halt.failures")?, "halt.failures")?,
                last: text()?,
            },
            "PutBack" => Self::PutBack {
                member: member()?,
                version: of_version()?,
                back: version(needed(stored.back.as_deref(), "halt.back")?, "halt.back")?,
                trouble: trouble()?,
            },
            "StaysDown" => Self::StaysDown {
                member: member()?,
                trouble: trouble()?,
            },
            "PutBackFailed" => Self::PutBackFailed {
                member: member()?,
                version: of_version()?,
                trouble: trouble()?,
            },
            "HashMismatch" => Self::HashMismatch {
                revision: needed(stored.revision, "halt.revision")?,
                hashes: text()?,
            },
            "Corrupt" => Self::Corrupt,
            other => return Err(StoredWhat::Word(other.to_owned()).of("halt.code")),
        })
    }
}

const PHASES: [Phase; 8] = [
    Phase::Preflight,
    Phase::Snapshot,
    Phase::Rolling,
    Phase::AwaitingClusterVersion,
    Phase::Done,
    Phase::PuttingBack,
    Phase::RolledBack,
    Phase::Blocked,
];

/// How people are told of a phase.
fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Preflight => "Preflight",
        Phase::Snapshot => "Snapshot",
        Phase::Rolling => "Rolling",
        Phase::AwaitingClusterVersion => "Finalizing",
        Phase::Done => "Succeeded",
        Phase::PuttingBack => "PuttingBack",
        Phase::RolledBack => "RolledBack",
        Phase::Blocked => "Blocked",
    }
}

const MEMBER_PHASES: [MemberPhase; 3] = [
    MemberPhase::Replacing,
    MemberPhase::Replaced,
    MemberPhase::PutBack,
];

fn member_word(phase: MemberPhase) -> &'static str {
    match phase {
        MemberPhase::Replacing => "Replacing",
        MemberPhase::Replaced => "Replaced",
        MemberPhase::PutBack => "PutBack",
    }
}

fn word<T: Copy>(
    text: &str,
    field: &'static str,
    all: &[T],
    of: fn(T) -> &'static str,
) -> Result<T, StoredError> {
    all.iter()
        .copied()
        .find(|it| of(*it) == text)
        .ok_or_else(|| StoredWhat::Word(text.to_owned()).of(field))
}

fn needed<T>(value: Option<T>, field: &'static str) -> Result<T, StoredError> {
    value.ok_or_else(|| StoredWhat::Missing.of(field))
}

fn version(text: &str, field: &'static str) -> Result<Version, StoredError> {
    text.parse()
        .map_err(|_| StoredWhat::Version(text.to_owned()).of(field))
}

fn mixed(stored: &[String]) -> Result<Option<(Version, Version)>, StoredError> {
    match stored {
        [] => Ok(None),
        [one, other] => Ok(Some((version(one, "mixed")?, version(other, "mixed")?))),
        [_] | [_, _, ..] => {
            let many = i64::try_from(stored.len()).unwrap_or(i64::MAX);
            Err(StoredWhat::Number(many).of("mixed"))
        }
    }
}

fn make(
    release: &str,
    template: Option<&String>,
    present: &Template,
    field: &'static str,
) -> Result<Make, StoredError> {
    Ok(Make {
        version: version(release, field)?,
        template: template.map_or_else(|| present.clone(), |text| Template(text.clone())),
    })
}

fn moment(time: &api::Time, field: &'static str) -> Result<Timestamp, StoredError> {
    time.at()
        .ok_or_else(|| StoredWhat::Time(time.0.clone()).of(field))
}

fn number(number: i64, field: &'static str) -> Result<u32, StoredError> {
    number
        .try_into()
        .map_err(|_| StoredWhat::Number(number).of(field))
}

#[cfg(test)]
mod tests;
