//! Maintenance of a cluster that serves: its history is compacted, then its members give their free
//! pages back, one at a time. Each step begins only while all members are well.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::answer::Covered;
use super::status::capitalised;
use super::task::Unsupported;
use super::trouble::Trouble;
use crate::api::{OnDemandMaintenance, TaskMember, TaskResult};
use crate::defragment::{self, Round, Unwell, Whom};
use crate::duration::GoDuration;
use crate::member::{MemberId, MemberName};
use crate::observed::{AlarmKind, Answered, Etcd};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// How far to compact, if at all.
    pub compact: Option<Reach>,
    /// Whether to defragment.
    pub defragment: bool,
}

/// How far to compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as the backups cover; to the present without backups.
    Covered,
    /// To this revision.
    Revision(i64),
    /// To the newest revision that was backed up at least so long ago.
    Age(SignedDuration),
}

/// What the backups of a cluster cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backups {
    /// It has none.
    None,
    /// So much, snapshot by snapshot.
    Reach(Vec<Covered>),
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Compact up to this revision.
    Compact(i64),
    /// Hand the leadership over.
    HandOver {
        /// Who leads.
        from: MemberName,
        /// Who is to lead.
        to: MemberName,
    },
    /// Defragment this member.
    Defragment(MemberName),
    /// There is room again: clear the alarm of these members.
    ClearNoSpace(Vec<MemberId>),
    /// All is done.
    Finished,
}

impl Maintenance {
    pub(super) fn of(asked: &OnDemandMaintenance) -> Result<Self, Unsupported> {
        let compact = asked.etcd_compaction.unwrap_or(false);
        let defragment = asked.etcd_defragmentation.unwrap_or(false);
        let reach = match (asked.compaction_revision, &asked.compaction_age) {
            (None, None) => Reach::Covered,
            (Some(_), Some(_)) => return Err(Unsupported::TwoTargets),
            (Some(_), None) if !compact => {
                return Err(Unsupported::NoCompaction("compactionRevision"));
            }
            (None, Some(_)) if !compact => return Err(Unsupported::NoCompaction("compactionAge")),
            (Some(revision), None) if revision > 0 => Reach::Revision(revision),
            (Some(revision), None) => {
                return Err(Unsupported::Target {
                    field: "compactionRevision",
                    text: revision.to_string(),
                    remedy: "make a task with a revision from 1 on",
                });
            }
            (None, Some(age)) => Reach::Age(length(age)?),
        };
        if !compact && !defragment {
            return Err(Unsupported::NoMaintenance);
        }
        Ok(Self {
            compact: compact.then_some(reach),
            defragment,
        })
    }

    /// Decides what is next. `result`: what has come of it so far.
    ///
    /// # Errors
    /// Why nothing can be done now; [`Trouble::may_pass`] says whether that may change.
    pub fn next(
        &self,
        result: &TaskResult,
        seen: &Etcd,
        backups: &Backups,
        now: Timestamp,
    ) -> Result<Next, Trouble> {
        defragment::well(seen)?;
        if let Some(reach) = self.compact
            && result.compacted_revision.is_none()
        {
            return target(reach, seen.revision(), backups, now).map(Next::Compact);
        }
        if !self.defragment {
            return Ok(Next::Finished);
        }
        let whom = match self.compact {
            Some(_) => Whom::All,
            None => Whom::Worthwhile,
        };
        let mut round = Round::new(whom);
        let done = result.members.as_deref().unwrap_or_default();
        for (name, status) in seen.answers() {
            if done.iter().any(|it| it.name == name.0) {
                round.done(status.id);
            }
        }
        let answered: Vec<_> = seen.answers().map(|(_, it)| it.into()).collect();
        let named = |id: MemberId| {
            let mut all = seen.answers();
            let found = all.find(|(_, status)| status.id == id);
            found.map_or_else(|| MemberName(id.to_string()), |(name, _)| name.clone())
        };
        Ok(match round.next(&answered) {
            defragment::Next::HandOver { from, to } => Next::HandOver {
                from: named(from),
                to: named(to),
            },
            defragment::Next::Defragment(id) => Next::Defragment(named(id)),
            defragment::Next::Finished => match out_of_space(seen) {
                full if full.is_empty() || !has_room(seen) => Next::Finished,
                full => Next::ClearNoSpace(full),
            },
        })
    }
}

fn length(age: &str) -> Result<SignedDuration, Unsupported> {
    let parsed = age.parse().ok().and_then(|GoDuration(length)| {
        let length = SignedDuration::try_from(length).ok()?;
        length.is_positive().then_some(length)
    });
    parsed.ok_or_else(|| Unsupported::Target {
        field: "compactionAge",
        text: age.to_owned(),
        remedy: "make a task with a duration such as 30m or 1h30m",
    })
}

