//! etcd versions, and which step from one to another is allowed. The rules are data ([`MINORS`],
//! [`KNOWN_BAD`], [`HOPS`]); nothing else in the project knows a version number.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A release of etcd, such as `3.5.27`. Pre-releases are not versions that anyone should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// The series that the release belongs to.
    pub minor: Minor,
    /// The number within the series.
    pub patch: u16,
}

/// A series of releases, such as `3.5`. etcd's *cluster version* is one of these: the lowest that
/// any member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Minor {
    /// `3` in `3.5`.
    pub major: u16,
    /// `5` in `3.5`.
    pub minor: u16,
}

/// Text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not an etcd version; write MAJOR.MINOR.PATCH, for example 3.5.27")]
pub struct ParseVersionError {
    /// What was given.
    pub text: String,
}

impl Version {
    /// `Version::new(3, 5, 27)` is 3.5.27.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            minor: Minor::new(major, minor),
            patch,
        }
    }
}

impl Minor {
    /// `Minor::new(3, 5)` is 3.5.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The one before in the same major series; 3.4 of 3.5.
    #[must_use]
    pub const fn before(self) -> Self {
        Self::new(self.major, self.minor.saturating_sub(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.minor, self.patch)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn numbers<const N: usize>(text: &str) -> Result<[u16; N], ParseVersionError> {
    let bad = || ParseVersionError {
        text: text.to_owned(),
    };
    let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
    let mut found = [0; N];
    for slot in &mut found {
        let part = parts.next().ok_or_else(bad)?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        *slot = part.parse().map_err(|_| bad())?;
    }
    if parts.next().is_some() {
        Err(bad())
    } else {
        Ok(found)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [major, minor, patch] = numbers(text)?;
        Ok(Self::new(major, minor, patch))
    }
}

/// Reads `3.5` and, because etcd's `/version` answers so, `3.5.0`.
impl FromStr for Minor {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok([major, minor]) = numbers(text) {
            return Ok(Self::new(major, minor));
        }
        Ok(text.parse::<Version>()?.minor)
    }
}

impl TryFrom<String> for Version {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Minor {
    type Error = ParseVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Minor> for String {
    fn from(minor: Minor) -> Self {
        minor.to_string()
    }
}

/// Which way a roll goes. Going up takes a snapshot first; going down keeps the newer data; a roll
/// that stays only restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To a later release.
    Upgrade,
    /// To an earlier release.
    Downgrade,
    /// To the same release: something else is to change.
    Same,
}

impl Direction {
    /// The way from one release to another.
    pub fn between(from: Version, to: Version) -> Self {
        match to.cmp(&from) {
            Ordering::Less => Self::Downgrade,
            Ordering::Equal => Self::Same,
            Ordering::Greater => Self::Upgrade,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Same => "restart",
        })
    }
}

/// The series that druid has been run against.
pub const MINORS: &[Minor] = &[Minor::new(3, 4), Minor::new(3, 5), Minor::new(3, 6)];

/// A way from one series to the next or back, with the patch levels that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The series that the cluster is on.
    pub from: Minor,
    /// The lowest patch of `from` that may take the hop.
    pub from_patch: u16,
    /// The series that the cluster goes to.
    pub to: Minor,
    /// The lowest patch of `to` that may be gone to.
    pub to_patch: u16,
    /// Set while the way back from `to` has not been tested: the hop is then refused.
    pub untested: bool,
}

/// Every way between series; whatever is not here is refused.
///
/// Sources: 3.4.32 is the first 3.4 that lowers the cluster version again (etcd #17818), 3.5.26 the
/// first 3.5 that cleans up zombie members (etcd #20967), 3.5.32 the first that etcd's own
/// `upgrade_3_6.md` lets go to 3.6.
pub const HOPS: &[Hop] = &[
    Hop {
        from: Minor::new(3, 4),
        from_patch: 32,
        to: Minor::new(3, 5),
        to_patch: 26,
        untested: false,
    },
    Hop {
        from: Minor::new(3, 5),
        from_patch: 26,
        to: Minor::new(3, 4),
        to_patch: 32,
        untested: false,
    },
    Hop {
        from: Minor::new(3, 5),
        from_patch: 32,
        to: Minor::new(3, 6),
        to_patch: 0,
        untested: true,
    },
    Hop {
        from: Minor::new(3, 6),
        from_patch: 0,
        to: Minor::new(3, 5),
        to_patch: 32,
        untested: true,
    },
];

/// Releases that lose or corrupt data, and the issue that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownBad {
    /// The series.
    pub minor: Minor,
    /// The first bad patch.
    pub first: u16,
    /// The last bad patch.
    pub last: u16,
    /// What goes wrong, in one clause.
    pub what: &'static str,
    /// etcd's issue.
    pub issue: u32,
}

