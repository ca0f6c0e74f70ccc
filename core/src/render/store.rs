//! Where backups are kept, and what a pod needs to get there.

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, HostPathVolumeSource, SecretKeySelector, SecretVolumeSource, Volume,
    VolumeMount,
};

use super::problem::Problem;
use crate::api;

/// A store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The bucket, or its like.
    pub container: Option<String>,
    /// What the names of all backups begin with.
    pub prefix: String,
    /// The address of the object store, if it is not the provider's own.
    pub endpoint: Option<String>,
    /// Whose it is, and who may go there.
    pub provider: Provider,
}

/// Whose a store is, and who may go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Nobody said.
    Unset,
    /// A directory of the node.
    Local {
        /// The Secret that says which.
        secret: Option<String>,
    },
    /// Dell's.
    Ecs {
        /// The Secret with the credentials.
        secret: String,
    },
    /// Anybody else's.
    Cloud {
        /// Whose.
        cloud: Cloud,
        /// The Secret with the credentials.
        secret: String,
    },
}

/// Providers that find their credentials in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// S3.
    S3,
    /// ABS.
    Abs,
    /// GCS.
    Gcs,
    /// Swift.
    Swift,
    /// OSS.
    Oss,
    /// OCS.
    Ocs,
}

/// All names of a provider.
enum Named {
    Local,
    Ecs,
    Cloud(Cloud),
}

fn named(name: &str) -> Option<Named> {
    Some(match name {
        "aws" | "S3" | "s3" | "stackit" => Named::Cloud(Cloud::S3),
        "azure" | "ABS" | "abs" => Named::Cloud(Cloud::Abs),
        "gcp" | "GCS" | "gcs" => Named::Cloud(Cloud::Gcs),
        "openstack" | "Swift" | "swift" => Named::Cloud(Cloud::Swift),
        "alicloud" | "OSS" | "oss" => Named::Cloud(Cloud::Oss),
        "openshift" | "OCS" | "ocs" => Named::Cloud(Cloud::Ocs),
        "dell" | "ECS" | "ecs" => Named::Ecs,
        "Local" | "local" => Named::Local,
        _ => return None,
    })
}

/// The fields of a store, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) container: &'static str,
    pub(super) provider: &'static str,
    pub(super) secret: &'static str,
}

/// That of an Etcd.
pub(super) const ETCD: Fields = Fields {
    container: "spec.backup.store.container",
    provider: "spec.backup.store.provider",
    secret: "spec.backup.store.secretRef.name",
};
/// That from which a task copies.
pub(super) const SOURCE: Fields = Fields {
    container: "spec.sourceStore.container",
    provider: "spec.sourceStore.provider",
    secret: "spec.sourceStore.secretRef.name",
};
/// That to which a task copies.
pub(super) const TARGET: Fields = Fields {
    container: "spec.targetStore.container",
    provider: "spec.targetStore.provider",
    secret: "spec.targetStore.secretRef.name",
};

impl Store {
    /// Reads a store.
    pub(super) fn parse(store: &api::Store, fields: Fields) -> Result<Self, Problem> {
        let secret = store.secret_ref.as_ref();
        let secret = secret
            .and_then(|it| it.name.clone())
            .filter(|it| !it.is_empty());
        let credentials = |provider| {
            secret.clone().ok_or(Problem::NoCredentials {
                field: fields.secret,
                provider,
            })
        };
        let provider = match store.provider.as_deref() {
            None | Some("") => Provider::Unset,
            Some(name) => match named(name) {
                None => {
                    return Err(Problem::Provider {
                        field: fields.provider,
                        found: name.to_owned(),
                    });
                }
                Some(Named::Local) => Provider::Local {
                    secret: secret.clone(),
                },
                Some(Named::Ecs) => Provider::Ecs {
                    secret: credentials("ECS")?,
                },
                Some(Named::Cloud(cloud)) => Provider::Cloud {
                    cloud,
                    secret: credentials(cloud.name())?,
                },
            },
        };
        Ok(Self {
            container: store.container.clone().filter(|it| !it.is_empty()),
            prefix: store.prefix.clone(),
            endpoint: store.endpoint_override.clone(),
            provider,
        })
    }

    /// The Secret that it names.
    pub fn secret(&self) -> Option<&str> {
        match &self.provider {
            Provider::Unset => None,
            Provider::Local { secret } => secret.as_deref(),
            Provider::Ecs { secret } | Provider::Cloud { secret, .. } => Some(secret),
        }
    }
}

