//! How far an attempt of several steps is.

use crate::api::TaskResult;

/// How far an attempt is. One of a single step tells nothing before its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The step under way, for people; empty if none is.
    pub step: String,
    /// What has come of the steps before it.
    pub result: TaskResult,
}
