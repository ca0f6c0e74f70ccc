//! What the API server asks: an `AdmissionReview` of `admission.k8s.io/v1`, as far as it is judged.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::api::names;
use crate::render::COPY_JOB;

/// A request to change an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the answer repeats.
    pub uid: String,
    /// What is done to the object.
    pub operation: Operation,
    /// What it is; `None`: nothing that is protected.
    pub component: Option<Component>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who asks.
    pub user: String,
    /// The object as it was and as it is to be, where there is one.
    pub objects: Vec<Object>,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Something is connected to it.
    Connect,
}

/// What an Etcd is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// A `ServiceAccount`.
    ServiceAccount,
    /// A `Service`.
    Service,
    /// A `ConfigMap`.
    ConfigMap,
    /// A `Role`.
    Role,
    /// A `RoleBinding`.
    RoleBinding,
    /// A `StatefulSet`.
    StatefulSet,
    /// The number of replicas of a `StatefulSet`.
    Scale,
    /// A `PodDisruptionBudget`.
    PodDisruptionBudget,
    /// A `Lease`.
    Lease,
    /// A `PersistentVolumeClaim`.
    PersistentVolumeClaim,
    /// The `Job` that compacts its snapshots.
    Job,
}

impl Component {
    /// All that are protected, and by which requests: group, resource, subresource.
    pub const ALL: [(&'static str, &'static str, &'static str, Self); 11] = [
        ("", "serviceaccounts", "", Self::ServiceAccount),
        ("", "services", "", Self::Service),
        ("", "configmaps", "", Self::ConfigMap),
        ("rbac.authorization.k8s.io", "roles", "", Self::Role),
        (
            "rbac.authorization.k8s.io",
            "rolebindings",
            "",
            Self::RoleBinding,
        ),
        ("apps", "statefulsets", "", Self::StatefulSet),
        ("apps", "statefulsets", "scale", Self::Scale),
        (
            "policy",
            "poddisruptionbudgets",
            "",
            Self::PodDisruptionBudget,
        ),
        ("coordination.k8s.io", "leases", "", Self::Lease),
        (
            "",
            "persistentvolumeclaims",
            "",
            Self::PersistentVolumeClaim,
        ),
        ("batch", "jobs", "", Self::Job),
    ];

    /// Whether it is removed by [`names::DISABLE_RUNTIME_COMPONENTS`].
    pub const fn is_runtime(self) -> bool {
        match self {
            Self::ServiceAccount
            | Self::Service
            | Self::Role
            | Self::RoleBinding
            | Self::PodDisruptionBudget
            | Self::Lease
            | Self::Job => true,
            Self::ConfigMap | Self::StatefulSet | Self::Scale | Self::PersistentVolumeClaim => {
                false
            }
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::ConfigMap => "ConfigMap",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::StatefulSet | Self::Scale => "StatefulSet",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Lease => "Lease",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Job => "Job",
        }
    }
}

/// An object by kind, namespace and name, which is how it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub component: Component,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.component.word();
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// What an object says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Whether it is labelled to be managed by the operator.
    pub managed: bool,
    /// The Etcd that it is labelled to be part of.
    pub part_of: Option<String>,
    /// Whether it is labelled to copy backups: then what it is part of is a task, and no Etcd.
    pub copies: bool,
    /// Whether it is being deleted.
    pub leaves: bool,
}

impl Object {
    /// From its labels, and whether it is being deleted.
    pub fn of(labels: &BTreeMap<String, String>, leaves: bool) -> Self {
        Self {
            managed: labels.get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGER),
            part_of: labels.get(names::PART_OF).cloned(),
            copies: labels.get(names::COMPONENT).map(String::as_str) == Some(COPY_JOB),
            leaves,
        }
    }
}

/// Why this is no request.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// The bytes.
    #[error("this is no AdmissionReview of admission.k8s.io/v1: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It is an answer, or of another version.
    #[error(
        "an AdmissionReview of {version} without a request is asked for by nobody: send {VERSION}"
    )]
    NoRequest {
        /// Its `apiVersion`.
        version: String,
    },
}

pub(super) const VERSION: &str = "admission.k8s.io/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    request: Option<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    uid: String,
    operation: Operation,
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    user_info: User,
    object: Option<RawObject>,
    old_object: Option<RawObject>,
}

#[derive(Deserialize)]
struct Resource {
    group: String,
    resource: String,
}

#[derive(Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct RawObject {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    deletion_timestamp: Option<Value>,
}

impl Request {
    /// Reads an `AdmissionReview`.
    ///
    /// # Errors
    /// It is none.
    pub fn read(review: &[u8]) -> Result<Self, ReviewError> {
        let review: Review = serde_json::from_slice(review)?;
        let version = review.api_version;
        let Some(raw) = review.request.filter(|_| version == VERSION) else {
            return Err(ReviewError::NoRequest { version });
        };
        let of = &raw.resource;
        let mut all = Component::ALL.into_iter();
        let component = all.find(|(group, resource, sub, _)| {
            (*group, *resource, *sub) == (&of.group, &of.resource, &raw.sub_resource)
        });
        let objects: Vec<_> = [raw.old_object, raw.object].into_iter().flatten().collect();
        // Where a collection is deleted, each object is asked about, without its name.
        let named = objects.iter().map(|it| &it.metadata.name);
        let mut names = std::iter::once(&raw.name).chain(named);
        let name = names.find(|it| !it.is_empty()).cloned();
        let objects = objects.iter().map(|it| {
            let none = BTreeMap::new();
            let labels = it.metadata.labels.as_ref().unwrap_or(&none);
            Object::of(labels, it.metadata.deletion_timestamp.is_some())
        });
        Ok(Self {
            objects: objects.collect(),
            uid: raw.uid,
            operation: raw.operation,
            component: component.map(|(.., component)| component),
            namespace: raw.namespace,
            name: name.unwrap_or_default(),
            user: raw.user_info.username,
        })
    }

    /// The object that is to be changed.
    pub fn item(&self, component: Component) -> Item {
        Item {
            component,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}
