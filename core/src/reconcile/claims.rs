//! The volumes that pods wait for, and what stands against them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};

use crate::status::ClaimWarning;

/// The claims of pods that no node has taken yet: one whose volume is not there keeps its pod from
/// every node. Pods that run cost nothing.
pub fn awaited<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> BTreeSet<String> {
    let specs = pods.into_iter().filter_map(|it| it.spec.as_ref());
    let waiting = specs.filter(|it| it.node_name.is_none());
    let volumes = waiting.flat_map(|it| it.volumes.iter().flatten());
    volumes
        .filter_map(|it| it.persistent_volume_claim.as_ref())
        .map(|it| it.claim_name.clone())
        .collect()
}

/// Whether a claim has its volume.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|it| it.phase.as_deref());
    phase == Some("Bound")
}

/// What an Event warns of; `None` if it does not warn, or says not when.
pub fn claim_warning(event: &Event) -> Option<ClaimWarning> {
    if event.type_.as_deref() != Some("Warning") {
        return None;
    }
    let source = event.source.as_ref().and_then(|it| it.component.clone());
    let source = source.filter(|it| !it.is_empty());
    // Whichever of both Event APIs it was written with.
    let first = event.first_timestamp.as_ref().map(|it| it.0);
    let first = first.or_else(|| event.event_time.as_ref().map(|it| it.0));
    Some(ClaimWarning {
        source: source
            .or_else(|| event.reporting_component.clone())
            .unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        first: first.or_else(|| Some(event.metadata.creation_timestamp.as_ref()?.0))?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(node: Option<&str>) -> Pod {
        serde_json::from_value(json!({ "spec": {
            "nodeName": node,
            "containers": [],
            "volumes": [
                { "name": "a", "persistentVolumeClaim": { "claimName": "data-e-0" } },
                { "name": "b", "configMap": { "name": "e" } },
            ],
        } }))
        .unwrap()
    }

    #[test]
    fn only_a_pod_without_a_node_waits_for_its_claim() {
        assert_eq!(awaited([&pod(None)]), ["data-e-0".to_owned()].into());
        assert_eq!(awaited([&pod(Some("n"))]), BTreeSet::new());
    }

    #[test]
    fn a_claim_is_bound_when_it_says_so() {
        for (status, bound) in [
            (json!({ "phase": "Bound" }), true),
            (json!({ "phase": "Pending" }), false),
            (json!({ "phase": "Lost" }), false),
            (json!({}), false),
        ] {
            let claim = json!({ "status": status });
            assert_eq!(is_bound(&serde_json::from_value(claim).unwrap()), bound);
        }
    }

    #[test]
    fn warnings_are_read_however_they_were_written() {
        let read = |event: serde_json::Value| {
            let mut event = event;
            event["involvedObject"] = json!({});
            let warning = claim_warning(&serde_json::from_value(event).unwrap())?;
            Some((warning.source, warning.message, warning.first.to_string()))
        };
        let (first, then) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00.000000Z");
        let old = json!({
            "type": "Warning", "message": "m", "metadata": { "creationTimestamp": first },
            "source": { "component": "binder" }, "reportingComponent": "",
        });
        let told =
            |source: &str, at: &str| Some((source.to_owned(), "m".to_owned(), at.to_owned()));
        assert_eq!(read(old.clone()), told("binder", first));
        let new = json!({
            "type": "Warning", "message": "m", "metadata": { "creationTimestamp": first },
            "source": {}, "reportingComponent": "driver", "eventTime": then,
        });
        assert_eq!(read(new), told("driver", "2026-01-02T00:00:00Z"));
        let mut repeated = old.clone();
        repeated["firstTimestamp"] = json!("2025-01-01T00:00:00Z");
        assert_eq!(read(repeated), told("binder", "2025-01-01T00:00:00Z"));
        let mut timeless = old.clone();
        timeless["metadata"] = json!({});
        assert_eq!(read(timeless), None);
        let mut normal = old;
        normal["type"] = json!("Normal");
        assert_eq!(read(normal), None);
    }
}
