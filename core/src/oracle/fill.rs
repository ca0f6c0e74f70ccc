//! The data that a cluster is filled with before the load begins. It follows from three numbers,
//! so that its keeper need not keep it, and nobody changes it afterwards.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::filler;

/// Everything that the filling writes begins with this.
pub const FILL_PREFIX: &str = "rehearse/fill/";

/// How many leases the leased keys share.
pub const LEASES: usize = 8;

/// How long those leases live, seconds. They must outlive the run.
pub const LEASE_TTL: i64 = 6 * 3_600;

/// What to fill a cluster with. Of every 20 keys, two get two more revisions after the first, two
/// have a lease and one is deleted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillSpec {
    /// How many keys to write, those that are deleted again included.
    pub keys: u32,
    /// The size of each value, bytes.
    pub value_size: usize,
    /// Where the values come from.
    pub seed: u64,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is written once.
    Once,
    /// It is written three times.
    Rewritten,
    /// It is written once, with the lease of this index below [`LEASES`].
    Leased(usize),
    /// It is written and deleted.
    Deleted,
}

impl FillSpec {
    /// The name of a key.
    pub fn key(&self, number: u32) -> String {
        format!("{FILL_PREFIX}{number:08}")
    }

    /// What becomes of it.
    pub fn kind(&self, number: u32) -> Kind {
        match number % 20 {
            3 | 13 => Kind::Rewritten,
            5 | 15 => Kind::Leased(number as usize / 10 % LEASES),
            7 => Kind::Deleted,
            _ => Kind::Once,
        }
    }

    /// How often it is written.
    pub fn writes(&self, number: u32) -> u32 {
        match self.kind(number) {
            Kind::Rewritten => 3,
            Kind::Once | Kind::Leased(_) | Kind::Deleted => 1,
        }
    }

    /// The value of its `write`-th write, from 0.
    pub fn value(&self, number: u32, write: u32) -> Vec<u8> {
        let place = u64::from(number) << 8 | u64::from(write);
        filler(
            self.seed ^ place.wrapping_mul(0xd6e8_feb8_6659_fd93),
            self.value_size,
        )
    }
}

/// What was filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// What was asked for.
    pub spec: FillSpec,
    /// The leases, by the index that [`Kind::Leased`] speaks of.
    pub leases: Vec<i64>,
    /// The revision of every key's last write, by its number.
    pub revisions: Vec<i64>,
}

/// A key as a read returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its value.
    pub value: Vec<u8>,
    /// Its `mod_revision`.
    pub revision: i64,
    /// How often it was written.
    pub version: i64,
    /// Its lease; 0 is none.
    pub lease: i64,
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// It is not there.
    Gone,
    /// Its value is another.
    Value,
    /// Its revision or its count of writes is another.
    Revision,
    /// Its lease is another or none.
    Lease,
    /// It should not be there.
    NotGone,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "it is gone",
            Self::Value => "it has another value",
            Self::Revision => "it has another revision",
            Self::Lease => "it has lost its lease",
            Self::NotGone => "it should not be there",
        })
    }
}

/// What the comparison of the filled data with the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FillFindings {
    /// How many keys must be there.
    pub keys: u32,
    /// The keys that are not as they were, and how.
    pub wrong: BTreeMap<String, Wrong>,
    /// The leases that are gone.
    pub leases_gone: Vec<i64>,
}

impl FillFindings {
    /// Set if everything is as it was.
    pub fn is_complete(&self) -> bool {
        self.wrong.is_empty() && self.leases_gone.is_empty()
    }
}

impl Filled {
    /// How many keys must be there.
    pub fn present(&self) -> u32 {
        let deleted = |number: &u32| self.spec.kind(*number) == Kind::Deleted;
        self.spec.keys - u32::try_from((0..self.spec.keys).filter(deleted).count()).unwrap_or(0)
    }

    /// Compares with everything under [`FILL_PREFIX`] and the leases that are alive.
    pub fn verify(&self, mut stored: BTreeMap<String, Stored>, alive: &[i64]) -> FillFindings {
        let mut findings = FillFindings {
            keys: self.present(),
            leases_gone: self.leases.clone(),
            ..FillFindings::default()
        };
        findings.leases_gone.retain(|lease| !alive.contains(lease));
        for number in 0..self.spec.keys {
            let key = self.spec.key(number);
            if let Some(wrong) = self.judge(number, stored.remove(&key).as_ref()) {
                findings.wrong.insert(key, wrong);
            }
        }
        let strangers = stored.into_keys().map(|key| (key, Wrong::NotGone));
        findings.wrong.extend(strangers);
        findings
    }

