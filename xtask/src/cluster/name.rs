//! What clusters are called.

use std::str::FromStr;

use thiserror::Error;

/// Longer names make paths that are too long for sockets.
const LONGEST_NAME: usize = 40;

/// The name of a cluster, which is the name of its directory: small letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterName(String);

impl Default for ClusterName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl ClusterName {
    /// What names it on a command line, after a blank; nothing for the one that is meant if none is
    /// named.
    pub fn flag(&self) -> String {
        if *self == Self::default() {
            String::new()
        } else {
            format!(" --name {self}")
        }
    }
}

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why it is no name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` cannot name a cluster; use at most {LONGEST_NAME} small letters, digits and dashes, and \
     no dash first"
)]
pub struct NameError(String);

impl FromStr for ClusterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=LONGEST_NAME).contains(&text.len())
            && !text.starts_with('-')
            && text.chars().all(allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_directory_name() {
        for good in ["default", "a", "0-9", &"x".repeat(40)] {
            assert_eq!(good.parse::<ClusterName>().unwrap().to_string(), good);
        }
        for bad in ["", "..", "a/b", "A", "-a", "a b", "ä", &"x".repeat(41)] {
            let error = bad.parse::<ClusterName>().unwrap_err();
            assert_eq!(error, NameError(bad.to_owned()));
        }
    }
}
