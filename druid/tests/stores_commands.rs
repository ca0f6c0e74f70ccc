//! `druid compact` and `copy` as programs: exit codes, what they print and what they leave in a
//! store.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common_gateway;
mod common_live;
mod common_place;
mod common_preflight;
mod common_stores;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common_gateway as gateway;
use common_live::{Live, assert_same, restored};
use common_place::{
    DELTA, FULL, Place, druid, files, genuine, json, large, misused, refused, stderr, stdout,
    succeed, verified,
};
use common_preflight::Release;
use common_stores::{BUCKET, S3Server};
use serde_json::{Value, json};

fn compact(place: &Place) -> Command {
    druid(&["compact", &place.text("store")])
}

#[test]
fn what_is_compacted_restores_to_what_a_compacted_cluster_has() {
    for release in [Release::V3_4_34, Release::V3_5_27] {
        let live = Live::start(release);
        let url = live.url();
        live.once("full");
        live.write(5);
        live.once("delta");
        for n in 3..9 {
            gateway::delete(url, &format!("k{n}"));
        }
        // What is deleted at the last revision is still there for those who watch from it.
        let revision = gateway::delete(url, "k10");
        live.once("delta");
        let before = files(&live.store());
        let whole = restored(&live.store(), release);

        let report = json(&succeed(compact(&live.place).arg("--output=json")));
        let object = report["object"].as_str().unwrap();
        assert_eq!(
            (&report["revision"], &report["deltas"]),
            (&json!(revision), &json!(2))
        );
        let [rows_before, rows] = ["rows_before", "rows"].map(|it| report[it].as_i64().unwrap());
        assert_eq!((rows_before, rows), (312, 294));
        let found = verified(&live.store());
        assert_eq!(found["restore"]["revision"], revision);
        assert_eq!(found["restore"]["base"], object);
        let mut after = files(&live.store());
        let new = after.remove(Path::new(object)).unwrap();
        assert_eq!(report["bytes"], new.len());
        assert!(after == before);

        let smaller = restored(&live.store(), release);
        assert_same(&live.etcd, &whole, revision);
        for cluster in [&live.etcd, &whole] {
            gateway::compact(&cluster.nodes[0].client_url, revision);
        }
        // etcd 3.5 keeps the hash of a revision that was compacted from before: so one more.
        for cluster in [&live.etcd, &whole, &smaller] {
            let next = gateway::put(&cluster.nodes[0].client_url, "next", b"");
            assert_eq!(next, revision + 1);
        }
        assert_same(&live.etcd, &smaller, revision + 1);
        assert_same(&whole, &smaller, revision + 1);
    }
}

#[test]
fn compact_says_what_it_made_and_writes_over_nothing() {
    let place = Place::genuine();
    let store = place.path("store");
    let mut before = files(&store);
    let said = stdout(&succeed(&mut compact(&place)));
    let expected = format!("Compacted {FULL} and 1 delta into v2/Full-00000000-00000102-");
    assert!(said.starts_with(&expected), "{said}");
    assert!(
        said.contains(": revision 102, 101 of 101 rows are left, "),
        "{said}"
    );
    // Within a second, too, each is another one, and begins with the one before.
    let mut base = said
        .split(' ')
        .nth(6)
        .unwrap()
        .trim_end_matches(':')
        .to_owned();
    for _ in 0..3 {
        let report = json(&succeed(compact(&place).args(["-o", "json"])));
        assert_eq!(
            (&report["base"], &report["deltas"]),
            (&json!(base), &json!(0))
        );
        report["object"].as_str().unwrap().clone_into(&mut base);
        let mut after = files(&store);
        let made = after.remove(Path::new(&base)).unwrap();
        assert!(before.iter().all(|it| after.get(it.0) == Some(it.1)));
        before = after;
        before.insert(base.clone().into(), made);
    }
    assert_eq!(verified(&store)["snapshots"].as_array().unwrap().len(), 6);
}

