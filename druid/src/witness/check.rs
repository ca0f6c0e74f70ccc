//! Are all members well, on the release that they should be on, and do they hold the same data?

use std::time::Duration;

use druid_core::observed::Hashes;
use druid_core::report::HashKv;
use druid_core::version::Version;

use crate::observe::{self, Members};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// The comparison of their data.
    pub(crate) hash_kv: HashKv,
    /// Everything that must not be, in words; empty if all is well.
    pub(crate) broken: Vec<String>,
}

/// Looks, while load may go on. `version`: what all should run and have agreed on, if that is known.
pub(crate) async fn check(members: &Members, version: Option<Version>) -> Checked {
    let etcd = observe::etcd(members, DEADLINE).await;
    let mut broken = Vec::new();
    for (name, answer) in &etcd.members {
        let Some(status) = answer.status() else {
            broken.push(format!("{name} does not answer"));
            continue;
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
