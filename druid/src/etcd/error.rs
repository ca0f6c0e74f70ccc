//! What can go wrong in a call to a member, told apart once, here.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};

use super::Endpoint;

const HANDSHAKE_EOF: &str = "tls handshake eof";
const NOT_TLS: &str =
    "the member does not seem to speak TLS there; write http:// instead of https://";

/// A call that failed, and on which member.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{call} on {endpoint}: {kind}")]
pub(crate) struct Error {
    /// Such as `Put` or `GET /version`.
    pub(crate) call: &'static str,
    /// Which member.
    pub(crate) endpoint: Endpoint,
    /// What went wrong.
    pub(crate) kind: Kind,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Kind {
    /// No answer in time; connecting counts.
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    /// No connection, so the request was never sent.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The connection broke, or the member was stopping, while the request was under way.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// TLS could not be agreed on; never sent.
    #[error("{0}")]
    Tls(String),
    /// etcd gave up waiting for its own proposal, which may yet be applied.
    #[error("etcd: {0}")]
    RequestTimedOut(String),
    /// The leader changed while the request waited.
    #[error("etcd: the leader changed")]
    LeaderChanged,
    /// Nobody leads; nothing was proposed.
    #[error("etcd: there is no leader")]
    NoLeader,
    /// The request is for the leader, and this member is not it.
    #[error("etcd: this member is not the leader")]
    NotLeader,
    /// The revision is gone; the number is the first that is left, where etcd says it.
    #[error("etcd: the revision has been compacted")]
    Compacted(Option<i64>),
    /// The revision is yet to come.
    #[error("etcd: the revision is in the future")]
    FutureRevision,
    /// The quota is used up.
    #[error("etcd: the database has used up its quota (NOSPACE)")]
    NoSpace,
    /// The state of the cluster does not allow it.
    #[error("etcd: {0}")]
    Refused(String),
    /// Not logged in.
    #[error("etcd: {0}; authentication is enabled")]
    Unauthenticated(String),
    /// Not allowed to.
    #[error("etcd: {0}; authentication is enabled")]
    PermissionDenied(String),
    /// It answered, and not in the way that it should.
    #[error("unexpected answer: {0}")]
    BadAnswer(String),
    /// Anything else.
    #[error("{code:?}: {message}")]
    Other {
        /// gRPC's code.
        code: Code,
        /// etcd's text.
        message: String,
    },
}

impl Error {
    /// Whether a write that failed so may nevertheless have been applied, now or later.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match &self.kind {
            Kind::DeadlineExceeded(_)
            | Kind::Unavailable(_)
            | Kind::RequestTimedOut(_)
            | Kind::LeaderChanged
            | Kind::BadAnswer(_) => true,
            Kind::Other { code, .. } => {
                matches!(
                    code,
                    Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted
                )
            }
            Kind::Unreachable(_)
            | Kind::Tls(_)
            | Kind::NoLeader
            | Kind::NotLeader
            | Kind::Compacted(_)
            | Kind::FutureRevision
            | Kind::NoSpace
            | Kind::Refused(_)
            | Kind::Unauthenticated(_)
            | Kind::PermissionDenied(_) => false,
        }
    }

    /// Whether the same call may go through if it is made again, there or on another member.
    /// A write may then be applied twice if the failure [is ambiguous](Self::is_ambiguous).
    pub(crate) fn is_retryable(&self) -> bool {
        match &self.kind {
            Kind::DeadlineExceeded(_)
            | Kind::Unreachable(_)
            | Kind::Unavailable(_)
            | Kind::RequestTimedOut(_)
            | Kind::LeaderChanged
            | Kind::NoLeader
            | Kind::FutureRevision => true,
            Kind::Other { code, .. } => {
                matches!(
                    code,
                    Code::Unknown | Code::Internal | Code::Cancelled | Code::ResourceExhausted
                )
            }
            Kind::Tls(_)
            | Kind::NotLeader
            | Kind::Compacted(_)
            | Kind::NoSpace
            | Kind::Refused(_)
            | Kind::Unauthenticated(_)
            | Kind::PermissionDenied(_)
            | Kind::BadAnswer(_) => false,
        }
    }
}

