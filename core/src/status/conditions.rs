//! Conditions: what is found, and how it is kept in the list of an Etcd.

use jiff::Timestamp;

use crate::api::{Condition, EtcdStatus, Time};

/// What a condition of ours is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Whether every member is ready.
    AllMembersReady,
    /// Whether every pod is as it is wanted.
    AllMembersUpdated,
    /// Whether snapshots are taken as planned.
    BackupReady,
    /// Whether members belong to several clusters.
    ClusterIdMismatch,
    /// Whether there are warnings about volumes.
    DataVolumesReady,
    /// Whether the last compaction of snapshots succeeded. Its controller writes it.
    LastSnapshotCompactionSucceeded,
    /// Whether there is a quorum.
    Ready,
    /// Whether all members run the release that is asked for.
    UpgradeComplete,
}

/// Those that [`super::status`] makes.
pub(super) const BY_STATUS: [Kind; 6] = [
    Kind::AllMembersReady,
    Kind::AllMembersUpdated,
    Kind::BackupReady,
    Kind::ClusterIdMismatch,
    Kind::DataVolumesReady,
    Kind::Ready,
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AllMembersReady,
        Self::AllMembersUpdated,
        Self::BackupReady,
        Self::ClusterIdMismatch,
        Self::DataVolumesReady,
        Self::LastSnapshotCompactionSucceeded,
        Self::Ready,
        Self::UpgradeComplete,
    ];

    /// Its name in the list.
    pub fn word(self) -> &'static str {
        match self {
            Self::AllMembersReady => "AllMembersReady",
            Self::AllMembersUpdated => "AllMembersUpdated",
            Self::BackupReady => "BackupReady",
            Self::ClusterIdMismatch => "ClusterIDMismatch",
            Self::DataVolumesReady => "DataVolumesReady",
            Self::LastSnapshotCompactionSucceeded => "LastSnapshotCompactionSucceeded",
            Self::Ready => "Ready",
            Self::UpgradeComplete => "UpgradeComplete",
        }
    }
}

impl Kind {
    /// What it says if it is `True`, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::AllMembersReady => "every member serves",
            Self::AllMembersUpdated => "every pod is made from what is asked for",
            Self::BackupReady => "snapshots are taken as planned",
            Self::ClusterIdMismatch => "members belong to different clusters: look at once",
            Self::DataVolumesReady => "no warnings about the volumes",
            Self::LastSnapshotCompactionSucceeded => "the last compaction of snapshots succeeded",
            Self::Ready => "most members serve: there is a quorum",
            Self::UpgradeComplete => "all members run the release that is asked for",
        }
    }
}

/// Whether it is the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is.
    True,
    /// It is not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Truth {
    /// As a condition has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition as it is found now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// `True`, `False` or `Unknown`; what an older one said, if it was not looked at.
    pub status: String,
    /// Why, as a word.
    pub reason: String,
    /// Why, as a sentence.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(kind: Kind, truth: Truth, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: truth.word().to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// As it is written. One that says what it said before is the same to the second.
    fn written(self, before: Option<&Condition>, now: Timestamp) -> Condition {
        let now = Time::seconds(now);
        let same_status = before.filter(|before| before.status == self.status);
        let same = same_status
            .filter(|before| before.reason == self.reason && before.message == self.message);
        let time = |of: Option<&Time>| of.cloned().unwrap_or_else(|| now.clone());
        Condition {
            kind: self.kind.word().to_owned(),
            last_transition_time: time(same_status.map(|it| &it.last_transition_time)),
            last_update_time: time(same.map(|it| &it.last_update_time)),
            status: self.status,
            reason: self.reason,
            message: self.message,
        }
    }
}

/// The condition of a kind, as it is.
pub fn find(status: &EtcdStatus, kind: Kind) -> Option<&Condition> {
    let all = status.conditions.as_deref().unwrap_or_default();
    all.iter().find(|condition| condition.kind == kind.word())
}

/// Puts findings into the list. Of the kinds that are `looked_at`, those without a finding go; all
/// others stay, whoever has written them.
pub(crate) fn put(
    status: &mut EtcdStatus,
    looked_at: &[Kind],
    found: Vec<Finding>,
    now: Timestamp,
) {
    let mut written: Vec<_> = found
        .into_iter()
        .map(|finding| {
            let before = find(status, finding.kind);
            finding.written(before, now)
        })
        .collect();
    let all = status.conditions.take().unwrap_or_default();
    let others = all
        .into_iter()
        .filter(|it| !looked_at.iter().any(|kind| kind.word() == it.kind));
    written.extend(others);
    written.sort_by(|a, b| a.kind.cmp(&b.kind));
    status.conditions = (!written.is_empty()).then_some(written);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn times(status: &EtcdStatus) -> (String, String) {
        let condition = find(status, Kind::Ready).unwrap();
        (
            condition.last_transition_time.0.clone(),
            condition.last_update_time.0.clone(),
        )
    }

    fn ready(truth: Truth, reason: &str) -> Vec<Finding> {
        vec![Finding::new(Kind::Ready, truth, reason, "m")]
    }

    #[test]
    fn times_follow_what_is_said() {
        let mut status = EtcdStatus::default();
        let second = |second| Time::seconds(at(second)).0;
        put(&mut status, &BY_STATUS, ready(Truth::True, "A"), at(1));
        assert_eq!(times(&status), (second(1), second(1)));
        put(&mut status, &BY_STATUS, ready(Truth::True, "A"), at(2));
        assert_eq!(times(&status), (second(1), second(1)));
        put(&mut status, &BY_STATUS, ready(Truth::True, "B"), at(3));
        assert_eq!(times(&status), (second(1), second(3)));
        put(&mut status, &BY_STATUS, ready(Truth::False, "B"), at(4));
        assert_eq!(times(&status), (second(4), second(4)));
    }

    #[test]
    fn what_others_have_written_stays_and_what_was_not_found_goes() {
        let other = |kind: &str| Condition {
            kind: kind.to_owned(),
            status: "False".to_owned(),
            last_transition_time: Time("then".to_owned()),
            last_update_time: Time("then".to_owned()),
            reason: "R".to_owned(),
            message: "M".to_owned(),
        };
        let mut status = EtcdStatus {
            conditions: Some(vec![
                other("Zebra"),
                other("BackupReady"),
                other("LastSnapshotCompactionSucceeded"),
            ]),
            ..EtcdStatus::default()
        };
        put(&mut status, &BY_STATUS, ready(Truth::True, "A"), at(1));
        let kinds: Vec<_> = status
            .conditions
            .iter()
            .flatten()
            .map(|it| &it.kind)
            .collect();
        assert_eq!(kinds, ["LastSnapshotCompactionSucceeded", "Ready", "Zebra"]);
        assert_eq!(status.conditions.unwrap()[2], other("Zebra"));
    }
}
