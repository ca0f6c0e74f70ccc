//! Reads objects as Kubernetes reads them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

/// A file that is no object.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{} is no YAML: {why}", path.display())]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// One object. `y` and its like are texts, as they are to Kubernetes.
///
/// # Errors
/// If it cannot be read, or is no YAML.
pub fn object(path: &Path) -> Result<Value, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReadError::File {
        path: path.to_owned(),
        source,
    })?;
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| ReadError::Yaml {
        path: path.to_owned(),
        why: error.to_string(),
    })
}
