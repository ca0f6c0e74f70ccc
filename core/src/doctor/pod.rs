//! How a pod is, in a few words.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

/// How a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodState {
    /// As it should be.
    Ready,
    /// In some other way.
    Other(String),
}

impl PodState {
    /// As it is shown.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Ready => "ready",
            Self::Other(words) => words,
        }
    }
}

/// How a pod is.
pub(super) fn state(pod: &Pod) -> PodState {
    let nothing = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&nothing);
    if pod.metadata.deletion_timestamp.is_some() {
        return PodState::Other("being deleted".to_owned());
    }
    if is_true(status, "Ready") {
        return PodState::Ready;
    }
    let words = unscheduled(status)
        .or_else(|| {
            let init = status.init_container_statuses.iter().flatten();
            let mut all = init.chain(status.container_statuses.iter().flatten());
            all.find_map(stuck)
        })
        .or_else(|| status.reason.clone())
        .unwrap_or_else(|| "not ready".to_owned());
    PodState::Other(words)
}

fn is_true(status: &PodStatus, kind: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|it| it.type_ == kind && it.status == "True")
}

/// Why it runs nowhere.
fn unscheduled(status: &PodStatus) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
    let message = condition.message.as_deref().unwrap_or_default();
    Some(format!("runs on no node: {message}"))
}

/// Why a container does not run: it waits for its image, or ends again and again.
fn stuck(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    let reason = |it: Option<&String>| it.cloned().unwrap_or_default();
    let words = match (&state.waiting, &state.terminated) {
        (Some(waiting), _) => reason(waiting.reason.as_ref()),
        (None, Some(ended)) if ended.exit_code != 0 => {
            format!("ended with {}", ended.exit_code)
        }
        (None, _) if !container.ready && state.running.is_some() => "not ready".to_owned(),
        (None, _) => return None,
    };
    // Nothing has gone wrong yet.
    if words == "PodInitializing" {
        return None;
    }
    match container.restart_count {
        0 => Some(format!("{name}: {words}")),
        1 => Some(format!("{name}: {words}, 1 restart")),
        times => Some(format!("{name}: {words}, {times} restarts")),
    }
}
