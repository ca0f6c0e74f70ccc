//! Which version of an object counts in a bucket that keeps all of them, as one with object lock does.
//!
//! The oldest: whoever may write the bucket can put another version over a snapshot, or a deletion, and
//! neither takes away what is locked. etcd-backup-restore reads the oldest, too.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;

/// The name that S3 has for the version of an object that was written while no versions were kept.
const NONE: &str = "null";

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What the object is called.
    pub key: String,
    /// What the version is called.
    pub id: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub written: Timestamp,
}

impl Version {
    /// What to call it when it is read or deleted. `None` if it is the only one that there can be.
    #[must_use]
    pub fn named(&self) -> Option<&str> {
        Some(self.id.as_str()).filter(|it| *it != NONE)
    }
}

/// The oldest version of each object. Of two that were written at once, the one that is listed later:
/// S3 lists the newest first.
#[must_use]
pub fn oldest(versions: impl IntoIterator<Item = Version>) -> BTreeMap<String, Version> {
    let mut oldest = BTreeMap::new();
    for version in versions {
        match oldest.entry(version.key.clone()) {
            Entry::Vacant(place) => {
                place.insert(version);
            }
            Entry::Occupied(mut place) => {
                let older: &Version = place.get();
                if version.written <= older.written {
                    place.insert(version);
                }
            }
        }
    }
    oldest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(key: &str, id: &str, written: i64) -> Version {
        Version {
            key: key.to_owned(),
            id: id.to_owned(),
            bytes: 1,
            written: Timestamp::from_second(written).unwrap(),
        }
    }

    #[test]
    fn what_was_written_over_an_object_is_not_it() {
        let listed = [
            version("a", "forged", 9),
            version("a", "genuine", 5),
            version("b", "late", 7),
            version("b", "early", 7),
            version("c", "null", 3),
            version("c", "second", 8),
        ];
        let oldest = oldest(listed);
        let ids = oldest.values().map(Version::named).collect::<Vec<_>>();
        assert_eq!(ids, [Some("genuine"), Some("early"), None]);
        assert_eq!(oldest.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
