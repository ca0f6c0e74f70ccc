//! When a node is ready, and what it still lacks.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::super::control_plane::{kubectl, last_lines};
use super::super::layout::Layout;
use super::super::tools::Tools;
use super::plan::NODE;
use super::{NodeError, Started, room};

/// From the start of the kubelet. It takes 5 s on two idle cores.
pub(super) const WITHIN: Duration = Duration::from_mins(3);
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Until images can be loaded.
pub(super) fn await_containerd(started: &mut Started, layout: &Layout) -> Result<(), NodeError> {
    let start = Instant::now();
    // From outside its path may be too long for a socket.
    let root = PathBuf::from(format!("/proc/{}/root", started.room.init().pid()));
    let socket = room::seen().containerd_socket();
    let socket = root.join(socket.strip_prefix("/").unwrap_or(&socket));
    while UnixStream::connect(&socket).is_err() {
        started.check(layout)?;
        if start.elapsed() > WITHIN {
            return Err(not_ready("containerd", layout, "containerd"));
        }
        std::thread::sleep(POLL_EVERY);
    }
    Ok(())
}

fn not_ready(missing: &'static str, layout: &Layout, component: &str) -> NodeError {
    let log = layout.log(component);
    let last = last_lines(&log);
    NodeError::NotReady { missing, log, last }
}

/// Until a pod would run.
pub(super) fn await_node(
    started: &mut Started,
    tools: &Tools,
    layout: &Layout,
) -> Result<(), NodeError> {
    let start = Instant::now();
    loop {
        started.check(layout)?;
        match missing(tools, layout) {
            None => return Ok(()),
            Some((what, component)) if start.elapsed() > WITHIN => {
                return Err(not_ready(what, layout, component));
            }
            Some(_) => std::thread::sleep(POLL_EVERY),
        }
    }
}

/// What a pod would wait for, and the component that should have seen to it.
pub(crate) fn missing(tools: &Tools, layout: &Layout) -> Option<(&'static str, &'static str)> {
    let get = |path: &str| {
        kubectl(tools, layout)
            .args(["get", "--request-timeout=5s", "--raw", path])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| output.stdout)
    };
    if get(&format!("/api/v1/nodes/{NODE}")).is_none_or(|node| !is_ready(&node)) {
        return Some(("the node does not say that it is ready", "kubelet"));
    }
    if get("/api/v1/namespaces/default/serviceaccounts/default").is_none() {
        let what = "the namespace `default` has no service account";
        return Some((what, "kube-controller-manager"));
    }
    None
}

/// Of a `Node` in JSON.
fn is_ready(node: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Node {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        conditions: Vec<Condition>,
    }
    #[derive(Deserialize)]
    struct Condition {
        #[serde(rename = "type")]
        kind: String,
        status: String,
    }
    serde_json::from_slice::<Node>(node).is_ok_and(|node| {
        let mut conditions = node.status.conditions.iter();
        conditions.any(|it| it.kind == "Ready" && it.status == "True")
    })
}