/// Releases that nothing may be moved to. Releases *from* which a cluster has to get away are
/// limited by [`HOPS`] alone: staying on them helps nobody.
pub const KNOWN_BAD: &[KnownBad] = &[
    bad(
        (3, 4),
        0,
        20,
        "a single member can lose acknowledged writes on a crash",
        14370,
    ),
    bad((3, 4), 21, 24, "a watch can go back in time", 15271),
    bad(
        (3, 4),
        25,
        30,
        "a call of AuthStatus by a 3.5 member kills it; watch events are lost",
        17529,
    ),
    bad(
        (3, 4),
        31,
        31,
        "the cluster version stays at 3.5 for ever after a downgrade",
        17818,
    ),
    bad(
        (3, 5),
        0,
        2,
        "a crash under load loses applied transactions on one member",
        13766,
    ),
    bad(
        (3, 5),
        3,
        4,
        "a single member can lose acknowledged writes on a crash",
        14370,
    ),
    bad(
        (3, 5),
        5,
        5,
        "revisions diverge after a crash during defragmentation",
        14685,
    ),
    bad(
        (3, 5),
        6,
        12,
        "watch events are lost after a compaction",
        17529,
    ),
    bad(
        (3, 5),
        13,
        16,
        "a write transaction can be applied in part",
        18799,
    ),
    bad(
        (3, 5),
        17,
        19,
        "a learner's promotion is not persisted",
        19557,
    ),
];

const fn bad(minor: (u16, u16), first: u16, last: u16, what: &'static str, issue: u32) -> KnownBad {
    KnownBad {
        minor: Minor::new(minor.0, minor.1),
        first,
        last,
        what,
        issue,
    }
}

/// The first release of each series whose `RequestProgress` is reliable: a notification overtakes no event
/// (etcd #15220; 3.4.25, 3.5.8), and comes on an idle watch, too (etcd #17507; 3.4.31, 3.5.13).
const PROGRESS: &[Version] = &[Version::new(3, 4, 31), Version::new(3, 5, 13)];

/// Why a step from one release to another is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum StepRefusal {
    /// A series that the table does not know.
    #[error("etcd {0} is not a series that druid knows")]
    UnknownMinor(Minor),
    /// More than one series at once: a 3.6 member makes every 3.4 member panic.
    #[error("{from} -> {to} skips a series, which etcd does not survive")]
    SkipsMinor {
        /// Where the cluster is.
        from: Version,
        /// Where it was asked to go.
        to: Version,
    },
    /// A target that loses data.
    #[error("etcd {to} is known to be bad: {} (etcd issue {})", why.what, why.issue)]
    KnownBad {
        /// Where the cluster was asked to go.
        to: Version,
        /// The entry of the table.
        why: KnownBad,
    },
    /// The cluster runs too early a patch to leave its series this way.
    #[error("{from} cannot go to etcd {to}: it takes at least {floor}")]
    SourceTooOld {
        /// Where the cluster is.
        from: Version,
        /// Where it was asked to go.
        to: Version,
        /// The first release that can.
        floor: Version,
    },
    /// The target patch is too early to arrive on.
    #[error("{from} cannot go to {to}: the first release fit for it is {floor}")]
    TargetTooOld {
        /// Where the cluster is.
        from: Version,
        /// Where it was asked to go.
        to: Version,
        /// The first release that is.
        floor: Version,
    },
    /// The way back has not been tested yet, so the way there is not offered.
    #[error("{from} -> {to} is not offered: the way back from it has not been tested")]
    Untested {
        /// Where the cluster is.
        from: Version,
        /// Where it was asked to go.
        to: Version,
    },
}

