//! What a person asks of the pods of an Etcd.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::api::EtcdSpec;
use crate::make::Template;

/// What is not asked of pods that run: it is about other objects, about how many pods there are, or
/// cannot be changed.
const ELSEWHERE: [&[&str]; 8] = [
    &["replicas"],
    &["upgrade"],
    &["selector"],
    &["storageClass"],
    &["storageCapacity"],
    &["volumeClaimTemplate"],
    &["etcd", "clientService"],
    &["backup", "snapshotCompaction"],
];

/// So many digits tell one from another.
const DIGITS: usize = 16;

/// The fingerprint of what a person asks of the pods. It is made from the spec alone, and not from
/// what is rendered: another image vector, or another release of druid, is nobody's wish, and must
/// restart nobody.
///
/// # Errors
/// If the spec cannot be written as JSON.
pub fn wish(spec: &EtcdSpec) -> Result<Template, serde_json::Error> {
    let mut spec = serde_json::to_value(spec)?;
    for path in ELSEWHERE {
        remove(&mut spec, path);
    }
    let mut digest = Sha256::new();
    feed(&spec, &mut digest);
    let digest = digest.finalize();
    let mut text = String::new();
    for byte in digest.iter().take(DIGITS / 2) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Template(text))
}

fn remove(value: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let inner = parents
        .iter()
        .try_fold(value, |value, name| value.get_mut(*name));
    if let Some(Value::Object(object)) = inner {
        object.remove(*last);
    }
}

/// In the order of the keys, whatever the order that they are in.
fn feed(value: &Value, digest: &mut Sha256) {
    match value {
        Value::Object(object) => {
            let mut sorted: Vec<_> = object.iter().filter(|(_, it)| !it.is_null()).collect();
            sorted.sort_by_key(|(name, _)| *name);
            digest.update(b"{");
            for (name, value) in sorted {
                digest.update(Value::from(name.as_str()).to_string());
                feed(value, digest);
            }
            digest.update(b"}");
        }
        Value::Array(list) => {
            digest.update(b"[");
            for value in list {
                feed(value, digest);
                digest.update(b",");
            }
            digest.update(b"]");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            digest.update(value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: Value) -> Template {
        wish(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn plain() -> Value {
        json!({
            "replicas": 3, "labels": { "a": "b" }, "etcd": { "quota": "8Gi" }, "backup": {},
        })
    }

    #[test]
    fn what_is_not_asked_of_pods_changes_nothing() {
        let base = of(plain());
        assert_eq!(base.0.len(), DIGITS);
        for (path, value) in [
            ("/replicas", json!(1)),
            ("/upgrade", json!({ "paused": true })),
            ("/storageCapacity", json!("25Gi")),
            ("/storageClass", json!("fast")),
            ("/volumeClaimTemplate", json!("data")),
            ("/etcd/clientService", json!({ "labels": { "c": "d" } })),
            (
                "/backup/snapshotCompaction",
                json!({ "eventsThreshold": 5 }),
            ),
        ] {
            let mut spec = plain();
            let (parent, name) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[name] = value;
            assert_eq!(of(spec), base, "{path}");
        }
    }

    #[test]
    fn what_is_asked_of_pods_is_another_wish() {
        let base = of(plain());
        for (path, value) in [
            ("/labels/a", json!("c")),
            ("/annotations", json!({ "x": "y" })),
            ("/etcd/quota", json!("9Gi")),
            ("/etcd/image", json!("other:v3.5.27")),
            ("/etcd/resources", json!({ "requests": { "cpu": "1" } })),
            ("/backup/deltaSnapshotPeriod", json!("1m")),
            ("/priorityClassName", json!("high")),
            ("/runAsRoot", json!(true)),
        ] {
            let mut spec = plain();
            let (parent, name) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[name] = value;
            assert_ne!(of(spec), base, "{path}");
        }
    }
}
