//! The numbers of Etcds for `/metrics`, as they were at the last look at each.
//!
//! The Etcd is told by the labels `etcd_namespace` and `etcd`: a scrape adds a `namespace` of its own,
//! that of the operator. Those of an Etcd vanish with it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use jiff::Timestamp;

use super::conditions::{Kind, find};
use super::members::State;
use crate::api::EtcdStatus;
use crate::exposition::{escaped, head, text};
use crate::upgrade::ShownPhase;

/// What is told of an Etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfEtcd {
    /// How many members it is to have; 0 while it is hibernated.
    members: u16,
    /// How many of them are ready.
    ready: u16,
    /// Conditions and their status.
    conditions: Vec<(Kind, String)>,
    /// `status.upgrade.phase`, if there ever was an upgrade.
    phase: Option<String>,
}

/// When certificates expire, by their Secret and the key in it.
pub type Expiries = BTreeMap<(String, String), Timestamp>;

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    looks: u64,
    failed: u64,
    /// By namespace and name.
    etcds: BTreeMap<(String, String), OfEtcd>,
    certificates: BTreeMap<(String, String), Expiries>,
}

impl OfEtcd {
    /// From its status. `members`: how many it is to have; 0 while it is hibernated: then its conditions
    /// are those of before, and are not told.
    pub fn new(status: &EtcdStatus, members: u16) -> Self {
        let runs = members > 0;
        let all = status.members.iter().flatten().filter(|_| runs);
        let ready = all.filter(|it| it.status == State::Ready.word()).count();
        let conditions = Kind::ALL.into_iter().filter(|_| runs).filter_map(|kind| {
            let found = find(status, kind)?;
            Some((kind, found.status.clone()))
        });
        Self {
            members,
            ready: u16::try_from(ready).unwrap_or(u16::MAX),
            conditions: conditions.collect(),
            phase: status.upgrade.as_ref().and_then(|it| it.phase.clone()),
        }
    }

    /// How many ready members it takes to serve; 0 while it is hibernated.
    fn quorum(&self) -> u16 {
        match self.members {
            0 => 0,
            members => members / 2 + 1,
        }
    }
}

impl Numbers {
    /// An Etcd was looked at; `failed`: the look did not come to its end.
    pub fn looked(&mut self, failed: bool) {
        self.looks += 1;
        self.failed += u64::from(failed);
    }

    /// This is so of an Etcd now. `certificates`: nothing if they were not looked at.
    pub fn tell(
        &mut self,
        namespace: &str,
        name: &str,
        told: OfEtcd,
        certificates: Option<Expiries>,
    ) {
        let key = || (namespace.to_owned(), name.to_owned());
        self.etcds.insert(key(), told);
        if let Some(certificates) = certificates {
            self.certificates.insert(key(), certificates);
        }
    }

    /// There is no such Etcd any more.
    pub fn forget(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.etcds.remove(&key);
        self.certificates.remove(&key);
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        text(|it| self.write(it))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut last = "";
        let name = "druid_etcd_looks_total";
        head(text, &mut last, name, "Looks at Etcds.", "counter")?;
        writeln!(text, "{name} {}", self.looks)?;
        let name = "druid_etcd_looks_failed_total";
        head(text, &mut last, name, "Looks that failed.", "counter")?;
        writeln!(text, "{name} {}", self.failed)?;
        let help = "The members that an Etcd is to have; 0 while it is hibernated.";
        self.of_each(text, "druid_etcd_members", help, |it| Some(it.members))?;
        let help = "The members of an Etcd that are ready.";
        self.of_each(text, "druid_etcd_members_ready", help, |it| Some(it.ready))?;
        let help = "How many ready members it takes to serve; 0 while it is hibernated.";
        self.of_each(text, "druid_etcd_members_quorum", help, |it| {
            Some(it.quorum())
        })?;
        let name = "druid_etcd_condition";
        for (of, etcd) in &self.etcds {
            let help = "The status of a condition of an Etcd that is not hibernated: 1.";
            for (kind, status) in &etcd.conditions {
                head(text, &mut last, name, help, "gauge")?;
                let (labels, kind, status) = (labels(of), kind.word(), escaped(status));
                writeln!(
                    text,
                    "{name}{{{labels},type=\"{kind}\",status=\"{status}\"}} 1"
                )?;
            }
        }
        let name = "druid_upgrade_phase";
        for (of, etcd) in &self.etcds {
            let help = "The phase of the last upgrade of an Etcd: 1.";
            if let Some(phase) = &etcd.phase {
                head(text, &mut last, name, help, "gauge")?;
                let (labels, phase) = (labels(of), escaped(phase));
                writeln!(text, "{name}{{{labels},phase=\"{phase}\"}} 1")?;
            }
        }
        let help = "Whether the upgrade of an Etcd waits for a person.";
        self.of_each(text, "druid_upgrade_halted", help, |it| {
            let phase = it.phase.as_deref()?;
            let halted = ShownPhase::read(phase).is_some_and(ShownPhase::is_halted);
            Some(u8::from(halted))
        })?;
        self.expiries(text)
    }

