//! Do members belong to several clusters?

use std::collections::BTreeSet;

use super::conditions::{Finding, Kind, Truth};
use super::facts::Facts;
use super::identity::Identity;
use super::members::{Member, State};

/// The condition `ClusterIDMismatch`. Members of whom nobody can tell how they are do not count.
pub(super) fn mismatch(facts: &Facts, members: &[Member]) -> Finding {
    let found = |truth, reason, message: &str| {
        Finding::new(Kind::ClusterIdMismatch, truth, reason, message)
    };
    let mut clusters = BTreeSet::new();
    for (name, lease) in facts
        .expected()
        .filter_map(|(name, _)| facts.leases.get_key_value(&name))
    {
        let identity = match Identity::of(lease) {
            Ok(identity) => identity,
            Err(error) => {
                let message = format!("Unable to parse Lease {name} holder identity: {error}");
                let reason = "UnableToParseLeaseHolderIdentity";
                return found(Truth::Unknown, reason, &message);
            }
        };
        let known = members
            .iter()
            .any(|it| it.name == *name && it.why.state() != State::Unknown);
        if known {
            clusters.extend(identity.cluster);
        }
    }
    match clusters.len() {
        0 => found(
            Truth::Unknown,
            "NoClusterIDDetected",
            "No cluster ID could be detected from known ETCD members",
        ),
        1 => found(
            Truth::False,
            "NoClusterIDMismatchDetected",
            "No cluster ID mismatch detected among ETCD members",
        ),
        _ => found(
            Truth::True,
            "MultipleClusterIDsDetected",
            "Multiple cluster IDs detected among ETCD members",
        ),
    }
}
