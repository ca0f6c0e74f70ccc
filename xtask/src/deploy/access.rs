//! Who the operator is, and what it may do: no more than it does.

use std::collections::{BTreeMap, BTreeSet};

use druid_core::operator::definitions::{NEEDED, NEEDED_FOR_COPIES};
use druid_core::render::role_rules;
use serde_json::{Value, json};

use super::{NAME, NAMESPACE, labels};

const READ: [&str; 3] = ["get", "list", "watch"];
/// Of what it makes for an Etcd.
const OWN: [&str; 7] = [
    "create", "delete", "get", "list", "patch", "update", "watch",
];

/// Rights by group and resource.
type Rights = BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>;

/// The account, the role, and that the one has the other.
pub(super) fn objects() -> Vec<Value> {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let name = format!("{NAME}-operator");
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
        }),
        json!({
            "apiVersion": version, "kind": "ClusterRole",
            "metadata": { "name": name, "labels": labels() },
            "rules": rules(),
        }),
        json!({
            "apiVersion": version, "kind": "ClusterRoleBinding",
            "metadata": { "name": name, "labels": labels() },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }],
        }),
    ]
}

/// What it does by itself.
fn rights() -> Rights {
    let ours = "druid.gardener.cloud";
    let all = [
        // Its wish is a person's: the operator changes only the finalizer and the annotations.
        (
            (ours, "etcds"),
            &["get", "list", "patch", "update", "watch"][..],
        ),
        ((ours, "etcds/finalizers"), &["update"]),
        ((ours, "etcds/status"), &["get", "patch", "update"]),
        (
            (ours, "etcdcopybackupstasks"),
            &["get", "list", "patch", "update", "watch"],
        ),
        ((ours, "etcdcopybackupstasks/finalizers"), &["update"]),
        (
            (ours, "etcdcopybackupstasks/status"),
            &["get", "patch", "update"],
        ),
        // The snapshot before an upgrade is one.
        ((ours, "etcdopstasks"), &OWN),
        ((ours, "etcdopstasks/finalizers"), &["update"]),
        ((ours, "etcdopstasks/status"), &["get", "patch", "update"]),
        (("apps", "statefulsets"), &OWN),
        (("", "configmaps"), &OWN),
        (("", "serviceaccounts"), &OWN),
        (("", "services"), &OWN),
        (("batch", "jobs"), &OWN),
        // Those of the members, and the one by which an operator is chosen.
        (("coordination.k8s.io", "leases"), &OWN),
        (("policy", "poddisruptionbudgets"), &OWN),
        (("rbac.authorization.k8s.io", "rolebindings"), &OWN),
        (("rbac.authorization.k8s.io", "roles"), &OWN),
        // A member is restarted by deleting its pod.
        (("", "pods"), &["delete", "get", "list", "watch"]),
        // A member that joins again after quorum was lost may get a new volume: if a task asks for it.
        (
            ("", "persistentvolumeclaims"),
            &["delete", "get", "list", "watch"],
        ),
        // Those that an Etcd refers to get a finalizer; nothing else in them is written.
        (("", "secrets"), &["get", "list", "patch", "watch"]),
        (("discovery.k8s.io", "endpointslices"), &READ),
        // Those about claims are read.
        (("", "events"), &["create", "list", "patch"]),
        (("events.k8s.io", "events"), &["create", "patch"]),
    ];
    all.into_iter()
        .map(|(of, verbs)| (of, verbs.iter().copied().collect()))
        .collect()
}

/// What it does, and what it gives to members: Kubernetes lets nobody give what they do not have.
pub(super) fn rules() -> Vec<Value> {
    let mut rights: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for ((group, resource), verbs) in rights_and_gifts() {
        rights.entry((group, resource)).or_default().extend(verbs);
    }
    let mut rules: Vec<_> = rights
        .into_iter()
        .map(|((group, resource), verbs)| {
            json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs })
        })
        .collect();
    let definitions = NEEDED.iter().chain([&NEEDED_FOR_COPIES]);
    let definitions: Vec<_> = definitions.map(|it| it.name).collect();
    rules.push(json!({
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "resourceNames": definitions,
        "verbs": ["get"],
    }));
    rules
}

fn rights_and_gifts() -> Vec<((String, String), Vec<String>)> {
    let mut all = Vec::new();
    for ((group, resource), verbs) in rights() {
        let verbs = verbs.into_iter().map(str::to_owned).collect();
        all.push(((group.to_owned(), resource.to_owned()), verbs));
    }
    for rule in role_rules() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                all.push(((group.clone(), resource.clone()), rule.verbs.clone()));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_by_a_pattern_and_no_secret_is_written() {
        for rule in rules() {
            let text = rule.to_string();
            assert!(!text.contains('*'), "{text}");
            let is = |resource: &str| rule["resources"] == json!([resource]);
            if is("secrets") {
                assert_eq!(rule["verbs"], json!(["get", "list", "patch", "watch"]));
            }
        }
    }

    #[test]
    fn what_members_are_given_the_operator_has() {
        let rules = rules();
        for gift in role_rules() {
            let covered = rules.iter().any(|rule| {
                let has = |verb: &String| {
                    let verbs = rule["verbs"].as_array();
                    verbs.is_some_and(|verbs| verbs.contains(&json!(verb)))
                };
                rule["apiGroups"] == json!(gift.api_groups)
                    && rule["resources"] == json!(gift.resources)
                    && gift.verbs.iter().all(has)
            });
            assert!(covered, "{gift:?}");
        }
    }
}