    fn judge(&self, number: u32, stored: Option<&Stored>) -> Option<Wrong> {
        let kind = self.spec.kind(number);
        let stored = match (kind, stored) {
            (Kind::Deleted, None) => return None,
            (Kind::Deleted, Some(_)) => return Some(Wrong::NotGone),
            (Kind::Once | Kind::Rewritten | Kind::Leased(_), None) => return Some(Wrong::Gone),
            (Kind::Once | Kind::Rewritten | Kind::Leased(_), Some(stored)) => stored,
        };
        let writes = self.spec.writes(number);
        let lease = match kind {
            Kind::Leased(index) => self.leases.get(index).copied(),
            Kind::Once | Kind::Rewritten | Kind::Deleted => Some(0),
        };
        let revision = self.revisions.get(number as usize).copied();
        if stored.value != self.spec.value(number, writes - 1) {
            Some(Wrong::Value)
        } else if Some(stored.revision) != revision || stored.version != i64::from(writes) {
            Some(Wrong::Revision)
        } else if Some(stored.lease) != lease {
            Some(Wrong::Lease)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (Filled, BTreeMap<String, Stored>) {
        let spec = FillSpec {
            keys: 40,
            value_size: 32,
            seed: 1,
        };
        let filled = Filled {
            spec,
            leases: (100..108).collect(),
            revisions: (2..42).collect(),
        };
        let stored = (0..40)
            .filter(|number| spec.kind(*number) != Kind::Deleted)
            .map(|number| {
                let lease = match spec.kind(number) {
                    Kind::Leased(index) => filled.leases[index],
                    Kind::Once | Kind::Rewritten | Kind::Deleted => 0,
                };
                let stored = Stored {
                    value: spec.value(number, spec.writes(number) - 1),
                    revision: i64::from(number) + 2,
                    version: i64::from(spec.writes(number)),
                    lease,
                };
                (spec.key(number), stored)
            })
            .collect();
        (filled, stored)
    }

    #[test]
    fn values_differ_by_key_write_and_seed() {
        let (filled, _) = filled();
        let spec = filled.spec;
        let other = FillSpec { seed: 2, ..spec };
        assert_eq!(spec.value(3, 0).len(), 32);
        assert_eq!(spec.value(3, 0), spec.value(3, 0));
        assert_ne!(spec.value(3, 0), spec.value(3, 1));
        assert_ne!(spec.value(3, 0), spec.value(4, 0));
        assert_ne!(spec.value(3, 0), other.value(3, 0));
    }

    #[test]
    fn what_was_filled_in_is_complete() {
        let (filled, stored) = filled();
        assert_eq!(filled.present(), 38);
        assert_eq!(stored.len(), 38);
        let findings = filled.verify(stored, &filled.leases);
        assert!(findings.is_complete(), "{findings:?}");
    }

    #[test]
    fn every_kind_of_damage_is_named() {
        let (filled, whole) = filled();
        let damaged = |damage: &dyn Fn(&mut BTreeMap<String, Stored>)| {
            let mut stored = whole.clone();
            damage(&mut stored);
            let findings = filled.verify(stored, &filled.leases);
            assert!(!findings.is_complete());
            assert_eq!(findings.wrong.len(), 1);
            findings.wrong.into_iter().next().unwrap()
        };
        let key = |number| filled.spec.key(number);
        let get = |stored: &BTreeMap<String, Stored>, number| stored[&key(number)].clone();
        assert_eq!(
            damaged(&|stored| drop(stored.remove(&key(4)))),
            (key(4), Wrong::Gone)
        );
        assert_eq!(
            damaged(&|stored| stored.get_mut(&key(4)).unwrap().value[9] ^= 1),
            (key(4), Wrong::Value)
        );
        assert_eq!(
            damaged(&|stored| stored.get_mut(&key(4)).unwrap().revision += 1),
            (key(4), Wrong::Revision)
        );
        assert_eq!(
            damaged(&|stored| stored.get_mut(&key(3)).unwrap().version = 2),
            (key(3), Wrong::Revision)
        );
        assert_eq!(
            damaged(&|stored| stored.get_mut(&key(5)).unwrap().lease = 0),
            (key(5), Wrong::Lease)
        );
        assert_eq!(
            damaged(&|stored| {
                let other = get(stored, 4);
                stored.insert(key(7), other);
            }),
            (key(7), Wrong::NotGone)
        );
    }

    #[test]
    fn a_lease_that_is_gone_is_named() {
        let (filled, stored) = filled();
        let findings = filled.verify(stored, &filled.leases[1..]);
        assert_eq!(findings.leases_gone, [100]);
        assert!(!findings.is_complete());
    }
}
