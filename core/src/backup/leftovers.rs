//! Which parts of uploads may go.
//!
//! On GCS etcd-backup-restore uploads parts and composes them; the parts stay. On Swift the object is
//! a manifest and the parts are what it consists of. On either, an upload that did not finish leaves
//! parts without an object.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::listing::Listing;
use super::names::{Key, Name};

/// What parts are to the object that they are named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// No longer needed when it is there.
    Copied,
    /// Its content.
    Content,
}

/// An upload may take so long; younger parts without an object may be of one under way.
const UPLOAD: SignedDuration = SignedDuration::from_hours(24);

/// Decides. Nothing goes while there is no full snapshot that can be read.
pub fn decide(listing: &Listing, parts: Parts, now: Timestamp) -> Vec<Key> {
    if !listing.bases().any(super::listing::Object::readable) {
        return Vec::new();
    }
    let whole: BTreeSet<&Name> = listing.snapshots().iter().map(|it| &it.key.name).collect();
    let goes = |key: &Key| {
        let old = now.duration_since(key.name.created().time()) > UPLOAD;
        match (whole.contains(&key.name), parts) {
            (true, Parts::Copied) => true,
            (true, Parts::Content) => false,
            (false, Parts::Copied | Parts::Content) => old,
        }
    };
    let keys = listing.parts().iter().map(|it| &it.key);
    keys.filter(|it| goes(it)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::names::Prefix;
    use super::*;

    fn gone(keys: &[&str], parts: Parts, now: i64) -> Vec<String> {
        let prefix = Prefix::parse("p").unwrap();
        let listing = Listing::read(&prefix, keys.iter().map(|it| (*it, Some(10))));
        let now = Timestamp::from_second(now).unwrap();
        let gone = decide(&listing, parts, now);
        gone.iter().map(ToString::to_string).collect()
    }

    const FULL: &str = "p/v2/Full-00000000-00000009-1700000000.gz";
    const PART: &str = "p/v2/Full-00000000-00000009-1700000000.gz/0000000001";
    const OTHER: &str = "p/v2/Full-00000000-00000012-1700000100.gz/0000000001";

    #[test]
    fn parts_go_when_their_object_is_there_unless_it_consists_of_them() {
        let keys = [FULL, PART, OTHER];
        assert_eq!(gone(&keys, Parts::Copied, 1_700_000_200), [PART]);
        assert!(gone(&keys, Parts::Content, 1_700_000_200).is_empty());
    }

    #[test]
    fn parts_without_an_object_go_when_no_upload_can_be_under_way() {
        let keys = [FULL, OTHER];
        let day = 24 * 3600;
        assert!(gone(&keys, Parts::Content, 1_700_000_100 + day).is_empty());
        assert_eq!(gone(&keys, Parts::Content, 1_700_000_101 + day), [OTHER]);
        assert_eq!(gone(&keys, Parts::Copied, 1_700_000_101 + day), [OTHER]);
    }

    #[test]
    fn nothing_goes_without_a_full_snapshot() {
        assert!(gone(&[PART, OTHER], Parts::Copied, 1_900_000_000).is_empty());
    }
}