impl StepRefusal {
    /// What the user can do.
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownMinor(_) => {
                let known: Vec<_> = MINORS.iter().map(Minor::to_string).collect();
                format!("choose a release of {}", known.join(", "))
            }
            Self::SkipsMinor { from, to } => match stepping_stone(*from, *to) {
                Some(stone) => format!("go to {stone} or a later patch of it first"),
                None => "go one series at a time".to_owned(),
            },
            Self::KnownBad { to, why } => {
                format!("choose a patch of {} later than {}", to.minor, why.last)
            }
            Self::SourceTooOld { floor, .. } => {
                format!("go to {floor} or a later patch of it first")
            }
            Self::TargetTooOld { floor, .. } => format!("choose {floor} or a later patch of it"),
            Self::Untested { from, .. } => format!("stay on {}", from.minor),
        }
    }
}

/// The lowest release of the next series on the way from `from` to `to`.
fn stepping_stone(from: Version, to: Version) -> Option<Version> {
    let next = if to < from {
        from.minor.minor.checked_sub(1)?
    } else {
        from.minor.minor + 1
    };
    let next = Minor::new(from.minor.major, next);
    let hop = HOPS
        .iter()
        .find(|hop| hop.from == from.minor && hop.to == next)?;
    Some(Version {
        minor: next,
        patch: hop.to_patch,
    })
}

/// The data that a release loses or corrupts, if it does.
pub fn known_bad(version: Version) -> Option<KnownBad> {
    let is_it = |bad: &&KnownBad| {
        bad.minor == version.minor && (bad.first..=bad.last).contains(&version.patch)
    };
    KNOWN_BAD.iter().find(is_it).copied()
}

/// Whether kube-apiserver answers consistent lists from its cache with members of this release
/// (`ConsistentListFromCache`; KEP-2340). It asks each of its endpoints once, and keeps a "no" until it is
/// started again: kubernetes/kubernetes,
/// `staging/src/k8s.io/apiserver/pkg/storage/feature/feature_support_checker.go`.
pub fn lists_from_cache(version: Version) -> bool {
    let first = PROGRESS.iter().find(|it| it.minor == version.minor);
    let last = PROGRESS.iter().map(|it| it.minor).max();
    match first {
        Some(first) => version >= *first,
        None => last.is_some_and(|last| version.minor > last),
    }
}

