//! The answer of a preflight, for people and for programs.

use std::fmt::Write;

use comfy_table::{Table, presets};
use druid_core::observed::{Answer, Etcd};
use druid_core::preflight::{Preflight, Verdict};
use druid_core::refusal::{Refusal, RefusalReport};
use druid_core::version::Version;
use serde::Serialize;

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    from: Option<Version>,
    to: Version,
    members: Vec<MemberReport>,
    refusals: Vec<RefusalReport>,
    unknowns: Vec<String>,
    warnings: Vec<String>,
}

/// A member; one that does not answer has a name only.
#[derive(Debug, Default, Serialize)]
struct MemberReport {
    name: String,
    id: Option<String>,
    version: Option<Version>,
    leader: Option<bool>,
    learner: Option<bool>,
    db_size: Option<u64>,
    db_size_in_use: Option<u64>,
    raft_index: Option<u64>,
    raft_applied_index: Option<u64>,
}

impl Report {
    pub(super) fn new(to: Version, etcd: &Etcd, found: &Preflight) -> Self {
        let members = etcd.members.iter().map(|(name, answer)| match answer {
            Answer::Silent(_) => MemberReport {
                name: name.to_string(),
                ..MemberReport::default()
            },
            Answer::Status(status) => MemberReport {
                name: name.to_string(),
                id: Some(status.id.to_string()),
                version: Some(status.version),
                leader: Some(status.leader == status.id),
                learner: Some(status.learner),
                db_size: Some(status.db_size),
                db_size_in_use: Some(status.db_size_in_use),
                raft_index: Some(status.raft_index),
                raft_applied_index: Some(status.raft_applied_index),
            },
        });
        Self {
            verdict: found.verdict(),
            from: found.from,
            to,
            members: members.collect(),
            refusals: found.refusals.iter().map(Refusal::report).collect(),
            unknowns: found.unknowns.clone(),
            warnings: found.warnings.clone(),
        }
    }

    pub(super) fn json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text + "\n",
            Err(error) => format!("{{\"verdict\":\"unknown\",\"error\":\"{error}\"}}\n"),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n\n{}\n\n", self.headline(), self.table());
        for refusal in &self.refusals {
            let about = refusal.member.as_ref();
            let about = about.map_or_else(String::new, |member| format!(" [{member}]"));
            push(
                &mut text,
                &format!("{}{about}", refusal.code),
                &refusal.message,
            );
            push(&mut text, "  remedy", &refusal.remedy);
        }
        self.unknowns
            .iter()
            .for_each(|unknown| push(&mut text, "could not find out", unknown));
        self.warnings
            .iter()
            .for_each(|warning| push(&mut text, "warning", warning));
        text
    }

    fn headline(&self) -> String {
        let from = self
            .from
            .map_or_else(|| "an unknown release".to_owned(), |from| from.to_string());
        let step = format!("{from} -> {}", self.to);
        match self.verdict {
            Verdict::Allowed => format!("ALLOWED: {step}"),
            Verdict::Refused => match self.refusals.len() {
                1 => format!("REFUSED: {step}, for 1 reason"),
                reasons => format!("REFUSED: {step}, for {reasons} reasons"),
            },
            Verdict::Unknown => format!("UNKNOWN: {step}, not everything could be found out"),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "MEMBER",
            "ID",
            "VERSION",
            "ROLE",
            "DB SIZE",
            "IN USE",
            "RAFT INDEX",
            "APPLIED",
        ]);
        for member in &self.members {
            let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let bytes = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), size);
            let text = |t: Option<String>| t.unwrap_or_else(|| "-".to_owned());
            let role = match (member.leader, member.learner) {
                (Some(true), _) => "leader",
                (Some(false), Some(true)) => "learner",
                (Some(false), _) => "follower",
                (None, _) => "no answer",
            };
            table.add_row([
                member.name.clone(),
                text(member.id.clone()),
                text(member.version.map(|version| version.to_string())),
                role.to_owned(),
                bytes(member.db_size),
                bytes(member.db_size_in_use),
                number(member.raft_index),
                number(member.raft_applied_index),
            ]);
        }
        table
    }
}

fn push(text: &mut String, label: &str, what: &str) {
    let _ = writeln!(text, "{label}: {what}");
}

fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, unit)| {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    )
}
