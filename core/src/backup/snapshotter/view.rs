//! What a listing says to whoever continues a store.

use super::super::Revision;
use super::super::listing::{Listing, Object, Refusal};
use super::super::names::{Key, Kind};
use super::Diverged;

/// What the store has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreView {
    /// The newest full snapshot.
    pub base: Option<Object>,
    /// What its chain reaches; `None` if there is no chain without a hole to the newest revision.
    pub covered: Option<Revision>,
    /// Why not, if there is a base.
    pub broken: Option<String>,
    /// The object with the highest revision.
    pub newest: Option<Key>,
    /// The last revision of the newest delta.
    pub newest_delta: Option<Revision>,
}

impl StoreView {
    /// Looks at a listing.
    pub fn of(listing: &Listing) -> Self {
        let base = listing.bases().next().cloned();
        let (covered, broken) = match listing.newest() {
            Ok(chain) => (Some(chain.to), None),
            Err(Refusal::Empty { .. } | Refusal::NoFull { .. }) => (None, None),
            Err(
                refusal @ (Refusal::Base { .. }
                | Refusal::BaseHoldsLess { .. }
                | Refusal::Delta { .. }
                | Refusal::Hole { .. }),
            ) => (None, Some(refusal.to_string())),
        };
        // A full snapshot that was made later and lies lower: the store has two histories.
        let (covered, broken) = match listing.younger_but_lower().next() {
            None => (covered, broken),
            Some(younger) => (
                None,
                Some(format!("{} is younger and has less", younger.key)),
            ),
        };
        let is_delta = |it: &&Object| it.key.name.kind() != Kind::Full;
        let newest_delta = listing.snapshots().iter().rfind(is_delta);
        Self {
            base,
            covered,
            broken,
            newest: listing.snapshots().last().map(|it| it.key.clone()),
            newest_delta: newest_delta.map(|it| it.key.name.last()),
        }
    }

    /// Whether the store has what etcd does not: then they do not have the same history.
    pub fn ahead_of(&self, etcd: Revision) -> Option<Diverged> {
        let newest = self.newest.as_ref()?;
        let store = newest.name.last();
        (etcd < store).then(|| Diverged {
            etcd,
            store,
            object: Box::new(newest.clone()),
        })
    }
}
