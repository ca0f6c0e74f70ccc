//! `kubectl druid reconciliation trigger`: how far a reconciliation that was asked for is.

use std::fmt;

use serde::Serialize;

use super::colour::{Colours, Tone, clean};
use super::found::annotation;
use super::table::{Cell, lines};
use super::target::{Key, said};
use crate::api::{Etcd, names};
use crate::status::conditions::{self, Kind};

/// How far it is. A condition says nothing of a spec that was not looked at yet, so it counts only after
/// the first two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The operator has not taken it up.
    Asked,
    /// The status is about an older spec.
    Behind,
    /// Pods are not as they are wanted; why.
    Updating(String),
    /// Pods are as they are wanted, and members are not ready; why.
    Starting(String),
    /// All is as it is wanted.
    Done,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("the operator has not taken it up"),
            Self::Behind => f.write_str("the status is about an older spec"),
            Self::Updating(why) => write!(f, "pods are not up to date: {why}"),
            Self::Starting(why) => write!(f, "members are not ready: {why}"),
            Self::Done => f.write_str("all members are up to date and ready"),
        }
    }
}

impl Standing {
    /// What an Etcd says.
    pub fn of(etcd: &Etcd) -> Self {
        let asked = [names::OPERATION, names::LEGACY_OPERATION];
        let is_asked = |it| annotation(etcd, it) == Some(names::OPERATION_RECONCILE);
        if asked.into_iter().any(is_asked) {
            return Self::Asked;
        }
        let status = etcd.status.as_ref();
        if status.and_then(|it| it.observed_generation) < etcd.metadata.generation {
            return Self::Behind;
        }
        // Then there are no pods to wait for.
        if annotation(etcd, names::DISABLE_RUNTIME_COMPONENTS).is_some() {
            return Self::Done;
        }
        let lacks = |kind| {
            let condition = status.and_then(|it| conditions::find(it, kind));
            match condition {
                Some(it) if it.status == "True" => None,
                Some(it) => Some(it.message.clone()),
                None => Some(format!("the status has no condition {}", kind.word())),
            }
        };
        if let Some(why) = lacks(Kind::AllMembersUpdated) {
            return Self::Updating(why);
        }
        match lacks(Kind::AllMembersReady) {
            Some(why) if etcd.spec.replicas.0 > 0 => Self::Starting(why),
            Some(_) | None => Self::Done,
        }
    }
}

/// One that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// The namespace of the Etcd.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it was asked for.
    pub triggered: bool,
    /// Whether all pods are as they are wanted; nothing if nobody has waited.
    pub pods_up_to_date: Option<bool>,
    /// How long it took, or was waited for, seconds.
    pub seconds: Option<u64>,
    /// Whether all members are ready besides; nothing if nobody has waited.
    pub completed: Option<bool>,
    /// In words.
    pub says: String,
    /// Whether nothing more can come of it.
    #[serde(skip)]
    ended: bool,
}

impl Reconciliation {
    /// One that was asked for just now.
    pub fn triggered(key: &Key) -> Self {
        Self::of(key, true, "triggered".to_owned())
    }

    /// One that could not be asked for.
    pub fn failed(key: &Key, why: String) -> Self {
        Self::of(key, false, why)
    }

    fn of((namespace, name): &Key, triggered: bool, says: String) -> Self {
        Self {
            namespace: namespace.clone(),
            name: name.clone(),
            triggered,
            pods_up_to_date: None,
            seconds: None,
            completed: None,
            says,
            ended: !triggered,
        }
    }

    /// The Etcd was looked at after so many seconds.
    pub fn looked(&mut self, standing: &Standing, seconds: u64) {
        self.seconds = Some(seconds);
        self.completed = Some(*standing == Standing::Done);
        self.pods_up_to_date = Some(match standing {
            Standing::Asked | Standing::Behind | Standing::Updating(_) => false,
            Standing::Starting(_) | Standing::Done => true,
        });
        self.says = standing.to_string();
    }

    /// The Etcd could not be looked at after so many seconds. `passes`: whether it may be in a moment.
    pub fn unseen(&mut self, why: String, passes: bool, seconds: u64) {
        self.seconds = Some(seconds);
        self.completed = Some(false);
        self.says = why;
        self.ended = !passes;
    }

    /// Whether there is nothing left to wait for.
    pub fn is_over(&self) -> bool {
        self.ended || self.completed == Some(true)
    }

    /// Whether it has come to nothing, as far as is known.
    pub fn is_failed(&self) -> bool {
        !self.triggered || self.completed == Some(false)
    }

    /// All in one line.
    pub fn line(&self) -> String {
        let seconds = self.seconds.map(|it| format!(" after {it} s"));
        clean(&format!(
            "{}/{}{}: {}",
            self.namespace,
            self.name,
            seconds.unwrap_or_default(),
            self.says
        ))
    }

    fn cells(&self) -> [Cell; 5] {
        let yes = |it: Option<bool>| match it {
            Some(true) => Cell::toned("true", Tone::Good),
            Some(false) => Cell::toned("false", Tone::Bad),
            None => Cell::known(None),
        };
        let seconds = self.seconds.map(|it| format!("{it}s"));
        [
            Cell::plain(&said(&(self.namespace.clone(), self.name.clone()))),
            yes(Some(self.triggered)),
            yes(self.pods_up_to_date),
            Cell::known(seconds.as_deref()),
            yes(self.completed),
        ]
    }
}

/// The table.
pub fn reconciliations(all: &[Reconciliation], colours: Colours) -> String {
    let header = ["ETCD", "TRIGGERED", "PODS UP TO DATE", "TOOK", "COMPLETED"];
    let cells: Vec<_> = all.iter().map(Reconciliation::cells).collect();
    lines(header, &cells, colours).join("\n") + "\n"
}
