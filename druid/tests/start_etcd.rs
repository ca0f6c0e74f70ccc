//! `druid start-etcd` with genuine etcd, beside `druid server`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod common_agent;
mod common_preflight;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common_agent::{Pods, get, is_alive, send};
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::{Release, until};
use nix::sys::signal::Signal;

/// Until a linearizable read through a bare etcd succeeds.
fn bare(release: Release) -> Duration {
    let pods = Pods::new(release, 1);
    let member = &pods.members[0];
    let began = Instant::now();
    let mut etcd = Command::new(release.path())
        .args(["--name=a-0", "--logger=zap"])
        .arg(format!("--data-dir={}", member.data_dir().display()))
        .arg(format!("--listen-client-urls={}", member.client_url()))
        .arg(format!("--advertise-client-urls={}", member.client_url()))
        .arg(format!("--listen-peer-urls={}", member.peer_url()))
        .arg(format!(
            "--initial-advertise-peer-urls={}",
            member.peer_url()
        ))
        .arg(format!("--initial-cluster=a-0={}", member.peer_url()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("etcd is healthy", || {
        get(member.client, "/health").is_some_and(|said| said.body.contains("true"))
    });
    let took = began.elapsed();
    etcd.kill().unwrap();
    etcd.wait().unwrap();
    took
}

#[test]
fn a_cold_start_adds_less_than_a_second_to_bare_etcd() {
    for release in [V3_4_34, V3_5_27] {
        let bare = bare(release);
        let mut pods = Pods::new(release, 1);
        let member = &mut pods.members[0];
        let began = Instant::now();
        member.start();
        member.await_ready();
        let took = began.elapsed();
        println!("{release:?}: bare {bare:?}, with both programs {took:?}");
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(member.data_dir().join("member/snap/db")), 0o600);
        assert_eq!(mode(member.home.join("etcd.conf.yaml")), 0o600);
        assert!(
            took < bare + Duration::from_secs(1),
            "{took:?} against {bare:?}"
        );
    }
}

#[test]
fn an_orderly_stop_leaves_a_mark_and_the_next_start_looks_quickly() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    assert!(member.log("etcd").contains("mode=\"full\""));
    for (signal, word) in [
        (Signal::SIGTERM, "terminated"),
        (Signal::SIGINT, "interrupt"),
    ] {
        assert_eq!(member.marked(), None, "while etcd runs there is no mark");
        let pid = member.etcd_pid();
        member.signal_etcd(signal);
        assert_eq!(member.etcd_ended().code(), Some(0));
        assert_eq!(member.marked().as_deref(), Some(word));
        assert!(!is_alive(pid));
        member.start_etcd();
        member.await_ready();
        let log = member.log("etcd");
        let asked = log
            .lines()
            .rfind(|line| line.contains("waiting for the data"))
            .unwrap();
        assert!(asked.contains("mode=\"sanity\""), "{asked}");
    }
}

#[test]
fn no_etcd_outlives_a_killed_start_and_the_next_one_looks_thoroughly() {
    for release in [V3_4_34, V3_5_27] {
        let mut pods = Pods::new(release, 1);
        let member = &mut pods.members[0];
        member.start();
        member.await_ready();
        let pid = member.etcd_pid();
        assert!(is_alive(pid));
        member.signal_etcd(Signal::SIGKILL);
        assert_eq!(member.etcd_ended().code(), None);
        until("etcd is gone too", || !is_alive(pid));
        assert_eq!(member.marked(), None);
        member.start_etcd();
        member.await_ready();
        let log = member.log("etcd");
        let asked = log
            .lines()
            .rfind(|line| line.contains("waiting for the data"))
            .unwrap();
        assert!(asked.contains("mode=\"full\""), "{asked}");
    }
}

#[test]
fn an_etcd_that_ends_by_itself_gives_its_exit_code_and_no_mark() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    let pid = nix::unistd::Pid::from_raw(member.etcd_pid());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(member.etcd_ended().code(), Some(137));
    assert_eq!(member.marked(), None);
    // The port is taken: etcd itself refuses, and says 1.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", member.peer)).unwrap();
    member.start_etcd();
    assert_eq!(member.etcd_ended().code(), Some(1));
    assert!(member.log("etcd").contains("address already in use"));
}

