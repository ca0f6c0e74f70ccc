//! Searches every state that the upgrade engine can get into, breadth first, against an environment
//! that crashes the engine, takes members down and brings them back, moves the leader, lets
//! deadlines pass, serves stale observations, spoils snapshots, changes the target, pauses and
//! acknowledges. Every act is checked for safety, every state for liveness; a violation comes with
//! the shortest way to it.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    reason = "all of it is a test"
)]

mod model;
mod search;

use model::{Budget, Setup};
use search::explore;

fn budget(spend: impl FnOnce(&mut Budget)) -> Budget {
    let mut budget = Budget::default();
    spend(&mut budget);
    budget
}

/// Runs the search forward and back, prints how large it was, and panics on a violation.
fn search(name: &str, setup: Setup) {
    for up in [true, false] {
        let setup = Setup {
            up,
            ..setup.clone()
        };
        let size = explore(&setup).unwrap_or_else(|violation| panic!("{name}: {violation}"));
        let way = if up { "forward" } else { "back" };
        println!("{name}, {} members, {way}: {size} states", setup.members);
        assert!(size > 10, "{name}: the search has not searched");
    }
}

fn setup(members: usize, budget: Budget) -> Setup {
    Setup {
        members,
        budget,
        ..Setup::default()
    }
}

#[test]
fn undisturbed() {
    for members in [1, 3, 5] {
        search("undisturbed", setup(members, Budget::default()));
    }
}

#[test]
fn the_engine_crashes_and_sees_stale_things() {
    for members in [1, 3] {
        search(
            "crashes and stale observations",
            setup(
                members,
                budget(|b| (b.crash, b.stale, b.leader) = (2, 1, 1)),
            ),
        );
    }
    search(
        "crashes",
        setup(5, budget(|b| (b.crash, b.leader) = (2, 1))),
    );
}

#[test]
fn the_target_flips() {
    for members in [1, 3] {
        search(
            "flips",
            setup(members, budget(|b| (b.flip, b.crash, b.stale) = (2, 1, 1))),
        );
    }
    search("flips", setup(5, budget(|b| b.flip = 1)));
}

#[test]
fn members_fail_and_recover() {
    for members in [1, 3] {
        search(
            "failing members",
            setup(members, budget(|b| (b.fail, b.flip, b.leader) = (2, 1, 1))),
        );
    }
    search(
        "failing members",
        setup(5, budget(|b| (b.fail, b.crash) = (2, 1))),
    );
}

#[test]
fn the_new_version_does_not_start() {
    for members in [1, 3] {
        let bad = Setup {
            bad: true,
            ..setup(
                members,
                budget(|b| (b.crash, b.flip, b.fail, b.acknowledge) = (1, 1, 1, 1)),
            )
        };
        search("bad version", bad);
    }
}

#[test]
fn deadlines_pass() {
    for members in [1, 3] {
        search(
            "deadlines",
            setup(
                members,
                budget(|b| (b.expire, b.crash, b.fail, b.flip) = (2, 1, 1, 1)),
            ),
        );
    }
}

#[test]
fn snapshots_fail() {
    for members in [1, 3] {
        let halted = budget(|b| {
            (b.snapshot, b.reject, b.crash, b.expire, b.acknowledge) = (4, 1, 1, 1, 1);
        });
        search("failing snapshots", setup(members, halted));
        let stale = budget(|b| (b.snapshot, b.reject, b.stale, b.fail) = (2, 1, 1, 1));
        search("stale snapshots", setup(members, stale));
    }
    let none = Setup {
        backup: false,
        ..setup(3, budget(|b| b.crash = 1))
    };
    search("no backup store", none);
}

#[test]
fn a_person_pauses_and_holds() {
    for members in [1, 3] {
        let spend = || budget(|b| (b.pause, b.flip, b.crash) = (2, 1, 1));
        search("pauses", setup(members, spend()));
        search(
            "the last one held",
            Setup {
                hold_last: true,
                ..setup(members, spend())
            },
        );
        let after = Setup {
            pause_after: Some(1),
            ..setup(members, spend())
        };
        search("paused after one", after);
    }
}

#[test]
fn members_diverge() {
    search(
        "divergence",
        setup(
            3,
            budget(|b| (b.diverge, b.crash, b.acknowledge) = (1, 1, 1)),
        ),
    );
}

#[test]
fn alarms_come_and_go() {
    for members in [1, 3] {
        search(
            "alarms",
            setup(members, budget(|b| (b.alarm, b.crash, b.fail) = (2, 1, 1))),
        );
    }
}

#[test]
fn everything_at_once() {
    let most = budget(|b| (b.fail, b.flip, b.leader, b.expire) = (1, 1, 1, 1));
    search(
        "everything but the snapshot",
        Setup {
            backup: false,
            ..setup(3, most)
        },
    );
}
