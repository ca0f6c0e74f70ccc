//! The page for people.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::backups::Covered;
use super::members::Member;
use super::{Expiry, Report, Severity, Told, Verdict};
use crate::api::Time;
use crate::cli::TaskRow;
use crate::cli::age::age_of;
use crate::cli::colour::{Colours, Tone, clean};
use crate::cli::table::{Cell, lines};
use crate::observed::Answered;
use crate::ops_task::State;

/// A page in the making.
struct Page<'a> {
    report: &'a Report,
    now: Timestamp,
    colours: Colours,
    text: String,
}

impl Report {
    /// For people.
    pub fn text(&self, now: Timestamp, colours: Colours) -> String {
        let mut page = Page {
            report: self,
            now,
            colours,
            text: String::new(),
        };
        page.line(&self.headline());
        page.findings();
        page.gaps();
        page.members();
        page.cluster();
        page.backups();
        page.databases();
        page.certificates();
        page.upgrade();
        page.tasks();
        page.events();
        page.text
    }

    /// All in one line.
    fn headline(&self) -> String {
        let (namespace, name) = (&self.namespace, &self.name);
        let count = |severity| {
            let all = self.findings.iter();
            all.filter(|it| it.severity == severity).count()
        };
        let mut said = match self.verdict {
            Verdict::Healthy => format!("{namespace}/{name} is healthy: nothing to do"),
            Verdict::Unknown => format!(
                "{namespace}/{name}: nothing to do was found, but not everything could be looked at"
            ),
            Verdict::Action => {
                let counted = [Severity::Critical, Severity::Warning].map(|it| (count(it), it));
                let words = counted.iter().filter(|(count, _)| *count > 0);
                let words: Vec<_> = words
                    .map(|(count, severity)| match (count, severity) {
                        (1, _) | (_, Severity::Critical) => format!("{count} {}", severity.word()),
                        (_, Severity::Warning | Severity::Note) => {
                            format!("{count} {}s", severity.word())
                        }
                    })
                    .collect();
                format!("{namespace}/{name} needs you: {}", words.join(", "))
            }
        };
        if self.replicas == 0 {
            said.push_str("; it is hibernated");
        } else if !self.members_asked {
            said.push_str("; no member could be asked, so alarms and databases are not known");
        }
        said
    }
}

