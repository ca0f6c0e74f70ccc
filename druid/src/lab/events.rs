//! What happened to the processes, in order: the timeline of the report, and the count of restarts.

use std::sync::{Arc, Mutex};

use druid_core::member::MemberName;
use druid_core::version::Version;
use jiff::Timestamp;

use super::lock;
use crate::clock;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// When.
    pub(crate) at: Timestamp,
    /// What, and to whom.
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A process began.
    Started {
        /// Whose.
        member: MemberName,
        /// As which release.
        version: Version,
        /// Which incarnation it belongs to.
        incarnation: u64,
        /// Its number.
        pid: u32,
        /// Why it was started.
        cause: Cause,
    },
    /// We stopped a process.
    Stopped {
        /// Whose.
        member: MemberName,
        /// As which release it ran.
        version: Version,
        /// How it ended.
        how: String,
    },
    /// A process ended by itself, or was killed by a fault.
    Exited {
        /// Whose.
        member: MemberName,
        /// As which release it ran.
        version: Version,
        /// How it ended.
        how: String,
        /// The last thing that it said.
        last_words: String,
    },
    /// The next demanded restart brings this release.
    TemplateSet {
        /// Which.
        version: Version,
    },
}

/// Why a process was started. Only `Demanded` is a restart that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The lab was built.
    Created,
    /// A restart was demanded.
    Demanded,
    /// It had ended by itself.
    Recovery,
    /// It had been stopped for a fault, and the fault is in place or over.
    Fault,
}

/// The list, shared by all supervisors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    /// Adds one, now.
    pub(crate) fn push(&self, what: What) {
        let at = clock::now();
        lock(&self.0).push(Event { at, what });
    }

    /// All so far.
    pub(crate) fn all(&self) -> Vec<Event> {
        lock(&self.0).clone()
    }
}
