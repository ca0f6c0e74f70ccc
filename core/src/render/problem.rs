//! Every reason why an object cannot be rendered, and every doubt about one that can.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Something in an object that the API server admits and that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Problem {
    /// The object was never stored: it has no uid or no namespace.
    #[error("{field} is missing")]
    NotStored {
        /// Which.
        field: &'static str,
    },
    /// The name cannot be that of a Service.
    #[error("metadata.name `{name}` cannot be part of the name of a Service")]
    Name {
        /// The name.
        name: String,
    },
    /// A label with the name would be too long.
    #[error("metadata.name `{name}` has {} characters, and {most} are possible", name.len())]
    NameTooLong {
        /// The name.
        name: String,
        /// The longest that there can be.
        most: usize,
    },
    /// A label with a member's name would be too long.
    #[error("the name of member `{member}` has {} characters, and {most} are possible", member.len())]
    MemberNameTooLong {
        /// The member.
        member: String,
        /// The longest that there can be.
        most: usize,
    },
    /// A number that is too small or too large.
    #[error("{field} is {found}, and has to be from {least} to {most}")]
    Number {
        /// Which.
        field: &'static str,
        /// What it is.
        found: i64,
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// Two ports of one pod are the same.
    #[error("{one} and {other} are both port {port}")]
    SamePort {
        /// One field.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// The port.
        port: u16,
    },
    /// No quantity, or not more than nothing.
    #[error("{field} is `{found}`, which is no quantity above 0")]
    Quantity {
        /// Which.
        field: &'static str,
        /// What it is.
        found: String,
    },
    /// No length of time.
    #[error("{field} is `{found}`, which is no length of time")]
    Duration {
        /// Which.
        field: &'static str,
        /// What it is.
        found: String,
    },
    /// A word that this release does not know.
    #[error("{field} is `{found}`, and has to be one of {}", allowed.join(", "))]
    Word {
        /// Which.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        allowed: &'static [&'static str],
    },
    /// A storage provider that nobody knows.
    #[error("{field} is `{found}`, which is no storage provider")]
    Provider {
        /// Which.
        field: &'static str,
        /// What it is.
        found: String,
    },
    /// A reference to a Secret that names none.
    #[error("{field} names no Secret")]
    NoSecret {
        /// Which.
        field: &'static str,
    },
    /// A store without credentials.
    #[error("{field} names no Secret, and provider {provider} needs credentials")]
    NoCredentials {
        /// Which.
        field: &'static str,
        /// The provider.
        provider: &'static str,
    },
    /// Two stores with credentials of which a container can have one.
    #[error(
        "{one} and {other} name different Secrets, and one container has {provider} credentials of one"
    )]
    TwoCredentials {
        /// One field.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// Whose credentials.
        provider: &'static str,
    },
    /// A store without a bucket.
    #[error("{field} is missing")]
    NoContainer {
        /// Which.
        field: &'static str,
    },
    /// A Secret that is referred to is not there.
    #[error("Secret `{name}`, which {field} names, is not there")]
    SecretMissing {
        /// Which.
        field: &'static str,
        /// The Secret.
        name: String,
    },
}

