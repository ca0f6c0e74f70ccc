//! Reads a member's configuration file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use druid_core::config_keys::Config;
use serde_json::Value;
use thiserror::Error;

/// A file that is no configuration.
#[derive(Debug, Error)]
pub(super) enum ConfigError {
    /// It cannot be read.
    #[error("--config {}: cannot be read: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML mapping.
    #[error("--config {}: {why}; it must be a YAML file with keys of etcd", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Reads a file and flattens it.
pub(super) fn read(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|why| ConfigError::Parse {
        path: path.to_owned(),
        why,
    })
}

fn parse(text: &str) -> Result<Config, String> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let first = error.to_string();
        first.lines().next().unwrap_or("not YAML").to_owned()
    })?;
    let Value::Object(top) = value else {
        return Err("it is not a mapping".to_owned());
    };
    let mut keys = BTreeMap::new();
    for (key, value) in &top {
        flatten(key, value, &mut keys);
    }
    Ok(Config(keys))
}

fn flatten(key: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    if let Value::Object(inner) = value {
        for (name, value) in inner {
            flatten(&format!("{key}.{name}"), value, into);
        }
    } else {
        into.insert(key.to_owned(), scalar(value));
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(scalar).collect();
            items.join(",")
        }
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_flattened() {
        let config = parse(
            "name: m0\nlog-outputs: [stdout, stderr]\nnext-cluster-version-compatible: true\n\
             quota-backend-bytes: 8589934592\nclient-transport-security:\n  cert-file: /x\n",
        );
        let expected = [
            ("client-transport-security.cert-file", "/x"),
            ("log-outputs", "stdout,stderr"),
            ("name", "m0"),
            ("next-cluster-version-compatible", "true"),
            ("quota-backend-bytes", "8589934592"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(config, Ok(Config(expected.into())));
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for text in ["- a\n", "a: [", "just text", ""] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
