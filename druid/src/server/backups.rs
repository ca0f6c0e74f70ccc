//! The store, as far as a member's start needs it.

use std::fs::DirBuilder;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use druid_core::backup::initialize::Store;
use druid_core::backup::listing::Listing;
use druid_core::backup::restorable::{Begin, Loss, claimed};
use druid_core::data_dir::{Identity, IdentityError, InitialCluster};
use tokio::runtime::Handle;

use super::parts::{self, Later, Target};
use crate::clock;
use crate::data_dir::DataDir;
use crate::restore::data_dir::{self, Options, Restored};
use crate::restore::database::{Progress, Source};
use crate::store::StoreError;
use crate::store::location::Location;

/// How long a listing may take. The store has a deadline of its own on each request.
const LISTING: Duration = Duration::from_mins(5);

/// Those of one store.
#[derive(Clone, Debug)]
pub(crate) struct OfStore {
    /// The store.
    pub(crate) location: Location,
    /// Whose data directory it is.
    pub(crate) dir: DataDir,
    /// `--restoration-temp-snapshots-dir`.
    pub(crate) spool: PathBuf,
}

impl parts::Backups for OfStore {
    fn newest(&self) -> Later<'_, Store> {
        Box::pin(async {
            match self.listing().await {
                Ok(listing) => reach(&listing),
                Err(why) => Store::Unknown(why),
            }
        })
    }

    fn restore(&self, target: Target) -> Later<'_, Result<(), String>> {
        Box::pin(async move {
            let listing = self.listing().await?;
            let identity = identity(&target).map_err(|error| error.to_string())?;
            let (all, runtime) = (self.clone(), Handle::current());
            let work = move || all.restore_blocking(&runtime, &listing, &identity);
            let restored = match tokio::task::spawn_blocking(work).await {
                Ok(restored) => restored?,
                Err(error) => return Err(error.to_string()),
            };
            let chain = &restored.replayed.chain;
            tracing::info!(
                base = %chain.base.key,
                deltas = chain.deltas.len(),
                revision = %restored.replayed.report.revision,
                bytes = restored.replayed.bytes,
                "restored from the store"
            );
            if let Some(aside) = restored.aside {
                tracing::warn!(at = %aside.display(), "the old data was moved aside");
            }
            Ok(())
        })
    }
}

impl OfStore {
    async fn listing(&self) -> Result<Listing, String> {
        let listed = tokio::time::timeout(LISTING, self.location.listing()).await;
        let text = |error: StoreError| error.to_string();
        listed
            .map_err(|_| format!("no listing within {} s", LISTING.as_secs()))?
            .map_err(text)
    }

    fn restore_blocking(
        &self,
        runtime: &Handle,
        listing: &Listing,
        identity: &Identity,
    ) -> Result<Restored, String> {
        make(&self.spool).map_err(|error| format!("--restoration-temp-snapshots-dir {error}"))?;
        let source = Source {
            runtime,
            location: &self.location,
            listing,
            begin: Begin::Newest,
            loss: Loss::Refused,
            spool: &self.spool,
        };
        let mut tell = |progress: Progress<'_>| match progress {
            Progress::Base(key) => tracing::info!(%key, "unpacking a full snapshot"),
            Progress::Delta(key, number, of) => tracing::info!(%key, number, of, "replaying"),
            Progress::Damaged(key, why) => {
                tracing::warn!(%key, why, "damaged; what it had may be elsewhere");
            }
            Progress::Bytes(_) => {}
        };
        let now = clock::now();
        let options = Options::default();
        data_dir::restore(&source, identity, options, &self.dir, now, &mut tell)
            .map_err(|error| error.to_string())
    }
}

/// Makes a directory that only we can read, with those above it.
pub(crate) fn make(directory: &Path) -> Result<(), String> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|error: io::Error| format!("{}: {error}", directory.display()))
}

/// What a listing promises. Snapshots that nobody can read are not the same as none.
fn reach(listing: &Listing) -> Store {
    match (claimed(listing), listing.snapshots().len()) {
        (Some(reach), _) => Store::Holds(reach.last),
        (None, 0) => Store::Empty,
        (None, count) => Store::Unknown(format!(
            "it lists {count} snapshots and none of them can be read"
        )),
    }
}

/// A cluster of this member alone. Its token is a new one each time, so that members of the cluster
/// that was before do not take it for theirs.
fn identity(target: &Target) -> Result<Identity, IdentityError> {
    let pairs = target.peer_urls.iter();
    let pairs: Vec<String> = pairs
        .map(|url| format!("{}={url}", target.name.0))
        .collect();
    let random = RandomState::new().hash_one(&target.name);
    let token = format!("restored-{random:016x}");
    let cluster = InitialCluster::parse(&pairs.join(","), &token)?;
    cluster.member(&target.name, &target.peer_urls.join(","))
}

#[cfg(test)]
mod tests {
    use druid_core::backup::names::Prefix;
    use druid_core::member::MemberName;

    use super::*;

    fn of(keys: &[(&str, u64)]) -> Store {
        let prefix = Prefix::parse("p").unwrap();
        reach(&Listing::read(
            &prefix,
            keys.iter().map(|(key, bytes)| (*key, Some(*bytes))),
        ))
    }

    #[test]
    fn snapshots_that_cannot_be_read_are_not_an_empty_store() {
        assert_eq!(of(&[]), Store::Empty);
        let full = "p/v2/Full-00000000-00000101-10.gz";
        assert!(matches!(of(&[(full, 9)]), Store::Holds(last) if last.get() == 101));
        assert!(matches!(of(&[(full, 0)]), Store::Unknown(_)));
    }

    #[test]
    fn a_restored_member_is_of_a_new_cluster_each_time() {
        let target = Target {
            name: MemberName("a-0".to_owned()),
            peer_urls: vec!["http://b:2380".to_owned(), "http://a:2380".to_owned()],
        };
        let (one, two) = (identity(&target).unwrap(), identity(&target).unwrap());
        assert_ne!(one.cluster().id(), two.cluster().id());
        assert_ne!(one.own().id, two.own().id);
    }
}
