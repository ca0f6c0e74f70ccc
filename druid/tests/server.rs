//! `druid server`, mostly beside `druid start-etcd` and genuine etcd.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod common_agent;
mod common_preflight;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common_agent::backed::enable_auth;
use common_agent::{Pod, Pods, get, time};
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::{Release, until};
use druid_core::agent::member::{joined, told};
use druid_core::observed::{Answer, Answered, Etcd};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// Starts members that exist, and waits.
fn running(release: Release, count: usize) -> Pods {
    let mut pods = Pods::new(release, count);
    pods.members.iter_mut().for_each(Pod::start);
    pods.members.iter().for_each(Pod::await_ready);
    pods
}

fn config_line(member: &Pod, key: &str) -> String {
    let said = member.ask("/config");
    assert_eq!(said.status, 200, "{}", said.body);
    let wanted = format!("{key}: ");
    let line = said
        .body
        .lines()
        .find_map(|line| line.strip_prefix(&wanted));
    line.unwrap().trim_matches('"').to_owned()
}

#[test]
fn three_members_without_data_are_given_their_configuration_within_three_seconds() {
    for release in [V3_4_34, V3_5_27] {
        let mut pods = Pods::new(release, 3);
        let began = Instant::now();
        pods.members.iter_mut().for_each(Pod::start);
        let told = |it: &Pod| it.log("etcd").contains("the configuration is here");
        let given = time("all have it", || pods.members.iter().all(told));
        pods.members.iter().for_each(Pod::await_ready);
        let ready = began.elapsed();
        println!("{release:?}: initialisation and configuration {given:?}, all ready {ready:?}");
        assert!(given < Duration::from_secs(3), "{given:?}");
        until("one leads", || pods.members.iter().any(Pod::leads));
        let leaders = pods.members.iter().filter(|it| it.leads()).count();
        assert_eq!(leaders, 1);
        for member in &pods.members {
            assert!(
                member.log("server").contains("action=Begin")
                    || member.log("server").contains("action=Follow")
            );
        }
    }
}

#[test]
fn the_paths_answer_as_etcd_backup_restore_does() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.start_server();
    until("the server listens", || {
        get(member.sidecar, "/healthz").is_some()
    });
    let health = member.ask("/healthz");
    assert_eq!(
        (health.status, health.body.as_str()),
        (503, "{\"health\":false}")
    );
    assert_eq!(member.ask("/initialization/status").body, "New");
    assert_eq!(member.initialise("full"), "Successful");
    // Whoever reads it takes nothing away.
    assert_eq!(member.ask("/initialization/status").body, "Successful");
    assert_eq!(member.initialise("sanity"), "Successful");
    for path in [
        "/snapshot/full",
        "/snapshot/full?final=true",
        "/snapshot/delta",
        "/snapshot/latest",
    ] {
        assert_eq!(member.ask(path).status, 405, "{path}");
    }
    assert_eq!(member.ask("/snapshot/full?final=perhaps").status, 400);
    assert_eq!(member.ask("/nothing").status, 404);
    let metrics = member.ask("/metrics");
    assert!(
        metrics
            .headers
            .contains("content-type: text/plain; version=0.0.4")
    );
    assert!(
        metrics
            .body
            .contains("\netcdbr_validation_duration_seconds_count{succeeded=\"true\"} 2\n")
    );
    assert!(!metrics.headers.contains("strict-transport-security"));
    // There is no store that could be behind.
    assert!(!metrics.body.contains("druid_backup"));
    is_silent(member);
    member.start_etcd();
    member.await_ready();
    let said = said_of(member);
    let status = said.members[&"main-0".into()].status().unwrap();
    assert_eq!(status.version.to_string(), "3.5.27");
    assert!(status.db_size > 0 && status.revision > 0, "{status:?}");
    assert_eq!(said.alarms, Answered::Known(Vec::new()));
    let Answered::Known(listed) = &said.membership else {
        panic!("{said:?}");
    };
    assert_eq!(listed.len(), 1, "{listed:?}");
    until("it leads", || member.leads());
    assert_eq!(member.ask("/healthz").body, "{\"health\":true}");
    // etcd was started with the result: it is used up.
    assert_eq!(member.ask("/initialization/status").body, "New");
    assert_eq!(member.ask("/backup/healthz").status, 200);
    // Looking at data that etcd has open fails, and does no harm.
    assert_eq!(member.initialise("full"), "Failed");
    assert!(member.log("server").contains("another process holds"));
    assert!(member.is_ready());
    // One that hangs is silent, too, and its sidecar is not.
    let etcd = Pid::from_raw(member.etcd_pid());
    kill(etcd, Signal::SIGSTOP).unwrap();
    is_silent(member);
    kill(etcd, Signal::SIGCONT).unwrap();
    member.signal_etcd(Signal::SIGTERM);
    member.etcd_ended();
    until("it does not lead", || !member.leads());
}

