//! `kubectl druid preflight`: what the Kubernetes API says against an upgrade.

mod against;
mod members;

use std::fmt::Write as _;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

pub use self::against::Against;
use self::members::Member;
use super::colour::{Colours, clean};
use super::found::{Found, annotation, is_acknowledged, is_paused};
use super::table::{Cell, lines};
use crate::api::{Condition, Etcd, EtcdStatus, UpgradeStatus, names};
use crate::render::Spec;
use crate::status::Sought;
use crate::status::conditions::{self, Kind};
use crate::upgrade::ShownPhase;

/// What was looked at.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The Etcd.
    pub etcd: Found,
    /// Its StatefulSet.
    pub stateful_set: Sought<StatefulSet>,
    /// The pods of the Etcd. `Missing` is as good as none.
    pub pods: Sought<Vec<Pod>>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    namespace: String,
    name: String,
    hibernated: bool,
    members: Vec<Member>,
    under_way: Option<String>,
    #[serde(serialize_with = "against::told")]
    against: Vec<Against>,
    warnings: Vec<String>,
}

/// Looks at everything that the API server has.
pub fn judge(looked: &Looked) -> Judged {
    let Found {
        namespace,
        name,
        created: _,
        etcd,
    } = &looked.etcd;
    let mut judged = Judged {
        namespace: namespace.clone(),
        name: name.clone(),
        hibernated: false,
        members: Vec::new(),
        under_way: None,
        against: Vec::new(),
        warnings: Vec::new(),
    };
    match etcd {
        Ok(etcd) => judged.look(etcd, looked),
        Err(why) => judged.against.push(Against::Unreadable(why.clone())),
    }
    judged
}

impl Judged {
    /// Whether nothing stands against it.
    pub fn is_clear(&self) -> bool {
        self.against.is_empty()
    }

    /// What stands against it.
    pub fn against(&self) -> &[Against] {
        &self.against
    }

    fn look(&mut self, etcd: &Etcd, looked: &Looked) {
        let nothing = EtcdStatus::default();
        let status = etcd.status.as_ref().unwrap_or(&nothing);
        self.hibernated = etcd.spec.replicas.0 == 0;
        self.wishes(etcd);
        self.specification(etcd);
        if let Some(upgrade) = &status.upgrade {
            self.upgrade(etcd, upgrade);
        }
        if etcd.status.is_none() {
            self.against.push(Against::NoStatus);
        } else if !self.hibernated {
            self.conditions(status);
        }
        self.members = members::members(etcd, status, &looked.pods);
        if !self.hibernated {
            let found = members::against(etcd, looked, &self.members);
            self.against.extend(found);
        }
        self.doubts(etcd, status);
    }

    /// What a person has said.
    fn wishes(&mut self, etcd: &Etcd) {
        let upgrade = etcd.spec.upgrade.as_ref();
        let found = [
            (
                etcd.metadata.deletion_timestamp.is_some(),
                Against::Deleting,
            ),
            (
                annotation(etcd, names::SUSPEND_RECONCILE).is_some(),
                Against::Suspended,
            ),
            (
                upgrade.and_then(|it| it.enabled) == Some(false),
                Against::OptedOut,
            ),
            (is_paused(etcd), Against::Paused),
        ];
        let found = found.into_iter().filter(|(is, _)| *is);
        self.against.extend(found.map(|(_, against)| against));
    }

    fn specification(&mut self, etcd: &Etcd) {
        let problems = match Spec::parse(etcd) {
            Ok(spec) => spec.pods.err(),
            Err(problems) => Some(problems),
        };
        let problems = problems.into_iter().flat_map(|it| it.0);
        self.against.extend(problems.map(Against::Spec));
    }

