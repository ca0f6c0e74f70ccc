//! The version of each object of a bucket that counts, as the last listing had it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use druid_core::backup::versions::Version;

/// What a bucket is known to do with what is written over, or deleted.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<Bucket>);

#[derive(Debug, Default)]
enum Bucket {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// It does not tell, so what it shows is all there is.
    Plain,
    /// It lists versions; those of these objects have names.
    Listed(BTreeMap<String, String>),
}

impl Versions {
    /// Whether it is worth asking for versions.
    pub(crate) fn may_be_listed(&self) -> bool {
        match &*self.bucket() {
            Bucket::Unknown | Bucket::Listed(_) => true,
            Bucket::Plain => false,
        }
    }

    /// It does not list them.
    pub(crate) fn are_not_listed(&self) {
        *self.bucket() = Bucket::Plain;
    }

    /// Those of the objects with a prefix are these.
    pub(crate) fn listed(&self, prefix: &str, versions: &BTreeMap<String, Version>) {
        let mut bucket = self.bucket();
        let mut known = match std::mem::take(&mut *bucket) {
            Bucket::Unknown | Bucket::Plain => BTreeMap::new(),
            Bucket::Listed(known) => known,
        };
        known.retain(|key, _| !key.starts_with(prefix));
        let named = versions.values();
        known.extend(named.filter_map(|it| Some((it.key.clone(), it.named()?.to_owned()))));
        *bucket = Bucket::Listed(known);
    }

    /// The version of an object that counts, if it has a name.
    pub(crate) fn of(&self, key: &str) -> Option<String> {
        match &*self.bucket() {
            Bucket::Unknown | Bucket::Plain => None,
            Bucket::Listed(known) => known.get(key).cloned(),
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
