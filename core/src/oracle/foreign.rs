//! Keys that were there before the load, and that nobody changes: whether they are as they were.

use sha2::{Digest as _, Sha256};

/// A key as a read returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign<'a> {
    /// Its name.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// The revision that made it.
    pub created: i64,
    /// The revision of its last change.
    pub changed: i64,
    /// How often it was written.
    pub version: i64,
    /// Its lease; 0 is none.
    pub lease: i64,
}

/// All of them, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Census {
    all: u64,
    counted: u64,
    digest: Sha256,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// All keys.
    pub all: u64,
    /// Those without a lease.
    pub keys: u64,
    /// The SHA-256 of those, in hexadecimal.
    pub sha256: String,
}

impl Census {
    /// The next one. One that has a lease is counted and not compared: it may be gone next time.
    pub fn add(&mut self, it: Foreign<'_>) {
        self.all += 1;
        if it.lease != 0 {
            return;
        }
        self.counted += 1;
        for bytes in [it.key, it.value] {
            // With its length, so that a byte cannot move from one to the next unseen.
            self.digest.update((bytes.len() as u64).to_be_bytes());
            self.digest.update(bytes);
        }
        for number in [it.created, it.changed, it.version] {
            self.digest.update(number.to_be_bytes());
        }
    }

    /// What all came to.
    pub fn finish(self) -> Counted {
        let digest = self.digest.finalize();
        Counted {
            all: self.all,
            keys: self.counted,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Foreign<'static> = Foreign {
        key: b"foo",
        value: b"bar",
        created: 2,
        changed: 3,
        version: 2,
        lease: 0,
    };

    fn count(keys: &[Foreign<'_>]) -> Counted {
        let mut census = Census::default();
        keys.iter().for_each(|key| census.add(*key));
        census.finish()
    }

    #[test]
    fn every_change_of_a_key_shows() {
        let whole = count(&[KEY]);
        assert_eq!((whole.all, whole.keys), (1, 1));
        assert_eq!(count(&[KEY]), whole);
        let changes = [
            Foreign {
                key: b"fo",
                value: b"obar",
                ..KEY
            },
            Foreign {
                value: b"baz",
                ..KEY
            },
            Foreign { created: 3, ..KEY },
            Foreign { changed: 4, ..KEY },
            Foreign { version: 3, ..KEY },
        ];
        for changed in changes {
            assert_ne!(count(&[changed]).sha256, whole.sha256, "{changed:?}");
        }
        assert_ne!(count(&[]), whole);
        assert_ne!(count(&[KEY, KEY]), whole);
    }

    #[test]
    fn a_key_with_a_lease_is_counted_and_not_compared() {
        let leased = Foreign {
            key: b"x",
            lease: 7,
            ..KEY
        };
        let with = count(&[KEY, leased]);
        assert_eq!((with.all, with.keys), (2, 1));
        assert_eq!(with.sha256, count(&[KEY]).sha256);
    }
}
