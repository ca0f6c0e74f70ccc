//! `kill -9` at every step of what changes a store or a data directory: both stay whole, and the same
//! command does the rest. The steps are the system calls that change a file; see `common_trace`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common_gateway;
mod common_live;
mod common_place;
mod common_preflight;
mod common_trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use common_live::Live;
use common_place::{Place, druid, files, json, large, run, succeed, tree};
use common_preflight::{Release, until};
use common_trace::{Call, Step, Then, Traced, assert_synced, each_step, trace};

/// The objects of a store by their names, without uploads that did not end.
type Objects = BTreeMap<PathBuf, Vec<u8>>;

fn is_upload(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.starts_with(".upload~")
}

fn objects(store: &Path) -> Objects {
    let mut objects = files(store);
    objects.retain(|path, _| !is_upload(path));
    objects
}

fn uploads(store: &Path) -> Vec<PathBuf> {
    let paths = files(store).into_keys().filter(|it| is_upload(it));
    paths.map(|it| store.join(it)).collect()
}

/// Makes a store what it was.
fn put_back(store: &Path, objects: &Objects) {
    if store.exists() {
        fs::remove_dir_all(store).unwrap();
    }
    for (name, bytes) in objects {
        let path = store.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Everything that was there is there, and everything that is there is whole; returns what is new.
fn assert_whole(store: &Path, before: &Objects, revision: i64, after: &str) -> BTreeSet<PathBuf> {
    let mut there = objects(store);
    for (name, bytes) in before {
        let found = there.remove(name);
        assert!(
            found.as_ref() == Some(bytes),
            "{} after {after}",
            name.display()
        );
    }
    let store = store.to_str().unwrap();
    let verified = run(&["verify", store, "--output=json"]);
    assert_eq!(verified.status.code(), Some(0), "{after}: {verified:?}");
    let found = json(&verified);
    assert_eq!(found["restore"]["revision"], revision, "{after}: {found}");
    let listed = found["snapshots"].as_array().unwrap().len();
    let parts = usize::try_from(found["parts"].as_u64().unwrap()).unwrap();
    let all = before.len() + there.len();
    assert_eq!(listed + parts, all, "{after}: {found}");
    there.into_keys().collect()
}

/// What a program that was killed left behind was not touched for long.
fn age(uploads: &[PathBuf]) {
    for path in uploads {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
}

fn last(traced: &Traced) -> String {
    let way = if traced.killed { "killed at" } else { "ended" };
    format!("{way} {:?}", traced.steps.last())
}

fn count(steps: &[Step], call: Call) -> usize {
    steps.iter().filter(|it| it.call == call).count()
}

#[test]
fn restore_leaves_the_old_or_the_new_directory_whole() {
    let place = Place::genuine();
    let (volume, data, kept) = (
        place.path("volume"),
        place.path("volume/data"),
        place.path("kept"),
    );
    succeed(&mut place.restore_command(&[]));
    let old = tree(&data);
    fs::rename(&data, &kept).unwrap();
    put_back(&place.path("store"), &Objects::new());
    fs::create_dir_all(place.path("store/v2")).unwrap();
    large(&place, 900);
    succeed(&mut place.restore_command(&[]));
    let new = tree(&data);
    assert!(old != new && new.len() == 3);

    for with_old in [true, false] {
        let before = if with_old { &old } else { &BTreeMap::new() };
        let mut seen = BTreeSet::new();
        let steps = each_step(|question| {
            fs::remove_dir_all(&volume).unwrap();
            fs::create_dir(&volume).unwrap();
            if with_old {
                let copy = Command::new("cp").arg("-a").args([&kept, &data]).status();
                assert!(copy.unwrap().success());
            }
            let traced = trace(&place.restore_command(&[]), &volume, question);
            let found = tree(&data);
            assert!(found == *before || found == new, "{}", last(&traced));
            seen.insert(found == new);
            succeed(&mut place.restore_command(&[]));
            assert!(tree(&data) == new, "{}", last(&traced));
            let names = place.volume();
            let part = names.iter().any(|it| it.contains(".part-"));
            assert!(!part, "{}: {names:?}", last(&traced));
            let aside = names.iter().filter(|it| it.contains(".before-"));
            let of_old = aside.filter(|it| tree(&volume.join(it)) == old).count();
            assert_eq!(of_old, usize::from(with_old), "{}", last(&traced));
            traced
        });
        assert_eq!(seen, BTreeSet::from([false, true]));
        assert!(count(&steps, Call::Write) > 4, "{steps:#?}");
        assert_synced(&steps);
        println!("{} changes", steps.len());
    }
}

#[test]
fn compact_leaves_the_store_whole() {
    let place = Place::new();
    large(&place, 700);
    let store = place.path("store");
    let before = objects(&store);
    let command = || druid(&["compact", store.to_str().unwrap()]);
    let mut seen = BTreeSet::new();
    let steps = each_step(|question| {
        put_back(&store, &before);
        let traced = trace(&command(), &store, question);
        let new = assert_whole(&store, &before, 1050, &last(&traced));
        seen.insert(new.len());
        finish(&store, &mut command(), &traced);
        let new = assert_whole(&store, &before, 1050, &last(&traced));
        assert!((1..=2).contains(&new.len()), "{new:?}");
        traced
    });
    assert_eq!(seen, BTreeSet::from([0, 1]));
    assert!(count(&steps, Call::Write) > 2, "{steps:#?}");
    assert_synced(&steps);
    println!("{} changes", steps.len());
}

/// The same command once more does it all, and removes what was left.
fn finish(store: &Path, command: &mut Command, traced: &Traced) {
    let left = uploads(store);
    assert!(traced.killed || left.is_empty(), "{left:?}");
    age(&left);
    succeed(command);
    assert_eq!(
        uploads(store),
        Vec::<PathBuf>::new(),
        "after {}",
        last(traced)
    );
}

#[test]
fn copy_leaves_both_stores_whole() {
    let place = Place::genuine();
    large(&place, 400);
    let (from, to) = (place.path("store"), place.path("copy/below"));
    let source = objects(&from);
    assert_eq!(source.len(), 4);
    let command = |at_once: usize| {
        let mut command = copy(&from, &to);
        command.arg(format!("--max-parallel-copy-operations={at_once}"));
        command
    };
    let mut seen = BTreeSet::new();
    for at_once in [1, 2] {
        let steps = each_step(|question| {
            put_back(&place.path("copy"), &Objects::new());
            fs::create_dir(place.path("copy")).unwrap();
            let traced = trace(&command(at_once), &place.path("copy"), question);
            let copied = objects(&to);
            for (name, bytes) in &copied {
                assert!(
                    source[name] == *bytes,
                    "{}, {}",
                    name.display(),
                    last(&traced)
                );
            }
            if !copied.is_empty() {
                let verified = run(&["verify", to.to_str().unwrap()]);
                assert_eq!(verified.status.code(), Some(0), "{}", last(&traced));
            }
            seen.insert(copied.len());
            finish(&to, &mut command(at_once), &traced);
            assert!(objects(&to) == source, "{}", last(&traced));
            traced
        });
        assert_eq!(count(&steps, Call::Rename), 4, "{steps:#?}");
        assert_synced(&steps);
        println!("{} changes", steps.len());
    }
    assert_eq!(seen, (0..=4).collect());
    assert!(objects(&from) == source);
}

fn copy(from: &Path, to: &Path) -> Command {
    let mut command = druid(&["copy", "--storage-provider=Local"]);
    command.arg("--source-storage-provider=Local");
    for (flag, path) in [
        ("--source-store-container", from),
        ("--store-container", to),
    ] {
        command.arg(flag).arg(path);
    }
    command
}

#[test]
fn a_full_snapshot_leaves_the_store_whole() {
    let live = Live::start(Release::V3_5_27);
    let store = live.store();
    live.once("full");
    let before = objects(&store);
    let revision = live.write(10);
    let command = || live.snapshot(&["--once", "full"]);
    let mut seen = BTreeSet::new();
    let steps = each_step(|question| {
        put_back(&store, &before);
        let traced = trace(&command(), &store, question);
        let there = if objects(&store) == before {
            revision - 10
        } else {
            revision
        };
        let new = assert_whole(&store, &before, there, &last(&traced));
        seen.insert(new.len());
        finish(&store, &mut command(), &traced);
        assert_whole(&store, &before, revision, &last(&traced));
        traced
    });
    assert_eq!(seen, BTreeSet::from([0, 1]));
    assert!(count(&steps, Call::Write) > 1, "{steps:#?}");
    assert_synced(&steps);
    println!("{} changes", steps.len());
}

#[test]
fn a_delta_leaves_the_store_whole() {
    let live = Live::start(Release::V3_5_27);
    let store = live.store();
    live.once("full");
    let before = objects(&store);
    let revision = live.write(500);
    let command = || live.snapshot(&["--once", "delta"]);
    let mut seen = BTreeSet::new();
    let steps = each_step(|question| {
        put_back(&store, &before);
        let traced = trace(&command(), &store, question);
        let there = if objects(&store) == before {
            revision - 500
        } else {
            revision
        };
        let new = assert_whole(&store, &before, there, &last(&traced));
        seen.insert(new.len());
        finish_delta(&store, &mut command(), &traced);
        let new = assert_whole(&store, &before, revision, &last(&traced));
        assert_eq!(new.len(), 1, "{new:?}");
        traced
    });
    assert_eq!(seen, BTreeSet::from([0, 1]));
    assert!(count(&steps, Call::Write) > 1, "{steps:#?}");
    assert_synced(&steps);
    println!("{} changes", steps.len());
}

/// The command writes nothing, and tidies nothing up, if all is there.
fn finish_delta(store: &Path, command: &mut Command, traced: &Traced) {
    let all_there = files(store)
        .keys()
        .any(|it| it.to_string_lossy().contains("Incr-"));
    if all_there {
        succeed(command);
    } else {
        finish(store, command, traced);
    }
}

#[test]
fn garbage_collection_leaves_the_newest_chain_whole() {
    let live = Live::start(Release::V3_5_27);
    let store = live.store();
    for _ in 0..3 {
        live.once("full");
        for _ in 0..2 {
            live.write(3);
            live.once("delta");
        }
    }
    let revision = live.write(1) - 1;
    // What an upload of another provider left, long ago.
    let part = store.join("v2/Full-00000000-00000007-1700000000.gz/0000000001");
    fs::create_dir(part.parent().unwrap()).unwrap();
    fs::write(&part, "part").unwrap();
    let all = objects(&store);
    let mut newest = all.clone();
    let base = base_of(&all);
    newest.retain(|name, _| last_of(name) >= base);
    assert_eq!((all.len(), newest.len()), (10, 4), "{:?}", all.keys());

    let flags = [
        "--garbage-collection-policy=LimitBased",
        "--max-backups=1",
        // 1s is "off".
        "--garbage-collection-period=1001ms",
        "--delta-snapshot-period=0s",
        "--schedule=0 0 1 1 *",
    ];
    let done = || objects(&store) == newest;
    let mut seen = BTreeSet::new();
    let steps = each_step(|question| {
        put_back(&store, &all);
        let traced = trace(&live.snapshot(&flags), &store, |step| {
            match question(step) {
                // Only what goes to the disk is left.
                Then::Go if step.call == Call::Sync && done() => Then::Terminate,
                then @ (Then::Go | Then::Kill | Then::Terminate) => then,
            }
        });
        let there = objects(&store);
        seen.insert(there.len());
        for (name, bytes) in &there {
            assert!(all[name] == *bytes, "{}, {}", name.display(), last(&traced));
        }
        assert_whole(&store, &newest, revision, &last(&traced));
        let rest = live.running(&flags);
        until("the rest is collected", done);
        rest.stop();
        assert_whole(&store, &newest, revision, &last(&traced));
        assert!(done());
        traced
    });
    assert_eq!(seen, (4..=10).collect());
    assert_eq!(count(&steps, Call::Remove), 6, "{steps:#?}");
    assert_eq!(count(&steps, Call::Sync), 6, "{steps:#?}");
}

fn last_of(name: &Path) -> i64 {
    let name = name.to_str().unwrap();
    name.split('-').nth(2).unwrap().parse().unwrap()
}

/// The revision of the newest full snapshot.
fn base_of(objects: &Objects) -> i64 {
    let fulls = objects
        .keys()
        .filter(|it| it.to_str().unwrap().contains("Full-"));
    fulls.map(|it| last_of(it)).max().unwrap()
}