    /// One series for each Etcd of which there is something to say.
    fn of_each<N: Display>(
        &self,
        text: &mut String,
        name: &str,
        help: &str,
        number: impl Fn(&OfEtcd) -> Option<N>,
    ) -> fmt::Result {
        let mut last = "";
        for (of, etcd) in &self.etcds {
            if let Some(number) = number(etcd) {
                head(text, &mut last, name, help, "gauge")?;
                writeln!(text, "{name}{{{}}} {number}", labels(of))?;
            }
        }
        Ok(())
    }

    fn expiries(&self, text: &mut String) -> fmt::Result {
        let (name, mut last) = ("druid_certificate_expiry_timestamp_seconds", "");
        for (of, certificates) in &self.certificates {
            for ((secret, key), expires) in certificates {
                let help = "When a certificate in a Secret of an Etcd expires, Unix time.";
                head(text, &mut last, name, help, "gauge")?;
                let (secret, key) = (escaped(secret), escaped(key));
                let (labels, expires) = (labels(of), expires.as_second());
                writeln!(
                    text,
                    "{name}{{{labels},secret=\"{secret}\",key=\"{key}\"}} {expires}"
                )?;
            }
        }
        Ok(())
    }
}

fn labels((namespace, name): &(String, String)) -> String {
    let (namespace, name) = (escaped(namespace), escaped(name));
    format!("etcd_namespace=\"{namespace}\",etcd=\"{name}\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> EtcdStatus {
        let member = |name: &str, status: &str| {
            json!({
                "name": name, "status": status, "reason": "r", "lastTransitionTime": "",
            })
        };
        let condition = |kind: &str, status: &str| {
            json!({
                "type": kind, "status": status, "reason": "r", "message": "m",
                "lastTransitionTime": "2026-11-24T10:20:00Z",
                "lastUpdateTime": "2026-11-24T10:20:00Z",
            })
        };
        serde_json::from_value(json!({
            "members": [
                member("a-0", "Ready"), member("a-1", "NotReady"), member("a-2", "Unknown"),
            ],
            "conditions": [
                condition("Ready", "True"), condition("BackupReady", "Unknown"),
                condition("OfSomebodyElse", "True"),
            ],
            "upgrade": { "phase": "Blocked" },
        }))
        .unwrap()
    }

    fn series(numbers: &Numbers) -> Vec<String> {
        let text = numbers.text();
        let all = text.lines().filter(|line| !line.starts_with('#'));
        all.map(str::to_owned).collect()
    }

    #[test]
    fn what_is_told_is_what_the_status_says() {
        let mut numbers = Numbers::default();
        numbers.looked(false);
        numbers.looked(true);
        let expires = Timestamp::from_second(1_800_000_000).unwrap();
        let certificates = [(("tls".to_owned(), "tls.crt".to_owned()), expires)];
        let certificates = Some(certificates.into());
        numbers.tell("n", "a", OfEtcd::new(&status(), 3), certificates);
        let of = "etcd_namespace=\"n\",etcd=\"a\"";
        let expected = [
            "druid_etcd_looks_total 2".to_owned(),
            "druid_etcd_looks_failed_total 1".to_owned(),
            format!("druid_etcd_members{{{of}}} 3"),
            format!("druid_etcd_members_ready{{{of}}} 1"),
            format!("druid_etcd_members_quorum{{{of}}} 2"),
            format!("druid_etcd_condition{{{of},type=\"BackupReady\",status=\"Unknown\"}} 1"),
            format!("druid_etcd_condition{{{of},type=\"Ready\",status=\"True\"}} 1"),
            format!("druid_upgrade_phase{{{of},phase=\"Blocked\"}} 1"),
            format!("druid_upgrade_halted{{{of}}} 1"),
            format!(
                "druid_certificate_expiry_timestamp_seconds{{{of},secret=\"tls\",key=\"tls.crt\"}} \
                 1800000000"
            ),
        ];
        assert_eq!(series(&numbers), expected);

        // Certificates that were not looked at are those of before.
        numbers.tell("n", "a", OfEtcd::new(&status(), 3), None);
        assert_eq!(series(&numbers), expected);
        numbers.forget("n", "a");
        assert_eq!(series(&numbers), expected[..2]);
    }

    #[test]
    fn one_that_is_hibernated_needs_no_quorum_and_its_conditions_are_not_told() {
        let mut numbers = Numbers::default();
        numbers.tell("n", "a", OfEtcd::new(&status(), 0), None);
        let of = "etcd_namespace=\"n\",etcd=\"a\"";
        let told = series(&numbers);
        for name in [
            "druid_etcd_members",
            "druid_etcd_members_ready",
            "druid_etcd_members_quorum",
        ] {
            assert!(told.contains(&format!("{name}{{{of}}} 0")), "{told:?}");
        }
        let condition = told.iter().find(|it| it.contains("condition"));
        assert_eq!(condition, None);
    }

    #[test]
    fn each_name_has_one_block_however_many_etcds_there_are() {
        let mut numbers = Numbers::default();
        for name in ["a", "b"] {
            numbers.tell("n", name, OfEtcd::new(&status(), 1), None);
        }
        let text = numbers.text();
        let mut names: Vec<_> = text.lines().filter(|it| it.starts_with("# TYPE")).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (8, 8), "{text}");
    }
}
