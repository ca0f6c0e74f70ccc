//! The members, from the status and from their pods.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::Looked;
use super::against::Against;
use crate::api::{Etcd, EtcdStatus};
use crate::cli::colour::Tone;
use crate::cli::image;
use crate::cli::table::Cell;
use crate::status::Sought;
use crate::upgrade::ShownPhase;
use crate::version::Version;

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Member {
    name: String,
    pod: Option<PodState>,
    version: Option<String>,
    role: Option<String>,
    status: Option<String>,
    upgrade: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum PodState {
    Ready,
    NotReady,
    Leaving,
}

impl Member {
    pub(super) fn cells(&self) -> [Cell; 6] {
        let pod = match self.pod {
            Some(PodState::Ready) => Cell::toned("ready", Tone::Good),
            Some(PodState::NotReady) => Cell::toned("not ready", Tone::Bad),
            Some(PodState::Leaving) => Cell::toned("being deleted", Tone::Bad),
            None => Cell::known(None),
        };
        [
            Cell::plain(&self.name),
            pod,
            Cell::known(self.version.as_deref()),
            Cell::known(self.role.as_deref()),
            Cell::known(self.status.as_deref()),
            Cell::known(self.upgrade.as_deref()),
        ]
    }
}

/// All of them, by name. A member is called as its pod, with the prefix of the spec before it.
pub(super) fn members(etcd: &Etcd, status: &EtcdStatus, pods: &Sought<Vec<Pod>>) -> Vec<Member> {
    let mut all: BTreeMap<String, Member> = BTreeMap::new();
    let mut of = |name: &str, fill: &dyn Fn(&mut Member)| {
        let member = all.entry(name.to_owned()).or_default();
        name.clone_into(&mut member.name);
        fill(member);
    };
    for pod in ours(etcd, pods) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        of(&member_name(etcd, name), &|member| {
            member.pod = Some(state(pod));
            member.version = pod.spec.as_ref().and_then(image::version);
        });
    }
    for known in status.members.iter().flatten() {
        of(&known.name, &|member| {
            member.role.clone_from(&known.role);
            member.status = Some(known.status.clone());
        });
    }
    let upgrade = status.upgrade.iter();
    for known in upgrade.flat_map(|it| it.members.iter().flatten()) {
        of(&known.name, &|member| {
            member.upgrade.clone_from(&known.phase);
            if known.version.is_some() {
                member.version.clone_from(&known.version);
            }
        });
    }
    all.into_values().collect()
}

/// What StatefulSet, pods and releases say against an upgrade of a cluster that is awake.
pub(super) fn against(etcd: &Etcd, looked: &Looked, members: &[Member]) -> Vec<Against> {
    let mut found = Vec::new();
    let name = &looked.etcd.name;
    match &looked.stateful_set {
        Sought::Found(_) => {}
        Sought::Missing => found.push(Against::NoStatefulSet(name.clone())),
        Sought::Unknown(why) => found.push(unknown("the StatefulSet", why)),
    }
    if let Sought::Unknown(why) = &looked.pods {
        found.push(unknown("the pods", why));
    } else {
        let pods: Vec<_> = ours(etcd, &looked.pods).collect();
        let wanted = etcd.spec.replicas.0;
        if i64::try_from(pods.len()).is_ok_and(|it| it < wanted) {
            let found_pods = pods.len();
            found.push(Against::PodsMissing {
                found: found_pods,
                wanted,
            });
        }
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            match state(pod) {
                PodState::Ready => {}
                PodState::NotReady => found.push(Against::PodNotReady(name)),
                PodState::Leaving => found.push(Against::PodLeaving(name)),
            }
        }
    }
    // The tag of an image may say anything.
    let versions = members.iter().filter_map(|it| it.version.as_ref());
    let versions: BTreeSet<Version> = versions.filter_map(|it| it.parse().ok()).collect();
    if versions.len() > 1 && is_settled(etcd) {
        found.push(Against::VersionsDiffer {
            versions: versions.iter().map(Version::to_string).collect(),
        });
    }
    found
}

fn unknown(what: &'static str, why: &str) -> Against {
    Against::Unknown {
        what,
        why: why.to_owned(),
    }
}

/// Whether no upgrade accounts for members that differ.
fn is_settled(etcd: &Etcd) -> bool {
    let upgrade = etcd.status.as_ref().and_then(|it| it.upgrade.as_ref());
    let phase = upgrade.and_then(|it| it.phase.as_deref());
    phase.is_none() || phase == Some(ShownPhase::Succeeded.word())
}

/// The pods of the StatefulSet: jobs of an Etcd have its labels too.
fn ours<'a>(etcd: &'a Etcd, pods: &'a Sought<Vec<Pod>>) -> impl Iterator<Item = &'a Pod> {
    let all = match pods {
        Sought::Found(pods) => pods.as_slice(),
        Sought::Missing | Sought::Unknown(_) => &[],
    };
    let name = etcd.metadata.name.as_deref().unwrap_or_default();
    let is_ours = move |pod: &&Pod| {
        let pod = pod.metadata.name.as_deref().unwrap_or_default();
        let ordinal = pod.strip_prefix(name).and_then(|it| it.strip_prefix('-'));
        ordinal.is_some_and(|it| it.parse::<u16>().is_ok())
    };
    all.iter().filter(is_ours)
}

fn member_name(etcd: &Etcd, pod: &str) -> String {
    let prefix = etcd.spec.member_name_prefix.as_deref();
    match prefix.filter(|it| !it.is_empty()) {
        Some(prefix) => format!("{prefix}-{pod}"),
        None => pod.to_owned(),
    }
}

fn state(pod: &Pod) -> PodState {
    if pod.metadata.deletion_timestamp.is_some() {
        return PodState::Leaving;
    }
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    if conditions.any(|it| it.type_ == "Ready" && it.status == "True") {
        PodState::Ready
    } else {
        PodState::NotReady
    }
}
