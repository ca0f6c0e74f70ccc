//! Reads a full snapshot again, all of it, or the newest chain as a restore would.

use std::path::PathBuf;
use std::sync::Arc;

use druid_core::backup::listing::{Listing, Object};
use druid_core::backup::names::Kind;
use druid_core::backup::replay::Plan;
use druid_core::backup::restorable::{Begin, Loss};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::backups::make;
use super::parts::NoSnapshot;
use crate::restore::database::{self, RestoreError, Source};
use crate::restore::read;
use crate::store::location::Location;

/// Of one store.
#[derive(Clone, Debug)]
pub(crate) struct Verifier {
    location: Location,
    spool: PathBuf,
    /// For one at a time: it is etcd's own volume that a database is unpacked on.
    room: Arc<Semaphore>,
}

impl Verifier {
    /// `spool`: where a snapshot is unpacked; it has the room of a database.
    pub(crate) fn new(location: Location, spool: PathBuf) -> Self {
        Self {
            location,
            spool,
            room: Arc::new(Semaphore::new(1)),
        }
    }

    /// What the full snapshot of this name has in it: `name`, `lastRevision`, and `sizeBytes` and
    /// `sha256` of what is stored. An error if it is not whole.
    pub(crate) async fn verify(&self, name: &str) -> Result<Value, NoSnapshot> {
        let name = name.to_owned();
        self.alone(move |all, runtime, listing| {
            let mut found = listing.snapshots().iter();
            let found = found.find(|it| last(it) == name);
            let missing = || format!("there is no snapshot {name} in the store");
            let object = found.ok_or_else(missing).map_err(NoSnapshot::Failed)?;
            if object.key.name.kind() != Kind::Full {
                return Err(NoSnapshot::Failed(format!("{name} is no full snapshot")));
            }
            let read = all.read(runtime, object, &name);
            read.map_err(NoSnapshot::Failed)
        })
        .await
    }

    /// Does what unpacks a database, unless another one is being unpacked. It goes on, and keeps the
    /// room, when nobody waits for it any more.
    async fn alone(
        &self,
        work: impl FnOnce(&Self, &Handle, &Listing) -> Result<Value, NoSnapshot> + Send + 'static,
    ) -> Result<Value, NoSnapshot> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| NoSnapshot::Busy)?;
        let listing = self.location.listing().await;
        let listing = listing.map_err(|it| NoSnapshot::Failed(it.to_string()))?;
        let (all, runtime) = (self.clone(), Handle::current());
        let work = move || {
            let done = work(&all, &runtime, &listing);
            drop(room);
            done
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(NoSnapshot::Failed(error.to_string())),
        }
    }

    fn read(&self, runtime: &Handle, object: &Object, name: &str) -> Result<Value, String> {
        make(&self.spool)?;
        let text = |error: read::ReadError| format!("{name}: {error}");
        let base =
            read::base(runtime, &self.location, object, &self.spool, |_| {}).map_err(text)?;
        let sha256 = read::stored_digest(runtime, &self.location, object).map_err(text)?;
        Ok(json!({
            "name": name,
            "lastRevision": base.holds.get(),
            "sizeBytes": object.bytes,
            "sha256": sha256,
        }))
    }

    /// Restores the newest chain into a file without a name, and says how far that went: `revision`,
    /// `base`, `deltas`, `writtenAt` of the newest of them, and `bytes` of the database. An error if a
    /// restore would be refused: [`NoSnapshot::Damaged`] if what is in the store is the reason.
    pub(crate) async fn restorable(&self) -> Result<Value, NoSnapshot> {
        self.alone(Self::replay).await
    }

    fn replay(&self, runtime: &Handle, listing: &Listing) -> Result<Value, NoSnapshot> {
        make(&self.spool).map_err(NoSnapshot::Failed)?;
        let into = tempfile::tempfile_in(&self.spool);
        let into =
            into.map_err(|error| NoSnapshot::Failed(format!("{}: {error}", self.spool.display())))?;
        let source = Source {
            runtime,
            location: &self.location,
            listing,
            begin: Begin::Newest,
            loss: Loss::Refused,
            spool: &self.spool,
        };
        let replayed = database::replay(&source, &Plan::nobody(), &into, &mut |_| {});
        let replayed = replayed.map_err(|error| match error {
            RestoreError::Refused(_) => NoSnapshot::Damaged(error.to_string()),
            RestoreError::Store(_) | RestoreError::Disk { .. } | RestoreError::Plan(_) => {
                NoSnapshot::Failed(error.to_string())
            }
        })?;
        let chain = &replayed.chain;
        let newest = chain.deltas.last().map_or(&chain.base, |it| &it.object);
        Ok(json!({
            "revision": replayed.report.revision.get(),
            "base": last(&chain.base),
            "deltas": chain.deltas.len(),
            "writtenAt": newest.key.name.created().time().to_string(),
            "bytes": replayed.bytes,
        }))
    }
}

