//! What the members are together.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Observed;
use super::finding::How;
use super::members::{Member, heard};
use crate::api::{Condition, EtcdStatus};
use crate::observed::{Answer, Answered, Etcd as Live};
use crate::status::conditions::{self, Kind};
use crate::status::serves;
use crate::version::lists_from_cache;

/// What the members are together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Whether there is a quorum.
    pub quorum: Answered<bool>,
    /// How that is known.
    #[serde(skip)]
    pub(super) how: How,
    /// The series that all members have agreed to speak.
    pub cluster_version: Answered<String>,
    /// Every raised alarm.
    pub alarms: Answered<Vec<String>>,
    /// The present revision.
    pub revision: Answered<i64>,
    /// Whether kube-apiserver can answer consistent lists from its cache.
    pub consistent_list_from_cache: Answered<bool>,
}

/// Something that only members know.
pub(super) fn of_members<T>(
    observed: &Observed,
    read: impl FnOnce(&Live) -> Answered<T>,
) -> Answered<T> {
    match (heard(observed), &observed.live) {
        (Some(live), _) => read(live),
        (None, Some(_)) => Answered::Unknown("no member answered".to_owned()),
        (None, None) => Answered::Unknown("no member could be asked".to_owned()),
    }
}

/// What they are together.
pub(super) fn cluster(observed: &Observed, status: &EtcdStatus, members: &[Member]) -> Cluster {
    let ready = conditions::find(status, Kind::Ready);
    let (quorum, how) = match heard(observed) {
        Some(live) => (by_answers(live, members.len(), ready), How::Answers),
        None => (
            by_status(ready, members),
            ready.map_or(How::Field("status.conditions"), |it| {
                How::condition(Kind::Ready, it)
            }),
        ),
    };
    Cluster {
        quorum,
        how,
        cluster_version: of_members(observed, cluster_version),
        alarms: of_members(observed, |live| match &live.alarms {
            Answered::Known(all) => {
                let kinds: BTreeSet<_> = all.iter().map(|it| it.kind.to_string()).collect();
                Answered::Known(kinds.into_iter().collect())
            }
            Answered::Unknown(why) => Answered::Unknown(why.clone()),
        }),
        revision: of_members(observed, |live| Answered::Known(live.revision())),
        consistent_list_from_cache: consistent_list(members),
    }
}

/// A member that serves has read from a quorum. That none does may be an election: it is a loss if the
/// operator, which looks all the time, says so, or if too few can answer: one that could not be asked may.
fn by_answers(live: &Live, all: usize, ready: Option<&Condition>) -> Answered<bool> {
    let read = matches!(live.membership, Answered::Known(_));
    if read || live.answers().any(|(_, status)| serves(status)) {
        return Answered::Known(true);
    }
    let all = all.max(live.members.len());
    let silent = live.members.len() - live.answers().count();
    let few = all - silent <= all / 2;
    if few || ready.is_some_and(|it| it.status == "False") {
        return Answered::Known(false);
    }
    let why = "no member serves at this moment, which may be an election: look again";
    Answered::Unknown(why.to_owned())
}

/// What the operator says holds only as long as enough Leases are renewed.
fn by_status(ready: Option<&Condition>, members: &[Member]) -> Answered<bool> {
    let Some(ready) = ready else {
        return Answered::Unknown("the status has no condition Ready".to_owned());
    };
    let serving = members
        .iter()
        .filter(|it| it.serves == Answered::Known(true));
    let needed = members.len() / 2 + 1;
    match (ready.status.as_str(), serving.count()) {
        ("True", serving) if serving >= needed => Answered::Known(true),
        ("True", serving) => Answered::Unknown(format!(
            "the operator says yes, but only {serving} of {} members are known to serve",
            members.len()
        )),
        ("False", _) => Answered::Known(false),
        _ => Answered::Unknown(format!("{}: {}", ready.reason, ready.message)),
    }
}

fn cluster_version(live: &Live) -> Answered<String> {
    let all = live.members.values().filter_map(Answer::status);
    let all: BTreeSet<_> = all.filter_map(|it| it.cluster_version).collect();
    let words: Vec<_> = all.iter().map(ToString::to_string).collect();
    match words.as_slice() {
        [] => Answered::Unknown("the members have not agreed on one yet".to_owned()),
        [one] => Answered::Known(one.clone()),
        several => Answered::Unknown(format!("members say {}", several.join(" and "))),
    }
}

/// One member that is too old is enough for a "no".
fn consistent_list(members: &[Member]) -> Answered<bool> {
    let mut unknown = None;
    for member in members {
        match &member.version {
            Answered::Known(version) if lists_from_cache(*version) => {}
            Answered::Known(_) => return Answered::Known(false),
            Answered::Unknown(why) => {
                unknown = Some(format!(
                    "the release of {} is not known: {why}",
                    member.name
                ));
            }
        }
    }
    match unknown {
        Some(why) => Answered::Unknown(why),
        None if members.is_empty() => Answered::Unknown("no member is to run".to_owned()),
        None => Answered::Known(true),
    }
}
