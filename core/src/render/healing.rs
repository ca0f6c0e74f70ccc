//! What server-side apply cannot put right by itself: the ports of a Service.
//!
//! It merges them by number and protocol. Where somebody has changed a number, it keeps that port and
//! adds ours, and the API server refuses two ports of one name. So the list is replaced first.

use serde_json::{Value, json};

use super::difference::Difference;

const PORTS: &str = "/spec/ports";

/// The merge patch that has to be written before `rendered` is applied to what is there; `None` if
/// none. It holds for the version that was seen alone. All but the ports stays as it is.
pub fn before_apply(rendered: &Value, there: &Value, drift: &[Difference]) -> Option<Value> {
    let of_ports = |it: &Difference| {
        let rest = it.path.strip_prefix(PORTS);
        rest.is_some_and(|it| it.is_empty() || it.starts_with('/'))
    };
    let needed = rendered["kind"] == "Service" && drift.iter().any(of_ports);
    needed.then(|| {
        json!({
            "metadata": { "resourceVersion": there["metadata"]["resourceVersion"] },
            "spec": { "ports": rendered["spec"]["ports"] },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Difference {
        Difference {
            path: path.to_owned(),
            theirs: Some(json!(1)),
            ours: Some(json!(2)),
        }
    }

    #[test]
    fn only_the_ports_of_a_service_are_replaced_before_it_is_applied() {
        let ports = json!([{ "name": "client", "port": 2379 }]);
        let service = json!({ "kind": "Service", "spec": { "ports": ports, "type": "ClusterIP" } });
        let there = json!({ "metadata": { "resourceVersion": "7" }, "spec": { "clusterIP": "c" } });
        let patch = json!({
            "metadata": { "resourceVersion": "7" }, "spec": { "ports": ports },
        });
        for path in ["/spec/ports/0/port", "/spec/ports/2", "/spec/ports"] {
            let drift = [at("/metadata/labels/a"), at(path)];
            let found = before_apply(&service, &there, &drift);
            assert_eq!(found, Some(patch.clone()), "{path}");
        }
        for drift in [&[][..], &[at("/spec/selector/a")], &[at("/spec/portsX")]] {
            assert_eq!(before_apply(&service, &there, drift), None, "{drift:?}");
        }
        let other = json!({ "kind": "StatefulSet", "spec": { "ports": ports } });
        assert_eq!(before_apply(&other, &there, &[at("/spec/ports/0")]), None);
    }
}
