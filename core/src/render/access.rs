//! Who the pods are, and what they may do.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::facts::Settings;
use super::meta;
use super::spec::Spec;

/// Who the pods are.
pub fn service_account(spec: &Spec, settings: &Settings) -> ServiceAccount {
    let identity = &spec.identity;
    ServiceAccount {
        metadata: meta::of_etcd(identity, identity.name.clone(), "etcd-service-account"),
        automount_service_account_token: Some(settings.automount_service_account_token),
        ..ServiceAccount::default()
    }
}

/// What they may do.
pub fn role(spec: &Spec) -> Role {
    Role {
        metadata: meta::of_etcd(&spec.identity, spec.identity.role(), "etcd-role"),
        rules: Some(role_rules()),
    }
}

/// The rules of each such role. Whoever makes it must have these rights too, or Kubernetes refuses.
pub fn role_rules() -> Vec<PolicyRule> {
    let rule = |group: &str, resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    };
    let changing = ["get", "list", "patch", "update", "watch"];
    vec![
        rule("coordination.k8s.io", "leases", &changing),
        rule("apps", "statefulsets", &changing),
        rule("", "pods", &["get", "list", "watch"]),
    ]
}

/// That they may.
pub fn role_binding(spec: &Spec) -> RoleBinding {
    let identity = &spec.identity;
    RoleBinding {
        metadata: meta::of_etcd(identity, identity.role(), "etcd-role-binding"),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: identity.role(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: identity.name.clone(),
            namespace: Some(identity.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
