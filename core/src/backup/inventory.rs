//! What is in a store, object by object, and what it is good for: the output of `druid inspect` and
//! `druid verify`. Names of fields are a contract with the programs that read the JSON.

use jiff::Timestamp;
use serde::Serialize;

use super::listing::{Listing, Object};
use super::names::{Key, Kind, Suffix};
use super::restorable::{self, Begin, Known, Loss, Step};

/// A store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// Snapshots, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// How many parts of uploads there are. They are never restored from.
    pub parts: usize,
    /// Why each other key was passed over.
    pub foreign: Vec<String>,
    /// What a restore would do.
    pub restore: Restore,
    /// What somebody should look at, though nothing is broken by it.
    pub warnings: Vec<String>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its key.
    pub key: String,
    /// What it is.
    pub kind: SnapshotKind,
    /// The first revision; 0 for a full snapshot.
    pub start: i64,
    /// The last revision, by name.
    pub last: i64,
    /// When its upload began.
    pub created: Timestamp,
    /// Its size in the store. `null` where the store does not say.
    pub bytes: Option<u64>,
    /// How it is compressed: `gzip`, `zlib`, `lzw`, `none`, or the suffix that nobody knows.
    pub codec: String,
    /// The last one before a cluster moved elsewhere.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What reading it has shown.
    pub state: State,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// The revision that a full snapshot holds; at least `last`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<i64>,
    /// Whether a restore would read it.
    pub restored: bool,
}

/// Full or delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotKind {
    /// Everything.
    Full,
    /// Changes.
    Delta,
}

/// What reading an object has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was not read.
    Unread,
    /// Every byte is as it was written.
    Whole,
    /// It cannot be used.
    Damaged,
}

/// What a restore would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "possible", rename_all = "lowercase")]
pub enum Restore {
    /// Restore everything that the store ever had.
    Yes {
        /// Up to this revision.
        revision: i64,
        /// When that was written.
        written: Timestamp,
        /// From this full snapshot.
        base: String,
        /// And so many deltas.
        deltas: usize,
    },
    /// Refuse, unless a loss is accepted.
    Partly {
        /// Up to this revision.
        revision: i64,
        /// Why not further.
        why: String,
    },
    /// Refuse.
    No {
        /// Why.
        why: String,
    },
}

impl Inventory {
    /// Whether all of it is as it was written, what a restore does not need included.
    pub fn is_whole(&self) -> bool {
        let damaged = |it: &Snapshot| it.state == State::Damaged;
        self.restore.is_whole() && !self.snapshots.iter().any(damaged)
    }
}

impl Restore {
    /// Whether nothing would be lost.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Yes { .. } => true,
            Self::Partly { .. } | Self::No { .. } => false,
        }
    }
}

/// Which snapshots were read to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// None: names and sizes only.
    Nothing,
    /// Every one that [`Known`] does not call damaged is whole.
    Everything,
}

/// Puts it together. With [`Read::Nothing`] full snapshots are taken to hold what their names say.
pub fn of(listing: &Listing, known: &Known, read: Read) -> Inventory {
    let mut assumed = known.clone();
    for base in listing.bases() {
        let says = base.key.name.last();
        assumed.holds.entry(base.key.clone()).or_insert(says);
    }
    let step = |loss| restorable::next(listing, &assumed, &Begin::Newest, loss);
    let used = step(Loss::Accepted).ok();
    let snapshots = listing.snapshots().iter();
    Inventory {
        snapshots: snapshots
            .map(|it| snapshot(it, known, read, used.as_ref()))
            .collect(),
        parts: listing.parts().len(),
        foreign: listing.foreign().iter().map(ToString::to_string).collect(),
        restore: restore(step(Loss::Refused), used.as_ref()),
        warnings: warnings(listing),
    }
}

fn snapshot(object: &Object, known: &Known, read: Read, used: Option<&Step>) -> Snapshot {
    let name = &object.key.name;
    let (kind, start) = match name.kind() {
        Kind::Full => (SnapshotKind::Full, 0),
        Kind::Delta { start } => (SnapshotKind::Delta, start.get()),
    };
    let damage = known.damaged.get(&object.key).cloned();
    let damage = damage.or_else(|| object.flaw().map(|it| it.to_string()));
    Snapshot {
        key: object.key.to_string(),
        kind,
        start,
        last: name.last().get(),
        created: name.created().time(),
        bytes: object.bytes,
        codec: match name.suffix() {
            Suffix::Known(codec) => codec.to_string(),
            Suffix::Unknown(suffix) => suffix.to_string(),
        },
        is_final: name.is_final(),
        state: match (&damage, read) {
            (Some(_), _) => State::Damaged,
            (None, Read::Everything) => State::Whole,
            (None, Read::Nothing) => State::Unread,
        },
        damage,
        holds: known.holds.get(&object.key).map(|it| it.get()),
        restored: used.is_some_and(|step| uses(step, &object.key)),
    }
}

