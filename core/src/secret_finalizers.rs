//! Which Secrets carry the operator's finalizer: those that an Etcd of their namespace refers to, so that
//! none goes while an etcd needs it.
//!
//! Differs from etcd-druid: a Secret that is referred to no longer is released at once, and not with the
//! next event of its own; while an Etcd of the namespace cannot be read, none is released.

use std::collections::BTreeSet;

use crate::api::{Etcd, names};
use crate::render::secret_references;

/// A Secret, without what is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub leaves: bool,
}

/// What its finalizers are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The Secret.
    pub name: String,
    /// All of its finalizers.
    pub finalizers: Vec<String>,
}

/// What is to be written in a namespace. `etcds`: all of it, `None` for one that cannot be read.
pub fn changes<'a>(
    etcds: impl IntoIterator<Item = Option<&'a Etcd>>,
    secrets: &[Secret],
) -> Vec<Change> {
    let mut needed = BTreeSet::new();
    let mut all_known = true;
    for etcd in etcds {
        match etcd {
            Some(etcd) => needed.extend(secret_references(etcd).into_iter().map(|it| it.name)),
            None => all_known = false,
        }
    }
    let change = |secret: &Secret| {
        let has = secret.is_held();
        let mut finalizers = secret.finalizers.clone();
        match (has, needed.contains(&secret.name)) {
            // Kubernetes takes no new finalizer on what is being deleted.
            (false, true) if !secret.leaves => finalizers.push(names::FINALIZER.to_owned()),
            (true, false) if all_known => finalizers.retain(|it| it != names::FINALIZER),
            (false | true, true | false) => return None,
        }
        let name = secret.name.clone();
        Some(Change { name, finalizers })
    };
    secrets.iter().filter_map(change).collect()
}

impl Secret {
    /// Whether it carries our finalizer.
    pub fn is_held(&self) -> bool {
        self.finalizers.iter().any(|it| it == names::FINALIZER)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OURS: &str = "druid.gardener.cloud/etcd-druid";

    fn etcd(backup: &Value) -> Etcd {
        serde_json::from_value(json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
            "metadata": { "name": "main", "namespace": "n" },
            "spec": { "labels": {}, "etcd": {}, "replicas": 1, "backup": backup,
                "selector": { "matchLabels": {} } },
        }))
        .unwrap()
    }

    fn needs(name: &str) -> Etcd {
        etcd(&json!({ "store": {
            "provider": "S3", "container": "c", "prefix": "p", "secretRef": { "name": name },
        } }))
    }

    fn secret(name: &str, finalizers: &[&str], leaves: bool) -> Secret {
        Secret {
            name: name.to_owned(),
            finalizers: finalizers.iter().map(|it| (*it).to_owned()).collect(),
            leaves,
        }
    }

    fn written(etcds: &[Option<&Etcd>], secrets: &[Secret]) -> Vec<(String, String)> {
        let all = changes(etcds.iter().copied(), secrets).into_iter();
        all.map(|it| (it.name, it.finalizers.join(" "))).collect()
    }

    #[test]
    fn what_is_referred_to_is_held_and_the_rest_is_released() {
        let (one, other) = (needs("a"), needs("b"));
        let secrets = [
            secret("a", &["x"], false),
            secret("b", &[OURS, "x"], false),
            secret("c", &["x", OURS], true),
            secret("d", &["x"], false),
        ];
        let of = |name: &str, finalizers: &str| (name.to_owned(), finalizers.to_owned());
        let both = [Some(&one), Some(&other)];
        let expected = [of("a", &format!("x {OURS}")), of("c", "x")];
        assert_eq!(written(&both, &secrets), expected);
        assert_eq!(written(&[], &secrets), [of("b", "x"), of("c", "x")]);
        // Of two Etcds that refer to the same, one is enough.
        assert_eq!(
            written(&[Some(&one), Some(&one)], &[secret("a", &[OURS], false)]),
            []
        );
    }

    #[test]
    fn nothing_is_released_while_an_etcd_cannot_be_read() {
        let one = needs("a");
        let secrets = [secret("a", &[], false), secret("b", &[OURS], true)];
        let expected = [("a".to_owned(), OURS.to_owned())];
        assert_eq!(written(&[Some(&one), None], &secrets), expected);
    }

    #[test]
    fn what_is_being_deleted_gets_no_finalizer() {
        let one = needs("a");
        assert_eq!(written(&[Some(&one)], &[secret("a", &["x"], true)]), []);
        assert_eq!(written(&[Some(&one)], &[secret("a", &[OURS], true)]), []);
    }

    #[test]
    fn an_etcd_without_secrets_needs_none() {
        let bare = etcd(&json!({}));
        assert_eq!(written(&[Some(&bare)], &[secret("a", &[], false)]), []);
    }
}
