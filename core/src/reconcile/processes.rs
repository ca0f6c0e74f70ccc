//! Pods, as the engine of upgrades sees them.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use sha2::{Digest as _, Sha256};

use crate::make::Make;
pub use crate::observed::Process;

/// The container of etcd.
const ETCD: &str = "etcd";

/// Why a container waits, if that does not pass by itself.
const HOPELESS: [&str; 6] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// Those of them that are about the image.
const NO_IMAGE: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"];

/// It was started again and again.
const LOOPS: &str = "CrashLoopBackOff";

/// What is known of a pod that was created anew has another number: it is made from the uid.
pub fn incarnation(pod: &Pod) -> u64 {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let digest = Sha256::digest(uid.as_bytes());
    let first = digest.iter().take(8);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Whether a pod takes traffic.
pub fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}

/// The address of a pod, once it has one.
pub fn endpoint(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref()
}

/// One pod, and what it was made from. `enough`: so many exits are a failure; an image that cannot be
/// had counts as so many.
pub fn process(pod: Option<&Pod>, make: Make, enough: u32) -> Process {
    let Some(pod) = pod else {
        return Process::Absent;
    };
    let incarnation = incarnation(pod);
    let status = pod.status.as_ref();
    let all = [
        status.and_then(|it| it.container_statuses.as_ref()),
        status.and_then(|it| it.init_container_statuses.as_ref()),
    ];
    // etcd first: what it says is what people look for.
    let mut containers: Vec<_> = all.into_iter().flatten().flatten().collect();
    containers.sort_by_key(|it| it.name != ETCD);
    let failed = containers.into_iter().find_map(|it| failed(it, enough));
    match failed {
        Some((exits, last_words)) if pod.metadata.deletion_timestamp.is_none() => {
            Process::Failing {
                incarnation,
                make,
                exits,
                last_words,
            }
        }
        Some(_) | None => Process::Running { incarnation, make },
    }
}

/// Whether a pod waits for an image that cannot be had, of a container that has never run in it. Such a
/// member has not started: etcd waits for its sidecar, and both for the init containers. Another pod in
/// its place takes nothing from anybody.
pub fn stranded(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let all = [
        status.and_then(|it| it.container_statuses.as_ref()),
        status.and_then(|it| it.init_container_statuses.as_ref()),
    ];
    let waits = |container: &ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|it| it.waiting.as_ref());
        let reason = waiting.and_then(|it| it.reason.as_deref());
        let before = container.last_state.as_ref();
        let ran = container.restart_count > 0 || before.is_some_and(|it| it.terminated.is_some());
        reason.is_some_and(|it| NO_IMAGE.contains(&it)) && !ran
    };
    pod.metadata.deletion_timestamp.is_none() && all.into_iter().flatten().flatten().any(waits)
}

fn failed(container: &ContainerStatus, enough: u32) -> Option<(u32, String)> {
    let state = container.state.as_ref()?;
    let restarts = u32::try_from(container.restart_count).unwrap_or_default();
    let name = &container.name;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        if HOPELESS.contains(&reason) {
            return Some((enough, format!("{name}: {reason}: {message}")));
        }
        if reason == LOOPS {
            let last = container.last_state.as_ref().and_then(ended);
            let last = last.map_or_else(|| message.to_owned(), |(_, words)| words);
            return Some((restarts.max(1), format!("{name}: {last}")));
        }
        return None;
    }
    let (failed, words) = ended(state)?;
    // An init container that is done has ended as it should.
    failed.then(|| (restarts + 1, format!("{name}: {words}")))
}

