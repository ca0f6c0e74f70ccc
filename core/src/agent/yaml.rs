//! Writes YAML that every reader takes: mappings in blocks, everything else as JSON, which is YAML.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A document. Keys are in order.
pub fn write(mapping: &Map<String, Value>) -> String {
    let mut text = String::new();
    block(mapping, 0, &mut text);
    text
}

fn block(mapping: &Map<String, Value>, depth: usize, text: &mut String) {
    for (key, value) in mapping {
        let indent = "  ".repeat(depth);
        let key = quoted(key);
        // Writing to a string does not fail.
        let _ = match value {
            Value::Object(inner) if !inner.is_empty() => {
                let _ = writeln!(text, "{indent}{key}:");
                block(inner, depth + 1, text);
                Ok(())
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => writeln!(text, "{indent}{key}: {value}"),
        };
    }
}

fn quoted(key: &str) -> String {
    let plain = key.starts_with(|it: char| it.is_ascii_lowercase())
        && key
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '-')
        && !matches!(
            key,
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        );
    if plain {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_and_mappings_are_blocks() {
        let value = serde_json::json!({
            "a-key": "yes", "b": {"c": true, "d": {}}, "no": [1, "x: y"], "12": null
        });
        let Value::Object(mapping) = value else {
            panic!("a mapping");
        };
        let expected =
            "\"12\": null\na-key: \"yes\"\nb:\n  c: true\n  d: {}\n\"no\": [1,\"x: y\"]\n";
        assert_eq!(write(&mapping), expected);
    }
}
