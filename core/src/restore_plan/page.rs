//! The plan for people.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Deltas, Estimate, Plan, Snapshot, Source, Verdict};
use crate::api::Time;
use crate::cli::age::age_of;
use crate::cli::colour::clean;
use crate::doctor::page::{bytes, said};
use crate::observed::Answered;

impl Plan {
    /// For people.
    pub fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        let mut line = |it: &str| {
            let _ = writeln!(text, "{}", clean(it).trim_end());
        };
        line(&self.headline(now));
        line("");
        let mut fact = |name: &str, value: &str| line(&format!("  {name:<16}{value}"));
        let none = "none: spec.backup.store is not set";
        fact("store", self.store.as_deref().unwrap_or(none));
        fact("told by", &self.told_by());
        let full = |it: &Option<Snapshot>| {
            it.as_ref()
                .map_or_else(|| "none".to_owned(), |it| it.words(now))
        };
        fact("full", &said(&self.full, full));
        fact("deltas", &said(&self.deltas, |it| it.words(now)));
        if let Some(hole) = &self.hole {
            let (from, to, next) = (hole.from, hole.to, &hole.next);
            fact(
                "hole",
                &format!(
                    "revisions {from} to {to} are in no object; {next} and later cannot be used"
                ),
            );
        }
        let revision = |it: &Option<i64>| it.map_or_else(|| "none".to_owned(), |it| it.to_string());
        fact("up to revision", &said(&self.revision, revision));
        fact("to be read", &said(&self.size, |it| bytes(*it)));
        fact("takes", &said(&self.estimate, Estimate::words));
        fact(
            "present",
            &said(&self.present_revision, |it| format!("revision {it}")),
        );
        fact("would be lost", &self.lost(now));
        for act in &self.commands {
            line("");
            match &act.command {
                Some(command) => {
                    line(&format!("{}:", act.say));
                    line(&format!("  {command}"));
                }
                None => line(&act.say),
            }
        }
        text
    }

    fn headline(&self, now: Timestamp) -> String {
        let (namespace, name) = (&self.namespace, &self.name);
        let ago = age_of(self.backed_up_at.as_ref(), now);
        match (self.verdict, &self.revision) {
            (Verdict::Restorable, Answered::Known(Some(revision))) => {
                format!(
                    "{namespace}/{name} can be restored up to revision {revision}, from {ago} ago"
                )
            }
            (Verdict::Action, Answered::Known(Some(revision))) => format!(
                "{namespace}/{name} can be restored only up to revision {revision}, from {ago} ago: objects are missing"
            ),
            (Verdict::Action, _) => {
                format!("{namespace}/{name} cannot be restored: there is no backup")
            }
            (Verdict::Unknown, Answered::Known(Some(revision))) => format!(
                "{namespace}/{name}: backups reach revision {revision}, from {ago} ago, but the store was not looked at"
            ),
            (Verdict::Restorable | Verdict::Unknown, _) => {
                format!("{namespace}/{name}: what could be restored is not known")
            }
        }
    }

    fn told_by(&self) -> String {
        let source = match self.source {
            Source::Sidecar => "the sidecar of the leading member, which has listed the store",
            Source::Trial => {
                let (pod, why) = (self.tried_by.as_deref(), self.no_sidecar.as_deref());
                return format!(
                    "the sidecar of {}, which has restored it on trial; why not that of the leader: {}",
                    pod.unwrap_or_default(),
                    why.unwrap_or_default()
                );
            }
            Source::Leases => "the Leases of snapshots",
            Source::Nothing => "nobody",
        };
        match &self.no_sidecar {
            Some(why) => format!("{source}; no sidecar: {why}"),
            None => source.to_owned(),
        }
    }

    fn lost(&self, now: Timestamp) -> String {
        let ago = |at: &Time| format!("all that was written in the last {}", age_of(Some(at), now));
        match (&self.revisions_lost, &self.backed_up_at) {
            (Answered::Known(0), _) => "nothing".to_owned(),
            (Answered::Known(1), _) => "1 revision".to_owned(),
            (Answered::Known(lost), _) => format!("{lost} revisions"),
            (Answered::Unknown(why), Some(at)) => {
                format!("{}; how much that is is not known: {why}", ago(at))
            }
            (Answered::Unknown(why), None) => format!("not known: {why}"),
        }
    }
}

impl Snapshot {
    fn words(&self, now: Timestamp) -> String {
        let ago = age_of(self.taken_at.as_ref(), now);
        let mut words = format!("revision {}, {ago} ago", self.revision);
        if let Some(size) = self.size {
            let _ = write!(words, ", {}", bytes(size));
        }
        if let Some(name) = &self.name {
            let _ = write!(words, ", {name}");
        }
        words
    }
}

impl Deltas {
    fn words(&self, now: Timestamp) -> String {
        let Some(last) = &self.last else {
            return "none".to_owned();
        };
        let size = self.size.map(|it| format!(", {} in all", bytes(it)));
        let (count, size) = (self.count, size.unwrap_or_default());
        format!("{count}{size}; the last: {}", last.words(now))
    }
}

impl Estimate {
    fn words(&self) -> String {
        format!("about {} s ({})", self.seconds, self.basis)
    }
}