#[test]
fn a_final_snapshot_is_still_final_when_it_is_compacted() {
    let place = Place::new();
    place.put(&format!("{FULL}.final"), &genuine(FULL));
    let report = json(&succeed(compact(&place).arg("--output=json")));
    let object = report["object"].as_str().unwrap();
    assert!(object.ends_with(".gz.final"), "{object}");
    assert_eq!(verified(&place.path("store"))["restore"]["base"], object);
}

#[test]
fn what_cannot_be_compacted_is_left_as_it_is() {
    let place = Place::new();
    refused(&mut compact(&place), "no snapshot is listed");
    place.put(FULL, &genuine(FULL));
    let mut damaged = genuine(DELTA);
    damaged[60] ^= 1;
    place.put(DELTA, &damaged);
    let before = files(&place.path("store"));
    let output = compact(&place).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stderr(&output);
    let last = said.lines().last().unwrap();
    assert!(last.contains(DELTA) && last.contains("only 101"), "{said}");
    assert!(last.ends_with("restore with --accept-loss"), "{said}");
    place.put(DELTA, &genuine(DELTA));
    for (args, expected) in [
        (vec!["compact", &place.text("nothing")], "is no directory"),
        (vec!["compact", "ftp://x/y"], "ftp:// is no store"),
        (vec!["compact"], "no store is given"),
        (
            vec!["compact", &place.text("store"), "--temp-dir=/proc/x"],
            "--temp-dir",
        ),
    ] {
        refused(&mut druid(&args), expected);
    }
    misused(&["compact", &place.text("store"), "--accept-loss"]);
    misused(&["compact", &place.text("store"), "--output=xml"]);
    place.put(DELTA, &damaged);
    assert!(files(&place.path("store")) == before);
}

#[test]
fn a_store_that_may_not_be_written_is_named() {
    let place = Place::genuine();
    let before = files(&place.path("store"));
    let sealed = |script: &str| {
        let mut command = Command::new("unshare");
        let seal = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
        command.args(["-rm", "sh", "-c", &format!("{seal} && {script}")]);
        command.arg(env!("CARGO_BIN_EXE_druid"));
        command.arg(place.path("store"));
        command
    };
    if !sealed("true").output().is_ok_and(|it| it.status.success()) {
        // Where no one may mount, there is nothing that root may not write.
        return;
    }
    let object = "store/v2/Full-00000000-00000102-";
    refused(&mut sealed("\"$0\" compact \"$1\""), object);
    refused(
        &mut sealed("\"$0\" compact \"$1\""),
        "access denied (Read-only",
    );
    assert!(files(&place.path("store")) == before);
}

/// `druid copy` from one directory into another.
fn copy(from: &Path, to: &Path, more: &[&str]) -> Command {
    let mut command = druid(&["copy", "--source-storage-provider=Local"]);
    command.arg("--storage-provider=Local");
    for (flag, path) in [
        ("--source-store-container", from),
        ("--store-container", to),
    ] {
        command.arg(flag).arg(path);
    }
    command.args(more);
    command
}

fn copied(report: &Value) -> Vec<&str> {
    let copied = report["copied"].as_array().unwrap();
    copied.iter().map(|it| it.as_str().unwrap()).collect()
}

/// Which file each one is: another one if it was written again.
fn inodes(root: &Path) -> BTreeMap<PathBuf, u64> {
    let paths = files(root).into_keys();
    paths
        .map(|it| (it.clone(), fs::metadata(root.join(it)).unwrap().ino()))
        .collect()
}