impl Problem {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotStored { .. } => "NotStored",
            Self::Name { .. } => "Name",
            Self::NameTooLong { .. } => "NameTooLong",
            Self::MemberNameTooLong { .. } => "MemberNameTooLong",
            Self::Number { .. } => "Number",
            Self::SamePort { .. } => "SamePort",
            Self::Quantity { .. } => "Quantity",
            Self::Duration { .. } => "Duration",
            Self::Word { .. } => "Word",
            Self::Provider { .. } => "UnknownProvider",
            Self::NoSecret { .. } => "NoSecret",
            Self::NoCredentials { .. } => "NoCredentials",
            Self::TwoCredentials { .. } => "TwoCredentials",
            Self::NoContainer { .. } => "NoContainer",
            Self::SecretMissing { .. } => "SecretMissing",
        }
    }

    /// The field that it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Name { .. } | Self::NameTooLong { .. } => "metadata.name",
            Self::MemberNameTooLong { .. } => "spec.memberNamePrefix",
            Self::NotStored { field }
            | Self::Number { field, .. }
            | Self::SamePort { one: field, .. }
            | Self::TwoCredentials { one: field, .. }
            | Self::Quantity { field, .. }
            | Self::Duration { field, .. }
            | Self::Word { field, .. }
            | Self::Provider { field, .. }
            | Self::NoSecret { field }
            | Self::NoCredentials { field, .. }
            | Self::NoContainer { field }
            | Self::SecretMissing { field, .. } => field,
        }
    }

    /// What the user can do about it, as an instruction.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotStored { .. } => "take the object from the API server".to_owned(),
            Self::Name { .. } => {
                "create it anew under a name of lower-case letters, digits and dashes that begins \
                 with a letter"
                    .to_owned()
            }
            Self::NameTooLong { most, .. } => {
                format!("create it anew under a name of at most {most} characters")
            }
            Self::MemberNameTooLong { .. } => {
                "create it anew with a shorter name or memberNamePrefix".to_owned()
            }
            Self::Number {
                field, least, most, ..
            } => {
                format!("set {field} to a number from {least} to {most}")
            }
            Self::SamePort { one, other, .. } => format!("set {one} or {other} to another port"),
            Self::Quantity { field, .. } => format!("set {field} to a quantity such as 8Gi"),
            Self::Duration { field, .. } => format!("set {field} to a time such as 10s or 1h30m"),
            Self::Word { field, allowed, .. } => {
                format!("set {field} to one of {}", allowed.join(", "))
            }
            Self::Provider { field, .. } => format!("set {field} to one of {PROVIDERS}"),
            Self::NoSecret { field } => {
                format!("set {field} to the name of a Secret in the same namespace")
            }
            Self::NoCredentials { field, .. } => format!(
                "set {field} to the name of a Secret with credentials in the same namespace"
            ),
            Self::TwoCredentials { one, other, .. } => format!(
                "set {one} and {other} to one Secret whose credentials are good for both stores"
            ),
            Self::NoContainer { field } => format!("set {field} to the name of the bucket"),
            Self::SecretMissing { field, name } => {
                format!("create Secret `{name}`, or set {field} to one that is there")
            }
        }
    }
}

const PROVIDERS: &str = "S3, ABS, GCS, Swift, OSS, ECS, OCS, Local";

/// Something in an object that can be done and is hardly meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Notice {
    /// An even number of members survives no more failures than one less.
    #[error(
        "spec.replicas is {members}, which survives as many failures as {}: use an odd number",
        members - 1
    )]
    EvenMembers {
        /// How many.
        members: u16,
    },
    /// The database may grow beyond its volume.
    #[error(
        "spec.etcd.quota {quota} is not below spec.storageCapacity {capacity}: the volume fills up \
         before etcd says so; lower the quota"
    )]
    QuotaAboveCapacity {
        /// The quota.
        quota: String,
        /// The size of the volume.
        capacity: String,
    },
    /// Weekday 7, which some programs take for Sunday and others for an error.
    #[error("{field} has weekday 7, which etcd-backup-restore refuses: use * or 1 to 6")]
    Weekday7 {
        /// Which.
        field: &'static str,
    },
    /// Snapshots are configured and there is no store.
    #[error("{field} has no effect: there is no spec.backup.store")]
    NoStore {
        /// Which.
        field: &'static str,
    },
    /// An address for a member that there is not.
    #[error(
        "spec.etcd.additionalAdvertisePeerURLs has member `{member}`, and there is none of that name"
    )]
    NoSuchMember {
        /// Its name.
        member: String,
    },
}

/// What is reported of a problem, the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemReport {
    /// [`Problem::code`].
    pub code: &'static str,
    /// [`Problem::field`].
    pub field: &'static str,
    /// The sentence.
    pub message: String,
    /// [`Problem::remedy`].
    pub remedy: String,
}

impl From<&Problem> for ProblemReport {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code(),
            field: problem.field(),
            message: problem.to_string(),
            remedy: problem.remedy(),
        }
    }
}

/// One or more problems, in one sentence each with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The one.
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{problem} ({})", problem.remedy())?;
        }
        Ok(())
    }
}