/// Up to which revision to compact. What the backups do not cover is still needed: the next delta
/// snapshot is made of it.
fn target(reach: Reach, present: i64, backups: &Backups, now: Timestamp) -> Result<i64, Trouble> {
    let covered = match backups {
        Backups::None => None,
        Backups::Reach(all) => Some(all.as_slice()),
    };
    let newest = covered.map(|all| all.iter().map(|it| it.revision).max());
    if let Some(Some(covered)) = newest
        && covered > present
    {
        return Err(Trouble::OtherHistory { covered, present });
    }
    match (reach, newest) {
        (Reach::Revision(wanted), _) if wanted > present => Err(Trouble::Ahead { wanted, present }),
        (Reach::Covered | Reach::Revision(_), Some(None)) => Err(Trouble::NothingCovered),
        (Reach::Covered, None) => Ok(present),
        (Reach::Covered, Some(Some(newest))) => Ok(newest),
        (Reach::Revision(wanted), Some(Some(covered))) if wanted > covered => {
            Err(Trouble::Uncovered { wanted, covered })
        }
        (Reach::Revision(wanted), _) => Ok(wanted),
        (Reach::Age(_), None) => Err(Trouble::Undated),
        (Reach::Age(age), Some(_)) => {
            let latest = now.saturating_sub(age).unwrap_or(Timestamp::MIN);
            let old = covered.unwrap_or_default().iter();
            old.filter(|it| it.at <= latest)
                .map(|it| it.revision)
                .max()
                .ok_or(Trouble::NothingThatOld(age))
        }
    }
}

fn out_of_space(seen: &Etcd) -> Vec<MemberId> {
    let alarms = match &seen.alarms {
        Answered::Known(alarms) => alarms.as_slice(),
        Answered::Unknown(_) => &[],
    };
    let full = alarms.iter().filter(|it| it.kind == AlarmKind::NoSpace);
    full.map(|it| it.member).collect()
}

/// Whether a fifth of each member's quota is free: less would soon be used up again.
fn has_room(seen: &Etcd) -> bool {
    seen.answers().all(|(_, status)| {
        let quota = status.quota.unwrap_or_default();
        status.db_size <= quota - quota / 5
    })
}

impl TaskResult {
    /// The history was compacted up to this revision.
    pub fn compacted(&mut self, revision: i64) {
        self.compacted_revision = Some(revision);
    }

    /// A member was defragmented; the sizes of its database in bytes.
    pub fn defragmented(&mut self, name: &MemberName, before: u64, after: u64) {
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let member = TaskMember {
            name: name.0.clone(),
            bytes_before: number(before),
            bytes_after: number(after),
        };
        let members = self.members.get_or_insert_default();
        members.push(member);
        let gained = members.iter().map(|it| it.bytes_before - it.bytes_after);
        self.reclaimed_bytes = Some(gained.sum());
    }

    /// The alarm NOSPACE of so many members was cleared.
    pub fn cleared(&mut self, members: usize) {
        let alarm = AlarmKind::NoSpace.to_string();
        self.cleared_alarms = Some(vec![alarm; members]);
    }

    /// What has come of maintenance, in one sentence.
    pub(super) fn maintained(&self) -> String {
        let mut parts = Vec::new();
        if let Some(revision) = self.compacted_revision {
            parts.push(format!("compacted up to revision {revision}"));
        }
        if let Some(members) = &self.members {
            let count = members.len();
            let members = if count == 1 { "member" } else { "members" };
            let bytes = self.reclaimed_bytes.unwrap_or_default();
            parts.push(format!(
                "{count} {members} defragmented, {bytes} bytes reclaimed"
            ));
        }
        if self.cleared_alarms.is_some() {
            parts.push("alarm NOSPACE cleared".to_owned());
        }
        if parts.is_empty() {
            return "No member has free pages that are worth it".to_owned();
        }
        capitalised(&parts.join(", "))
    }
}

impl From<Unwell> for Trouble {
    fn from(unwell: Unwell) -> Self {
        match unwell {
            Unwell::Corrupt => Self::Corrupt,
            Unwell::Because(why) => Self::Unwell(why),
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compact(revision) => write!(f, "Compacts the history up to revision {revision}"),
            Self::HandOver { from, to } => {
                write!(f, "Hands the leadership over from {from} to {to}")
            }
            Self::Defragment(member) => write!(f, "Defragments member {member}"),
            Self::ClearNoSpace(_) => f.write_str("Clears the alarm NOSPACE"),
            Self::Finished => f.write_str("Is done"),
        }
    }
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