/// What the sidecar says of its member.
fn said_of(member: &Pod) -> Etcd {
    let said = member.ask("/member");
    let told = told(said.status, said.body.as_bytes()).unwrap();
    joined([("main-0".into(), told)].into()).unwrap()
}

fn is_silent(member: &Pod) {
    let said = said_of(member);
    let answer = &said.members[&"main-0".into()];
    assert!(matches!(answer, Answer::Silent(_)), "{said:?}");
    assert!(matches!(said.membership, Answered::Unknown(_)), "{said:?}");
}

#[test]
fn the_configuration_is_that_of_this_member_alone() {
    let mut pods = Pods::new(V3_5_27, 3);
    pods.members[1].start_server();
    let member = &pods.members[1];
    until("the server listens", || {
        get(member.sidecar, "/healthz").is_some()
    });
    assert_eq!(config_line(member, "name"), "a-1");
    assert_eq!(
        config_line(member, "advertise-client-urls"),
        member.client_url()
    );
    assert_eq!(
        config_line(member, "initial-advertise-peer-urls"),
        member.peer_url()
    );
    assert_eq!(config_line(member, "initial-cluster-state"), "new");
    assert_eq!(config_line(member, "quota-backend-bytes"), "8589934592");
    assert_eq!(config_line(member, "initial-cluster").split(',').count(), 3);
    // It is read when it is asked for: a platform changes it while we run.
    pods.mounted["advertise-client-urls"]
        .as_object_mut()
        .unwrap()
        .remove("a-1");
    pods.write_mounted();
    let said = pods.members[1].ask("/config");
    assert_eq!(said.status, 500);
    assert!(
        said.body.contains("advertise-client-urls") && said.body.contains("a-1"),
        "{}",
        said.body
    );
}

#[test]
fn another_s_volume_is_refused_and_left_as_it_is() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    let guard = member.home.join("data/safe_guard");
    fs::write(&guard, "other").unwrap();
    member.start_server();
    assert_eq!(member.initialise("full"), "Failed");
    let log = member.log("server");
    assert!(log.contains("the volume belongs to other"), "{log}");
    assert_eq!(fs::read(&guard).unwrap(), b"other");
    assert!(!member.data_dir().exists());
    // The remedy that it names works.
    fs::remove_file(&guard).unwrap();
    assert_eq!(member.initialise("full"), "Successful");
    assert_eq!(fs::read(&guard).unwrap(), b"ns");
}

#[test]
fn a_member_that_lost_its_data_joins_again_and_votes_again() {
    for (release, auth) in [(V3_4_34, false), (V3_5_27, false), (V3_5_27, true)] {
        let mut pods = Pods::new(release, 3);
        if auth {
            pods.mounted["enable-grpc-gateway"] = json!(true);
            pods.write_mounted();
            let login = ["--etcd-username=root", "--etcd-password=secret"];
            for member in &mut pods.members {
                member.server_args.extend(login.map(str::to_owned));
            }
        }
        pods.members.iter_mut().for_each(Pod::start);
        pods.members.iter().for_each(Pod::await_ready);
        if auth {
            enable_auth(&mut pods.members[0]);
        }
        let member = &mut pods.members[2];
        member.signal_etcd(Signal::SIGTERM);
        member.etcd_ended();
        fs::rename(member.data_dir(), member.home.join("lost")).unwrap();
        member.start_etcd();
        let took = time("it is ready again", || member.is_ready());
        println!("{release:?}, auth {auth}: joined again in {took:?}");
        let log = member.log("server");
        assert!(log.contains("action=Rejoin"), "{log}");
        until("it votes", || {
            member.log("server").contains("this learner may vote now")
        });
        until("it says so", || {
            get(member.sidecar, "/metrics")
                .unwrap()
                .body
                .contains("\netcdbr_is_learner 0\n")
        });
        assert!(member.ask("/metrics").body.contains(
            "etcdbr_restoration_duration_seconds_count{restore=\"single_member\",succeeded=\"true\"} 1"
        ));
    }
}

#[test]
fn a_cluster_grows_by_learners_that_get_a_vote() {
    let mut pods = Pods::new(V3_5_27, 3);
    pods.mount(1);
    pods.members[0].start();
    pods.members[0].await_ready();
    pods.mount(3);
    for index in [1, 2] {
        pods.members[index].start();
        pods.members[index].await_ready();
        let log = pods.members[index].log("server");
        assert!(log.contains("action=Join"), "{log}");
        until("it votes", || {
            pods.members[index]
                .log("server")
                .contains("this learner may vote now")
        });
    }
    // Now two are enough.
    pods.members[0].signal_etcd(Signal::SIGTERM);
    pods.members[0].etcd_ended();
    until("another leads", || {
        pods.members[1].leads() || pods.members[2].leads()
    });
}

