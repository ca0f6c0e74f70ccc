//! `kubectl druid version`.

use serde::Serialize;

use crate::images::ImageVector;
use crate::render::Release;

/// What this program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The version of druid.
    pub version: String,
    /// What it was built for, as `linux/x86_64`.
    pub platform: String,
    /// The releases of etcd in the image vector that is built in: before and after an upgrade.
    pub etcd: Vec<String>,
}

impl Build {
    /// Of a program of this version, for this platform.
    pub fn new(version: &str, platform: String) -> Self {
        let vector = ImageVector::default();
        let releases = [Release::Base, Release::Next].into_iter();
        let etcd = releases.filter_map(|it| Some(vector.etcd_version(it)?.to_string()));
        Self {
            version: version.to_owned(),
            platform,
            etcd: etcd.collect(),
        }
    }

    /// For people. `short`: nothing but the version.
    pub fn text(&self, short: bool) -> String {
        let Self {
            version,
            platform,
            etcd,
        } = self;
        if short {
            return format!("{version}\n");
        }
        let etcd = etcd.join(", ");
        format!("version    {version}\nplatform   {platform}\netcd       {etcd}\n")
    }
}
