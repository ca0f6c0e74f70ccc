//! May it begin? Every check of a cluster before it is upgraded, taken back or restarted, in one
//! place, from one observation. Whatever could not be found out is never taken for good.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config_keys::{self, Config};
use crate::member::{MemberId, MemberName};
use crate::observed::{
    AlarmKind, Answer, Answered, Deep, Etcd, Hashes, Listed, MAX_RAFT_LAG, Status, Switch, Verifier,
};
use crate::refusal::{MAX_QUOTA_PERCENT, Refusal};
use crate::version::{self, Direction, Minor, Version};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Where the cluster is to go; what it runs already if its members are only to be restarted.
    pub to: Version,
    /// The configuration file of the members, where it is known.
    pub config: Option<Config>,
    /// The two releases of a roll that has begun already, and so may go on: members on either are
    /// no skew, and the cluster version may be that of either.
    pub allowed_mixed: Option<(Version, Version)>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// What the cluster runs; `None` if no member answered.
    pub from: Option<Version>,
    /// Why not.
    pub refusals: Vec<Refusal>,
    /// What could not be found out.
    pub unknowns: Vec<String>,
    /// What to know, and nothing that stands in the way.
    pub warnings: Vec<String>,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every check passed.
    Allowed,
    /// One did not.
    Refused,
    /// One could not be made, and none failed.
    Unknown,
}

impl Preflight {
    /// A refusal outweighs what is unknown.
    pub fn verdict(&self) -> Verdict {
        if !self.refusals.is_empty() {
            Verdict::Refused
        } else if !self.unknowns.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Allowed
        }
    }
}

/// Judges a cluster. It changes nothing and may be asked again.
pub fn judge(ask: &Ask, etcd: &Etcd, deep: &Deep) -> Preflight {
    let mut found = Preflight::default();
    if etcd.answers().next().is_none() {
        nobody_answers(etcd, &mut found);
        return found;
    }
    let from = starting_point(ask, etcd);
    found.from = Some(from);
    let direction = Direction::between(from, ask.to);
    steps(ask, from, &mut found);
    members_answer(etcd, &mut found);
    versions(ask, from, etcd, &mut found);
    membership(etcd, &mut found);
    leader(etcd, deep, &mut found);
    raft_lag(etcd, &mut found);
    alarms(direction, etcd, &mut found);
    hashes(&deep.hashes, &mut found);
    quota(direction, etcd, &mut found);
    auth(direction, &deep.auth, &mut found);
    downgrade(etcd, deep, &mut found);
    writes(deep, &mut found);
    verifier(direction, deep, &mut found);
    if let Some(config) = &ask.config {
        let keys = config_keys::judge(config, from, ask.to);
        found.refusals.extend(keys.refusals);
        found.unknowns.extend(keys.unknowns);
        found.warnings.extend(keys.warnings);
    }
    found
}

fn nobody_answers(etcd: &Etcd, found: &mut Preflight) {
    let silent = etcd
        .members
        .iter()
        .filter_map(|(name, answer)| match answer {
            Answer::Silent(why) => Some(format!("{name} does not answer: {why}")),
            Answer::Status(_) => None,
        });
    found.unknowns.extend(silent);
    if found.unknowns.is_empty() {
        found.unknowns.push("there is no member to ask".to_owned());
    }
}

