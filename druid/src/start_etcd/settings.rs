//! What we need to know of the configuration that etcd gets.

use std::path::PathBuf;

use serde_json::Value;
use thiserror::Error;

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// It is no YAML.
    #[error("it is not YAML: {0}")]
    Yaml(String),
    /// There is no data directory in it.
    #[error("it has no data-dir; add it to the mounted file")]
    NoDataDir,
}

/// The part of it that we need.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where the data is.
    pub(crate) data_dir: PathBuf,
    /// Whether clients are served with TLS.
    pub(crate) client_tls: bool,
    /// The CA of clients and, by convention, of the server.
    pub(crate) ca: Option<PathBuf>,
    /// The server's certificate and key, if clients have to show certificates of that CA.
    pub(crate) server_pair: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// Reads the configuration.
    pub(crate) fn parse(yaml: &[u8]) -> Result<Self, SettingsError> {
        let config: Value = serde_saphyr::from_slice(yaml)
            .map_err(|error| SettingsError::Yaml(error.to_string()))?;
        let path = |pointer: &str| {
            let text = config.pointer(pointer)?.as_str()?;
            (!text.is_empty()).then(|| PathBuf::from(text))
        };
        let cert = path("/client-transport-security/cert-file");
        let key = path("/client-transport-security/key-file");
        let ca = path("/client-transport-security/trusted-ca-file");
        Ok(Self {
            data_dir: path("/data-dir").ok_or(SettingsError::NoDataDir)?,
            client_tls: cert.is_some(),
            server_pair: cert.zip(key).filter(|_| ca.is_some()),
            ca,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_found() {
        let yaml = b"data-dir: /d\nclient-transport-security:\n  cert-file: /c\n  key-file: /k\n  trusted-ca-file: /ca\n";
        let expected = Settings {
            data_dir: "/d".into(),
            client_tls: true,
            ca: Some("/ca".into()),
            server_pair: Some(("/c".into(), "/k".into())),
        };
        assert_eq!(Settings::parse(yaml).unwrap(), expected);
        let plain = Settings::parse(b"data-dir: /d\n").unwrap();
        assert_eq!((plain.client_tls, plain.server_pair), (false, None));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for yaml in ["", "<html>", "name: a", "data-dir: ''", "a: ["] {
            assert!(Settings::parse(yaml.as_bytes()).is_err(), "{yaml:?}");
        }
    }
}