impl Provider {
    /// As the sidecar is told it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Local { .. } => "Local",
            Self::Ecs { .. } => "ECS",
            Self::Cloud { cloud, .. } => cloud.name(),
        }
    }
}

impl Cloud {
    fn name(self) -> &'static str {
        match self {
            Self::S3 => "S3",
            Self::Abs => "ABS",
            Self::Gcs => "GCS",
            Self::Swift => "Swift",
            Self::Oss => "OSS",
            Self::Ocs => "OCS",
        }
    }

    /// Where a pod of the StatefulSet, or one that compacts, has the file.
    pub(super) fn mounted_at(self, role: Role) -> String {
        let directory = role.directory(self);
        match self {
            Self::Gcs => format!("{directory}/"),
            Self::S3 | Self::Abs | Self::Swift | Self::Oss | Self::Ocs => directory,
        }
    }

    /// What the sidecar looks for its credentials by.
    fn variable(self) -> &'static str {
        match self {
            Self::S3 => "AWS_APPLICATION_CREDENTIALS",
            Self::Abs => "AZURE_APPLICATION_CREDENTIALS",
            Self::Gcs => "GOOGLE_APPLICATION_CREDENTIALS",
            Self::Swift => "OPENSTACK_APPLICATION_CREDENTIALS",
            Self::Oss => "ALICLOUD_APPLICATION_CREDENTIALS",
            Self::Ocs => "OPENSHIFT_APPLICATION_CREDENTIALS",
        }
    }
}

/// Which of a pod's stores one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The only one, or the one that is written to.
    Target,
    /// The one that is copied from.
    Source,
}

impl Role {
    /// Before the names of variables.
    fn variables(self) -> &'static str {
        match self {
            Self::Target => "",
            Self::Source => "SOURCE_",
        }
    }

    /// Before the names of volumes, directories and flags.
    pub(super) fn names(self) -> &'static str {
        match self {
            Self::Target => "",
            Self::Source => "source-",
        }
    }

    /// Where a file of credentials is mounted, without a slash at the end.
    pub(super) fn directory(self, cloud: Cloud) -> String {
        let names = self.names();
        match cloud {
            Cloud::Gcs => format!("/var/.{names}gcp"),
            Cloud::S3 | Cloud::Abs | Cloud::Swift | Cloud::Oss | Cloud::Ocs => {
                format!("/var/{names}etcd-backup")
            }
        }
    }
}

/// The variables of a container that goes to a store.
pub(super) fn variables(store: &Store, role: Role) -> Vec<EnvVar> {
    let name = |name: &str| format!("{}{name}", role.variables());
    let mut variables = vec![EnvVar {
        name: name("STORAGE_CONTAINER"),
        value: store.container.clone(),
        ..EnvVar::default()
    }];
    match &store.provider {
        Provider::Unset | Provider::Local { .. } => {}
        Provider::Ecs { secret } => {
            if role == Role::Target {
                variables.extend(ecs_credentials(secret));
            }
        }
        Provider::Cloud { cloud, .. } => {
            let directory = role.directory(*cloud);
            let value = match cloud {
                Cloud::Gcs => format!("{directory}/serviceaccount.json"),
                Cloud::S3 | Cloud::Abs | Cloud::Swift | Cloud::Oss | Cloud::Ocs => directory,
            };
            variables.push(EnvVar {
                name: name(cloud.variable()),
                value: Some(value),
                ..EnvVar::default()
            });
        }
    }
    variables
}

/// The credentials of ECS. A container has those of one Secret: a sidecar reads no other names for a store
/// that is copied from.
pub(super) fn ecs_credentials(secret: &str) -> Vec<EnvVar> {
    let all = [
        ("ECS_ENDPOINT", "endpoint"),
        ("ECS_ACCESS_KEY_ID", "accessKeyID"),
        ("ECS_SECRET_ACCESS_KEY", "secretAccessKey"),
    ];
    let all = all.map(|(variable, key)| from_secret(variable.to_owned(), secret, key));
    all.into()
}

fn from_secret(name: String, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                key: key.to_owned(),
                name: secret.to_owned(),
                optional: Some(false),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// A Secret as files.
pub(super) fn secret_volume(name: &str, secret: &str, mode: Option<i32>) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: mode,
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A directory of the node.
pub(super) fn host_volume(name: &str, path: String) -> Volume {
    Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource {
            path,
            type_: Some("DirectoryOrCreate".to_owned()),
        }),
        ..Volume::default()
    }
}

/// Where a volume is mounted.
pub(super) fn mount(name: &str, path: impl Into<String>) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}
