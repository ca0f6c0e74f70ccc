//! `kubectl druid list`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use serde::Serialize;

use super::age::age_of;
use super::colour::{Colours, Tone};
use super::found::Found;
use super::image;
use super::table::{Cell, lines};
use crate::api::{Etcd, EtcdStatus, Time};
use crate::status::conditions::{self, Kind};

/// An Etcd in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether all pods are ready and as they are wanted.
    pub ready: Option<bool>,
    /// How many members are ready.
    pub members_ready: i64,
    /// How many there are to be.
    pub members: i64,
    /// The releases that members run, or the tag of their image.
    pub versions: BTreeSet<String>,
    /// `none` without a store; otherwise `ready`, `failing`, or `unknown`.
    pub backup: &'static str,
    /// The phase of the upgrade that is under way or was the last.
    pub upgrade: Option<String>,
    /// When it was made.
    pub created: Option<Time>,
    /// Why the object cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl Row {
    /// One for each, by namespace and name. The sets tell what those Etcds run that were
    /// never upgraded; nobody need have any.
    pub fn all(found: &[Found], stateful_sets: &[StatefulSet]) -> Vec<Self> {
        let mut images = BTreeMap::new();
        for set in stateful_sets {
            let of = (&set.metadata.namespace, &set.metadata.name);
            let pod = set.spec.as_ref().and_then(|it| it.template.spec.as_ref());
            if let ((Some(namespace), Some(name)), Some(pod)) = (of, pod) {
                images.insert((namespace.clone(), name.clone()), image::version(pod));
            }
        }
        let mut rows: Vec<_> = found
            .iter()
            .map(|it| Self::of(it, images.get(&it.key()).cloned().flatten()))
            .collect();
        rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        rows
    }

    fn of(found: &Found, image: Option<String>) -> Self {
        let bare = Self {
            namespace: found.namespace.clone(),
            name: found.name.clone(),
            ready: None,
            members_ready: 0,
            members: 0,
            versions: BTreeSet::new(),
            backup: "unknown",
            upgrade: None,
            created: found.created.map(Time::seconds),
            unreadable: None,
        };
        let etcd = match &found.etcd {
            Ok(etcd) => etcd,
            Err(error) => {
                return Self {
                    unreadable: Some(error.clone()),
                    ..bare
                };
            }
        };
        let status = etcd.status.as_ref();
        let mut versions = status.map(versions).unwrap_or_default();
        if versions.is_empty() {
            versions.extend(image);
        }
        Self {
            ready: status.and_then(|it| it.ready),
            members_ready: status.map(members_ready).unwrap_or_default(),
            members: etcd.spec.replicas.0,
            versions,
            backup: backup(etcd),
            upgrade: status.and_then(|it| it.upgrade.as_ref()?.phase.clone()),
            ..bare
        }
    }

    fn cells(&self, now: Timestamp) -> [Cell; 8] {
        let all = (self.members_ready, self.members);
        let members = if self.unreadable.is_some() {
            Cell::known(None)
        } else {
            let tone = if all.0 < all.1 {
                Tone::Held
            } else {
                Tone::Plain
            };
            Cell::toned(&format!("{}/{}", all.0, all.1), tone)
        };
        let ready = match (self.ready, &self.unreadable) {
            (_, Some(_)) => Cell::toned("unreadable", Tone::Bad),
            (Some(true), None) => Cell::toned("true", Tone::Good),
            (Some(false), None) => Cell::toned("false", Tone::Held),
            (None, None) => Cell::known(None),
        };
        let versions: Vec<_> = self.versions.iter().map(String::as_str).collect();
        let phase = self.upgrade.as_deref();
        let backup = match self.backup {
            "failing" => Tone::Bad,
            _ => Tone::Plain,
        };
        [
            Cell::plain(&self.namespace),
            Cell::plain(&self.name),
            ready,
            members,
            Cell::plain(&versions.join(",")),
            Cell::toned(self.backup, backup),
            Cell::toned(phase.unwrap_or_default(), Tone::of(phase)),
            Cell::plain(&age_of(self.created.as_ref(), now)),
        ]
    }
}

/// The table.
pub fn list(rows: &[Row], now: Timestamp, colours: Colours) -> String {
    let header = [
        "NAMESPACE",
        "NAME",
        "READY",
        "MEMBERS",
        "VERSION",
        "BACKUP",
        "UPGRADE",
        "AGE",
    ];
    let cells: Vec<_> = rows.iter().map(|row| row.cells(now)).collect();
    lines(header, &cells, colours).join("\n") + "\n"
}

fn versions(status: &EtcdStatus) -> BTreeSet<String> {
    let upgrade = status.upgrade.iter();
    let members = upgrade.flat_map(|it| it.members.iter().flatten());
    members.filter_map(|it| it.version.clone()).collect()
}

/// By what members say; by pods, if nobody knows a member.
fn members_ready(status: &EtcdStatus) -> i64 {
    match &status.members {
        Some(members) => {
            let ready = members.iter().filter(|it| it.status == "Ready").count();
            i64::try_from(ready).unwrap_or(i64::MAX)
        }
        None => status.ready_replicas.map_or(0, |it| it.0),
    }
}

fn backup(etcd: &Etcd) -> &'static str {
    let store = etcd.spec.backup.store.as_ref();
    if store.and_then(|it| it.provider.as_ref()).is_none() {
        return "none";
    }
    let condition = etcd.status.as_ref();
    let condition = condition.and_then(|it| conditions::find(it, Kind::BackupReady));
    match condition.map(|it| it.status.as_str()) {
        Some("True") => "ready",
        Some("False") => "failing",
        Some(_) | None => "unknown",
    }
}