fn uses(step: &Step, key: &Key) -> bool {
    match step {
        Step::ReadBase(_) => false,
        Step::Replay { chain, .. } => {
            chain.base.key == *key || chain.deltas.iter().any(|it| it.object.key == *key)
        }
    }
}

fn restore(step: Result<Step, restorable::Refusal>, partly: Option<&Step>) -> Restore {
    match (step, partly) {
        (Ok(Step::Replay { chain, .. }), _) => {
            let last = chain.deltas.last().map_or(&chain.base, |it| &it.object);
            Restore::Yes {
                revision: chain.to.get(),
                written: last.key.name.created().time(),
                base: chain.base.key.to_string(),
                deltas: chain.deltas.len(),
            }
        }
        (Err(refusal), Some(Step::Replay { chain, .. })) => Restore::Partly {
            revision: chain.to.get(),
            why: refusal.to_string(),
        },
        (Err(refusal), Some(Step::ReadBase(_)) | None) => Restore::No {
            why: refusal.to_string(),
        },
        // What every full snapshot holds is known or assumed.
        (Ok(Step::ReadBase(base)), _) => Restore::No {
            why: format!("{} was not read", base.key),
        },
    }
}

fn warnings(listing: &Listing) -> Vec<String> {
    let younger = listing.younger_but_lower();
    let mut warnings: Vec<String> = younger
        .map(|it| {
            format!(
                "{} is younger than the newest full snapshot by revision: the revision of etcd \
                 went back, or a clock did",
                it.key
            )
        })
        .collect();
    if let Ok(chain) = listing.newest() {
        warnings.extend(chain.superfluous.iter().map(|it| {
            format!(
                "{} brings nothing that others do not have: two members wrote at once",
                it.key
            )
        }));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::names::Prefix;
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let keys: Vec<String> = names.iter().map(|it| format!("p/v2/{it}")).collect();
        let prefix = Prefix::parse("p").unwrap();
        Listing::read(&prefix, keys.iter().map(|it| (it.as_str(), Some(100))))
    }

    const FULL: &str = "Full-00000000-00000101-10.gz";
    const A: &str = "Incr-00000102-00000110-20.zlib";
    const B: &str = "Incr-00000111-00000120-30.final";

    #[test]
    fn a_whole_store_says_what_a_restore_would_read() {
        let old = "Full-00000000-00000050-5.Z";
        let inventory = of(
            &listing(&[old, FULL, A, B]),
            &Known::default(),
            Read::Everything,
        );
        let brief = |it: &Snapshot| {
            (
                it.codec.clone(),
                it.start,
                it.last,
                it.restored,
                it.is_final,
            )
        };
        let expected = [
            ("lzw".to_owned(), 0, 50, false, false),
            ("gzip".to_owned(), 0, 101, true, false),
            ("zlib".to_owned(), 102, 110, true, false),
            ("none".to_owned(), 111, 120, true, true),
        ];
        let found: Vec<_> = inventory.snapshots.iter().map(brief).collect();
        assert_eq!(found, expected);
        assert!(inventory.restore.is_whole());
        assert!(
            inventory
                .snapshots
                .iter()
                .all(|it| it.state == State::Whole)
        );
        assert_eq!(inventory.warnings, Vec::<String>::new());
    }

    #[test]
    fn damage_is_shown_where_it_is_and_in_what_it_costs() {
        let listing = listing(&[FULL, A, B, "x"]);
        let damaged = listing.snapshots()[2].key.clone();
        let known = Known {
            holds: BTreeMap::new(),
            damaged: [(damaged, "cut".to_owned())].into(),
        };
        let inventory = of(&listing, &known, Read::Everything);
        let states: Vec<State> = inventory.snapshots.iter().map(|it| it.state).collect();
        assert_eq!(states, [State::Whole, State::Whole, State::Damaged]);
        assert!(
            matches!(&inventory.restore, Restore::Partly { revision: 110, why } if why.contains("cut")),
            "{:?}",
            inventory.restore
        );
        assert_eq!(inventory.foreign.len(), 1);
        assert!(!inventory.restore.is_whole());
    }

    #[test]
    fn nothing_is_nothing_and_unread_is_not_whole() {
        let inventory = of(&listing(&[]), &Known::default(), Read::Everything);
        assert!(matches!(inventory.restore, Restore::No { .. }));
        let inventory = of(&listing(&[FULL, A]), &Known::default(), Read::Nothing);
        assert!(
            inventory
                .snapshots
                .iter()
                .all(|it| it.state == State::Unread)
        );
    }
}
