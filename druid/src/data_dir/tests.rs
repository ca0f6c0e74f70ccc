use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use druid_core::backup::initialize::{Data, Looked, Probe, Volume};
use druid_core::data_dir::{Identity, InitialCluster};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::build::Built;
use super::volume::{SAFE_GUARD, volume};
use super::*;

/// How many steps a child lives for.
const LIVES: &str = "DRUID_TEST_LIVES";
/// What it does.
const DOES: &str = "DRUID_TEST_DOES";
/// Where.
const WHERE: &str = "DRUID_TEST_WHERE";

pub(super) fn step() {
    static STEPS: AtomicUsize = AtomicUsize::new(1);
    let lives = std::env::var(LIVES).ok().and_then(|n| n.parse().ok());
    if lives.is_some_and(|lives: usize| STEPS.fetch_add(1, Ordering::Relaxed) == lives) {
        kill(Pid::this(), Signal::SIGKILL).unwrap();
    }
}

pub(super) fn now() -> Timestamp {
    "2026-03-01T02:03:04.9Z".parse().unwrap()
}

fn identity() -> Identity {
    let cluster = InitialCluster::parse("m0=http://127.0.0.1:1", "tok").unwrap();
    cluster.member(&"m0".into(), "http://127.0.0.1:1").unwrap()
}

fn build(dir: &DataDir, database: &[u8]) -> Built {
    let building = dir.begin().unwrap();
    building.database().write_all(database).unwrap();
    building.finish(&identity()).unwrap()
}

fn dir_in(temp: &TempDir) -> DataDir {
    DataDir::new(&temp.path().join("new.etcd")).unwrap()
}

/// Something that was there before.
fn make_old(dir: &DataDir) {
    fs::create_dir_all(snap_dir(&dir.path)).unwrap();
    fs::create_dir_all(wal_dir(&dir.path)).unwrap();
    fs::write(database_of(&dir.path), "old").unwrap();
    fs::write(wal_dir(&dir.path).join("log"), "old log").unwrap();
}

/// Every file with its length and its first bytes; empty if there is no directory.
fn tree(path: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut tree = BTreeMap::new();
    let mut todo = vec![path.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
                continue;
            }
            let mut bytes = fs::read(entry.path()).unwrap();
            let length = bytes.len() as u64;
            bytes.truncate(4096);
            let name = entry.path().strip_prefix(path).unwrap().to_owned();
            tree.insert(name, (length, bytes));
        }
    }
    tree
}

fn beside(dir: &DataDir) -> Vec<String> {
    let names = fs::read_dir(&dir.parent).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "the test below runs it, in a process of its own"]
fn a_child_that_is_killed() {
    let dir = DataDir::new(Path::new(&std::env::var_os(WHERE).unwrap())).unwrap();
    if std::env::var(DOES).unwrap() == "restore" {
        build(&dir, b"new").swap_in(now()).unwrap();
    } else {
        dir.move_aside(now()).unwrap();
    }
}

/// Runs it until it is killed at a step; whether it came to its end instead.
fn run_child(does: &str, dir: &DataDir, lives: usize) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "data_dir::tests::a_child_that_is_killed",
        ])
        .env(WHERE, &dir.path)
        .env(DOES, does)
        .env(LIVES, lives.to_string())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    let killed = status.signal() == Some(Signal::SIGKILL as i32);
    assert!(killed || status.success(), "{status}");
    !killed
}

#[test]
fn a_kill_at_any_step_leaves_the_old_or_the_new_whole() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir_in(&temp);
    build(&dir, b"new").swap_in(now()).unwrap();
    let new = tree(&dir.path);
    assert_eq!(new.len(), 3);

    for (does, with_old, steps) in [
        ("restore", true, 10..),
        ("restore", false, 8..),
        ("aside", true, 3..),
    ] {
        let mut seen_old = false;
        for lives in 1.. {
            let temp = tempfile::tempdir().unwrap();
            let dir = dir_in(&temp);
            if with_old {
                make_old(&dir);
            }
            let old = tree(&dir.path);
            let ended = run_child(does, &dir, lives);
            let now_there = tree(&dir.path);
            let after = if does == "restore" {
                new.clone()
            } else {
                BTreeMap::new()
            };
            assert!(now_there == old || now_there == after, "{does} {lives}");
            seen_old |= now_there == old;
            let aside = dir.moved_aside().unwrap();
            if with_old && now_there == after {
                assert_eq!(aside.iter().map(|it| tree(it)).collect::<Vec<_>>(), [old]);
            }
            dir.remove_leftovers().unwrap();
            let parts = beside(&dir).iter().any(|name| name.contains(".part-"));
            assert!(!parts, "{does} {lives}: {:?}", beside(&dir));
            if ended {
                assert!(
                    now_there == after && steps.contains(&lives),
                    "{does} {lives}"
                );
                break;
            }
        }
        assert!(seen_old);
    }
}

