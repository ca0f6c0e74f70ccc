//! How often something is tried again, and how long to wait before: the one policy of all stores.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng as _};

/// Tries with growing pauses. The pause doubles up to a limit, and half of it is random, so that
/// many clients of a store that comes back do not all come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// How often at most, the first time included.
    pub(crate) tries: u32,
    /// The pause after the first try.
    pub(crate) first: Duration,
    /// The longest pause.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// For one request: five tries, 7.5 s of pauses at most.
    pub(crate) const REQUEST: Self = Self {
        tries: 5,
        first: Duration::from_millis(500),
        longest: Duration::from_secs(8),
    };

    /// How long to wait after so many tries failed. `None` when there were enough.
    pub(crate) fn pause(&self, failed: u32, random: &mut impl Rng) -> Option<Duration> {
        if failed >= self.tries {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        Some(whole.mul_f64(random.random_range(0.5..=1.0)))
    }
}

/// A number that nobody foretells by accident; it keeps no secret.
pub(crate) fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Chances for [`Backoff::pause`].
pub(crate) fn chances() -> SmallRng {
    SmallRng::seed_from_u64(random_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_then_there_are_no_more_tries() {
        let backoff = Backoff {
            tries: 6,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(4),
        };
        let mut random = SmallRng::seed_from_u64(1);
        for (failed, whole) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0), (5, 4.0)] {
            for _ in 0..100 {
                let pause = backoff.pause(failed, &mut random).unwrap().as_secs_f64();
                assert!(
                    (whole / 2.0..=whole).contains(&pause),
                    "{failed}: {pause} of {whole}"
                );
            }
        }
        assert_eq!(backoff.pause(6, &mut random), None);
        assert_eq!(backoff.pause(u32::MAX, &mut random), None);
    }

    #[test]
    fn one_request_gives_up_within_the_stated_time() {
        let mut random = SmallRng::seed_from_u64(2);
        let all: Duration = (1..)
            .map_while(|failed| Backoff::REQUEST.pause(failed, &mut random))
            .sum();
        assert!(all <= Duration::from_millis(7500), "{all:?}");
    }
}
