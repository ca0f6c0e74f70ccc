//! The members of a cluster that a command line names, and what they answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use druid_core::member::MemberName;
use druid_core::observed::{Answer, Etcd};
use jiff::SignedDuration;
use thiserror::Error;

use crate::etcd::{self, Client, Endpoint, Member, Tls, TlsError};
use crate::observe::{self, Survey};

/// How they are reached.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Reach {
    /// The CA of the members' client addresses, PEM
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Our certificate for them, PEM
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How long to wait for each answer; a member that hangs costs this much
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Flags that name no members.
#[derive(Debug, Error)]
pub(crate) enum MembersError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("--endpoints has {0} twice; give every member once")]
    Twice(Endpoint),
    #[error("--endpoints {0}")]
    Endpoint(#[from] etcd::Error),
}

/// The members, by the addresses that were given.
#[derive(Debug)]
pub(crate) struct Members(Vec<(MemberName, Client)>);

impl Members {
    /// Reads the certificates; nobody is asked yet.
    pub(crate) fn new(endpoints: &[Endpoint], reach: &Reach) -> Result<Self, MembersError> {
        let tls = Tls {
            ca: reach.cacert.clone(),
            cert: reach.cert.clone(),
            key: reach.key.clone(),
        };
        let tls = tls.read()?;
        let mut members: Vec<(MemberName, Client)> = Vec::new();
        for endpoint in endpoints {
            let mut known = members.iter();
            if known.any(|(_, known)| known.endpoint() == endpoint) {
                return Err(MembersError::Twice(endpoint.clone()));
            }
            let client = Client::new(endpoint.clone(), tls.as_ref())?;
            members.push((endpoint.as_str().into(), client));
        }
        Ok(Self(members))
    }

    /// What they answer, by the names in their list; `None` if none was named.
    pub(crate) async fn asked(self, deadline: Duration) -> Option<Etcd> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.survey(deadline).await.1.etcd)
    }

    /// What they answer, and their clients, by the names in their list.
    pub(crate) async fn survey(self, deadline: Duration) -> (Vec<(MemberName, Client)>, Survey) {
        let mut seen = observe::survey(&self.0, deadline).await;
        let members = named(self.0, &seen.etcd, &seen.listed);
        seen.etcd.members = renamed(seen.etcd.members, &members);
        (members, seen)
    }
}

/// Calls every member by its name in the list: by its number if it answered, by its address if it
/// did not. The endpoint remains where neither helps.
fn named(
    members: Vec<(MemberName, Client)>,
    etcd: &Etcd,
    listed: &[Member],
) -> Vec<(MemberName, Client)> {
    let mut found: Vec<(MemberName, Client)> = Vec::new();
    for (endpoint, client) in members {
        let line = match etcd.members.get(&endpoint).and_then(Answer::status) {
            Some(status) => listed.iter().find(|line| line.id == status.id),
            None => listed
                .iter()
                .find(|line| line.client_urls.contains(&endpoint.0)),
        };
        let free = |name: &&MemberName| {
            !name.0.is_empty() && !found.iter().any(|(taken, _)| taken == *name)
        };
        let name = line.map(|line| &line.name).filter(free);
        found.push((name.unwrap_or(&endpoint).clone(), client));
    }
    found
}

fn renamed(
    mut answers: BTreeMap<MemberName, Answer>,
    members: &[(MemberName, Client)],
) -> BTreeMap<MemberName, Answer> {
    let pairs = members.iter().filter_map(|(name, client)| {
        let answer = answers.remove(&client.endpoint().as_str().into())?;
        Some((name.clone(), answer))
    });
    pairs.collect()
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|_| "write for example 5s or 500ms")?;
    match Duration::try_from(parsed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) | Err(_) => Err("it must be more than nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for bad in ["5", "-5s", "0s", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