#[test]
fn modes_and_lengths_are_those_of_etcd() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::new(&temp.path().join("volume/new.etcd")).unwrap();
    assert_eq!(build(&dir, b"db").swap_in(now()).unwrap(), None);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for path in ["", "member", "member/snap", "member/wal"] {
        assert_eq!(mode(&dir.path.join(path)), 0o700, "{path}");
    }
    let files = tree(&dir.path);
    let lengths: Vec<_> = files
        .iter()
        .map(|(path, it)| (path.to_str().unwrap(), it.0))
        .collect();
    let [(snap, _), (db, 2), (wal, 64_000_000)] = lengths[..] else {
        panic!("{lengths:?}");
    };
    assert_eq!(snap, "member/snap/0000000000000001-0000000000000001.snap");
    assert_eq!(db, "member/snap/db");
    assert_eq!(wal, "member/wal/0000000000000000-0000000000000000.wal");
    for path in [snap, db, wal] {
        assert_eq!(mode(&dir.path.join(path)), 0o600, "{path}");
    }
}

#[test]
fn what_is_moved_aside_is_kept_and_listed_in_order() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir_in(&temp);
    assert_eq!(dir.move_aside(now()).unwrap(), None);
    fs::create_dir(&dir.path).unwrap();
    assert_eq!(dir.move_aside(now()).unwrap(), None);
    for n in 0..11 {
        make_old(&dir);
        fs::write(dir.path.join("n"), n.to_string()).unwrap();
        if n % 2 == 0 {
            dir.move_aside(now()).unwrap().unwrap();
        } else {
            build(&dir, b"new").swap_in(now()).unwrap().unwrap();
            fs::remove_dir_all(&dir.path).unwrap();
        }
    }
    // Not ours.
    for name in [
        "new.etcd.before-x-1",
        "new.etcd.before-20260301T020304Z-0",
        "a.before-20260301T020304Z-1",
    ] {
        fs::create_dir(temp.path().join(name)).unwrap();
    }
    let aside = dir.moved_aside().unwrap();
    let found: Vec<_> = aside
        .iter()
        .map(|it| fs::read_to_string(it.join("n")).unwrap())
        .collect();
    assert_eq!(found, (0..11).map(|n| n.to_string()).collect::<Vec<_>>());
    let name = aside[10].file_name().unwrap().to_str().unwrap();
    assert_eq!(name, "new.etcd.before-20260301T020304Z-11");
}

#[test]
fn an_empty_directory_is_replaced_and_a_dropped_build_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir_in(&temp);
    fs::create_dir(&dir.path).unwrap();
    drop(dir.begin().unwrap());
    drop(build(&dir, b"db"));
    assert_eq!(beside(&dir), ["new.etcd"]);
    assert_eq!(build(&dir, b"db").swap_in(now()).unwrap(), None);
    assert_eq!(beside(&dir), ["new.etcd"]);
}

#[test]
fn leftovers_are_removed_only_if_they_are_ours_and_nobody_works_there() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir_in(&temp);
    let others = [
        "new.etcd.part",
        "new.etcd.part-",
        "new.etcd.part-0123456789ABCDEF",
        "new.etcd.part-0123456789abcdef0",
        "other.part-0123456789abcdef",
    ];
    for name in others {
        fs::create_dir(temp.path().join(name)).unwrap();
    }
    let file = temp.path().join("new.etcd.part-00000000000000ff");
    fs::write(&file, "a file").unwrap();
    let dead = temp.path().join("new.etcd.part-0123456789abcdef");
    fs::create_dir_all(dead.join("member/snap")).unwrap();
    let alive = dir.begin().unwrap();
    assert!(!dead.exists() && file.exists());
    assert_eq!(dir.remove_leftovers().unwrap(), Vec::<PathBuf>::new());
    let built = alive.finish(&identity()).unwrap();
    built.swap_in(now()).unwrap();
    for name in others {
        assert!(temp.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_directory_that_cannot_be_replaced_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    let error = DataDir::new(&file).unwrap().begin().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is not a directory; move it away, or correct --data-dir",
            file.display()
        )
    );
    let error = DataDir::new(Path::new("/")).unwrap_err().to_string();
    assert!(error.starts_with("--data-dir / cannot be"), "{error}");
    let error = DataDir::new(Path::new("/proc"))
        .unwrap()
        .begin()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/proc is a mount point and cannot be exchanged with another directory; set --data-dir to \
         a directory in it"
    );

    let dir = dir_in(&temp);
    make_old(&dir);
    let built = build(&dir, b"new");
    let database = File::open(database_of(&dir.path)).unwrap();
    let held = Flock::lock(database, FlockArg::LockExclusive).unwrap();
    let said = format!(
        "another process holds {}: stop it",
        database_of(&dir.path).display()
    );
    assert_eq!(built.swap_in(now()).unwrap_err().to_string(), said);
    assert_eq!(dir.move_aside(now()).unwrap_err().to_string(), said);
    assert_eq!(dir.inspect(&[]).unwrap().data, Data::Locked);
    drop(held);
    assert_eq!(beside(&dir), ["file", "new.etcd"]);
    assert_eq!(fs::read(database_of(&dir.path)).unwrap(), b"old");
}

