//! Reads a full snapshot again, all of it, or the newest chain as a restore would.

use std::path::PathBuf;

use druid_core::backup::listing::{Listing, Object};
use druid_core::backup::names::Kind;
use druid_core::backup::replay::Plan;
use druid_core::backup::restorable::{Begin, Loss};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::backups::make;
use crate::restore::database::{self, Source};
use crate::restore::read;
use crate::store::location::Location;

/// Of one store.
#[derive(Clone, Debug)]
pub(crate) struct Verifier {
    /// The store.
    pub(crate) location: Location,
    /// Where a snapshot is unpacked: it has the room of a database.
    pub(crate) spool: PathBuf,
}

impl Verifier {
    /// What the full snapshot of this name has in it: `name`, `lastRevision`, and `sizeBytes` and
    /// `sha256` of what is stored. An error if it is not whole.
    pub(crate) async fn verify(&self, name: &str) -> Result<Value, String> {
        let listing = self.location.listing().await.map_err(|it| it.to_string())?;
        let mut found = listing.snapshots().iter();
        let found = found.find(|it| last(it) == name);
        let object = found.ok_or_else(|| format!("there is no snapshot {name} in the store"))?;
        if object.key.name.kind() != Kind::Full {
            return Err(format!("{name} is no full snapshot"));
        }
        let (all, object, name) = (self.clone(), object.clone(), name.to_owned());
        let runtime = Handle::current();
        let work = move || all.read(&runtime, &object, &name);
        match tokio::task::spawn_blocking(work).await {
            Ok(read) => read,
            Err(error) => Err(error.to_string()),
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
    /// restore would be refused.
    pub(crate) async fn restorable(&self) -> Result<Value, String> {
        let listing = self.location.listing().await.map_err(|it| it.to_string())?;
        let (all, runtime) = (self.clone(), Handle::current());
        let work = move || all.replay(&runtime, &listing);
        match tokio::task::spawn_blocking(work).await {
            Ok(replayed) => replayed,
            Err(error) => Err(error.to_string()),
        }
    }

    fn replay(&self, runtime: &Handle, listing: &Listing) -> Result<Value, String> {
        make(&self.spool)?;
        let into = tempfile::tempfile_in(&self.spool);
        let into = into.map_err(|error| format!("{}: {error}", self.spool.display()))?;
        let source = Source {
            runtime,
            location: &self.location,
            listing,
            begin: Begin::Newest,
            loss: Loss::Refused,
            spool: &self.spool,
        };
        let replayed = database::replay(&source, &Plan::nobody(), &into, &mut |_| {});
        let replayed = replayed.map_err(|error| error.to_string())?;
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
