//! What a backup and two releases say of an upgrade that nothing forbids, and that somebody should
//! look after all the same.

use std::fmt;

use crate::report;
use crate::version::{Minor, Version};

/// A database as the member had it that its snapshot was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its size.
    pub bytes: u64,
    /// What of it is in use.
    pub bytes_in_use: u64,
}

/// Something to look after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The database has nearly the size at which etcd refuses writes.
    NearQuota {
        /// Its size.
        bytes: u64,
        /// The quota.
        quota: u64,
    },
    /// Much of the database is free pages.
    Fragmented(Database),
    /// 3.5 keeps the list of free pages in another way than 3.4 unless it is told not to.
    FreelistType,
    /// Metrics that the new release has not.
    MetricsRemoved,
    /// Flags at which the new release exits.
    FlagsRemoved,
    /// An object of the store is damaged; others have what it had.
    DamagedObject {
        /// Which.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// Less than the store once had was rehearsed with, as was accepted.
    Lost {
        /// What.
        what: String,
    },
}

/// From this part of its quota on, in percent, a database is near it.
const NEAR: u64 = 80;

/// Less free space than this, bytes, is not worth a defragmentation.
const FREE: u64 = 64 << 20;

/// What a database and the way from one release to another call for.
pub fn of(database: Database, quota: u64, from: Version, to: Version) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let Database {
        bytes,
        bytes_in_use,
    } = database;
    if u128::from(bytes) * 100 >= u128::from(quota) * u128::from(NEAR) {
        warnings.push(Warning::NearQuota { bytes, quota });
    }
    let free = bytes.saturating_sub(bytes_in_use);
    if free >= FREE && free > bytes / 2 {
        warnings.push(Warning::Fragmented(database));
    }
    if from.minor == V3_4 && to.minor == V3_5 {
        warnings.extend([
            Warning::FreelistType,
            Warning::MetricsRemoved,
            Warning::FlagsRemoved,
        ]);
    }
    warnings
}

const V3_4: Minor = Minor::new(3, 4);
const V3_5: Minor = Minor::new(3, 5);

impl Warning {
    /// Its name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NearQuota { .. } => "NearQuota",
            Self::Fragmented(_) => "Fragmented",
            Self::FreelistType => "FreelistType",
            Self::MetricsRemoved => "MetricsRemoved",
            Self::FlagsRemoved => "FlagsRemoved",
            Self::DamagedObject { .. } => "DamagedObject",
            Self::Lost { .. } => "Lost",
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NearQuota { .. } => {
                "defragment each member, compact if that does not suffice, or raise \
                 --quota-backend-bytes before the upgrade"
            }
            Self::Fragmented(_) => "defragment each member before the upgrade, one after another",
            Self::FreelistType => {
                "set backend-bbolt-freelist-type and experimental-backend-bbolt-freelist-type to array \
                 in the configuration, as the rehearsal does, and follow the size of the database for \
                 some days"
            }
            Self::MetricsRemoved => {
                "change alerts and dashboards to etcd_mvcc_* before the upgrade"
            }
            Self::FlagsRemoved => {
                "look for them in the configuration: in a file, 3.5 ignores all but the logger and says \
                 nothing"
            }
            Self::DamagedObject { .. } => {
                "find out what damaged it, and take a new full snapshot; druid verify reads the whole \
                 store"
            }
            Self::Lost { .. } => "take a new full snapshot and rehearse on that",
        }
    }

    /// As it stands in `report.json`.
    pub fn report(&self) -> report::Warning {
        report::Warning {
            code: self.code().to_owned(),
            message: self.to_string(),
            remedy: self.remedy().to_owned(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        match self {
            Self::NearQuota { bytes, quota } => write!(
                f,
                "the database has {} MiB, and its quota is {} MiB: at the quota etcd refuses writes",
                mib(*bytes),
                mib(*quota)
            ),
            Self::Fragmented(database) => write!(
                f,
                "only {} MiB of the database's {} MiB are in use",
                mib(database.bytes_in_use),
                mib(database.bytes)
            ),
            Self::FreelistType => f.write_str(
                "3.5 keeps its free pages as a map where 3.4 had an array, and databases grew by it",
            ),
            Self::MetricsRemoved => f.write_str(
                "3.5 has no etcd_debugging_mvcc_db_total_size_in_bytes, _put_total, _delete_total, \
                 _txn_total and _range_total: alerts on them fall silent",
            ),
            Self::FlagsRemoved => f.write_str(
                "3.5 exits at the flags --debug, --log-package-levels, --log-output, \
                 --next-cluster-version-compatible and --experimental-backend-bbolt-freelist-type, and \
                 at the logger capnslog",
            ),
            Self::DamagedObject { object, why } => {
                write!(
                    f,
                    "{object} is damaged and was not needed, others have all of it: {why}"
                )
            }
            Self::Lost { what } => {
                write!(f, "the rehearsal was held on less than the store had: {what}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version::new(3, 4, 34);
    const NEW: Version = Version::new(3, 5, 27);
    const MIB: u64 = 1 << 20;

    fn codes(bytes: u64, bytes_in_use: u64, from: Version, to: Version) -> Vec<&'static str> {
        let database = Database {
            bytes: bytes * MIB,
            bytes_in_use: bytes_in_use * MIB,
        };
        let warnings = of(database, 1000 * MIB, from, to);
        warnings.iter().map(Warning::code).collect()
    }

    #[test]
    fn a_database_is_near_its_quota_from_four_fifths_on() {
        assert_eq!(codes(799, 799, NEW, NEW), [""; 0]);
        assert_eq!(codes(800, 800, NEW, NEW), ["NearQuota"]);
        assert_eq!(codes(2000, 2000, NEW, NEW), ["NearQuota"]);
    }

    #[test]
    fn free_space_counts_if_it_is_much_and_most_of_it() {
        assert_eq!(codes(200, 100, NEW, NEW), [""; 0]);
        assert_eq!(codes(200, 99, NEW, NEW), ["Fragmented"]);
        assert_eq!(codes(64, 1, NEW, NEW), [""; 0]);
    }

    #[test]
    fn only_the_way_to_a_new_minor_release_removes_something() {
        let removed = ["FreelistType", "MetricsRemoved", "FlagsRemoved"];
        assert_eq!(codes(1, 1, OLD, NEW), removed);
        assert_eq!(codes(1, 1, NEW, OLD), [""; 0]);
        assert_eq!(codes(1, 1, OLD, Version::new(3, 4, 35)), [""; 0]);
    }

    #[test]
    fn each_says_what_was_found() {
        let near = Warning::NearQuota {
            bytes: 900 * MIB,
            quota: 1000 * MIB,
        };
        assert_eq!(
            near.report().message,
            "the database has 900 MiB, and its quota is 1000 MiB: at the quota etcd refuses writes"
        );
        let damaged = Warning::DamagedObject {
            object: "v2/x".to_owned(),
            why: "it is cut".to_owned(),
        };
        assert!(damaged.to_string().starts_with("v2/x is damaged"));
        assert!(damaged.remedy().contains("druid verify"));
    }
}
