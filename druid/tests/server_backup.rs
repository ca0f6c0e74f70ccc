//! `druid server` with a store, beside `druid start-etcd` with genuine etcd: what was acknowledged and
//! covered comes back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod common_agent;
mod common_preflight;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common_agent::backed::{
    ask, await_based, delete, everything, is_covered, kill_all, names, put, terminate_server,
    with_store,
};
use common_agent::{Pod, Pods};
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::until;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut text = String::new();
    for byte in digest {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn moved_aside(member: &Pod) -> Vec<PathBuf> {
    let entries = fs::read_dir(member.home.join("data")).unwrap();
    let paths = entries.map(|it| it.unwrap().path());
    let aside = |it: &PathBuf| it.to_string_lossy().contains(".before-");
    paths.filter(aside).collect()
}

#[test]
fn what_is_covered_comes_back_after_the_volume_is_lost() {
    for release in [V3_4_34, V3_5_27] {
        let mut pods = with_store(release, &[]);
        let member = &mut pods.members[0];
        member.start();
        member.await_ready();
        await_based(member);
        for i in 0..20 {
            put(member, &format!("before-{i}"), "x");
        }
        let full = ask(member, "/snapshot/full");
        assert_eq!(
            (&full["kind"], &full["startRevision"]),
            (&json!("Full"), &json!(0))
        );
        for i in 0..20 {
            put(member, &format!("after-{i}"), &"y".repeat(1000));
        }
        let last = delete(member, "before-3");
        let delta = ask(member, "/snapshot/delta");
        assert_eq!(delta["kind"], "Incr");
        assert_eq!(delta["lastRevision"], last);
        let start = full["lastRevision"].as_i64().unwrap() + 1;
        assert_eq!(delta["startRevision"], start);
        assert_eq!(
            ask(member, "/snapshot/delta"),
            Value::Null,
            "nothing happened"
        );
        let expected = everything(member);
        assert_eq!(expected.len(), 39);

        kill_all(member);
        fs::remove_dir_all(member.data_dir()).unwrap();
        let began = Instant::now();
        member.start();
        member.await_ready();
        println!(
            "{release:?}: ready {:?} after a start without data",
            began.elapsed()
        );
        assert_eq!(everything(member), expected);
        assert!(member.log("server").contains("restored from the store"));
        // It goes on from there, and what it writes connects.
        let next = put(member, "more", "z");
        assert_eq!(next, last + 1);
        until("it leads", || member.leads());
        let delta = ask(member, "/snapshot/delta");
        assert_eq!(
            (&delta["startRevision"], &delta["lastRevision"]),
            (&json!(next), &json!(next))
        );
    }
}

#[test]
fn answers_have_the_fields_of_etcd_backup_restore() {
    let mut pods = with_store(V3_5_27, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    put(member, "a", "b");
    let last = put(member, "a", "c");
    let delta = ask(member, "/snapshot/delta");
    let name = delta["snapName"].as_str().unwrap().to_owned();
    assert!(names(member).contains(&name), "{name}");
    let prefix = format!("{}/", member.store.display());
    let created = delta["createdOn"].as_str().unwrap();
    assert!(
        created.starts_with("20") && created.ends_with('Z'),
        "{created}"
    );
    let stored = fs::read(member.store.join(&name)).unwrap();
    let expected = json!({
        "createdOn": created,
        "immutabilityExpriyTime": "0001-01-01T00:00:00Z",
        "versionID": null,
        "kind": "Incr",
        "snapDir": "",
        "snapName": name,
        "prefix": prefix,
        "compressionSuffix": ".gz",
        "startRevision": last - 1,
        "lastRevision": last,
        "isChunk": false,
        "isFinal": false,
        // Only ours says these.
        "sizeBytes": stored.len(),
        "sha256": sha256(&stored),
    });
    assert_eq!(delta, expected);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(member.store.join(&name)), 0o600);
    assert_eq!(mode(member.home.join("temp/deltas")), 0o700);

    let latest = ask(member, "/snapshot/latest");
    assert_eq!(latest["deltaSnapshots"], json!([delta]));
    assert_eq!(latest["fullSnapshot"]["kind"], "Full");
    let last_full = ask(member, "/snapshot/full?final=true");
    assert_eq!(last_full["isFinal"], true);
    assert!(
        last_full["snapName"]
            .as_str()
            .unwrap()
            .ends_with(".gz.final")
    );
    let latest = ask(member, "/snapshot/latest");
    assert_eq!(
        latest,
        json!({"fullSnapshot": last_full, "deltaSnapshots": null})
    );

    let metrics = member.ask("/metrics").body;
    for line in [
        format!("etcdbr_snapshot_latest_revision{{kind=\"Full\"}} {last}\n"),
        format!("etcdbr_snapshot_latest_revision{{kind=\"Incr\"}} {last}\n"),
        "etcdbr_snapstore_latest_deltas_total 0\n".to_owned(),
        "etcdbr_snapshot_duration_seconds_count{kind=\"Incr\",succeeded=\"true\"} 1\n".to_owned(),
        "etcdbr_snapshot_duration_seconds_count{kind=\"Full\",succeeded=\"true\"} 2\n".to_owned(),
        "druid_backup_healthy 1\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    let health = ask(member, "/backup/healthz");
    assert_eq!(health["healthy"], true, "{health}");
}

#[test]
fn an_orderly_end_takes_what_is_not_in_the_store_yet_there() {
    let mut pods = with_store(V3_5_27, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    for i in 0..50 {
        put(member, &format!("k-{i}"), "v");
    }
    let last = put(member, "last", "v");
    let took = terminate_server(member);
    assert!(is_covered(member, last), "{last}: {:?}", names(member));
    println!("the end took {took:?}");
    let expected = everything(member);
    kill_all(member);
    fs::remove_dir_all(member.data_dir()).unwrap();
    member.start();
    member.await_ready();
    assert_eq!(everything(member), expected);
}

#[test]
fn an_end_together_with_etcd_flushes_too() {
    let mut pods = with_store(V3_5_27, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    put(member, "a", "1");
    let last = put(member, "a", "2");
    // What the watch has brought is not lost with etcd.
    std::thread::sleep(Duration::from_millis(500));
    member.signal_etcd(Signal::SIGTERM);
    let took = terminate_server(member);
    assert!(took < Duration::from_secs(20), "{took:?}");
    member.etcd_ended();
    assert!(is_covered(member, last), "{last}: {:?}", names(member));
}

#[test]
fn damaged_data_is_moved_aside_and_restored() {
    let mut pods = with_store(V3_5_27, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    put(member, "a", "1");
    ask(member, "/snapshot/delta");
    let expected = everything(member);
    kill_all(member);
    let database = member.data_dir().join("member/snap/db");
    let mut damaged = fs::read(&database).unwrap();
    damaged[..16384].fill(0xff);
    fs::write(&database, &damaged).unwrap();
    member.start();
    member.await_ready();
    assert_eq!(everything(member), expected);
    let aside = moved_aside(member);
    assert_eq!(aside.len(), 1);
    let kept = fs::read(aside[0].join("member/snap/db")).unwrap();
    assert!(kept == damaged, "what was there is kept as it was");
}

#[test]
fn an_empty_listing_deletes_nothing() {
    let mut pods = with_store(V3_5_27, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    put(member, "a", "1");
    let expected = everything(member);
    kill_all(member);
    // Good data and a store that is elsewhere: the data stays.
    let elsewhere = member.home.join("elsewhere");
    fs::rename(member.home.join("bkp"), &elsewhere).unwrap();
    member.start();
    member.await_ready();
    assert_eq!(everything(member), expected);
    assert!(moved_aside(member).is_empty());
    await_based(member);
    kill_all(member);
    // Broken data and a store that lists nothing: it is left as it is, and etcd does not start.
    fs::remove_dir_all(member.home.join("bkp")).unwrap();
    let database = member.data_dir().join("member/snap/db");
    let mut damaged = fs::read(&database).unwrap();
    damaged[..16384].fill(0xff);
    fs::write(&database, &damaged).unwrap();
    member.start_server();
    assert_eq!(member.initialise("full"), "Failed");
    assert!(fs::read(&database).unwrap() == damaged);
    assert!(moved_aside(member).is_empty());
    // The store is back: so is the data.
    fs::rename(&elsewhere, member.home.join("bkp")).unwrap();
    assert_eq!(member.initialise("full"), "Successful");
    assert_eq!(moved_aside(member).len(), 1);
}

#[test]
fn flags_that_make_no_sense_are_refused_with_a_remedy() {
    for (extra, says) in [
        (
            &["--storage-provider=Local", "--schedule=x"][..],
            "--schedule",
        ),
        (&["--etcd-username=root"], "--etcd-password"),
        (
            &["--garbage-collection-policy=LimitBased", "--max-backups=0"],
            "--max-backups",
        ),
        (&["--store-prefix=a/../b"], ".."),
    ] {
        let mut pods = with_store(V3_5_27, &[]);
        let member = &mut pods.members[0];
        let flag = |it: &str| it.split('=').next().unwrap().to_owned();
        let given: Vec<String> = extra.iter().map(|it| flag(it)).collect();
        member.server_args.retain(|it| !given.contains(&flag(it)));
        member
            .server_args
            .extend(extra.iter().map(|it| (*it).to_owned()));
        member.start_server();
        let mut server = member.server.take().unwrap();
        let mut status = None;
        until("it has ended", || {
            status = server.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(1));
        let log = member.log("server");
        assert!(log.contains(says), "{says}: {log}");
    }
}

/// The member that leads, once it is known.
fn leader(pods: &Pods) -> usize {
    let mut found = None;
    until("one leads", || {
        found = pods.members.iter().position(Pod::leads);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn the_sidecar_of_the_leader_takes_snapshots_and_the_next_one_goes_on() {
    let mut pods = Pods::new(V3_5_27, 3);
    pods.mounted["enable-grpc-gateway"] = json!(true);
    pods.write_mounted();
    let shared = pods.dir.path().join("bkp").display().to_string();
    for member in &mut pods.members {
        member.server_args = vec![
            "--storage-provider=Local".to_owned(),
            format!("--store-container={shared}"),
            "--store-prefix=etcd-main".to_owned(),
            format!("--snapstore-temp-directory={}/temp", member.home.display()),
            "--delta-snapshot-period=1h".to_owned(),
        ];
    }
    pods.members.iter_mut().for_each(Pod::start);
    pods.members.iter().for_each(Pod::await_ready);
    let first = leader(&pods);
    let follower = (first + 1) % 3;
    until("there is a full snapshot", || {
        ask(&pods.members[first], "/snapshot/latest")["fullSnapshot"].is_object()
    });
    let last = put(&pods.members[follower], "a", "1");
    let delta = ask(&pods.members[first], "/snapshot/delta");
    assert_eq!(delta["lastRevision"], last);
    // Sidecars of one host have other ports: a follower cannot hand on here, and says so.
    assert_eq!(pods.members[follower].ask("/snapshot/delta").status, 405);

    pods.members[first].kill();
    let next = leader(&pods);
    assert_ne!(next, first);
    let last = put(&pods.members[next], "a", "2");
    // Null if the one that is taken when the lead begins has it already.
    ask(&pods.members[next], "/snapshot/delta");
    let latest = ask(&pods.members[next], "/snapshot/latest");
    let deltas = latest["deltaSnapshots"].as_array().unwrap();
    assert_eq!(deltas.last().unwrap()["lastRevision"], last, "{latest}");
    for pair in deltas.windows(2) {
        let ends = pair[0]["lastRevision"].as_i64().unwrap();
        assert_eq!(pair[1]["startRevision"], ends + 1, "{latest}");
    }
}

#[test]
fn periods_and_limits_work_without_anybody_asking() {
    let mut pods = with_store(V3_4_34, &["--delta-snapshot-memory-limit=4096"]);
    let member = &mut pods.members[0];
    member
        .server_args
        .retain(|it| !it.starts_with("--delta-snapshot-period"));
    member
        .server_args
        .push("--delta-snapshot-period=2s".to_owned());
    member.start();
    member.await_ready();
    await_based(member);
    let last = put(member, "a", "1");
    let period = common_agent::time("the period has passed", || is_covered(member, last));
    let last = put(member, "b", &"x".repeat(8000));
    let limit = common_agent::time("the limit was reached", || is_covered(member, last));
    println!("after {period:?} by the period, after {limit:?} by the limit");
    assert!(period < Duration::from_secs(5) && limit < Duration::from_millis(1500));
}

#[test]
fn a_snapshot_is_read_again_all_of_it() {
    let mut pods = with_store(V3_5_27, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    let last = put(member, "a", "b");
    let taken = ask(member, "/snapshot/full");
    let name = taken["snapName"].as_str().unwrap();
    let path = member.store.join(name);
    let stored = fs::read(&path).unwrap();
    let asked = format!("/snapshot/verify?name={name}");
    let expected = json!({
        "name": name,
        "lastRevision": last,
        "sizeBytes": stored.len(),
        "sha256": sha256(&stored),
    });
    assert_eq!(ask(member, &asked), expected);
    let mut flipped = stored.clone();
    flipped[stored.len() / 2] ^= 1;
    fs::write(&path, flipped).unwrap();
    let said = member.ask(&asked);
    assert_eq!(said.status, 500, "{}", said.body);
    assert!(said.body.contains(name), "{}", said.body);
    let said = member.ask("/snapshot/verify?name=Full-00000000-00000001-1.gz");
    assert_eq!(said.status, 500);
    assert!(said.body.contains("there is no snapshot"), "{}", said.body);
    assert_eq!(member.ask("/snapshot/verify").status, 400);
}
