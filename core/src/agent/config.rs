//! The configuration that a member's etcd is started with, made from the one file that is mounted
//! for all members of a cluster.
//!
//! In that file the addresses are given by member:
//!
//! ```text
//! initial-advertise-peer-urls:
//!   etcd-0: [http://etcd-0.etcd-peer.ns.svc:2380]
//!   etcd-1: [http://etcd-1.etcd-peer.ns.svc:2380]
//! ```
//!
//! Keys that are not about the member itself pass as they are.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use thiserror::Error;

use super::membership::{Listed, Seen};
use super::yaml;
use crate::member::MemberName;

const CLIENT_URLS: &str = "advertise-client-urls";
const PEER_URLS: &str = "initial-advertise-peer-urls";
const CLUSTER: &str = "initial-cluster";
const STATE: &str = "initial-cluster-state";
const PREFIX: &str = "member-name-prefix";

/// Why no configuration can be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// It is not a mapping.
    #[error("the etcd configuration is not a mapping of keys: write `key: value` lines")]
    NotAMapping,
    /// A key is not there.
    #[error("the etcd configuration has no {key}: add it")]
    Missing {
        /// Which.
        key: &'static str,
    },
    /// A value is of the wrong kind.
    #[error("{key} of the etcd configuration is not {wanted}")]
    Wrong {
        /// Which.
        key: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The file does not speak of this member.
    #[error(
        "{key} of the etcd configuration has no entry for member {member}: add one, or correct \
         POD_NAME or member-name-prefix"
    )]
    Stranger {
        /// Which.
        key: &'static str,
        /// Who.
        member: MemberName,
    },
    /// A founder without an address.
    #[error("{CLUSTER} of the etcd configuration has {entry:?}: write NAME=PEER_URL,...")]
    Founder {
        /// What it says.
        entry: String,
    },
}

/// The mounted file.
#[derive(Clone, Debug, PartialEq)]
pub struct Mounted {
    keys: Map<String, Value>,
    founders: Vec<(MemberName, String)>,
}

impl Mounted {
    /// Takes the file as it was parsed.
    pub fn new(file: Value) -> Result<Self, ConfigError> {
        let Value::Object(keys) = file else {
            return Err(ConfigError::NotAMapping);
        };
        let founders = founders(text(&keys, CLUSTER)?)?;
        Ok(Self { keys, founders })
    }

    /// Whether the cluster is to have several members.
    pub fn several(&self) -> bool {
        let names: BTreeSet<_> = self.founders.iter().map(|(name, _)| name).collect();
        names.len() > 1
    }

    /// The name of the member that runs in a pod.
    pub fn member(&self, pod: &str) -> Result<MemberName, ConfigError> {
        match self.keys.get(PREFIX) {
            None => Ok(MemberName(pod.to_owned())),
            Some(_) => match text(&self.keys, PREFIX)? {
                "" => Ok(MemberName(pod.to_owned())),
                prefix => Ok(MemberName(format!("{prefix}-{pod}"))),
            },
        }
    }

    /// Where its peers are to reach a member.
    pub fn peer_urls(&self, member: &MemberName) -> Result<Vec<String>, ConfigError> {
        self.urls(PEER_URLS, member)
    }

    /// Where clients reach the members, each once.
    pub fn all_client_urls(&self) -> Vec<String> {
        let mut all: Vec<String> = match self.keys.get(CLIENT_URLS) {
            Some(Value::String(urls)) => urls.split(',').map(str::to_owned).collect(),
            Some(Value::Object(members)) => members
                .values()
                .filter_map(Value::as_array)
                .flatten()
                .filter_map(|url| url.as_str().map(str::to_owned))
                .collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => {
                Vec::new()
            }
        };
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The configuration of one member, YAML.
    pub fn render(&self, member: &MemberName, seen: &Seen) -> Result<String, ConfigError> {
        let peer_urls = self.peer_urls(member)?;
        let client_urls = self.urls(CLIENT_URLS, member)?;
        let mut keys = self.keys.clone();
        let mut set = |key: &str, value: String| keys.insert(key.to_owned(), value.into());
        set(CLUSTER, self.founders_in(member, seen));
        set(STATE, self.state(member, &peer_urls, seen).to_owned());
        set(PEER_URLS, peer_urls.join(","));
        set(CLIENT_URLS, client_urls.join(","));
        set("name", member.0.clone());
        Ok(yaml::write(&keys))
    }

    /// Those of the founders that the cluster has by now: one that is yet to be added would make
    /// etcd refuse.
    fn founders_in(&self, member: &MemberName, seen: &Seen) -> String {
        let listed = match seen {
            Seen::List(listed) if listed.len() > 1 => listed.as_slice(),
            Seen::List(_) | Seen::Silent => &[],
        };
        let is_in = |name: &MemberName, url: &String| {
            listed.is_empty()
                || name == member
                || listed
                    .iter()
                    .any(|it| it.is(name, std::slice::from_ref(url)))
        };
        let kept: Vec<_> = self
            .founders
            .iter()
            .filter(|(name, url)| is_in(name, url))
            .map(|(name, url)| format!("{name}={url}"))
            .collect();
        kept.join(",")
    }

    fn state(&self, member: &MemberName, peer_urls: &[String], seen: &Seen) -> &'static str {
        let joins = |it: &Listed| it.learner || (it.name.0.is_empty() && it.is(member, peer_urls));
        match seen {
            Seen::List(listed) if self.several() && listed.iter().any(joins) => "existing",
            Seen::List(_) | Seen::Silent => "new",
        }
    }

    fn urls(&self, key: &'static str, member: &MemberName) -> Result<Vec<String>, ConfigError> {
        let wrong = |key: String| ConfigError::Wrong {
            key,
            wanted: "a list of URLs by member",
        };
        match self.keys.get(key) {
            None => Err(ConfigError::Missing { key }),
            // As etcd itself takes it: the file is for one member.
            Some(Value::String(urls)) => Ok(urls.split(',').map(str::to_owned).collect()),
            Some(Value::Object(members)) => {
                let of = members
                    .get(&member.0)
                    .ok_or_else(|| ConfigError::Stranger {
                        key,
                        member: member.clone(),
                    })?;
                let name = || wrong(format!("{key}.{member}"));
                let urls = of
                    .as_array()
                    .filter(|urls| !urls.is_empty())
                    .ok_or_else(name)?;
                urls.iter()
                    .map(|url| url.as_str().map(str::to_owned).ok_or_else(name))
                    .collect()
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
                Err(wrong(key.to_owned()))
            }
        }
    }
}

fn text<'a>(keys: &'a Map<String, Value>, key: &'static str) -> Result<&'a str, ConfigError> {
    keys.get(key)
        .ok_or(ConfigError::Missing { key })?
        .as_str()
        .ok_or_else(|| ConfigError::Wrong {
            key: key.to_owned(),
            wanted: "a text",
        })
}

fn founders(text: &str) -> Result<Vec<(MemberName, String)>, ConfigError> {
    let entries: Result<Vec<_>, _> = text
        .split(',')
        .map(|entry| match entry.trim().split_once('=') {
            Some((name, url)) if !name.is_empty() && !url.is_empty() => {
                Ok((MemberName::from(name), url.to_owned()))
            }
            Some(_) | None => Err(ConfigError::Founder {
                entry: entry.to_owned(),
            }),
        })
        .collect();
    entries
}

#[cfg(test)]
mod tests;
