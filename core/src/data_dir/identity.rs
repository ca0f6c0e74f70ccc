//! Who the members of a restored cluster are. etcd computes a founder's number from its peer URLs
//! and the token, and the cluster's from its members': so members that are restored apart from each
//! other find together if they were given the same flags, and only then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha1::{Digest as _, Sha1};
use thiserror::Error;

use crate::member::{MemberId, MemberName};

/// etcd's own number for a cluster; shown, as etcd shows it, in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A founder of a cluster; a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// From its URLs and the token.
    pub id: MemberId,
    /// As in `--initial-cluster`.
    pub name: MemberName,
    /// Sorted; at least one.
    pub peer_urls: Vec<String>,
}

/// The founders of a cluster: at least one, in ascending order of their numbers, no number, name or
/// URL twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    members: Vec<NewMember>,
}

/// A cluster and the one of its members whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    cluster: InitialCluster,
    own: NewMember,
}

/// The flag with the cluster's members.
const CLUSTER: &str = "--initial-cluster";
/// The flag with the own URLs.
const ADVERTISE: &str = "--initial-advertise-peer-urls";

/// What is wrong with the flags.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Nothing in it.
    #[error("{flag} is empty; give {}", example(flag))]
    Empty {
        /// Which flag.
        flag: &'static str,
    },
    /// A part without a name or without a URL.
    #[error("{CLUSTER}: `{part}` is not NAME=URL; write for example m0=http://10.0.0.1:2380")]
    Shape {
        /// The part.
        part: String,
    },
    /// No URL that etcd takes.
    #[error("{flag}: `{url}` {why}; write SCHEME://HOST:PORT, for example http://10.0.0.1:2380")]
    Url {
        /// Which flag.
        flag: &'static str,
        /// The text.
        url: String,
        /// What is wrong with it.
        why: BadUrl,
    },
    /// One URL twice.
    #[error("{flag} has {url} twice; give each peer URL once")]
    UrlTwice {
        /// Which flag.
        flag: &'static str,
        /// The URL.
        url: String,
    },
    /// Two members with one number.
    #[error(
        "{CLUSTER}: {first} and {second} have the same id {id}; change a peer URL or the token \
         (--initial-cluster-token)"
    )]
    IdTwice {
        /// The number.
        id: MemberId,
        /// A member.
        first: MemberName,
        /// Another one.
        second: MemberName,
    },
    /// A number that means nobody.
    #[error("{CLUSTER}: the id of {name} is 0; change its peer URL or --initial-cluster-token")]
    IdZero {
        /// Which member.
        name: MemberName,
    },
    /// The member itself is not there.
    #[error("{CLUSTER} has no {name}, which is --name; it has {}", names(.has))]
    NoOwnName {
        /// `--name`.
        name: MemberName,
        /// Those that there are.
        has: Vec<MemberName>,
    },
    /// The two flags contradict each other.
    #[error(
        "{ADVERTISE} is {} and {CLUSTER} has {} for {name}; make them the same",
        .advertised.join(","), .listed.join(",")
    )]
    OwnUrlsDiffer {
        /// `--name`.
        name: MemberName,
        /// The one flag.
        advertised: Vec<String>,
        /// The other one.
        listed: Vec<String>,
    },
}

/// Why a text is no peer URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadUrl {
    /// None, or another.
    #[error("has no scheme that etcd knows (http, https, unix, unixs)")]
    Scheme,
    /// Even a slash at the end is one.
    #[error("has a path, if only a slash")]
    Path,
    /// `?`, `#` or `@`.
    #[error("has a query, a fragment or a user")]
    Extra,
    /// An IPv6 address has to be in brackets.
    #[error("has no host, or one that is neither a name nor an address")]
    Host,
    /// None, or not between 1 and 65535.
    #[error("has no port between 1 and 65535")]
    Port,
}

fn example(flag: &str) -> &'static str {
    if flag == CLUSTER {
        "NAME=URL of every member, for example m0=http://10.0.0.1:2380,m1=http://10.0.0.2:2380"
    } else {
        "this member's peer URLs, for example http://10.0.0.1:2380"
    }
}

fn names(members: &[MemberName]) -> String {
    let names: Vec<&str> = members.iter().map(|name| name.0.as_str()).collect();
    names.join(", ")
}