/// The last part of an object's key.
fn last(object: &Object) -> String {
    let key = object.key.to_string();
    let (_, last) = key.rsplit_once('/').unwrap_or(("", &key));
    last.to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::Range;
    use std::path::Path;
    use std::process::Command;

    use bytes::Bytes;
    use druid_core::backup::names::Prefix;

    use super::*;
    use crate::store::local::Local;
    use crate::store::{Answer, Body, Listed, Store};

    const FULL: &str = "Full-00000000-00000007-10.gz";

    /// A store whose objects come only when the gate is open.
    #[derive(Debug)]
    struct Gated {
        inner: Local,
        gate: Semaphore,
        reached: Semaphore,
    }

    impl Store for Gated {
        fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
            self.inner.list(prefix)
        }

        fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>> {
            self.inner.head(key)
        }

        fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
            Box::pin(async move {
                self.reached.add_permits(1);
                drop(self.gate.acquire().await);
                self.inner.get(key, range).await
            })
        }

        fn put<'a>(&'a self, key: &'a str, body: Body) -> Answer<'a, u64> {
            self.inner.put(key, body)
        }

        fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
            self.inner.delete(key)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_database_is_unpacked_at_a_time_even_if_nobody_waits_for_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("p/v2")).unwrap();
        fs::write(root.path().join("p/v2").join(FULL), "no snapshot").unwrap();
        let store = Arc::new(Gated {
            inner: Local::new(root.path().to_owned()),
            gate: Semaphore::new(0),
            reached: Semaphore::new(0),
        });
        let location = Location {
            store: store.clone(),
            prefix: Prefix::parse("p").unwrap(),
            address: String::new(),
        };
        let verifier = Verifier::new(location, root.path().join("spool"));
        let first = tokio::spawn({
            let verifier = verifier.clone();
            async move { verifier.verify(FULL).await }
        });
        store.reached.acquire().await.unwrap().forget();
        assert_eq!(verifier.restorable().await, Err(NoSnapshot::Busy));
        assert_eq!(verifier.verify(FULL).await, Err(NoSnapshot::Busy));
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(verifier.restorable().await, Err(NoSnapshot::Busy));
        store.gate.add_permits(100);
        let read = loop {
            match verifier.verify(FULL).await {
                Err(NoSnapshot::Busy) => tokio::task::yield_now().await,
                read => break read,
            }
        };
        assert!(matches!(read, Err(NoSnapshot::Failed(_))), "{read:?}");
        let restorable = verifier.restorable().await;
        assert!(
            matches!(restorable, Err(NoSnapshot::Damaged(_))),
            "{restorable:?}"
        );
    }
    /// Where the child of [`a_trial_without_room_says_nothing_of_the_backup`] unpacks.
    const CRAMPED: &str = "DRUID_TEST_CRAMPED";

    fn genuine(spool: &Path) -> Verifier {
        let store = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store");
        let location = Location {
            store: Arc::new(Local::new(store.into())),
            prefix: Prefix::parse("").unwrap(),
            address: String::new(),
        };
        Verifier::new(location, spool.to_owned())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trial_without_room_says_nothing_of_the_backup() {
        let spool = tempfile::tempdir().unwrap();
        genuine(spool.path()).restorable().await.unwrap();
        let output = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact"])
            .arg("server::verifier::tests::in_the_child_there_is_no_room")
            .env(CRAMPED, spool.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "run by the test above, where files may not grow"]
    async fn in_the_child_there_is_no_room() {
        let spool = std::env::var(CRAMPED).unwrap();
        let tried = genuine(Path::new(&spool)).restorable().await;
        let Err(NoSnapshot::Failed(why)) = tried else {
            panic!("{tried:?}");
        };
        assert!(why.contains("free some space"), "{why}");
    }
}