/// Reads a gRPC failure: our own transport's, by its cause, or etcd's, by code and text.
pub(super) fn of_status(status: &Status) -> Kind {
    if let Some(source) = status.source() {
        return of_transport(source);
    }
    // Maintenance calls say it as etcd does to itself, with the code `Unknown`.
    let of_login = status.message().strip_prefix("auth: ");
    let text = status.message().strip_prefix("etcdserver: ");
    let text = text.or(of_login).unwrap_or(status.message()).to_owned();
    match (status.code(), text.as_str()) {
        (Code::Unavailable, "leader changed") => Kind::LeaderChanged,
        (Code::Unavailable, "no leader") => Kind::NoLeader,
        (Code::Unavailable, text_) if text_.starts_with("request timed out") => {
            Kind::RequestTimedOut(text)
        }
        (Code::Unavailable, "unhealthy cluster" | "rpc not supported for learner") => {
            Kind::Refused(text)
        }
        (Code::Unavailable, _) => Kind::Unavailable(text),
        (Code::FailedPrecondition, "not leader") => Kind::NotLeader,
        (Code::FailedPrecondition, _) => Kind::Refused(text),
        (Code::OutOfRange, "mvcc: required revision has been compacted") => Kind::Compacted(None),
        (Code::OutOfRange, "mvcc: required revision is a future revision") => Kind::FutureRevision,
        (Code::ResourceExhausted, "mvcc: database space exceeded") => Kind::NoSpace,
        (
            Code::InvalidArgument,
            "user name is empty"
            | "revision of auth store is old"
            | "authentication failed, invalid user ID or password",
        )
        | (Code::Unauthenticated, _) => Kind::Unauthenticated(text),
        (Code::PermissionDenied, _) => Kind::PermissionDenied(text),
        (_, "permission denied") if of_login.is_some() => Kind::PermissionDenied(text),
        (_, _) if of_login.is_some() => Kind::Unauthenticated(text),
        (code, _) => Kind::Other {
            code,
            message: text,
        },
    }
}

/// Reads the chain of causes of a broken connection, in gRPC or plain HTTP.
pub(super) fn of_transport(error: &(dyn StdError + 'static)) -> Kind {
    let chain = causes(error);
    if let Some(tls) = chain.iter().find_map(|c| c.downcast_ref::<rustls::Error>()) {
        return Kind::Tls(tls_advice(tls));
    }
    let last = chain
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string);
    // h2 keeps only the text of what broke its connection.
    if last.contains("received fatal alert") {
        return Kind::Tls(refused_certificate(&last));
    }
    if last.contains(HANDSHAKE_EOF) {
        return Kind::Tls(NOT_TLS.to_owned());
    }
    let never_sent = chain.iter().any(|cause| {
        let connecting = cause.is::<tonic::ConnectError>();
        let refused = cause.downcast_ref::<io::Error>().is_some_and(|io| {
            matches!(
                io.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        });
        let canceled = cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        let legacy = cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        connecting || refused || canceled || legacy
    });
    if never_sent {
        Kind::Unreachable(last)
    } else {
        Kind::Unavailable(last)
    }
}

/// The error and everything below it. An `io::Error` does not name what it wraps as its source.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut found: Vec<&'a (dyn StdError + 'static)> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        found.push(cause);
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn StdError + 'static));
        next = inner.or_else(|| cause.source());
    }
    found
}

fn tls_advice(error: &rustls::Error) -> String {
    if let rustls::Error::InvalidCertificate(why) = error {
        format!("the member's certificate is not valid ({why:?}); --cacert must name its CA")
    } else if matches!(error, rustls::Error::AlertReceived(_)) {
        refused_certificate(&error.to_string())
    } else if matches!(error, rustls::Error::InvalidMessage(_)) {
        NOT_TLS.to_owned()
    } else {
        format!("TLS failed: {error}")
    }
}

fn refused_certificate(alert: &str) -> String {
    format!("the member refused us ({alert}); --cert and --key must name a pair that it trusts")
}
