//! `kubectl druid upgrade status`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::age::age_of;
use super::colour::{Colours, Tone, clean};
use super::found::{Found, is_acknowledged, is_paused};
use super::table::{Cell, lines};
use crate::api::{Time, UpgradeMember, UpgradeSnapshot, UpgradeStatus};
use crate::upgrade::ShownPhase;

/// The length of a bar.
const BAR: usize = 20;

/// How far the upgrade of an Etcd is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The namespace of the Etcd.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Upgrade`, `Rollback` or `Roll`.
    pub direction: Option<String>,
    /// The release that it set out from.
    pub from: Option<String>,
    /// The release that it goes to.
    pub to: Option<String>,
    /// How far it is, as a word.
    pub phase: Option<String>,
    /// Why it is not further, as a word.
    pub reason: Option<String>,
    /// What is done, or why it is not further.
    pub message: Option<String>,
    /// Whether it goes on only when a person acknowledges it.
    pub halted: bool,
    /// Whether that was done for this halt.
    pub acknowledged: bool,
    /// Whether a person wants no further member to be touched.
    pub paused: bool,
    /// The number of the attempt.
    pub attempt: Option<i64>,
    /// How many members are where they should be.
    pub members_done: usize,
    /// All members.
    pub members: Vec<UpgradeMember>,
    /// The snapshot that makes it safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<UpgradeSnapshot>,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it was done.
    pub finished_at: Option<Time>,
    /// When the phase last changed.
    pub last_transition_time: Option<Time>,
    /// Why the object cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl Progress {
    /// One for each, by namespace and name.
    pub fn all<'a>(found: impl IntoIterator<Item = &'a Found>) -> Vec<Self> {
        let mut all: Vec<_> = found.into_iter().map(Self::of).collect();
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        all
    }

    fn of(found: &Found) -> Self {
        let bare = Self {
            namespace: found.namespace.clone(),
            name: found.name.clone(),
            unreadable: found.etcd.as_ref().err().cloned(),
            ..Self::default()
        };
        let Some(etcd) = found.readable() else {
            return bare;
        };
        let paused = is_paused(etcd);
        let upgrade = found.status().and_then(|it| it.upgrade.as_ref());
        // One that was never upgraded may have other things in there.
        let upgrade = upgrade.filter(|it| it.phase.is_some());
        let Some(upgrade) = upgrade else {
            return Self { paused, ..bare };
        };
        let UpgradeStatus {
            from,
            to,
            direction,
            phase,
            reason,
            message,
            snapshot,
            attempts: _,
            members,
            started_at,
            finished_at,
            last_transition_time,
            record,
            revisions: _,
        } = upgrade.clone();
        let members = members.unwrap_or_default();
        let attempt = record.map(|it| it.attempt);
        let shown = phase.as_deref().and_then(ShownPhase::read);
        Self {
            halted: shown.is_some_and(ShownPhase::is_halted),
            acknowledged: attempt.is_some_and(|it| is_acknowledged(etcd, it)),
            paused,
            attempt,
            members_done: count(&members, "Replaced"),
            members,
            direction,
            from,
            to,
            phase,
            reason,
            message,
            snapshot,
            started_at,
            finished_at,
            last_transition_time,
            ..bare
        }
    }

    fn is(&self, phase: ShownPhase) -> bool {
        self.phase.as_deref() == Some(phase.word())
    }

    /// What is done, and from which release to which.
    pub(crate) fn way(&self) -> String {
        let text = |it: &Option<String>| it.clone().unwrap_or_else(|| "?".to_owned());
        let (from, to) = (text(&self.from), text(&self.to));
        match self.direction.as_deref() {
            None => "-".to_owned(),
            Some("Roll") => format!("restart on {to}"),
            Some(direction) => format!("{} {from} -> {to}", direction.to_lowercase()),
        }
    }

    /// What is done now, or why it is not further, and what a person can do.
    pub(crate) fn notes(&self) -> Vec<String> {
        let (namespace, name) = (&self.namespace, &self.name);
        let mut notes = Vec::new();
        if let Some(why) = &self.unreadable {
            notes.push(format!(
                "the Etcd cannot be read ({why}): update kubectl-druid"
            ));
        }
        if let Some(message) = self.message.as_ref().filter(|it| !it.is_empty())
            && !self.is(ShownPhase::Succeeded)
        {
            notes.push(match &self.reason {
                Some(reason) => format!("{reason}: {message}"),
                None => message.clone(),
            });
        }
        if self.halted && self.acknowledged {
            notes.push("acknowledged; the operator has yet to take it up".to_owned());
        } else if self.halted {
            notes.push(format!(
                "to go on: kubectl druid upgrade acknowledge {name} -n {namespace}"
            ));
        }
        if self.paused {
            notes.push(format!(
                "spec.upgrade.paused is set; to go on: kubectl druid upgrade resume {name} -n {namespace}"
            ));
        }
        notes.iter().map(|it| clean(it)).collect()
    }

    fn cells(&self, now: Timestamp) -> [Cell; 6] {
        let phase = self.phase.as_deref();
        let tone = Tone::of(phase);
        let since = self.last_transition_time.as_ref();
        let (phase, tone) = match &self.unreadable {
            Some(_) => ("unreadable", Tone::Bad),
            None => (phase.unwrap_or_default(), tone),
        };
        [
            Cell::plain(&self.namespace),
            Cell::plain(&self.name),
            Cell::toned(&self.bar(), tone),
            Cell::toned(phase, tone),
            Cell::plain(&self.way()),
            Cell::plain(&age_of(since, now)),
        ]
    }

    /// Members that are done, one that is in hand, and the others.
    pub fn bar(&self) -> String {
        let all = self.members.len();
        if all == 0 {
            return String::new();
        }
        let done = self.members_done;
        let to = done + count(&self.members, "Replacing");
        let (full, half) = (BAR * done / all, BAR * to / all);
        let mut bar = "\u{2588}".repeat(full);
        bar.push_str(&"\u{2592}".repeat(half - full));
        bar.push_str(&"\u{2591}".repeat(BAR - half));
        let _ = write!(bar, " {done}/{all}");
        bar
    }

    /// All in one line.
    fn line(&self) -> String {
        let mut line = format!("{}/{}", self.namespace, self.name);
        match &self.phase {
            Some(phase) => {
                let (done, all) = (self.members_done, self.members.len());
                let _ = write!(line, "  {}  {phase}  {done}/{all}", self.way());
            }
            None => line.push_str("  no upgrade"),
        }
        for note in self.notes() {
            let _ = write!(line, "  {note}");
        }
        clean(&line)
    }
}

