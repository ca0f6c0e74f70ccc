//! What was seen of a cluster, at one moment: the only thing that decisions are made from.
//!
//! [`Etcd`] is what the members say and is all that a preflight needs. [`Observed`] adds what the
//! platform says (Kubernetes, or the rehearsal's own process table). The dear reads, those that
//! take seconds or write, are in [`Looked`] and are made only when a decision asked for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::make::Make;
use crate::member::{MemberId, MemberName};
use crate::version::{Minor, Version};

/// A cluster and the platform that runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// What a member would be made from if it were created now.
    pub template: Make,
    /// The process of every member that the platform is to run, present or not.
    pub processes: BTreeMap<MemberName, Process>,
    /// What the members answer. Its `members` has the same names as `processes`.
    pub etcd: Etcd,
    /// The name of the snapshot that was looked for.
    pub snapshot_name: String,
    /// How far it is.
    pub snapshot: SnapshotWork,
    /// What a [`crate::upgrade::Step::Look`] asked for.
    pub looked: Looked,
}

/// The platform's view of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// There is none at the moment.
    Absent,
    /// It runs, or is being stopped.
    Running {
        /// Changes whenever the platform starts it anew on our demand.
        incarnation: u64,
        /// What it was made from.
        make: Make,
    },
    /// It keeps ending by itself.
    Failing {
        /// As in `Running`.
        incarnation: u64,
        /// What it was made from.
        make: Make,
        /// How often it has ended in this incarnation.
        exits: u32,
        /// The last thing that it said.
        last_words: String,
    },
}

/// What a cluster's members answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etcd {
    /// Every member that was asked, by its name, or by its endpoint while its name is unknown.
    pub members: BTreeMap<MemberName, Answer>,
    /// The member list, read after a linearizable read on the same member: 3.4 answers the list
    /// from local state (etcd #11198).
    pub membership: Answered<Vec<Listed>>,
    /// Every raised alarm.
    pub alarms: Answered<Vec<Alarm>>,
}

/// Something that was asked for, or why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered<T> {
    /// The answer.
    Known(T),
    /// Why it could not be found out.
    Unknown(String),
}

/// One member's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It did not answer within the deadline, or answered nonsense; the text says which.
    Silent(String),
    /// It answered.
    Status(Status),
}

/// `Maintenance.Status` and `/version` of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its number.
    pub id: MemberId,
    /// The release that it runs.
    pub version: Version,
    /// `etcdcluster` of its `/version`: what the cluster has agreed on, as this member knows it.
    /// `None` while it says `not_decided`, as a starting cluster does.
    pub cluster_version: Option<Minor>,
    /// Whom it takes for the leader.
    pub leader: MemberId,
    /// Its raft term.
    pub term: u64,
    /// The last raft entry that it knows to be committed.
    pub raft_index: u64,
    /// The last raft entry that it has applied.
    pub raft_applied_index: u64,
    /// The revision of its store.
    pub revision: i64,
    /// The size of its database file, bytes.
    pub db_size: u64,
    /// The part of it that holds data, bytes.
    pub db_size_in_use: u64,
    /// The largest size that the database may have, bytes; `None` if it does not say.
    pub quota: Option<u64>,
    /// Set if it does not vote yet.
    pub learner: bool,
    /// What `/readyz` says: `Err` has its reason.
    pub ready: Result<(), String>,
    /// `errors` of its status: alarms, no leader.
    pub errors: Vec<String>,
}

/// A line of the member list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its number.
    pub id: MemberId,
    /// Its name, empty if it was added but has never been started.
    pub name: MemberName,
    /// Set if it does not vote yet.
    pub learner: bool,
}

/// An alarm. A cluster-wide one has the member [`MemberId::NOBODY`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alarm {
    /// Who raised it.
    pub member: MemberId,
    /// What it is about.
    pub kind: AlarmKind,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlarmKind {
    /// The quota is used up: only reads and deletes work.
    #[serde(rename = "NOSPACE")]
    NoSpace,
    /// Members differ in their data.
    #[serde(rename = "CORRUPT")]
    Corrupt,
    /// One that this release of druid does not know.
    #[serde(rename = "UNKNOWN")]
    Unknown,
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "NOSPACE",
            Self::Corrupt => "CORRUPT",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// The dear reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Looked {
    /// None were asked for.
    #[default]
    Nothing,
    /// What a preflight needs.
    Preflight(Deep),
    /// Whether all members hold the same data.
    Data(Hashes),
    /// What the engine needs to know of a member that was just restarted.
    Member {
        /// Which.
        name: MemberName,
        /// Whether a transaction through it went in and could be read through another member.
        write: Answered<()>,
        /// See [`Hashes`].
        hashes: Hashes,
    },
}

