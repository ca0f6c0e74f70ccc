//! `druid server` with an S3 store, and with an etcd that wants a password: what was acknowledged and
//! covered comes back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod common_agent;
mod common_preflight;
mod common_relay;
mod common_stores;

use std::fs;
use std::time::{Duration, Instant};

use common_agent::backed::{
    ask, await_based, enable_auth, everything, is_covered, kill_all, log_in, names, put,
    terminate_server, with_store,
};
use common_agent::{Pod, Pods, get};
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::{Release, until};
use common_relay::{Mode, relay};
use common_stores::{S3_SECRET, S3Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A member whose store is this server, at this address.
fn with_s3(release: Release, server: &S3Server, url: &str, extra: &[&str]) -> Pods {
    let mut pods = with_store(release, &[]);
    let member = &mut pods.members[0];
    let local = |it: &String| it.starts_with("--storage-provider") || it.contains("container");
    member.server_args.retain(|it| !local(it));
    member.server_args.push("--storage-provider=S3".to_owned());
    let extra = extra.iter().map(|it| (*it).to_owned());
    member.server_args.extend(extra);
    member.environment = server.variables_for(url, S3_SECRET);
    member.store = server.objects().join("etcd-main/v2");
    pods
}

/// Writes, and loses the volume. What comes back is what was there.
fn loses_its_volume(member: &mut Pod) {
    let expected = everything(member);
    kill_all(member);
    fs::remove_dir_all(member.data_dir()).unwrap();
    member.start();
    member.await_ready();
    if member.token.is_some() {
        log_in(member);
    }
    assert_eq!(everything(member), expected);
    assert!(member.log("server").contains("restored from the store"));
}

#[test]
fn a_bucket_brings_back_what_is_covered_and_keeps_no_more_than_it_has_to() {
    for release in [V3_4_34, V3_5_27] {
        let server = S3Server::start();
        let collects = [
            "--garbage-collection-period=1100ms",
            "--garbage-collection-policy=LimitBased",
            "--max-backups=1",
        ];
        let mut pods = with_s3(release, &server, &server.url(), &collects);
        let member = &mut pods.members[0];
        member.start();
        member.await_ready();
        await_based(member);
        for i in 0..20 {
            put(member, &format!("k-{i}"), &"x".repeat(1000));
        }
        let delta = ask(member, "/snapshot/delta");
        put(member, "a", "1");
        let full = ask(member, "/snapshot/full");
        // The older full snapshot and its delta go, and nothing else.
        let kept = full["snapName"].as_str().unwrap().to_owned();
        assert_ne!(delta["snapName"], Value::Null);
        until("what is too much is gone", || {
            names(member) == [kept.clone()]
        });
        put(member, "b", "2");
        let last = put(member, "c", "3");
        terminate_server(member);
        assert!(is_covered(member, last), "{last}: {:?}", names(member));
        loses_its_volume(member);
        // It goes on from there, and what it writes connects.
        until("it leads", || member.leads());
        ask(member, "/snapshot/delta");
        let next = put(member, "more", "z");
        let delta = ask(member, "/snapshot/delta");
        let range = (&delta["startRevision"], &delta["lastRevision"]);
        assert_eq!(range, (&json!(next), &json!(next)));
        assert!(server.open_uploads().is_empty());
    }
}

#[test]
fn a_bucket_that_is_away_or_busy_is_named_and_nothing_is_lost() {
    let server = S3Server::start();
    let relay = relay(&server.address().to_string(), Mode::Up);
    let url = format!("http://127.0.0.1:{}", relay.address().port());
    let mut pods = with_s3(V3_5_27, &server, &url, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    put(member, "a", "1");
    ask(member, "/snapshot/delta");
    assert_eq!(member.ask("/backup/healthz").status, 200);

    relay.become_so(Mode::Busy);
    put(member, "b", "2");
    let began = Instant::now();
    let said = member.ask("/snapshot/delta");
    assert_eq!(said.status, 500);
    assert!(said.body.contains("503"), "{}", said.body);
    until("its health says so", || {
        let said = member.ask("/backup/healthz");
        said.status == 503 && said.body.contains("503")
    });
    let (requests, took) = (relay.refused(), began.elapsed());
    // Each upload is tried five times with pauses.
    assert!((6..=15).contains(&requests), "{requests} within {took:?}");
    assert!(
        member
            .ask("/metrics")
            .body
            .contains("druid_backup_healthy 0\n")
    );
    relay.become_so(Mode::Down);
    put(member, "c", "3");
    std::thread::sleep(Duration::from_millis(300));

    relay.become_so(Mode::Up);
    let last = put(member, "d", "4");
    until("it is healthy again", || {
        // Null if the tries by itself were faster.
        get(member.sidecar, "/snapshot/delta").is_some()
            && is_covered(member, last)
            && member.ask("/backup/healthz").status == 200
    });
    loses_its_volume(member);
}

#[test]
fn an_etcd_that_wants_a_password_is_backed_up_and_comes_back_with_it() {
    for release in [V3_4_34, V3_5_27] {
        let login = ["--etcd-username=root", "--etcd-password=secret"];
        let mut pods = with_store(release, &login);
        let member = &mut pods.members[0];
        member.start();
        member.await_ready();
        await_based(member);
        enable_auth(member);
        put(member, "a", "1");
        // Deltas do not tell of users.
        ask(member, "/snapshot/full");
        let last = put(member, "b", "2");
        assert_eq!(ask(member, "/snapshot/delta")["lastRevision"], last);

        // etcd forgets who logged in when it starts again.
        let etcd = Pid::from_raw(member.etcd_pid());
        kill(etcd, Signal::SIGKILL).unwrap();
        member.etcd_ended();
        member.start_etcd();
        member.await_ready();
        log_in(member);
        until("it leads", || member.leads());
        let next = put(member, "c", "3");
        let delta = ask(member, "/snapshot/delta");
        assert_eq!(delta["startRevision"], next, "{delta}");
        loses_its_volume(member);

        // A wrong password is no reason to die, and every reason to say so.
        terminate_server(member);
        let right = member.server_args.pop().unwrap();
        member.server_args.push(right.replace("secret", "wrong"));
        member.start_server();
        until("it says so", || {
            get(member.sidecar, "/backup/healthz").is_some_and(|said| {
                said.status == 503 && said.body.contains("invalid user ID or password")
            })
        });
    }
}

#[test]
fn an_etcd_that_is_behind_its_store_is_told_and_nothing_is_written() {
    let mut pods = with_store(V3_5_27, &[]);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    await_based(member);
    terminate_server(member);
    // While nobody looked, the store became another's, which is at revision 102.
    let genuine = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/v2");
    fs::remove_dir_all(&member.store).unwrap();
    fs::create_dir_all(&member.store).unwrap();
    for entry in fs::read_dir(genuine).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), member.store.join(entry.file_name())).unwrap();
    }
    let before = names(member);
    member.start_server();
    let says = "etcd is at revision 1 and the store has 102";
    until("its health says so", || {
        get(member.sidecar, "/backup/healthz")
            .is_some_and(|said| said.status == 503 && said.body.contains(says))
    });
    for path in [
        "/snapshot/full",
        "/snapshot/delta",
        "/snapshot/full?final=true",
    ] {
        let said = member.ask(path);
        assert_eq!(said.status, 500, "{path}");
        assert!(said.body.contains(says), "{path}: {}", said.body);
    }
    put(member, "a", "1");
    terminate_server(member);
    assert_eq!(names(member), before);
}