impl Page<'_> {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{}", clean(text).trim_end());
    }

    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.text, "\n{text}");
    }

    /// A name and what is known of it.
    fn fact(&mut self, name: &str, text: &str) {
        self.line(&format!("  {name:<18}{text}"));
    }

    fn findings(&mut self) {
        let of = |it: &&Told, note: bool| (it.severity == Severity::Note) == note;
        let all = &self.report.findings;
        let urgent: Vec<_> = all.iter().filter(|it| of(it, false)).collect();
        if !urgent.is_empty() {
            self.heading("What to do first");
        }
        for (at, told) in urgent.into_iter().enumerate() {
            self.finding(&format!("{:>3}. ", at + 1), told);
        }
        let notes: Vec<_> = all.iter().filter(|it| of(it, true)).collect();
        if !notes.is_empty() {
            self.heading("Good to know");
        }
        for told in notes {
            self.finding("   - ", told);
        }
    }

    fn finding(&mut self, mark: &str, told: &Told) {
        let tone = match told.severity {
            Severity::Critical => Tone::Bad,
            Severity::Warning => Tone::Held,
            Severity::Note => Tone::Plain,
        };
        let code = tone.paint(told.code, self.colours);
        let word = tone.paint(told.severity.word(), self.colours);
        let what = clean(&told.what);
        let _ = writeln!(self.text, "{mark}{word} {code}: {what}");
        self.line(&format!("     known from: {}", told.known_from));
        for act in &told.remedy {
            match &act.command {
                None => self.line(&format!("     > {}", act.say)),
                Some(command) => {
                    self.line(&format!("     > {}:", act.say));
                    self.line(&format!("         {command}"));
                }
            }
        }
    }

    fn gaps(&mut self) {
        let gaps = &self.report.unknown;
        if !gaps.is_empty() {
            self.heading("Could not be found out");
        }
        for gap in gaps {
            self.line(&format!("   - {}: {}", gap.what, gap.why));
        }
    }

    fn members(&mut self) {
        if self.report.members.is_empty() {
            return;
        }
        self.heading("Members");
        let header = ["  MEMBER", "SERVES", "ROLE", "VERSION", "WHY NOT", "POD"];
        let cells: Vec<_> = self.report.members.iter().map(cells).collect();
        for line in lines(header, &cells, self.colours) {
            let _ = writeln!(self.text, "{line}");
        }
    }

    fn cluster(&mut self) {
        let cluster = &self.report.cluster;
        self.heading("Cluster");
        if self.report.replicas == 0 {
            self.fact("members", "none: spec.replicas is 0");
            return;
        }
        let yes = |it: &bool| if *it { "yes" } else { "no" }.to_owned();
        let quorum = said(&cluster.quorum, yes);
        self.fact("quorum", &format!("{quorum}; by {}", cluster.how));
        self.fact(
            "cluster version",
            &said(&cluster.cluster_version, String::clone),
        );
        let alarms = |it: &Vec<String>| match it.as_slice() {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        self.fact("alarms", &said(&cluster.alarms, alarms));
        self.fact("revision", &said(&cluster.revision, ToString::to_string));
        let list = |it: &bool| match it {
            true => "works: kube-apiserver can answer consistent lists from its cache".to_owned(),
            false => "does not work: kube-apiserver asks etcd for each consistent list".to_owned(),
        };
        self.fact(
            "list from cache",
            &said(&cluster.consistent_list_from_cache, list),
        );
    }

    fn backups(&mut self) {
        self.heading("Backups");
        let Some(backups) = &self.report.backups else {
            self.fact("store", "none: nothing is backed up");
            return;
        };
        self.fact("store", &backups.store);
        let now = self.now;
        let snapshot = |it: &Option<Covered>| match it {
            None => "none yet".to_owned(),
            Some(it) => format!(
                "up to revision {}, {} ago",
                it.revision,
                age_of(it.at.as_ref(), now)
            ),
        };
        self.fact("full", &said(&backups.full, snapshot));
        self.fact("delta", &said(&backups.delta, snapshot));
        let covered =
            |it: &Option<i64>| it.map_or("nothing".to_owned(), |it| format!("revision {it}"));
        let text = said(&backups.covered_revision, covered);
        let behind = match (&backups.covered_revision, &backups.revisions_behind) {
            (Answered::Known(None) | Answered::Unknown(_), _) => String::new(),
            (_, Answered::Known(0)) => ", which is the present one".to_owned(),
            (_, Answered::Known(behind)) => format!(", {behind} behind the present one"),
            (_, Answered::Unknown(why)) => format!("; how far behind is not known: {why}"),
        };
        self.fact("covered", &format!("{text}{behind}"));
        let ready = backups.ready.as_deref();
        self.fact(
            "as planned",
            ready.unwrap_or("not known: the operator does not say"),
        );
    }

    fn databases(&mut self) {
        if self.report.replicas == 0 {
            return;
        }
        self.heading("Databases");
        match &self.report.databases {
            Answered::Unknown(why) => self.line(&format!("  not known: {why}")),
            Answered::Known(all) => {
                let header = ["  MEMBER", "SIZE", "IN USE", "FREE", "QUOTA"];
                let cells: Vec<_> = all
                    .iter()
                    .map(|it| {
                        [
                            Cell::plain(&format!("  {}", it.member)),
                            Cell::plain(&bytes(it.size)),
                            Cell::plain(&bytes(it.in_use)),
                            Cell::plain(&format!("{} %", it.fragmentation_percent)),
                            Cell::known(it.quota.map(bytes).as_deref()),
                        ]
                    })
                    .collect();
                for line in lines(header, &cells, self.colours) {
                    let _ = writeln!(self.text, "{line}");
                }
            }
        }
    }

    fn certificates(&mut self) {
        let all = &self.report.certificates;
        if all.is_empty() {
            return;
        }
        self.heading("Certificates");
        let now = self.now;
        for Expiry {
            secret,
            key,
            expires,
        } in all
        {
            let when = said(expires, |at: &Time| match at.at() {
                Some(it) if it <= now => format!("expired {at}"),
                Some(it) => format!("expires in {}, {at}", age_of(Some(&Time::seconds(now)), it)),
                None => at.to_string(),
            });
            self.line(&format!("  {secret} {key}: {when}"));
        }
    }

    fn upgrade(&mut self) {
        self.heading("Upgrade");
        let Some(upgrade) = &self.report.upgrade else {
            self.line("  none was ever begun");
            return;
        };
        let since = age_of(upgrade.last_transition_time.as_ref(), self.now);
        let phase = upgrade.phase.as_deref().unwrap_or("none was ever begun");
        self.line(&format!(
            "  {}, {phase} for {since}  {}",
            upgrade.way(),
            upgrade.bar()
        ));
        let told = self
            .report
            .findings
            .iter()
            .any(|it| it.finding.is_of_upgrade());
        for note in upgrade.notes().iter().filter(|_| !told) {
            self.line(&format!("  {note}"));
        }
    }

    fn tasks(&mut self) {
        self.heading("Tasks");
        match &self.report.tasks {
            Answered::Unknown(why) => self.line(&format!("  not known: {why}")),
            Answered::Known(rows) => {
                let shown = |row: &&TaskRow| {
                    let state = row.state.as_deref().and_then(State::parse);
                    state != Some(State::Succeeded)
                };
                let shown: Vec<_> = rows.iter().filter(shown).collect();
                if shown.is_empty() {
                    self.line("  none is running or has failed");
                }
                for row in shown {
                    let state = row.state.as_deref().unwrap_or("not looked at yet");
                    let age = age_of(row.created.as_ref(), self.now);
                    let (kind, name) = (row.kind, &row.name);
                    self.line(&format!(
                        "  {kind} {name}, {age} old: {state}: {}",
                        row.says
                    ));
                }
            }
        }
    }

    fn events(&mut self) {
        let Answered::Known(all) = &self.report.events else {
            return;
        };
        if all.is_empty() {
            return;
        }
        self.heading("Warnings of the last hour");
        for it in all {
            let ago = age_of(Some(&it.at), self.now);
            let times = if it.count > 1 {
                format!(" ({} times)", it.count)
            } else {
                String::new()
            };
            self.line(&format!(
                "  {ago} ago, {}: {}: {}{times}",
                it.object, it.reason, it.message
            ));
        }
    }
}