/// What the cluster is taken from: the release that most members run, the earlier one on a draw;
/// in a roll that has begun, the end of it that the target is not.
fn starting_point(ask: &Ask, etcd: &Etcd) -> Version {
    if let Some((one, other)) = ask.allowed_mixed {
        return if ask.to == one { other } else { one };
    }
    let mut counts: BTreeMap<Version, usize> = BTreeMap::new();
    for (_, status) in etcd.answers() {
        *counts.entry(status.version).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or_default();
    let first = counts.into_iter().find(|(_, count)| *count == most);
    first.map_or(ask.to, |(version, _)| version)
}

fn steps(ask: &Ask, from: Version, found: &mut Preflight) {
    let starts = match ask.allowed_mixed {
        Some((one, other)) => BTreeSet::from([one, other]),
        None => BTreeSet::from([from]),
    };
    for start in starts.into_iter().filter(|start| *start != ask.to) {
        if let Err(why) = version::step(start, ask.to) {
            found.refusals.push(Refusal::VersionStepUnsupported(why));
        }
    }
    if from == ask.to {
        let nothing = format!("the cluster runs {from} already: nothing to do");
        found.warnings.push(nothing);
    }
}

fn members_answer(etcd: &Etcd, found: &mut Preflight) {
    for (name, answer) in &etcd.members {
        let member = name.clone();
        match answer {
            Answer::Silent(why) => found.refusals.push(Refusal::MemberUnreachable {
                member,
                why: why.clone(),
            }),
            Answer::Status(Status {
                ready: Err(why), ..
            }) => {
                found.refusals.push(Refusal::MemberNotReady {
                    member,
                    why: why.clone(),
                });
            }
            Answer::Status(Status { ready: Ok(()), .. }) => {}
        }
    }
}

fn versions(ask: &Ask, from: Version, etcd: &Etcd, found: &mut Preflight) {
    let (members, cluster): (BTreeSet<Version>, BTreeSet<Minor>) = match ask.allowed_mixed {
        Some((one, other)) => ([one, other].into(), [one.minor, other.minor].into()),
        None => ([from].into(), [from.minor].into()),
    };
    for (name, status) in etcd.answers() {
        if !members.contains(&status.version) {
            found.refusals.push(Refusal::VersionSkew {
                member: name.clone(),
                found: status.version,
                expected: from,
            });
        }
        if !status.cluster_version.is_some_and(|v| cluster.contains(&v)) {
            found.refusals.push(Refusal::ClusterVersionUnexpected {
                member: name.clone(),
                found: status.cluster_version,
                expected: from.minor,
            });
        }
    }
}

fn membership(etcd: &Etcd, found: &mut Preflight) {
    let listed = match &etcd.membership {
        Answered::Known(listed) => listed,
        Answered::Unknown(why) => {
            found.unknowns.push(format!("the member list: {why}"));
            found.refusals.extend(learners(etcd, &[]));
            return;
        }
    };
    found.refusals.extend(learners(etcd, listed));
    found.refusals.extend(count_mismatch(etcd, listed));
    if listed.iter().filter(|member| !member.learner).count() == 2 {
        let two = "a cluster of two members stops whenever one of them is restarted";
        found.warnings.push(two.to_owned());
    }
}

fn learners(etcd: &Etcd, listed: &[Listed]) -> Vec<Refusal> {
    let name_of = |member: &Listed| match member.name.0.as_str() {
        "" => MemberName(member.id.to_string()),
        _ => member.name.clone(),
    };
    let by_list = listed.iter().filter(|member| member.learner).map(name_of);
    let unlisted = |id| {
        !listed
            .iter()
            .any(|member| member.learner && member.id == id)
    };
    let by_itself = etcd
        .answers()
        .filter(|(_, status)| status.learner && unlisted(status.id))
        .map(|(name, _)| name.clone());
    let members: BTreeSet<_> = by_list.chain(by_itself).collect();
    members
        .into_iter()
        .map(|member| Refusal::LearnerPresent { member })
        .collect()
}

/// Every listed member is to be asked exactly once. One that does not answer may be any of those
/// that are not accounted for, unless it goes by a listed name.
fn count_mismatch(etcd: &Etcd, listed: &[Listed]) -> Option<Refusal> {
    let ids: BTreeSet<MemberId> = etcd.answers().map(|(_, status)| status.id).collect();
    let absent: Vec<&Listed> = listed
        .iter()
        .filter(|member| !ids.contains(&member.id) && !etcd.members.contains_key(&member.name))
        .collect();
    let listed_name = |name: &MemberName| listed.iter().any(|member| member.name == *name);
    let nameless = etcd
        .members
        .iter()
        .filter(|(name, answer)| answer.status().is_none() && !listed_name(name))
        .count();
    let twice = etcd.answers().count() != ids.len();
    let foreign = ids.iter().any(|id| !listed.iter().any(|m| m.id == *id));
    let wrong = listed.len() != etcd.members.len() || twice || foreign || absent.len() > nameless;
    wrong.then(|| Refusal::MemberCountMismatch {
        listed: listed.len(),
        given: etcd.members.len(),
        absent: absent
            .into_iter()
            .map(|member| match member.name.0.as_str() {
                "" => format!("{} (never started)", member.id),
                name => name.to_owned(),
            })
            .collect(),
    })
}

fn leader(etcd: &Etcd, deep: &Deep, found: &mut Preflight) {
    let statuses = || etcd.answers().map(|(_, status)| status);
    let leaders: BTreeSet<MemberId> = statuses().map(|status| status.leader).collect();
    let terms: BTreeSet<u64> = statuses().map(|status| status.term).collect();
    let all = match &etcd.membership {
        Answered::Known(listed) => listed.iter().filter(|member| !member.learner).count(),
        Answered::Unknown(_) => etcd.members.len(),
    };
    let voters = statuses().filter(|status| !status.learner).count();
    let why = if leaders.contains(&MemberId::NOBODY) {
        "a member knows of no leader".to_owned()
    } else if leaders.len() > 1 {
        format!("members name {} different leaders", leaders.len())
    } else if terms.len() > 1 {
        "members are in different raft terms".to_owned()
    } else if voters <= all / 2 {
        "no majority of the members names one".to_owned()
    } else if deep.terms.0 != deep.terms.1 {
        format!(
            "an election was held while we watched (raft term {} -> {})",
            deep.terms.0, deep.terms.1
        )
    } else {
        return;
    };
    found.refusals.push(Refusal::NoStableLeader { why });
}

fn raft_lag(etcd: &Etcd, found: &mut Preflight) {
    let committed = etcd.committed();
    for (name, status) in etcd.answers() {
        let behind = committed.saturating_sub(status.raft_applied_index);
        if behind > MAX_RAFT_LAG {
            found.refusals.push(Refusal::RaftLag {
                member: name.clone(),
                behind,
                allowed: MAX_RAFT_LAG,
            });
        }
    }
}

/// A full database keeps a cluster from going up only: etcd starts under NOSPACE, and a larger quota
/// comes with a restart.
fn alarms(direction: Direction, etcd: &Etcd, found: &mut Preflight) {
    let raised = match &etcd.alarms {
        Answered::Known(raised) => raised,
        Answered::Unknown(why) => {
            found.unknowns.push(format!("alarms: {why}"));
            return;
        }
    };
    for alarm in raised {
        let refusal = Refusal::AlarmActive {
            member: alarm.member,
            kind: alarm.kind,
        };
        match (direction, alarm.kind) {
            (Direction::Downgrade | Direction::Same, AlarmKind::NoSpace) => {
                found.warnings.push(refusal.to_string());
            }
            (Direction::Upgrade, AlarmKind::NoSpace)
            | (_, AlarmKind::Corrupt | AlarmKind::Unknown) => found.refusals.push(refusal),
        }
    }
    let complaints = etcd.answers().flat_map(|(name, status)| {
        let new = |text: &&String| !text.contains("alarm:") && !text.contains("no leader");
        let errors = status.errors.iter().filter(new);
        errors.map(move |text| format!("{name} reports: {text}"))
    });
    found.warnings.extend(complaints);
}

fn hashes(hashes: &Hashes, found: &mut Preflight) {
    match hashes {
        Hashes::Equal { .. } => {}
        Hashes::Different { revision, hashes } => {
            let each: Vec<_> = hashes
                .iter()
                .map(|(name, hash)| format!("{name} {hash:08x}"))
                .collect();
            found.refusals.push(Refusal::HashMismatch {
                revision: *revision,
                hashes: each.join(", "),
            });
        }
        Hashes::Unknown(why) => found.unknowns.push(format!("HashKV: {why}")),
    }
}

/// Only going up needs room to grow.
fn quota(direction: Direction, etcd: &Etcd, found: &mut Preflight) {
    if direction != Direction::Upgrade {
        return;
    }
    for (name, status) in etcd.answers() {
        match status.quota {
            None => found
                .unknowns
                .push(format!("{name} does not say its database quota")),
            Some(quota) => {
                let used = u128::from(status.db_size) * 100;
                if used > u128::from(quota) * u128::from(MAX_QUOTA_PERCENT) {
                    found.refusals.push(Refusal::QuotaHeadroom {
                        member: name.clone(),
                        db_size: status.db_size,
                        quota,
                    });
                }
            }
        }
    }
}

/// Users are stored differently in different series only.
fn auth(direction: Direction, auth: &Answered<Switch>, found: &mut Preflight) {
    if direction == Direction::Same {
        return;
    }
    match auth {
        Answered::Known(Switch::Off) => {}
        Answered::Known(Switch::On) => found.refusals.push(Refusal::AuthEnabled),
        Answered::Unknown(why) => found.unknowns.push(format!("authentication: {why}")),
    }
}

/// 3.4 has no downgrade job to ask for.
fn downgrade(etcd: &Etcd, deep: &Deep, found: &mut Preflight) {
    for (name, answer) in &deep.downgrade {
        match answer {
            Answered::Known(Switch::Off) => {}
            Answered::Known(Switch::On) => found.refusals.push(Refusal::DowngradeInProgress {
                member: name.clone(),
            }),
            Answered::Unknown(why) => {
                found
                    .unknowns
                    .push(format!("downgrade job of {name}: {why}"));
            }
        }
    }
    let unasked = etcd.answers().filter(|(name, status)| {
        status.version.minor >= Minor::new(3, 5) && !deep.downgrade.contains_key(name)
    });
    let unasked = unasked.map(|(name, _)| format!("downgrade job of {name}: not asked"));
    found.unknowns.extend(unasked);
}

fn writes(deep: &Deep, found: &mut Preflight) {
    match &deep.write {
        None | Some(Answered::Known(())) => {}
        Some(Answered::Unknown(why)) => {
            found.unknowns.push(format!("the probe write: {why}"));
        }
    }
}

/// Only going up takes a snapshot, and none counts that was not verified.
fn verifier(direction: Direction, deep: &Deep, found: &mut Preflight) {
    if direction != Direction::Upgrade {
        return;
    }
    match &deep.verifier {
        None | Some(Answered::Known(Verifier::Able)) => {}
        Some(Answered::Known(Verifier::Foreign)) => {
            found.refusals.push(Refusal::SidecarCannotVerify);
        }
        Some(Answered::Unknown(why)) => {
            let what = format!("whether the leading sidecar can verify a snapshot: {why}");
            found.unknowns.push(what);
        }
    }
}

/// Members that have saved no raft snapshot since they started: etcd's own corruption check at
/// start has nothing to go by on them.
pub fn raft_snapshot_warning(saved: &BTreeMap<MemberName, Answered<u64>>) -> Option<String> {
    let without: Vec<_> = saved
        .iter()
        .filter(|(_, saved)| **saved == Answered::Known(0))
        .map(|(name, _)| name.to_string())
        .collect();
    (!without.is_empty()).then(|| {
        format!(
            "no raft snapshot saved since the start of {}: etcd's own corruption check at start \
             proves nothing without one",
            without.join(", ")
        )
    })
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
