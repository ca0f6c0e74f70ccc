//! What is counted, for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use druid_core::upgrade::ShownPhase;

use crate::operator::known::Named;

/// Numbers that are counted here and shown elsewhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<Mutex<Numbers>>);

#[derive(Debug, Default)]
struct Numbers {
    looks: u64,
    failed: u64,
    phases: BTreeMap<(String, String), String>,
}

impl Counts {
    pub(super) fn looked(&self, failed: bool) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.looks += 1;
        numbers.failed += u64::from(failed);
    }

    /// In which phase the upgrade of an Etcd is, if there ever was one.
    pub(super) fn phase(&self, named: &Named, phase: Option<&str>) {
        let key = (named.namespace.clone(), named.name.clone());
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match phase {
            Some(phase) => numbers.phases.insert(key, phase.to_owned()),
            None => numbers.phases.remove(&key),
        };
    }

    pub(super) fn forget(&self, named: &Named) {
        self.phase(named, None);
    }

    /// The text of now.
    pub(crate) fn text(&self) -> String {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = format!(
            "# HELP druid_etcd_looks_total Looks at Etcds, and how many of them failed.\n\
             # TYPE druid_etcd_looks_total counter\n\
             druid_etcd_looks_total {}\n\
             # TYPE druid_etcd_looks_failed_total counter\n\
             druid_etcd_looks_failed_total {}\n\
             # HELP druid_upgrade_phase The phase of the last upgrade of an Etcd: 1.\n\
             # TYPE druid_upgrade_phase gauge\n",
            numbers.looks, numbers.failed
        );
        let halted = [ShownPhase::Blocked.word(), ShownPhase::RolledBack.word()];
        let mut halts = String::new();
        for ((namespace, name), phase) in &numbers.phases {
            let labels = format!("namespace=\"{namespace}\",etcd=\"{name}\"");
            // Writing to a text cannot fail.
            let _ = writeln!(text, "druid_upgrade_phase{{{labels},phase=\"{phase}\"}} 1");
            let halted = u8::from(halted.contains(&phase.as_str()));
            let _ = writeln!(halts, "druid_upgrade_halted{{{labels}}} {halted}");
        }
        text.push_str(
            "# HELP druid_upgrade_halted Whether the upgrade of an Etcd waits for a person.\n\
             # TYPE druid_upgrade_halted gauge\n",
        );
        text + &halts
    }
}