    /// What the operator has said.
    fn upgrade(&mut self, etcd: &Etcd, upgrade: &UpgradeStatus) {
        let Some(word) = upgrade.phase.clone() else {
            return;
        };
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let (reason, message) = (text(&upgrade.reason), text(&upgrade.message));
        let against = match ShownPhase::read(&word) {
            Some(ShownPhase::Refused) => Against::Refused { reason, message },
            Some(ShownPhase::RolledBack | ShownPhase::Blocked) => {
                let attempt = upgrade.record.as_ref().map(|it| it.attempt);
                if attempt.is_some_and(|it| is_acknowledged(etcd, it)) {
                    return;
                }
                Against::Halted {
                    reason,
                    message,
                    name: self.name.clone(),
                    namespace: self.namespace.clone(),
                }
            }
            Some(ShownPhase::Waiting) => Against::Waiting { reason, message },
            Some(
                ShownPhase::Preflight
                | ShownPhase::Snapshot
                | ShownPhase::Rolling
                | ShownPhase::Finalizing
                | ShownPhase::PuttingBack
                | ShownPhase::Paused,
            )
            | None => {
                self.under_way = Some(format!("{word}: {message}"));
                return;
            }
            Some(ShownPhase::Succeeded) => return,
        };
        self.against.push(against);
    }

    /// What must be so, and is not.
    fn conditions(&mut self, status: &EtcdStatus) {
        for (kind, wanted) in [
            (Kind::Ready, "True"),
            (Kind::AllMembersReady, "True"),
            (Kind::ClusterIdMismatch, "False"),
        ] {
            match conditions::find(status, kind) {
                Some(it) if it.status == wanted => {}
                Some(it) => self.against.push(Against::condition(it)),
                // etcd-druid makes it only where there are several members.
                None if kind == Kind::ClusterIdMismatch => {}
                None => self.against.push(Against::NoCondition(kind.word())),
            }
        }
    }

    /// What stands against nothing, and should be known.
    fn doubts(&mut self, etcd: &Etcd, status: &EtcdStatus) {
        let store = etcd.spec.backup.store.as_ref();
        if store.and_then(|it| it.provider.as_ref()).is_none() {
            self.warnings.push(
                "there is no backup store (spec.backup.store), so no snapshot is taken before"
                    .to_owned(),
            );
        }
        let seen = status.observed_generation;
        let generation = etcd.metadata.generation;
        if etcd.status.is_some() && seen.unwrap_or(0) < generation.unwrap_or(0) {
            self.warnings.push(format!(
                "the operator has not reconciled the last change of the spec (annotate the Etcd with {}={})",
                names::OPERATION,
                names::OPERATION_RECONCILE
            ));
        }
        for kind in [Kind::BackupReady, Kind::DataVolumesReady] {
            let found = conditions::find(status, kind).filter(|it| it.status == "False");
            self.warnings.extend(found.map(told));
        }
    }

    /// For people.
    pub fn text(&self, colours: Colours) -> String {
        let (namespace, name) = (&self.namespace, &self.name);
        let mut text = match self.against.len() {
            0 => format!("{namespace}/{name}: nothing stands against an upgrade\n"),
            1 => format!("{namespace}/{name}: 1 reason stands against an upgrade\n"),
            all => format!("{namespace}/{name}: {all} reasons stand against an upgrade\n"),
        };
        if self.hibernated {
            text.push_str(
                "It is hibernated (spec.replicas is 0): no member is there to be restarted.\n",
            );
        }
        if let Some(under_way) = &self.under_way {
            let _ = writeln!(text, "An upgrade is under way: {}", clean(under_way));
        }
        if !self.members.is_empty() {
            let header = ["MEMBER", "POD", "VERSION", "ROLE", "STATUS", "UPGRADE"];
            let cells: Vec<[Cell; 6]> = self.members.iter().map(Member::cells).collect();
            let _ = writeln!(text, "\n{}", lines(header, &cells, colours).join("\n"));
        }
        if !self.against.is_empty() || !self.warnings.is_empty() {
            text.push('\n');
        }
        for against in &self.against {
            let said = clean(&format!("{}: {against}", against.code()));
            let _ = writeln!(text, "{said}\n  remedy: {}", clean(&against.remedy()));
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {}", clean(warning));
        }
        text.push_str(
            "\nNo member was asked. Before it begins, the operator also looks at members, alarms and data,\n\
             as `druid preflight --endpoints` does.\n",
        );
        text
    }
}

fn told(condition: &Condition) -> String {
    let Condition {
        kind,
        status,
        reason,
        message,
        ..
    } = condition;
    format!("{kind} is {status} ({reason}): {message}")
}
