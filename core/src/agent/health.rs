//! Whether the backup is as new as was promised. etcd-backup-restore's `/healthz` does not say: it is
//! about who leads.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// What is known of the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The time up to which every write is in the store; `None` while that is not known.
    pub until: Option<Timestamp>,
    /// The longest time in which a write may be missing, by the schedule.
    pub promised: SignedDuration,
}

/// A judgement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    /// Whether all is well.
    pub healthy: bool,
    /// The age of the newest covered state, seconds.
    pub covered_age_seconds: Option<f64>,
    /// What is wrong, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Once the promise is broken twice over, something is wrong: one upload may be under way.
const PATIENCE: i32 = 2;
/// What an upload may take.
const UPLOAD: SignedDuration = SignedDuration::from_secs(60);

/// Judges.
pub fn judge(covered: Covered, now: Timestamp) -> Health {
    let Some(until) = covered.until else {
        return Health {
            healthy: false,
            covered_age_seconds: None,
            why: Some("no snapshot has been taken or found yet".to_owned()),
        };
    };
    // A clock that went back makes nothing older.
    let age = now.duration_since(until).max(SignedDuration::ZERO);
    let limit = covered
        .promised
        .saturating_mul(PATIENCE)
        .saturating_add(UPLOAD);
    let healthy = age <= limit;
    Health {
        healthy,
        covered_age_seconds: Some(age.as_secs_f64()),
        why: (!healthy).then(|| {
            format!(
                "the newest covered write is {} s old, at most {} s are promised: see the log",
                age.as_secs(),
                limit.as_secs()
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_backup_is_well_until_its_promise_is_broken_twice_over() {
        let covered = Covered {
            until: Some(at(1000)),
            promised: SignedDuration::from_secs(20),
        };
        for (now, healthy) in [(1000, true), (1100, true), (1101, false), (900, true)] {
            assert_eq!(judge(covered, at(now)).healthy, healthy, "{now}");
        }
        let late = judge(covered, at(2000));
        assert_eq!(late.covered_age_seconds, Some(1000.0));
        assert!(late.why.unwrap().contains("1000 s old"));
    }

    #[test]
    fn nothing_known_is_not_well() {
        let covered = Covered {
            until: None,
            promised: SignedDuration::from_secs(20),
        };
        assert!(!judge(covered, at(1000)).healthy);
    }
}
