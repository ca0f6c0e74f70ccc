//! `cargo xtask cluster`, as a person runs it: a cluster with a node, where containers can run.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot look fails"
)]

mod common_named;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common_named::{Named, UNABLE};

fn kill(pid: i32) {
    let status = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_cluster_with_a_node_comes_up_once_and_leaves_nothing_behind() {
    let cluster = Named::new("once");
    if !cluster.up() {
        return;
    }
    let init = cluster.pid("init").unwrap();
    let status = cluster.says("status");
    assert!(status.contains(": ready, https://198.18."), "{status}");
    assert_eq!(status.matches(" runs, process ").count(), 10, "{status}");
    let env = cluster.says("env");
    for variable in ["KUBECONFIG", "KUBECTL", "AUDIT_LOG", "CONTAINERD_SOCK"] {
        assert!(env.contains(&format!("export {variable}='/")), "{env}");
    }
    assert!(cluster.says("up").contains(": is up\n"));
    assert_eq!(cluster.pid("init"), Some(init));
    let other = cluster.command("up").arg("--control-plane-only").output();
    let why = String::from_utf8(other.unwrap().stderr).unwrap();
    assert!(
        why.contains("is up with a node; take it down first"),
        "{why}"
    );

    // One that is broken is replaced as a whole.
    let broken = cluster.traces();
    kill(cluster.pid("kubelet").unwrap());
    let output = cluster.run("status");
    let status = String::from_utf8(output.stdout).unwrap();
    assert!(status.contains("kubelet has ended"), "{status}");
    assert!(!output.status.success());
    assert!(cluster.up());
    assert_ne!(cluster.pid("init"), Some(init));
    // The new one has its directory, and may have namespaces of the same numbers.
    let left = broken.left().unwrap();
    assert!(
        !left.iter().any(|it| it.starts_with("the control group ")),
        "{left:?}"
    );

    let traces = cluster.traces();
    assert!(traces.left().unwrap().len() > 20);
    assert!(cluster.says("down").ends_with(": down\n"));
    assert_eq!(traces.left().unwrap(), nothing());
    assert!(cluster.says("down").ends_with(": was not up\n"));
}

#[test]
fn an_up_that_is_killed_leaves_nothing_once_the_cluster_is_taken_down() {
    let cluster = Named::new("killed");
    if !cluster.up() {
        return;
    }
    cluster.says("down");
    for process in ["init", "containerd", "kubelet", "coredns"] {
        let mut up = cluster.command("up").stdout(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while cluster.pid(process).is_none() {
            assert!(start.elapsed() < Duration::from_mins(2), "no {process}");
            assert!(up.try_wait().unwrap().is_none(), "before {process}");
            std::thread::sleep(Duration::from_millis(1));
        }
        up.kill().unwrap();
        up.wait().unwrap();
        // It may have ended by itself: it was told to go on, or it was not.
        let traces = cluster
            .pid("init")
            .filter(|pid| is_there(*pid))
            .map(|_| cluster.traces());
        assert!(cluster.says("down").ends_with(": down\n"));
        if let Some(traces) = traces {
            assert_eq!(traces.left().unwrap(), nothing(), "after {process}");
        }
        assert!(!cluster.directory().exists());
    }
}

fn is_there(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}/ns/net"))
        .read_link()
        .is_ok()
}

#[test]
fn an_ordinary_user_is_told_why_there_is_no_node_and_programs_by_the_exit_status() {
    // Where it can be run by anybody.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), everybody).unwrap();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if is_root {
        let mut other = Command::new("setpriv");
        let words = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        other.args(words).arg(&program);
        other
    } else {
        Command::new(&program)
    };
    let output = command.args(["cluster", "up"]).output().unwrap();
    let why = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(UNABLE), "{why}");
    assert!(why.contains("run this as root"), "{why}");
}