impl InitialCluster {
    /// Reads `--initial-cluster` (`NAME=URL,NAME=URL`; a name that is repeated has several URLs) with
    /// `--initial-cluster-token`. The order of the parts does not matter.
    pub fn parse(initial_cluster: &str, token: &str) -> Result<Self, IdentityError> {
        let mut urls_of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for part in parts(initial_cluster) {
            let (name, url) = part
                .split_once('=')
                .filter(|(name, url)| !name.is_empty() && !url.is_empty())
                .ok_or_else(|| IdentityError::Shape {
                    part: part.to_owned(),
                })?;
            let url = peer_url(CLUSTER, url)?;
            if !seen.insert(url.clone()) {
                return Err(IdentityError::UrlTwice { flag: CLUSTER, url });
            }
            urls_of.entry(name).or_default().push(url);
        }
        let mut members: BTreeMap<MemberId, NewMember> = BTreeMap::new();
        for (name, mut peer_urls) in urls_of {
            peer_urls.sort_unstable();
            let (id, name) = (member_id(&peer_urls, token), MemberName::from(name));
            if id == MemberId::NOBODY {
                return Err(IdentityError::IdZero { name });
            }
            if let Some(first) = members.get(&id) {
                return Err(IdentityError::IdTwice {
                    id,
                    first: first.name.clone(),
                    second: name,
                });
            }
            let member = NewMember {
                id,
                name,
                peer_urls,
            };
            members.insert(id, member);
        }
        if members.is_empty() {
            return Err(IdentityError::Empty { flag: CLUSTER });
        }
        Ok(Self {
            members: members.into_values().collect(),
        })
    }

    /// In ascending order of their numbers.
    pub fn members(&self) -> &[NewMember] {
        &self.members
    }

    /// How many: what raft's log begins with, and so the index of a restored database.
    pub fn count(&self) -> u64 {
        self.members.len() as u64
    }

    /// From the members' numbers.
    pub fn id(&self) -> ClusterId {
        let mut hash = Sha1::new();
        for member in &self.members {
            hash.update(member.id.0.to_be_bytes());
        }
        ClusterId(first_number(&hash.finalize()))
    }

    /// The member called `name` (`--name`), whose URLs have to be those of
    /// `--initial-advertise-peer-urls`.
    pub fn member(self, name: &MemberName, advertised: &str) -> Result<Identity, IdentityError> {
        let Some(own) = self.members.iter().find(|it| it.name == *name).cloned() else {
            return Err(IdentityError::NoOwnName {
                name: name.clone(),
                has: self.members.into_iter().map(|it| it.name).collect(),
            });
        };
        let mut urls = parts(advertised)
            .map(|url| peer_url(ADVERTISE, url))
            .collect::<Result<Vec<_>, _>>()?;
        urls.sort_unstable();
        if urls.is_empty() {
            return Err(IdentityError::Empty { flag: ADVERTISE });
        }
        if urls != own.peer_urls {
            return Err(IdentityError::OwnUrlsDiffer {
                name: own.name,
                advertised: urls,
                listed: own.peer_urls,
            });
        }
        Ok(Identity { cluster: self, own })
    }
}

impl Identity {
    /// The whole cluster.
    pub fn cluster(&self) -> &InitialCluster {
        &self.cluster
    }

    /// Whose directory it is.
    pub fn own(&self) -> &NewMember {
        &self.own
    }
}

fn parts(flag: &str) -> impl Iterator<Item = &str> {
    flag.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// The first 8 bytes of the SHA-1 over the sorted URLs and the token.
fn member_id(sorted_urls: &[String], token: &str) -> MemberId {
    let mut hash = Sha1::new();
    for url in sorted_urls {
        hash.update(url);
    }
    hash.update(token);
    MemberId(first_number(&hash.finalize()))
}

fn first_number(digest: &[u8]) -> u64 {
    let first = digest.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first)
}

/// A text that etcd takes as it is. What it would take and write differently is refused, because a
/// member's number comes from the text; a scheme in capitals is the exception, and becomes small.
fn peer_url(flag: &'static str, url: &str) -> Result<String, IdentityError> {
    match split(url) {
        Ok((scheme, rest)) => Ok(format!("{scheme}://{rest}")),
        Err(why) => Err(IdentityError::Url {
            flag,
            url: url.to_owned(),
            why,
        }),
    }
}

fn split(url: &str) -> Result<(String, &str), BadUrl> {
    let (scheme, rest) = url.split_once("://").ok_or(BadUrl::Scheme)?;
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https", "unix", "unixs"].contains(&scheme.as_str()) {
        return Err(BadUrl::Scheme);
    }
    if rest.contains(['?', '#', '@']) {
        return Err(BadUrl::Extra);
    }
    if rest.contains('/') {
        return Err(BadUrl::Path);
    }
    let (host, port) = rest.rsplit_once(':').ok_or(BadUrl::Port)?;
    let in_brackets = host
        .strip_prefix('[')
        .map(|host| host.strip_suffix(']').ok_or(BadUrl::Host))
        .transpose()?;
    let (host, also) = match in_brackets {
        Some(address) => (address, ":."),
        None => (host, "-._"),
    };
    let plain = |it: char| it.is_ascii_alphanumeric() || also.contains(it);
    if host.is_empty() || !host.chars().all(plain) {
        return Err(BadUrl::Host);
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok((scheme, rest)),
        Ok(_) | Err(_) => Err(BadUrl::Port),
    }
}

#[cfg(test)]
mod tests;
