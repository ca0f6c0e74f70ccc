//! What a member is made from.

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// A release of etcd, and the rest of the template. A member that is of another make than the one
/// asked for has to be restarted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Make {
    /// The release of etcd.
    pub version: Version,
    /// Everything else that a person asked for.
    pub template: Template,
}

/// The fingerprint of everything in a member's template that a person asked for, but for the
/// release of etcd. The platform computes it; here it is only compared. Members with equal ones
/// need no restart, whatever else differs: that rides along with the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

impl Make {
    /// The make of a member of which there is nothing to say but its release.
    pub fn plain(version: Version) -> Self {
        Self {
            version,
            template: Template::default(),
        }
    }
}
