//! The flags of a store, named as etcd-backup-restore names them.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use thiserror::Error;

use super::credentials::Whose;
use super::parts::SMALLEST_PART;

/// Who keeps the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Provider {
    /// A directory.
    Local,
    /// Amazon S3, or what speaks as it does.
    S3,
    /// Azure Blob Storage.
    Abs,
    /// Google Cloud Storage.
    Gcs,
    /// OpenStack Swift.
    Swift,
    /// Alibaba Cloud.
    Oss,
    /// Dell EMC ECS.
    Ecs,
    /// OpenShift Container Storage.
    Ocs,
}

impl Provider {
    const ALL: [Self; 8] = [
        Self::Local,
        Self::S3,
        Self::Abs,
        Self::Gcs,
        Self::Swift,
        Self::Oss,
        Self::Ecs,
        Self::Ocs,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::S3 => "S3",
            Self::Abs => "ABS",
            Self::Gcs => "GCS",
            Self::Swift => "Swift",
            Self::Oss => "OSS",
            Self::Ecs => "ECS",
            Self::Ocs => "OCS",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value of `--storage-provider`: empty for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen(pub(crate) Option<Provider>);

/// A provider that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no storage provider; there are Local, S3, ABS, GCS, Swift, OSS, ECS and OCS")]
pub(crate) struct UnknownProvider(String);

impl FromStr for Chosen {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        if name.is_empty() {
            return Ok(Self(None));
        }
        let found = Provider::ALL.into_iter().find(|it| it.name() == name);
        let unknown = || UnknownProvider(name.to_owned());
        found.map(|it| Self(Some(it))).ok_or_else(unknown)
    }
}

/// The flags of one store, whatever they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreFlags {
    /// Which of the stores.
    pub(crate) whose: Whose,
    /// `--storage-provider`; `None` for no store at all.
    pub(crate) provider: Option<Provider>,
    /// `--store-container`; empty for the environment's, or the default.
    pub(crate) container: String,
    /// `--store-prefix`.
    pub(crate) prefix: String,
    /// `--store-endpoint-override`; empty for the usual one.
    pub(crate) endpoint: String,
    /// `--max-parallel-chunk-uploads`.
    pub(crate) parallel: usize,
    /// `--min-chunk-size`, bytes.
    pub(crate) min_chunk: u64,
}

impl StoreFlags {
    /// As if no flag were given.
    pub(crate) fn named(whose: Whose) -> Self {
        Self {
            whose,
            provider: None,
            container: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            parallel: 5,
            min_chunk: SMALLEST_PART,
        }
    }
}

macro_rules! store_args {
    ($(#[$doc:meta])* $name:ident, $whose:expr, $dash:literal, $heading:literal) => {
        $(#[$doc])*
        #[derive(Args, Clone, Debug, PartialEq, Eq)]
        #[command(next_help_heading = $heading)]
        #[group(id = stringify!($name))]
        pub(crate) struct $name {
            /// Who keeps the backups: Local, S3, ABS, GCS, Swift, OSS, ECS or OCS; empty for nobody
            #[arg(id = concat!($dash, "storage-provider"), long = concat!($dash, "storage-provider"),
                default_value = "", value_name = "NAME", hide_default_value = true)]
            provider: Option<Chosen>,
            /// Bucket or container; a directory below $HOME, or anywhere, for Local
            ///
            /// If left out: `STORAGE_CONTAINER` of the environment, then default.bkp for Local.
            #[arg(id = concat!($dash, "store-container"), long = concat!($dash, "store-container"),
                default_value = "", value_name = "NAME", hide_default_value = true)]
            container: String,
            /// What the keys of this cluster's objects begin with; /v2 follows
            #[arg(id = concat!($dash, "store-prefix"), long = concat!($dash, "store-prefix"),
                default_value = "", value_name = "PATH", hide_default_value = true)]
            prefix: String,
            /// Another address of the provider: S3, ABS and GCS
            #[arg(id = concat!($dash, "store-endpoint-override"),
                long = concat!($dash, "store-endpoint-override"),
                default_value = "", value_name = "URL", hide_default_value = true)]
            endpoint: String,
            /// How many parts of an upload may be on their way at once
            ///
            /// Fewer are, if memory needs it.
            #[arg(id = concat!($dash, "max-parallel-chunk-uploads"),
                long = concat!($dash, "max-parallel-chunk-uploads"),
                default_value_t = 5, value_name = "N")]
            parallel: usize,
            /// The smallest part of an upload, bytes; 5 MiB or more
            #[arg(id = concat!($dash, "min-chunk-size"), long = concat!($dash, "min-chunk-size"),
                default_value_t = SMALLEST_PART, value_name = "BYTES")]
            min_chunk: u64,
            /// Where deltas wait to be uploaded, in files without a name
            #[arg(id = concat!($dash, "snapstore-temp-directory"),
                long = concat!($dash, "snapstore-temp-directory"),
                default_value = "/tmp", value_name = "DIR", hide = !$dash.is_empty())]
            temp_directory: std::path::PathBuf,
        }

        impl $name {
            /// The same, under no particular names.
            pub(crate) fn flags(&self) -> StoreFlags {
                StoreFlags {
                    whose: $whose,
                    provider: self.provider.and_then(|it| it.0),
                    container: self.container.clone(),
                    prefix: self.prefix.clone(),
                    endpoint: self.endpoint.clone(),
                    parallel: self.parallel,
                    min_chunk: self.min_chunk,
                }
            }
        }
    };
}

store_args!(
    /// The flags of the store.
    StoreArgs,
    Whose::Main,
    "",
    "Store"
);
store_args!(
    /// The flags of the store that is copied from. What is left out is as in the other one.
    SourceStoreArgs,
    Whose::Source,
    "source-",
    "Source store"
);

impl StoreArgs {
    /// `--snapstore-temp-directory`. The others' has no effect: uploads need no files.
    pub(crate) fn temporary(&self) -> &std::path::Path {
        &self.temp_directory
    }
}

impl SourceStoreArgs {
    /// Provider and prefix are the destination's where they are left out, as for
    /// etcd-backup-restore.
    pub(crate) fn flags_beside(&self, destination: &StoreFlags) -> StoreFlags {
        let mut flags = self.flags();
        flags.provider = flags.provider.or(destination.provider);
        if flags.prefix.is_empty() {
            flags.prefix.clone_from(&destination.prefix);
        }
        flags
    }
}

#[cfg(test)]
mod tests;
