//! Every order of events, and a crash at every point: each task ends, one at a time and in order,
//! with one snapshot for each success.

use std::collections::BTreeSet;

use druid_core::ops_task::State;

use super::model::{Doing, How, LIMIT, Meets, World, at};

/// When nothing is left to happen, milliseconds.
const HORIZON: i64 = 4 * LIMIT * 1000;

#[derive(Clone, Debug)]
enum Event {
    Reconcile(usize, How),
    Meet(usize, Meets),
    Dies { served: bool },
    Unready,
    Delete(usize),
    Wait(i64),
}

fn events(world: &World) -> Vec<Event> {
    let mut events = Vec::new();
    let faulty = world.faults > 0;
    for index in 0..world.objects.len() {
        if !world.objects[index].there {
            continue;
        }
        if let Doing::Tries(_) = world.works[index] {
            events.push(Event::Meet(index, Meets::Does));
            if faulty {
                let bad = [Meets::DoesUnheard, Meets::Nobody, Meets::SaysNo];
                events.extend(bad.map(|meets| Event::Meet(index, meets)));
            }
        }
        let decision = world.decided(index);
        if decision.status.is_some() || decision.act.is_some() {
            events.push(Event::Reconcile(index, How::Well));
            if faulty {
                let bad = [How::DiesWritten, How::DiesActed];
                events.extend(bad.map(|how| Event::Reconcile(index, how)));
            }
        }
        if faulty && !world.objects[index].deleting {
            events.push(Event::Delete(index));
        }
    }
    if faulty {
        events.extend([Event::Dies { served: false }, Event::Dies { served: true }]);
        if world.ready {
            events.push(Event::Unready);
        }
    }
    let mut waits = wakeups(world)
        .into_iter()
        .min()
        .into_iter()
        .collect::<Vec<_>>();
    if world.waits > 0 {
        waits.extend([900, LIMIT * 1000].map(|it| world.now + it));
    }
    // An attempt does not outlive its deadline.
    let until = world.works.iter().filter_map(Doing::deadline).min();
    waits.retain(|it| *it <= until.unwrap_or(HORIZON));
    events.extend(waits.into_iter().map(|it| Event::Wait(it - world.now)));
    events
}

/// When the process wants to look again, before the time of a task that is over is up.
fn wakeups(world: &World) -> Vec<i64> {
    let there = (0..world.objects.len()).filter(|it| !world.is_over(*it));
    let again = there.filter_map(|it| world.decided(it).again);
    let since = again.map(|it| it.as_millisecond() - at(0).as_millisecond());
    since.filter(|it| *it > world.now).collect()
}

fn after(world: &World, event: &Event) -> World {
    let mut next = world.clone();
    let mut fault = true;
    match event {
        Event::Reconcile(index, how) => {
            fault = *how != How::Well;
            next.reconcile(*index, *how);
        }
        Event::Meet(index, meets) => {
            fault = *meets != Meets::Does;
            next.meet(*index, *meets);
        }
        Event::Dies { served } => next.die(*served),
        Event::Unready => next.ready = false,
        Event::Delete(index) => next.delete(*index),
        Event::Wait(milliseconds) => {
            fault = false;
            let foreseen = wakeups(world).contains(&(world.now + milliseconds));
            next.waits -= u32::from(!foreseen);
            next.now += milliseconds;
        }
    }
    if fault {
        next.faults -= 1;
    }
    next
}

fn check(before: &World, event: &Event, world: &World) {
    let mut under_way = 0;
    for index in 0..world.objects.len() {
        let (was, is) = (before.state(index), world.state(index));
        let told = || format!("{event:?}: {was:?} -> {is:?} of {index} in {world:?}");
        if let Some(was) = was.filter(|it| it.is_end()) {
            assert_eq!(Some(was), is, "{}", told());
        }
        assert!(was.is_none() || is.is_some(), "{}", told());
        under_way += usize::from(matches!(world.works[index], Doing::Tries(_)));
        let Some(status) = &world.objects[index].status else {
            continue;
        };
        assert!(
            status.last_errors.as_ref().is_none_or(|it| it.len() <= 3),
            "{}",
            told()
        );
        if is == Some(State::Succeeded) && was != is && !world.prunes {
            let started = status.started_at.as_ref().unwrap().at().unwrap();
            let snapshot = status.result.as_ref().unwrap().snapshot.as_ref().unwrap();
            let made = snapshot
                .name
                .strip_prefix("Full-")
                .unwrap()
                .parse()
                .unwrap();
            assert!(world.snapshots.contains(&made), "{}", told());
            // Not before the task began.
            assert!(at(made) >= started, "{}", told());
        }
        if is == Some(State::InProgress) && was != is {
            let earlier = (0..index).filter(|it| !before.is_over(*it));
            let waiting: Vec<_> = earlier.filter(|it| !before.objects[*it].deleting).collect();
            assert!(waiting.is_empty(), "out of order: {}", told());
        }
    }
    assert!(under_way <= 1, "two at once: {world:?}");
}

/// Without further faults everything ends, and the process holds nothing.
fn ends(world: &World) -> World {
    let mut world = world.clone();
    for _ in 0..60 {
        let mut again = Vec::new();
        for index in 0..world.objects.len() {
            if !world.objects[index].there {
                continue;
            }
            if let Doing::Tries(_) = world.works[index] {
                world.meet(index, Meets::Does);
            }
            for _ in 0..6 {
                again.extend(world.reconcile(index, How::Well));
            }
        }
        let over = (0..world.objects.len()).all(|it| world.is_over(it));
        let idle = world.works.iter().all(|it| matches!(it, Doing::Nothing));
        if over && idle {
            return world;
        }
        let next = again.into_iter().map(jiff::Timestamp::as_millisecond).min();
        let since = next.map_or(0, |it| it - at(0).as_millisecond());
        world.now = since.max(world.now + 1);
    }
    panic!("it does not end: {world:?}");
}

/// If every task succeeds there is one snapshot for each, and one more only for each that cannot be
/// told from an older one.
fn well_ended(world: &World) {
    let tasks = world.objects.len();
    let end = ends(world);
    let succeeded = (0..tasks)
        .filter(|it| end.state(*it) == Some(State::Succeeded))
        .count();
    let unknown = usize::try_from(end.too_early_to_tell).unwrap();
    if succeeded == tasks {
        assert!(end.snapshots.len() <= succeeded + unknown, "{end:?}");
    }
}

fn search(start: World) -> usize {
    let mut seen = BTreeSet::from([format!("{start:?}")]);
    let mut todo = vec![start];
    let mut ended = BTreeSet::new();
    while let Some(world) = todo.pop() {
        if ended.insert(world.without_allowances()) {
            well_ended(&world);
        }
        for event in events(&world) {
            let next = after(&world, &event);
            check(&world, &event, &next);
            if seen.insert(format!("{next:?}")) {
                todo.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn one_task_ends_whatever_happens() {
    for (faults, waits, least) in [(2, 1, 20_000), (3, 0, 15_000)] {
        let states = search(World::new(1, faults, waits));
        assert!(states > least, "{states}");
    }
}

#[test]
fn two_tasks_end_one_after_the_other_whatever_happens() {
    let states = search(World::new(2, 1, 0));
    assert!(states > 25_000, "{states}");
}

#[test]
fn a_task_ends_under_an_older_definition_too() {
    let states = search(World {
        prunes: true,
        ..World::new(1, 3, 0)
    });
    assert!(states > 10_000, "{states}");
}