/// The dear reads of a preflight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deep {
    /// Whether the members hold the same data.
    pub hashes: Hashes,
    /// Whether authentication is on.
    pub auth: Answered<Switch>,
    /// Whether etcd's own downgrade is under way, as each member tells. 3.4 has no such thing and is
    /// never in it.
    pub downgrade: BTreeMap<MemberName, Answered<Switch>>,
    /// The raft terms of two readings, at least a second apart.
    pub terms: (u64, u64),
    /// Whether a transaction went through; asked only with `--probe-writes`.
    pub write: Option<Answered<()>>,
    /// Whether the leading sidecar can read a snapshot again; asked only if an upgrade takes one.
    #[serde(default)]
    pub verifier: Option<Answered<Verifier>>,
}

/// Whether a sidecar can read a snapshot again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verifier {
    /// It can.
    Able,
    /// It knows no such request: it is etcd-backup-restore.
    Foreign,
}

impl Verifier {
    /// What it answers at `/snapshot/verify` when no snapshot is named, whether it leads or not: ours
    /// asks which one, and to others there is no such path.
    pub fn of(status: u16) -> Answered<Self> {
        match status {
            400 => Answered::Known(Self::Able),
            404 => Answered::Known(Self::Foreign),
            other => Answered::Unknown(format!("it answers {other} at /snapshot/verify")),
        }
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is on.
    On,
    /// It is off.
    Off,
}

/// The outcome of comparing HashKV over all voters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hashes {
    /// All hold the same data.
    Equal {
        /// Where they were compared.
        revision: i64,
        /// The hash.
        hash: u32,
    },
    /// They do not.
    Different {
        /// Where they were compared.
        revision: i64,
        /// Each voter's hash.
        hashes: BTreeMap<MemberName, u32>,
    },
    /// Nobody can tell: that is not the same as equal.
    Unknown(String),
}

/// A full snapshot, as whoever takes it reports it. It goes by the name that the engine gave it,
/// and an act that asks for the same name twice is the same snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotWork {
    /// Nobody has heard of it.
    #[default]
    Absent,
    /// It is being taken.
    Taking,
    /// It was refused before it began (cluster not ready, another task runs).
    Rejected(String),
    /// It could not be taken.
    Failed(String),
    /// It is there and has not been verified.
    Taken,
    /// It is being verified.
    Verifying,
    /// It is whole.
    Verified {
        /// The last revision in it.
        revision: i64,
        /// Its size, bytes.
        bytes: u64,
        /// Its digest, in hexadecimal.
        sha256: String,
    },
    /// It is damaged.
    Damaged(String),
}

/// How far a voter may be behind: raft entries committed somewhere and not applied by it.
pub const MAX_RAFT_LAG: u64 = 100;

impl Process {
    /// What the process was made from, if there is one.
    pub fn make(&self) -> Option<&Make> {
        match self {
            Self::Absent => None,
            Self::Running { make, .. } | Self::Failing { make, .. } => Some(make),
        }
    }

    /// The release that the process was started as, if there is one.
    pub fn version(&self) -> Option<Version> {
        self.make().map(|make| make.version)
    }
}

impl Answer {
    /// The status, if there is one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Silent(_) => None,
            Self::Status(status) => Some(status),
        }
    }
}

impl Etcd {
    /// The members that answered.
    pub fn answers(&self) -> impl Iterator<Item = (&MemberName, &Status)> {
        self.members
            .iter()
            .filter_map(|(name, answer)| Some((name, answer.status()?)))
    }

    /// Whether an alarm of this kind is known to be raised.
    pub fn has_alarm(&self, kind: AlarmKind) -> bool {
        match &self.alarms {
            Answered::Known(alarms) => alarms.iter().any(|alarm| alarm.kind == kind),
            Answered::Unknown(_) => false,
        }
    }

    /// The highest raft index that any member knows to be committed.
    pub fn committed(&self) -> u64 {
        self.answers()
            .map(|(_, status)| status.raft_index)
            .max()
            .unwrap_or(0)
    }

    /// The highest revision of any member's store.
    pub fn revision(&self) -> i64 {
        self.answers()
            .map(|(_, status)| status.revision)
            .max()
            .unwrap_or(0)
    }

    /// The leader: the one that a majority of *all* members names in the highest term seen.
    pub fn leader(&self) -> Option<&MemberName> {
        let term = self.answers().map(|(_, status)| status.term).max()?;
        let mut votes: BTreeMap<MemberId, usize> = BTreeMap::new();
        for (_, status) in self.answers().filter(|(_, status)| status.term == term) {
            *votes.entry(status.leader).or_default() += 1;
        }
        let (leader, votes) = votes.into_iter().max_by_key(|(_, votes)| *votes)?;
        let quorum = self.members.len() / 2 + 1;
        if leader == MemberId::NOBODY || votes < quorum {
            return None;
        }
        self.answers()
            .find(|(_, status)| status.id == leader)
            .map(|(name, _)| name)
    }
}
