//! The faults that a rehearsal can be held under, and how each has to end.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use druid_core::member::MemberName;
use druid_core::report::Outcome;
use thiserror::Error;

use crate::etcd::{self, Client};
use crate::lab::cluster::{Lab, LabError};

/// How long a call that makes a fault may take. 3.5 answers "request timed out" to an applied
/// downgrade only after 7 s.
const DEADLINE: Duration = Duration::from_secs(10);

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// The leader's process is killed in the middle of each roll.
    KillLeader,
    /// The engine is killed at every act boundary and resumes from its state file.
    KillEngine,
    /// The new release exits at its start; the first member has to be put back.
    BadImage,
    /// No snapshot can be taken.
    SnapshotFails,
    /// One byte of the snapshot is flipped after it was taken.
    SnapshotCorrupt,
    /// A member is down when the upgrade is asked for.
    MemberDown,
    /// One byte is flipped in one member's database.
    DivergedMember,
    /// The alarm NOSPACE is raised.
    Alarm,
    /// Authentication is enabled.
    Auth,
    /// A learner has been added.
    Learner,
    /// The cluster starts on the new release, etcd's own downgrade is enabled, and it is asked to
    /// go back.
    DowngradeEnabled,
    /// A follower gets hardly any time to run while the upgrade goes on.
    SlowFollower,
}

/// A fault that could not be made.
#[derive(Debug, Error)]
pub(crate) enum FaultError {
    /// The lab could not do it.
    #[error("{0}")]
    Lab(#[from] LabError),
    /// etcd could not do it.
    #[error("{0}")]
    Etcd(#[from] etcd::Error),
    /// There is nobody to do it to.
    #[error(
        "--fault {fault} needs a cluster of at least {needed} members: give --members {needed}"
    )]
    TooFewMembers {
        /// Which fault.
        fault: &'static str,
        /// How many it takes.
        needed: usize,
    },
}

impl Fault {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillEngine => "kill-engine",
            Self::BadImage => "bad-image",
            Self::SnapshotFails => "snapshot-fails",
            Self::SnapshotCorrupt => "snapshot-corrupt",
            Self::MemberDown => "member-down",
            Self::DivergedMember => "diverged-member",
            Self::Alarm => "alarm",
            Self::Auth => "auth",
            Self::Learner => "learner",
            Self::DowngradeEnabled => "downgrade-enabled",
            Self::SlowFollower => "slow-follower",
        }
    }

    /// How a rehearsal under this fault has to end.
    fn ends(self) -> Outcome {
        match self {
            Self::KillLeader | Self::KillEngine | Self::SlowFollower => Outcome::Passed,
            Self::BadImage => Outcome::PutBack,
            Self::SnapshotFails | Self::SnapshotCorrupt => Outcome::Halted,
            Self::MemberDown
            | Self::DivergedMember
            | Self::Alarm
            | Self::Auth
            | Self::Learner
            | Self::DowngradeEnabled => Outcome::Refused,
        }
    }

    /// The fewest members that it makes sense with.
    pub(super) fn needs_members(self) -> usize {
        match self {
            Self::MemberDown | Self::DivergedMember | Self::SlowFollower => 3,
            Self::KillLeader
            | Self::KillEngine
            | Self::BadImage
            | Self::SnapshotFails
            | Self::SnapshotCorrupt
            | Self::Alarm
            | Self::Auth
            | Self::Learner
            | Self::DowngradeEnabled => 1,
        }
    }

    /// Whether clients cannot work under it, so that the load is judged before it is made.
    pub(super) fn ends_the_load(self) -> bool {
        self.ends() == Outcome::Refused
    }
}

/// How a rehearsal under all these faults has to end: the first safeguard on the way decides.
pub(super) fn expected(faults: &[Fault]) -> Outcome {
    let has = |outcome| faults.iter().any(|fault| fault.ends() == outcome);
    [Outcome::Refused, Outcome::Halted, Outcome::PutBack]
        .into_iter()
        .find(|outcome| has(*outcome))
        .unwrap_or(Outcome::Passed)
}

/// Makes a fault that is there before the upgrade is asked for. The others have their place in the
/// lab or in the roll.
pub(super) async fn make(
    fault: Fault,
    lab: &Lab,
    clients: &[(MemberName, Client)],
) -> Result<(), FaultError> {
    let Some((first, client)) = clients.first() else {
        return Ok(());
    };
    match fault {
        Fault::SnapshotFails => lab.snapshots().fail_takes(),
        Fault::SnapshotCorrupt => lab.snapshots().corrupt_after_take(),
        Fault::MemberDown => lab.hold_down(first).await?,
        Fault::DivergedMember => {
            lab.flip_byte(first).await?;
            until_all_answer(clients).await;
        }
        Fault::Alarm => {
            let member = client.status(DEADLINE).await?.id;
            client.alarm_raise(member, DEADLINE).await?;
        }
        Fault::Auth => client.auth_enable("rehearsal", DEADLINE).await?,
        Fault::Learner => {
            let learner = lab.new_member(MemberName("learner".to_owned()))?;
            add_learner(client, &learner.peer_url()).await?;
            lab.add_member_process(learner)?;
        }
        Fault::DowngradeEnabled => {
            // 3.5 applies it and then says that the request timed out.
            match client.downgrade_enable("3.4", DEADLINE).await {
                Err(error) if !error.is_ambiguous() => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        Fault::KillLeader | Fault::KillEngine | Fault::BadImage | Fault::SlowFollower => {}
    }
    Ok(())
}

/// etcd takes a new member only once all have been connected for 5 s (its strict check of
/// reconfigurations).
async fn add_learner(client: &Client, peer_url: &str) -> Result<(), etcd::Error> {
    let give_up = tokio::time::Instant::now() + DEADLINE;
    loop {
        match client
            .member_add_learner(&[peer_url.to_owned()], DEADLINE)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > give_up => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

async fn until_all_answer(clients: &[(MemberName, Client)]) {
    for (_, client) in clients {
        for _ in 0..100 {
            let answer = client
                .get(b"rehearse", true, Duration::from_millis(500))
                .await;
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Stops a member four fifths of the time, until the guard is dropped.
pub(super) fn slow(lab: &Arc<Lab>, member: MemberName) -> Slow {
    let at_work = lab.clone();
    let name = member.clone();
    let task = tokio::spawn(async move {
        loop {
            let _ = at_work.pause(&name);
            tokio::time::sleep(Duration::from_millis(80)).await;
            let _ = at_work.resume(&name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    Slow {
        lab: lab.clone(),
        member,
        task,
    }
}

/// A member that is slowed down.
pub(super) struct Slow {
    lab: Arc<Lab>,
    member: MemberName,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.task.abort();
        let _ = self.lab.resume(&self.member);
    }
}
