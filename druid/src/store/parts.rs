//! How an upload is cut into parts: large enough that the provider takes so many, small enough that
//! few bytes are held.

/// The smallest part of a multipart upload that S3 takes, and the default of `--min-chunk-size`.
pub(crate) const SMALLEST_PART: u64 = 5 << 20;

/// How many bytes of an upload are held at most, while parts have their smallest size.
const HELD: u64 = 16 << 20;

/// Besides the parts on their way there are one that waits and one that is being filled.
const AROUND: u64 = 2;

/// What `--min-chunk-size` and `--max-parallel-chunk-uploads` allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The smallest part, bytes.
    pub(crate) min_part: u64,
    /// The most parts on their way at once.
    pub(crate) parallel: usize,
    /// The most parts of one object that the provider takes.
    pub(crate) parts: u64,
}

/// How one object is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The size of each part but the last, bytes. What is smaller goes up in one request.
    pub(crate) part: usize,
    /// How many parts are on their way at once.
    pub(crate) parallel: usize,
}

impl Limits {
    /// For an object of at most so many bytes.
    pub(crate) fn plan(&self, at_most: Option<u64>) -> Plan {
        let needed = at_most.unwrap_or(0).div_ceil(self.parts.max(1));
        let part = self.min_part.max(SMALLEST_PART).max(needed);
        let fit = (HELD / part).saturating_sub(AROUND).max(1);
        Plan {
            part: usize::try_from(part).unwrap_or(usize::MAX),
            parallel: self
                .parallel
                .clamp(1, usize::try_from(fit).unwrap_or(usize::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: Limits = Limits {
        min_part: SMALLEST_PART,
        parallel: 5,
        parts: 9999,
    };

    #[test]
    fn a_database_of_common_size_goes_up_in_the_smallest_parts() {
        let plan = Plan {
            part: 5 << 20,
            parallel: 1,
        };
        assert_eq!(DEFAULT.plan(Some(345 << 20)), plan);
        assert_eq!(DEFAULT.plan(Some(8 << 30)), plan);
        assert_eq!(DEFAULT.plan(None), plan);
    }

    proptest! {
        #[test]
        fn there_are_never_more_parts_than_the_provider_takes(
            at_most in 0_u64..1 << 45, min_part in 0_u64..1 << 30, parts in 1_u64..20_000,
            parallel in 0_usize..64,
        ) {
            let plan = Limits { min_part, parallel, parts }.plan(Some(at_most));
            prop_assert!(at_most.div_ceil(plan.part as u64) <= parts);
            prop_assert!(plan.part as u64 >= SMALLEST_PART.max(min_part));
            prop_assert!(plan.parallel >= 1 && plan.parallel <= parallel.max(1));
            let held = (plan.parallel as u64 + AROUND) * plan.part as u64;
            prop_assert!(plan.parallel == 1 || held <= HELD);
        }
    }
}
