//! The operator's feature gates.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::render::Release;

/// Which are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    /// `UpgradeEtcdVersion`: clusters go to the next release of etcd.
    pub upgrade_etcd_version: bool,
}

/// A gate that cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FeatureGateError {
    /// There is no such gate.
    #[error(
        "there is no feature gate `{name}`: the gates are UpgradeEtcdVersion and UseEtcdWrapper"
    )]
    Unknown {
        /// Its name.
        name: String,
    },
    /// It cannot be switched any more.
    #[error("feature gate {name} is always on: remove it")]
    Locked {
        /// Its name.
        name: &'static str,
    },
    /// No name with a value.
    #[error("`{text}` is no feature gate: write NAME=true or NAME=false")]
    Malformed {
        /// What is there.
        text: String,
    },
}

impl FeatureGates {
    /// Reads gates by name.
    ///
    /// # Errors
    /// If one is unknown or locked.
    pub fn parse(gates: &BTreeMap<String, bool>) -> Result<Self, FeatureGateError> {
        let mut read = Self::default();
        for (name, on) in gates {
            match name.as_str() {
                "UpgradeEtcdVersion" => read.upgrade_etcd_version = *on,
                "UseEtcdWrapper" if *on => {}
                "UseEtcdWrapper" => {
                    return Err(FeatureGateError::Locked {
                        name: "UseEtcdWrapper",
                    });
                }
                _ => return Err(FeatureGateError::Unknown { name: name.clone() }),
            }
        }
        Ok(read)
    }

    /// Reads `NAME=true,NAME=false`, the value of a flag.
    ///
    /// # Errors
    /// As [`FeatureGates::parse`], and for what has no such form.
    pub fn parse_flag(text: &str) -> Result<Self, FeatureGateError> {
        let mut gates = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let malformed = || FeatureGateError::Malformed {
                text: part.to_owned(),
            };
            let (name, value) = part.split_once('=').ok_or_else(malformed)?;
            let on = value.trim().parse().map_err(|_| malformed())?;
            gates.insert(name.trim().to_owned(), on);
        }
        Self::parse(&gates)
    }

    /// The release that an Etcd is to run, which may have a wish of its own.
    pub fn release(self, wish: Option<bool>) -> Release {
        if wish.unwrap_or(self.upgrade_etcd_version) {
            Release::Next
        } else {
            Release::Base
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_and_what_is_none_is_refused() {
        let on = FeatureGates {
            upgrade_etcd_version: true,
        };
        let off = FeatureGates::default();
        for (text, expected) in [
            ("", Ok(off)),
            ("UpgradeEtcdVersion=true", Ok(on)),
            ("UpgradeEtcdVersion=false, UseEtcdWrapper=true", Ok(off)),
        ] {
            assert_eq!(FeatureGates::parse_flag(text), expected);
        }
        for (text, said) in [
            ("UseEtcdWrapper=false", "always on"),
            ("UpgradeEtcd=true", "no feature gate `UpgradeEtcd`"),
            ("UpgradeEtcdVersion", "write NAME=true"),
            ("UpgradeEtcdVersion=yes", "write NAME=true"),
        ] {
            let error = FeatureGates::parse_flag(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        for (wish, with_off, with_on) in [
            (None, Release::Base, Release::Next),
            (Some(true), Release::Next, Release::Next),
            (Some(false), Release::Base, Release::Base),
        ] {
            assert_eq!((off.release(wish), on.release(wish)), (with_off, with_on));
        }
    }
}