/// Whether a cluster on `from` may be taken to `to`.
pub fn step(from: Version, to: Version) -> Result<Direction, StepRefusal> {
    let direction = Direction::between(from, to);
    if let Some(unknown) = [from.minor, to.minor]
        .into_iter()
        .find(|m| !MINORS.contains(m))
    {
        return Err(StepRefusal::UnknownMinor(unknown));
    }
    if let Some(why) = known_bad(to).filter(|_| from != to) {
        return Err(StepRefusal::KnownBad { to, why });
    }
    if from.minor == to.minor {
        return Ok(direction);
    }
    let Some(hop) = HOPS
        .iter()
        .find(|hop| hop.from == from.minor && hop.to == to.minor)
    else {
        return Err(StepRefusal::SkipsMinor { from, to });
    };
    if from.patch < hop.from_patch {
        let floor = Version {
            minor: from.minor,
            patch: hop.from_patch,
        };
        return Err(StepRefusal::SourceTooOld { from, to, floor });
    }
    if to.patch < hop.to_patch {
        let floor = Version {
            minor: to.minor,
            patch: hop.to_patch,
        };
        return Err(StepRefusal::TargetTooOld { from, to, floor });
    }
    if hop.untested {
        return Err(StepRefusal::Untested { from, to });
    }
    Ok(direction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    /// The table of kubernetes/kubernetes, `feature_support_checker_test.go`, and beyond.
    #[test]
    fn consistent_lists_come_from_the_cache_from_these_releases_on() {
        for (version, works) in [
            ("3.3.27", false),
            ("3.4.25", false),
            ("3.4.30", false),
            ("3.4.31", true),
            ("3.4.34", true),
            ("3.5.0", false),
            ("3.5.8", false),
            ("3.5.12", false),
            ("3.5.13", true),
            ("3.5.27", true),
            ("3.6.0", true),
            ("4.0.0", true),
        ] {
            assert_eq!(lists_from_cache(v(version)), works, "{version}");
        }
    }

    #[test]
    fn text_goes_both_ways() {
        for text in ["3.4.34", "3.5.27", "3.6.0", "10.20.30"] {
            assert_eq!(v(text).to_string(), text);
        }
        assert_eq!(v("v3.5.27"), Version::new(3, 5, 27));
        assert_eq!("3.5".parse(), Ok(Minor::new(3, 5)));
        assert_eq!("3.5.0".parse(), Ok(Minor::new(3, 5)));
        assert_eq!(serde_json::to_string(&Minor::new(3, 5)).unwrap(), "\"3.5\"");
        assert_eq!(serde_json::to_string(&v("3.4.34")).unwrap(), "\"3.4.34\"");
        assert_eq!(
            serde_json::from_str::<Version>("\"3.4.34\"").unwrap(),
            v("3.4.34")
        );
    }

    #[test]
    fn text_that_is_no_version_is_named() {
        for text in [
            "",
            "3",
            "3.5",
            "3.5.",
            "3.5.x",
            "3.5.27-rc.1",
            "3.5.27.1",
            "3.5.+1",
            "3.5.99999",
        ] {
            let error = text.parse::<Version>().unwrap_err();
            assert_eq!(error.text, text);
        }
        assert!("3".parse::<Minor>().is_err());
    }

    #[test]
    fn the_table_of_steps() {
        use Direction::{Downgrade, Same, Upgrade};
        let table: &[(&str, &str, Result<Direction, &str>)] = &[
            ("3.4.34", "3.5.27", Ok(Upgrade)),
            ("3.5.27", "3.4.34", Ok(Downgrade)),
            ("3.4.32", "3.5.26", Ok(Upgrade)),
            ("3.5.26", "3.4.32", Ok(Downgrade)),
            ("3.4.34", "3.4.45", Ok(Upgrade)),
            ("3.5.34", "3.5.27", Ok(Downgrade)),
            ("3.5.27", "3.5.27", Ok(Same)),
            ("3.5.2", "3.5.2", Ok(Same)),
            (
                "3.4.31",
                "3.5.27",
                Err("go to 3.4.32 or a later patch of it first"),
            ),
            (
                "3.5.25",
                "3.4.34",
                Err("go to 3.5.26 or a later patch of it first"),
            ),
            (
                "3.4.34",
                "3.5.25",
                Err("choose 3.5.26 or a later patch of it"),
            ),
            (
                "3.4.34",
                "3.5.16",
                Err("choose a patch of 3.5 later than 16"),
            ),
            (
                "3.5.27",
                "3.4.31",
                Err("choose a patch of 3.4 later than 31"),
            ),
            (
                "3.5.27",
                "3.4.20",
                Err("choose a patch of 3.4 later than 20"),
            ),
            (
                "3.4.34",
                "3.6.15",
                Err("go to 3.5.26 or a later patch of it first"),
            ),
            (
                "3.6.15",
                "3.4.34",
                Err("go to 3.5.32 or a later patch of it first"),
            ),
            (
                "3.5.27",
                "3.6.15",
                Err("go to 3.5.32 or a later patch of it first"),
            ),
            ("3.5.34", "3.6.15", Err("stay on 3.5")),
            ("3.6.15", "3.5.34", Err("stay on 3.6")),
            (
                "3.6.15",
                "3.5.31",
                Err("choose 3.5.32 or a later patch of it"),
            ),
            ("3.3.27", "3.4.34", Err("choose a release of 3.4, 3.5, 3.6")),
            ("3.5.27", "3.7.2", Err("choose a release of 3.4, 3.5, 3.6")),
        ];
        for (from, to, expected) in table {
            let found = step(v(from), v(to)).map_err(|refusal| refusal.remedy());
            assert_eq!(found, expected.map_err(str::to_owned), "{from} -> {to}");
        }
    }

    #[test]
    fn no_hop_starts_or_ends_on_a_bad_release() {
        for hop in HOPS {
            let to = Version {
                minor: hop.to,
                patch: hop.to_patch,
            };
            assert!(step(to, to).is_ok());
            assert!(
                KNOWN_BAD
                    .iter()
                    .all(|bad| bad.minor != hop.to || bad.last < hop.to_patch)
            );
        }
    }
}
