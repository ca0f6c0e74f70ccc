//! Deleting what is no longer to be kept. What that is, is decided in
//! [`druid_core::backup::retention`] and [`druid_core::backup::leftovers`].

use std::collections::BTreeMap;

use druid_core::backup::leftovers::{self, Parts};
use druid_core::backup::listing::Listing;
use druid_core::backup::names::{Kind, Prefix};
use druid_core::backup::retention::{self, Policy};
use jiff::Timestamp;

use crate::store::{ErrorKind, Listed, Store, StoreError};

/// What is counted: the label `kind` of `etcdbr_snapshot_gc_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counted {
    /// A full snapshot.
    Full,
    /// A delta.
    Delta,
    /// A part of an upload.
    Part,
}

/// What a round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// How many were deleted.
    pub(crate) deleted: BTreeMap<Counted, u64>,
    /// How many could not be.
    pub(crate) failed: BTreeMap<Counted, u64>,
    /// How many may not be yet.
    pub(crate) immutable: u64,
    /// The last error.
    pub(crate) error: Option<StoreError>,
}

/// After so many errors a round ends: the next one finds the rest.
const ERRORS: u64 = 5;

/// A round. A listing that fails deletes nothing.
pub(crate) async fn collect(
    store: &dyn Store,
    prefix: &Prefix,
    policy: &Policy,
    parts: Parts,
    now: Timestamp,
) -> Result<Round, StoreError> {
    let listed = store.list(&prefix.to_list()).await?;
    let of_listed = listed.iter().map(|it| (it.key.as_str(), it.bytes));
    let listing = Listing::read(prefix, of_listed);
    let snapshots = retention::decide(&listing, policy, now);
    let snapshots = snapshots.into_iter().map(|it| it.key);
    let parts = leftovers::decide(&listing, parts, now).into_iter();
    let mut round = Round::default();
    for key in snapshots.chain(parts) {
        let counted = match (key.part, key.name.kind()) {
            (Some(_), _) => Counted::Part,
            (None, Kind::Full) => Counted::Full,
            (None, Kind::Delta { .. }) => Counted::Delta,
        };
        let key = key.to_string();
        if is_immutable(&listed, &key, now) {
            round.immutable += 1;
            continue;
        }
        match store.delete(&key).await {
            Ok(()) => {
                tracing::info!(%key, "deleted");
                *round.deleted.entry(counted).or_default() += 1;
            }
            Err(error) if matches!(error.kind, ErrorKind::Immutable(_)) => round.immutable += 1,
            Err(error) => {
                tracing::warn!(%error, "not deleted");
                *round.failed.entry(counted).or_default() += 1;
                round.error = Some(error);
                if round.failed.values().sum::<u64>() >= ERRORS {
                    break;
                }
            }
        }
    }
    Ok(round)
}

fn is_immutable(listed: &[Listed], key: &str, now: Timestamp) -> bool {
    let of_key = listed.iter().find(|it| it.key == key);
    let until = of_key.and_then(|it| it.immutable_until);
    until.is_some_and(|it| it > now)
}