#[test]
fn a_store_is_copied_as_it_is_and_nothing_twice() {
    let place = Place::genuine();
    let (from, to) = (place.path("store"), place.path("to/here"));
    let said = stdout(&succeed(&mut copy(&from, &to, &[])));
    assert_eq!(
        said,
        "Copied 2 objects, 4.8 kB; 0 there already, 0 left out.\n"
    );
    assert!(files(&to) == files(&from));
    let first = inodes(&to);

    large(&place, 150);
    let report = json(&succeed(&mut copy(&from, &to, &["--output=json"])));
    let all = copied(&report);
    assert!(all[0].starts_with("v2/Full-00000000-00000150-"), "{all:?}");
    assert!(all[1].starts_with("v2/Incr-00000151-00000225-"), "{all:?}");
    assert_eq!((all.len(), &report["present"]), (2, &json!(2)));
    assert!(files(&to) == files(&from));
    let second = inodes(&to);
    assert!(first.iter().all(|it| second.get(it.0) == Some(it.1)));

    let report = json(&succeed(&mut copy(&from, &to, &["--output=json"])));
    let expected = json!({"copied": [], "bytes": 0, "present": 4, "left_out": 0, "failed": []});
    assert_eq!(report, expected);
    assert_eq!(inodes(&to), second);
    assert_eq!(verified(&to)["restore"]["revision"], 225);
    // Into itself: all is there.
    let report = json(&succeed(&mut copy(&from, &from, &["--output=json"])));
    assert_eq!(report["present"], 4);
}

#[test]
fn what_is_damaged_is_not_copied_and_all_else_is() {
    let place = Place::genuine();
    large(&place, 150);
    let (from, to) = (place.path("store"), place.path("to"));
    let mut damaged = genuine(FULL);
    damaged[2000] ^= 1;
    place.put(FULL, &damaged);
    let output = copy(&from, &to, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stdout(&output);
    let named = format!("NOT COPIED: v2/{FULL}: ");
    assert!(said.lines().any(|it| it.starts_with(&named)), "{said}");
    let mut expected = files(&from);
    expected.remove(Path::new(&format!("v2/{FULL}"))).unwrap();
    assert!(
        files(&to) == expected,
        "nothing of what is damaged is there"
    );

    let output = copy(&from, &to, &["--output=json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = json(&output);
    assert_eq!(
        (&report["copied"], &report["present"]),
        (&json!([]), &json!(3))
    );
    assert!(
        report["failed"][0].as_str().unwrap().contains(FULL),
        "{report}"
    );

    place.put(FULL, &genuine(FULL));
    let report = json(&succeed(&mut copy(&from, &to, &["--output=json"])));
    assert_eq!(copied(&report), [format!("v2/{FULL}")]);
    assert!(files(&to) == files(&from));
}

#[test]
fn limits_and_the_wait_for_a_final_snapshot_are_kept() {
    let place = Place::genuine();
    large(&place, 150);
    let (from, to) = (place.path("store"), place.path("to"));
    let newest = ["--max-backups-to-copy=1", "--output=json"];
    let report = json(&succeed(&mut copy(&from, &to, &newest)));
    assert_eq!((copied(&report).len(), &report["left_out"]), (2, &json!(2)));
    assert_eq!(verified(&to)["restore"]["revision"], 225);
    let young = ["--max-backup-age=0", "--output=json"];
    let report = json(&succeed(&mut copy(&from, &place.path("young"), &young)));
    assert_eq!(report["left_out"], 4);

    let wait = [
        "--wait-for-final-snapshot",
        "--wait-for-final-snapshot-timeout=500ms",
    ];
    let began = Instant::now();
    refused(
        &mut copy(&from, &to, &wait),
        "no final full snapshot after 500ms",
    );
    assert!(began.elapsed() < Duration::from_secs(3));
    let wait = [
        "--wait-for-final-snapshot=true",
        "--wait-for-final-snapshot-timeout=30s",
        "--output=json",
    ];
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| succeed(&mut copy(&from, &to, &wait)));
        std::thread::sleep(Duration::from_millis(300));
        let full = files(&from).into_keys().find(|it| {
            let name = it.to_str().unwrap();
            name.contains("Full-00000000-00000150")
        });
        let full = from.join(full.unwrap());
        let ending = full.with_extension("gz.final");
        // It covers nothing new, and is the newest full snapshot.
        fs::rename(full, ending).unwrap();
        waiting.join().unwrap()
    });
    let report = json(&waiting);
    let mut all = copied(&report).into_iter();
    assert!(all.any(|it| it.ends_with(".gz.final")), "{report}");
}