#[test]
fn a_member_with_data_does_not_wait_for_a_majority_that_is_gone() {
    let mut pods = running(V3_5_27, 3);
    for member in &mut pods.members {
        member.signal_etcd(Signal::SIGTERM);
    }
    for member in &mut pods.members {
        member.etcd_ended();
    }
    // One comes back alone, and hangs for want of a majority; the next must not wait for it.
    pods.members[0].start_etcd();
    until("the first runs", || {
        pods.members[0]
            .log("etcd")
            .matches("etcd was started")
            .count()
            == 2
    });
    pods.members[1].start_etcd();
    let took = time("the second runs too", || pods.members[1].is_ready());
    println!("a majority again after {took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(pods.members[1].log("server").contains("action=Keep"));
}

#[test]
fn peer_urls_that_differ_from_the_configuration_are_corrected() {
    let mut pods = running(V3_5_27, 1);
    let own = pods.members[0].peer_url();
    pods.mounted["initial-advertise-peer-urls"] = json!({"a-0": [own, "http://127.0.0.1:9"]});
    pods.write_mounted();
    let member = &mut pods.members[0];
    let mut old = member.server.take().unwrap();
    old.kill().unwrap();
    old.wait().unwrap();
    member.start_server();
    until("they are corrected", || {
        member
            .log("server")
            .contains("start etcd again, so that it listens")
    });
    let members = get(member.peer, "/members").unwrap().body;
    assert!(members.contains("http://127.0.0.1:9\""), "{members}");
}

#[test]
fn a_server_ends_at_once_when_it_is_asked_to() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.start_server();
    until("the server listens", || {
        get(member.sidecar, "/healthz").is_some()
    });
    let mut server = member.server.take().unwrap();
    let pid = Pid::from_raw(server.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let took = time("it has ended", || server.try_wait().unwrap().is_some());
    assert_eq!(server.wait().unwrap().code(), Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// What the operator passes, but for the store.
#[test]
fn the_operator_s_command_line_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let port = common_preflight::free_ports(1)[0];
    let mut server = Command::new(cargo_bin("druid"))
        .args([
            "server",
            &format!("--server-port={port}"),
            "--schedule=0 */24 * * *",
            "--delta-snapshot-period=5m0s",
            "--delta-snapshot-retention-period=0s",
            "--delta-snapshot-memory-limit=104857600",
            "--garbage-collection-policy=LimitBased",
            "--max-backups=7",
            "--garbage-collection-period=12h0m0s",
            "--compress-snapshots=true",
            "--compression-policy=gzip",
            "--etcd-snapshot-timeout=15m",
            "--enable-snapshot-lease-renewal=true",
            "--full-snapshot-lease-name=a-full-snap",
            "--delta-snapshot-lease-name=a-delta-snap",
            "--defragmentation-schedule=0 */24 * * *",
            "--etcd-defrag-timeout=15m",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=30m",
            "--insecure-transport=true",
            "--insecure-skip-tls-verify=true",
            "--endpoints=http://127.0.0.1:1",
            "--service-endpoints=http://127.0.0.1:1",
            "--data-dir=/var/etcd/data/new.etcd",
            "--restoration-temp-snapshots-dir=/var/etcd/data/restoration.temp",
            "--etcd-connection-timeout=5m",
            "--use-etcd-wrapper=true",
            "--enable-member-lease-renewal=true",
            "--k8s-heartbeat-duration=10s",
            "--embedded-etcd-quota-bytes=8589934592",
            "--enable-profiling=true",
            "--etcd-connection-timeout-leader-election=5s",
            "--reelection-period=5s",
        ])
        .env("HOME", dir.path())
        .env_remove("POD_NAME")
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let up = time("it serves", || get(port, "/healthz").is_some());
    server.kill().unwrap();
    server.wait().unwrap();
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    for told in [
        "--auto-compaction-mode has no effect",
        "no leases are kept: POD_NAME",
    ] {
        assert!(log.contains(told), "{log}");
    }
    assert!(up < Duration::from_secs(5));
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_with_the_flag() {
    for (arg, says) in [
        (
            "--defragmentation-schedule=never",
            "--defragmentation-schedule",
        ),
        ("--endpoints=127.0.0.1:2379", "--endpoints"),
        ("--reelection-period=10ms", "--reelection-period"),
        ("--etcd-defrag-timeout=15", "15"),
        ("--server-cert=/x", "--server-key"),
    ] {
        let output = Command::new(cargo_bin("druid"))
            .args(["server", arg])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(says),
            "{arg}: {said}"
        );
    }
}