pub(crate) fn said<T>(answered: &Answered<T>, words: impl Fn(&T) -> String) -> String {
    match answered {
        Answered::Known(it) => words(it),
        Answered::Unknown(why) => format!("not known: {why}"),
    }
}

fn cells(member: &Member) -> [Cell; 6] {
    let known = |it: &Answered<String>| match it {
        Answered::Known(text) => text.clone(),
        Answered::Unknown(_) => "not known".to_owned(),
    };
    let (serves, tone) = match member.serves {
        Answered::Known(true) => ("yes", Tone::Good),
        Answered::Known(false) => ("no", Tone::Bad),
        Answered::Unknown(_) => ("not known", Tone::Held),
    };
    let role = match member.role {
        Answered::Known(role) => role.word(),
        Answered::Unknown(_) => "not known",
    };
    let version = match &member.version {
        Answered::Known(version) => version.to_string(),
        Answered::Unknown(_) => "not known".to_owned(),
    };
    let why = match (&member.serves, &member.why) {
        (Answered::Unknown(why), _) | (Answered::Known(_), Some(why)) => why,
        (Answered::Known(_), None) => "",
    };
    [
        Cell::plain(&format!("  {}", member.name)),
        Cell::toned(serves, tone),
        Cell::plain(role),
        Cell::plain(&version),
        Cell::plain(why),
        Cell::plain(&known(&member.pod_state)),
    ]
}

/// In the units of a quota.
pub(crate) fn bytes(size: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut tenths = size.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}