#[test]
fn what_cannot_be_copied_is_said_with_a_remedy() {
    let place = Place::genuine();
    let (from, to) = (place.path("store"), place.path("to"));
    fs::write(place.path("file"), "").unwrap();
    let none = place.path("nothing");
    refused(&mut copy(&none, &to, &[]), "nothing is no directory");
    refused(
        &mut copy(&from, &to, &["--max-parallel-copy-operations=0"]),
        "--max-parallel-copy-operations",
    );
    refused(&mut druid(&["copy"]), "--source-storage-provider");
    let mut one_sided = druid(&["copy", "--source-storage-provider=Local"]);
    one_sided.args([Path::new("--source-store-container"), &from]);
    refused(&mut one_sided, "destination: no store is given");
    assert!(!to.exists() && !none.exists());
    misused(&["copy", "--storage-provider=Tape"]);
    misused(&["copy", "--max-backup-age=old"]);
    misused(&["copy", "--wait-for-final-snapshot-timeout=5"]);

    for blocked in [place.path("file"), PathBuf::from("/proc/x")] {
        let output = copy(&from, &blocked, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = stdout(&output);
        let failed = said.lines().filter(|it| it.starts_with("NOT COPIED: "));
        assert_eq!(failed.count(), 2, "{said}");
        let why = format!("the directory {}/v2 cannot be made", blocked.display());
        assert!(
            said.contains(&why) && said.contains("--store-container"),
            "{said}"
        );
    }

    // An empty source is copied, but hardly meant.
    let empty = place.path("volume");
    let said = stdout(&succeed(&mut copy(&empty, &to, &[])));
    assert!(
        said.contains("warning: the source has no snapshots"),
        "{said}"
    );
    let report = json(&succeed(&mut copy(&empty, &to, &["--output=json"])));
    let warning = report["warning"].as_str().unwrap();
    assert!(warning.contains("--source-store-prefix"), "{warning}");
}

#[test]
fn a_store_goes_to_s3_and_comes_back() {
    let server = S3Server::start();
    let place = Place::genuine();
    large(&place, 600);
    let (from, back) = (place.path("store"), place.path("back"));
    let variables = server.variables();
    let s3 = |words: &[&str]| {
        let mut command = druid(words);
        for (name, value) in &variables {
            command
                .env(name, value)
                .env(format!("SOURCE_{name}"), value);
        }
        command
    };
    let bucket = |side: &str| {
        [
            format!("--{side}storage-provider=S3"),
            format!("--{side}store-container={BUCKET}"),
            format!("--{side}store-prefix=a/b"),
        ]
    };
    let local = |side: &str, path: &Path| {
        [
            format!("--{side}storage-provider=Local"),
            format!("--{side}store-container={}", path.display()),
        ]
    };
    let up = || {
        let mut command = s3(&["copy", "--output=json"]);
        command.args(local("source-", &from)).args(bucket(""));
        // Left out, it would be that of the destination.
        command.arg("--source-store-prefix=/");
        command
    };
    let report = json(&succeed(&mut up()));
    assert_eq!(copied(&report).len(), 4, "{report}");
    let report = json(&succeed(&mut up()));
    assert_eq!((copied(&report).len(), &report["present"]), (0, &json!(4)));
    let store = format!("s3://{BUCKET}/a/b");
    succeed(&mut s3(&["verify", &store]));
    let compacted = json(&succeed(&mut s3(&["compact", &store, "--output=json"])));
    assert_eq!(compacted["revision"], 900);

    let mut down = s3(&["copy", "--output=json"]);
    down.args(bucket("source-")).args(local("", &back));
    let report = json(&succeed(&mut down));
    assert_eq!(copied(&report).len(), 5, "{report}");
    let mut came = files(&back);
    let object = compacted["object"].as_str().unwrap().rsplit('/').next();
    assert!(
        came.remove(&Path::new("v2").join(object.unwrap()))
            .is_some()
    );
    assert!(came == files(&from));
    assert_eq!(verified(&back)["restore"]["revision"], 900);
    assert_eq!(server.open_uploads(), Vec::<PathBuf>::new());
}
