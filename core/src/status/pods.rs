//! What the StatefulSet, its pods and their volumes say.

use super::conditions::{Finding, Kind, Truth};
use super::facts::{ClaimWarning, Facts, Sought, StatefulSet};
use crate::api::{CrossVersionObjectReference, EtcdStatus, Int32};

/// So many warnings are shown of each claim.
const WARNINGS: usize = 2;

/// The condition `AllMembersUpdated`.
pub(super) fn all_updated(facts: &Facts) -> Finding {
    let found = |truth, reason, message: &str| {
        Finding::new(Kind::AllMembersUpdated, truth, reason, message)
    };
    match &facts.stateful_set {
        Sought::Unknown(why) => found(Truth::Unknown, "UnableToFetchStatefulSet", why),
        Sought::Missing => {
            let message = not_found(facts);
            found(Truth::Unknown, "StatefulSetNotFound", &message)
        }
        Sought::Found(set) if observed(set) && updated(facts, set) == facts.replicas => {
            let message = "All members reflect latest desired spec";
            found(Truth::True, "AllMembersUpdated", message)
        }
        Sought::Found(_) => {
            let message = "At least one member is not yet updated";
            found(Truth::False, "NotAllMembersUpdated", message)
        }
    }
}

/// The condition `DataVolumesReady`.
pub(super) fn volumes_ready(facts: &Facts) -> Finding {
    let kind = Kind::DataVolumesReady;
    let unknown = |reason: &str, message: &str| Finding::new(kind, Truth::Unknown, reason, message);
    match &facts.stateful_set {
        Sought::Found(_) => {}
        Sought::Missing => return unknown("StatefulSetNotFound", &not_found(facts)),
        Sought::Unknown(why) => return unknown("UnableToFetchStatefulSet", why),
    }
    let warned: Vec<_> = match &facts.claims {
        Sought::Unknown(why) => {
            return unknown("UnableToFetchWarningEventsForDataVolumes", why);
        }
        Sought::Missing => Vec::new(),
        Sought::Found(claims) => claims
            .iter()
            .filter(|(_, warnings)| !warnings.is_empty())
            .map(|(name, warnings)| warning(&facts.namespace, name, warnings))
            .collect(),
    };
    let (namespace, name) = (&facts.namespace, &facts.name);
    if warned.is_empty() {
        let message =
            format!("No warning events found for PVCs used by StatefulSet {namespace}/{name}");
        Finding::new(kind, Truth::True, "NoWarningsFoundForDataVolumes", message)
    } else {
        let reason = "FoundWarningsForDataVolumes";
        Finding::new(kind, Truth::False, reason, warned.join("; "))
    }
}

/// The warnings that began last. When they were repeated, and how often, is left out: they would
/// say something new every few seconds.
fn warning(namespace: &str, claim: &str, warnings: &[ClaimWarning]) -> String {
    let mut sorted: Vec<_> = warnings
        .iter()
        .map(|it| (it.first, &it.source, &it.message))
        .collect();
    sorted.sort_unstable();
    let mut lines = vec![format!("Warning for PVC {namespace}/{claim}: -> Events:")];
    for (_, source, message) in sorted.into_iter().rev() {
        let line = format!("* {source} reported: {message}");
        if lines.len() <= WARNINGS && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

fn not_found(facts: &Facts) -> String {
    format!("StatefulSet {} not found for etcd", facts.name)
}

/// Whether what the StatefulSet says is about its newest spec.
fn observed(set: &StatefulSet) -> bool {
    set.observed_generation >= set.generation
}

/// How many of the pods that there are to be need no update.
fn updated(facts: &Facts, set: &StatefulSet) -> u16 {
    facts
        .expected()
        .map(|(_, pod)| current(facts, set, &pod))
        .sum()
}

/// 1 if the pod needs no update.
fn current(facts: &Facts, set: &StatefulSet, pod: &str) -> u16 {
    let revision = facts.pods.get(pod).and_then(|pod| pod.revision.as_deref());
    revision
        .is_some_and(|revision| set.is_current(revision))
        .into()
}

/// Puts the reference and the counters into the status.
pub(super) fn count(facts: &Facts, status: &mut EtcdStatus) {
    let counted = |count: u16| (count > 0).then_some(Int32(count.into()));
    let set = match &facts.stateful_set {
        Sought::Found(set) => set,
        Sought::Unknown(_) => return,
        Sought::Missing => {
            status.etcd = None;
            status.current_replicas = None;
            status.replicas = None;
            status.ready_replicas = None;
            status.ready = Some(false);
            return;
        }
    };
    let all_current = facts
        .pods
        .keys()
        .map(|pod| current(facts, set, pod))
        .sum::<u16>();
    // What the Etcd asks for counts once the StatefulSet was told.
    let told = facts.previous.observed_generation == Some(facts.generation);
    let expected = if told { facts.replicas } else { set.wanted };
    let of_expected = (0..expected)
        .map(|ordinal| current(facts, set, &format!("{}-{ordinal}", facts.name)))
        .sum::<u16>();
    status.etcd = Some(CrossVersionObjectReference {
        kind: "StatefulSet".to_owned(),
        name: facts.name.clone(),
        api_version: Some("apps/v1".to_owned()),
    });
    status.current_replicas = counted(all_current);
    status.replicas = counted(set.existing);
    status.ready_replicas = counted(set.ready);
    status.ready = Some(observed(set) && set.ready >= expected && of_expected == expected);
}
