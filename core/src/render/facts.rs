//! What a rendering depends on besides the object: which release, which images, how the operator is
//! configured, what is in Secrets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;

use crate::duration::GoDuration;
use crate::render::problem::Problem;

/// Which of the two releases of etcd that the operator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// That of today (feature gate `UpgradeEtcdVersion` off).
    Base,
    /// The next one (gate on).
    Next,
}

/// The images of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// That of etcd.
    pub etcd: String,
    /// That of the sidecar and of Jobs.
    pub backup_restore: String,
    /// That of init containers.
    pub init: String,
}

/// How the operator is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether pods get a token of their service account.
    pub automount_service_account_token: bool,
    /// How long a compaction may take.
    pub compaction_deadline: GoDuration,
    /// How long a compaction waits for its metrics to be read.
    pub metrics_scrape_wait: GoDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            automount_service_account_token: true,
            compaction_deadline: GoDuration::seconds(3 * 60 * 60),
            metrics_scrape_wait: GoDuration::seconds(0),
        }
    }
}

/// Of every Secret in the namespace that a Local store refers to and that is there: which directory
/// of the node it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPaths(pub BTreeMap<String, Option<String>>);

/// The directory of the node under which buckets are, if no Secret says otherwise.
pub const BUCKETS: &str = "/etc/gardener/local-backupbuckets";

impl HostPaths {
    /// Notes what a Secret says.
    pub fn add(&mut self, name: &str, secret: &Secret) {
        let data = secret.data.as_ref();
        let path = data.and_then(|it| it.get("hostPath"));
        let path = path.map(|it| String::from_utf8_lossy(&it.0).into());
        self.0.insert(name.to_owned(), path);
    }

    /// The directory of the node under which a store's bucket is.
    pub(super) fn buckets(
        &self,
        secret: Option<&str>,
        field: &'static str,
    ) -> Result<String, Problem> {
        let Some(name) = secret else {
            return Ok(BUCKETS.to_owned());
        };
        match self.0.get(name) {
            None => Err(Problem::SecretMissing {
                field,
                name: name.to_owned(),
            }),
            Some(None) => Ok(BUCKETS.to_owned()),
            Some(Some(path)) if path.is_empty() => Ok(BUCKETS.to_owned()),
            Some(Some(path)) => Ok(path.clone()),
        }
    }
}

/// What the pods of an Etcd, and its Jobs, depend on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The release that pods are to run.
    pub release: Release,
    /// Its images.
    pub images: &'a Images,
    /// The images of the release that the cluster runs: a Job reads and writes the files of that.
    pub live_images: &'a Images,
    /// How the operator is configured.
    pub settings: &'a Settings,
    /// What is in Secrets.
    pub host_paths: &'a HostPaths,
}