#[test]
fn a_second_signal_ends_an_etcd_that_hangs() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    let pid = member.etcd_pid();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    member.signal_etcd(Signal::SIGTERM);
    until("it was told", || {
        member.log("etcd").contains("etcd is asked to stop")
    });
    member.signal_etcd(Signal::SIGTERM);
    assert_eq!(member.etcd_ended().code(), Some(1));
    until("etcd is gone", || !is_alive(pid));
    assert_eq!(member.marked(), None);
}

#[test]
fn stop_is_for_post_alone() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.start();
    member.await_ready();
    assert_eq!(get(member.wrapper, "/stop").unwrap().status, 200);
    assert_eq!(get(member.wrapper, "/nothing").unwrap().status, 404);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_alive(member.etcd_pid()));
    assert_eq!(send(member.wrapper, "POST", "/stop").unwrap().status, 200);
    assert_eq!(member.etcd_ended().code(), Some(0));
    assert_eq!(member.marked().as_deref(), Some("terminated"));
}

#[test]
fn readiness_follows_the_majority_both_ways() {
    let mut pods = Pods::new(V3_5_27, 3);
    pods.members.iter_mut().for_each(common_agent::Pod::start);
    pods.members.iter().for_each(common_agent::Pod::await_ready);
    for index in [1, 2] {
        pods.members[index].signal_etcd(Signal::SIGTERM);
        pods.members[index].etcd_ended();
    }
    let down = common_agent::time("the rest is not ready", || !pods.members[0].is_ready());
    pods.members[1].start_etcd();
    pods.members[1].await_ready();
    let up = common_agent::time("the rest is ready again", || pods.members[0].is_ready());
    println!("not ready {down:?} after the majority was lost, ready {up:?} after it was back");
    assert!(down < Duration::from_secs(5) && up < Duration::from_secs(2));
}

#[test]
fn a_sidecar_that_comes_late_is_waited_for_and_why_is_told() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.start_etcd();
    until("the reason is told", || {
        member.log("etcd").contains("the sidecar does not answer")
    });
    assert!(
        member.log("etcd").contains("onnection refused"),
        "{}",
        member.log("etcd")
    );
    std::thread::sleep(Duration::from_secs(1));
    let told = member
        .log("etcd")
        .matches("the sidecar does not answer")
        .count();
    assert_eq!(told, 1, "the same trouble is told once");
    member.start_server();
    member.await_ready();
}

#[test]
fn a_stop_before_etcd_was_started_changes_nothing() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    fs::write(member.marker(), "terminated").unwrap();
    member.start_etcd();
    until("it waits", || {
        member.log("etcd").contains("waiting for the data")
    });
    member.signal_etcd(Signal::SIGTERM);
    assert_eq!(member.etcd_ended().code(), Some(0));
    assert_eq!(member.marked().as_deref(), Some("terminated"));
    assert!(!member.data_dir().exists());
}

#[test]
fn a_binary_that_is_not_there_is_named() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    member.binary = "/nowhere/etcd".into();
    member.start();
    assert_eq!(member.etcd_ended().code(), Some(1));
    assert!(
        member.log("etcd").contains("/nowhere/etcd: No such file"),
        "{}",
        member.log("etcd")
    );
}

#[test]
fn orphans_of_the_container_are_buried() {
    let mut pods = Pods::new(V3_5_27, 1);
    let member = &mut pods.members[0];
    let script = member.home.join("etcd.sh");
    let real = member.binary.display().to_string();
    // Its child leaves an orphan that ends while etcd runs.
    fs::write(
        &script,
        format!("#!/bin/sh\n(sleep 0.2 &)\nexec {real} \"$@\"\n"),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    member.binary = script;
    member.start();
    member.await_ready();
    std::thread::sleep(Duration::from_millis(500));
    let parent = member.etcd.as_ref().unwrap().id();
    let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let after = stat.rsplit_once(") ")?.1.to_owned();
        let mut fields = after.split(' ');
        let state = fields.next()?.to_owned();
        (fields.next()?.parse() == Ok(parent)).then_some(state)
    });
    let children: Vec<String> = children.collect();
    assert_eq!(children.len(), 1, "etcd alone: {children:?}");
    assert_ne!(children[0], "Z");
}
