use proptest::prelude::*;

use super::*;
use crate::backup::names::Prefix;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// A Monday, 2026-01-05T00:00:00Z.
const MONDAY: i64 = 1_767_571_200;

fn listing(names: &[String]) -> Listing {
    let keys: Vec<String> = names.iter().map(|it| format!("v2/{it}")).collect();
    let listed = keys.iter().map(|it| (it.as_str(), None));
    Listing::read(&Prefix::parse("").unwrap(), listed)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn full(revision: i64, created: i64) -> String {
    format!("Full-00000000-{revision:08}-{created}.gz")
}

fn policy(fulls: Fulls, deltas: i64) -> Policy {
    Policy {
        fulls,
        deltas: SignedDuration::from_secs(deltas),
    }
}

fn limit(count: usize) -> Fulls {
    Fulls::LimitBased(NonZeroUsize::new(count).unwrap())
}

fn gone(names: &[String], policy: &Policy, now: i64) -> Vec<String> {
    let deletions = decide(&listing(names), policy, at(now));
    deletions.iter().map(|it| it.key.name.to_string()).collect()
}

/// Takes a full snapshot and cleans up, again and again.
fn simulate(every: i64, days: i64) -> Vec<i64> {
    let mut names: Vec<(i64, String)> = Vec::new();
    let mut now = MONDAY;
    for round in 1..=days * DAY / every {
        now = MONDAY + round * every;
        names.push((now, full(round + 1, now)));
        let all: Vec<String> = names.iter().map(|it| it.1.clone()).collect();
        let gone = gone(&all, &policy(Fulls::Exponential, 0), now);
        names.retain(|(_, name)| !gone.contains(name));
    }
    names.iter().map(|(created, _)| now - created).collect()
}

#[test]
fn sixty_days_of_hourly_snapshots_leave_four_weeks_of_history() {
    for hours in [1, 24] {
        let ages = simulate(hours * HOUR, 60);
        let oldest = *ages.iter().max().unwrap();
        assert!(
            (28 * DAY..35 * DAY).contains(&oldest),
            "{hours}: {}",
            oldest / DAY
        );
        for week in 0..4 {
            let range = week * 7 * DAY..(week + 1) * 7 * DAY;
            assert!(
                ages.iter().any(|it| range.contains(it)),
                "{hours}: week {week}"
            );
        }
        for day in 0..7 {
            let range = day * DAY..(day + 1) * DAY;
            assert!(
                ages.iter().any(|it| range.contains(it)),
                "{hours}: day {day}"
            );
        }
    }
    let hourly = simulate(HOUR, 60);
    assert!((0..=24).all(|hour| hourly.contains(&(hour * HOUR))));
    assert!((32..=36).contains(&hourly.len()), "{}", hourly.len());
}

#[test]
fn every_full_of_the_current_hour_stays() {
    let now = MONDAY + 30 * 60;
    let minutes = |it: i64| full(100 + it, MONDAY + it * 60);
    let names: Vec<String> = (-3..=30).map(minutes).collect();
    assert_eq!(
        gone(&names, &policy(Fulls::Exponential, 0), now),
        [minutes(-2), minutes(-3)]
    );
}

#[test]
fn the_limit_counts_fulls_that_can_be_read() {
    let mut names: Vec<String> = (1..=5).map(|it| full(it * 10, MONDAY + it)).collect();
    names.push(format!("Full-00000000-00000045-{}.zst", MONDAY + 5));
    let now = MONDAY + DAY;
    let all = gone(&names, &policy(limit(3), 0), now);
    assert_eq!(all, [names[5].clone(), names[1].clone(), names[0].clone()]);
}

#[test]
fn deltas_go_when_they_expire_newest_first_and_before_fulls() {
    let delta = |start: i64, last: i64, at: i64| format!("Incr-{start:08}-{last:08}-{at}.gz");
    let names = vec![
        delta(2, 9, MONDAY),
        full(10, MONDAY + 10),
        delta(11, 15, MONDAY + 20),
        delta(16, 20, MONDAY + 30),
        full(20, MONDAY + 40),
        delta(21, 30, MONDAY + 50),
    ];
    let now = MONDAY + 100;
    let all = gone(&names, &policy(limit(1), 0), now);
    assert_eq!(all, [2, 0, 1].map(|it| names[it].clone()));
    let kept = gone(&names, &policy(limit(7), 75), now);
    assert_eq!(kept, [2, 0].map(|it| names[it].clone()));
}

#[test]
fn nothing_goes_without_a_full_that_can_be_read() {
    let old = [
        "Incr-00000002-00000009-1.gz".to_owned(),
        "Full-00000000-00000010-2.zst".to_owned(),
        "Incr-00000011-00000019-3.gz".to_owned(),
    ];
    for names in [&old[..0], &old[..1], &old[..]] {
        assert!(gone(names, &policy(limit(1), 0), MONDAY).is_empty());
        assert!(gone(names, &policy(Fulls::Exponential, 0), MONDAY).is_empty());
    }
}

fn any_store() -> impl Strategy<Value = Vec<String>> {
    let object = (any::<bool>(), 1_i64..500, 0_i64..20, -40 * DAY..DAY);
    prop::collection::vec(object, 0..40).prop_map(|all| {
        let name = |(is_full, revision, more, age): (bool, i64, i64, i64)| {
            let created = MONDAY + age;
            let last = revision + more;
            if is_full {
                full(last, created)
            } else {
                format!("Incr-{revision:08}-{last:08}-{created}.gz")
            }
        };
        all.into_iter().map(name).collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_in_the_store(
        names in any_store(),
        fulls in prop_oneof![Just(Fulls::Exponential), (1_usize..9).prop_map(limit)],
        deltas in 0..10 * DAY,
    ) {
        let policy = policy(fulls, deltas);
        let before = listing(&names);
        let deletions = decide(&before, &policy, at(MONDAY));
        let left: Vec<String> = names.iter().filter(|name| {
            !deletions.iter().any(|it| it.key.name.to_string() == **name)
        }).cloned().collect();
        // Once done there is nothing left to do.
        prop_assert_eq!(decide(&listing(&left), &policy, at(MONDAY)), Vec::new());
        // The newest full and what can be restored are as before.
        let after = listing(&left);
        prop_assert_eq!(after.bases().next(), before.bases().next());
        prop_assert_eq!(after.newest(), before.newest());
        for it in &deletions {
            let created = it.key.name.created().time();
            prop_assert!(created <= at(MONDAY));
            match it.why {
                Why::DeltaExpired { kept } => {
                    prop_assert_ne!(it.key.name.kind(), Kind::Full);
                    prop_assert!(at(MONDAY).duration_since(created) > kept);
                }
                Why::BeyondLimit { limit } => prop_assert!(after.bases().count() >= limit.get()),
                Why::Superseded => prop_assert_eq!(it.key.name.kind(), Kind::Full),
            }
        }
    }
}
