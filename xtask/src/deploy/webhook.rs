//! What the webhook "etcd component protection" needs besides, where it is switched on: by whom the operator is
//! asked, and what it may do to keep its certificate.

use druid_core::api::names;
use druid_core::protection::{Component, PATH};
use druid_core::webhook_certificate::CONFIGURATION;
use serde_json::{Value, json};

use super::{NAME, NAMESPACE, labels};

/// Where it listens, if nothing else is configured.
const PORT: u16 = 9443;

/// The account in the Kubernetes that removes what belongs to objects that are gone; as in etcd-druid's
/// chart, it is exempt.
pub(super) const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

/// All of it.
pub fn objects() -> Vec<Value> {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let to = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }]);
    let within = json!({ "name": CONFIGURATION, "namespace": NAMESPACE, "labels": labels() });
    let everywhere = json!({ "name": CONFIGURATION, "labels": labels() });
    let role = |kind: &str| json!({ "apiGroup": group, "kind": kind, "name": CONFIGURATION });
    vec![
        // To write to a Secret that is there it has the right already. Who may create cannot be told a name.
        json!({
            "apiVersion": version, "kind": "Role", "metadata": within,
            "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] }],
        }),
        json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": within,
            "roleRef": role("Role"), "subjects": to,
        }),
        json!({
            "apiVersion": version, "kind": "ClusterRole", "metadata": everywhere,
            "rules": [{
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["validatingwebhookconfigurations"],
                "resourceNames": [CONFIGURATION],
                "verbs": ["get", "list", "update", "watch"],
            }],
        }),
        json!({
            "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": everywhere,
            "roleRef": role("ClusterRole"), "subjects": to,
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": within,
            "spec": {
                "selector": { "app.kubernetes.io/name": NAME },
                "ports": [{ "name": "webhook", "port": 443, "targetPort": PORT }],
            },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": everywhere, "webhooks": webhooks(),
        }),
    ]
}

/// Named as those of etcd-druid v0.37.1, and called for the same. Whom to trust is written by the operator.
fn webhooks() -> Vec<Value> {
    let webhook = |name: &str, rules: Value| {
        json!({
            "name": name,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "service": { "name": CONFIGURATION, "namespace": NAMESPACE, "path": PATH, "port": 443 },
            },
            "failurePolicy": "Fail",
            "matchPolicy": "Exact",
            "rules": rules,
            "sideEffects": "None",
            "timeoutSeconds": 10,
        })
    };
    let mut objects = webhook("etcdcomponents.webhooks.druid.gardener.cloud", rules());
    // Of an object that is changed, the old one or the new one has to have it.
    objects["objectSelector"] = json!({ "matchLabels": { names::MANAGED_BY: names::MANAGER } });
    // A scale has no labels.
    let scale = json!([rule("apps", "statefulsets/scale", &["UPDATE"])]);
    let scale = webhook(
        "stsscale.etcdcomponents.webhooks.druid.gardener.cloud",
        scale,
    );
    vec![objects, scale]
}

fn rules() -> Value {
    let mut rules = Vec::new();
    for (group, resource, _, component) in Component::ALL {
        match component {
            Component::Scale => {}
            // A volume that grows harms nobody.
            Component::PersistentVolumeClaim => rules.push(rule(group, resource, &["DELETE"])),
            Component::ServiceAccount
            | Component::Service
            | Component::ConfigMap
            | Component::Role
            | Component::RoleBinding
            | Component::StatefulSet
            | Component::PodDisruptionBudget
            | Component::Lease
            | Component::Job => rules.push(rule(group, resource, &["UPDATE", "DELETE"])),
        }
    }
    json!(rules)
}

fn rule(group: &str, resource: &str, operations: &[&str]) -> Value {
    json!({
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": operations,
        "resources": [resource],
        "scope": "Namespaced",
    })
}
