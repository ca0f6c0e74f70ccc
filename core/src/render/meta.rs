//! The metadata that every object has.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::spec::Identity;
use crate::api::names;

/// Labels.
pub(super) type Labels = BTreeMap<String, String>;

/// The labels by which all objects of an owner are found.
pub fn owner_labels(owner: &str) -> Labels {
    [(names::MANAGED_BY, names::MANAGER), (names::PART_OF, owner)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// All labels of one object. A label cannot have the `:` that a Role's name has.
pub(super) fn labels(owner: &str, name: &str, component: &str) -> Labels {
    let mut labels = owner_labels(owner);
    labels.insert(names::NAME.to_owned(), name.replace(':', "-"));
    labels.insert(names::COMPONENT.to_owned(), component.to_owned());
    labels
}

/// What kind the owner is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Etcd,
    CopyTask,
}

impl Owner {
    fn kind(self) -> &'static str {
        match self {
            Self::Etcd => "Etcd",
            Self::CopyTask => "EtcdCopyBackupsTask",
        }
    }
}

/// The metadata of an object of an Etcd.
pub(super) fn of_etcd(identity: &Identity, name: String, component: &str) -> ObjectMeta {
    metadata(Owner::Etcd, identity, name, component)
}

/// The metadata of an object.
pub(super) fn metadata(
    owner: Owner,
    identity: &Identity,
    name: String,
    component: &str,
) -> ObjectMeta {
    ObjectMeta {
        labels: Some(labels(&identity.name, &name, component)),
        name: Some(name),
        namespace: Some(identity.namespace.clone()),
        owner_references: Some(vec![OwnerReference {
            api_version: names::API_VERSION.to_owned(),
            block_owner_deletion: Some(true),
            controller: Some(true),
            kind: owner.kind().to_owned(),
            name: identity.name.clone(),
            uid: identity.uid.clone(),
        }]),
        ..ObjectMeta::default()
    }
}
