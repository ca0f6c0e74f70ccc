//! `druid verify`, `inspect` and `restore` as programs: exit codes, what they print, and what a full
//! disk leaves behind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common_gateway;
mod common_place;
mod common_preflight;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common_place::{DELTA, FULL, Place, druid, genuine, json, large, run, stderr, stdout, tree};
use common_preflight::{Cluster, Node, Release};
use flate2::Compression;
use flate2::write::GzEncoder;

#[test]
fn a_whole_store_is_verified_inspected_and_restored() {
    let place = Place::genuine();
    let verified = place.verify(&[]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    let text = stdout(&verified);
    assert!(text.contains("Restorable up to revision 102"), "{text}");
    let verified = json(&place.verify(&["--output", "json"]));
    assert_eq!(verified["restore"]["possible"], "yes");
    assert_eq!(verified["restore"]["revision"], 102);
    assert_eq!(verified["snapshots"][1]["state"], "whole");
    let store = place.text("store");
    let inspected = run(&["inspect", &store, "--output=json"]);
    assert_eq!(inspected.status.code(), Some(0));
    assert_eq!(json(&inspected)["snapshots"][0]["state"], "unread");
    // As etcd-backup-restore names it.
    let (container, root) = (
        format!("--store-container={}", place.text("")),
        "--store-prefix=store",
    );
    let flags = ["--storage-provider=Local", container.as_str(), root];
    let verified = run(&[&["verify"], &flags[..]].concat());
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");

    let restored = place.restore(&["--output", "json"]);
    assert_eq!(restored.status.code(), Some(0), "{restored:?}");
    assert_eq!(json(&restored)["revision"], 102);
    assert_eq!(json(&restored)["deltas"], 1);
    assert_eq!(stderr(&restored), "");
    let again = place.restore(&[]);
    let text = stdout(&again);
    assert!(
        text.contains("Restored revision 102") && text.contains(".before-"),
        "{text}"
    );
    let names = place.volume();
    assert_eq!(names.len(), 2, "{names:?}");
    // The store is read only.
    let v2 = place.path("store/v2");
    assert_eq!(fs::read(v2.join(FULL)).unwrap(), genuine(FULL));
    assert_eq!(fs::read_dir(v2).unwrap().count(), 2);
}

#[test]
fn a_changed_byte_is_named_by_both_commands_and_nothing_is_left() {
    let place = Place::genuine();
    for (name, step) in [(FULL, 331), (DELTA, 19)] {
        let original = genuine(name);
        for at in (10..original.len())
            .step_by(step)
            .chain([0, original.len() - 1])
        {
            let mut changed = original.clone();
            changed[at] = !changed[at];
            place.put(name, &changed);
            let verified = place.verify(&[]);
            assert_eq!(verified.status.code(), Some(2), "{name} {at}: {verified:?}");
            assert!(
                stdout(&verified).contains(&format!("damaged: v2/{name}")),
                "{verified:?}"
            );
            let restored = place.restore(&[]);
            assert_eq!(restored.status.code(), Some(1), "{name} {at}: {restored:?}");
            let said = stderr(&restored);
            assert!(said.lines().last().unwrap().contains(name), "{said}");
            assert_eq!(place.volume(), Vec::<String>::new());
        }
        place.put(name, &original);
    }
}

#[test]
fn loss_is_accepted_only_when_asked_for() {
    let place = Place::genuine();
    place.put(DELTA, b"");
    assert_eq!(place.verify(&[]).status.code(), Some(2));
    let refused = place.restore(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--accept-loss"), "{refused:?}");
    let accepted = place.restore(&["--accept-loss", "--output=json"]);
    assert_eq!(accepted.status.code(), Some(0), "{accepted:?}");
    assert_eq!(json(&accepted)["revision"], 101);
    assert!(json(&accepted)["lost"].as_str().unwrap().contains(DELTA));
}

#[test]
fn what_cannot_be_found_out_is_exit_code_1_and_one_line() {
    let place = Place::genuine();
    let store = place.text("store");
    let missing = place.text("nothing");
    let file = place.text("store/v2") + "/" + FULL;
    for (args, expected) in [
        (vec!["verify", "ftp://x/y"], "ftp:// is no store"),
        (vec!["inspect", "s3://"], "names no container"),
        (vec!["verify", &missing], "nothing"),
        (vec!["inspect", &missing], "nothing"),
        (
            vec!["restore", &missing, "--data-dir", "/proc/x/y"],
            "nothing",
        ),
        (vec!["verify", &file], FULL),
        (vec!["verify"], "no store is given"),
        (
            vec!["restore", &store, "--data-dir", "/proc/x/y"],
            "/proc/x",
        ),
        (vec!["restore", &store, "--data-dir", "/"], "--data-dir"),
        (
            vec![
                "restore",
                &store,
                "--base",
                "Full-x",
                "--data-dir",
                &missing,
            ],
            "Full-x",
        ),
        (vec!["verify", &store, "--temp-dir", &missing], "nothing"),
    ] {
        let output = run(&args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert!(said.contains(expected), "{args:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{args:?}: {said}");
        assert!(
            !said.contains("Custom {") && !said.contains("Os {"),
            "{said}"
        );
    }
    for args in [
        vec!["restore", &store, "--bump-revision=1000"],
        vec!["restore", &store, "--mark-compacted"],
        vec!["verify", &store, "--nonsense"],
    ] {
        assert_eq!(run(&args).status.code(), Some(64), "{args:?}");
    }
    assert!(!Path::new(&missing).exists());
    assert_eq!(place.volume(), Vec::<String>::new());
}

#[test]
fn an_empty_store_is_not_whole_and_not_restored() {
    let place = Place::new();
    let verified = place.verify(&[]);
    assert_eq!(verified.status.code(), Some(2), "{verified:?}");
    assert_eq!(place.restore(&["--accept-loss"]).status.code(), Some(1));
    assert_eq!(place.volume(), Vec::<String>::new());
}

#[test]
fn what_may_not_be_read_is_not_damage() {
    let place = Place::genuine();
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(place.path("store/v2").join(FULL), closed).unwrap();
    if fs::read(place.path("store/v2").join(FULL)).is_ok() {
        // Root reads everything.
        return;
    }
    let verified = place.verify(&[]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert!(stderr(&verified).contains(FULL));
    assert_eq!(place.restore(&["--accept-loss"]).status.code(), Some(1));
}

/// One clear line, and the data directory is the old one.
fn nothing_was_replaced(place: &Place, output: &Output, expected: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stderr(output);
    assert!(expected.iter().any(|it| said.contains(it)), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert_eq!(place.volume(), ["data"]);
}

#[test]
fn a_file_that_may_not_grow_replaces_nothing() {
    let place = Place::genuine();
    assert!(place.restore(&[]).status.success());
    let old = tree(&place.path("volume/data"));
    large(&place, 3000);
    // Of 512 bytes each. The base does not fit, then the database does not, then the log does not.
    for blocks in [100, 8000, 100_000] {
        let restore = place.restore_command(&[]);
        let mut limited = Command::new("sh");
        limited.arg("-c");
        limited.arg(format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""
        ));
        limited.arg(restore.get_program()).args(restore.get_args());
        let output = limited.output().unwrap();
        nothing_was_replaced(&place, &output, &["too large", "free some space"]);
        assert_eq!(tree(&place.path("volume/data")), old);
    }
}

#[test]
fn a_full_disk_replaces_nothing() {
    let place = Place::genuine();
    large(&place, 3000);
    let mount = "mount -t tmpfs -o size=\"$SIZE\" none \"$VOLUME\"";
    let isolated = |size: &str, script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &format!("{mount} && {script}")]);
        command
            .env("SIZE", size)
            .env("VOLUME", place.path("volume"));
        command
            .arg(env!("CARGO_BIN_EXE_druid"))
            .arg(place.path("store"));
        command.output()
    };
    if !isolated("1m", "true").is_ok_and(|it| it.status.success()) {
        // Where no one may mount, the limit of a file's size has to do.
        return;
    }
    let script = "mkdir -p \"$VOLUME\"/data/member && echo old > \"$VOLUME\"/data/member/x && \
                  \"$0\" restore \"$1\" --data-dir \"$VOLUME\"/data; echo $?; ls \"$VOLUME\"; \
                  cat \"$VOLUME\"/data/member/x";
    // No room for the base, none for the database, none for the log.
    for size in ["1m", "4m", "9m"] {
        let output = isolated(size, script).unwrap();
        assert_eq!(stdout(&output), "1\ndata\nold\n", "{size}: {output:?}");
        let said = stderr(&output);
        assert!(said.contains("free some space"), "{size}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

#[test]
fn a_decompression_bomb_is_refused_at_once() {
    let place = Place::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..1024 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let name = "Full-00000000-00000009-1795360000.gz";
    place.put(name, &encoder.finish().unwrap());
    let began = Instant::now();
    let refused = place.restore(&[]);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(stderr(&refused).contains(name), "{refused:?}");
    assert_eq!(place.verify(&[]).status.code(), Some(2));
    assert_eq!(place.volume(), Vec::<String>::new());
}

#[test]
fn three_members_restored_apart_by_the_command_form_a_cluster() {
    let place = Place::genuine();
    let mut cluster = Cluster::prepare(&[Release::V3_5_27; 3], "http", &[]);
    let (initial, token) = (cluster.initial(), cluster.token().to_owned());
    for node in &cluster.nodes {
        let output = druid(&["restore", &place.text("store"), "--output=json", "--name"])
            .args([&node.name, "--initial-cluster", &initial])
            .args(["--initial-advertise-peer-urls", &node.peer_url])
            .args(["--initial-cluster-token", &token])
            .args(["--bump-revision=1000", "--mark-compacted", "--data-dir"])
            .arg(&node.data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(json(&output)["revision"], 1102);
    }
    cluster.spawn_all();
    cluster.await_health();
}

/// What etcd says that its revision is.
fn revision(node: &Node) -> i64 {
    let body = serde_json::json!({"key": "YQ=="});
    let answer = common_gateway::call(&node.client_url, "/v3/kv/range", &body);
    answer["header"]["revision"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn an_etcd_that_was_never_written_to_is_backed_up_and_restored() {
    for release in [Release::V3_4_34, Release::V3_5_27, Release::V3_6_15] {
        let place = Place::new();
        let store = place.text("store");
        let live = Cluster::start(&[release]);
        let url = &live.nodes[0].client_url;
        let taken = run(&["snapshot", &store, "--once=full", "--endpoints", url]);
        let name = stdout(&taken);
        assert!(name.contains("Full-00000000-00000001-"), "{taken:?}");
        let verified = place.verify(&[]);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        let text = stdout(&verified);
        assert!(text.contains("Restorable up to revision 1"), "{text}");
        // It is of the same second, and takes nothing away.
        let compacted = run(&["compact", &store, "--output=json"]);
        assert_eq!(json(&compacted)["revision"], 1, "{compacted:?}");
        assert_eq!(fs::read_dir(place.path("store/v2")).unwrap().count(), 2);
        assert_eq!(place.verify(&[]).status.code(), Some(0));

        let mut again = Cluster::prepare(&[release], "http", &[]);
        let node = &again.nodes[0];
        let restored = druid(&["restore", &store, "--output=json", "--name", &node.name])
            .args(["--initial-cluster", &again.initial()])
            .args(["--initial-advertise-peer-urls", &node.peer_url])
            .args(["--initial-cluster-token", again.token(), "--data-dir"])
            .arg(&node.data)
            .output()
            .unwrap();
        assert_eq!(json(&restored)["revision"], 1, "{restored:?}");
        again.spawn_all();
        again.await_health();
        assert_eq!(revision(&again.nodes[0]), 1);
    }
}

#[test]
fn an_etcd_that_is_behind_the_store_is_not_backed_up_into_it() {
    let place = Place::genuine();
    let live = Cluster::start(&[Release::V3_5_27]);
    let url = &live.nodes[0].client_url;
    let before = tree(&place.path("store"));
    for once in ["--once=full", "--once=delta"] {
        let refused = run(&["snapshot", &place.text("store"), once, "--endpoints", url]);
        assert_eq!(refused.status.code(), Some(1), "{once}: {refused:?}");
        let says = "etcd is at revision 1 and the store has 102";
        assert!(stderr(&refused).contains(says), "{refused:?}");
    }
    assert!(tree(&place.path("store")) == before);
}
