//! When etcd may start: the sidecar's `/initialization/status` as the program that starts etcd reads
//! it.
//!
//! etcd-backup-restore forgets `Successful` and `Failed` when they are read, and begins only when it
//! is asked in `New`. Ours keeps them until it is asked again. So a result counts only if it is that
//! of a run which was seen under way or asked for: one that was there before may be about an etcd
//! which has long ended.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// What `/initialization/status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody asked yet.
    New,
    /// It is under way.
    Progress,
    /// etcd may start.
    Successful,
    /// It may not; the sidecar's log says why.
    Failed,
}

/// Something else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "/initialization/status says {0:?}: is that a backup sidecar? check --backup-restore-host-port"
)]
pub struct UnknownStatus(String);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "New",
            Self::Progress => "Progress",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
        })
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        match text.trim() {
            "New" => Ok(Self::New),
            "Progress" => Ok(Self::Progress),
            "Successful" => Ok(Self::Successful),
            "Failed" => Ok(Self::Failed),
            other => Err(UnknownStatus(other.chars().take(40).collect())),
        }
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the sidecar to begin.
    Begin,
    /// Wait so long, and look again.
    Wait(Duration),
    /// It failed: wait so long, and look again. The sidecar's log says why.
    Again(Duration),
    /// etcd may start.
    Done,
}

/// The way to a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// Whether a run was asked for or seen, whose result is to come.
    under_way: bool,
    looks: u32,
    failures: u32,
}

impl Handshake {
    /// A status was read.
    pub fn on(&mut self, status: Status) -> Next {
        match (status, self.under_way) {
            (Status::New, _) | (Status::Successful | Status::Failed, false) => Next::Begin,
            (Status::Progress, _) => {
                self.under_way = true;
                self.looks = self.looks.saturating_add(1);
                Next::Wait(pause(self.looks))
            }
            (Status::Successful, true) => Next::Done,
            (Status::Failed, true) => {
                self.under_way = false;
                self.failures = self.failures.saturating_add(1);
                Next::Again(backoff(self.failures))
            }
        }
    }

    /// The sidecar was asked to begin, and said yes.
    pub fn begun(&mut self) -> Duration {
        self.under_way = true;
        self.looks = 0;
        pause(0)
    }
}

/// Between two looks at a run: short at first, as most take milliseconds; at most 1 s.
pub fn pause(looks: u32) -> Duration {
    Duration::from_millis(50 << (looks.min(8) / 2)).min(Duration::from_secs(1))
}

/// After so many failures in a row: 1, 2, 4 ... 30 s.
pub fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_sidecar_is_asked_and_its_success_ends_it() {
        let mut way = Handshake::default();
        assert_eq!(way.on(Status::New), Next::Begin);
        assert!(way.begun() < Duration::from_millis(100));
        assert!(matches!(way.on(Status::Progress), Next::Wait(_)));
        assert_eq!(way.on(Status::Successful), Next::Done);
    }

    #[test]
    fn a_result_that_was_there_before_does_not_count() {
        for old in [Status::Successful, Status::Failed] {
            let mut way = Handshake::default();
            assert_eq!(way.on(old), Next::Begin);
            // etcd-backup-restore ignores that and forgets the old result: it has to be asked again.
            way.begun();
            assert_eq!(way.on(Status::New), Next::Begin);
        }
    }

    #[test]
    fn a_run_that_another_asked_for_counts() {
        let mut way = Handshake::default();
        assert!(matches!(way.on(Status::Progress), Next::Wait(_)));
        assert_eq!(way.on(Status::Successful), Next::Done);
    }

    #[test]
    fn failures_are_tried_again_ever_more_slowly() {
        let mut way = Handshake::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            // Ours stays Failed, theirs is New again: both are asked again.
            assert_eq!(way.on(Status::Failed), Next::Begin);
            way.begun();
            let Next::Again(pause) = way.on(Status::Failed) else {
                panic!("a failure is told");
            };
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn pauses_grow_to_a_second_and_never_shrink() {
        let pauses: Vec<_> = (0..40).map(pause).collect();
        assert_eq!(pauses[0], Duration::from_millis(50));
        assert!(pauses.is_sorted());
        assert_eq!(pauses[39], Duration::from_millis(800));
        assert_eq!(backoff(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn a_status_is_one_of_four_words() {
        for status in [
            Status::New,
            Status::Progress,
            Status::Successful,
            Status::Failed,
        ] {
            assert_eq!(format!("{status}\n").parse(), Ok(status));
        }
        assert!("<html>".parse::<Status>().is_err());
        assert!("".parse::<Status>().is_err());
    }
}
