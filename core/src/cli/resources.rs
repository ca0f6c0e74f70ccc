//! `kubectl druid list-resources`: what belongs to an Etcd.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::age::age_of;
use super::colour::{Colours, clean};
use super::table::{Cell, lines};
use super::target::{Key, said};
use crate::api::{Time, names};

/// A kind of object that belongs to Etcds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Of members, and of Jobs.
    Pods,
    /// Of the members.
    StatefulSets,
    /// For clients and for peers.
    Services,
    /// The configuration.
    ConfigMaps,
    /// Those with the label.
    Secrets,
    /// The data.
    PersistentVolumeClaims,
    /// Of members and of snapshots.
    Leases,
    /// The budget.
    PodDisruptionBudgets,
    /// What members may do.
    Roles,
    /// That they may.
    RoleBindings,
    /// Who they are.
    ServiceAccounts,
    /// Compactions and copies.
    Jobs,
}

/// What a kind is called.
struct Names {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
}

impl Resource {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Pods,
        Self::StatefulSets,
        Self::Services,
        Self::ConfigMaps,
        Self::Secrets,
        Self::PersistentVolumeClaims,
        Self::Leases,
        Self::PodDisruptionBudgets,
        Self::Roles,
        Self::RoleBindings,
        Self::ServiceAccounts,
        Self::Jobs,
    ];

    fn names(self) -> Names {
        let (group, kind, plural, short) = match self {
            Self::Pods => ("", "Pod", "pods", "po"),
            Self::StatefulSets => ("apps", "StatefulSet", "statefulsets", "sts"),
            Self::Services => ("", "Service", "services", "svc"),
            Self::ConfigMaps => ("", "ConfigMap", "configmaps", "cm"),
            Self::Secrets => ("", "Secret", "secrets", "secret"),
            Self::PersistentVolumeClaims => {
                let plural = "persistentvolumeclaims";
                ("", "PersistentVolumeClaim", plural, "pvc")
            }
            Self::Leases => ("coordination.k8s.io", "Lease", "leases", "lease"),
            Self::PodDisruptionBudgets => {
                let plural = "poddisruptionbudgets";
                ("policy", "PodDisruptionBudget", plural, "pdb")
            }
            Self::Roles => (RBAC, "Role", "roles", "role"),
            Self::RoleBindings => (RBAC, "RoleBinding", "rolebindings", "rolebinding"),
            Self::ServiceAccounts => ("", "ServiceAccount", "serviceaccounts", "sa"),
            Self::Jobs => ("batch", "Job", "jobs", "job"),
        };
        Names {
            group,
            kind,
            plural,
            short,
        }
    }

    /// The API group; empty for the core.
    pub fn group(self) -> &'static str {
        self.names().group
    }

    /// As in `kind: Pod`.
    pub fn kind(self) -> &'static str {
        self.names().kind
    }

    /// As in `kubectl get pods`.
    pub fn plural(self) -> &'static str {
        self.names().plural
    }

    fn api_version(self) -> String {
        match self.group() {
            "" => "v1".to_owned(),
            group => format!("{group}/v1"),
        }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// Which kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(pub BTreeSet<Resource>);

/// Why a filter is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no kind of what belongs to an Etcd; there are: all, {kinds}",
    kinds = kinds()
)]
pub struct NoFilter(String);

fn kinds() -> String {
    Resource::ALL.map(Resource::plural).join(", ")
}

impl FromStr for Filter {
    type Err = NoFilter;

    /// `all`, or kinds with commas between them, as kubectl knows them.
    fn from_str(text: &str) -> Result<Self, NoFilter> {
        let mut chosen = BTreeSet::new();
        for word in text.split(',') {
            let word = word.trim().to_ascii_lowercase();
            if word == "all" {
                chosen.extend(Resource::ALL);
                continue;
            }
            let called = |it: &Resource| {
                let names = it.names();
                let one = names.kind.to_ascii_lowercase();
                [names.plural, names.short, &one].contains(&word.as_str())
            };
            let found = Resource::ALL.into_iter().find(called);
            chosen.insert(found.ok_or(NoFilter(word))?);
        }
        Ok(Self(chosen))
    }
}

/// The label of all that belongs to an Etcd.
pub fn part_of(etcd: &str) -> String {
    format!("{}={etcd}", names::PART_OF)
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Belonging {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Time>,
}

/// Objects that could not be listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlisted {
    /// Which.
    pub kind: &'static str,
    /// Why not.
    pub why: String,
}

