//! `druid snapshot` as a program on genuine etcd: exit codes, what it prints and what it leaves in a
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

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common_gateway as gateway;
use common_live::{Live, assert_same, restored};
use common_place::{druid, files, json, misused, refused, stdout, succeed, verified};
use common_preflight::{Release, until};
use serde_json::{Value, json};

#[test]
fn a_snapshot_and_a_delta_of_a_live_etcd_restore_to_what_it_has() {
    for release in [Release::V3_4_34, Release::V3_5_27] {
        let live = Live::start(release);
        let once = |kind: &str| {
            let command = live.snapshot(&["--once", kind, "--output=json"]).output();
            let taken = json(&command.unwrap());
            let object = taken["object"].as_str().map(str::to_owned);
            if let Some(object) = &object {
                let file = fs::metadata(live.store().join(object)).unwrap();
                assert_eq!(taken["bytes"], file.len(), "{taken}");
            }
            (object, taken["last"].as_i64())
        };
        let nothing = (None, None);
        // There is nothing that a delta could begin with.
        let (full, last) = once("delta");
        assert!(full.unwrap().starts_with("v2/Full-"));
        assert_eq!(last, Some(301));
        assert_eq!(once("delta"), nothing);
        let last = live.write(20);
        let (delta, covered) = once("delta");
        let expected = format!("v2/Incr-{:08}-{last:08}-", 302);
        assert!(delta.as_ref().unwrap().starts_with(&expected), "{delta:?}");
        assert_eq!(covered, Some(last));
        let said = stdout(&succeed(&mut live.snapshot(&["--once", "delta"])));
        assert_eq!(said, "nothing happened\n");

        let (full, covered) = once("full");
        let expected = format!("v2/Full-00000000-{last:08}-");
        assert!(full.unwrap().starts_with(&expected));
        assert_eq!(covered, Some(last));
        let last = gateway::delete(live.url(), "k7");
        let said = stdout(&succeed(&mut live.snapshot(&["--once", "delta"])));
        let object = said.trim_end();
        assert!(live.store().join(object).is_file(), "{said}");

        let found = verified(&live.store());
        assert_eq!(found["restore"]["revision"], last);
        assert_eq!(found["restore"]["deltas"], 1);
        assert_eq!(found["snapshots"].as_array().unwrap().len(), 4);
        assert_same(&live.etcd, &restored(&live.store(), release), last);
        // And without the newer full snapshot.
        let newer = |name: &Path| name.to_str().unwrap().contains(&expected);
        let gone = files(&live.store()).into_keys().find(|it| newer(it));
        fs::remove_file(live.store().join(gone.unwrap())).unwrap();
        assert_eq!(verified(&live.store())["restore"]["deltas"], 2);
        assert_same(&live.etcd, &restored(&live.store(), release), last);

        let said = stdout(&succeed(&mut live.snapshot(&["--once=full", "--final"])));
        assert!(said.trim_end().ends_with(".gz.final"), "{said}");
    }
}

#[test]
fn every_codec_that_is_written_is_read() {
    let live = Live::start(Release::V3_5_27);
    for (flag, ending) in [
        ("--compression-policy=zlib", ".zlib"),
        ("--compression-policy=lzw", ".gz"),
        ("--compress-snapshots=false", ""),
    ] {
        live.write(3);
        let full = stdout(&succeed(&mut live.snapshot(&["--once=full", flag])));
        let last = live.write(3);
        let delta = stdout(&succeed(&mut live.snapshot(&["--once=delta", flag])));
        for object in [full, delta] {
            let name = object.trim_end().rsplit('-').next().unwrap();
            let digits = name.trim_start_matches(|it: char| it.is_ascii_digit());
            assert_eq!(digits, ending, "{object}");
        }
        assert_eq!(verified(&live.store())["restore"]["revision"], last);
    }
}

