//! Feature gates.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::render::Release;

/// A feature gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// etcd runs in a container that asks the sidecar for its configuration. Always on.
    UseEtcdWrapper,
    /// Etcds that say nothing of it are on the next release of etcd.
    UpgradeEtcdVersion,
}

/// How mature a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It may change.
    Alpha,
    /// It is always on.
    Ga,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::UseEtcdWrapper, Self::UpgradeEtcdVersion];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::UseEtcdWrapper => "UseEtcdWrapper",
            Self::UpgradeEtcdVersion => "UpgradeEtcdVersion",
        }
    }

    /// How mature it is.
    pub fn stage(self) -> Stage {
        match self {
            Self::UseEtcdWrapper => Stage::Ga,
            Self::UpgradeEtcdVersion => Stage::Alpha,
        }
    }
}

/// A gate that cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GateError {
    /// There is no such gate.
    #[error("there is no feature gate {name:?}: write one of {}", names())]
    Unknown {
        /// How it was called.
        name: String,
    },
    /// It is always on.
    #[error("feature gate {} is always on: leave it out", gate.word())]
    Locked {
        /// Which.
        gate: Gate,
    },
    /// No `NAME=BOOL`.
    #[error("{pair:?} sets no feature gate: write NAME=true or NAME=false, separated by commas")]
    Malformed {
        /// What it says.
        pair: String,
    },
    /// Set twice, in two ways.
    #[error("feature gate {name} is set to true and to false: set it once")]
    Twice {
        /// Which.
        name: String,
    },
}

fn names() -> String {
    Gate::ALL.map(Gate::word).join(", ")
}

/// The feature gates as they are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    upgrade_etcd_version: bool,
}

impl Gates {
    /// From what is set. All that is wrong is told of.
    ///
    /// # Errors
    /// A gate is unknown, or is to be off and cannot be.
    pub fn new(set: &BTreeMap<String, bool>) -> Result<Self, Vec<GateError>> {
        let mut gates = Self::default();
        let mut errors = Vec::new();
        for (name, on) in set {
            match Gate::ALL.into_iter().find(|gate| gate.word() == name) {
                None => errors.push(GateError::Unknown { name: name.clone() }),
                Some(Gate::UpgradeEtcdVersion) => gates.upgrade_etcd_version = *on,
                Some(Gate::UseEtcdWrapper) if *on => {}
                Some(gate @ Gate::UseEtcdWrapper) => errors.push(GateError::Locked { gate }),
            }
        }
        if errors.is_empty() {
            Ok(gates)
        } else {
            Err(errors)
        }
    }

    /// The JSON schema of what may be set.
    pub fn schema() -> Value {
        let gates = Gate::ALL.map(|gate| {
            let schema = match gate.stage() {
                Stage::Alpha => json!({ "type": "boolean" }),
                Stage::Ga => json!({ "const": true }),
            };
            (gate.word().to_owned(), schema)
        });
        let gates = Map::from_iter(gates);
        json!({ "type": "object", "additionalProperties": false, "properties": gates })
    }

    /// Whether a gate is on.
    pub fn is_on(self, gate: Gate) -> bool {
        match gate {
            Gate::UseEtcdWrapper => true,
            Gate::UpgradeEtcdVersion => self.upgrade_etcd_version,
        }
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

impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Gate::ALL.map(|gate| format!("{}={}", gate.word(), self.is_on(gate)));
        f.write_str(&all.join(","))
    }
}

/// Reads `NAME=BOOL,NAME=BOOL`. An empty text sets nothing.
///
/// # Errors
/// A part is no such pair, or contradicts another.
pub fn pairs(text: &str) -> Result<BTreeMap<String, bool>, Vec<GateError>> {
    let mut set = BTreeMap::new();
    let mut errors = Vec::new();
    let parts = text.split(',').map(str::trim);
    for pair in parts.filter(|_| !text.trim().is_empty()) {
        let parsed = pair.split_once('=').and_then(|(name, on)| {
            let on: bool = on.trim().parse().ok()?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name.to_owned(), on))
        });
        let Some((name, on)) = parsed else {
            let pair = pair.to_owned();
            errors.push(GateError::Malformed { pair });
            continue;
        };
        if set.insert(name.clone(), on) == Some(!on) {
            errors.push(GateError::Twice { name });
        }
    }
    if errors.is_empty() {
        Ok(set)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(text: &str) -> Result<Gates, Vec<String>> {
        let told = |errors: Vec<GateError>| errors.iter().map(ToString::to_string).collect();
        Gates::new(&pairs(text).map_err(told)?).map_err(told)
    }

    #[test]
    fn gates_are_as_they_are_set_and_else_as_they_are() {
        let upgrade = |text| gates(text).unwrap().is_on(Gate::UpgradeEtcdVersion);
        assert!(!upgrade(""));
        assert!(!upgrade(" "));
        assert!(upgrade("UpgradeEtcdVersion=true"));
        assert!(upgrade("UpgradeEtcdVersion=true, UpgradeEtcdVersion=true"));
        assert!(upgrade(
            " UseEtcdWrapper = true , UpgradeEtcdVersion = true"
        ));
        assert!(!upgrade("UpgradeEtcdVersion=false"));
        let all = gates("UpgradeEtcdVersion=true").unwrap();
        assert!(all.is_on(Gate::UseEtcdWrapper));
        assert_eq!(
            all.to_string(),
            "UseEtcdWrapper=true,UpgradeEtcdVersion=true"
        );
        assert_eq!(Gate::ALL.map(Gate::stage), [Stage::Ga, Stage::Alpha]);
    }

    #[test]
    fn what_sets_no_gate_is_refused_by_name() {
        for (text, expected) in [
            (
                "UpgradeEtcdVersion",
                "\"UpgradeEtcdVersion\" sets no feature gate: write NAME=true or NAME=false, \
                 separated by commas",
            ),
            (
                "UpgradeEtcdVersion=yes",
                "\"UpgradeEtcdVersion=yes\" sets no",
            ),
            ("UpgradeEtcdVersion=true,", "\"\" sets no feature gate"),
            ("=true", "\"=true\" sets no feature gate"),
            (
                "UpgradeEtcdVersion=true,UpgradeEtcdVersion=false",
                "feature gate UpgradeEtcdVersion is set to true and to false",
            ),
            (
                "upgradeEtcdVersion=true",
                "there is no feature gate \"upgradeEtcdVersion\": write one of UseEtcdWrapper, \
                 UpgradeEtcdVersion",
            ),
            (
                "UseEtcdWrapper=false",
                "feature gate UseEtcdWrapper is always on: leave it out",
            ),
        ] {
            let errors = gates(text).unwrap_err();
            assert!(errors[0].starts_with(expected), "{errors:?}");
        }
        assert_eq!(gates("a=true,b=true").unwrap_err().len(), 2);
        assert_eq!(gates("a,b").unwrap_err().len(), 2);
    }
}