/// Whether it failed, and its last words.
fn ended(state: &ContainerState) -> Option<(bool, String)> {
    let ended = state.terminated.as_ref()?;
    let reason = ended.reason.as_deref().unwrap_or("ended");
    let words = match ended.message.as_deref().map(str::trim) {
        Some(message) if !message.is_empty() => message.to_owned(),
        Some(_) | None => format!("{reason}, exit code {}", ended.exit_code),
    };
    Some((reason != "Completed", words))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::version::Version;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "e-0", "uid": "u1" }, "status": status,
        }))
        .unwrap()
    }

    fn of(containers: &Value) -> Process {
        let pod = pod(&json!({ "containerStatuses": containers }));
        process(Some(&pod), Make::plain(Version::new(3, 4, 34)), 2)
    }

    fn container(name: &str, restarts: i32, state: &Value) -> Value {
        json!({
            "name": name, "restartCount": restarts, "state": state, "image": "i", "imageID": "",
            "ready": false, "lastState": {
                "terminated": { "exitCode": 2, "reason": "Error", "message": "panic: no\n" }
            },
        })
    }

    fn failing(process: &Process) -> Option<(u32, &str)> {
        match process {
            Process::Failing {
                exits, last_words, ..
            } => Some((*exits, last_words)),
            Process::Absent | Process::Running { .. } => None,
        }
    }

    #[test]
    fn only_one_that_never_ran_for_want_of_an_image_is_stranded() {
        let waits = |reason: &str| json!({ "waiting": { "reason": reason } });
        let never = |state: &Value| {
            let mut container = container("backup-restore", 0, state);
            container["lastState"] = json!({});
            container
        };
        let is = |containers: &str, container: Value| {
            stranded(&pod(&json!({ containers: [container] })))
        };
        for reason in NO_IMAGE {
            assert!(is("containerStatuses", never(&waits(reason))), "{reason}");
            assert!(
                is("initContainerStatuses", never(&waits(reason))),
                "{reason}"
            );
        }
        assert!(!is("containerStatuses", never(&waits("ContainerCreating"))));
        assert!(!is("containerStatuses", never(&waits("CrashLoopBackOff"))));
        assert!(!is("containerStatuses", never(&json!({ "running": {} }))));
        let image = waits("ImagePullBackOff");
        assert!(!is("containerStatuses", container("etcd", 0, &image)));
        let mut restarted = never(&image);
        restarted["restartCount"] = json!(1);
        assert!(!is("containerStatuses", restarted));
        let mut leaves = pod(&json!({ "containerStatuses": [never(&image)] }));
        assert!(stranded(&leaves));
        leaves.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-11-24T10:20:00Z")).unwrap());
        assert!(!stranded(&leaves));
        assert!(!stranded(&Pod::default()));
    }

    #[test]
    fn a_container_that_runs_is_no_failure_however_often_it_was_started() {
        let running = json!({ "running": {} });
        let process = of(&json!([container("etcd", 4, &running)]));
        assert_eq!(failing(&process), None);
        let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
        assert_eq!(
            failing(&of(&json!([container("etcd", 0, &creating)]))),
            None
        );
    }

    #[test]
    fn one_that_keeps_ending_says_how_often_and_its_last_words() {
        let loops = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } });
        let process = of(&json!([container("etcd", 1, &loops)]));
        assert_eq!(failing(&process), Some((1, "etcd: panic: no")));
        let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
        let process = of(&json!([container("etcd", 1, &ended)]));
        assert_eq!(failing(&process), Some((2, "etcd: Error, exit code 1")));
        let done = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
        assert_eq!(failing(&of(&json!([container("init", 0, &done)]))), None);
    }

    #[test]
    fn an_image_that_cannot_be_had_is_a_failure_at_once() {
        let pull = json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } });
        let running = json!({ "running": {} });
        let both = json!([
            container("backup-restore", 0, &running),
            container("etcd", 0, &pull)
        ]);
        let words = "etcd: ErrImagePull: not found";
        assert_eq!(failing(&of(&both)), Some((2, words)));
    }

    #[test]
    fn a_pod_that_goes_does_not_fail_and_is_not_ready() {
        let loops = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let mut pod = pod(&json!({
            "containerStatuses": [container("etcd", 3, &loops)],
            "conditions": [{ "type": "Ready", "status": "True" }],
        }));
        assert!(ready(&pod));
        pod.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let process = process(Some(&pod), Make::plain(Version::new(3, 4, 34)), 2);
        assert_eq!((failing(&process), ready(&pod)), (None, false));
    }

    #[test]
    fn another_pod_is_another_incarnation() {
        let mut other = pod(&json!({}));
        let first = incarnation(&other);
        assert_eq!(first, incarnation(&pod(&json!({}))));
        other.metadata.uid = Some("u2".to_owned());
        assert_ne!(first, incarnation(&other));
    }
}