#[test]
fn a_symbolic_link_stands_for_what_it_leads_to() {
    let temp = tempfile::tempdir().unwrap();
    let volume = temp.path().join("volume");
    fs::create_dir_all(volume.join("etcd")).unwrap();
    let link = temp.path().join("link");
    symlink(volume.join("etcd"), &link).unwrap();
    let dir = DataDir::new(&link).unwrap();
    make_old(&dir);
    let aside = build(&dir, b"new").swap_in(now()).unwrap().unwrap();
    assert_eq!(
        aside.parent(),
        Some(volume.canonicalize().unwrap().as_path())
    );
    assert_eq!(fs::read(database_of(&link)).unwrap(), b"new");
}

#[test]
fn a_volume_has_one_owner() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir_in(&temp);
    let guard = temp.path().join(SAFE_GUARD);
    for nobody in [None, Some("")] {
        assert_eq!(volume(&dir, nobody).unwrap(), Volume::Ours);
    }
    assert!(!guard.exists());
    for _ in 0..2 {
        assert_eq!(volume(&dir, Some("shoot--a")).unwrap(), Volume::Ours);
        assert_eq!(fs::read_to_string(&guard).unwrap(), "shoot--a");
        let mode = fs::metadata(&guard).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        fs::set_permissions(&guard, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let foreign = volume(&dir, Some("shoot--b")).unwrap();
    assert_eq!(foreign, Volume::Foreign("shoot--a".to_owned()));
    // A crash while the first owner was written.
    fs::write(&guard, "").unwrap();
    assert_eq!(volume(&dir, Some("shoot--b")).unwrap(), Volume::Ours);
    assert_eq!(volume(&dir, None).unwrap(), Volume::Ours);

    let lost = DataDir::new(&temp.path().join("no/such/etcd")).unwrap();
    assert!(matches!(
        volume(&lost, Some("a")),
        Err(DataDirError::Io { .. })
    ));
}

const DATABASE: &[u8] = include_bytes!("../../../core/tests/data/etcd-3.5.27.db");

#[test]
fn what_is_there_is_told_apart() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir_in(&temp);
    let data = || dir.inspect(&[Probe::Log, Probe::Deep]).unwrap().data;
    assert_eq!(data(), Data::Absent);
    fs::create_dir(&dir.path).unwrap();
    assert_eq!(data(), Data::Incomplete);
    fs::create_dir_all(snap_dir(&dir.path)).unwrap();
    fs::create_dir_all(wal_dir(&dir.path)).unwrap();
    assert_eq!(data(), Data::Incomplete);

    fs::write(database_of(&dir.path), DATABASE).unwrap();
    let Data::Broken(why) = data() else {
        panic!();
    };
    assert!(why.starts_with("it has a database of revision "), "{why}");
    assert!(why.ends_with(" and no write-ahead log"), "{why}");

    // A log that is not the database's.
    let wal = wal_dir(&dir.path).join("0000000000000000-0000000000000000.wal");
    fs::write(&wal, druid_core::data_dir::wal::restore_wal(&identity())).unwrap();
    let Data::Readable {
        database,
        log,
        deep,
    } = data()
    else {
        panic!();
    };
    assert!(database.get() > 1);
    let Looked::Broken(why) = log else {
        panic!();
    };
    assert!(
        why.ends_with("the log ends at 1: it is cut, or another one's"),
        "{why}"
    );
    assert_eq!(deep, Looked::Broken(why));
    assert!(matches!(
        dir.inspect(&[]).unwrap().data,
        Data::Readable {
            log: Looked::NotYet,
            deep: Looked::NotYet,
            ..
        }
    ));

    fs::write(database_of(&dir.path), &DATABASE[..DATABASE.len() / 2]).unwrap();
    let Data::Broken(why) = data() else {
        panic!();
    };
    assert!(why.starts_with("its database: "), "{why}");

    // Without a database etcd replays its log.
    for empty in [true, false] {
        if empty {
            fs::write(database_of(&dir.path), "").unwrap();
        } else {
            fs::remove_file(database_of(&dir.path)).unwrap();
        }
        let Data::Readable {
            database,
            log,
            deep,
        } = data()
        else {
            panic!();
        };
        assert_eq!((database.get(), deep), (1, Looked::Found(())));
        assert_eq!(log, Looked::Found(database));
    }

    fs::write(&wal, "").unwrap();
    let Data::Readable { log, .. } = data() else {
        panic!();
    };
    let why = "its log: the write-ahead log does not say whose it is";
    assert_eq!(log, Looked::Broken(why.to_owned()));
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_broken() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir_in(&temp);
    make_old(&dir);
    // A directory in the place of a segment fails to be read whoever asks.
    fs::remove_file(database_of(&dir.path)).unwrap();
    fs::create_dir(wal_dir(&dir.path).join("0000000000000000-0000000000000000.wal")).unwrap();
    let error = dir.inspect(&[Probe::Log]).unwrap_err();
    assert!(matches!(error, DataDirError::Io { .. }), "{error}");
}
