//! Are all members well, on the release that they should be on, and do they hold the same data?

use std::time::{Duration, Instant};

use druid_core::observed::{Answer, Etcd, Hashes};
use druid_core::report::HashKv;
use druid_core::version::Version;

use crate::observe::{self, Members};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How soon a member that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// The comparison of their data.
    pub(crate) hash_kv: HashKv,
    /// Everything that must not be, in words; empty if all is well.
    pub(crate) broken: Vec<String>,
}

/// Looks, while load may go on. `version`: what all should run and have agreed on, if that is known.
/// `patience`: for so long a member that does not answer is asked again; where members are known by a
/// name, the name server takes a while to learn that one has another address.
pub(crate) async fn check(
    members: &Members,
    version: Option<Version>,
    patience: Duration,
) -> Checked {
    let etcd = answered(members, patience).await;
    let mut broken = Vec::new();
    for (name, answer) in &etcd.members {
        let status = match answer {
            Answer::Status(status) => status,
            Answer::Silent(why) => {
                broken.push(format!("{name} does not answer: {why}"));
                continue;
            }
        };
        if let Err(why) = &status.ready {
            broken.push(format!("{name} is not ready: {why}"));
        }
        if let Some(version) = version.filter(|version| *version != status.version) {
            broken.push(format!("{name} runs {}, not {version}", status.version));
        }
        let agreed = status.cluster_version;
        if let Some(version) = version.filter(|version| agreed != Some(version.minor)) {
            let agreed = agreed.map_or("none".to_owned(), |minor| minor.to_string());
            let expected = version.minor;
            broken.push(format!(
                "{name} says cluster version {agreed}, not {expected}"
            ));
        }
    }
    let (revision, equal) = match observe::hashes(members, &etcd, DEADLINE).await {
        Hashes::Equal { revision, .. } => (Some(revision), Some(true)),
        Hashes::Different { revision, .. } => {
            broken.push(format!("HashKV at revision {revision} differs"));
            (Some(revision), Some(false))
        }
        Hashes::Unknown(why) => {
            broken.push(format!("HashKV could not be compared: {why}"));
            (None, None)
        }
    };
    Checked {
        hash_kv: HashKv { revision, equal },
        broken,
    }
}

/// What all of them say, or those that do after so long.
async fn answered(members: &Members, patience: Duration) -> Etcd {
    let began = Instant::now();
    loop {
        let etcd = observe::etcd(members, DEADLINE).await;
        let silent = etcd.members.values().any(|it| it.status().is_none());
        if !silent || began.elapsed() >= patience {
            return etcd;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