fn count(members: &[UpgradeMember], phase: &str) -> usize {
    let in_phase = |it: &&UpgradeMember| it.phase.as_deref() == Some(phase);
    members.iter().filter(in_phase).count()
}

/// A bar for each Etcd, and below it what is done now or why it is not further.
pub fn bars(all: &[Progress], now: Timestamp, colours: Colours) -> String {
    let header = ["NAMESPACE", "NAME", "MEMBERS", "PHASE", "WHAT", "SINCE"];
    let cells: Vec<_> = all.iter().map(|it| it.cells(now)).collect();
    let mut lines = lines(header, &cells, colours).into_iter();
    let mut text = lines.next().unwrap_or_default() + "\n";
    for (line, progress) in lines.zip(all) {
        let _ = writeln!(text, "{line}");
        for note in progress.notes() {
            let _ = writeln!(text, "  {note}");
        }
    }
    text
}

/// Turns what is seen, one time after the other, into lines that say what is new.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    said: BTreeMap<(String, String), String>,
}

impl Changes {
    /// What is new since the last time, with the time.
    pub fn next(&mut self, all: &[Progress], now: Timestamp) -> Vec<String> {
        let now = Time::seconds(now);
        let current: BTreeMap<_, _> = all
            .iter()
            .map(|it| ((it.namespace.clone(), it.name.clone()), it.line()))
            .collect();
        let is_new = |(key, line): &(&(String, String), &String)| self.said.get(*key) != Some(line);
        let mut new: Vec<_> = current
            .iter()
            .filter(is_new)
            .map(|(_, line)| format!("{now}  {line}"))
            .collect();
        let gone = self.said.keys().filter(|it| !current.contains_key(it));
        new.extend(gone.map(|(namespace, name)| format!("{now}  {namespace}/{name}  deleted")));
        self.said = current;
        new
    }
}