#[test]
fn snapshots_are_taken_until_it_is_asked_to_end() {
    let live = Live::start(Release::V3_4_34);
    let covers = |last: i64| {
        let ending = format!("-{last:08}-");
        let mut names = files(&live.store()).into_keys();
        names.any(|it| it.to_str().unwrap().contains(&ending))
    };
    let running = live.running(&["--delta-snapshot-period=1s"]);
    until("there is a base", || covers(301));
    let last = live.write(3);
    until("the period has passed", || covers(last));
    running.stop();
    let running = live.running(&["--delta-snapshot-period=1h"]);
    let last = live.write(3);
    // It is told to end as soon as it may have seen that.
    std::thread::sleep(Duration::from_millis(500));
    running.stop();
    assert!(covers(last), "what was seen is stored at the end");
    let found = verified(&live.store());
    assert_eq!(found["restore"]["revision"], last);
    let fulls = found["snapshots"].as_array().unwrap().iter();
    assert_eq!(
        fulls.filter(|it| it["kind"] == "full").count(),
        1,
        "{found}"
    );
}

#[test]
fn a_user_of_etcd_is_logged_in() {
    let live = Live::start(Release::V3_5_27);
    let ask = |path: &str, body: Value| gateway::call(live.url(), path, &body);
    ask(
        "/v3/auth/user/add",
        json!({"name": "root", "password": "secret"}),
    );
    ask(
        "/v3/auth/user/grant",
        json!({"user": "root", "role": "root"}),
    );
    ask("/v3/auth/enable", json!({}));
    for kind in ["full", "delta"] {
        let flags = ["--once", kind, "--etcd-snapshot-timeout=2s"];
        let output = live.snapshot(&flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(stdout(&output), "");
        let root = [&flags[..], &["--etcd-username=root"]].concat();
        for (word, code) in [("wrong", 1), ("secret", 0)] {
            let mut command = live.snapshot(&root);
            let output = command.env("ETCD_PASSWORD", word).output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(code),
                "{kind} {word}: {output:?}"
            );
        }
    }
    assert_eq!(
        verified(&live.store())["snapshots"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_snapshot_that_cannot_be_taken_is_said_in_one_line() {
    let live = Live::start(Release::V3_5_27);
    let store = live.place.text("store");
    for (more, expected) in [
        (&["--schedule=x"][..], "--schedule"),
        (
            &["--garbage-collection-policy=LimitBased", "--max-backups=0"],
            "--max-backups",
        ),
        (&["--cacert=/nonexistent"], "--cacert /nonexistent"),
    ] {
        refused(live.snapshot(&["--once=full"]).args(more), expected);
    }
    let off = ["--once=delta", "--delta-snapshot-period=0s"];
    refused(&mut live.snapshot(&off), "--delta-snapshot-period");
    for misuse in [
        &["--final"][..],
        &["--once=all"],
        &["--once=full", "--etcd-username=root"],
        &["--once=full", "--endpoints=nonsense"],
        &["--once=full", "--compression-policy=zip"],
    ] {
        misused(&[&["snapshot", store.as_str()], misuse].concat());
    }

    // Nobody listens; a store that cannot be made. It is tried again as long as it may take.
    let port = common_preflight::free_ports(1)[0];
    let nobody = format!("http://127.0.0.1:{port}");
    fs::write(live.place.path("file"), "").unwrap();
    let file = live.place.text("file");
    let blocked = "/file/v2 cannot be made";
    for (kind, url, store, expected) in [
        ("full", nobody.as_str(), &store, "cannot connect"),
        ("delta", nobody.as_str(), &store, "cannot connect"),
        ("full", live.url(), &file, blocked),
        ("delta", live.url(), &file, blocked),
    ] {
        let began = Instant::now();
        let mut command = druid(&["snapshot", store, "--endpoints", url, "--once", kind]);
        command.arg("--etcd-snapshot-timeout=2s");
        refused(&mut command, expected);
        assert!(began.elapsed() < Duration::from_secs(6));
    }
    assert_eq!(files(&live.store()).len(), 0);
}