/// All that belongs to one Etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Belongings {
    /// The namespace of the Etcd.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What was found.
    pub resources: Vec<Belonging>,
    /// What could not be listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unlisted>,
}

impl Belongings {
    /// None so far.
    pub fn new((namespace, name): &Key) -> Self {
        Self {
            namespace: namespace.clone(),
            name: name.clone(),
            resources: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Objects of a kind: their names, and when each was made.
    pub fn add(&mut self, of: Resource, found: Vec<(String, Option<Timestamp>)>) {
        let start = self.resources.len();
        for (name, created) in found {
            self.resources.push(Belonging {
                kind: of.kind(),
                namespace: self.namespace.clone(),
                name,
                created: created.map(Time::seconds),
            });
        }
        self.resources[start..].sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// A kind could not be listed.
    pub fn lack(&mut self, of: Resource, why: String) {
        self.unknown.push(Unlisted {
            kind: of.kind(),
            why,
        });
    }
}

/// A table for each Etcd.
pub fn belongings(all: &[Belongings], now: Timestamp, colours: Colours) -> String {
    let mut text = String::new();
    for one in all {
        if !text.is_empty() {
            text.push('\n');
        }
        let etcd = said(&(one.namespace.clone(), one.name.clone()));
        let _ = writeln!(text, "Etcd {etcd}");
        let row = |it: &Belonging| {
            [
                Cell::plain(it.kind),
                Cell::plain(&format!("{}/{}", it.namespace, it.name)),
                Cell::plain(&age_of(it.created.as_ref(), now)),
            ]
        };
        let cells: Vec<_> = one.resources.iter().map(row).collect();
        for line in lines(["KIND", "NAMESPACEDNAME", "AGE"], &cells, colours) {
            let _ = writeln!(text, "{line}");
        }
        for unlisted in &one.unknown {
            let why = clean(&unlisted.why);
            let _ = writeln!(text, "{} could not be listed: {why}", unlisted.kind);
        }
    }
    text
}

/// Objects as the API server has them, as kubectl shows several: without what it keeps for itself
/// (`managedFields`), and without what a Secret holds.
pub fn raw(objects: Vec<(Resource, Value)>) -> Value {
    let items: Vec<_> = objects
        .into_iter()
        .map(|(of, object)| shown(of, object))
        .collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

fn shown(of: Resource, mut object: Value) -> Value {
    object["apiVersion"] = json!(of.api_version());
    object["kind"] = json!(of.kind());
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        metadata.remove("managedFields");
        let annotations = metadata.get_mut("annotations");
        if let (Resource::Secrets, Some(annotations)) =
            (of, annotations.and_then(Value::as_object_mut))
        {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if of == Resource::Secrets
        && let Some(fields) = object.as_object_mut()
    {
        hide(fields);
    }
    object
}

/// The keys stay: they tell whether something is there.
fn hide(secret: &mut Map<String, Value>) {
    secret.remove("stringData");
    let data = secret.get_mut("data").and_then(Value::as_object_mut);
    for value in data.into_iter().flat_map(Map::values_mut) {
        *value = json!("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_as_kubectl_names_kinds() {
        let of = |text: &str| text.parse::<Filter>().map(|it| Vec::from_iter(it.0));
        assert_eq!(of("all"), Ok(Resource::ALL.to_vec()));
        assert_eq!(
            of("sts,Pod, leases,po"),
            Ok(vec![
                Resource::Pods,
                Resource::StatefulSets,
                Resource::Leases
            ])
        );
        for bad in ["", "nodes", "pods,"] {
            let said = of(bad).unwrap_err().to_string();
            assert!(said.contains("persistentvolumeclaims"), "{said}");
        }
    }

    #[test]
    fn what_a_secret_holds_is_not_shown() {
        let object = json!({
            "metadata": {
                "name": "s", "managedFields": [1],
                "annotations": {
                    "a": "b", "kubectl.kubernetes.io/last-applied-configuration": "secret",
                },
            },
            "data": { "key": "c2VjcmV0" }, "stringData": { "key": "secret" },
        });
        let shown = raw(vec![
            (Resource::Secrets, object.clone()),
            (Resource::StatefulSets, object),
        ]);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "s", "annotations": { "a": "b" } }, "data": { "key": "" },
        });
        assert_eq!(shown["items"][0], secret);
        assert_eq!(shown["items"][1]["apiVersion"], "apps/v1");
        assert_eq!(shown["items"][1]["data"]["key"], "c2VjcmV0");
        assert_eq!(shown["items"][1]["metadata"]["managedFields"], Value::Null);
    }
}
