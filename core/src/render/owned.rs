//! What an object has only because we once applied it, and what would go if it were applied again.
//!
//! The API server keeps account of it in `metadata.managedFields` (server-side apply): `f:NAME` is a
//! field, `k:{...}` an item of a list by its keys, `v:VALUE` an item of a set.

use serde_json::{Map, Value};

use super::difference::Difference;

/// The fields that `manager` has applied, that are there, and that are not wanted any more.
pub(super) fn abandoned(there: &Value, wanted: &Value, manager: &str) -> Vec<Difference> {
    let mut found = Vec::new();
    let accounts = there["metadata"]["managedFields"].as_array();
    for account in accounts.into_iter().flatten() {
        let ours = account["manager"] == manager
            && account["operation"] == "Apply"
            && account.get("subresource").is_none();
        if let (true, Some(fields)) = (ours, account["fieldsV1"].as_object()) {
            inside(fields, there, wanted, "", &mut found);
        }
    }
    found
}

fn inside(
    fields: &Map<String, Value>,
    there: &Value,
    wanted: &Value,
    path: &str,
    found: &mut Vec<Difference>,
) {
    for (key, inner) in fields {
        let Some((step, now)) = step(key, there) else {
            // The object itself, or something that is gone already.
            continue;
        };
        let path = format!("{path}/{step}");
        match self::step(key, wanted) {
            None => found.push(Difference {
                path,
                theirs: Some(now.clone()),
                ours: None,
            }),
            Some((_, wanted)) => {
                if let Value::Object(inner) = inner {
                    inside(inner, now, wanted, &path, found);
                }
            }
        }
    }
}

/// Where a key leads: the step of the path, and the value.
fn step<'a>(key: &str, value: &'a Value) -> Option<(String, &'a Value)> {
    let (kind, name) = key.split_once(':')?;
    let item = |is_it: &dyn Fn(&Value) -> bool| {
        let at = value.as_array()?.iter().position(is_it)?;
        Some((at.to_string(), value.get(at)?))
    };
    match kind {
        "f" => {
            let step = name.replace('~', "~0").replace('/', "~1");
            Some((step, value.get(name)?))
        }
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(name).ok()?;
            item(&|it| keys.iter().all(|(key, value)| it.get(key) == Some(value)))
        }
        "v" => {
            let wanted: Value = serde_json::from_str(name).ok()?;
            item(&|it| *it == wanted)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_applied_and_is_not_wanted_is_found_and_what_others_have_is_not() {
        let fields = json!({
            "f:metadata": { "f:annotations": { "f:old/one": {}, "f:kept": {} } },
            "f:spec": {
                "f:gone": {},
                "f:ports": {
                    "k:{\"port\":1,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {} },
                    "k:{\"port\":2,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} },
                },
                "f:finalizers": { "v:\"a\"": {}, "v:\"b\"": {} },
            },
        });
        let there = json!({
            "metadata": {
                "annotations": { "old/one": "1", "kept": "2", "theirs": "3" },
                "managedFields": [
                    { "manager": "we", "operation": "Apply", "fieldsV1": fields },
                    { "manager": "we", "operation": "Update", "fieldsV1": { "f:data": {} } },
                    { "manager": "they", "operation": "Apply", "fieldsV1": { "f:data": {} } },
                ],
            },
            "data": {},
            "spec": {
                "ports": [
                    { "port": 2, "protocol": "TCP" },
                    { "port": 1, "protocol": "TCP", "name": "one" },
                ],
                "finalizers": ["a", "b"],
            },
        });
        let wanted = json!({
            "metadata": { "annotations": { "kept": "2" } },
            "spec": { "ports": [{ "port": 1, "protocol": "TCP" }], "finalizers": ["b"] },
        });
        let paths = |wanted: &Value| -> Vec<String> {
            let found = abandoned(&there, wanted, "we").into_iter();
            found.map(|it| it.path).collect()
        };
        assert_eq!(
            paths(&wanted),
            [
                "/metadata/annotations/old~1one",
                "/spec/finalizers/0",
                "/spec/ports/1/name",
                "/spec/ports/0",
            ]
        );
        assert_eq!(paths(&there), Vec::<String>::new());
    }
}
