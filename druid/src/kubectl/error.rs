//! Why a command did not do what it was asked for.

use std::path::PathBuf;
use std::time::Duration;

use druid_core::cli::{NoSense, NotChosen, Unanswered};
use kube::config::{InClusterError, KubeconfigError};
use thiserror::Error;

use crate::members::MembersError;

/// Why a command did not do what it was asked for.
#[derive(Debug, Error)]
pub(super) enum KubectlError {
    /// Nobody says where the API server is.
    #[error(
        "there is no kubeconfig ({}); name one with --kubeconfig or in KUBECONFIG",
        looked.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoKubeconfig {
        /// Where one was looked for.
        looked: Vec<PathBuf>,
    },
    /// It cannot be read, or does not name an API server.
    #[error("the kubeconfig cannot be used: {}; correct it, or name another with --kubeconfig", why(.0))]
    Kubeconfig(KubeconfigError),
    /// There is no such context.
    #[error("the kubeconfig has no context {name:?}; {}", choices(contexts))]
    NoContext {
        /// Which.
        name: String,
        /// Those that there are.
        contexts: Vec<String>,
    },
    /// What is asked for may lose data.
    #[error(
        "a recovery stops all members of Etcd {0}, and gives up what only lost members had; if that is \
         wanted: kubectl druid recover {0} --confirm"
    )]
    Unconfirmed(String),
    /// No context was chosen.
    #[error("the kubeconfig has no current context; {}", choices(contexts))]
    NoCurrentContext {
        /// Those that there are.
        contexts: Vec<String>,
    },
    /// The service account of this pod cannot be used.
    #[error("the service account of this pod cannot be used: {}; name a kubeconfig with --kubeconfig", why(.0))]
    InCluster(InClusterError),
    /// The login failed.
    #[error(
        "cannot log in to {server}: {}; correct the user in the kubeconfig",
        why(source)
    )]
    Login {
        /// The API server.
        server: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The login takes too long.
    #[error("the kubeconfig and the login that it asks for took longer than {} s", .0.as_secs())]
    LoginDeadline(Duration),
    /// The API server cannot be reached.
    #[error(
        "cannot {what}: the API server {server} was not reached ({}); see whether the kubeconfig names the right one",
        why(source)
    )]
    Unreachable {
        /// What was asked for.
        what: &'static str,
        /// The API server.
        server: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It does not answer.
    #[error("cannot {what}: the API server {server} did not answer within {} s; try again", limit.as_secs())]
    Deadline {
        /// What was asked for.
        what: &'static str,
        /// The API server.
        server: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// There is no such Etcd.
    #[error(
        "there is no Etcd {name} in namespace {namespace}; choose a namespace with -n, or see `kubectl druid list -A`"
    )]
    NoEtcd {
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// There is no such namespace.
    #[error("there is no namespace {0}; choose one with -n")]
    NoNamespace(String),
    /// The API server does not know the kind.
    #[error(
        "cannot {what}: the API server {server} has no such kind; apply the definitions: druid crds | kubectl apply --server-side -f -"
    )]
    NoDefinition {
        /// What was asked for.
        what: &'static str,
        /// The API server.
        server: String,
    },
    /// We may not.
    #[error("cannot {what}: {message}; ask for that right, or choose another user with --context")]
    Forbidden {
        /// What was asked for.
        what: &'static str,
        /// What the API server said.
        message: String,
    },
    /// It does not know us.
    #[error(
        "cannot {what}: the API server {server} does not know who you are; log in again, or choose another user with --context"
    )]
    Unauthorized {
        /// What was asked for.
        what: &'static str,
        /// The API server.
        server: String,
    },
    /// It says no for another reason.
    #[error("cannot {what}: the API server says {code}: {message}")]
    Answer {
        /// What was asked for.
        what: &'static str,
        /// The HTTP status.
        code: u16,
        /// What it said.
        message: String,
    },
    /// The Etcd is not what we think an Etcd is.
    #[error("Etcd {name} cannot be read ({why}); update kubectl-druid")]
    Unreadable {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The definition of Etcds is an older one.
    #[error(
        "the API server has dropped spec.upgrade of Etcd {0}: its definition is not druid's; apply \
         it: druid crds etcds | kubectl apply --server-side -f -"
    )]
    Dropped(String),
    /// The members cannot be asked.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// What is wanted makes no sense.
    #[error("Etcd {name}: {why}")]
    NoSense {
        /// The Etcd.
        name: String,
        /// Why not.
        why: NoSense,
    },
    /// It is not said which Etcds are meant.
    #[error(transparent)]
    NotChosen(#[from] NotChosen),
    /// Nobody has said yes.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// Somebody has said no.
    #[error("nothing was changed")]
    Declined,
    /// The task came to nothing.
    #[error("EtcdOpsTask {task}: {said}")]
    Task {
        /// Its name.
        task: String,
        /// What its status says.
        said: String,
    },
    /// The task did not end in time.
    #[error(
        "EtcdOpsTask {task} is not over after {} s ({said}); it goes on: kubectl get eot {task} -n {namespace}",
        limit.as_secs()
    )]
    TaskDeadline {
        /// Its name.
        task: String,
        /// Its namespace.
        namespace: String,
        /// How it is.
        said: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl KubectlError {
    /// Whether the API server knows the kind, and not the object.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Answer { code: 404, .. })
    }

    /// Whether the same request may be answered otherwise in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Deadline { .. } => true,
            Self::Answer { code, .. } => *code == 429 || *code >= 500,
            Self::NoKubeconfig { .. }
            | Self::Unconfirmed(_)
            | Self::Kubeconfig(_)
            | Self::NoContext { .. }
            | Self::NoCurrentContext { .. }
            | Self::InCluster(_)
            | Self::Login { .. }
            | Self::LoginDeadline(_)
            | Self::NoEtcd { .. }
            | Self::NoNamespace(_)
            | Self::NoDefinition { .. }
            | Self::Forbidden { .. }
            | Self::Unauthorized { .. }
            | Self::Unreadable { .. }
            | Self::Dropped(_)
            | Self::Members(_)
            | Self::NoSense { .. }
            | Self::NotChosen(_)
            | Self::Unanswered(_)
            | Self::Declined
            | Self::Task { .. }
            | Self::TaskDeadline { .. } => false,
        }
    }
}

/// The error and its causes, each said once.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

fn choices(contexts: &[String]) -> String {
    match contexts {
        [] => "it has none at all: name another with --kubeconfig".to_owned(),
        some => format!("choose one with --context: {}", some.join(", ")),
    }
}
