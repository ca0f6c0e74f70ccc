//! Where two objects differ.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// A place where two objects differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where, as a JSON pointer.
    pub path: String,
    /// What one has there.
    pub theirs: Option<Value>,
    /// What the other has there.
    pub ours: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => value.to_string(),
        };
        let (theirs, ours) = (text(&self.theirs), text(&self.ours));
        write!(f, "{}: theirs {theirs}, ours {ours}", self.path)
    }
}

/// Every difference, as deep as it is. Lists are compared in order: they have one wherever they are
/// rendered.
pub fn compare(theirs: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    inside(Some(theirs), Some(ours), String::new(), &mut found);
    found
}

fn inside(theirs: Option<&Value>, ours: Option<&Value>, path: String, found: &mut Vec<Difference>) {
    if theirs == ours {
        return;
    }
    match (theirs, ours) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let step = key.replace('~', "~0").replace('/', "~1");
                inside(
                    one.get(key),
                    other.get(key),
                    format!("{path}/{step}"),
                    found,
                );
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                inside(one.get(at), other.get(at), format!("{path}/{at}"), found);
            }
        }
        (_, _) => found.push(Difference {
            path,
            theirs: theirs.cloned(),
            ours: ours.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_found_where_it_is() {
        let one = json!({ "a": [1, { "b/c": 2 }], "d": {}, "same": [1], "gone": null });
        let other = json!({ "a": [1, { "b/c": 3 }, 4], "d": [], "same": [1] });
        let found: Vec<String> = compare(&one, &other)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "/a/1/b~1c: theirs 2, ours 3",
                "/a/2: theirs nothing, ours 4",
                "/d: theirs {}, ours []",
                "/gone: theirs null, ours nothing",
            ]
        );
        assert_eq!(compare(&one, &one), []);
    }
}
